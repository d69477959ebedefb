//! `transvase follow`: what was typed, what may run, and what is shown at its end.
#![expect(clippy::disallowed_methods, reason = "wall time belongs to the process")]

mod auto;
pub(super) mod lag;
mod requested;
pub(super) mod spooled;

use super::config::To;
use super::follow_stream::{self, TtlDeletesArg, UntilArg};
use super::open::LIVE;
use super::progress::Progress;
use super::{DynamoArgs, ExitCode, MappingArgs, SpareArgs, TargetArgs, Typed, Width, config, open, output, watch};
use crate::checkpoint::run::RunState;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::follow::report::{FollowReport, FollowStatus, Tally, WindowReport, WindowStatus};
use crate::follow::{Follow, OpenLink, Options, Step};
use crate::monitor::{Monitor, Monitors};
use crate::report::{Meter, ProcessReport};
use clap::Args;
use indicatif::HumanCount;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Shown after the flags.
pub const EXAMPLES: &str = "\
Examples:
  # the copy of a full export, and then what changed since: a folder or prefix with the incremental exports after it
  transvase backfill --from s3://backups/AWSDynamoDB/01768385930622-efd1a093 --key pk:S,sk:S --to sqlite:orders.db
  transvase follow --from s3://backups --key pk:S,sk:S --to sqlite:orders.db

  # a live table, and then its stream until told to stop, or until it is caught up
  transvase backfill --capture --from dynamodb://orders --to sqlite:orders.db
  transvase follow --from streams://orders --until caught-up --to sqlite:orders.db

  # the same, up to a time
  transvase follow --from streams://orders --until 2026-11-22T06:00:00Z --to sqlite:orders.db

  # the same where the copy takes longer than the 24 hours that a stream keeps: from another shell, while it is being made
  transvase follow --from streams://orders --spool /data/spool --to sqlite:orders.db

  # one window more, when it has been exported
  transvase follow --from s3://backups/AWSDynamoDB/01768386924000-d339e52d --key pk:S,sk:S --to sqlite:orders.db

  # the windows exported as well, up to a few minutes ago; the table's key is known
  transvase follow --from dynamodb://orders --request-exports s3://backups --to sqlite:orders.db

  # all of it: a full export, windows until what is left fits into the stream, then the stream
  transvase follow --from auto:orders --request-exports s3://backups --until caught-up --to sqlite:orders.db

Windows that were applied before are passed over. Run the same command again after an interruption: it goes on where it was.";

/// Where changes come from.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Changes")]
pub struct ChangesArgs {
    /// The stream of a live table (streams://TABLE), once it was copied, best by `transvase backfill --capture`; or an incremental
    /// export (a folder, or s3://bucket/…/AWSDynamoDB/<id>), or a folder or s3://bucket/prefix that holds several: each must
    /// begin where the one before ends. With --request-exports the live table (dynamodb://TABLE), or auto:TABLE, which copies it
    /// as well and ends with its stream.
    #[arg(long, env = "TRANSVASE_FROM", value_name = "CHANGES")]
    pub from: String,
    /// An S3-compatible server instead of AWS.
    #[arg(long, env = "TRANSVASE_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<String>,
    /// Have the live table's windows exported to s3://BUCKET[/PREFIX], one after the other, and apply each, until what is left
    /// is too short for one. The one that was asked for is remembered in TABLE.transvase-window.json in the current folder.
    #[arg(long, env = "TRANSVASE_REQUEST_EXPORTS", value_name = "s3://BUCKET/PREFIX")]
    pub request_exports: Option<String>,
    /// How often the service is asked how far an export is.
    #[arg(long, env = "TRANSVASE_EXPORT_POLL_SECONDS", value_name = "S", default_value = "20")]
    pub export_poll_seconds: f64,
}

/// `transvase follow`.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// Where changes come from.
    #[command(flatten)]
    pub changes: ChangesArgs,
    /// Reaching live tables.
    #[command(flatten)]
    pub dynamo: DynamoArgs,
    /// Where the copy is.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How the target is spared.
    #[command(flatten)]
    pub spare: SpareArgs,
    /// How items became rows.
    #[command(flatten)]
    pub mapping: MappingArgs,
    /// The name of the backfill's run [default: the DynamoDB table's name].
    #[arg(long, env = "TRANSVASE_RUN", value_name = "NAME")]
    pub run: Option<String>,
    /// When to end: caught-up (of a stream, when there is nothing more), or a time (2026-11-22T06:00:00Z): when all is applied
    /// that was made before it; of a chain, the windows that end by then [default: of a stream, when told to stop].
    #[arg(long, env = "TRANSVASE_UNTIL", value_name = "WHEN")]
    pub until: Option<UntilArg>,
    /// Of a stream: what to do about deletes that DynamoDB makes because an item's time to live is over.
    #[arg(long, env = "TRANSVASE_TTL_DELETES", default_value = "apply")]
    pub ttl_deletes: TtlDeletesArg,
    /// Of a stream: capture it into this folder, or s3://BUCKET/PREFIX, while the table is copied, and apply it from there
    /// when the copy is complete: what is captured does not go after 24 hours.
    #[arg(long, env = "TRANSVASE_SPOOL", value_name = "DIR|s3://BUCKET/PREFIX")]
    pub spool: Option<String>,
    /// Stop after so many rejects in a window, or such a share of its changes (once 10,000 were read).
    #[arg(long, env = "TRANSVASE_MAX_REJECTS", value_name = "N|P%", default_value = "0")]
    pub max_rejects: String,
    /// Of a stream: where rejects are written at the end, as JSON lines, mode 0600 [default: RUN.stream.rejects.jsonl, if
    /// there are any].
    #[arg(long, env = "TRANSVASE_REJECTS", value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Where to write the report as JSON.
    #[arg(long, env = "TRANSVASE_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Where large S3 objects are kept while they are checked [default: the system's temporary folder].
    #[arg(long, env = "TRANSVASE_SPILL_DIR", value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,
    /// How wide to run.
    #[command(flatten)]
    pub width: Width,
}

/// Runs it.
///
/// # Errors
/// Whatever keeps the changes from being applied, or ends it for good.
pub async fn follow(args: &FollowArgs, typed: Typed) -> Result<ExitCode> {
    if let Some(table) = args.changes.from.strip_prefix(auto::AUTO) {
        return Box::pin(auto::follow(args, table, typed)).await;
    }
    if let Some(table) = args.changes.from.strip_prefix(follow_stream::STREAM) {
        return Box::pin(follow_stream::follow(args, table, typed)).await;
    }
    if args.spool.is_some() {
        return Err(Error::config(
            "--spool is for a stream (--from streams://TABLE), which forgets: an export stays where it is",
        ));
    }
    if args.until == Some(UntilArg::CaughtUp) || args.ttl_deletes == TtlDeletesArg::Skip || args.rejects.is_some() {
        return Err(Error::config(
            "--until caught-up, --ttl-deletes and --rejects are for a stream (--from streams://TABLE): a chain has an end, \
             does not tell who deleted an item, and each of its windows has a file of rejects",
        ));
    }
    let started = Instant::now();
    let to = config::to(&args.target, &args.dynamo, typed)?;
    let options = args.options(to.state(), false)?;
    let stage = Stage::begin(options.pipeline.writers)?;
    let (mut report, error) = match &args.changes.request_exports {
        Some(url) => Box::pin(requested::follow(args, url, to, options, &stage)).await?,
        None => Box::pin(given(args, to, options, &stage)).await?,
    };
    report.process = stage.process(started);
    output::print(&text(&report));
    output::ended(&report, args.report.as_deref(), error, code(report.status))
}

impl FollowArgs {
    /// How to follow, a live source or exports; `state` is the database of the runs.
    pub(super) fn options(&self, state: &Target, live: bool) -> Result<Options> {
        Ok(Options {
            run: self.run.clone(),
            health: config::health(&self.spare, state)?,
            spill_dir: self.spill_dir.clone().unwrap_or_else(std::env::temp_dir),
            rejects: self.rejects.clone(),
            pipeline: config::width(&self.width, live, config::max_rejects(&self.max_rejects)?)?,
        })
    }
}

/// Applies the exports that are there.
async fn given(args: &FollowArgs, to: To, options: Options, stage: &Stage) -> Result<(FollowReport, Option<Error>)> {
    if args.changes.from.starts_with(LIVE) {
        return Err(Error::config(
            "--from dynamodb://…: changes of a live table come by exports: add --request-exports s3://bucket/prefix",
        ));
    }
    let (chain, opener) = open::chain(&args.changes, options.spill_dir.clone()).await?;
    let table = chain.links.first().map(|link| link.table.name.clone()).unwrap_or_default();
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, &table, &[]).await?;
    let follow = Follow::prepare(chain, mapping, destination, options).await?;
    stage.apply(follow.until(args.until.and_then(UntilArg::micros)), opener).await
}

/// What watches and stops every window.
struct Stage {
    screen: Arc<Screen>,
    meter: Arc<Meter>,
    monitor: Arc<dyn Monitor>,
    stop: CancellationToken,
    writers: usize,
}

impl Stage {
    /// From here on signals stop what follows.
    fn begin(writers: usize) -> Result<Stage> {
        let (screen, meter, stop) = (Arc::new(Screen::default()), Arc::new(Meter::default()), CancellationToken::new());
        let monitor = watch::monitors(vec![Arc::clone(&meter) as _])?;
        let telling = Arc::clone(&screen);
        tokio::spawn(watch::stop_at_signals(stop.clone(), move |line| telling.say(line)));
        Ok(Stage { screen, meter, monitor, stop, writers })
    }

    /// What was done to windows since the process began.
    fn process(&self, started: Instant) -> ProcessReport {
        ProcessReport { source: self.screen.usage(), ..self.meter.process(started.elapsed()) }
    }

    async fn apply(&self, follow: Follow, opener: OpenLink) -> Result<(FollowReport, Option<Error>)> {
        let (due, passed) = follow.due();
        self.screen.say(&format!("{due} windows to apply, {passed} passed over"));
        for remark in follow.remarks() {
            self.screen.say(&format!("note: {remark}"));
        }
        let watch = |step: &Step<'_>| -> Arc<dyn Monitor> {
            Arc::new(Monitors(vec![Arc::clone(&self.monitor), self.screen.begin(step, self.writers)]))
        };
        let ended = Box::pin(follow.run(opener, self.stop.clone(), &watch)).await;
        self.screen.finish();
        ended
    }
}

/// What is on the screen: the progress of one window after the other.
#[derive(Default)]
struct Screen {
    window: Mutex<Option<Arc<Progress>>>,
    retries: Mutex<u64>,
}

impl Screen {
    fn say(&self, line: &str) {
        match &*self.window.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(progress) => progress.say(line),
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// Shows this from now on.
    fn show(&self, progress: &Arc<Progress>) {
        self.finish();
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(progress));
    }

    /// Shows the next window.
    fn begin(&self, step: &Step<'_>, writers: usize) -> Arc<dyn Monitor> {
        let (before, changes) = step.run.progress();
        let progress = Arc::new(Progress::new(step.run.source(), before, writers));
        let (number, of, window) = (step.number, step.of, step.link.window);
        let durable = match step.run.state() {
            RunState::Resumed => format!(", {before} of them durable already"),
            RunState::New | RunState::Complete => String::new(),
        };
        progress.say(&format!("window {number} of {of}, {window}: {changes} changes{durable}"));
        self.show(&progress);
        progress
    }

    /// Takes the window off the screen.
    fn finish(&self) {
        if let Some(progress) = self.window.lock().unwrap_or_else(PoisonError::into_inner).take() {
            *self.retries.lock().unwrap_or_else(PoisonError::into_inner) += progress.source().usage().retries;
            progress.finish();
        }
    }

    fn usage(&self) -> crate::report::SourceUsage {
        let retries = *self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        crate::report::SourceUsage { retries, ..crate::report::SourceUsage::default() }
    }
}

/// The report as text.
fn text(report: &FollowReport) -> String {
    let ended = match report.status {
        FollowStatus::CaughtUp | FollowStatus::CaughtUpWithRejects => {
            let end = match &report.until {
                Some(until) => format!("caught up with the last window that ends by {until}"),
                None => "caught up with the end of the chain".to_owned(),
            };
            let rejects = if report.status == FollowStatus::CaughtUpWithRejects { ", with rejects" } else { "" };
            end + rejects
        }
        FollowStatus::Interrupted => "interrupted; run the same command to go on".to_owned(),
        FollowStatus::UnitsFailed => {
            "stopped: some data files could not be read; mend them and run the same command".to_owned()
        }
        FollowStatus::Failed => "failed; what is durable stays, and the same command goes on from there".to_owned(),
    };
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("run {}: {ended}", report.run));
    line(format!("  table {}, copied as of {}", report.table, report.copy_of));
    line(format!("  target {}, caught up to {}", report.target, report.caught_up_to));
    line(String::new());
    let head = ["changes", "written", "removed", "rejected"];
    line(format!("  {:<44}  {:<14}{:>12}{:>12}{:>12}{:>10}", "window", "", head[0], head[1], head[2], head[3]));
    for window in &report.windows {
        line(window_line(window));
        for failure in &window.failures {
            line(format!("    failed: {failure}"));
        }
        if let Some(file) = &window.rejects_file {
            line(format!("    rejects are in {file}"));
        }
    }
    line(format!("  {}", sum(&report.tally)));
    for remark in &report.remarks {
        line(format!("  note: {remark}"));
    }
    line(String::new());
    output::process_lines(&report.process, report.seed, &mut line);
    out
}

fn window_line(window: &WindowReport) -> String {
    let status = match window.status {
        WindowStatus::InTheCopy => "in the copy",
        WindowStatus::AppliedBefore => "applied before",
        WindowStatus::Applied => "applied",
        WindowStatus::Begun => "begun",
        WindowStatus::Waiting => "waiting",
    };
    let span = format!("{} to {}", window.from, window.to);
    let Tally { outcomes, removed, .. } = &window.tally;
    format!(
        "  {span:<44}  {status:<14}{:>12}{:>12}{:>12}{:>10}",
        HumanCount(window.changes).to_string(),
        outcomes.written,
        removed,
        outcomes.rejected
    )
}

/// The sum of all windows.
fn sum(tally: &Tally) -> String {
    let o = &tally.outcomes;
    format!(
        "read {} = written {} + removed {} + superseded {} + present {} + tombstoned {} + skipped by rule {} + \
         rejected {}{}",
        tally.read,
        o.written,
        tally.removed,
        tally.superseded,
        o.present,
        o.tombstoned,
        tally.skipped,
        o.rejected,
        if tally.adds_up() { "" } else { "   (DOES NOT ADD UP)" }
    )
}

/// The exit code of what ended without an error of its own.
fn code(status: FollowStatus) -> ExitCode {
    match status {
        FollowStatus::CaughtUp => ExitCode::Complete,
        FollowStatus::CaughtUpWithRejects => ExitCode::Rejects,
        FollowStatus::Interrupted => ExitCode::Interrupted,
        FollowStatus::UnitsFailed | FollowStatus::Failed => ExitCode::Failed,
    }
}
