//! `transvase follow --from streams://TABLE --spool PLACE`: captured while the table is copied, applied when it is.
#![expect(clippy::disallowed_methods, reason = "wall time belongs to the process")]

use super::FollowArgs;
use crate::checkpoint::follows::stream_run;
use crate::checkpoint::run::name_of;
use crate::cli::follow_stream::{flow, how};
use crate::cli::watch::{self, Watch};
use crate::cli::{ExitCode, Typed, config, open, output};
use crate::error::Result;
use crate::follow::spooling::{Captured, Copying};
use crate::follow::stream;
use crate::report::{SourceUsage, SpoolUsage, StreamUsage};
use crate::source::dynamodb_streams::spooled::SpooledStreams;
use serde::Serialize;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between looks for a capture.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Between lines about capturing.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Captures the stream of `table` into `place`, and applies it.
///
/// # Errors
/// Whatever keeps the changes from being captured or applied, or ends it for good.
pub(in crate::cli) async fn follow(args: &FollowArgs, table: &str, typed: Typed, place: &str) -> Result<ExitCode> {
    let started = Instant::now();
    let to = config::to(&args.target, &args.dynamo, typed)?;
    let options = args.options(to.state(), true)?;
    let store = open::spool(place, args.changes.s3_endpoint.clone(), options.spill_dir.clone()).await?;
    let (streams, key) = open::stream(&args.dynamo, table, how(args)).await?;
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, table, &key).await?;
    let copy = args.run.clone().unwrap_or_else(|| name_of(table));
    let stop = CancellationToken::new();
    let listening = tokio::spawn(watch::stop_at_signals(stop.clone(), |_| say("stopping: what was captured stays")));
    let lines = Lines::default();
    let captured = loop {
        match Captured::find(&destination, &mapping, &copy).await? {
            Some(captured) => break captured,
            None => lines.now_and_then(|| format!("nothing is captured yet: waiting for run {copy}, with --capture")),
        }
        if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
            return interrupted(args, &copy, &SourceUsage::default());
        }
    };
    let (source, spool) = captured.open(streams, store).await?;
    let last = Mutex::new(SourceUsage::default());
    let tell = |usage: &SourceUsage, copying: Copying| {
        lines.now_and_then(|| line(usage, copying));
        last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(usage);
    };
    if !captured.until_copied(source, &stop, tell).await? {
        let mut usage = last.into_inner().unwrap_or_else(PoisonError::into_inner);
        usage.spool = Some(spool.usage());
        return interrupted(args, &copy, &usage);
    }
    // anew: what the stream had nothing more of while the copy was made says nothing of now
    let (streams, _) = open::stream(&args.dynamo, table, how(args)).await?;
    let source = SpooledStreams::new(streams, Arc::clone(&spool));
    let following = stream::go_on(Box::new(source), mapping, destination, options).await?;
    if stop.is_cancelled() {
        return interrupted(args, &copy, &SourceUsage { spool: Some(spool.usage()), ..SourceUsage::default() });
    }
    // from here on others listen
    listening.abort();
    let releasing = async {
        captured.release(spool).await;
        Ok(ExitCode::Failed)
    };
    tokio::select! {
        ended = Box::pin(flow(args, following, None, |progress| Watch::begin(started, progress))) => ended,
        never = releasing => never,
    }
}

/// What the report says of the spool.
pub(in crate::cli) fn told(spool: &SpoolUsage) -> String {
    format!(
        "  spool {}: {} changes captured by this process, {} in it to be applied\n",
        spool.place, spool.captured, spool.backlog
    )
}

/// A line while it is only captured.
fn line(usage: &SourceUsage, copying: Copying) -> String {
    let (spool, stream) = (usage.spool.clone().unwrap_or_default(), usage.stream.clone().unwrap_or_default());
    let copy = match (copying.is_complete, copying.items) {
        (true, _) => "complete".to_owned(),
        (false, Some(items)) => format!("at {} of about {items} items", copying.read),
        (false, None) => "not begun".to_owned(),
    };
    format!(
        "captured {} changes, {} s behind, {} shards, {:.1} h to the horizon, copy {copy}",
        spool.backlog,
        stream.lag_seconds,
        stream.shards,
        stream.horizon_seconds as f64 / 3600.0
    )
}

/// What was captured by a process that was told to stop before the copy was complete.
#[derive(Serialize)]
struct Interrupted<'a> {
    status: &'static str,
    run: String,
    spool: Option<&'a SpoolUsage>,
    stream: Option<&'a StreamUsage>,
}

fn interrupted(args: &FollowArgs, copy: &str, usage: &SourceUsage) -> Result<ExitCode> {
    let run = stream_run(copy);
    output::print(&format!("run {run}: interrupted before the copy was complete; run the same command to go on\n"));
    if let Some(spool) = &usage.spool {
        output::print(&told(spool));
    }
    let report = Interrupted { status: "interrupted", run, spool: usage.spool.as_ref(), stream: usage.stream.as_ref() };
    output::ended(&report, args.report.as_deref(), None, ExitCode::Interrupted)
}

/// Lines on standard error, not too many.
#[derive(Default)]
struct Lines {
    last: Mutex<Option<Instant>>,
}

impl Lines {
    fn now_and_then(&self, line: impl FnOnce() -> String) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            *last = Some(Instant::now());
            say(&line());
        }
    }
}

fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
