//! `--request-exports`: asks for the windows itself, one after the other, and applies each when it is there.
#![expect(clippy::disallowed_methods, reason = "the service's times are compared with this host's")]

use super::{ChangesArgs, FollowArgs, Stage};
use crate::cli::config::To;
use crate::cli::follow_stream::UntilArg;
use crate::cli::open::{self, LIVE};
use crate::driver::dynamodb::DynamoDb;
use crate::error::{Error, Result};
use crate::follow::position::Position;
use crate::follow::report::{FollowReport, FollowStatus};
use crate::follow::stream::Following;
use crate::follow::{Follow, Options};
use crate::mapping::{KeyAttribute, Mapping};
use crate::sink::destination::Destination;
use crate::source::dynamodb_export::request::{self, Exported, Waiting, Wish};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A live table that is exported for a copy of it.
pub(super) struct Requested<'a> {
    args: &'a FollowArgs,
    pub(super) db: DynamoDb,
    pub(super) table: String,
    pub(super) wish: Wish,
    pub(super) destination: Destination,
    pub(super) mapping: Arc<Mapping>,
    options: Options,
    stage: &'a Stage,
    pub(super) poll: Duration,
}

/// What came of the next window.
pub(super) enum Round {
    /// It ends later than was asked for, and waits.
    Later(Box<FollowReport>),
    /// It was applied, or as much of it as could be.
    Applied(Box<FollowReport>, Option<Error>),
    /// A stop was requested while it was exported.
    Stopped,
    /// What is left is too short for one.
    TooShort,
}

impl<'a> Requested<'a> {
    /// Of the table called `name`, by exports to `url`.
    ///
    /// # Errors
    /// `Config`; of the service.
    pub(super) async fn open(
        args: &'a FollowArgs,
        (name, url): (&str, &str),
        to: To,
        options: Options,
        stage: &'a Stage,
    ) -> Result<Self> {
        let poll = Duration::try_from_secs_f64(args.changes.export_poll_seconds)
            .map_err(|_| Error::config("--export-poll-seconds is not a time in seconds"))?;
        let db = DynamoDb::connect(&open::endpoint(&args.dynamo)).await?;
        let table = db.describe(name).await?;
        let key = table.key.iter().map(|(name, ty)| KeyAttribute { name: name.clone(), ty: open::key_type(*ty) });
        let key: Vec<KeyAttribute> = key.collect();
        let wish = Wish::parse(url, &table.arn)?;
        let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, &table.name, &key).await?;
        Ok(Requested { args, db, table: table.name, wish, destination, mapping, options, stage, poll })
    }

    /// Where the copy stands.
    pub(super) async fn position(&self) -> Result<Position> {
        Position::of(&self.destination, &self.mapping, self.args.run.as_deref(), &self.table).await
    }

    /// How an export is waited for that is remembered in a file of this kind.
    pub(super) fn waiting(&self, kind: &str, say: &'a (dyn Fn(&str) + Sync)) -> Waiting<'a> {
        let file = PathBuf::from(format!("{}.transvase-{kind}.json", self.table));
        Waiting { file, now: &seconds, poll: self.poll, say, stop: &self.stage.stop }
    }

    /// Has the next window exported and applies it; none that ends later than `until_us`, in microseconds since 1970.
    ///
    /// # Errors
    /// Of the service; what keeps the window from being applied.
    pub(super) async fn round(
        &self,
        position: &Position,
        until_us: Option<i64>,
        say: &'a (dyn Fn(&str) + Sync),
    ) -> Result<Round> {
        // windows are cut at whole seconds
        let until = until_us.map(|micros| u64::try_from(micros / 1_000_000).unwrap_or(0));
        let from = match self.next(&self.waiting("window", say), position, until).await? {
            None => return Ok(Round::TooShort),
            Some(Exported::At(from)) => from,
            Some(Exported::Stopped) => {
                say("stopped waiting; the export goes on, and the same command waits for it again");
                return Ok(Round::Stopped);
            }
        };
        let changes = ChangesArgs { from, ..self.args.changes.clone() };
        let (chain, opener) = open::chain(&changes, self.options.spill_dir.clone()).await?;
        let (mapping, destination) = (Arc::clone(&self.mapping), self.destination.clone());
        let follow = Follow::prepare(chain, mapping, destination, self.options.clone()).await?;
        let follow = follow.until(until_us);
        let applies = follow.due().0 > 0;
        let (report, error) = self.stage.apply(follow, opener).await?;
        if !applies && error.is_none() {
            return Ok(Round::Later(Box::new(report)));
        }
        Ok(Round::Applied(Box::new(report), error))
    }

    /// Has the next window exported; none when what is left is too short for one.
    async fn next(&self, waiting: &Waiting<'_>, position: &Position, until: Option<u64>) -> Result<Option<Exported>> {
        if let Some(arn) = &position.begun {
            return request::known(&self.db, &self.wish, waiting, arn).await.map(Some);
        }
        let remembered = request::remembered(&self.wish, &waiting.file, position.next_from())?;
        if remembered.is_some_and(|(_, to)| until.is_some_and(|until| until < to)) {
            return Ok(None);
        }
        match remembered.or_else(|| position.next((waiting.now)(), until)) {
            Some(window) => request::export(&self.db, &self.wish.of_window(window), waiting).await.map(Some),
            None => Ok(None),
        }
    }

    /// What there is to tell of a copy to which nothing more is applied.
    pub(super) fn ended(&self, position: &Position, status: FollowStatus) -> FollowReport {
        FollowReport::at(position, &self.table, self.destination.to_string(), status)
    }
}

/// Follows the live table by exports to `url`, until what is left is too short for one.
///
/// # Errors
/// `Config` when the source is no live table; of the service, and of following.
pub(super) async fn follow(
    args: &FollowArgs,
    url: &str,
    to: To,
    options: Options,
    stage: &Stage,
) -> Result<(FollowReport, Option<Error>)> {
    let Some(name) = args.changes.from.strip_prefix(LIVE) else {
        return Err(Error::config(
            "--request-exports is for a live table: --from dynamodb://TABLE, or auto:TABLE to copy it as well",
        ));
    };
    let requested = Requested::open(args, (name, url), to, options, stage).await?;
    let say = |line: &str| stage.screen.say(line);
    let until_us = args.until.and_then(UntilArg::micros);
    let mut so_far: Option<FollowReport> = None;
    loop {
        let position = requested.position().await?;
        // before an export is paid for
        Following::refuse_window(&requested.destination, &position).await?;
        let (report, error) = match requested.round(&position, until_us, &say).await? {
            Round::TooShort => return Ok((joined(so_far, requested.ended(&position, FollowStatus::CaughtUp)), None)),
            Round::Stopped => return Ok((joined(so_far, requested.ended(&position, FollowStatus::Interrupted)), None)),
            Round::Later(report) => return Ok((joined(so_far, *report), None)),
            Round::Applied(report, error) => (*report, error),
        };
        let goes_on = goes_on(report.status);
        let report = joined(so_far, report);
        if error.is_some() || !goes_on {
            return Ok((report, error));
        }
        so_far = Some(report);
    }
}

/// Whether the next window may be asked for.
pub(super) fn goes_on(status: FollowStatus) -> bool {
    matches!(status, FollowStatus::CaughtUp | FollowStatus::CaughtUpWithRejects)
}

/// What was done before, and then this.
pub(super) fn joined(so_far: Option<FollowReport>, report: FollowReport) -> FollowReport {
    match so_far {
        Some(before) => before.then(report),
        None => report,
    }
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
