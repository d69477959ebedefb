//! Retries of a run's rejects: which of them are open, and the proof that they still are, in the transaction that settles
//! them.
//!
//! A reject's row is its own fence. The transaction that writes its item locks the row, sees that nobody has settled it or
//! answered for it, and says in the same commit how it ended. So two processes, or one that was killed and is started
//! again, settle each reject once. A retry has a number and a mapping; another mapping begins the next one, after which a
//! process that is still at the old one writes nothing more.

use super::ledger::number;
use super::phases::mending::MendLock;
use super::run::{Checkpoint, big, broken, int, text};
use super::{schema, tombstones};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::{Error, Result};
use crate::model::page::UnitId;
use crate::model::rows::CellRef;
use serde::{Deserialize, Serialize};

/// Rejects settled by one transaction.
const PLACES_MAX: usize = 500;

/// What a retry is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrySettings {
    /// The mapping's identity.
    pub mapping: String,
    /// What to do about rows that are there.
    pub on_conflict: String,
    /// Whether the application writes to the target tables.
    pub live_target: bool,
    /// By table of the mapping: whether only the run and its retries write to it, so that a row found there means that two
    /// items have one target key.
    pub guarded: Vec<bool>,
}

/// A retry that is under way.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Its number, from 1.
    pub number: u64,
    /// What it is bound to.
    pub settings: RetrySettings,
    run: String,
    incarnation: u64,
    /// Of a migration's target: without it nothing is settled.
    lock: Option<MendLock>,
}

/// Where a reject's item was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The unit.
    pub unit: UnitId,
    /// Its position there.
    pub position: u64,
}

/// How a reject ended when it was tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// Its row was written.
    Written,
    /// A row with its key was there, and stays.
    Present,
    /// A live writer has removed it since: it stays removed.
    Tombstoned,
    /// The mapping says to skip it.
    Skipped,
    /// It cannot be stored this time either.
    Rejected {
        /// The table's name.
        table: Option<String>,
        /// The column.
        column: Option<String>,
        /// What is wrong.
        reason: String,
    },
}

impl Checkpoint {
    /// The retry with these settings that is open, or a new one; amid a migration under its `lock`. The guards of one that is open stay as they were when it
    /// began.
    ///
    /// # Errors
    /// Of the database; `Refused` when another run has taken this one's name.
    pub async fn begin_retry(&self, settings: &RetrySettings, lock: Option<MendLock>) -> Result<Retry> {
        let context = (self.run.as_str(), self.incarnation, settings);
        let begun = self.retrying("beginning a retry", &context, |session, (run, incarnation, settings)| {
            Box::pin(async move {
                session.begin().await?;
                let begun = begin_once(session, run, *incarnation, settings).await?;
                session.commit().await?;
                Ok(begun)
            })
        });
        let (number, settings) = begun.await?.ok_or_else(|| self.begun_anew())?;
        Ok(Retry { number, settings, run: self.run.clone(), incarnation: self.incarnation, lock })
    }

    /// Marks a retry as done: the next one looks at every open reject again.
    ///
    /// # Errors
    /// Of the database.
    pub async fn end_retry(&self, retry: &Retry) -> Result<()> {
        const SQL: &str = "UPDATE _transvase_retries SET state = 'done' WHERE run = ? AND retry = ?";
        self.retrying("ending a retry", retry, |session, retry| {
            Box::pin(async move {
                let cells = [text(&retry.run), big(retry.number)];
                session.execute(&Statement::new(SQL.to_owned()), cells.into_iter()).await.map(drop)
            })
        })
        .await
    }

    /// The next rejects after `after` that the retry has not looked at, with their items, exactly as they were read; of so
    /// many bytes, or one. Empty at the end. Those whose item is not quoted are passed over.
    ///
    /// # Errors
    /// Of the database.
    pub async fn open_rejects(
        &self,
        retry: &Retry,
        after: Option<Place>,
        bytes_max: usize,
    ) -> Result<Vec<(Place, Vec<u8>)>> {
        let context = (retry, after, bytes_max);
        self.retrying("reading the open rejects", &context, |session, (retry, after, bytes_max)| {
            Box::pin(async move {
                let mut found = Vec::new();
                let mut bytes = 0;
                for place in open_after(session, retry, *after).await? {
                    let item = quoted(session, &retry.run, place).await?;
                    bytes += item.len();
                    if bytes > *bytes_max && !found.is_empty() {
                        break;
                    }
                    found.push((place, item));
                }
                Ok(found)
            })
        })
        .await
    }
}

/// Begins or adopts; none when the run is another one.
async fn begin_once(
    session: &mut Session,
    run: &str,
    incarnation: u64,
    settings: &RetrySettings,
) -> FaultResult<Option<(u64, RetrySettings)>> {
    let sql = format!("SELECT incarnation FROM _transvase_runs WHERE run = ?{}", schema::for_update(session.dialect()));
    let found = session.fetch(&sql, &[text(run)]).await?;
    if found.first().map(|row| number(&row[0])).transpose()? != Some(incarnation) {
        return Ok(None);
    }
    let sql = "SELECT retry, state, settings FROM _transvase_retries WHERE run = ? ORDER BY retry DESC LIMIT 1";
    let last = session.fetch(sql, &[text(run)]).await?;
    let mut next = 1;
    if let Some(row) = last.first() {
        let found = number(&row[0])?;
        let stored: RetrySettings =
            serde_json::from_str(&row[2].text().unwrap_or_default()).map_err(|_| broken("the settings of a retry"))?;
        let same = RetrySettings { guarded: Vec::new(), ..stored.clone() }
            == RetrySettings { guarded: Vec::new(), ..settings.clone() };
        if same && row[1].text().as_deref() == Some("open") {
            return Ok(Some((found, stored)));
        }
        next = found + 1;
        let close = "UPDATE _transvase_retries SET state = 'done' WHERE run = ?";
        session.execute(&Statement::new(close.to_owned()), [text(run)].into_iter()).await?;
    }
    let json = serde_json::to_string(settings).map_err(|_| broken("the settings of a retry"))?;
    let insert = "INSERT INTO _transvase_retries (run, retry, state, settings) VALUES (?, ?, 'open', ?)";
    let cells = [text(run), big(next), text(&json)];
    session.execute(&Statement::new(insert.to_owned()), cells.into_iter()).await?;
    Ok(Some((next, settings.clone())))
}

/// The condition on a reject that a retry has still to look at; its parameters are the run and the retry's number.
const OPEN: &str = "run = ? AND part = 0 AND outcome IS NULL AND signed_by IS NULL AND retry < ? AND LENGTH(item) > 0";

async fn open_after(session: &mut Session, retry: &Retry, after: Option<Place>) -> FaultResult<Vec<Place>> {
    let sql = format!(
        "SELECT unit, position FROM _transvase_rejects WHERE {OPEN} AND (unit > ? OR (unit = ? AND position > ?)) \
         ORDER BY unit, position LIMIT {PLACES_MAX}"
    );
    let [unit, position] = after.map_or([CellRef::Int(-1); 2], |place| [int(place.unit), big(place.position)]);
    let cells = [text(&retry.run), big(retry.number), unit, unit, position];
    session.fetch(&sql, &cells).await?.iter().map(|row| place(row)).collect()
}

fn place(row: &[Fetched]) -> FaultResult<Place> {
    let unit = u32::try_from(number(&row[0])?).map_err(|_| broken("a unit"))?;
    Ok(Place { unit, position: number(&row[1])? })
}

/// The item of a reject, its parts together.
async fn quoted(session: &mut Session, run: &str, place: Place) -> FaultResult<Vec<u8>> {
    const SQL: &str = "SELECT item FROM _transvase_rejects WHERE run = ? AND unit = ? AND position = ? ORDER BY part";
    let rows = session.fetch(SQL, &[text(run), int(place.unit), big(place.position)]).await?;
    let mut item = Vec::new();
    for row in rows {
        item.extend(row.into_iter().next().and_then(Fetched::bytes).unwrap_or_default());
    }
    Ok(item)
}

/// In the transaction that will settle them: locks the rejects at `places`, ascending, and says whether all of them are still
/// to be looked at by this retry. When the retry itself is over, or its run is another one, that is an error.
///
/// # Errors
/// The server's fault, and in the inner result `Refused`.
pub async fn lock(session: &mut Session, retry: &Retry, places: &[Place]) -> FaultResult<Result<bool>> {
    if let Some(lock) = &retry.lock
        && !lock.prove(session).await?
    {
        return Ok(Err(lock.lost()));
    }
    let sql = format!(
        "SELECT t.state FROM _transvase_retries t JOIN _transvase_runs r ON r.run = t.run \
         WHERE t.run = ? AND t.retry = ? AND r.incarnation = ?{}",
        schema::for_share(session.dialect())
    );
    let rows = session.fetch(&sql, &[text(&retry.run), big(retry.number), big(retry.incarnation)]).await?;
    if rows.first().and_then(|row| row[0].text()).as_deref() != Some("open") {
        return Ok(Err(Error::refused(format!(
            "run {}: its retry {} was ended by another process, or the run begun anew; this one writes nothing more",
            retry.run, retry.number
        ))));
    }
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(Ok(true)) };
    let sql = format!(
        "SELECT unit, position FROM _transvase_rejects WHERE {OPEN} AND (unit > ? OR (unit = ? AND position >= ?)) \
         AND (unit < ? OR (unit = ? AND position <= ?)) ORDER BY unit, position{}",
        schema::for_update(session.dialect())
    );
    let (from, to) = (int(first.unit), int(last.unit));
    let cells = [text(&retry.run), big(retry.number), from, from, big(first.position), to, to, big(last.position)];
    let open: FaultResult<Vec<Place>> = session.fetch(&sql, &cells).await?.iter().map(|row| place(row)).collect();
    let open = open?;
    Ok(Ok(places.iter().all(|place| open.binary_search(place).is_ok())))
}

/// In the transaction that writes rows of `tables`: whether every removal that a row of a reject may have missed has left a
/// tombstone. Without a migration nobody says so, and nobody asks.
///
/// # Errors
/// The server's fault, and in the inner result `Refused`.
pub async fn remembers_removals(session: &mut Session, retry: &Retry, tables: &[String]) -> FaultResult<Result<()>> {
    let is_asked = retry.lock.as_ref().is_some_and(MendLock::is_dual);
    let is_kept = !is_asked || tombstones::are_kept(session, tables, (&retry.run, retry.incarnation)).await?;
    Ok(if is_kept { Ok(()) } else { Err(forgotten(&retry.run)) })
}

/// Why a run's rejects are not tried again.
#[must_use]
pub fn forgotten(run: &str) -> Error {
    Error::refused(format!(
        "run {run}: what it rejected may have been removed since, and not all removals have left a tombstone, so it could come back: \
         write what the items are now through a mended mapping with `transvase verify --repair`, or sign the rejects off"
    ))
}

/// Says how the rejects ended, in the transaction that has [locked](lock) them.
///
/// # Errors
/// The server's fault.
pub async fn settle(session: &mut Session, retry: &Retry, ended: &[(Place, Retried)]) -> FaultResult<()> {
    const WHERE: &str = "WHERE run = ? AND unit = ? AND position = ?";
    let outcome = Statement::new(format!("UPDATE _transvase_rejects SET outcome = ?, retry = ? {WHERE}"));
    let again =
        Statement::new(format!("UPDATE _transvase_rejects SET target = ?, field = ?, reason = ?, retry = ? {WHERE}"));
    for (place, retried) in ended {
        let at = [text(&retry.run), int(place.unit), big(place.position)];
        let name = match retried {
            Retried::Written => "written",
            Retried::Present => "present",
            Retried::Tombstoned => "tombstoned",
            Retried::Skipped => "skipped",
            Retried::Rejected { table, column, reason } => {
                let [table, column] = [table, column].map(|name| name.as_deref().map_or(CellRef::Null, text));
                let cells = [table, column, text(reason), big(retry.number)];
                session.execute(&again, cells.into_iter().chain(at)).await?;
                continue;
            }
        };
        session.execute(&outcome, [text(name), big(retry.number)].into_iter().chain(at)).await?;
    }
    Ok(())
}
