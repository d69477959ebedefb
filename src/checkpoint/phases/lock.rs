//! The backfill lock: a lease with an epoch, held by one run, whatever number of processes works on it.
//!
//! A run claims units only under its lock, and every data transaction proves its claim. So who takes the lock away, or over, also
//! voids the claims of the run that had it, in one transaction: that waits for data transactions that have proved theirs, and
//! none does afterwards. A load pays nothing for it. The lease only decides when taking over is polite. The database's clock
//! decides about it.

use super::{Phases, interlocks};
use crate::checkpoint::ledger::number;
use crate::checkpoint::run::{big, text};
use crate::checkpoint::schema::{exists, for_share, for_update, now_us, types};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Session, Statement};
use crate::error::{Error, Result};
use crate::model::dialect::Dialect;
use serde::Serialize;
use std::time::Duration;

/// A lock as it is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// The run that holds it.
    pub run: String,
    /// Changes with every taking.
    pub epoch: u64,
    /// For how many microseconds more, by the database's clock; none when the lease is over.
    pub left_us: Option<i64>,
}

/// What came of asking for the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the run's, by this epoch.
    Ours(u64),
    /// Another run holds it.
    Theirs(Lock),
    /// The migration was moved meanwhile.
    Moved,
}

pub(super) fn table(dialect: Dialect) -> String {
    let types = types(dialect);
    let (name, int, tail) = (types.name, types.int, types.tail);
    format!(
        "CREATE TABLE IF NOT EXISTS _transvase_locks (migration {name} NOT NULL, run {name}, epoch {int} NOT NULL, \
         until_us {int} NOT NULL, PRIMARY KEY (migration)){tail}"
    )
}

impl Phases {
    /// Who holds the lock, if anybody does.
    ///
    /// # Errors
    /// Of the database.
    pub async fn lock(&self) -> Result<Option<Lock>> {
        self.base
            .retrying("reading the backfill lock", self.migration(), |session, name| Box::pin(held(session, name, "")))
            .await
    }

    /// Takes the lock for a run, or has it for longer: nobody else holds it, or their lease is over.
    ///
    /// # Errors
    /// `Refused` when another tool's table, which mirrors ours, says that somebody else holds it; of the database.
    pub async fn take_lock(&self, run: &str, lease: Duration) -> Result<Taken> {
        self.take_lock_at(run, lease, None).await
    }

    /// The same, if the migration is still at this version.
    pub(super) async fn take_lock_at(&self, run: &str, lease: Duration, version: Option<u64>) -> Result<Taken> {
        let during = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        let context = (self.migration(), self.mirror.as_deref(), (run, version), during);
        let taken = self.base.retrying("taking the backfill lock", &context, |session, (name, other, run, during)| {
            Box::pin(async move {
                let (run, version) = run;
                session.begin().await?;
                // a transition that is being made is waited for: it may give the lock away, and what was judged does not hold then
                if version.is_some() && super::prove(session, name).await?.map(|phase| phase.version) != *version {
                    session.rollback().await?;
                    return Ok(Ok(Taken::Moved));
                }
                let before = held(session, name, "").await?.map(|lock| lock.run);
                let taken = take(session, name, run, *during).await?;
                if matches!(taken, Taken::Ours(_)) {
                    let holders = (before, Some((*run).to_owned()));
                    if let Some(foreign) = interlocks::mirror_holder(session, name, *other, holders).await? {
                        session.rollback().await?;
                        return Ok(Err(foreign));
                    }
                }
                session.commit().await?;
                Ok(Ok(taken))
            })
        });
        taken.await?.map_err(Error::refused)
    }

    /// Gives the lock back, whoever asks; whether that run held it.
    ///
    /// # Errors
    /// As of [taking](Phases::take_lock) it.
    pub async fn release_lock(&self, run: &str) -> Result<bool> {
        let context = (self.migration(), self.mirror.as_deref(), run);
        let released = self.base.retrying("releasing the backfill lock", &context, |session, (name, other, run)| {
            Box::pin(async move {
                session.begin().await?;
                let before = held(session, name, for_update(session.dialect())).await?;
                let is_its = before.is_some_and(|lock| lock.run == *run);
                if is_its {
                    release(session, name).await?;
                    let holders = (Some((*run).to_owned()), None);
                    if let Some(foreign) = interlocks::mirror_holder(session, name, *other, holders).await? {
                        session.rollback().await?;
                        return Ok(Err(foreign));
                    }
                }
                session.commit().await?;
                Ok(Ok(is_its))
            })
        });
        released.await?.map_err(Error::refused)
    }
}

/// Nobody holds the lock any more, and no claim of the run that held it is good for anything.
pub(super) async fn release(session: &mut Session, migration: &str) -> FaultResult<()> {
    const SQL: &str = "UPDATE _transvase_locks SET run = NULL, epoch = epoch + 1, until_us = 0 WHERE migration = ?";
    let before = held(session, migration, for_update(session.dialect())).await?;
    session.execute(&Statement::new(SQL.to_owned()), [text(migration)].into_iter()).await?;
    match before {
        Some(lock) => void_claims(session, &lock.run).await,
        None => Ok(()),
    }
}

/// Another epoch for every unit of a run: whoever has proved the old one is waited for.
pub(super) async fn void_claims(session: &mut Session, run: &str) -> FaultResult<()> {
    if !exists(session, "_transvase_fences").await? {
        return Ok(());
    }
    const FENCES: &str = "UPDATE _transvase_fences SET epoch = epoch + 1 WHERE run = ?";
    const UNITS: &str = "UPDATE _transvase_units SET owner = NULL WHERE run = ? AND owner IS NOT NULL";
    for sql in [FENCES, UNITS] {
        session.execute(&Statement::new(sql.to_owned()), [text(run)].into_iter()).await?;
    }
    Ok(())
}

/// Has the lock for longer, if it is held by this epoch.
///
/// # Errors
/// The server's fault.
pub async fn extend(session: &mut Session, migration: &str, epoch: u64, during: u64) -> FaultResult<()> {
    let (now, most) = (now_us(session.dialect()), greatest(session.dialect()));
    let sql = Statement::new(format!(
        "UPDATE _transvase_locks SET until_us = {most}(until_us, {now} + ?) \
         WHERE migration = ? AND epoch = ? AND run IS NOT NULL"
    ));
    session.execute(&sql, [big(during), text(migration), big(epoch)].into_iter()).await.map(drop)
}

fn greatest(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "MAX",
        Dialect::MySql | Dialect::MariaDb => "GREATEST",
    }
}

/// Whether the lock is held by this epoch, until the session's transaction ends.
///
/// # Errors
/// The server's fault.
pub async fn prove(session: &mut Session, migration: &str, epoch: u64) -> FaultResult<bool> {
    let lock = for_share(session.dialect());
    let sql = format!("SELECT epoch FROM _transvase_locks WHERE migration = ? AND run IS NOT NULL{lock}");
    let rows = session.fetch(&sql, &[text(migration)]).await?;
    Ok(match rows.first() {
        Some(row) => number(&row[0])? == epoch,
        None => false,
    })
}

pub(super) async fn held(session: &mut Session, migration: &str, lock: &str) -> FaultResult<Option<Lock>> {
    let now = now_us(session.dialect());
    let sql = format!(
        "SELECT run, epoch, until_us - {now} FROM _transvase_locks WHERE migration = ? AND run IS NOT NULL{lock}"
    );
    let rows = session.fetch(&sql, &[text(migration)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let left_us = row[2].int().filter(|left| *left > 0);
    Ok(Some(Lock { run: row[0].text().unwrap_or_default(), epoch: number(&row[1])?, left_us }))
}

async fn take(session: &mut Session, migration: &str, run: &str, during: u64) -> FaultResult<Taken> {
    let (now, update) = (now_us(session.dialect()), for_update(session.dialect()));
    let there = match session.dialect() {
        Dialect::Sqlite => "ON CONFLICT (migration) DO NOTHING",
        Dialect::MySql | Dialect::MariaDb => "ON DUPLICATE KEY UPDATE migration = migration",
    };
    let row = format!("INSERT INTO _transvase_locks (migration, epoch, until_us) VALUES (?, 0, 0) {there}");
    session.execute(&Statement::new(row), [text(migration)].into_iter()).await?;
    let before = held(session, migration, update).await?;
    if let Some(theirs) = before.as_ref().filter(|lock| lock.run != run && lock.left_us.is_some()) {
        return Ok(Taken::Theirs(theirs.clone()));
    }
    let again = before.as_ref().is_some_and(|lock| lock.run == run);
    if let Some(lapsed) = before.filter(|_| !again) {
        void_claims(session, &lapsed.run).await?;
    }
    // the same run never shortens what another of its processes has been promised
    let (anew, until) = match again {
        true => ("", format!("{}(until_us, {now} + ?)", greatest(session.dialect()))),
        false => (", epoch = epoch + 1", format!("{now} + ?")),
    };
    let sql =
        Statement::new(format!("UPDATE _transvase_locks SET run = ?, until_us = {until}{anew} WHERE migration = ?"));
    session.execute(&sql, [text(run), big(during), text(migration)].into_iter()).await?;
    let rows = session.fetch("SELECT epoch FROM _transvase_locks WHERE migration = ?", &[text(migration)]).await?;
    let epoch = rows.first().map(|row| number(&row[0])).transpose()?.unwrap_or_default();
    Ok(Taken::Ours(epoch))
}
