//! Plain JSON as MySQL prints what it keeps of it: members by the length of their names and then by their bytes, a space
//! after each comma and colon, and of the escapes only those that must be.
//!
//! A mapping that [spells](Mapping::spelled) so maps an item to the same values. It is for whoever compares texts with a
//! server's: to have the text at once costs a fifth of spelling it again. Knows no server.

use super::Mapping;
use super::convert::{Conversion, Fault};
use super::json::{check_names, names_fit, write_number};
use super::plan::ColumnPlan;
use super::spec::JsonForm;
use crate::model::json::{sorted, sorted_numbers, write_string};
use crate::model::value::{Map, Value};

impl Mapping {
    /// The same mapping, whose columns of plain JSON have the texts that MySQL prints of them. One with a default, which was
    /// spelled already, stays as it is.
    #[must_use]
    pub fn spelled(&self) -> Mapping {
        let mut mapping = self.clone();
        for column in mapping.plan.tables.iter_mut().flat_map(|table| &mut table.columns) {
            if let ColumnPlan::Attribute(plan) = column
                && plan.conversion == Conversion::Json(JsonForm::Plain)
                && plan.default.is_none()
            {
                plan.conversion = Conversion::SpelledJson;
            }
        }
        mapping
    }

    /// Whether column `column` of table `table` has such texts.
    #[must_use]
    pub fn is_spelled(&self, table: usize, column: usize) -> bool {
        let column = self.plan.tables.get(table).and_then(|table| table.columns.get(column));
        matches!(column, Some(ColumnPlan::Attribute(plan)) if plan.conversion == Conversion::SpelledJson)
    }
}

/// Appends `value`; fails when a name in it is too long for MySQL's JSON.
pub(super) fn write(value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    put(value, out);
    check_names(out.len() - start, || names_fit(value))
}

fn put(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::S(text) | Value::B(text) => put_string(text, out),
        Value::N(number) => write_number(number, out),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Null => out.extend_from_slice(b"null"),
        Value::M(map) => put_map(map, out),
        Value::L(list) => put_array(list.iter(), out, put),
        Value::Ss(members) | Value::Bs(members) => put_array(sorted(members).into_iter(), out, put_string),
        Value::Ns(members) => {
            put_array(sorted_numbers(members).into_iter(), out, |number, out| write_number(&number, out));
        }
    }
}

fn put_array<T>(elements: impl Iterator<Item = T>, out: &mut Vec<u8>, put: impl Fn(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, element) in elements.enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        put(element, out);
    }
    out.push(b']');
}

fn put_map(map: Map<'_>, out: &mut Vec<u8>) {
    fn place(name: &str) -> (usize, &str) {
        (name.len(), name)
    }
    if map.iter().is_sorted_by_key(|(name, _)| place(name)) {
        put_members(map.iter(), out);
    } else {
        let mut members: Vec<(&str, Value<'_>)> = map.iter().collect();
        members.sort_unstable_by_key(|(name, _)| place(name));
        put_members(members.into_iter(), out);
    }
}

fn put_members<'a>(members: impl Iterator<Item = (&'a str, Value<'a>)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        put_string(name, out);
        out.extend_from_slice(b": ");
        put(value, out);
    }
    out.push(b'}');
}

/// Appends a string; of the control characters backspace and form feed have short escapes too.
#[inline]
fn put_string(text: &str, out: &mut Vec<u8>) {
    if memchr::memchr2(8, 12, text.as_bytes()).is_none() {
        return write_string(text, out);
    }
    out.push(b'"');
    for char in text.chars() {
        match char {
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            other => {
                let start = out.len();
                write_string(other.encode_utf8(&mut [0; 4]), out);
                // without its quotes
                out.pop();
                out.remove(start);
            }
        }
    }
    out.push(b'"');
}
