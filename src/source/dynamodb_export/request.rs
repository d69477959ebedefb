//! Asking DynamoDB for an export to S3, and waiting for it: once, however often the process dies.
//!
//! The token of the request is on disk before the request is made, and the export's ARN once it is known. So whoever is
//! started again asks for the same export (the service knows a token for eight hours), finds it by its token, or goes on
//! waiting for it.

use super::keys::join;
use super::location::SUMMARY;
use crate::driver::dynamodb::{DynamoDb, ExportCall, ExportProgress, ExportState, Refusal, RefusalKind};
use crate::error::{Error, Result};
use crate::limit::retry::Backoff;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// For so long the service takes the same token for the same request.
const TOKEN_SECONDS: u64 = 8 * 3600;

/// How many answers of "too many exports" are told: the first, and then one in so many.
const LIMITED_TOLD: u32 = 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The table's ARN.
    pub table_arn: String,
    /// The bucket.
    pub bucket: String,
    /// What its keys begin with; empty for nothing.
    pub prefix: String,
    /// Of an incremental export: from when on and before when, in seconds since 1970.
    pub window: Option<(u64, u64)>,
}

/// What is remembered of it between processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ticket {
    table_arn: String,
    bucket: String,
    prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<(u64, u64)>,
    token: String,
    /// When the token was first used, in seconds since 1970.
    asked: u64,
    export_arn: Option<String>,
}

/// How to wait.
pub struct Waiting<'a> {
    /// What is remembered is kept here.
    pub file: PathBuf,
    /// The time, in seconds since 1970.
    pub now: &'a (dyn Fn() -> u64 + Sync),
    /// How often the service is asked.
    pub poll: Duration,
    /// Who is told what goes on.
    pub say: &'a (dyn Fn(&str) + Sync),
    /// Ends the waiting; the export goes on.
    pub stop: &'a CancellationToken,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exported {
    /// It is complete and lies here: `s3://bucket/…/AWSDynamoDB/id`.
    At(String),
    /// A stop was requested. The service goes on; the same call waits for it again.
    Stopped,
}

impl Wish {
    /// `s3://bucket/prefix` for a table.
    ///
    /// # Errors
    /// `Config` when it names no bucket.
    pub fn parse(url: &str, table_arn: &str) -> Result<Wish> {
        let rest = url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(Error::config(format!("--request-export {url}: give s3://bucket or s3://bucket/prefix")));
        }
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_matches('/').to_owned());
        Ok(Wish { table_arn: table_arn.to_owned(), bucket, prefix, window: None })
    }

    /// The same of an incremental export.
    #[must_use]
    pub fn of_window(&self, window: (u64, u64)) -> Wish {
        Wish { window: Some(window), ..self.clone() }
    }
}

/// Has the table exported, or goes on waiting for the export that was asked for.
///
/// # Errors
/// `Config` with the next step when the table or the bucket does not allow it; `Corrupt` when the export failed.
pub async fn export(db: &DynamoDb, wish: &Wish, waiting: &Waiting<'_>) -> Result<Exported> {
    let mut ticket = match Ticket::read(&waiting.file)? {
        Some(ticket) if ticket.is_for(wish) => ticket,
        Some(_) => return Err(of_another(&waiting.file)),
        None => Ticket::new(wish, (waiting.now)()),
    };
    let arn = match &ticket.export_arn {
        Some(arn) => arn.clone(),
        None => match ask(db, wish, waiting, &mut ticket).await? {
            Some(arn) => arn,
            None => return Ok(Exported::Stopped),
        },
    };
    wait(db, wish, waiting, &arn).await
}

/// Waits for an export that is known by its ARN.
///
/// # Errors
/// `Corrupt` when it failed, `Config` when it is not known any more.
pub async fn known(db: &DynamoDb, wish: &Wish, waiting: &Waiting<'_>, arn: &str) -> Result<Exported> {
    wait(db, wish, waiting, arn).await
}

/// The window that is remembered of `wish`'s table and bucket; one that does not begin at `from` is forgotten.
///
/// # Errors
/// `Config` when what is remembered cannot be read, or is of another table or bucket.
pub fn remembered(wish: &Wish, file: &Path, from: u64) -> Result<Option<(u64, u64)>> {
    let Some(ticket) = Ticket::read(file)? else { return Ok(None) };
    if !ticket.is_for(&Wish { window: ticket.window, ..wish.clone() }) {
        return Err(of_another(file));
    }
    match ticket.window.filter(|window| window.0 == from) {
        None => forget(file).map(|()| None),
        window => Ok(window),
    }
}

fn of_another(file: &Path) -> Error {
    Error::config(format!(
        "{} remembers an export of another table or to another bucket: wait for that one, or remove the file",
        file.display()
    ))
}

/// Asks until the export is begun; its ARN. None when a stop was requested.
async fn ask(db: &DynamoDb, wish: &Wish, waiting: &Waiting<'_>, ticket: &mut Ticket) -> Result<Option<String>> {
    let (mut limited, mut silent) = (0, Backoff::reconnect(1));
    loop {
        let found = if (waiting.now)().saturating_sub(ticket.asked) < TOKEN_SECONDS {
            None
        } else {
            // The token may mean nothing any more; but an export that was asked for with it would be known by it.
            let found = find(db, wish, &ticket.token).await?;
            if found.is_none() {
                *ticket = Ticket::new(wish, (waiting.now)());
            }
            found
        };
        // Before the request: if this process dies before the answer, the next one must ask with the same token.
        ticket.write(&waiting.file)?;
        let Wish { table_arn, bucket, prefix, window } = wish;
        let call = ExportCall { table_arn, bucket, prefix, token: &ticket.token, window: *window };
        let answer = match found {
            Some(found) => Ok(found),
            None => db.request_export(&call).await,
        };
        let wait = match answer {
            Ok(state) => {
                ticket.export_arn = Some(state.arn.clone());
                ticket.write(&waiting.file)?;
                (waiting.say)(&format!("export {} has begun", id_of(&state.arn)));
                return Ok(Some(state.arn));
            }
            Err(refusal) if refusal.code == "LimitExceededException" => {
                if limited % LIMITED_TOLD == 0 {
                    (waiting.say)("the account has as many exports under way as it may: waiting for one to end");
                }
                limited += 1;
                waiting.poll
            }
            Err(refusal) if is_passing(&refusal) => silent.wait().ok_or_else(|| refusal.into_error())?,
            Err(refusal) => {
                // The token stays: an earlier process may have begun an export with it, though this one is refused.
                if refusal.code == "ExportConflictException" {
                    forget(&waiting.file)?;
                }
                return Err(refused(refusal, wish));
            }
        };
        if !sleep(wait, waiting.stop).await {
            return Ok(None);
        }
    }
}

/// Waits for the end of an export.
async fn wait(db: &DynamoDb, wish: &Wish, waiting: &Waiting<'_>, arn: &str) -> Result<Exported> {
    let mut silent = Backoff::reconnect(1);
    let mut told = None;
    loop {
        let pause = match db.describe_export(arn).await {
            Ok(ExportState { progress: ExportProgress::Complete(key), .. }) => {
                return Ok(Exported::At(place(wish, arn, key.as_deref())));
            }
            Ok(ExportState { progress: ExportProgress::Failed { code, message }, .. }) => {
                forget(&waiting.file)?;
                return Err(failed(&code, &message, wish));
            }
            Ok(_) => {
                silent = Backoff::reconnect(1);
                let begun = begun_seconds(arn);
                let minutes = begun.map(|begun| (waiting.now)().saturating_sub(begun) / 60);
                if told != Some(minutes) {
                    let so_far = minutes.map_or_else(String::new, |minutes| format!(", {minutes} min so far"));
                    (waiting.say)(&format!("export {} goes on{so_far}", id_of(arn)));
                    told = Some(minutes);
                }
                waiting.poll
            }
            Err(refusal) if refusal.code == "ExportNotFoundException" => {
                forget(&waiting.file)?;
                return Err(Error::config(format!(
                    "export {} is not known any more: run the same command again, which asks for a new one",
                    id_of(arn)
                )));
            }
            Err(refusal) if is_passing(&refusal) => silent.wait().ok_or_else(|| refusal.into_error())?,
            Err(refusal) => return Err(refusal.into_error()),
        };
        if !sleep(pause, waiting.stop).await {
            return Ok(Exported::Stopped);
        }
    }
}

/// The export that was asked for with this token.
async fn find(db: &DynamoDb, wish: &Wish, token: &str) -> Result<Option<ExportState>> {
    let arns = db.exports(&wish.table_arn).await.map_err(Refusal::into_error)?;
    // the service lists them by their ids, which begin with a time
    for arn in arns.iter().rev() {
        let state = db.describe_export(arn).await.map_err(Refusal::into_error)?;
        if state.token.as_deref() == Some(token) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

fn is_passing(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::Unknown | RefusalKind::Throttled(_))
}

/// False when a stop was requested meanwhile.
async fn sleep(wait: Duration, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some()
}

/// Why an export was not begun, with the next step.
fn refused(refusal: Refusal, wish: &Wish) -> Error {
    let table = wish.table_arn.rsplit('/').next().unwrap_or_default();
    match refusal.code.as_str() {
        "PointInTimeRecoveryUnavailableException" => Error::config(format!(
            "table {table} cannot be exported while point-in-time recovery is off: turn it on with `aws dynamodb \
             update-continuous-backups --table-name {table} --point-in-time-recovery-specification \
             PointInTimeRecoveryEnabled=true`, wait a minute or two, and run the same command again"
        )),
        "ExportConflictException" => Error::refused(
            "another export was asked for with the same token: run the same command again, which takes a new one",
        ),
        _ if refusal.message.contains("s3:") || refusal.message.contains("bucket") => {
            Error::config(format!("bucket {}: {}; {}", wish.bucket, refusal.message, bucket_step(wish)))
        }
        _ => refusal.into_error(),
    }
}

/// Why an export failed, with the next step.
fn failed(code: &str, message: &str, wish: &Wish) -> Error {
    let step = if code.contains("AccessDenied") || code.contains("S3") {
        bucket_step(wish)
    } else {
        "run the same command again, which asks for a new one".to_owned()
    };
    Error::corrupt(format!("the export failed ({code}): {message}; {step}"))
}

fn bucket_step(wish: &Wish) -> String {
    format!(
        "see that bucket {} is there and lets these credentials s3:PutObject, s3:PutObjectAcl and s3:AbortMultipartUpload, \
         then run the same command again",
        wish.bucket
    )
}

/// Where an export lies; the service tells the key of its summary, or it follows from the id.
fn place(wish: &Wish, arn: &str, key: Option<&str>) -> String {
    let folder = match key.and_then(|key| key.strip_suffix(SUMMARY)) {
        Some(folder) => folder.trim_end_matches('/').to_owned(),
        None => join(&wish.prefix, &format!("AWSDynamoDB/{}", id_of(arn))),
    };
    format!("s3://{}/{folder}", wish.bucket)
}

fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// An export's id begins with the milliseconds of its start.
fn begun_seconds(arn: &str) -> Option<u64> {
    let (millis, _) = id_of(arn).split_once('-')?;
    millis.parse::<u64>().ok().map(|millis| millis / 1000)
}

impl Ticket {
    fn new(wish: &Wish, now: u64) -> Ticket {
        let Wish { table_arn, bucket, prefix, window } = wish.clone();
        let token = format!("{:032x}", rand::random::<u128>());
        Ticket { table_arn, bucket, prefix, window, token, asked: now, export_arn: None }
    }

    fn is_for(&self, wish: &Wish) -> bool {
        (&self.table_arn, &self.bucket, &self.prefix, self.window)
            == (&wish.table_arn, &wish.bucket, &wish.prefix, wish.window)
    }

    fn read(path: &Path) -> Result<Option<Ticket>> {
        let broken = || Error::config(format!("{} does not tell of an export: remove it", path.display()));
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| broken().because(error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::config(format!("reading {}", path.display())).because(error)),
        }
    }

    /// Writes it so that it is there, whole, after a power cut.
    fn write(&self, path: &Path) -> Result<()> {
        let failed = || Error::config(format!("writing {}, which remembers the export", path.display()));
        let json = serde_json::to_vec_pretty(self).map_err(|error| failed().because(error))?;
        let beside = path.with_extension("json.new");
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&json)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        });
        written.map_err(|error| failed().because(error))
    }
}

fn forget(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::config(format!("removing {}", path.display())).because(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:dynamodb:eu-north-1:1:table/orders/export/01768385930622-efd1a093";

    fn wish(url: &str) -> Wish {
        Wish::parse(url, "arn:aws:dynamodb:eu-north-1:1:table/orders").unwrap()
    }

    #[test]
    fn an_export_is_found_where_the_service_says_or_by_its_id() {
        let wish = wish("s3://backups/2026/");
        let id = "s3://backups/2026/AWSDynamoDB/01768385930622-efd1a093";
        let key = "2026/AWSDynamoDB/01768385930622-efd1a093/manifest-summary.json";
        assert_eq!(place(&wish, ARN, Some(key)), id);
        assert_eq!(place(&wish, ARN, None), id);
        assert_eq!(begun_seconds(ARN), Some(1_768_385_930));
        assert!(Wish::parse("s3:///x", "").is_err() && Wish::parse("/tmp", "").is_err());
    }

    #[test]
    fn a_ticket_is_read_as_it_was_written_and_belongs_to_one_export() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.transvase-export.json");
        assert_eq!(Ticket::read(&path).unwrap(), None);
        let ticket = Ticket::new(&wish("s3://backups/2026"), 17);
        ticket.write(&path).unwrap();
        assert_eq!(Ticket::read(&path).unwrap().as_ref(), Some(&ticket));
        assert!(ticket.is_for(&wish("s3://backups/2026/")) && !ticket.is_for(&wish("s3://backups")));
        assert_ne!(Ticket::new(&wish("s3://backups"), 17).token, ticket.token);
        let window = wish("s3://backups").of_window((900, 1800));
        Ticket::new(&window, 17).write(&path).unwrap();
        assert_eq!(remembered(&wish("s3://backups"), &path, 900).unwrap(), Some((900, 1800)));
        assert!(remembered(&wish("s3://others"), &path, 900).is_err());
        assert_eq!(remembered(&wish("s3://backups"), &path, 1800).unwrap(), None);
        assert!(!path.exists(), "a window that is done is forgotten");
        forget(&path).unwrap();
        forget(&path).unwrap();
        std::fs::write(&path, "{}").unwrap();
        assert!(Ticket::read(&path).is_err());
    }
}
