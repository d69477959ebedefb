//! Following a stream: one run that goes on until it is told to stop, from the capture that was made before the copy, or
//! from where the stream joins on to a copy that was made without one.
//!
//! The capture *is* the run: `backfill --capture` begins it, with the shards and their positions as what it derived, and
//! reads nothing; following goes on with it. So a position is never kept anywhere but in the ledger, from the first to the
//! last. A capture that joins on is kept in the same way, by the first that follows.

use super::hand_over::join;
use super::position::Position;
use super::{Copy, Options, find_copy};
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
use crate::source::dynamodb_streams::DynamoDbStreams;
use crate::source::dynamodb_streams::capture::Capture;
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
        // before there is a new capture: an older copy must not be taken for one that came after it
        Some(copied) if options.restart => copied.forget().await.map(|()| false)?,
        Some(copied) => copied.totals().await?.read > 0,
        None => false,
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

/// How far the run is that follows the stream of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// There is none.
    No,
    /// There is one that has joined on to an earlier copy of the same name.
    OfEarlierCopy,
    /// It was captured before the copy, and nothing of it was applied.
    Captured,
    /// It has begun.
    Begun,
}

impl Following {
    /// Of the copy that `position` tells of.
    ///
    /// # Errors
    /// Of the database; `Internal` when the run is none of a stream.
    pub async fn of(destination: &Destination, position: &Position) -> Result<Following> {
        let (copy, incarnation) = (&position.run, position.copy);
        let pool = Arc::new(Pool::new(destination.state(), 1));
        let Some(mut run) = Checkpoint::existing(pool, &run_name(copy)).await? else { return Ok(Following::No) };
        let derived = run.load().await?.and_then(|(settings, _)| settings.derived);
        Ok(match Capture::parse(&derived.unwrap_or_default())?.hand_over {
            Some(hand_over) if hand_over.copy != incarnation => Following::OfEarlierCopy,
            Some(_) => Following::Begun,
            None if run.totals().await?.read > 0 => Following::Begun,
            None => Following::Captured,
        })
    }

    /// Refuses a window of changes for a copy whose stream is followed: what the stream has done is newer.
    ///
    /// # Errors
    /// `Refused`, and as [`Following::of`].
    pub async fn refuse_window(destination: &Destination, position: &Position) -> Result<()> {
        if Following::of(destination, position).await? != Following::Begun {
            return Ok(());
        }
        let (copy, run) = (&position.run, run_name(&position.run));
        Err(Error::refused(format!(
            "the copy of run {copy} follows its stream already (run {run}), and a window of changes would make rows older \
             than they are: go on with `transvase follow --from streams://TABLE`"
        )))
    }
}

/// The run that goes on from the capture, ready to flow. Where nothing was captured, the stream joins on to the copy, or to
/// the last window that was applied to it.
///
/// # Errors
/// `Refused` when there is no complete copy of this table by this mapping, or the stream does not join on to it.
pub async fn prepare(
    mut source: DynamoDbStreams,
    mapping: Arc<Mapping>,
    destination: Destination,
    options: Options,
) -> Result<Backfill> {
    let copy = options.run.clone().unwrap_or_else(|| name_of(&source.description().table));
    let copied = find_copy(&destination, &mapping, copy.clone()).await?;
    let position = Position::of_copy(&copied);
    let following = Following::of(&destination, &position).await?;
    if matches!(following, Following::No | Following::OfEarlierCopy) {
        if !copied.is_complete {
            return Err(Error::refused(format!(
                "nothing was captured before run {copy} read the table, and it is not complete: run the same `transvase \
                 backfill` to its end first, then follow"
            )));
        }
        source.join(join(&position, source.created(), source.capture().taken)?)?;
    }
    begin(Box::new(source), mapping, destination, options, (copied, following)).await
}

/// The run that goes on from the capture that was made before the copy, ready to flow: `source` gives what the stream gives.
///
/// # Errors
/// `Refused` when there is no copy of this table by this mapping to which changes may be applied, or nothing was captured.
pub async fn go_on(
    source: Box<dyn Source>,
    mapping: Arc<Mapping>,
    destination: Destination,
    options: Options,
) -> Result<Backfill> {
    let copy = options.run.clone().unwrap_or_else(|| name_of(&source.description().table));
    let copied = find_copy(&destination, &mapping, copy.clone()).await?;
    let following = Following::of(&destination, &Position::of_copy(&copied)).await?;
    if matches!(following, Following::No | Following::OfEarlierCopy) {
        return Err(Error::refused(format!(
            "nothing was captured before run {copy} read the table, so there is nothing for a spool to go on from: follow \
             without one"
        )));
    }
    begin(source, mapping, destination, options, (copied, following)).await
}

async fn begin(
    source: Box<dyn Source>,
    mapping: Arc<Mapping>,
    destination: Destination,
    options: Options,
    (copied, following): (Copy, Following),
) -> Result<Backfill> {
    let run = run_name(&copied.run);
    let units = source.description().units.len();
    let mut pipeline = options.pipeline;
    // a lineage that is not open is not followed
    pipeline.open_units = pipeline.open_units.max(units);
    let options = backfill::Options {
        run: None,
        restart: following == Following::OfEarlierCopy,
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
    let following = Backfill::prepare(source, mapping, destination.clone(), run_options(run, options)).await?;
    copied.end_load(&destination).await?;
    Ok(following)
}

/// Forgets what followed the stream of run `copy`, which is begun anew from an export: where it stood, later changes than those
/// that the export has may have been passed already.
///
/// # Errors
/// Of the database.
pub async fn forget(destination: &Destination, copy: &str) -> Result<()> {
    let pool = Arc::new(Pool::new(destination.state(), 1));
    match Checkpoint::existing(pool, &run_name(copy)).await? {
        Some(run) => run.forget().await,
        None => Ok(()),
    }
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
