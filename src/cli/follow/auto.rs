//! `--from auto:TABLE`: a full export is copied, windows of changes are applied until what is left fits into the stream, and
//! the stream is followed from there. Which of it is due the target says each time, so the same command goes on wherever an
//! earlier one has ended.
#![expect(clippy::disallowed_methods, reason = "wall time belongs to the process")]

use super::requested::{Requested, Round, goes_on, joined};
use super::{FollowArgs, Stage, code, text};
use crate::backfill::{self, Backfill, LoadOrder};
use crate::cli::follow_stream::{self, TtlDeletesArg};
use crate::cli::progress::Progress;
use crate::cli::watch::Watch;
use crate::cli::{ExitCode, SourceArgs, Typed, config, open, output, run};
use crate::error::{Error, Result};
use crate::follow::hand_over::fits;
use crate::follow::position::{Begun, Found, Position};
use crate::follow::report::{FollowReport, FollowStatus};
use crate::follow::stream::{self, Following};
use crate::report::{Report, Status};
use crate::sink::OnConflict;
use crate::sink::load_method::LoadMethod;
use crate::source::dynamodb_export::request::{self, Exported};
use crate::source::dynamodb_streams::DynamoDbStreams;
use std::sync::Arc;
use std::time::Instant;

/// What such a source's name begins with.
pub(super) const AUTO: &str = "auto:";

/// The command, while it runs.
struct Auto<'a> {
    args: &'a FollowArgs,
    requested: Requested<'a>,
    stage: &'a Stage,
    started: Instant,
}

/// What came of one step.
enum Step {
    /// The target says what comes next.
    Next,
    /// The command has ended.
    Ended(ExitCode),
}

/// Copies `table` and follows it.
///
/// # Errors
/// Whatever keeps it from being copied or followed, or ends it for good.
pub(super) async fn follow(args: &FollowArgs, table: &str, typed: Typed) -> Result<ExitCode> {
    let started = Instant::now();
    let Some(url) = &args.changes.request_exports else {
        return Err(Error::config(
            "--from auto:TABLE has the table exported: add --request-exports s3://bucket/prefix",
        ));
    };
    if args.ttl_deletes == TtlDeletesArg::Skip {
        return Err(Error::config(
            "--ttl-deletes skip: the windows of --from auto:TABLE do not tell who deleted an item; copy with backfill \
             --capture, then follow streams://TABLE",
        ));
    }
    if args.target.to == "null:" {
        return Err(Error::config("--from auto:TABLE --to null: keeps nothing, so there is nothing to follow from"));
    }
    // a stream that cannot be followed is refused before an export is paid for
    open::stream(&args.dynamo, table, follow_stream::how(args)).await?;
    let to = config::to(&args.target, &args.dynamo, typed)?;
    let options = args.options(to.state(), false)?;
    let stage = Stage::begin(options.pipeline.writers)?;
    let say = |line: &str| stage.screen.say(line);
    let requested = Requested::open(args, (table, url), to, options, &stage).await?;
    let auto = Auto { args, requested, stage: &stage, started };
    let mut windows = None;
    loop {
        let step = match auto.found().await? {
            Found::Nothing => auto.copy(None, &say).await?,
            Found::Begun(begun) => auto.copy(Some(begun), &say).await?,
            Found::Complete(position) => auto.go_on(&position, &mut windows, &say).await?,
        };
        match step {
            Step::Next => {}
            Step::Ended(code) => return Ok(code),
        }
    }
}

impl<'a> Auto<'a> {
    async fn found(&self) -> Result<Found> {
        let Requested { destination, mapping, table, .. } = &self.requested;
        Found::of(destination, mapping, self.args.run.as_deref(), table).await
    }

    /// Has the table exported, or waits for the export that a copy was begun from, and copies it.
    async fn copy(&self, begun: Option<Begun>, say: &'a (dyn Fn(&str) + Sync)) -> Result<Step> {
        let Requested { db, wish, .. } = &self.requested;
        let waiting = self.requested.waiting("export", say);
        let exported = match &begun {
            None => request::export(db, wish, &waiting).await?,
            Some(begun) => request::known(db, wish, &waiting, &begun.export).await?,
        };
        let Exported::At(from) = exported else {
            say("stopped waiting; the export goes on, and the same command waits for it again");
            return Ok(Step::Ended(ExitCode::Interrupted));
        };
        say(&format!("copying {from}"));
        let (report, error) = self.backfill(from, begun).await?;
        output::print(&output::table(&report));
        match report.status {
            Status::Complete | Status::CompleteWithRejects | Status::AlreadyComplete if error.is_none() => {
                Ok(Step::Next)
            }
            status => {
                let code = output::code_of_status(status);
                output::ended(&report, self.args.report.as_deref(), error, code).map(Step::Ended)
            }
        }
    }

    /// Copies the export, as `backfill` does by default.
    async fn backfill(&self, from: String, begun: Option<Begun>) -> Result<(Report, Option<Error>)> {
        let (args, destination) = (self.args, self.requested.destination.clone());
        let source = SourceArgs { from, s3_endpoint: args.changes.s3_endpoint.clone() };
        let options = args.options(&destination.state(), false)?;
        let purse = open::scan_options(&args.dynamo)?.purse();
        let (source, _) = open::source(&source, &args.dynamo, options.spill_dir.clone(), &purse).await?;
        let options = backfill::Options {
            run: args.run.clone(),
            restart: false,
            on_conflict: begun.as_ref().map_or(OnConflict::Keep, |begun| begun.on_conflict),
            live_target: begun.is_some_and(|begun| begun.live_target),
            load_method: LoadMethod::Auto,
            create_tables: true,
            defer_indexes: false,
            rejects: None,
            health: options.health,
            load_order: LoadOrder::Auto,
            spill_dir: options.spill_dir,
            spill_limit: None,
            follows: None,
            pipeline: options.pipeline,
        };
        let copy = Backfill::prepare(source, Arc::clone(&self.requested.mapping), destination, options).await?;
        run::flow(copy, self.stage.writers, async |progress| self.watch(progress)).await
    }

    /// The next window, or the stream, if what is left fits into it.
    async fn go_on(
        &self,
        position: &Position,
        windows: &mut Option<FollowReport>,
        say: &'a (dyn Fn(&str) + Sync),
    ) -> Result<Step> {
        let (streams, _) =
            open::stream(&self.args.dynamo, &self.requested.table, follow_stream::how(self.args)).await?;
        let following = Following::of(&self.requested.destination, position).await?;
        let is_captured = matches!(following, Following::Captured | Following::Begun);
        if is_captured || fits(position, streams.created(), streams.capture().taken) {
            if let Some(mut report) = windows.take() {
                report.process = self.stage.process(self.started);
                output::print(&text(&report));
            }
            say("what is left fits into the stream, which is followed from here on");
            return self.hand_over(streams, &position.run).await.map(Step::Ended);
        }
        let (report, error) = match self.requested.round(position, None, say).await? {
            Round::TooShort => {
                say(
                    "no window can be exported yet that reaches into the stream, which was switched on lately: waiting",
                );
                let waits = tokio::time::sleep(self.requested.poll);
                if self.stage.stop.run_until_cancelled(waits).await.is_some() {
                    return Ok(Step::Next);
                }
                (self.requested.ended(position, FollowStatus::Interrupted), None)
            }
            Round::Stopped => (self.requested.ended(position, FollowStatus::Interrupted), None),
            Round::Later(report) => (*report, None),
            Round::Applied(report, error) => (*report, error),
        };
        let (status, mut report) = (report.status, joined(windows.take(), report));
        if error.is_none() && goes_on(status) {
            *windows = Some(report);
            return Ok(Step::Next);
        }
        report.process = self.stage.process(self.started);
        output::print(&text(&report));
        output::ended(&report, self.args.report.as_deref(), error, code(status)).map(Step::Ended)
    }

    /// Follows the stream, to the command's end.
    async fn hand_over(&self, streams: DynamoDbStreams, run: &str) -> Result<ExitCode> {
        let Requested { destination, mapping, .. } = &self.requested;
        let options = self.args.options(&destination.state(), true)?;
        let following = stream::prepare(streams, Arc::clone(mapping), destination.clone(), options).await?;
        follow_stream::flow(self.args, following, Some((destination, run)), |progress| self.watch(progress)).await
    }

    /// Shows one part of the command, which stops with the whole.
    fn watch(&self, progress: Arc<Progress>) -> Result<Watch> {
        self.stage.screen.show(&progress);
        Watch::within(self.started, progress, self.stage.stop.clone())
    }
}
