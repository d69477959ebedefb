//! Following a stream: one run that goes on until it is told to stop, from the capture that was made before the copy.
//!
//! The capture *is* the run: `backfill --capture` begins it, with the shards and their positions as what it derived, and
//! reads nothing; following goes on with it. So a position is never kept anywhere but in the ledger, from the first to the
//! last.

use super::{Options, find_copy};
use crate::backfill::{self, Backfill, LoadOrder};
use crate::checkpoint::follows::stream_run as run_name;
use crate::checkpoint::run::{Checkpoint, RunState, name_of};
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::report::{Report, Status};
use crate::sink::OnConflict;
use crate::sink::destination::Destination;
use crate::sink::load_method::LoadMethod;
use crate::source::Source;
use std::sync::Arc;

/// Keeps the capture of `source` in the target before the table is copied by run `copy`, whose options these are; what
/// an earlier call kept stays. Creates control tables, and target tables as the copy would. Whether it was kept now.
///
/// # Errors
/// `Refused` when the copy has begun without a capture: what changed meanwhile would be lost.
pub async fn capture(
    source: Box<dyn Source>,
    mapping: Arc<Mapping>,
    destination: Destination,
    options: &backfill::Options,
    copy: &str,
) -> Result<bool> {
    if options.defer_indexes {
        return Err(Error::config(
            "--capture with --defer-indexes: the tables would be altered between the capture and following; create the \
             indexes with the tables",
        ));
    }
    let pool = Arc::new(Pool::new(destination.state(), 1));
    let run = run_name(copy);
    let begun = match Checkpoint::existing(Arc::clone(&pool), copy).await? {
        Some(copied) if !options.restart => copied.totals().await?.read > 0,
        _ => false,
    };
    if begun && Checkpoint::existing(pool, &run).await?.is_none() {
        return Err(Error::refused(format!(
            "run {copy} has begun without a capture, and what changed since is not kept anywhere: begin anew with \
             --capture --restart"
        )));
    }
    // what the copy rejects has a file of its own
    let options = run_options(run, backfill::Options { rejects: None, ..options.clone() });
    let prepared = Backfill::prepare(source, mapping, destination, options).await?;
    Ok(prepared.state() == RunState::New)
}

/// The run that goes on from the capture, ready to flow.
///
/// # Errors
/// `Refused` when there is no complete copy of this table by this mapping, or nothing was captured before it.
pub async fn prepare(
    source: Box<dyn Source>,
    mapping: Arc<Mapping>,
    destination: Destination,
    options: Options,
) -> Result<Backfill> {
    let copy = options.run.clone().unwrap_or_else(|| name_of(&source.description().table));
    let run = run_name(&copy);
    let pool = Arc::new(Pool::new(destination.state(), 1));
    let copied = find_copy(&destination, &mapping, copy.clone()).await?;
    if Checkpoint::existing(pool, &run).await?.is_none() {
        return Err(Error::refused(format!(
            "nothing was captured before run {copy} read the table, so what changed meanwhile is not known: copy it anew \
             with `transvase backfill --capture --restart`, then follow"
        )));
    }
    let units = source.description().units.len();
    let mut pipeline = options.pipeline;
    // a lineage that is not open is not followed
    pipeline.open_units = pipeline.open_units.max(units);
    let options = backfill::Options {
        run: None,
        restart: false,
        on_conflict: OnConflict::Replace,
        live_target: copied.settings.live_target,
        load_method: LoadMethod::Insert,
        create_tables: false,
        defer_indexes: false,
        rejects: options.rejects,
        health: options.health,
        load_order: LoadOrder::Arrival,
        spill_dir: options.spill_dir,
        spill_limit: None,
        follows: None,
        pipeline,
    };
    Backfill::prepare(source, mapping, destination, run_options(run, options)).await
}

/// The options of the run that follows, from those of a copy.
fn run_options(run: String, options: backfill::Options) -> backfill::Options {
    backfill::Options {
        run: Some(run),
        on_conflict: OnConflict::Replace,
        load_method: LoadMethod::Insert,
        load_order: LoadOrder::Arrival,
        ..options
    }
}

/// How a run that was to follow until it is caught up has ended: what it was asked to stop for may be that it is. Not
/// where the server forgot what it had acknowledged: then the same command says it again.
#[must_use]
pub fn status(report: &Report, caught_up: bool, stopped: bool) -> Status {
    match report.status {
        Status::Interrupted if caught_up && !stopped && report.process.items_lost_by_server == 0 => Status::CaughtUp,
        status => status,
    }
}
