//! What a verification found, for people and as JSON. Counts come from the verification's own ledger alone.

use crate::checkpoint::differences::Tally;
use crate::model::counts::{Compared, Counts};
use crate::model::difference::{Kind, Verdict};
use crate::report::ProcessReport;
use serde::Serialize;

/// How a verification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyStatus {
    /// Everything was compared, and nothing differs.
    Clean,
    /// Everything was compared, and something differs.
    Differences,
    /// A stop was requested; run the same command to go on.
    Interrupted,
    /// Some units could not be read; the rest was compared.
    UnitsFailed,
    /// It ended with an error; run the same command to go on.
    Failed,
}

/// What was compared of one table.
#[derive(Clone, Debug, Serialize)]
pub struct VerifiedTable {
    /// The table.
    pub table: String,
    /// Rows that the source's items map to.
    pub source: u64,
    /// Rows of the target.
    pub target: u64,
    /// Keys at which they agreed.
    pub equal: u64,
    /// Keys of which the target had no row.
    pub missing: u64,
    /// Keys of which the source had no item.
    pub extra: u64,
    /// Keys at which both had something, and not the same.
    pub different: u64,
    /// Rows of the target that were read one by one, rather than digested or counted by its server.
    pub walked: u64,
    /// Items that the mapping rejects.
    pub rejected: u64,
    /// All rows of the source, digested, in hex; zeros at a level that does not digest.
    pub source_digest: String,
    /// All rows of the target.
    pub target_digest: String,
}

/// How many candidates ended in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Not looked at again.
    pub open: u64,
    /// Both sides agree after all.
    pub settled: u64,
    /// They differ.
    pub confirmed: u64,
    /// Nothing can be said of them.
    pub unsettled: u64,
    /// A run rejected the item, so the row is missing rightly.
    pub rejected: u64,
    /// They differed, and were mended.
    pub repaired: u64,
}

impl Verdicts {
    /// Those among `tallies`.
    #[must_use]
    pub fn of(tallies: &[Tally]) -> Self {
        let mut verdicts = Verdicts::default();
        for tally in tallies {
            *match tally.verdict {
                Verdict::Open => &mut verdicts.open,
                Verdict::Settled => &mut verdicts.settled,
                Verdict::Confirmed => &mut verdicts.confirmed,
                Verdict::Unsettled => &mut verdicts.unsettled,
                Verdict::Rejected => &mut verdicts.rejected,
                Verdict::Repaired => &mut verdicts.repaired,
            } += tally.count;
        }
        verdicts
    }

    /// Differences that remain: whatever did not turn out to be none.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.open + self.confirmed + self.unsettled
    }
}

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// How it ended.
    pub status: VerifyStatus,
    /// The verification's name.
    pub run: String,
    /// The source, as described by itself.
    pub source: String,
    /// The target, without a password.
    pub target: String,
    /// The DynamoDB table.
    pub table: String,
    /// How closely rows were compared.
    pub level: String,
    /// What share of the source, in millionths; none when it was all. Rows that only the target has were not looked for
    /// then.
    pub sample: Option<u32>,
    /// Items in the source: declared by an export, roughly known of a live table.
    pub items: u64,
    /// Whether that is exact.
    pub exact: bool,
    /// Items read.
    pub read: u64,
    /// Items that no table takes and the mapping skips.
    pub skipped: u64,
    /// Items that the mapping rejects, those that no table was found for included.
    pub rejected: u64,
    /// By target table.
    pub tables: Vec<VerifiedTable>,
    /// Keys that differ: those that were found, less those that turned out to be none.
    pub differences: u64,
    /// The same by kind: missing, extra, different.
    pub kinds: [u64; 3],
    /// What became of all that were found.
    pub verdicts: Verdicts,
    /// What failed, in plain words.
    pub failures: Vec<String>,
    /// The seed of the shuffle and of the sample.
    pub seed: u64,
    /// What this process did and took.
    pub process: ProcessReport,
    /// The engine's version.
    pub version: &'static str,
    /// The target server's version.
    pub server: String,
}

impl VerifyReport {
    /// Takes over the ledger's counts.
    pub(super) fn set_counts(&mut self, counts: &Counts, names: &[&str]) {
        self.read = counts.read;
        self.skipped = counts.skipped;
        self.rejected = counts.outcomes().rejected;
        self.tables = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let compared: Compared = counts.compared.get(index).copied().unwrap_or_default();
                VerifiedTable {
                    table: (*name).to_owned(),
                    source: compared.source,
                    target: compared.target,
                    equal: compared.equal,
                    missing: compared.missing,
                    extra: compared.extra,
                    different: compared.different,
                    walked: compared.walked,
                    rejected: counts.tables.get(index).map_or(0, |table| table.rejected),
                    source_digest: compared.source_digest.to_string(),
                    target_digest: compared.target_digest.to_string(),
                }
            })
            .collect();
    }

    /// Takes over what became of the candidates.
    pub(super) fn set_verdicts(&mut self, tallies: &[Tally]) {
        self.verdicts = Verdicts::of(tallies);
        self.differences = self.verdicts.remaining();
        let remaining = |kind: Kind| {
            let of_kind: Vec<Tally> = tallies.iter().filter(|tally| tally.kind == kind).copied().collect();
            Verdicts::of(&of_kind).remaining()
        };
        self.kinds = [Kind::Missing, Kind::Extra, Kind::Different].map(remaining);
    }
}
