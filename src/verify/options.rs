//! How to verify, and what cannot be: nothing is connected to here.

use super::after::After;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::pipeline;
use crate::sink::destination::Destination;
use crate::sink::health::HealthOptions;
use std::path::PathBuf;

/// How closely rows are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// By their number in each range of keys.
    Counts,
    /// By their number and digest in each range of keys.
    Digest,
    /// Value by value.
    Full,
}

/// A share of the source, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(pub u32);

/// How to verify.
#[derive(Clone, Debug)]
pub struct Options {
    /// How closely.
    pub level: Level,
    /// How much of the source; none for all of it.
    pub sample: Option<Sample>,
    /// Forget an earlier verification.
    pub restart: bool,
    /// What is done about differences.
    pub after: After,
    /// What the target must keep to.
    pub health: HealthOptions,
    /// Where sorted runs are kept.
    pub spill_dir: PathBuf,
    /// Bytes that they may take.
    pub spill_limit: Option<u64>,
    /// How wide.
    pub pipeline: pipeline::Options,
}

impl Level {
    /// As typed, printed and stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Counts => "counts",
            Level::Digest => "digest",
            Level::Full => "full",
        }
    }
}

/// Refuses what cannot be verified.
///
/// # Errors
/// `Config` naming the flag.
pub(super) fn check(destination: &Destination, state: &Target, options: &Options) -> Result<()> {
    if matches!(destination, Destination::Sql(Target::Null)) {
        return Err(Error::config(format!("{destination} cannot be verified: it holds nothing")));
    }
    if matches!(state, Target::Null) {
        return Err(Error::config("--state null: would forget the verification: give sqlite:FILE or mysql://…"));
    }
    if options.sample.is_some() && options.level != Level::Full {
        return Err(Error::config("--sample looks up its rows one by one: leave --level away, or give --level full"));
    }
    Ok(())
}
