//! One lineage: a captured shard and all that continues it, with the position in each. Pure; its text is what a page
//! *reached*.
//!
//! Promises: a shard is read only once its parent was read to its end, so the changes of a key, which lives in one shard at
//! a time, come in order. What was read to its end is remembered for as long as a child of it may turn up late. A lineage
//! never begins a shard that belongs to another one.

use super::capture::{Capture, Position};
use super::tree::Tree;
use crate::error::{Error, Result};
use crate::model::page::UnitId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// For how long a shard that is no longer listed is remembered after its end, in seconds: twice the time for which a
/// stream keeps changes. It may only be missing from one listing.
const REMEMBERED: u64 = 48 * 3600;

/// A lineage and how far it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Shards that are being read, and where.
    reading: BTreeMap<String, Position>,
    /// Shards that were read to their end, and since when what comes after them may have been made, in seconds since 1970.
    ended: BTreeMap<String, u64>,
}

impl Lineage {
    /// A lineage of which nothing was read.
    ///
    /// # Errors
    /// `Internal` for a unit that the capture does not have.
    pub fn begin(capture: &Capture, unit: UnitId) -> Result<Lineage> {
        let root =
            capture.lineages.get(unit as usize).ok_or_else(|| Error::internal("the capture has no such unit"))?;
        let reading = BTreeMap::from([(root.shard.clone(), root.position.clone())]);
        Ok(Lineage { reading, ended: BTreeMap::new() })
    }

    /// Goes on where a page reached.
    ///
    /// # Errors
    /// `Internal` when the text is none of ours.
    pub fn parse(text: &str) -> Result<Lineage> {
        serde_json::from_str(text)
            .map_err(|error| Error::internal("a lineage's position is not readable").because(error))
    }

    /// The text that says how far it was read.
    ///
    /// # Errors
    /// None that could happen: it holds text and numbers.
    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::internal("writing a position").because(error))
    }

    /// The shards that may be read, each with where to go on.
    pub fn reading(&self) -> impl Iterator<Item = (&str, &Position)> {
        self.reading.iter().map(|(id, position)| (id.as_str(), position))
    }

    /// Where to go on in a shard that is being read.
    #[must_use]
    pub fn position(&self, shard: &str) -> Option<&Position> {
        self.reading.get(shard)
    }

    /// Takes in the shards of a listing, and those that a capture which joins on has met, that continue what was read to its
    /// end. Whether there were any.
    pub fn grow(&mut self, tree: &Tree, capture: &Capture, unit: UnitId, now: u64) -> bool {
        let before = self.reading.len();
        let from = capture.hand_over.map_or(now, |hand_over| hand_over.from);
        for (id, parent) in &capture.continues {
            if self.ended.contains_key(parent) && !self.reading.contains_key(id) && !self.ended.contains_key(id) {
                let start = tree.get(id).and_then(|shard| shard.start.clone());
                self.reading.insert(id.clone(), Position { read: None, start, since: from });
            }
        }
        for (id, shard) in tree.iter() {
            let Some(parent) = &shard.parent else { continue };
            let is_ours = self.ended.contains_key(parent) || capture.heir_of(parent) == Some(unit);
            if is_ours && !self.reading.contains_key(id) && !self.ended.contains_key(id) && !capture.knows(id) {
                let since = self.ended.get(parent).copied().unwrap_or(capture.taken);
                self.reading.insert(id.to_owned(), Position { read: None, start: shard.start.clone(), since });
            }
        }
        self.ended.retain(|id, when| tree.get(id).is_some() || now.saturating_sub(*when) < REMEMBERED);
        self.reading.len() > before
    }

    /// Records of a shard were read, the last of them with this number, made then.
    pub fn read(&mut self, shard: &str, sequence: &str, since: u64) {
        if let Some(position) = self.reading.get_mut(shard) {
            *position = Position { read: Some(sequence.to_owned()), start: None, since };
        }
    }

    /// A shard was read to its end; it had nothing more at the time `quiet`, where that is known.
    pub fn end(&mut self, shard: &str, quiet: Option<u64>) {
        if let Some(position) = self.reading.remove(shard) {
            self.ended.insert(shard.to_owned(), quiet.map_or(position.since, |quiet| quiet.max(position.since)));
        }
    }

    /// Whether a shard that was read to its end has no child in the listing: one will turn up, unless the stream was
    /// switched off.
    #[must_use]
    pub fn awaits(&self, tree: &Tree) -> bool {
        self.ended.keys().any(|id| tree.get(id).is_some() && !tree.is_continued(id))
    }
}
