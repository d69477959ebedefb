//! Histories of a table: random puts, updates, deletes, re-creations and moves of items between kinds, with their truth.
//!
//! Knows what the mapping of [`super::world`] should do with an item, and computes it on its own.

use super::world::PAGE_LINES;
use crate::generator::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use transvase::report::Report;

/// How a change ends, unless a later one of its page overtakes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Written,
    Removed,
    Skipped,
    Rejected,
}

/// One line and what it should come to.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// None of a line that is no change at all.
    pub(super) key: Option<Key>,
    pub(super) end: End,
}

/// An item's key.
pub(super) type Key = (u64, String);

/// A row: its table, its version, its note.
type Row = (&'static str, u64, String);

/// The state of a table, as its changes leave it.
pub(super) struct History {
    rng: Rng,
    /// The last row of each key.
    state: BTreeMap<Key, Option<Row>>,
    /// The last item of each key, as a DynamoDB table would have it.
    pub(super) items: BTreeMap<Key, Option<String>>,
    version: u64,
}

/// What a run's counts say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) read: u64,
    pub(super) written: u64,
    pub(super) removed: u64,
    pub(super) superseded: u64,
    pub(super) skipped: u64,
    pub(super) rejected: u64,
}

impl Totals {
    pub(super) fn of(report: &Report) -> Totals {
        Totals {
            read: report.read,
            written: report.outcomes.written,
            removed: report.removed.unwrap(),
            superseded: report.superseded.unwrap(),
            skipped: report.skipped,
            rejected: report.outcomes.rejected,
        }
    }

    /// Of these units, cut into pages as the source cuts them: of each page the last change of a key is done.
    pub(super) fn of_pages(units: &[Vec<Line>]) -> Totals {
        let mut totals = Totals::default();
        for page in units.iter().flat_map(|unit| unit.chunks(PAGE_LINES)) {
            let mut seen = BTreeSet::new();
            for line in page.iter().rev() {
                totals.read += 1;
                if line.key.as_ref().is_some_and(|key| !seen.insert(key)) {
                    totals.superseded += 1;
                    continue;
                }
                *match line.end {
                    End::Written => &mut totals.written,
                    End::Removed => &mut totals.removed,
                    End::Skipped => &mut totals.skipped,
                    End::Rejected => &mut totals.rejected,
                } += 1;
            }
        }
        totals
    }
}

impl History {
    pub(super) fn new(seed: u64) -> History {
        History { rng: Rng::new(seed, 6), state: BTreeMap::new(), items: BTreeMap::new(), version: 0 }
    }

    /// Rows as [`super::world::rows`] reads them.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let row = |((pk, sk), row): (&Key, &Option<Row>)| {
            let (table, version, note) = row.as_ref()?;
            Some([*table, &pk.to_string(), sk, &version.to_string(), note].map(str::to_owned).to_vec())
        };
        self.state.iter().filter_map(row).collect()
    }

    /// The next `count` changes, in the order of each key, by lineage: a key is in one.
    pub(super) fn lineages(&mut self, count: usize, lineages: usize) -> Vec<Vec<Line>> {
        let mut units = vec![Vec::new(); lineages];
        for _ in 0..count {
            // few keys, so that many changes are of one
            let pk = self.rng.below(12);
            let key = (pk, (*self.rng.pick(&["s1", "s2", "t"])).to_owned());
            let line = self.change(key);
            units[usize::try_from(pk).unwrap() % lineages].push(line);
        }
        units
    }

    /// A window in which each key changed at most once, its lines in any order.
    pub(super) fn window(&mut self, keys: u64, files: usize) -> Vec<Vec<Line>> {
        let mut units = vec![Vec::new(); files];
        for pk in 0..keys {
            if self.rng.below(3) == 0 {
                continue;
            }
            let key = (pk * 7919 % keys, (*self.rng.pick(&["s1", "t"])).to_owned());
            let line = self.change(key);
            let file = self.rng.index(files);
            units[file].push(line);
        }
        units
    }

    /// One change of a key.
    fn change(&mut self, key: Key) -> Line {
        self.version += 1;
        let (pk, sk) = (key.0, &key.1);
        let spelled = [pk.to_string(), format!("{pk}.0"), format!("{pk}0e-1"), format!("+{pk}")];
        let spelling = |rng: &mut Rng| spelled[rng.index(3)].clone();
        let keys = format!(r#""pk":{{"N":"{}"}},"sk":{{"S":"{sk}"}}"#, spelling(&mut self.rng));
        let line = |members: String, key, end| Line { text: format!("{{{members}}}\n"), key, end };
        match self.rng.below(20) {
            0 => return line("no JSON".into(), None, End::Rejected),
            1 => return line(format!(r#""Keys":{{"pk":{{"N":"{pk}"}}}}"#), None, End::Rejected),
            2 => {
                self.state.insert(key.clone(), None);
                // a table of items has no better idea of it
                self.items.insert(key.clone(), None);
                let image = format!(r#"{{{keys},"x":{{"N":"many"}}}}"#);
                return line(format!(r#""NewImage":{image},"Keys":{{{keys}}}"#), Some(key), End::Rejected);
            }
            3..=7 => {
                self.state.insert(key.clone(), None);
                self.items.insert(key.clone(), None);
                let old = r#""OldImage":{"anything":7},"#;
                return line(format!(r#"{old}"Keys":{{{keys}}}"#), Some(key), End::Removed);
            }
            _ => {}
        }
        let kind = (*self.rng.pick(&["small", "small", "big", "big", "log", "other"])).to_owned();
        let note = (*self.rng.pick(&["a", "b", "c", "d", "e", "é\\\"", "refused", "longer than it may"])).to_owned();
        let version = self.version;
        // an index of the DynamoDB table takes no number, so that a table of items refuses some as well
        let zip = if note == "refused" { r#","zip":{"N":"1"}"# } else { "" };
        let image =
            format!(r#"{{"note":{{"S":"{note}"}},{keys},"v":{{"N":"{version}"}},"kind":{{"S":"{kind}"}}{zip}}}"#);
        let (row, end) = match kind.as_str() {
            "other" => (None, End::Skipped),
            "log" if !sk.starts_with('s') => (None, End::Skipped),
            _ if note.len() > 12 || note == "refused" => (None, End::Rejected),
            kind => {
                let table = if kind == "log" {
                    "logs"
                } else if kind == "big" {
                    "big"
                } else {
                    "small"
                };
                (Some((table, version, note.replace("\\\"", "\""))), End::Written)
            }
        };
        self.state.insert(key.clone(), row);
        self.items.insert(key.clone(), (note != "refused").then(|| image.clone()));
        let metadata = r#""Metadata":{"WriteTimestampMicros":{"N":"1768386096366933"}},"#;
        let other = spelling(&mut self.rng);
        let keys = format!(r#""sk":{{"S":"{sk}"}},"pk":{{"N":"{other}"}}"#);
        line(format!(r#"{metadata}"Keys":{{{keys}}},"NewImage":{image}"#), Some(key), end)
    }
}
