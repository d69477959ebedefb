//! From an item's key alone to the rows that it may have, in every table: what a change must find without the item as it was.
//!
//! The proof that two items never meet in one row says that the key of a row tells the item's; here the way is the other,
//! and needs that the target's key is made of the item's key and of nothing else. A table that cannot hold a key (a prefix
//! to be stripped is not there, a condition on a key attribute fails, a conversion does not take it) has no row of it.

use super::plan::{AttributePlan, Check, ColumnPlan, TablePlan};
use super::shape::Shape;
use super::{KeyAttribute, Mapping, Table};
use crate::error::{Error, Result};
use crate::model::json::{write_string, write_value};
use crate::model::number::Number;
use crate::model::rows::Rows;
use crate::model::value::{Item, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Finds the rows of keys, one worker's worth: holds the worker's scratch space.
#[derive(Debug)]
pub struct KeyMapper<'m> {
    mapping: &'m Mapping,
    shape: Shape,
    found: Vec<Option<Value<'static>>>,
    tables: Vec<KeyTable<'m>>,
}

/// How one table keys its rows.
#[derive(Debug)]
struct KeyTable<'m> {
    /// Those of its conditions that the key decides.
    checks: Vec<&'m Check>,
    /// The key decides all of them: an item whose key passes is this table's, and no later one is asked.
    decides: bool,
    /// The key's columns, in the key's order.
    columns: Vec<&'m AttributePlan>,
    /// Items stay items: the target key's names.
    names: &'m [KeyAttribute],
}

impl Mapping {
    /// What finds the rows of keys; each worker has one.
    ///
    /// # Errors
    /// `Config` naming a column of a table's key that is not made of the item's key: the row of an item could not be found
    /// once the item has changed.
    pub fn key_mapper(&self) -> Result<KeyMapper<'_>> {
        let tables = self.tables.iter().zip(&self.plan.tables).map(|(table, plan)| self.key_table(table, plan));
        let tables = tables.collect::<Result<_>>()?;
        Ok(KeyMapper { mapping: self, shape: Shape::default(), found: Vec::new(), tables })
    }

    fn key_table<'m>(&'m self, table: &'m Table, plan: &'m TablePlan) -> Result<KeyTable<'m>> {
        let is_key = |name: &str| self.key.iter().any(|attribute| attribute.name == name);
        let checks: Vec<&Check> = plan.checks.iter().filter(|check| is_key(check.place.root())).collect();
        let column = |index: &usize| match plan.columns.get(*index) {
            Some(ColumnPlan::Attribute(column)) if is_key(column.place.root()) => Ok(column),
            _ => Err(Error::config(format!(
                "table {}: column {} is part of the key and not made of the DynamoDB key, so the row of an item that has \
                 changed cannot be found by its key: a mapping that changes are applied by has only the DynamoDB key's \
                 attributes in the keys of its tables",
                table.name, table.columns[*index].name
            ))),
        };
        let columns = table.key.iter().map(column).collect::<Result<_>>()?;
        Ok(KeyTable { decides: checks.len() == plan.checks.len(), checks, columns, names: &self.target_key })
    }
}

impl KeyMapper<'_> {
    /// How many cells a row of [`KeyMapper::map`] has for this table: those of its key, and for items that stay items one
    /// more with the key as a JSON object.
    #[must_use]
    pub fn columns(&self, table: usize) -> usize {
        self.tables.get(table).map_or(0, |table| table.columns.len() + usize::from(!table.names.is_empty()))
    }

    /// The key's identity: equal keys have equal bytes, whatever the spelling of their numbers.
    ///
    /// # Errors
    /// The reason to reject the change, when these are not the attributes of the mapping's key.
    pub fn identity(&self, keys: Item<'_>) -> std::result::Result<Vec<u8>, String> {
        let mut out = Vec::new();
        for attribute in &self.mapping.key {
            let start = out.len();
            match keys.get(&attribute.name).filter(|value| value.tag() == attribute.ty.tag()) {
                Some(Value::S(text)) => out.extend_from_slice(text.as_bytes()),
                Some(Value::B(text)) => STANDARD.decode_vec(text, &mut out).map_err(|_| self.not_its_key())?,
                Some(Value::N(text)) => Number::parse(text).map_err(|_| self.not_its_key())?.write_key(&mut out),
                _ => return Err(self.not_its_key()),
            }
            // what is in front of a value's end cannot be taken for the next value
            out.extend_from_slice(&(out.len() - start).to_be_bytes());
        }
        if keys.attributes().len() == self.mapping.key.len() { Ok(out) } else { Err(self.not_its_key()) }
    }

    fn not_its_key(&self) -> String {
        let key: Vec<String> = self.mapping.key.iter().map(ToString::to_string).collect();
        format!("the change's Keys are not the mapping's key, {}", key.join(","))
    }

    /// Appends to `rows`, which has one entry for each table, the key of every row that an item with these keys may have,
    /// except in the table `kept`. `position` is the change's in its unit.
    pub fn map(&mut self, keys: Item<'_>, position: u64, kept: Option<usize>, rows: &mut [Rows]) {
        let mut found: Vec<Option<Value<'_>>> = std::mem::take(&mut self.found);
        self.shape.fill(&self.mapping.plan.slots, keys, &mut found);
        for (index, (table, rows)) in self.tables.iter().zip(rows).enumerate() {
            if !table.checks.iter().all(|check| check.test.holds(check.place.find(&found))) {
                continue;
            }
            if kept != Some(index) {
                if table.append(&found, rows) {
                    rows.end_row(position);
                } else {
                    rows.abandon_row();
                }
            }
            if table.decides {
                break;
            }
        }
        found.clear();
        self.found = found.into_iter().map(|_| None).collect();
    }
}

impl KeyTable<'_> {
    /// Appends a key's cells; false when the table cannot hold it.
    fn append(&self, found: &[Option<Value<'_>>], rows: &mut Rows) -> bool {
        if !self.columns.iter().all(|column| column.append(found, rows).is_ok()) {
            return false;
        }
        self.names.is_empty() || rows.text(|out| self.write_object(found, out)).is_ok()
    }

    /// The key as DynamoDB takes it.
    fn write_object(&self, found: &[Option<Value<'_>>], out: &mut Vec<u8>) -> std::result::Result<(), ()> {
        out.push(b'{');
        for (place, (attribute, column)) in self.names.iter().zip(&self.columns).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_string(&attribute.name, out);
            out.push(b':');
            write_value(column.place.whole(found).ok_or(())?, out);
        }
        out.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests;
