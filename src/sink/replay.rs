//! Rejects written after all: one transaction locks them, writes their rows and says how each ended.
//!
//! It is the transaction of a page in all but its proof: there it is a claim and a span, here the rejects' own rows. And it
//! tells for each item, rather than for the page, whether its row was written or was there.

use super::sql::{SqlSink, Waits};
use super::transaction::{Abort, write_table};
use crate::checkpoint::retries::{self, Place, Retried, Retry};
use crate::driver::fault::Fault;
use crate::driver::session::Session;
use crate::error::{Error, Result};
use crate::model::batch::{Batch, Commit, Fence};
use crate::model::reject::Reject;
use crate::monitor::Event;

/// Where to go back to when rows were found that are there already: then each row is written alone.
const SAVEPOINT: &str = "SAVEPOINT rows_at_once";
const GO_BACK: &str = "ROLLBACK TO SAVEPOINT rows_at_once";

/// How a page of rejects ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Replayed {
    /// All of them are settled or rejected again.
    Settled,
    /// Some of them were not open any more: another process, or an earlier attempt, has settled them. Nothing was written;
    /// read the page again.
    Stale,
}

/// Which rows a transaction writes before it settles rejects.
#[derive(Clone, Copy)]
pub(super) enum Rows<'e> {
    /// Those of the batch.
    Batch,
    /// None, since they are written elsewhere: so each of them ended.
    Ended(&'e [Retried]),
    /// None, and nothing is settled: it only looks whether the rejects are open.
    None,
}

/// Why an attempt did not commit.
enum Stop {
    Fault(Fault),
    Error(Error),
    Stale,
    /// By table, those of the rows that were written which a live writer has removed since.
    Tombstoned(Vec<Vec<u32>>),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl SqlSink {
    /// Writes the rows of a batch that was made from rejects, whose `places` are in the order of its page, and settles them.
    /// Deadlocks, lost connections and full disks are waited out.
    ///
    /// # Errors
    /// `Refused` when a row meets another item's, or the retry is over; of the target.
    pub async fn replay(&self, batch: &Batch, places: &[Place], retry: &Retry) -> Result<Replayed> {
        self.settle_rejects(Rows::Batch, batch, places, retry).await
    }

    /// The same, for a sink whose rows go elsewhere.
    pub(super) async fn settle_rejects(
        &self,
        rows: Rows<'_>,
        batch: &Batch,
        places: &[Place],
        retry: &Retry,
    ) -> Result<Replayed> {
        let span = batch.page.span;
        // No claim: the rejects' rows are what is proved.
        let commit = Commit { fence: Fence { unit: span.unit, epoch: 0 }, span, in_order: false };
        let mut waits = Waits::new(commit);
        let mut dead = vec![Vec::new(); batch.tables.len()];
        loop {
            let fault = match self.pool.take().await {
                Err(fault) => fault,
                Ok(mut loan) => match self.settle(&mut loan.session, rows, (batch, &dead), places, retry).await {
                    Ok(()) => {
                        self.pool.give_back(loan);
                        return Ok(Replayed::Settled);
                    }
                    Err(stop) => {
                        let spoiled = matches!(&stop, Stop::Fault(fault) if fault.spoils_session());
                        if !spoiled && loan.session.rollback().await.is_ok() {
                            self.pool.give_back(loan);
                        }
                        match stop {
                            Stop::Fault(fault) => fault,
                            Stop::Error(error) => return Err(error),
                            Stop::Stale => return Ok(Replayed::Stale),
                            Stop::Tombstoned(named) => {
                                dead.iter_mut().zip(named).for_each(|(dead, named)| dead.extend(named));
                                continue;
                            }
                        }
                    }
                },
            };
            self.wait(fault, commit, &mut waits).await?;
        }
    }

    /// One attempt, which leaves out the rows of `dead`.
    async fn settle(
        &self,
        session: &mut Session,
        rows: Rows<'_>,
        (batch, dead): (&Batch, &[Vec<u32>]),
        places: &[Place],
        retry: &Retry,
    ) -> Result<(), Stop> {
        let span = batch.page.span;
        session.begin().await?;
        if !retries::lock(session, retry, places).await?.map_err(Stop::Error)? {
            return Err(Stop::Stale);
        }
        if matches!(rows, Rows::None) {
            return Ok(session.rollback().await?);
        }
        self.monitor.event(&Event::TransactionBegun { span });
        let ended = match rows {
            Rows::None => Vec::new(),
            Rows::Ended(ended) => ended.to_vec(),
            Rows::Batch => {
                retries::remembers_removals(session, retry, &self.names).await?.map_err(Stop::Error)?;
                self.write_batch(session, (batch, dead), places).await?
            }
        };
        self.monitor.event(&Event::RowsWritten { span });
        let ended: Vec<(Place, Retried)> = places.iter().copied().zip(ended).collect();
        retries::settle(session, retry, &ended).await?;
        self.monitor.event(&Event::LedgerWritten { span });
        session.commit().await?;
        Ok(())
    }

    /// Writes the rows of all tables; how each item ended.
    async fn write_batch(
        &self,
        session: &mut Session,
        (batch, dead): (&Batch, &[Vec<u32>]),
        places: &[Place],
    ) -> Result<Vec<Retried>, Stop> {
        // An item without a row and without a reject is one that the mapping skips.
        let mut ended = vec![Retried::Skipped; places.len()];
        for reject in &batch.rejects {
            self.reject(reject, &mut ended);
        }
        let mut named = vec![Vec::new(); batch.tables.len()];
        for (table, rows) in batch.tables.iter().enumerate() {
            let order: Vec<u32> = rows.order.iter().copied().filter(|row| !dead[table].contains(row)).collect();
            self.write_rows(session, batch, (table, &order), places, &mut ended).await?;
            // only now: whoever removes one of them later finds it there
            named[table] = self.tombstones.named(session, table, rows, &order).await?;
        }
        if !named.iter().all(Vec::is_empty) {
            return Err(Stop::Tombstoned(named));
        }
        for (rows, dead) in batch.tables.iter().zip(dead) {
            for row in dead {
                if let Some(ended) = at(&mut ended, rows.rows.position(*row as usize)) {
                    *ended = Retried::Tombstoned;
                }
            }
        }
        Ok(ended)
    }

    /// Writes rows of one table: all at once, and if some are there already, each by itself to see which.
    async fn write_rows(
        &self,
        session: &mut Session,
        batch: &Batch,
        (table, order): (usize, &[u32]),
        places: &[Place],
        ended: &mut [Retried],
    ) -> Result<(), Stop> {
        let rows = &batch.tables[table];
        if order.is_empty() {
            return Ok(());
        }
        session.run(SAVEPOINT).await?;
        if self.write_some(session, batch, table, order, ended).await? == 0 {
            return Ok(());
        }
        session.run(GO_BACK).await?;
        for row in order {
            if self.write_some(session, batch, table, &[*row], ended).await? == 0 {
                continue;
            }
            let position = rows.rows.position(*row as usize);
            if self.guarded.get(table).copied().unwrap_or(false) {
                return Err(Stop::Error(self.met_another(table, position, places)));
            }
            if let Some(ended) = at(ended, position) {
                *ended = Retried::Present;
            }
        }
        Ok(())
    }

    /// Writes rows, says so of each, and returns how many of them were there already.
    async fn write_some(
        &self,
        session: &mut Session,
        batch: &Batch,
        table: usize,
        order: &[u32],
        ended: &mut [Retried],
    ) -> Result<u64, Stop> {
        let (mut counts, mut refused) = (batch.counts(), Vec::new());
        let written = write_table(self, session, batch, (table, order), &mut counts, &mut refused).await;
        written.map_err(|abort| match abort {
            Abort::Fault(fault) => Stop::Fault(fault),
            // none of these comes from a session that inserts
            Abort::Fenced { .. }
            | Abort::OutOfTurn
            | Abort::AlreadyCommitted(_)
            | Abort::Unloadable(_)
            | Abort::Tombstoned(_)
            | Abort::Collision { .. } => Stop::Error(Error::internal("rejects are inserted, and not so")),
        })?;
        for row in order {
            if let Some(ended) = at(ended, batch.tables[table].rows.position(*row as usize)) {
                *ended = Retried::Written;
            }
        }
        for reject in &refused {
            self.reject(reject, ended);
        }
        Ok(counts.tables[table].present)
    }

    pub(super) fn reject(&self, reject: &Reject, ended: &mut [Retried]) {
        if let Some(ended) = at(ended, reject.position) {
            *ended = Retried::Rejected {
                table: reject.table.and_then(|table| self.names.get(table)).cloned(),
                column: reject.column.clone(),
                reason: reject.reason.clone(),
            };
        }
    }

    pub(super) fn met_another(&self, table: usize, position: u64, places: &[Place]) -> Error {
        let place = usize::try_from(position).ok().and_then(|index| places.get(index));
        let place = place.map_or_else(String::new, |place| format!("{} of unit {}", place.position, place.unit));
        Error::refused(format!(
            "table {}: the rejected item {place} has the key of a row that is there, though only this run writes to the \
             table: the key of the mapping merges items, or the application writes to the table too (then say \
             --live-target); nothing of the page is settled",
            self.names[table]
        ))
    }
}

/// How the item at a position of the page ended.
fn at(ended: &mut [Retried], position: u64) -> Option<&mut Retried> {
    usize::try_from(position).ok().and_then(|index| ended.get_mut(index))
}
