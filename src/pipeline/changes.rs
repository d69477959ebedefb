//! A page of changes to a batch: rows that replace, keys whose rows go, and of each key only its last change.
//!
//! A put goes to the table that takes its image, and its key's rows go from every other table that can hold the key: so an
//! item that a condition no longer fits moves. A delete, an image that no table takes and one that is rejected take the
//! key's rows from all of them: the target is what maps, and nothing older. Keys are compared by value.

use super::transform::sorted;
use crate::error::Result;
use crate::mapping::{KeyMapper, Mapped, Mapper, Mapping};
use crate::model::batch::{Batch, Changes, Feed, TableRows};
use crate::model::decode::{Change, Decoder};
use crate::model::page::Page;
use crate::model::reject::Reject;
use crate::model::rows::Rows;
use std::collections::HashMap;

/// How a change ends, as long as no later one overtakes it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Written,
    Removed,
    Skipped,
    Rejected,
    Superseded,
}

/// A page on its way.
struct Taking<'m> {
    mapper: Mapper<'m>,
    keys: KeyMapper<'m>,
    rows: Vec<Rows>,
    removals: Vec<Rows>,
    rejects: Vec<Reject>,
    /// By key, which line of the page was its last so far.
    last: HashMap<Vec<u8>, usize>,
    /// By line.
    ends: Vec<End>,
}

/// Decodes and maps every change of `page`, and sorts rows and removals of each table by their key.
///
/// # Errors
/// `Config` for a mapping by whose keys rows cannot be found; `Refused`, naming both, when two items have one target key.
pub fn encode(page: Page, mapping: &Mapping, decoder: &mut Decoder, unit_name: &str) -> Result<Batch> {
    let (keys, tables) = (mapping.key_mapper()?, mapping.tables());
    let mut taking = Taking {
        mapper: mapping.mapper(),
        rows: tables.iter().map(|table| Rows::new(table.columns.len())).collect(),
        removals: (0..tables.len()).map(|table| Rows::new(keys.columns(table))).collect(),
        keys,
        rejects: Vec::new(),
        last: HashMap::new(),
        ends: Vec::new(),
    };
    for (position, line) in page.lines() {
        let end = match decoder.decode_change(line, |change| taking.take(change, position)) {
            Ok(end) => end,
            Err(error) => taking.reject(position, error.to_string()),
        };
        taking.ends.push(end);
    }
    let Taking { rows, removals, mut rejects, ends, .. } = taking;
    let from = page.span.from;
    let end = |position: u64| usize::try_from(position - from).ok().and_then(|line| ends.get(line));
    let stands = |position: u64| end(position) != Some(&End::Superseded);
    rejects.retain(|reject| stands(reject.position));
    let standing = |rows: &Rows, order: Vec<u32>| -> Vec<u32> {
        order.into_iter().filter(|row| stands(rows.position(*row as usize))).collect()
    };
    let (mut all, mut gone) = (Vec::with_capacity(tables.len()), Vec::with_capacity(tables.len()));
    for (table, (rows, removals)) in tables.iter().zip(rows.into_iter().zip(removals)) {
        let order = standing(&rows, rows.sorted(&table.key));
        all.push(TableRows { order: sorted(table, &rows, order, unit_name)?, key: table.key.clone(), rows });
        let key: Vec<usize> = (0..table.key.len()).collect();
        gone.push(TableRows { order: standing(&removals, removals.sorted(&key)), key, rows: removals });
    }
    let count = |wanted: End| ends.iter().filter(|end| **end == wanted).count() as u64;
    let changes = Changes { removals: gone, removed: count(End::Removed), superseded: count(End::Superseded) };
    let skipped = count(End::Skipped);
    Ok(Batch { page, tables: all, rejects, skipped, feed: Feed::Page, changes: Some(changes) })
}

impl Taking<'_> {
    fn take(&mut self, change: Change<'_>, position: u64) -> End {
        let key = match self.keys.identity(change.keys) {
            Ok(key) => key,
            Err(reason) => return self.reject(position, reason),
        };
        if let Some(overtaken) = self.last.insert(key, self.ends.len()) {
            self.ends[overtaken] = End::Superseded;
        }
        let (end, kept) = match change.image {
            Ok(None) => (End::Removed, None),
            // The line is not the item's, so the mapper gets none to copy from.
            Ok(Some(item)) => match self.mapper.map(item, &[], position, &mut self.rows) {
                Mapped::Row(table) => (End::Written, Some(table)),
                Mapped::Skipped => (End::Skipped, None),
                Mapped::Rejected(reject) => {
                    self.rejects.push(reject);
                    (End::Rejected, None)
                }
            },
            Err(error) => (self.reject(position, error.to_string()), None),
        };
        self.keys.map(change.keys, position, kept, &mut self.removals);
        end
    }

    fn reject(&mut self, position: u64, reason: String) -> End {
        self.rejects.push(Reject { unit: None, position, table: None, column: None, reason });
        End::Rejected
    }
}

#[cfg(test)]
mod tests;
