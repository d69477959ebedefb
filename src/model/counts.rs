//! How the items that were read ended. The identity `read + loaded = written + removed + superseded + already present +
//! tombstoned + skipped by rule + rejected + spilled` holds for every span, so it holds for every sum of spans. Rows are spilled and loaded by a
//! clustered load alone; once it is complete all that were spilled are loaded, and the two drop out. Of changes a put is
//! written and a delete removed, each once, however many tables it visits and whether or not a row was there.

use super::rows::CellRef;
use serde::{Deserialize, Serialize};
use std::fmt;

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

    /// Adds others.
    pub fn add(&mut self, other: &Outcomes) {
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

/// How the rows of one table compared with those of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Rows that the source's items map to.
    pub source: u64,
    /// Rows of the target.
    pub target: u64,
    /// Keys at which both agree.
    pub equal: u64,
    /// Keys of which the target has no row.
    pub missing: u64,
    /// Keys of which the source has no item.
    pub extra: u64,
    /// Keys at which both have something, and not the same.
    pub different: u64,
    /// Rows of the target that were read one by one.
    #[serde(default)]
    pub walked: u64,
    /// All rows of the source, digested in whatever order.
    pub source_digest: Digest,
    /// All rows of the target.
    pub target_digest: Digest,
}

/// The exclusive or of the digests of many rows: the same in whatever order they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest([u64; 2]);

impl Digest {
    /// Adds a row's digest, or those of more rows.
    pub fn add(&mut self, other: Digest) {
        self.0[0] ^= other.0[0];
        self.0[1] ^= other.0[1];
    }

    /// As its 16 bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        (u128::from(self.0[0]) << 64 | u128::from(self.0[1])).to_be_bytes()
    }
}

impl From<[u8; 16]> for Digest {
    fn from(bytes: [u8; 16]) -> Self {
        let (high, low) = bytes.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Digest([word(high), word(low)])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

impl Compared {
    /// Adds others.
    pub fn add(&mut self, other: &Compared) {
        self.source += other.source;
        self.target += other.target;
        self.equal += other.equal;
        self.missing += other.missing;
        self.extra += other.extra;
        self.different += other.different;
        self.walked += other.walked;
        self.source_digest.add(other.source_digest);
        self.target_digest.add(other.target_digest);
    }

    /// Keys at which they do not agree.
    #[must_use]
    pub fn differences(&self) -> u64 {
        self.missing + self.extra + self.different
    }
}

impl KeyCell {
    /// A row's cell; none when it is of a kind that no key has.
    #[must_use]
    pub fn of(cell: CellRef<'_>) -> Option<KeyCell> {
        match cell {
            CellRef::Int(value) => Some(KeyCell::Int(value)),
            CellRef::Text(text) => std::str::from_utf8(text).ok().map(|text| KeyCell::Text(text.to_owned())),
            CellRef::Bytes(bytes) => Some(KeyCell::Bytes(bytes.to_vec())),
            CellRef::Null | CellRef::Double(_) => None,
        }
    }

    /// As a row has it.
    #[must_use]
    pub fn cell(&self) -> CellRef<'_> {
        match self {
            KeyCell::Int(value) => CellRef::Int(*value),
            KeyCell::Text(text) => CellRef::Text(text.as_bytes()),
            KeyCell::Bytes(bytes) => CellRef::Bytes(bytes),
        }
    }
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
    /// Changes that are deletes: no table has a row of their keys any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub removed: u64,
    /// Changes that a later one of the same key has overtaken before they were done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub superseded: u64,
    /// Rows that went into a sorted run on disk: how they end is known when they are loaded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spilled: u64,
    /// Rows of sorted runs that have ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub loaded: u64,
    /// By target table, in the mapping's order.
    pub tables: Vec<Outcomes>,
    /// By target table, how its rows compared: of a verification alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared: Vec<Compared>,
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
        self.removed += other.removed;
        self.superseded += other.superseded;
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
        if self.compared.len() < other.compared.len() {
            self.compared.resize(other.compared.len(), Compared::default());
        }
        for (mine, others) in self.compared.iter_mut().zip(&other.compared) {
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
        let changed = self.removed + self.superseded;
        self.read + self.loaded == self.skipped + self.outcomes().total() + changed + self.spilled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_add_up_in_any_order_and_survive_the_ledger() {
        let digest =
            |byte: u8| Digest::from(std::array::from_fn(|at| byte.wrapping_mul(u8::try_from(at).unwrap() + 1)));
        let sum = |bytes: &[u8]| {
            let mut sum = Digest::default();
            bytes.iter().for_each(|byte| sum.add(digest(*byte)));
            sum
        };
        assert_eq!(sum(&[3, 200, 77]), sum(&[77, 3, 200]));
        assert_ne!(sum(&[3, 200, 77]), sum(&[3, 200, 78]));
        assert_eq!(Digest::from(sum(&[9]).bytes()), sum(&[9]));
        assert_eq!(digest(1).to_string(), "0102030405060708090a0b0c0d0e0f10");
        let compared = Compared { source: 1, source_digest: sum(&[255]), ..Compared::default() };
        let mut counts = Counts { compared: vec![compared], ..Counts::default() };
        let stored = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<Counts>(&stored).unwrap(), counts);
        counts.add(&Counts { compared: vec![Compared::default(), compared], ..Counts::default() });
        assert_eq!(counts.compared, [compared, compared]);
    }

    #[test]
    fn removed_and_superseded_changes_add_up_and_ledgers_without_them_load() {
        let written = |written| vec![Outcomes { written, ..Outcomes::default() }];
        let mut counts = Counts { read: 6, removed: 2, superseded: 1, tables: written(3), ..Counts::default() };
        assert!(counts.add_up());
        let stored = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<Counts>(&stored).unwrap(), counts);
        let old = Counts { read: 4, tables: written(4), ..Counts::default() };
        let stored = serde_json::to_string(&old).unwrap();
        assert!(!stored.contains("removed") && !stored.contains("superseded"), "{stored}");
        counts.add(&serde_json::from_str::<Counts>(&stored).unwrap());
        assert_eq!((counts.read, counts.removed, counts.superseded, counts.add_up()), (10, 2, 1, true));
        counts.superseded += 1;
        assert!(!counts.add_up());
    }

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
