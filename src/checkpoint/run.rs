//! The run: its name, its settings (the fingerprint and every derived default), its state.

use super::follows::Follows;
use super::ledger::number;
use super::phases::replays;
use super::schema;
use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::pool::Pool;
use crate::driver::session::{BoxFuture, Session, Statement};
use crate::error::{Error, ErrorKind, Result};
use crate::limit::retry::Backoff;
use crate::model::page::{Unit, UnitId};
use crate::model::rows::CellRef;
use crate::monitor::{Event, Monitor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Units inserted by one statement.
const UNITS_PER_INSERT: usize = 500;

/// The control tables that hold something of a run.
const FORGOTTEN: [&str; 10] =
    ["fences", "runs", "retries", "units", "ledger", "rejects", "leases", "spills", "pieces", "differences"];

/// What a run is bound to. Stored when it begins; a resume must match the first part and reuses the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The source's identity.
    pub source: String,
    /// The compiled mapping's identity.
    pub mapping: String,
    /// What to do about rows that are there.
    pub on_conflict: String,
    /// Whether the application writes to the target tables too.
    pub live_target: bool,
    /// The target tables as they were when the run began.
    pub tables: Vec<TargetTable>,
    /// The shuffle's seed.
    pub seed: u64,
    /// Bytes of lines in a page.
    pub page_bytes: usize,
    /// What the source derived.
    pub derived: Option<String>,
    /// Items in the source.
    pub items: u64,
    /// Whether rows are sorted on disk first and written in key order.
    #[serde(default)]
    pub clustered: bool,
    /// Of a verification: when it began, in microseconds since 1970 by the target's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_us: Option<i64>,
    /// Of a verification: with what, how closely and how much it compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compares: Option<String>,
    /// Of a copy: what was written to the source before this moment, in microseconds since 1970, is in it. The time of an
    /// export; of a live table, when the reading began, by the target's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of_us: Option<i64>,
    /// Of a window of changes: what it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
}

impl Settings {
    /// Whether the run copies items, rather than follow or compare.
    #[must_use]
    pub fn items_are_copied(&self) -> bool {
        self.compares.is_none() && self.follows.is_none()
    }

    /// Those of a run as they are stored.
    pub(super) fn read(run: &str, json: &str) -> Result<Settings> {
        serde_json::from_str(json)
            .map_err(|error| Error::internal(format!("run {run}: its settings are not readable")).because(error))
    }

    /// The DynamoDB table that the source's identity speaks of, which begins with the ARN of the table, or of its export.
    #[must_use]
    pub fn source_table(&self) -> Option<&str> {
        self.source.split_once(":table/")?.1.split(['/', ' ']).next()
    }
}

/// A target table, by what changes when it is recreated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTable {
    /// Its name.
    pub name: String,
    /// What the server says that differs after a drop, a truncate or an alteration.
    pub identity: String,
    /// Whether it held no row when the run began.
    pub empty_at_start: bool,
}

/// How far a stored run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// There was none; it begins now.
    New,
    /// It was begun before.
    Resumed,
    /// It was completed before.
    Complete,
}

/// The control tables of one run, reached through the pool that the data goes through.
#[derive(Clone)]
pub struct Checkpoint {
    pub(super) pool: Arc<Pool>,
    pub(super) run: String,
    /// Told of pauses; without one a target that cannot take writes is an error at once.
    monitor: Option<Arc<dyn Monitor>>,
    /// Tells the run from others of the same name: a process that was asleep during a `--restart` finds another one.
    pub(super) incarnation: u64,
    /// The units that are claimed and waited for: all, or those of one stage of a clustered load.
    pub(super) units: Range<UnitId>,
    /// The backfill lock without which nothing is claimed: its migration, and the epoch it was taken by.
    pub(super) lock: Option<Arc<(String, u64)>>,
    /// The migration whose changes are replayed: nothing is claimed once its target is the truth.
    pub(super) replays: Option<Arc<str>>,
}

impl Checkpoint {
    /// The run called `run`. Creates the control tables where they are missing.
    ///
    /// # Errors
    /// Of connecting, and of creating tables.
    pub async fn open(pool: Arc<Pool>, run: &str) -> Result<Self> {
        if run.is_empty() || run.len() > schema::MAX_NAME {
            return Err(Error::config(format!("run name {run}: give --run a name of 1 to {} bytes", schema::MAX_NAME)));
        }
        let checkpoint = Checkpoint::unopened(pool, run);
        checkpoint
            .retrying("creating the control tables", &(), |session, ()| Box::pin(schema::create(session)))
            .await?;
        Ok(checkpoint)
    }

    /// The run called `run`, in control tables that may not be there: none is made. None when there is no such run.
    ///
    /// # Errors
    /// Of the database.
    pub async fn existing(pool: Arc<Pool>, run: &str) -> Result<Option<Self>> {
        let mut checkpoint = Checkpoint::unopened(pool, run);
        let there = checkpoint.retrying("looking for the run", &(), |session, ()| {
            Box::pin(async move {
                Ok(schema::exists(session, "_transvase_runs").await?
                    && schema::exists(session, "_transvase_rejects").await?)
            })
        });
        if !there.await? || checkpoint.load().await?.is_none() {
            return Ok(None);
        }
        Ok(Some(checkpoint))
    }

    /// The run's checkpoint, before anything is asked of the database.
    pub(super) fn unopened(pool: Arc<Pool>, run: &str) -> Self {
        Checkpoint {
            pool,
            run: run.to_owned(),
            incarnation: 0,
            units: 0..UnitId::MAX,
            lock: None,
            replays: None,
            monitor: None,
        }
    }

    /// The same, telling `monitor` of pauses: a run that is under way waits for a read-only server to be mended, here
    /// as for its data.
    #[must_use]
    pub fn watched(self, monitor: Arc<dyn Monitor>) -> Self {
        Checkpoint { monitor: Some(monitor), ..self }
    }

    /// Tells whoever watches.
    pub(super) fn tell(&self, event: &Event<'_>) {
        if let Some(monitor) = &self.monitor {
            monitor.event(event);
        }
    }

    /// The same, claiming and waiting for these units only.
    #[must_use]
    pub fn of_units(self, units: Range<UnitId>) -> Self {
        Checkpoint { units, ..self }
    }

    /// The same, claiming units only while the backfill lock of `migration` is held by `epoch`: taking the lock away voids all
    /// claims, so no data transaction needs to look at it.
    #[must_use]
    pub fn locked(self, migration: &str, epoch: u64) -> Self {
        Checkpoint { lock: Some(Arc::new((migration.to_owned(), epoch))), ..self }
    }

    /// The same, claiming units only while the source is the truth of `migration`: when it ceases to be, all claims are voided.
    #[must_use]
    pub fn replaying(self, migration: &str) -> Self {
        Checkpoint { replays: Some(Arc::from(migration)), ..self }
    }

    /// What tells the run from others of the same name; known once it was [loaded](Checkpoint::load).
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The run's name.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The stored settings and state; none when there is no such run. From here on this is that run's checkpoint, and
    /// no later one's of the same name.
    ///
    /// # Errors
    /// Of the database; `Internal` when the stored settings cannot be read.
    pub async fn load(&mut self) -> Result<Option<(Settings, RunState)>> {
        let rows = self
            .retrying("reading the run", &self.run, |session, run| {
                Box::pin(async move {
                    let sql = "SELECT state, settings, incarnation FROM _transvase_runs WHERE run = ?";
                    session.fetch(sql, &[text(run)]).await
                })
            })
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        self.incarnation = number(&row[2]).map_err(|fault| fault.into_error("reading the run"))?;
        let state = match row[0].text().as_deref() {
            Some("complete") => RunState::Complete,
            _ => RunState::Resumed,
        };
        let settings = Settings::read(&self.run, &row[1].text().unwrap_or_default())?;
        Ok(Some((settings, state)))
    }

    /// Stores a new run with its units; `places` is the shuffled order of `units`, `incarnation` a random number. When
    /// another process stored it in the meantime, that one's stays.
    ///
    /// # Errors
    /// Of the database.
    pub async fn create(&self, settings: &Settings, units: &[Unit], places: &[u32], incarnation: u32) -> Result<()> {
        let json = serde_json::to_string(settings)
            .map_err(|error| Error::internal("the settings cannot be written as JSON").because(error))?;
        let new = NewRun { run: &self.run, incarnation, settings: &json, units, places };
        self.retrying("storing the run", &new, |session, new| {
            Box::pin(async move {
                session.begin().await?;
                match create_once(session, new).await {
                    Ok(()) => session.commit().await,
                    Err(fault) if fault.kind == FaultKind::Duplicate => session.rollback().await,
                    Err(fault) => Err(fault),
                }
            })
        })
        .await
    }

    /// Forgets the run: its units, ledger, rejects and claims. A process that still works on it is fenced off.
    ///
    /// # Errors
    /// Of the database.
    pub async fn forget(&self) -> Result<()> {
        self.retrying("forgetting the run", &self.run, |session, run| {
            Box::pin(async move {
                session.begin().await?;
                for table in FORGOTTEN {
                    let sql = Statement::new(format!("DELETE FROM _transvase_{table} WHERE run = ?"));
                    session.execute(&sql, [text(run)].into_iter()).await?;
                }
                session.commit().await
            })
        })
        .await
    }

    /// Marks the run complete, if every unit is done still: a server that crashed a moment ago may have forgotten some.
    ///
    /// # Errors
    /// Of the database; `Transient` when units are open again; `Refused` when another run has taken its name.
    pub async fn complete(&self) -> Result<()> {
        const OPEN: &str = "SELECT COUNT(*) FROM _transvase_units WHERE run = ? AND state = 'open'";
        const SQL: &str = "UPDATE _transvase_runs SET state = 'complete' WHERE run = ? AND incarnation = ?";
        let context = (self.run.as_str(), self.incarnation, self.replays.as_deref());
        let marked = self.retrying("marking the run complete", &context, |session, (run, incarnation, replays)| {
            Box::pin(async move {
                session.begin().await?;
                if let Some(migration) = replays {
                    replays::end(session, migration, run).await?;
                }
                let open = session.fetch(OPEN, &[text(run)]).await?;
                if open.first().is_none_or(|row| row[0].int() != Some(0)) {
                    session.rollback().await?;
                    return Ok(None);
                }
                let cells = [text(run), big(*incarnation)];
                let found = session.execute(&Statement::new(SQL.to_owned()), cells.into_iter()).await?.affected;
                session.commit().await?;
                Ok(Some(found))
            })
        });
        match marked.await? {
            Some(1) => Ok(()),
            Some(_) => Err(self.begun_anew()),
            None => Err(Error::new(ErrorKind::Transient, format!("run {}: units are open again", self.run))),
        }
    }

    /// Why a process whose run has lost the backfill lock stops.
    pub(super) fn unlocked(&self) -> Error {
        Error::refused(format!(
            "the backfill lock was taken away from run {}; this process writes nothing more: see `transvase phase status`",
            self.run
        ))
    }

    /// Why a process stops that replays changes into what is the truth by now.
    #[must_use]
    pub fn outdated(&self) -> Error {
        Error::refused(format!(
            "run {}: the target is the source of truth by now, and what the source says is older; this process applies nothing \
             more: see `transvase phase status`",
            self.run
        ))
    }

    /// Why a process whose run was replaced by another of the same name stops.
    pub(super) fn begun_anew(&self) -> Error {
        Error::refused(format!("run {} was begun anew by another process; this one writes nothing more", self.run))
    }

    /// Runs `operation` on a session until it succeeds or is not worth trying: deadlocks are rolled back and done
    /// again, lost connections made anew. An operation must be safe to do twice. What it needs comes as `context`
    /// rather than captured, so that its future may borrow it.
    ///
    /// # Errors
    /// The fault, as the engine's error.
    pub(super) async fn retrying<C: ?Sized, T>(
        &self,
        what: &str,
        context: &C,
        operation: impl for<'s> Fn(&'s mut Session, &'s C) -> BoxFuture<'s, FaultResult<T>>,
    ) -> Result<T> {
        let (mut contention, mut reconnect) = (Backoff::contention(1), Backoff::reconnect(1));
        let mut blocked = Backoff::blocked(1);
        loop {
            let fault = match self.pool.take().await {
                Err(fault) => fault,
                Ok(mut loan) => match operation(&mut loan.session, context).await {
                    Ok(value) => {
                        self.pool.give_back(loan);
                        return Ok(value);
                    }
                    Err(fault) => {
                        if !fault.spoils_session() && loan.session.rollback().await.is_ok() {
                            self.pool.give_back(loan);
                        }
                        fault
                    }
                },
            };
            if fault.spoils_session() {
                self.pool.lost();
            }
            let wait = match fault.kind {
                FaultKind::Retry => contention.wait(),
                FaultKind::Lost => reconnect.wait(),
                FaultKind::Blocked => self.monitor.as_ref().and_then(|monitor| {
                    monitor.event(&Event::Paused { reason: &fault.message });
                    blocked.wait()
                }),
                _ => None,
            };
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(fault.into_error(what)),
            }
        }
    }
}

/// The name that a run has by default. A DynamoDB table's name may be longer than a run's; the end tells more than the
/// beginning.
#[must_use]
pub fn name_of(table: &str) -> String {
    let skip = table.chars().count().saturating_sub(schema::MAX_NAME);
    table.chars().skip(skip).collect()
}

/// A run to be stored.
struct NewRun<'a> {
    run: &'a str,
    incarnation: u32,
    settings: &'a str,
    units: &'a [Unit],
    places: &'a [u32],
}

async fn create_once(session: &mut Session, new: &NewRun<'_>) -> FaultResult<()> {
    let NewRun { run, incarnation, settings, units, places } = *new;
    const RUN: &str = "INSERT INTO _transvase_runs (run, incarnation, state, settings) VALUES (?, ?, 'open', ?)";
    session.execute(&Statement::new(RUN.to_owned()), [text(run), int(incarnation), text(settings)].into_iter()).await?;
    insert_units(session, run, incarnation, units, places).await
}

/// Stores units that nobody has claimed yet; `places` is the order in which they are claimed.
pub(super) async fn insert_units(
    session: &mut Session,
    run: &str,
    epoch: u32,
    units: &[Unit],
    places: &[u32],
) -> FaultResult<()> {
    const ZERO: &str = "{\"read\":0,\"skipped\":0,\"rejected\":0,\"bytes\":0,\"tables\":[]}";
    let ids: Vec<(usize, &Unit)> = units.iter().enumerate().collect();
    for chunk in ids.chunks(UNITS_PER_INSERT) {
        let values = vec!["(?, ?, ?, ?, ?, 'open', 0, ?)"; chunk.len()].join(", ");
        let sql = Statement::new(format!(
            "INSERT INTO _transvase_units (run, unit, place, name, items, state, watermark, counts) VALUES {values}"
        ));
        let cells = chunk.iter().flat_map(|(index, unit)| {
            let place = places.get(*index).copied().unwrap_or(unit.id);
            [text(run), int(unit.id), int(place), text(&unit.name), unit.items.map_or(CellRef::Null, big), text(ZERO)]
        });
        session.execute(&sql, cells).await?;
        // Epochs begin anywhere: a claim of an earlier run of this name must not look like one that was only lost.
        let values = vec!["(?, ?, ?)"; chunk.len()].join(", ");
        let sql = Statement::new(format!("INSERT INTO _transvase_fences (run, unit, epoch) VALUES {values}"));
        let cells = chunk.iter().flat_map(|(_, unit)| [text(run), int(unit.id), int(epoch)]);
        session.execute(&sql, cells).await?;
    }
    Ok(())
}

/// A text parameter.
pub(super) fn text(text: &str) -> CellRef<'_> {
    CellRef::Text(text.as_bytes())
}

/// A small integer parameter.
pub(super) fn int(value: u32) -> CellRef<'static> {
    CellRef::Int(i64::from(value))
}

/// A count or position as a parameter. Positions are below 2^63: DynamoDB has no table of that many items.
pub(super) fn big(value: u64) -> CellRef<'static> {
    CellRef::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A fault that says the control tables hold what they cannot hold.
pub(super) fn broken(what: &str) -> Fault {
    Fault::new(FaultKind::Other, "control tables", format!("{what} is not readable"))
}
