//! `transvase follow --from streams://TABLE`, and `transvase backfill --capture`, which comes before it.
#![expect(clippy::disallowed_methods, reason = "wall time belongs to the process")]

use super::config::To;
use super::follow::{FollowArgs, spooled};
use super::progress::Progress;
use super::watch::Watch;
use super::{Backfill, ExitCode, Typed, config, open, output};
use crate::backfill;
use crate::checkpoint::run::name_of;
use crate::error::{Error, Result};
use crate::follow::{Options, stream};
use crate::report::{Status, StreamUsage};
use crate::source::dynamodb_streams::StreamOptions;
use clap::ValueEnum;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a stream's name begins with.
pub(super) const STREAM: &str = "streams://";

/// Between the capture and the first read of the table. An eventually consistent read may show what was there a second
/// ago: this way it was there when the capture began, or the capture covers its change.
const SETTLE: Duration = Duration::from_secs(2);

/// When to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UntilArg {
    /// When every open shard has nothing more to give.
    CaughtUp,
}

/// What to do about deletes that the service makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TtlDeletesArg {
    /// Delete the rows.
    Apply,
    /// Leave the rows, and count the changes as skipped.
    Skip,
}

/// Follows the stream of `table`.
///
/// # Errors
/// Whatever keeps the changes from being applied, or ends it for good.
pub async fn follow(args: &FollowArgs, table: &str, typed: Typed) -> Result<ExitCode> {
    if let Some(place) = &args.spool {
        return Box::pin(spooled::follow(args, table, typed, place)).await;
    }
    let started = Instant::now();
    let to = config::to(&args.target, &args.dynamo, typed)?;
    let options = options(args, &to)?;
    let (source, key) = open::stream(&args.dynamo, table, how(args)).await?;
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, table, &key).await?;
    apply(args, stream::prepare(source, mapping, destination, options).await?, started).await
}

/// How to follow.
///
/// # Errors
/// `Config` for what cannot be read.
pub(super) fn options(args: &FollowArgs, to: &To) -> Result<Options> {
    Ok(Options {
        run: args.run.clone(),
        health: config::health(&args.spare, to.state())?,
        spill_dir: args.spill_dir.clone().unwrap_or_else(std::env::temp_dir),
        pipeline: config::width(&args.width, true, config::max_rejects(&args.max_rejects)?)?,
    })
}

/// How to read the stream.
pub(super) fn how(args: &FollowArgs) -> StreamOptions {
    StreamOptions {
        skip_expired: args.ttl_deletes == TtlDeletesArg::Skip,
        until_caught_up: args.until.is_some(),
        ..StreamOptions::default()
    }
}

/// Applies what comes, until told to stop, or caught up if that was asked for.
///
/// # Errors
/// Whatever keeps the changes from being applied, or ends it for good.
pub(super) async fn apply(args: &FollowArgs, following: backfill::Backfill, started: Instant) -> Result<ExitCode> {
    let source = following.source();
    let (before, _) = following.progress();
    let progress = Arc::new(Progress::new(Arc::clone(&source), before, following.writers()));
    let lineages = source.description().units.len();
    progress.say(&format!("following {lineages} lineages of shards, {before} changes are durable already"));
    let watch = Watch::begin(started, progress)?;
    let stop = watch.stop();
    let ended = following.run(stop.clone(), watch.monitor()).await;
    let process = watch.end(&*source);
    let (mut report, error) = ended?;
    report.process = process;
    let usage = report.process.source.stream.unwrap_or_default();
    report.status = stream::status(&report, usage.caught_up, stop.is_cancelled());
    output::print(&output::table(&report));
    output::print(&told(&usage));
    if let Some(spool) = &report.process.source.spool {
        output::print(&spooled::told(spool));
    }
    let code = match report.status {
        Status::CaughtUp if report.outcomes.rejected > 0 => ExitCode::Rejects,
        status => output::code_of_status(status),
    };
    output::ended(&report, args.report.as_deref(), error, code)
}

/// How far behind it was at the end.
fn told(usage: &StreamUsage) -> String {
    format!(
        "  stream: {} shards open, {} read to their end; {} s behind, {:.1} h before what comes next is no longer kept\n",
        usage.shards,
        usage.shards_ended,
        usage.lag_seconds,
        usage.horizon_seconds as f64 / 3600.0
    )
}

/// Keeps where the stream of the source table is, before the table is read.
///
/// # Errors
/// `Config` for a source without a stream; `Refused` when the table has been read already.
pub async fn capture(args: &Backfill, typed: Typed) -> Result<()> {
    let Some(table) = args.source.from.strip_prefix(open::LIVE) else {
        return Err(Error::config("--capture: only a live table (--from dynamodb://TABLE) has a stream to capture"));
    };
    let to = config::to(&args.target, &args.dynamo, typed)?;
    if args.target.to == "null:" {
        return Err(Error::config("--capture --to null: keeps nothing, so there is nothing to follow from"));
    }
    let options = config::options(args, to.state(), true)?;
    let (source, key) = open::stream(&args.dynamo, table, StreamOptions::default()).await?;
    let copy = args.run.clone().unwrap_or_else(|| name_of(table));
    let shards = source.description().units.len();
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, table, &key).await?;
    if stream::capture(source, mapping, destination, &options, &copy).await? {
        drop(writeln!(std::io::stderr(), "captured the stream of table {table}: {shards} shards"));
        tokio::time::sleep(SETTLE).await;
    }
    Ok(())
}
