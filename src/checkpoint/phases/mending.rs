//! Who mends rows of a migration's target from its source: under the backfill lock, and only while the source is the truth.
//!
//! Each transaction that mends proves the lock by a share lock on its row. So taking the lock away, which the move to another truth
//! does, waits for those that have proved it, and none mends afterwards.

use super::lock::{self, Taken};
use super::{Phase, Phases};
use crate::checkpoint::run::name_of;
use crate::driver::fault::FaultResult;
use crate::driver::pool::Pool;
use crate::driver::session::Session;
use crate::error::{Error, Result};
use crate::phase::plan::{Step, Store};
use std::sync::Arc;
use std::time::Duration;

/// The backfill lock of a migration, held by a run that mends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MendLock {
    migration: String,
    epoch: u64,
    /// Whether the application writes to both stores, in the step that it was taken in.
    dual: bool,
    /// Microseconds that it is held for, from each mending on.
    during: u64,
}

impl MendLock {
    /// Takes the lock for `run`, where the database of `pool` knows of a migration of the table; none where it knows of none. A source
    /// that `stands_still` is as of an earlier moment than the dual writes.
    ///
    /// # Errors
    /// `Refused` when the target is the truth, when dual writes go on and the source stands still, or another run holds the lock; of
    /// the database.
    pub async fn take(
        pool: &Arc<Pool>,
        table: &str,
        run: &str,
        (lease, stands_still): (Duration, bool),
    ) -> Result<Option<MendLock>> {
        let Some(phases) = Phases::existing(Arc::clone(pool), &name_of(table)).await? else { return Ok(None) };
        let during = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        loop {
            let Some(phase) = phases.load().await? else { return Ok(None) };
            check(phases.migration(), &phase, stands_still)?;
            if let Some(epoch) = phases.hold_lock(&phase, run, lease).await? {
                return Ok(Some(MendLock {
                    migration: phases.migration().to_owned(),
                    epoch,
                    dual: is_dual(&phase),
                    during,
                }));
            }
        }
    }

    /// Has the lock for longer: before a transaction that mends.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn extend(&self, session: &mut Session) -> FaultResult<()> {
        lock::extend(session, &self.migration, self.epoch, self.during).await
    }

    /// Whether it is held, the source is the truth, and dual writes have neither begun nor ended since, until the session's
    /// transaction ends.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn prove(&self, session: &mut Session) -> FaultResult<bool> {
        let phase = super::prove(session, &self.migration).await?;
        Ok(phase.is_some_and(|phase| is_truth(&phase) && is_dual(&phase) == self.dual)
            && lock::prove(session, &self.migration, self.epoch).await?)
    }

    /// Whether the application writes to the target too: then what is older than its writes is not what is there.
    #[must_use]
    pub fn is_dual(&self) -> bool {
        self.dual
    }

    /// Why nothing more is mended.
    #[must_use]
    pub fn lost(&self) -> Error {
        Error::refused(format!(
            "the backfill lock of migration {} was taken away, or it was moved to where nothing is mended; nothing more is: see \
             `transvase phase status`",
            self.migration
        ))
    }
}

impl Phases {
    /// Takes the lock for a run, or has it for longer, or says who holds it. By which epoch; none when the migration is not at
    /// `judged` any more.
    ///
    /// # Errors
    /// `Refused` when another run holds it; of the database.
    pub async fn hold_lock(&self, judged: &Phase, run: &str, lease: Duration) -> Result<Option<u64>> {
        match self.take_lock_at(run, lease, Some(judged.version)).await? {
            Taken::Ours(epoch) => Ok(Some(epoch)),
            Taken::Moved => Ok(None),
            Taken::Theirs(lock) => Err(Error::refused(format!(
                "migration {}: run {} holds the backfill lock, and this is run {run}: give --run {}, or take the lock away with \
                 `transvase phase unlock --run {}`",
                self.migration(),
                lock.run,
                lock.run,
                lock.run
            ))),
        }
    }
}

/// Whether the application writes to both stores.
fn is_dual(phase: &Phase) -> bool {
    phase.planned().is_some_and(|step| step.writes.second.is_some())
}

/// Whether the source is the truth.
fn is_truth(phase: &Phase) -> bool {
    phase.planned().is_some_and(|step| step.authority() == Store::Old)
}

/// Whether rows may be mended from the source.
fn check(migration: &str, phase: &Phase, stands_still: bool) -> Result<()> {
    let unknown =
        || Error::refused(format!("migration {migration} follows plan {}, of a later version: use that", phase.plan));
    let Step { name, writes, .. } = phase.planned().ok_or_else(unknown)?;
    let refuse =
        |why: &str| Err(Error::refused(format!("migration {migration} is in step {} ({name}): {why}", phase.step)));
    if writes.first == Store::New {
        return refuse(
            "the target is the source of truth, and mending it from the other would bring back what is older",
        );
    }
    if writes.second == Some(Store::New) && stands_still {
        return refuse("dual writes go on, and an export is older than they are: compare with the live table");
    }
    Ok(())
}
