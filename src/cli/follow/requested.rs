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
use crate::follow::{Follow, Options};
use crate::mapping::KeyAttribute;
use crate::source::dynamodb_export::request::{self, Exported, Waiting, Wish};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
        return Err(Error::config("--request-exports is for a live table: --from dynamodb://TABLE"));
    };
    let poll = Duration::try_from_secs_f64(args.changes.export_poll_seconds)
        .map_err(|_| Error::config("--export-poll-seconds is not a time in seconds"))?;
    let db = DynamoDb::connect(&open::endpoint(&args.dynamo)).await?;
    let table = db.describe(name).await?;
    let key = table.key.iter().map(|(name, ty)| KeyAttribute { name: name.clone(), ty: open::key_type(*ty) });
    let key: Vec<KeyAttribute> = key.collect();
    let wish = Wish::parse(url, &table.arn)?;
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, &table.name, &key).await?;
    let waiting = Waiting {
        file: PathBuf::from(format!("{}.transvase-window.json", table.name)),
        now: &seconds,
        poll,
        say: &|line| stage.screen.say(line),
        stop: &stage.stop,
    };
    // windows are cut at whole seconds
    let until = args.until.and_then(UntilArg::micros).map(|micros| u64::try_from(micros / 1_000_000).unwrap_or(0));
    let mut so_far: Option<FollowReport> = None;
    loop {
        let position = Position::of(&destination, &mapping, args.run.as_deref(), &table.name).await?;
        let ended = |status| FollowReport::at(&position, &table.name, destination.to_string(), status);
        let exported = match next(&db, &wish, &waiting, &position, until).await? {
            Some(exported) => exported,
            None => return Ok((joined(so_far, ended(FollowStatus::CaughtUp)), None)),
        };
        let Exported::At(from) = exported else {
            stage.screen.say("stopped waiting; the export goes on, and the same command waits for it again");
            return Ok((joined(so_far, ended(FollowStatus::Interrupted)), None));
        };
        let changes = ChangesArgs { from, s3_endpoint: args.changes.s3_endpoint.clone(), ..args.changes.clone() };
        let (chain, opener) = open::chain(&changes, options.spill_dir.clone()).await?;
        let follow = Follow::prepare(chain, Arc::clone(&mapping), destination.clone(), options.clone()).await?;
        let follow = follow.until(args.until.and_then(UntilArg::micros));
        let applies = follow.due().0 > 0;
        let (report, error) = stage.apply(follow, opener).await?;
        let goes_on = applies && matches!(report.status, FollowStatus::CaughtUp | FollowStatus::CaughtUpWithRejects);
        let report = joined(so_far, report);
        if error.is_some() || !goes_on {
            return Ok((report, error));
        }
        so_far = Some(report);
    }
}

/// Has the next window exported; none when what is left is too short for one.
async fn next(
    db: &DynamoDb,
    wish: &Wish,
    waiting: &Waiting<'_>,
    position: &Position,
    until: Option<u64>,
) -> Result<Option<Exported>> {
    if let Some(arn) = &position.begun {
        return request::known(db, wish, waiting, arn).await.map(Some);
    }
    let remembered = request::remembered(wish, &waiting.file, position.next_from())?;
    if remembered.is_some_and(|(_, to)| until.is_some_and(|until| until < to)) {
        return Ok(None);
    }
    match remembered.or_else(|| position.next((waiting.now)(), until)) {
        Some(window) => request::export(db, &wish.of_window(window), waiting).await.map(Some),
        None => Ok(None),
    }
}

fn joined(so_far: Option<FollowReport>, report: FollowReport) -> FollowReport {
    match so_far {
        Some(before) => before.then(report),
        None => report,
    }
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
