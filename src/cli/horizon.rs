//! The trim horizon, watched while a stream is followed or changes are kept for a copy, and told at the end.
#![expect(clippy::disallowed_methods, reason = "the stream forgets by real time")]

use super::progress::Progress;
use crate::follow::horizon::{CopyLook, Look, Watchdog, hours};
use crate::follow::kept::{Kept, kept};
use crate::mapping::moment_text;
use crate::report::{Report, Status};
use crate::sink::destination::Destination;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Between two looks at a follower: some for the trend of a minute.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// When a follower is first looked at: it has met its shards by then.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Between two looks at what is kept for a copy, each a question to the database: levels lie hours apart.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// Watches a follower until the guard is dropped. What is durable of a copy, by its target and its run, is judged before this
/// returns, where only the stream keeps the rest.
pub(super) async fn follower(of: Option<(&Destination, &str)>, progress: &Arc<Progress>) -> DropGuard {
    let mut dog = Watchdog::default();
    let found = match of {
        // an error is the run's to tell
        Some((destination, copy)) => kept(destination, copy).await.ok().flatten(),
        None => None,
    };
    if let Some(Kept { until, since, shard }) = found {
        let now = wall();
        let (left, lag) = (until.saturating_sub(now), now.saturating_sub(since));
        say(progress, dog.follower(&Look { now, left, lag, records: 0, shard: &shard }));
    }
    let (over, progress) = (CancellationToken::new(), Arc::clone(progress));
    let ended = over.clone();
    tokio::spawn(async move {
        let mut wait = FIRST_LOOK;
        while rest(&ended, wait).await {
            wait = LOOK_EVERY;
            let usage = progress.source().usage().stream.unwrap_or_default();
            let (left, lag, records) = (usage.horizon_seconds, usage.lag_seconds, usage.records);
            if let Some(shard) = &usage.nearest_shard {
                say(&progress, dog.follower(&Look { now: wall(), left, lag, records, shard }));
            }
        }
    });
    over.drop_guard()
}

/// Watches until when the changes that were captured for run `copy` of `table` are kept, until the guard is dropped. It is
/// judged for the first time before this returns.
pub(super) async fn copy(destination: Destination, copy: String, table: String, progress: &Arc<Progress>) -> DropGuard {
    let (mut dog, began) = (Watchdog::default(), Instant::now());
    let (over, progress) = (CancellationToken::new(), Arc::clone(progress));
    let mut look = async move || {
        // an error is the run's to tell
        let Some(kept) = kept(&destination, &copy).await.ok().flatten() else { return };
        let left = kept.until.saturating_sub(wall());
        let eta = progress.time_left().map(|eta| eta.as_secs());
        progress.captured(kept.until);
        say(&progress, dog.copy(&CopyLook { left, running: began.elapsed().as_secs(), eta }, &table));
    };
    look().await;
    let ended = over.clone();
    tokio::spawn(async move {
        while rest(&ended, ASK_EVERY).await {
            look().await;
        }
    });
    over.drop_guard()
}

/// Puts into the report until when the stream keeps what the target lacks, and says it.
pub(super) async fn told(report: &mut Report, destination: &Destination, copy: &str) -> String {
    // what cannot be asked any more is no reason to fail at the very end
    let Some(kept) = kept(destination, copy).await.ok().flatten() else { return String::new() };
    let until = moment_text(i64::try_from(kept.until).unwrap_or(i64::MAX / 1_000_000) * 1_000_000);
    let left = kept.until.saturating_sub(wall());
    let what = match (report.process.source.stream.is_some(), report.status) {
        (true, _) => "run the same command again before",
        (false, Status::Complete | Status::CompleteWithRejects | Status::AlreadyComplete) => {
            "what changed since the capture is to be followed before"
        }
        (false, _) => "the same command is to go on, and what changed since the capture to be followed, before",
    };
    let told = match left {
        0 => format!(
            "  the stream kept what comes next until {until}: shard {} may have lost it. Follow while it is there; where it \
             is not, copy anew with backfill --capture --restart\n",
            kept.shard
        ),
        _ => format!("  {what} {until} (in {}): until then the stream keeps what comes next\n", hours(left)),
    };
    report.kept_until = Some(until);
    told
}

/// Waits; whether it goes on then.
async fn rest(ended: &CancellationToken, time: Duration) -> bool {
    tokio::time::timeout(time, ended.cancelled()).await.is_err()
}

fn say(progress: &Progress, line: Option<String>) {
    if let Some(line) = line {
        progress.say(&line);
    }
}

/// Seconds since 1970.
pub(super) fn wall() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
