//! Heavy hitters: which of many things come most often, with a fixed number of counters (Misra and Gries 1982).
//!
//! A count is never more than the truth, and less by at most [`Heavy::error`]: the things that come more often than that
//! are all there.

use super::signature::{Part, part};
use crate::model::hex;
use crate::model::value::Value;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Longest thing that is told apart from others, in bytes.
const THING_MAX: usize = 128;

/// The things that come most often.
#[derive(Clone, Debug, PartialEq)]
pub struct Heavy {
    counters: usize,
    counts: HashMap<String, u64>,
    all: u64,
    error: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// What it is, or how it begins and a hash of it.
    pub thing: String,
    /// How often it came, at least.
    pub count: u64,
}

impl Heavy {
    /// With so many counters.
    #[must_use]
    pub fn new(counters: usize) -> Self {
        Heavy { counters, counts: HashMap::new(), all: 0, error: 0 }
    }

    /// Counts `thing`; long ones by how they begin.
    pub fn add(&mut self, thing: &str) {
        let thing = beginning(thing, THING_MAX);
        self.all += 1;
        if let Some(count) = self.counts.get_mut(thing) {
            *count += 1;
            return;
        }
        self.counts.insert(thing.to_owned(), 1);
        if self.counts.len() > self.counters {
            self.take_off(1);
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        self.all += other.all;
        self.error += other.error;
        for (thing, count) in &other.counts {
            *self.counts.entry(thing.clone()).or_default() += count;
        }
        if self.counts.len() > self.counters {
            let mut counts: Vec<u64> = self.counts.values().copied().collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            self.take_off(counts[self.counters]);
        }
    }

    fn take_off(&mut self, count: u64) {
        self.error += count;
        self.counts.retain(|_, left| {
            *left = left.saturating_sub(count);
            *left > 0
        });
    }

    /// Puts a hash in the place of each thing, after how it begins if that tells no more than its kind.
    pub(super) fn redact(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        for (thing, count) in counts {
            let begins = match part(Value::S(&thing)) {
                Part::Prefix(prefix) => prefix,
                Part::Word(_) | Part::Other => String::new(),
            };
            let hash = hex::lower(&Sha256::digest(thing.as_bytes())[..6]);
            *self.counts.entry(format!("{begins}…{hash}")).or_default() += count;
        }
    }

    /// By how much a count may be too small.
    #[must_use]
    pub fn error(&self) -> u64 {
        self.error
    }

    /// How many things were counted.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.all
    }

    /// The `most` heaviest, the heaviest first.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<Hit> {
        let mut hits: Vec<Hit> =
            self.counts.iter().map(|(thing, count)| Hit { thing: thing.clone(), count: *count }).collect();
        hits.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.thing.cmp(&b.thing)));
        hits.truncate(most);
        hits
    }
}

/// At most the first `bytes` bytes of `text`, whole characters.
pub(super) fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(things: &[String]) -> Heavy {
        let mut heavy = Heavy::new(20);
        things.iter().for_each(|thing| heavy.add(thing));
        heavy
    }

    #[test]
    fn a_heavy_thing_is_found_among_any_number_of_others_also_after_a_merge() {
        let things: Vec<String> =
            (0..20_000).map(|n| if n % 5 == 0 { "hot".into() } else { format!("cold {n}") }).collect();
        let mut merged = counted(&things[..7000]);
        merged.merge(&counted(&things[7000..]));
        for heavy in [counted(&things), merged] {
            assert!(heavy.counts.len() <= 20);
            assert_eq!(heavy.all(), 20_000);
            assert!(heavy.error() <= 20_000 / 21 + 1, "{}", heavy.error());
            let hit = &heavy.top(1)[0];
            assert_eq!(hit.thing, "hot");
            assert!(hit.count <= 4000 && hit.count + heavy.error() >= 4000, "{}", hit.count);
        }
    }

    #[test]
    fn a_long_thing_is_cut_between_characters() {
        let mut heavy = Heavy::new(2);
        heavy.add(&"é".repeat(100));
        heavy.add(&format!("a{}", "é".repeat(100)));
        assert_eq!(heavy.top(9).iter().map(|hit| hit.thing.len()).collect::<Vec<_>>(), [127, 128]);
    }
}
