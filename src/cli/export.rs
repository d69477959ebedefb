//! `--request-export`: has the live table exported to S3, waits for it, and hands over to whatever reads the export.
#![expect(clippy::disallowed_methods, reason = "the service's times are compared with this host's")]

use super::open::{self, LIVE};
use super::{DynamoArgs, SourceArgs};
use crate::driver::dynamodb::DynamoDb;
use crate::error::{Error, Result};
use crate::mapping::KeyAttribute;
use crate::source::dynamodb_export::request::{self, Exported, Waiting, Wish};
use clap::Args;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// Having the table exported.
#[derive(Debug, Args)]
#[command(next_help_heading = "Export")]
pub struct ExportArgs {
    /// Have the live table exported to s3://BUCKET[/PREFIX] first, wait for it, and go on with the export. What was asked for is
    /// remembered in TABLE.transvase-export.json in the current folder: the same command waits for the same export.
    #[arg(long, env = "TRANSVASE_REQUEST_EXPORT", value_name = "s3://BUCKET/PREFIX")]
    pub request_export: Option<String>,
    /// How often the service is asked how far the export is.
    #[arg(long, env = "TRANSVASE_EXPORT_POLL_SECONDS", value_name = "S", default_value = "20")]
    pub export_poll_seconds: f64,
}

/// What came of it.
pub enum Handed {
    /// The export is complete.
    Over {
        /// It, as a source.
        source: SourceArgs,
        /// The table's key, which an export does not tell.
        key: Vec<KeyAttribute>,
    },
    /// Somebody stopped the waiting.
    Stopped,
}

/// Has the table exported, if that was asked for.
///
/// # Errors
/// `Config` when the source is no live table; of the service.
pub async fn export(args: &ExportArgs, source: &SourceArgs, dynamo: &DynamoArgs) -> Result<Option<Handed>> {
    let Some(url) = &args.request_export else { return Ok(None) };
    let Some(name) = source.from.strip_prefix(LIVE) else {
        return Err(Error::config("--request-export is for a live table: --from dynamodb://TABLE"));
    };
    let poll = Duration::try_from_secs_f64(args.export_poll_seconds)
        .map_err(|_| Error::config("--export-poll-seconds is not a time in seconds"))?;
    let db = DynamoDb::connect(&open::endpoint(dynamo)).await?;
    let table = db.describe(name).await?;
    let wish = Wish::parse(url, &table.arn)?;
    let stop = CancellationToken::new();
    let watching = tokio::spawn(stop_at_signal(stop.clone()));
    let waiting = Waiting {
        file: PathBuf::from(format!("{}.transvase-export.json", table.name)),
        now: &seconds,
        poll,
        say: &say,
        stop: &stop,
    };
    let exported = request::export(&db, &wish, &waiting).await;
    watching.abort();
    Ok(Some(match exported? {
        Exported::Stopped => {
            say("stopped waiting; the export goes on, and the same command waits for it again");
            Handed::Stopped
        }
        Exported::At(from) => {
            say(&format!("the export is complete: {from}"));
            let key = table.key.iter().map(|(name, ty)| KeyAttribute { name: name.clone(), ty: open::key_type(*ty) });
            let source = SourceArgs { from, s3_endpoint: source.s3_endpoint.clone() };
            Handed::Over { source, key: key.collect() }
        }
    }))
}

/// The command that loads an export through a mapping file.
#[must_use]
pub fn next(source: &SourceArgs, mapping: &Path, to: &str) -> String {
    let endpoint = source.s3_endpoint.as_ref().map(|url| format!(" --s3-endpoint {url}")).unwrap_or_default();
    // The URL of a server may have come with a password, from the environment.
    let to = if to.starts_with("sqlite:") { to } else { "mysql://…" };
    format!(
        "\nto load the export:\n  transvase backfill --from {}{endpoint} --mapping {} --create-tables --to {to}\n",
        source.from,
        mapping.display()
    )
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// A signal ends the waiting.
async fn stop_at_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}
