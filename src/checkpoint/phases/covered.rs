//! Of which moment a copy has to be for dual writes to cover it, and who removed what since.
//!
//! Promises: what a run read and has not written yet is brought into the target only where every removal since has left a tombstone.

use super::Phases;
use crate::checkpoint::run::{Checkpoint, Settings, name_of};
use crate::checkpoint::schema::exists;
use crate::driver::pool::Pool;
use crate::driver::session::Fetched;
use crate::error::Result;
use crate::phase::plan::Interlock;
use crate::phase::plan_called;
use std::sync::Arc;

/// How much older than the dual writes a source must not be, in microseconds: what was written in the minutes before an
/// export's time may be missing in it, and clocks differ.
pub const MARGIN_US: i64 = 5 * 60 * 1_000_000;

/// Whether what was read as of `reads_us` has all that was written before the dual writes, which have been going on since `dual_us`.
#[must_use]
pub fn covers(reads_us: i64, dual_us: i64) -> bool {
    reads_us >= dual_us.saturating_add(MARGIN_US)
}

impl Phases {
    /// Since when all writers that are registered have written to both stores, in microseconds since 1970 by the database's clock.
    ///
    /// # Errors
    /// Of the database.
    pub async fn dual_since_us(&self) -> Result<i64> {
        let history = self.history().await?;
        let entered = history.iter().rfind(|past| past.from == 1 && past.to > 1).map_or(0, |past| past.at_us);
        let writers = self.writers().await?;
        let since = writers.iter().filter(|one| one.step > 1).map(|one| one.since_us).max();
        Ok(since.unwrap_or(0).max(entered))
    }

    /// Since when what is removed stays out of a copy: dual writes have gone on, and the target was not the truth, where nothing
    /// leaves tombstones. In microseconds since 1970 by the database's clock.
    ///
    /// # Errors
    /// Of the database.
    pub async fn covered_since_us(&self) -> Result<i64> {
        let plan = self.load().await?.and_then(|phase| plan_called(&phase.plan));
        let copied =
            |step| plan.and_then(|plan| plan.step(step)).is_some_and(|step| step.interlock == Interlock::BackfillLock);
        let history = self.history().await?;
        let entered = history.iter().rfind(|past| !copied(past.from) && copied(past.to)).map_or(0, |past| past.at_us);
        Ok(self.dual_since_us().await?.max(entered))
    }
}

impl Phases {
    /// What every run in the migration's database was begun with, of whatever table.
    ///
    /// # Errors
    /// Of the database; `Internal` when one cannot be read.
    pub async fn runs(&self) -> Result<Vec<Settings>> {
        let runs = self.base.retrying("reading the runs", &(), |session, ()| {
            Box::pin(async move {
                if !exists(session, "_transvase_runs").await? {
                    return Ok(Vec::new());
                }
                session.fetch("SELECT run, settings FROM _transvase_runs", &[]).await
            })
        });
        let said = |cell: &Fetched| cell.text().unwrap_or_default();
        runs.await?.iter().map(|row| Settings::read(&said(&row[0]), &said(&row[1]))).collect()
    }
}

impl Checkpoint {
    /// Ends the load of `tables`, which are a copy of the source's table called `table`: as [`end_load`](Checkpoint::end_load), but
    /// not amid a migration of it, where what the copy has rejected may be tried again for as long as the source is the truth. There
    /// the controller does it, when that is over.
    ///
    /// # Errors
    /// Of the database.
    pub async fn end_copy(&self, pool: &Arc<Pool>, table: &str, tables: &[String]) -> Result<()> {
        let phases = Phases::existing(Arc::clone(pool), &name_of(table)).await?;
        let phase = match &phases {
            Some(phases) => phases.load().await?,
            None => None,
        };
        if phase.is_some_and(|phase| phase.may_be_copied()) { Ok(()) } else { self.end_load(tables).await }
    }
}
