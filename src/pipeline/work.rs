//! What is left to do: hands out units to readers, books commits, and decides when the run has ended.
//!
//! It joins the durable side (`checkpoint`) with what this process believes (the tracker), and keeps the first fatal
//! error. After every lost connection it audits before it believes anything more.

use super::{Ended, MaxRejects};
use crate::checkpoint::owner::Owner;
use crate::checkpoint::run::Checkpoint;
use crate::checkpoint::tracker::{Next, Tracker};
use crate::checkpoint::units::Claim;
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::model::batch::Fence;
use crate::model::counts::Counts;
use crate::model::page::{Span, Unit, UnitId, Wanted};
use crate::model::reject::REFUSED_BY_SERVER;
use crate::monitor::{Event, Monitor};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often to ask whether another process has finished or died.
pub(super) const POLL: Duration = Duration::from_millis(500);

/// How often a claim may be found lost and be put back, before the server is not believed any more.
pub(super) const RESTORES_MAX: u32 = 5;

/// A unit to read, or what of it is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The unit.
    pub unit: UnitId,
    /// Which reading of it this is: a live unit is read anew after a loss, and pages of earlier readings are void.
    pub reading: u32,
    /// What of it.
    pub wanted: Wanted,
}

/// The work of one run in this process.
pub struct Work {
    checkpoint: Checkpoint,
    pool: Arc<Pool>,
    owner: Owner,
    units: Vec<Unit>,
    monitor: Arc<dyn Monitor>,
    tracker: Mutex<Tracker>,
    /// Items that the server lost: they go before new units.
    again: Mutex<VecDeque<Assignment>>,
    changed: Notify,
    /// A page of a live unit became durable, or void.
    advanced: Notify,
    /// No more is to be read: a stop was requested, by the operator or the source, or the run failed.
    halt: CancellationToken,
    /// What was read is not to be written either: the operator wants a quick end, or the run failed.
    abandon: CancellationToken,
    audits: tokio::sync::Mutex<()>,
    audited_losses: AtomicU64,
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
    /// Units that cannot be read, and why.
    failed_units: Mutex<BTreeMap<UnitId, String>>,
    rejected: AtomicU64,
    read: AtomicU64,
}

impl Work {
    /// The work on `units` of the run behind `checkpoint`; `so_far` is what earlier processes did.
    #[must_use]
    pub fn new(
        checkpoint: Checkpoint,
        pool: Arc<Pool>,
        owner: Owner,
        units: Vec<Unit>,
        so_far: &Counts,
        monitor: Arc<dyn Monitor>,
        stop: &CancellationToken,
    ) -> Self {
        Work {
            checkpoint,
            pool,
            owner,
            units,
            monitor,
            tracker: Mutex::default(),
            again: Mutex::default(),
            changed: Notify::new(),
            advanced: Notify::new(),
            halt: stop.child_token(),
            abandon: stop.child_token(),
            audits: tokio::sync::Mutex::default(),
            audited_losses: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            error: Mutex::default(),
            failed_units: Mutex::default(),
            rejected: AtomicU64::new(so_far.outcomes().rejected),
            read: AtomicU64::new(so_far.read),
        }
    }

    /// Who watches.
    #[must_use]
    pub fn monitor(&self) -> Arc<dyn Monitor> {
        Arc::clone(&self.monitor)
    }

    /// Cancelled when no more is to be read.
    #[must_use]
    pub fn halt(&self) -> &CancellationToken {
        &self.halt
    }

    /// What an operator finds the unit by.
    #[must_use]
    pub fn unit_name(&self, unit: UnitId) -> String {
        self.units.get(unit as usize).map_or_else(|| format!("unit {unit}"), |unit| unit.name.clone())
    }

    /// The next unit to read. Waits while units may still come back: from a crashed server, or from a process that
    /// died. None when all is durable, a stop was requested, or the run failed.
    pub async fn next(&self) -> Option<Assignment> {
        loop {
            let changed = self.changed.notified();
            if self.halt.is_cancelled() {
                return None;
            }
            match self.look().await {
                Ok(Look::Found(assignment)) => return Some(assignment),
                Ok(Look::Nothing) => return None,
                Ok(Look::Later) => {}
                Err(error) => {
                    self.fail(error);
                    return None;
                }
            }
            tokio::select! {
                () = changed => {}
                () = self.halt.cancelled() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// A unit to read, if there is one now.
    pub async fn try_next(&self) -> Option<Assignment> {
        match self.look().await {
            Ok(Look::Found(assignment)) => Some(assignment),
            Ok(Look::Nothing | Look::Later) => None,
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// Whether units wait of which the server lost something.
    #[must_use]
    pub fn has_lost_units(&self) -> bool {
        !lock(&self.again).is_empty()
    }

    async fn look(&self) -> Result<Look> {
        self.audit_after_losses().await?;
        if let Some(assignment) = lock(&self.again).pop_front() {
            return Ok(Look::Found(assignment));
        }
        match self.claim().await? {
            Look::Nothing => {}
            other => return Ok(other),
        }
        let mine = lock(&self.tracker).open();
        let failed = lock(&self.failed_units).len() as u64;
        let open = self.checkpoint.open_units().await?.saturating_sub(failed);
        if open == 0 {
            return Ok(Look::Nothing);
        }
        if mine == 0 {
            self.monitor.event(&Event::Waiting { units: open });
        }
        Ok(Look::Later)
    }

    /// Claims a unit. Not while an audit compares the tracker's claims with the database's.
    async fn claim(&self) -> Result<Look> {
        let alone = self.audits.lock().await;
        let random = rand::random::<u32>();
        let claimed = match self.checkpoint.claim(&self.owner, random).await? {
            None => self.forgotten_claim().await?,
            claimed => claimed,
        };
        let Some(claim) = claimed else { return Ok(Look::Nothing) };
        let held = lock(&self.tracker).claim(claim.unit);
        if let Some(held) = held {
            // It is our own: the lease ran out while this process or the database was away, or the server lost the
            // claim. Pages of it are in flight, so it must not be read anew; unless somebody else had it in between.
            if ![held.epoch, held.before].contains(&claim.before) {
                return Err(self.checkpoint.taken_over(claim.unit));
            }
            lock(&self.tracker).renew(claim);
            drop(alone);
            self.audit().await?;
            return Ok(Look::Later);
        }
        if lock(&self.failed_units).contains_key(&claim.unit) {
            return Ok(Look::Later);
        }
        let ledger = self.checkpoint.ledger(Some(claim.unit)).await?.remove(&claim.unit).unwrap_or_default();
        let items = self.units.get(claim.unit as usize).map_or(Some(0), |unit| unit.items);
        let wanted = lock(&self.tracker).take_on(claim, items, &ledger);
        self.monitor.event(&Event::UnitClaimed { unit: claim.unit });
        Ok(Look::Found(Assignment { unit: claim.unit, reading: 0, wanted }))
    }

    /// A unit that is ours without our knowing: the answer to its claim's commit was lost. Nobody else would read it.
    async fn forgotten_claim(&self) -> Result<Option<Claim>> {
        let owned = self.checkpoint.owned(&self.owner).await?;
        let (tracker, failed) = (lock(&self.tracker), lock(&self.failed_units));
        let is_known = |claim: &Claim| tracker.claim(claim.unit).is_some() || failed.contains_key(&claim.unit);
        Ok(owned.into_iter().find(|claim| !is_known(claim)))
    }

    /// Whether a reading of a unit is the one whose pages count.
    #[must_use]
    pub fn is_current(&self, unit: UnitId, reading: u32) -> bool {
        lock(&self.tracker).reading(unit) == Some(reading)
    }

    /// The item up to which a unit is durable without a gap.
    #[must_use]
    pub fn contiguous(&self, unit: UnitId) -> u64 {
        lock(&self.tracker).contiguous(unit)
    }

    /// Whether a unit's items cannot be read twice alike.
    #[must_use]
    pub fn is_live(&self, unit: UnitId) -> bool {
        self.units.get(unit as usize).is_some_and(|unit| unit.items.is_none())
    }

    /// The fence of a unit's transactions; none when the unit failed, or is being read anew.
    #[must_use]
    pub fn fence(&self, unit: UnitId, reading: u32) -> Option<Fence> {
        let tracker = lock(&self.tracker);
        let claim = tracker.claim(unit).filter(|_| tracker.reading(unit) == Some(reading));
        claim.map(|claim| Fence { unit, epoch: claim.epoch })
    }

    /// Waits until all before `span` is durable. False when that will not happen: the page is void, or the run ends.
    pub async fn turn(&self, span: Span, reading: u32) -> bool {
        loop {
            let advanced = self.advanced.notified();
            if !self.is_current(span.unit, reading) {
                return false;
            }
            if lock(&self.tracker).contiguous(span.unit) == span.from {
                return true;
            }
            tokio::select! {
                () = advanced => {}
                // What came before may have been dropped from the queue: nothing is lost, it is read again next time.
                () = self.abandon.cancelled() => return false,
            }
        }
    }

    /// Ends the reading; what was read is still written.
    pub fn read_no_more(&self) {
        self.halt.cancel();
        self.changed.notify_waiters();
    }

    /// Books a durable span; stops the run when there are too many rejects.
    ///
    /// # Errors
    /// Of the database; `Config` for too many rejects.
    pub async fn committed(&self, span: Span, counts: &Counts, max_rejects: MaxRejects) -> Result<()> {
        let rejected = counts.outcomes().rejected;
        let rejected_all = self.rejected.fetch_add(rejected, Ordering::SeqCst) + rejected;
        let read_all = self.read.fetch_add(counts.read, Ordering::SeqCst) + counts.read;
        let next = lock(&self.tracker).acknowledge(span);
        self.advanced.notify_waiters();
        self.audit_after_losses().await?;
        self.advance(next).await?;
        if rejected > 0 && max_rejects.exceeded(rejected_all, read_all) {
            return Err(self.too_many_rejects(rejected_all).await?);
        }
        Ok(())
    }

    async fn too_many_rejects(&self, rejected: u64) -> Result<Error> {
        let first = self.checkpoint.rejects(None).await?.into_iter().next();
        let first = first.map_or_else(String::new, |reject| {
            let place =
                |name: &str, value: Option<String>| value.map_or(String::new(), |value| format!(", {name} {value}"));
            let reason = reject.reason.unwrap_or_default();
            // What a server says may quote the value: the file may hold it, a message may not.
            let reason = reason.split(REFUSED_BY_SERVER).next().filter(|own| !own.is_empty());
            format!(
                "; the first is line {} of {}{}{}: {}",
                reject.position + 1,
                self.unit_name(reject.unit),
                place("table", reject.table),
                place("column", reject.column),
                reason.unwrap_or("refused by the server")
            )
        });
        Ok(Error::corrupt(format!(
            "{rejected} rejected so far, more than --max-rejects allows{first}; look at the rejects file, then mend the \
             mapping (--restart), or allow more and run the same command again"
        )))
    }

    /// Books that a unit's end was reached, after item `end`, and is as it should be.
    pub async fn verified(&self, unit: UnitId, reading: u32, end: u64) {
        let next = lock(&self.tracker).verified(unit, reading, end);
        if let Err(error) = self.advance(next).await {
            self.fail(error);
        }
    }

    async fn advance(&self, mut next: Next) -> Result<()> {
        for _ in 0..RESTORES_MAX {
            let (fence, up_to, finish) = match next {
                Next::Nothing => return Ok(()),
                Next::Fold(fence, up_to) => (fence, up_to, false),
                Next::Finish(fence, up_to) => (fence, up_to, true),
            };
            if let Some(watermark) = self.checkpoint.fold(fence, up_to, finish).await? {
                return self.folded(fence, up_to, finish, watermark).await;
            }
            // The claim is not what it was. If it can be put back, a unit that is finished must still be folded:
            // nothing else would ask for it again.
            self.audit().await?;
            next = lock(&self.tracker).next(fence.unit);
        }
        Err(Error::refused("the claim of a unit is lost again and again; is the database being restored?"))
    }

    async fn folded(&self, fence: Fence, up_to: u64, finish: bool, watermark: u64) -> Result<()> {
        self.monitor.event(&Event::Folded { unit: fence.unit, to: watermark });
        if finish && watermark == up_to {
            lock(&self.tracker).finished(fence.unit);
            self.monitor.event(&Event::UnitDone { unit: fence.unit });
            self.changed.notify_waiters();
        } else if finish {
            // The ledger has less than was acknowledged: the server lost commits.
            return self.audit().await;
        }
        Ok(())
    }

    /// The unit cannot be read; the others go on.
    pub fn unit_failed(&self, unit: UnitId, error: &Error) {
        let reason = error.chain();
        self.monitor.event(&Event::UnitFailed { unit, reason: &reason });
        lock(&self.failed_units).insert(unit, reason);
        lock(&self.tracker).give_up(unit);
        self.advanced.notify_waiters();
        self.changed.notify_waiters();
    }

    /// Ends the run with `error`; the first one counts.
    pub fn fail(&self, error: Error) {
        lock(&self.error).get_or_insert(error);
        self.failed.store(true, Ordering::SeqCst);
        self.halt.cancel();
        self.abandon.cancel();
        self.changed.notify_waiters();
    }

    /// Whether the run has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Extends the lease.
    ///
    /// # Errors
    /// Of the database.
    pub async fn heartbeat(&self, lease: Duration) -> Result<u64> {
        self.checkpoint.heartbeat(&self.owner, lease).await
    }

    async fn audit_after_losses(&self) -> Result<()> {
        if self.pool.losses() == self.audited_losses.load(Ordering::SeqCst) { Ok(()) } else { self.audit().await }
    }

    /// Compares what we believe with what is durable; what was lost is queued again.
    ///
    /// # Errors
    /// Of the database; `Refused` when another process has taken a unit.
    pub async fn audit(&self) -> Result<()> {
        let _alone = self.audits.lock().await;
        let losses = self.pool.losses();
        for lost in self.checkpoint.audit(&self.tracker, &self.owner).await? {
            self.monitor.event(&Event::CommitsLost { unit: lost.unit, items: lost.items });
            // Without lost items only the unit's last fold was lost; reading its end again does it anew.
            let assignment = Assignment { unit: lost.unit, reading: lost.reading, wanted: lost.wanted };
            lock(&self.again).push_back(assignment);
        }
        self.advanced.notify_waiters();
        self.audited_losses.store(losses, Ordering::SeqCst);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Ends the work: releases the claims and says how it went.
    ///
    /// # Errors
    /// The run's first fatal error.
    pub async fn end(&self) -> Result<Ended> {
        let error = lock(&self.error).take();
        if let Some(error) = error {
            // Best effort: a lost lease runs out by itself, and the first error is the one to tell.
            drop(tokio::time::timeout(POLL * 4, self.checkpoint.release(&self.owner)).await);
            return Err(error);
        }
        self.checkpoint.release(&self.owner).await?;
        let failed = std::mem::take(&mut *lock(&self.failed_units));
        if !failed.is_empty() {
            return Ok(Ended::UnitsFailed(failed.into_values().collect()));
        }
        if self.checkpoint.open_units().await? == 0 {
            return Ok(Ended::Drained);
        }
        if self.halt.is_cancelled() {
            Ok(Ended::Stopped)
        } else {
            Err(Error::internal("readers ended with units left"))
        }
    }
}

enum Look {
    Found(Assignment),
    Nothing,
    Later,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
