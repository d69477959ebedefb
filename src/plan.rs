//! The verb `plan`: what a copy would meet, what it would cost, and how its items would become rows. Writes nothing to
//! either end.
//!
//! A sample of the source is counted ([`census`](crate::census)), a mapping is inferred from it and proved against every
//! sampled item ([`infer`](crate::infer)), and what that says of the whole is estimated. All of it is one [`Plan`], which
//! the screen prints and `--report` writes as JSON.

pub mod estimate;
pub mod preflight;
pub mod propose;
mod prove;
pub mod remarks;
pub mod sample;
pub mod take;
#[cfg(test)]
mod tests;

use crate::census::Census;
use crate::census::signature::Beginnings;
use crate::infer::InferredMapping;
use estimate::Estimate;
use sample::Sample;
use serde::Serialize;

/// What a copy would meet.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// What was read, and what it says of the whole.
    pub sample: Sample,
    /// What the sampled items look like.
    pub census: Census,
    /// How their keys begin.
    pub beginnings: Vec<Beginnings>,
    /// What an engineer should know of them.
    pub remarks: Vec<String>,
    /// How they would become rows.
    pub mapping: InferredMapping,
    /// What a copy takes and costs; none when nothing can be said.
    pub estimate: Option<Estimate>,
    /// What was looked at on both ends.
    pub checks: Vec<Check>,
}

/// Something that was looked at before a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: `PITR`, `sql_mode`, `max_allowed_packet`.
    pub name: String,
    /// Whether it is as it should be.
    pub verdict: Verdict,
    /// What was found.
    pub finding: String,
    /// What to do about it; empty when nothing is.
    pub next_step: String,
}

/// What came of a [`Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// It goes, worse than it could; or it is not known.
    Warn,
    /// The run would fail, or lose something.
    Fail,
}

impl Plan {
    /// Whether a run would fail as things are.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.checks.iter().any(|check| check.verdict == Verdict::Fail)
    }
}
