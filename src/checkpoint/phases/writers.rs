//! The application instances of a migration: which step each obeys, whether it has stopped at a barrier, and how long a request
//! of its may still be in flight. And the faults that they met.

use super::{Phase, Phases, prove};
use crate::checkpoint::ledger::number;
use crate::checkpoint::run::{big, broken, int, text};
use crate::checkpoint::schema::{now_us, types};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::dialect::Dialect;
use serde::Serialize;
use std::time::Duration;

/// A registered instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The step that it obeys since its last heartbeat.
    pub step: u8,
    /// The version of the phase that it has seen.
    pub version: u64,
    /// Whether it has stopped writing, with nothing in flight.
    pub stopped: bool,
    /// Since when it has been beyond the first step, or in it, in microseconds since 1970 by the database's clock: what it wrote
    /// before went to one store only.
    pub since_us: i64,
    /// Whether its lease lives: a request of its may be in flight.
    pub lives: bool,
}

/// Something that an instance met and nobody has cleared yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultOnRecord {
    /// Its number.
    pub fault: u64,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// Who met it.
    pub who: String,
    /// What it was; no item's value.
    pub what: String,
}

pub(super) fn table(dialect: Dialect) -> String {
    let types = types(dialect);
    let (name, int, tail) = (types.name, types.int, types.tail);
    format!(
        "CREATE TABLE IF NOT EXISTS _transvase_writers (migration {name} NOT NULL, writer {name} NOT NULL, step {int} NOT NULL, \
         version {int} NOT NULL, stopped {int} NOT NULL, since_us {int} NOT NULL, until_us {int} NOT NULL, \
         PRIMARY KEY (migration, writer)){tail}"
    )
}

pub(super) fn faults(dialect: Dialect) -> String {
    let types = types(dialect);
    let (name, long, int, tail) = (types.name, types.long, types.int, types.tail);
    format!(
        "CREATE TABLE IF NOT EXISTS _transvase_faults (migration {name} NOT NULL, fault {int} NOT NULL, at_us {int} NOT NULL, \
         who {name} NOT NULL, what {long} NOT NULL, cleared_us {int}, cleared_by {long}, PRIMARY KEY (migration, fault)){tail}"
    )
}

impl Phases {
    /// An instance is alive for `lease` more, and obeys what this answers from now on: a step that it is told while a barrier
    /// stands it obeys by not writing. `stopped` says of which version it has stopped, with nothing in flight. None when there is
    /// no such migration.
    ///
    /// # Errors
    /// Of the database.
    pub async fn heartbeat(&self, writer: &str, stopped: Option<u64>, lease: Duration) -> Result<Option<Phase>> {
        let during = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        let context = (self.migration(), writer, stopped, during);
        self.base
            .retrying("a heartbeat", &context, |session, (name, writer, stopped, during)| {
                Box::pin(async move {
                    session.begin().await?;
                    let phase = prove(session, name).await?;
                    if let Some(phase) = &phase {
                        let is_stopped = stopped.is_some_and(|version| version == phase.version);
                        beat(session, name, writer, (phase, is_stopped, *during)).await?;
                    }
                    session.commit().await?;
                    Ok(phase)
                })
            })
            .await
    }

    /// An instance that writes nothing more, with nothing in flight, takes its leave.
    ///
    /// # Errors
    /// Of the database.
    pub async fn leave(&self, writer: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM _transvase_writers WHERE migration = ? AND writer = ?";
        self.base
            .retrying("taking leave", &(self.migration(), writer), |session, (name, writer)| {
                Box::pin(async move {
                    let cells = [text(name), text(writer)];
                    session.execute(&Statement::new(SQL.to_owned()), cells.into_iter()).await.map(drop)
                })
            })
            .await
    }

    /// All registered instances, by name.
    ///
    /// # Errors
    /// Of the database.
    pub async fn writers(&self) -> Result<Vec<Instance>> {
        self.base
            .retrying("reading the writers", self.migration(), |session, name| {
                Box::pin(async move {
                    let now = now_us(session.dialect());
                    let sql = format!(
                        "SELECT writer, step, version, stopped, since_us, CASE WHEN until_us > {now} THEN 1 ELSE 0 END \
                         FROM _transvase_writers WHERE migration = ? ORDER BY writer"
                    );
                    session.fetch(&sql, &[text(name)]).await?.iter().map(|row| instance(row)).collect()
                })
            })
            .await
    }

    /// Puts a fault on record: until it is cleared, the source of truth does not change back. The same of the same instance is on record
    /// once.
    ///
    /// # Errors
    /// Of the database.
    pub async fn fault(&self, who: &str, what: &str) -> Result<()> {
        self.base
            .retrying("recording a fault", &(self.migration(), who, what), |session, (name, who, what)| {
                Box::pin(async move {
                    // one whose answer was lost is there already
                    let sql = format!(
                        "INSERT INTO _transvase_faults (migration, fault, at_us, who, what) \
                         SELECT ?, COALESCE(MAX(fault), 0) + 1, {}, ?, ? FROM _transvase_faults WHERE migration = ? \
                         HAVING COUNT(CASE WHEN who = ? AND what = ? AND cleared_us IS NULL THEN 1 END) = 0",
                        now_us(session.dialect())
                    );
                    let cells = [text(name), text(who), text(what), text(name), text(who), text(what)];
                    session.execute(&Statement::new(sql), cells.into_iter()).await.map(drop)
                })
            })
            .await
    }

    /// The faults that are on record and not cleared.
    ///
    /// # Errors
    /// Of the database.
    pub async fn faults(&self) -> Result<Vec<FaultOnRecord>> {
        const SQL: &str = "SELECT fault, at_us, who, what FROM _transvase_faults \
                           WHERE migration = ? AND cleared_us IS NULL ORDER BY fault";
        self.base
            .retrying("reading the faults", self.migration(), |session, name| {
                Box::pin(
                    async move { session.fetch(SQL, &[text(name)]).await?.iter().map(|row| on_record(row)).collect() },
                )
            })
            .await
    }
}

async fn beat(
    session: &mut Session,
    migration: &str,
    writer: &str,
    (phase, is_stopped, during): (&Phase, bool, u64),
) -> FaultResult<()> {
    let now = now_us(session.dialect());
    let (head, value) = match session.dialect() {
        Dialect::Sqlite => ("ON CONFLICT (migration, writer) DO UPDATE SET", "excluded.{}"),
        Dialect::MySql | Dialect::MariaDb => ("ON DUPLICATE KEY UPDATE", "VALUES({})"),
    };
    let new = |column: &str| value.replace("{}", column);
    // assignments are made from left to right on one server: what is compared comes first
    let sql = format!(
        "INSERT INTO _transvase_writers (migration, writer, step, version, stopped, since_us, until_us) \
         VALUES (?, ?, ?, ?, ?, {now}, {now} + ?) {head} \
         since_us = CASE WHEN (_transvase_writers.step > 1) = ({step} > 1) THEN _transvase_writers.since_us \
         ELSE {since} END, \
         step = {step}, version = {version}, stopped = {stopped}, until_us = {until}",
        step = new("step"),
        since = new("since_us"),
        version = new("version"),
        stopped = new("stopped"),
        until = new("until_us"),
    );
    let cells = [
        text(migration),
        text(writer),
        int(u32::from(phase.step)),
        big(phase.version),
        int(u32::from(is_stopped)),
        big(during),
    ];
    session.execute(&Statement::new(sql), cells.into_iter()).await.map(drop)
}

/// Instances whose lease is over are no longer told of once the step has changed: one that comes back registers anew.
pub(super) async fn forget_dead(session: &mut Session, migration: &str) -> FaultResult<()> {
    let now = now_us(session.dialect());
    let sql = format!("DELETE FROM _transvase_writers WHERE migration = ? AND until_us <= {now}");
    session.execute(&Statement::new(sql), [text(migration)].into_iter()).await.map(drop)
}

fn instance(row: &[Fetched]) -> FaultResult<Instance> {
    Ok(Instance {
        name: row[0].text().unwrap_or_default(),
        step: u8::try_from(number(&row[1])?).map_err(|_| broken("a step"))?,
        version: number(&row[2])?,
        stopped: row[3].int() == Some(1),
        since_us: row[4].int().ok_or_else(|| broken("a time"))?,
        lives: row[5].int() == Some(1),
    })
}

fn on_record(row: &[Fetched]) -> FaultResult<FaultOnRecord> {
    Ok(FaultOnRecord {
        fault: number(&row[0])?,
        at_us: row[1].int().ok_or_else(|| broken("a time"))?,
        who: row[2].text().unwrap_or_default(),
        what: row[3].text().unwrap_or_default(),
    })
}
