//! What following did: a line for each window, and totals that add up.

use super::position::Position;
use crate::mapping::moment_text;
use crate::model::counts::{Counts, Outcomes};
use crate::report::ProcessReport;
use serde::Serialize;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FollowStatus {
    /// The target is at the chain's end.
    CaughtUp,
    /// The same, but for what was rejected.
    CaughtUpWithRejects,
    /// A stop was requested; the same command goes on.
    Interrupted,
    /// Some data files could not be read; the rest of their window is durable.
    UnitsFailed,
    /// It ended with an error; the same command goes on.
    Failed,
}

/// How far a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowStatus {
    /// It ends before the copy was made: nothing of it is to be applied.
    InTheCopy,
    /// It was applied before.
    AppliedBefore,
    /// It was applied.
    Applied,
    /// Some of it was applied.
    Begun,
    /// It waits for the one before.
    Waiting,
}

/// One window.
#[derive(Clone, Debug, Serialize)]
pub struct WindowReport {
    /// Its first moment.
    pub from: String,
    /// The first moment after it.
    pub to: String,
    /// Where its export is.
    pub export: String,
    /// How far it is.
    pub status: WindowStatus,
    /// Changes that the export declares.
    pub changes: u64,
    /// What became of them, by every process that worked on it.
    #[serde(flatten)]
    pub tally: Tally,
    /// What failed, in plain words.
    pub failures: Vec<String>,
    /// Where the rejects were written.
    pub rejects_file: Option<String>,
}

/// What became of changes. `read = written + removed + superseded + present + tombstoned + rejected + skipped`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Changes read.
    pub read: u64,
    /// By their end.
    #[serde(flatten)]
    pub outcomes: Outcomes,
    /// Deletes.
    pub removed: u64,
    /// Changes that a later one of the same key and page has overtaken.
    pub superseded: u64,
    /// Of items that no table takes and the mapping skips.
    pub skipped: u64,
}

impl FollowReport {
    /// Of a copy to which nothing is applied.
    #[must_use]
    pub fn at(position: &Position, table: &str, target: String, status: FollowStatus) -> FollowReport {
        FollowReport {
            status,
            run: position.run.clone(),
            table: table.to_owned(),
            target,
            copy_of: moment_text(position.as_of_us),
            caught_up_to: moment_text(position.reached_us()),
            until: None,
            windows: Vec::new(),
            tally: Tally::default(),
            remarks: Vec::new(),
            seed: 0,
            process: ProcessReport::default(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// What was done before, and then what `later` tells of.
    #[must_use]
    pub fn then(mut self, later: FollowReport) -> FollowReport {
        self.windows.extend(later.windows);
        self.tally.add(&later.tally);
        let rejects = self.tally.outcomes.rejected > 0;
        let status = match later.status {
            FollowStatus::CaughtUp if rejects => FollowStatus::CaughtUpWithRejects,
            status => status,
        };
        self.remarks.extend(later.remarks);
        let seed = self.seed;
        FollowReport { seed, windows: self.windows, tally: self.tally, remarks: self.remarks, status, ..later }
    }
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.read += other.read;
        self.removed += other.removed;
        self.superseded += other.superseded;
        self.skipped += other.skipped;
        self.outcomes.add(&other.outcomes);
    }

    /// Of a ledger's sum.
    #[must_use]
    pub fn of(counts: &Counts) -> Tally {
        let Counts { read, removed, superseded, skipped, .. } = *counts;
        Tally { read, outcomes: counts.outcomes(), removed, superseded, skipped }
    }

    /// Whether every change is accounted for.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.read == self.outcomes.total() + self.removed + self.superseded + self.skipped
    }
}

/// What following did.
#[derive(Clone, Debug, Serialize)]
pub struct FollowReport {
    /// How it ended.
    pub status: FollowStatus,
    /// The copy's run.
    pub run: String,
    /// The DynamoDB table.
    pub table: String,
    /// The target, without a password.
    pub target: String,
    /// What was written to the table before is in the copy.
    pub copy_of: String,
    /// Everything written to the table before is in the target.
    pub caught_up_to: String,
    /// Windows that end later were left waiting, because that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The chain, by time.
    pub windows: Vec<WindowReport>,
    /// All windows together.
    #[serde(flatten)]
    pub tally: Tally,
    /// What the chain cannot tell, in plain words.
    pub remarks: Vec<String>,
    /// The shuffle's seed, of the windows that this command began.
    pub seed: u64,
    /// What this process did and took.
    pub process: ProcessReport,
    /// The engine's version.
    pub version: &'static str,
}
