//! The hot path: one item to one row. An attribute costs a comparison of its name, a column costs its conversion;
//! nothing is allocated for an item, an attribute or a cell.

use super::Mapping;
use super::convert::Fault;
use super::json::{check_names, map_names_fit};
use super::plan::{ColumnPlan, TablePlan};
use super::reshape::Reshape;
use super::shape::Shape;
use super::{Mapped, Table};
use crate::model::json::{write_item, write_string, write_value};
use crate::model::reject::Reject;
use crate::model::rows::Rows;
use crate::model::value::{Item, Value};

/// Maps items, one worker's worth: holds the worker's scratch space.
#[derive(Debug)]
pub struct Mapper<'m> {
    mapping: &'m Mapping,
    shape: Shape,
    /// Empty between items; its memory is reused.
    found: Vec<Option<Value<'static>>>,
    /// By slot, whether a column of the row holds the whole attribute. For tables with a `rest` column only.
    taken: Vec<bool>,
}

/// The item that is being mapped, from every side.
struct Subject<'i, 'a> {
    item: Item<'a>,
    line: &'i [u8],
    found: &'i [Option<Value<'a>>],
}

impl<'m> Mapper<'m> {
    pub(super) fn new(mapping: &'m Mapping) -> Self {
        Mapper { mapping, shape: Shape::default(), found: Vec::new(), taken: Vec::new() }
    }

    /// Maps `item`, decoded from `line`, appending to the rows of the table that takes it; `rows` has one entry for each
    /// of [`Mapping::tables`], with as many columns. `position` is the item's in its unit. Appends nothing unless it
    /// returns [`Mapped::Row`].
    #[inline]
    pub fn map(&mut self, item: Item<'_>, line: &[u8], position: u64, rows: &mut [Rows]) -> Mapped {
        let plan = &self.mapping.plan;
        let mut found: Vec<Option<Value<'_>>> = std::mem::take(&mut self.found);
        self.shape.fill(&plan.slots, item, &mut found);
        let chosen = plan.tables.iter().position(|table| table.takes(&found));
        let mapped = match chosen {
            None if plan.skip_unmatched => Mapped::Skipped,
            None => Mapped::Rejected(Reject {
                unit: None,
                position,
                table: None,
                column: None,
                reason: "no table of the mapping takes the item".into(),
            }),
            Some(index) => {
                let subject = Subject { item, line, found: &found };
                self.fill_row(index, &subject, position, &mut rows[index])
            }
        };
        self.found = emptied(found);
        mapped
    }

    #[inline]
    fn fill_row(&mut self, index: usize, subject: &Subject<'_, '_>, position: u64, rows: &mut Rows) -> Mapped {
        let (table, plan) = (&self.mapping.tables[index], &self.mapping.plan.tables[index]);
        if !plan.names_all(subject.found, subject.item.attributes().len()) {
            let reason = self.unnamed(plan, subject.item);
            return Mapped::Rejected(Reject { unit: None, position, table: Some(index), column: None, reason });
        }
        match self.fill_cells(table, plan, subject, rows) {
            Ok(()) => {
                rows.end_row(position);
                Mapped::Row(index)
            }
            Err((column, reason)) => {
                rows.abandon_row();
                Mapped::Rejected(Reject { unit: None, position, table: Some(index), column: Some(column), reason })
            }
        }
    }

    /// Says which attribute of the item the table does not name.
    fn unnamed(&mut self, plan: &TablePlan, item: Item<'_>) -> String {
        let named = plan.named.as_deref().unwrap_or_default();
        let slots = &self.mapping.plan.slots;
        let unnamed = item.attributes().iter().enumerate().find(|(index, (name, _))| {
            !self.shape.slot_at(slots, *index, name).is_some_and(|slot| named.contains(&slot))
        });
        let name = unnamed.map_or("", |(_, (name, _))| name);
        format!("no column takes attribute {name}: add one, or rest, or name it in ignore")
    }

    /// Appends a cell for each column; the error is the column and the reason.
    fn fill_cells(
        &mut self,
        table: &Table,
        plan: &TablePlan,
        subject: &Subject<'_, '_>,
        rows: &mut Rows,
    ) -> Result<(), (String, String)> {
        if plan.has_rest {
            self.taken.clear();
            self.taken.resize(subject.found.len(), false);
        }
        for (column, target) in plan.columns.iter().zip(&table.columns) {
            let appended = match column {
                ColumnPlan::Attribute(attribute) => attribute.append(subject.found, rows).map(|is_value| {
                    if let Some(slot) = attribute.place.whole_slot().filter(|_| plan.has_rest) {
                        self.taken[slot] |= is_value;
                    }
                }),
                ColumnPlan::Rest => rows.text(|out| self.write_rest(subject.item, out)).map_err(reason),
                ColumnPlan::Item(reshape) => rows.text(|out| write_reshaped(reshape, subject, out)),
                ColumnPlan::Whole => rows.text(|out| write_whole(subject, out)).map_err(reason),
            };
            appended.map_err(|reason| (target.name.clone(), reason))?;
        }
        Ok(())
    }

    /// Every attribute of which no column holds the whole value, as DynamoDB JSON. The `rest` column is the last.
    fn write_rest(&mut self, item: Item<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        out.push(b'{');
        for (index, (name, value)) in item.attributes().iter().enumerate() {
            let slot = self.shape.slot_at(&self.mapping.plan.slots, index, name);
            if slot.is_some_and(|slot| self.taken[slot]) {
                continue;
            }
            if out.len() > start + 1 {
                out.push(b',');
            }
            write_string(name, out);
            out.push(b':');
            write_value(value, out);
        }
        out.push(b'}');
        check_names(out.len() - start, || map_names_fit(item.attributes()))
    }
}

/// The item as DynamoDB JSON: the bytes of the line, where they are the item and nothing else.
fn write_whole(subject: &Subject<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    match raw_item(subject.line) {
        Some(raw) => out.extend_from_slice(raw),
        None => write_item(subject.item, out),
    }
    check_names(out.len() - start, || map_names_fit(subject.item.attributes()))
}

/// The item as a DynamoDB table gets it: the bytes of the line, unless it is to be another.
fn write_reshaped(reshape: &Reshape, subject: &Subject<'_, '_>, out: &mut Vec<u8>) -> Result<(), String> {
    match raw_item(subject.line) {
        _ if !reshape.is_nothing() => reshape.write(subject.item, out)?,
        Some(raw) => out.extend_from_slice(raw),
        None => write_item(subject.item, out),
    }
    Ok(())
}

/// The object in `{"Item":{…}}` without a space around it: its line is known to be valid, so these bytes are the item.
fn raw_item(line: &[u8]) -> Option<&[u8]> {
    let object = line.strip_prefix(b"{\"Item\":")?.strip_suffix(b"}")?;
    (object.starts_with(b"{") && object.ends_with(b"}")).then_some(object)
}

fn reason(fault: Fault) -> String {
    match fault {
        Fault::Unfit(unfit) => unfit.to_string(),
        Fault::Form(what) => what.to_owned(),
        Fault::Type => "a value is of another type".to_owned(),
    }
}

/// Empties the vector and lets go of what its elements borrowed; collecting in place keeps the memory.
fn emptied(mut found: Vec<Option<Value<'_>>>) -> Vec<Option<Value<'static>>> {
    found.clear();
    found.into_iter().map(|_| None).collect()
}
