//! After a lost connection: does the database still hold what it had acknowledged?
//!
//! A server that is killed with `innodb_flush_log_at_trx_commit` 0 or 2 comes back without its last commits, claims
//! included. What we believe is noted first and the ledger read afterwards, so whatever is missing there was lost.

use super::owner::Owner;
use super::run::Checkpoint;
use super::tracker::Tracker;
use super::units::Claim;
use crate::error::{Error, Result};
use crate::model::page::{UnitId, Wanted};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Items of a unit that must be read and written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The unit.
    pub unit: UnitId,
    /// How many items were lost; perhaps none, when only the unit's last fold was.
    pub items: u64,
    /// What to read.
    pub wanted: Wanted,
    /// Which reading of the unit that is.
    pub reading: u32,
}

impl Checkpoint {
    /// Compares the tracker's beliefs with the database, corrects them, and returns what was lost. Claims that were
    /// lost are put back.
    ///
    /// # Errors
    /// Of the database; `Refused` when the run is gone or another process has taken a unit.
    pub async fn audit(&self, tracker: &Mutex<Tracker>, owner: &Owner) -> Result<Vec<Lost>> {
        let believed = tracker.lock().unwrap_or_else(PoisonError::into_inner).believed();
        let ledger = self.ledger(None).await?;
        let mut losses = Vec::new();
        for (claim, ranges, done) in believed {
            let gone = || Error::refused(format!("run {}: its control rows are gone; start it again", self.run));
            let found = ledger.get(&claim.unit).ok_or_else(gone)?;
            if found.epoch != claim.epoch {
                self.put_back(owner, claim, found.epoch).await?;
            }
            let durable = found.durable();
            let lost: Vec<Range<u64>> = ranges.iter().flat_map(|range| durable.gaps(range)).collect();
            if lost.is_empty() && found.done == done {
                continue;
            }
            let mut tracker = tracker.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = tracker.forget(claim.unit, &lost, found.reached.as_deref());
            let reading = tracker.reading(claim.unit).unwrap_or_default();
            let items = lost.iter().map(|range| range.end - range.start).sum();
            losses.push(Lost { unit: claim.unit, items, wanted, reading });
        }
        Ok(losses)
    }

    async fn put_back(&self, owner: &Owner, claim: Claim, found: u64) -> Result<()> {
        if found == claim.before && self.restore_claim(owner, claim).await? {
            return Ok(());
        }
        Err(self.taken_over(claim.unit))
    }

    /// Why a process that lost a unit to another one stops.
    #[must_use]
    pub fn taken_over(&self, unit: UnitId) -> Error {
        Error::refused(format!(
            "run {}: another process has taken unit {unit} over; this one writes nothing more",
            self.run
        ))
    }
}
