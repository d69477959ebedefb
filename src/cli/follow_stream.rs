//! `transvase follow --from streams://TABLE`, and `transvase backfill --capture`, which comes before it.
#![expect(clippy::disallowed_methods, reason = "wall time belongs to the process")]

use super::follow::{FollowArgs, lag, spooled};
use super::progress::Progress;
use super::watch::Watch;
use super::{Backfill, ExitCode, Typed, config, horizon, open, output};
use crate::backfill;
use crate::checkpoint::run::name_of;
use crate::error::{Error, Result};
use crate::follow::stream;
use crate::mapping::{moment_micros, moment_text};
use crate::report::{Status, StreamUsage};
use crate::sink::destination::Destination;
use crate::source::dynamodb_streams::StreamOptions;
use clap::ValueEnum;
use std::io::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a stream's name begins with.
pub(super) const STREAM: &str = "streams://";

/// Between the capture and the first read of the table. An eventually consistent read may show what was there a second
/// ago: this way it was there when the capture began, or the capture covers its change.
const SETTLE: Duration = Duration::from_secs(2);

/// When to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UntilArg {
    /// When every open shard has nothing more to give.
    CaughtUp,
    /// When all is applied that was made before this moment, in microseconds since 1970.
    Time(i64),
}

impl UntilArg {
    /// The moment, if it is one.
    #[must_use]
    pub fn micros(self) -> Option<i64> {
        match self {
            UntilArg::CaughtUp => None,
            UntilArg::Time(micros) => Some(micros),
        }
    }
}

impl FromStr for UntilArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<UntilArg> {
        // a time without an offset is one in two places
        let is_whole =
            text.contains(['T', 't']) && (text.ends_with(['Z', 'z']) || text.rfind(['+', '-']) > text.find('T'));
        match moment_micros(text).filter(|_| is_whole) {
            Some(micros) => Ok(UntilArg::Time(micros)),
            None if text == "caught-up" => Ok(UntilArg::CaughtUp),
            None => Err(Error::config("neither caught-up nor a time as RFC 3339: 2026-11-22T06:00:00Z")),
        }
    }
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
    let options = args.options(to.state(), true)?;
    let (source, key) = open::stream(&args.dynamo, table, how(args)).await?;
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, table, &key).await?;
    let copy = args.run.clone().unwrap_or_else(|| name_of(table));
    let following = stream::prepare(source, mapping, destination.clone(), options).await?;
    flow(args, following, Some((&destination, &copy)), |progress| Watch::begin(started, progress)).await
}

/// How a stream is followed.
pub(super) fn how(args: &FollowArgs) -> StreamOptions {
    StreamOptions {
        skip_expired: args.ttl_deletes == TtlDeletesArg::Skip,
        until_caught_up: args.until == Some(UntilArg::CaughtUp),
        // up to the end of a second that was begun
        until: args
            .until
            .and_then(UntilArg::micros)
            .map(|micros| u64::try_from(micros).unwrap_or(0).div_ceil(1_000_000)),
        ..StreamOptions::default()
    }
}

/// Lets changes flow, watched by what `watch` makes of their progress. Unless a spool keeps what is not applied, the stream has
/// to: `kept` is the copy, by its target and its run.
///
/// # Errors
/// What ends it for good.
pub(super) async fn flow(
    args: &FollowArgs,
    following: backfill::Backfill,
    kept: Option<(&Destination, &str)>,
    watch: impl FnOnce(Arc<Progress>) -> Result<Watch>,
) -> Result<ExitCode> {
    let source = following.source();
    let (before, _) = following.progress();
    let progress = Arc::new(Progress::new(Arc::clone(&source), before, following.writers()));
    let lineages = source.description().units.len();
    progress.say(&format!("following {lineages} lineages of shards, {before} changes are durable already"));
    let horizon = horizon::follower(kept, &progress).await;
    let teller = lag::teller(following.teller(), &progress);
    let watch = watch(progress)?;
    let stop = watch.stop();
    let ended = following.run(stop.clone(), watch.monitor()).await;
    drop((horizon, teller));
    let process = watch.end(&*source);
    let (mut report, error) = ended?;
    report.process = process;
    let usage = report.process.source.stream.clone().unwrap_or_default();
    report.status = stream::status(&report, usage.caught_up, stop.is_cancelled());
    let kept = match kept {
        Some((destination, copy)) => horizon::told(&mut report, destination, copy).await,
        None => String::new(),
    };
    output::print(&output::table(&report));
    if let (Status::CaughtUp, Some(UntilArg::Time(micros))) = (report.status, args.until) {
        output::print(&format!("  all that was made before {} is in the target\n", moment_text(micros)));
    }
    output::print(&told(&usage));
    output::print(&kept);
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
    let shards = source.capture().lineages.len();
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, table, &key).await?;
    if stream::capture(Box::new(source), mapping, destination, &options, &copy).await? {
        drop(writeln!(std::io::stderr(), "captured the stream of table {table}: {shards} shards"));
        tokio::time::sleep(SETTLE).await;
    }
    Ok(())
}
