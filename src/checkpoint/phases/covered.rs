//! Of which moment a copy has to be for dual writes to cover it, and who removed what since.
//!
//! Promises: what a run read and has not written yet is brought into the target only where every removal since has left a tombstone.

use super::Phases;
use crate::checkpoint::run::{Checkpoint, name_of};
use crate::driver::pool::Pool;
use crate::error::Result;
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
