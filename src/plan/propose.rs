//! From sampled pages to a census and a mapping that was proved against every one of their items.

use super::prove::prove;
use super::take::Packed;
use crate::census::Census;
use crate::error::{Error, Result};
use crate::infer::kind::{Kind, kinds, refined};
use crate::infer::{Draft, Facts, InferredMapping, evidence};
use crate::mapping::footprint::TableSize;
use crate::mapping::{KeyAttribute, Mapping};
use crate::model::decode::Decoder;
use crate::model::dialect::Dialect;
use crate::model::value::Item;
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
fn each_item(page: &Packed, mut use_item: impl FnMut(Option<Item<'_>>, u64)) -> Result<()> {
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

/// A mapping with what its tables would take.
#[derive(Debug)]
pub struct Proposal {
    /// The mapping's text, and what came of proving it.
    pub inferred: InferredMapping,
    /// The mapping, compiled from the text.
    pub mapping: Mapping,
    /// What its tables take when the whole is like the sample.
    pub sizes: Vec<TableSize>,
}

/// Infers a mapping and proves it: every sampled item is mapped by the file's own text, and what would reject one goes to
/// `rest`. Sizes are those on a server of `dialect`.
///
/// # Errors
/// `Config` when no mapping file can say the table's key; `Internal`.
pub fn mapping(pages: &[Packed], census: &Census, facts: &Facts<'_>, dialect: Dialect) -> Result<Proposal> {
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
        let (proof, footprint) = prove(pages, &mapping, dialect)?;
        let mut changed = false;
        for ((table, column), (rejected, reason)) in &proof.rejects {
            let (Some(table), Some(column)) = (table, column) else { continue };
            let why = format!("{} sampled items were rejected: {reason}", evidence::count(*rejected));
            changed |= draft.leave_out(*table, column, &why);
        }
        if !changed {
            let scale = facts.items as f64 / (census.items + census.broken).max(1) as f64;
            let sizes = footprint.sizes(scale, facts.clustered);
            let inferred = proof.inferred(text, census, mapping.tables());
            return Ok(Proposal { inferred, sizes, mapping });
        }
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
