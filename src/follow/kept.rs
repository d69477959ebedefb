//! Until when a stream keeps what a target lacks: told by what is durable, so that it is right whoever asks, and whatever has
//! died. Nothing is written.

use crate::checkpoint::follows::stream_run as run_name;
use crate::checkpoint::run::Checkpoint;
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::sink::destination::Destination;
use crate::source::dynamodb_streams::capture::Capture;
use crate::source::dynamodb_streams::lineage::Lineage;
use std::sync::Arc;

/// What is dropped first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Until when it is kept, in seconds since 1970.
    pub until: u64,
    /// What was made before is durable, in seconds since 1970.
    pub since: u64,
    /// The shard that it is in.
    pub shard: String,
}

/// Until when the stream keeps what comes next, of what was captured for the run `copy`; none when nothing was captured, or
/// all of a stream that was switched off is done.
///
/// # Errors
/// Of the database.
pub async fn kept(destination: &Destination, copy: &str) -> Result<Option<Kept>> {
    let pool = Arc::new(Pool::new(destination.state(), 1));
    let Some(mut run) = Checkpoint::existing(pool, &run_name(copy)).await? else { return Ok(None) };
    let Some((settings, _)) = run.load().await? else { return Ok(None) };
    let derived = settings.derived.ok_or_else(|| Error::internal("a run that follows a stream has no capture"))?;
    let capture = Capture::parse(&derived)?;
    let mut first: Option<Kept> = None;
    for (unit, ledger) in run.ledger(None).await?.into_iter().filter(|(_, ledger)| !ledger.done) {
        let lineage = match &ledger.reached {
            Some(reached) => Lineage::parse(reached)?,
            None => Lineage::begin(&capture, unit)?,
        };
        for (shard, position) in lineage.reading() {
            let until = capture.kept_until(shard, position);
            if first.as_ref().is_none_or(|first| until < first.until) {
                first = Some(Kept { until, since: position.since, shard: shard.to_owned() });
            }
        }
    }
    Ok(first)
}
