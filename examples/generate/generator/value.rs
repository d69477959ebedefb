//! A DynamoDB value as a tree that keeps the order of attributes, how an export spells it, and what DynamoDB counts.
//!
//! The engine has no such tree, and shares no code with this one: what tests compare against is made independently.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The limit on an item, by [`item_size`].
pub(crate) const MAX_ITEM_BYTES: usize = 409_600;

/// Attributes in the order in which the line names them; names are distinct.
pub(crate) type Attributes = Vec<(String, Value)>;

/// One of DynamoDB's ten types. Numbers are the plain text that DynamoDB prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    S(String),
    N(String),
    B(Vec<u8>),
    Bool(bool),
    Null,
    M(Attributes),
    L(Vec<Value>),
    Ss(Vec<String>),
    Ns(Vec<String>),
    Bs(Vec<Vec<u8>>),
}

/// How characters that JSON lets one write either way are written. Readers must not care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Escaped only where JSON demands it.
    Plain,
    /// `\/`, `\b`, `\f`, and everything past ASCII as `\u` escapes, surrogate pairs included.
    Escaped,
}

/// String value, shorter to write in catalogues.
pub(crate) fn s(text: &str) -> Value {
    Value::S(text.to_owned())
}

/// Number value.
pub(crate) fn n(text: &str) -> Value {
    Value::N(text.to_owned())
}

/// Writes `{"Item":{…}}` and the newline.
pub(crate) fn write_line(item: &Attributes, spelling: Spelling, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"Item\":");
    write_map(item, spelling, out);
    out.extend_from_slice(b"}\n");
}

fn write_map(map: &Attributes, spelling: Spelling, out: &mut Vec<u8>) {
    out.push(b'{');
    write_all(map, out, |(name, value), out| {
        write_string(name, spelling, out);
        out.push(b':');
        write_value(value, spelling, out);
    });
    out.push(b'}');
}

fn write_value(value: &Value, spelling: Spelling, out: &mut Vec<u8>) {
    let tag = |tag: &str, out: &mut Vec<u8>| out.extend_from_slice(format!("{{\"{tag}\":").as_bytes());
    match value {
        Value::S(text) => {
            tag("S", out);
            write_string(text, spelling, out);
        }
        Value::N(text) => out.extend_from_slice(format!("{{\"N\":\"{text}\"").as_bytes()),
        Value::B(bytes) => {
            tag("B", out);
            write_bytes(bytes, out);
        }
        Value::Bool(value) => out.extend_from_slice(format!("{{\"BOOL\":{value}").as_bytes()),
        Value::Null => out.extend_from_slice(b"{\"NULL\":true"),
        Value::M(map) => {
            tag("M", out);
            write_map(map, spelling, out);
        }
        Value::L(list) => {
            tag("L", out);
            write_array(list, out, |value, out| write_value(value, spelling, out));
        }
        Value::Ss(members) => {
            tag("SS", out);
            write_array(members, out, |text, out| write_string(text, spelling, out));
        }
        Value::Ns(members) => {
            tag("NS", out);
            write_array(members, out, |text, out| write_string(text, spelling, out));
        }
        Value::Bs(members) => {
            tag("BS", out);
            write_array(members, out, |bytes, out| write_bytes(bytes, out));
        }
    }
    out.push(b'}');
}

fn write_array<T>(entries: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    write_all(entries, out, write);
    out.push(b']');
}

fn write_all<T>(entries: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(entry, out);
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

fn write_string(text: &str, spelling: Spelling, out: &mut Vec<u8>) {
    let escaped = spelling == Spelling::Escaped;
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' if escaped => out.extend_from_slice(b"\\b"),
            '\u{c}' if escaped => out.extend_from_slice(b"\\f"),
            '/' if escaped => out.extend_from_slice(b"\\/"),
            c if c < ' ' || (escaped && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// The size of an item as DynamoDB counts it towards its limit, in bytes.
pub(crate) fn item_size(item: &Attributes) -> usize {
    item.iter().map(|(name, value)| name.len() + size(value)).sum()
}

fn size(value: &Value) -> usize {
    match value {
        Value::S(text) => text.len(),
        Value::N(text) => number_size(text),
        Value::B(bytes) => bytes.len(),
        Value::Bool(_) | Value::Null => 1,
        Value::M(map) => 3 + map.len() + item_size(map),
        Value::L(list) => 3 + list.iter().map(|value| 1 + size(value)).sum::<usize>(),
        Value::Ss(members) => members.iter().map(String::len).sum(),
        Value::Ns(members) => members.iter().map(|text| number_size(text)).sum(),
        Value::Bs(members) => members.iter().map(Vec::len).sum(),
    }
}

/// One byte for two significant digits, one more, and one for a minus sign.
fn number_size(text: &str) -> usize {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_matches('0').len();
    significant.div_ceil(2) + 1 + usize::from(text.starts_with('-'))
}
