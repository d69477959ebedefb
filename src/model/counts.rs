//! How the items that were read ended. The identity `read + loaded = written + already present + tombstoned + skipped by
//! rule + rejected + spilled` holds for every span, so it holds for every sum of spans. Rows are spilled and loaded by a
//! clustered load alone; once it is complete all that were spilled are loaded, and the two drop out.

use serde::{Deserialize, Serialize};

/// What became of the items of one table, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Rows this run wrote.
    pub written: u64,
    /// Rows that were there before, left as they were.
    pub present: u64,
    /// Items whose deletion was already known, so not written.
    pub tombstoned: u64,
    /// Items that cannot be stored as they are; each is in the run's rejects.
    pub rejected: u64,
}

impl Outcomes {
    /// All items.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.written + self.present + self.tombstoned + self.rejected
    }

    fn add(&mut self, other: &Outcomes) {
        self.written += other.written;
        self.present += other.present;
        self.tombstoned += other.tombstoned;
        self.rejected += other.rejected;
    }
}

/// The target key of one row that a span made durable: should it be gone later, the table was truncated or replaced.
/// Nothing that a plain user may ask MySQL tells of a TRUNCATE [measured].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The table, in the mapping's order.
    pub table: usize,
    /// The key's cells, in the key's order.
    pub key: Vec<KeyCell>,
    /// When its page was written, in microseconds by the database's clock; the ledger fills it in.
    #[serde(default)]
    pub at: u64,
}

/// A cell of a key, as JSON can hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyCell {
    /// An integer.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes, one number each.
    Bytes(Vec<u8>),
}

/// Counts of a span, or of any sum of spans. What the ledger stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Items read.
    pub read: u64,
    /// Items that no table takes and that the mapping says to skip.
    pub skipped: u64,
    /// Items rejected before a table was chosen.
    pub rejected: u64,
    /// Bytes of source lines, inflated.
    pub bytes: u64,
    /// What a live table charged for the pages, in halves of a read unit. Empty pages, and pages that were read and lost,
    /// are not among them.
    #[serde(default)]
    pub half_units: u64,
    /// Rows that went into a sorted run on disk: how they end is known when they are loaded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spilled: u64,
    /// Rows of sorted runs that have ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub loaded: u64,
    /// By target table, in the mapping's order.
    pub tables: Vec<Outcomes>,
    /// A row to look for later; of a sum, the one written first: whatever emptied the table since took that one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// Of a field that most runs do not have.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Counts {
    /// All zero, for `tables` target tables.
    #[must_use]
    pub fn new(tables: usize) -> Self {
        Counts { tables: vec![Outcomes::default(); tables], ..Counts::default() }
    }

    /// Adds another span's counts.
    pub fn add(&mut self, other: &Counts) {
        self.read += other.read;
        self.skipped += other.skipped;
        self.rejected += other.rejected;
        self.bytes += other.bytes;
        self.half_units += other.half_units;
        self.spilled += other.spilled;
        self.loaded += other.loaded;
        self.canary = match (self.canary.take(), &other.canary) {
            (Some(mine), Some(theirs)) if theirs.at < mine.at => Some(theirs.clone()),
            (None, theirs) => theirs.clone(),
            (mine, _) => mine,
        };
        if self.tables.len() < other.tables.len() {
            self.tables.resize(other.tables.len(), Outcomes::default());
        }
        for (mine, others) in self.tables.iter_mut().zip(&other.tables) {
            mine.add(others);
        }
    }

    /// The outcomes of all tables together, with the rejects that no table saw.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        let mut all = Outcomes { rejected: self.rejected, ..Outcomes::default() };
        for table in &self.tables {
            all.add(table);
        }
        all
    }

    /// The same, when the rows that would be written went into a sorted run instead.
    #[must_use]
    pub fn spilled(mut self) -> Self {
        for table in &mut self.tables {
            self.spilled += std::mem::take(&mut table.written);
        }
        self
    }

    /// Whether every item read and every row loaded is accounted for.
    #[must_use]
    pub fn add_up(&self) -> bool {
        self.read + self.loaded == self.skipped + self.outcomes().total() + self.spilled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_canaries_the_one_written_first_is_kept() {
        let canary = |at| Counts { canary: Some(Canary { table: 0, key: vec![], at }), ..Counts::default() };
        for (first, second) in [(3, 7), (7, 3)] {
            let mut sum = Counts::default();
            sum.add(&canary(first));
            sum.add(&Counts::default());
            sum.add(&canary(second));
            assert_eq!(sum.canary.map(|canary| canary.at), Some(3));
        }
    }
}
