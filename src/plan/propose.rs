//! From sampled pages to a census and a mapping that was proved against every one of their items.

use super::take::Packed;
use crate::census::Census;
use crate::error::{Error, Result};
use crate::infer::kind::{Kind, kinds, refined};
use crate::infer::{Draft, Facts, InferredMapping, InferredTable, evidence};
use crate::mapping::{ColumnType, KeyAttribute, Mapped, Mapping, Table};
use crate::model::decode::Decoder;
use crate::model::rows::{CellRef, Rows};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use std::collections::{BTreeMap, BTreeSet};

/// Attributes that are counted in any case, when there are too many to count all.
const PINNED: usize = 512;

/// Counts the items of all pages.
///
/// # Errors
/// `Internal`.
pub fn census(pages: &[Packed], key: &[KeyAttribute]) -> Result<Census> {
    let all = count(pages, key, &BTreeSet::new(), &[])?;
    let Some(census) = all.into_iter().next() else { return Err(Error::internal("there is no census")) };
    if !census.attributes.overflowed() {
        return Ok(census);
    }
    let again = count(pages, key, &usual(&census, pages, key)?, &[])?;
    again.into_iter().next().ok_or_else(|| Error::internal("there is no census"))
}

/// The attributes that most items of the first page have.
fn usual(census: &Census, pages: &[Packed], key: &[KeyAttribute]) -> Result<BTreeSet<String>> {
    let mut first: BTreeMap<String, u64> = BTreeMap::new();
    if let Some(page) = pages.first() {
        each_item(page, |item, _| {
            if let Some(item) = item {
                for (name, _) in item.attributes().iter() {
                    *first.entry(name.to_owned()).or_default() += 1;
                }
            }
        })?;
    }
    let kept = census.attributes.sorted().into_iter().map(|(name, attribute)| (attribute.items, name.to_owned()));
    let mut all: Vec<(u64, String)> = first.into_iter().map(|(name, count)| (count, name)).chain(kept).collect();
    all.sort_by(|a, b| b.cmp(a));
    all.truncate(PINNED);
    Ok(all.into_iter().map(|(_, name)| name).chain(key.iter().map(|key| key.name.clone())).collect())
}

/// A census of each kind, in their order, and one of the items of none.
fn count(pages: &[Packed], key: &[KeyAttribute], pinned: &BTreeSet<String>, kinds: &[Kind]) -> Result<Vec<Census>> {
    let none = || -> Vec<Census> { (0..=kinds.len()).map(|_| Census::new(key, pinned)).collect() };
    pages
        .par_iter()
        .map(|page| {
            let mut censuses = none();
            each_item(page, |item, length| match item {
                Some(item) => {
                    let at = kinds.iter().position(|kind| kind.takes(item)).unwrap_or(kinds.len());
                    censuses[at].add(item, length);
                }
                None => censuses[kinds.len()].add_broken(),
            })?;
            Ok(censuses)
        })
        .try_reduce(none, |mut ours, theirs| {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| ours.merge(theirs));
            Ok(ours)
        })
}

/// Hands every line's item to `use_item`, with the line's length; none for a line that is no item.
fn each_item(page: &Packed, mut use_item: impl FnMut(Option<crate::model::value::Item<'_>>, u64)) -> Result<()> {
    let lines = page.lines()?;
    let mut decoder = Decoder::default();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let length = line.len() as u64 + 1;
        if decoder.decode(line, |item| use_item(Some(item), length)).is_err() {
            use_item(None, length);
        }
    }
    Ok(())
}

/// Infers a mapping and proves it: every sampled item is mapped by the file's own text, and what would reject one goes to
/// `rest`.
///
/// # Errors
/// `Config` when no mapping file can say the table's key; `Internal`.
pub fn mapping(pages: &[Packed], census: &Census, facts: &Facts<'_>) -> Result<InferredMapping> {
    let pinned = if census.attributes.overflowed() { usual(census, pages, facts.key)? } else { BTreeSet::new() };
    let mut kinds = kinds(census, facts.complete);
    if !kinds.is_empty() {
        let censuses = count(pages, facts.key, &pinned, &kinds)?;
        kinds = refined(kinds, &censuses);
    }
    let censuses = count(pages, facts.key, &pinned, &kinds)?;
    let mut draft = Draft::new(facts, &kinds, &censuses);
    loop {
        let text = draft.text();
        let mapping = Mapping::parse(&text, "inferred from the sample")?;
        let proof = prove(pages, &mapping)?;
        let mut changed = false;
        for ((table, column), (rejected, reason)) in &proof.rejects {
            let (Some(table), Some(column)) = (table, column) else { continue };
            let why = format!("{} sampled items were rejected: {reason}", evidence::count(*rejected));
            changed |= draft.leave_out(*table, column, &why);
        }
        if !changed {
            return Ok(proof.of(text, &mapping, census));
        }
    }
}

/// What came of mapping every sampled item.
#[derive(Debug, Default)]
struct Proof {
    tables: Vec<InferredTable>,
    mapped: u64,
    /// By table and column: how many, and one reason.
    rejects: BTreeMap<(Option<usize>, Option<String>), (u64, String)>,
}

fn prove(pages: &[Packed], mapping: &Mapping) -> Result<Proof> {
    let tables = mapping.tables();
    let none = || Proof { tables: vec![InferredTable::default(); tables.len()], ..Proof::default() };
    pages
        .par_iter()
        .map(|page| {
            let mut proof = none();
            let mut mapper = mapping.mapper();
            let mut rows: Vec<Rows> = tables.iter().map(|table| Rows::new(table.columns.len())).collect();
            let lines = page.lines()?;
            let mut decoder = Decoder::default();
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                proof.mapped += 1;
                // a line that is no item is counted by the census
                let Ok(mapped) = decoder.decode(line, |item| mapper.map(item, line, 0, &mut rows)) else { continue };
                if let Mapped::Rejected(reject) = mapped {
                    let entry = proof.rejects.entry((reject.table, reject.column)).or_insert((0, reject.reason));
                    entry.0 += 1;
                }
            }
            for ((sizes, rows), table) in proof.tables.iter_mut().zip(&rows).zip(tables) {
                measure(sizes, rows, table);
            }
            Ok(proof)
        })
        .try_reduce(none, |ours, theirs| Ok(ours.joined(theirs)))
}

impl Proof {
    fn joined(mut self, other: Proof) -> Proof {
        for (ours, theirs) in self.tables.iter_mut().zip(other.tables) {
            ours.items += theirs.items;
            ours.row_bytes += theirs.row_bytes;
            ours.key_bytes += theirs.key_bytes;
            ours.largest_row = ours.largest_row.max(theirs.largest_row);
        }
        self.mapped += other.mapped;
        for (place, (rejected, reason)) in other.rejects {
            self.rejects.entry(place).or_insert((0, reason)).0 += rejected;
        }
        self
    }

    fn of(self, text: String, mapping: &Mapping, census: &Census) -> InferredMapping {
        let mut notes = Vec::new();
        for (rejected, reason) in self.rejects.values() {
            notes.push(format!("{} sampled items are rejected: {reason}", evidence::count(*rejected)));
        }
        if census.broken > 0 {
            notes.push(format!(
                "{} sampled lines are no DynamoDB JSON and are rejected",
                evidence::count(census.broken)
            ));
        }
        let rejected = census.broken + self.rejects.values().map(|(count, _)| count).sum::<u64>();
        let names = mapping.tables().iter().map(|table| table.name.clone());
        let tables = self.tables.into_iter().zip(names).map(|(table, name)| InferredTable { name, ..table }).collect();
        InferredMapping { text, tables, proved: self.mapped, rejected, notes }
    }
}

/// Adds up what the rows take.
fn measure(sizes: &mut InferredTable, rows: &Rows, table: &Table) {
    for row in 0..rows.len() {
        let (mut stored, mut said) = (0, 0);
        for (place, column) in table.columns.iter().enumerate() {
            let cell = rows.cell(row, place);
            let bytes = stored_bytes(cell, column.ty);
            stored += bytes;
            sizes.key_bytes += if table.key.contains(&place) { bytes } else { 0 };
            said += match cell {
                CellRef::Text(bytes) | CellRef::Bytes(bytes) => bytes.len() as u64,
                _ => 8,
            };
        }
        sizes.items += 1;
        sizes.row_bytes += stored;
        sizes.largest_row = sizes.largest_row.max(said);
    }
}

/// Bytes that MySQL stores for the cell, the length of a text included.
fn stored_bytes(cell: CellRef<'_>, ty: ColumnType) -> u64 {
    let length = match cell {
        CellRef::Null => return 0,
        CellRef::Text(bytes) | CellRef::Bytes(bytes) => bytes.len() as u64,
        CellRef::Int(_) | CellRef::Double(_) => 8,
    };
    match ty {
        ColumnType::Boolean => 1,
        ColumnType::Date => 3,
        ColumnType::Int => 4,
        ColumnType::BigInt | ColumnType::Double | ColumnType::DateTime => 8,
        ColumnType::Decimal { precision, scale } => {
            // nine digits are four bytes, on each side of the point
            (u64::from(precision - scale).div_ceil(9) + u64::from(scale).div_ceil(9)) * 4
        }
        ColumnType::Varchar(_) | ColumnType::Varbinary(_) => length + 1 + u64::from(length > 255),
        ColumnType::Text | ColumnType::Blob | ColumnType::Json => length + 4,
    }
}

/// Attributes that could be the key of an export's table, with their types: those that every item has, of a type and a
/// length that a key can have, the likelier the earlier.
#[must_use]
pub fn possible_keys(census: &Census) -> Vec<String> {
    const LIKELY: [&str; 6] = ["pk", "partitionkey", "hashkey", "sk", "sortkey", "rangekey"];
    let mut found: Vec<(usize, String)> = Vec::new();
    for (name, attribute) in census.attributes.sorted() {
        let Some(tag @ ("S" | "N" | "B")) = attribute.types.only() else { continue };
        let fits = attribute.items == census.items && attribute.types.of("NULL") == 0;
        if !fits || attribute.texts.empty > 0 || attribute.sizes.largest() > 2048 {
            continue;
        }
        let few = attribute.texts.constants.counts().is_some_and(|few| (few.len() as u64) * 8 < census.items);
        let plain: String = name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect();
        let rank = match LIKELY.iter().position(|known| *known == plain) {
            Some(place) => place,
            None if plain.ends_with("id") => 10,
            None if few => 30,
            None => 20,
        };
        found.push((rank, format!("{name}:{tag}")));
    }
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}
