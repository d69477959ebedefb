//! Looks at both ends before a run and says of each thing whether it will do, and what to do where it will not. Everything is
//! tried or asked, nothing is written.

mod grants;
mod server;
mod source;
mod target;

pub use source::source;
pub use target::{Demand, table, target};

use super::{Check, Verdict};

/// As it should be.
fn pass(name: &str, finding: impl Into<String>) -> Check {
    check(name, Verdict::Pass, finding, "")
}

/// It goes, worse than it could, or is not known.
fn warn(name: &str, finding: impl Into<String>, next_step: impl Into<String>) -> Check {
    check(name, Verdict::Warn, finding, next_step)
}

/// The run would fail, or lose something.
fn fail(name: &str, finding: impl Into<String>, next_step: impl Into<String>) -> Check {
    check(name, Verdict::Fail, finding, next_step)
}

fn check(name: &str, verdict: Verdict, finding: impl Into<String>, next_step: impl Into<String>) -> Check {
    Check { name: name.to_owned(), verdict, finding: finding.into(), next_step: next_step.into() }
}
