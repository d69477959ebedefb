//! The sink for SQL databases: MySQL, MariaDB, SQLite, and `null:`, which keeps the ledger and writes no rows.
//!
//! This file decides about attempts: what is done again, what is waited out, what ends the run. One attempt is
//! [`transaction`](super::transaction)'s.

use super::health::Health;
use super::inspect::select_key;
use super::load::Load;
use super::removal::Removal;
use super::statements::Inserts;
use super::tombstones::Tombstones;
use super::transaction::{Abort, Settled, attempt};
use super::{OnConflict, Sink, WriteError};
use crate::checkpoint::ledger;
use crate::driver::fault::{Fault, FaultKind};
use crate::driver::pool::Pool;
use crate::driver::session::BoxFuture;
use crate::error::{Error, ErrorKind};
use crate::limit::retry::Backoff;
use crate::limit::writers::Writers;
use crate::mapping::Table;
use crate::model::batch::{Batch, Commit};
use crate::model::counts::Counts;
use crate::model::dialect::Dialect;
use crate::monitor::{Event, Monitor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Batches in a row that a load could not take: then no more loads are tried, each of which is work done twice.
const UNLOADABLE_MAX: u32 = 16;

/// What a sink is made from.
pub struct SqlSinkOptions {
    /// The run, as the control tables know it.
    pub run: String,
    /// What to do about rows that are there.
    pub on_conflict: OnConflict,
    /// Batches are of changes: their rows replace whatever is there, so nothing is guarded and nothing is loaded.
    pub changes: bool,
    /// By table: whether it was empty when the run began and nobody else writes to it, so that a row found there
    /// means that two items have one target key.
    pub guarded: Vec<bool>,
    /// False for `null:`.
    pub write_rows: bool,
    /// Transactions at once. The pool has more sessions, which claims and heartbeats need while these wait for locks.
    pub writers: usize,
    /// Sessions that LOAD DATA LOCAL, to the same database; without them rows are inserted.
    pub loading: Option<Arc<Pool>>,
}

/// Writes batches through a pool of sessions.
pub struct SqlSink {
    pub(super) pool: Arc<Pool>,
    loading: Option<Arc<Pool>>,
    /// Batches since the last that was loaded.
    unloadable: AtomicU32,
    writers: Writers,
    health: Option<Arc<Health>>,
    pub(super) monitor: Arc<dyn Monitor>,
    pub(super) run: String,
    pub(super) names: Vec<String>,
    pub(super) inserts: Vec<Inserts>,
    /// By table, of a sink for changes: how rows are deleted.
    pub(super) removals: Vec<Removal>,
    /// By table: its loads, unless rows that are there may be overwritten.
    pub(super) loads: Vec<Option<Load>>,
    pub(super) selects: Vec<String>,
    pub(super) tombstones: Tombstones,
    pub(super) guarded: Vec<bool>,
    /// By table: whether a row that is there is overwritten.
    pub(super) replaces: Vec<bool>,
}

impl SqlSink {
    /// A sink for `tables` on a server of `dialect` that takes statements of `max_packet` bytes.
    #[must_use]
    pub fn new(
        pool: Arc<Pool>,
        tables: &[Table],
        dialect: Dialect,
        max_packet: usize,
        options: SqlSinkOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Self {
        let rows = if options.write_rows { tables } else { &[] };
        let (on_conflict, guarded, loading) = match options.changes {
            true => (OnConflict::Replace, Vec::new(), None),
            false => (options.on_conflict, options.guarded, options.loading),
        };
        let replaces = overwrites(on_conflict, &guarded, tables.len());
        let removed_from = if options.changes { rows } else { &[] };
        SqlSink {
            pool,
            loading,
            unloadable: AtomicU32::new(0),
            writers: Writers::new(u32::try_from(options.writers).unwrap_or(u32::MAX)),
            health: None,
            monitor,
            run: options.run,
            names: tables.iter().map(|table| table.name.clone()).collect(),
            inserts: rows
                .iter()
                .zip(&replaces)
                .map(|(table, replaces)| Inserts::new(table, *replaces, dialect, max_packet))
                .collect(),
            removals: removed_from.iter().map(|table| Removal::new(table, dialect, max_packet)).collect(),
            loads: rows
                .iter()
                .zip(&replaces)
                .map(|(table, replaces)| (!replaces).then(|| Load::new(table, dialect)))
                .collect(),
            selects: tables.iter().map(|table| select_key(table, dialect)).collect(),
            tombstones: Tombstones::new(rows, dialect),
            guarded,
            replaces,
        }
    }

    /// The same, held back when the target bears it badly.
    #[must_use]
    pub fn watched_by(self, health: Option<Arc<Health>>) -> Self {
        SqlSink { health, ..self }
    }

    /// Whether the claim is ours still, for a sink whose rows go elsewhere: it looks before it writes there, and while
    /// it does. Only the transaction of [`SqlSink::record`] is proof.
    pub(super) async fn look(&self, commit: Commit) -> Result<(), WriteError> {
        let mut waits = Waits::new(commit);
        loop {
            let fault = match self.pool.take().await {
                Err(fault) => fault,
                Ok(mut loan) => match ledger::read_fence(&mut loan.session, &self.run, commit.fence).await {
                    Ok(found) => {
                        self.pool.give_back(loan);
                        let ours = found == Some(commit.fence.epoch);
                        return if ours { Ok(()) } else { Err(WriteError::Fenced { found }) };
                    }
                    Err(fault) => fault,
                },
            };
            self.wait(fault, commit, &mut waits).await.map_err(WriteError::Failed)?;
        }
    }

    /// Writes the rows this sink writes, if any, and records how the batch ended, in one transaction.
    pub(super) async fn record(&self, batch: &Batch, commit: Commit, settled: &Settled) -> Result<Counts, WriteError> {
        let mut waits = Waits::new(commit);
        let mut settled = settled.clone();
        let (mut again, mut loads) = (false, self.loading.is_some());
        if loads && let Some(reason) = self.declines(batch) {
            self.monitor.event(&Event::Unloadable { span: commit.span, reason });
            loads = false;
        }
        loop {
            let writer = self.writers.enter().await;
            let pool = self.loading.as_deref().filter(|_| loads).unwrap_or(&self.pool);
            let fault = match pool.take().await {
                Err(fault) => fault,
                Ok(mut loan) => match attempt(self, &mut loan.session, batch, commit, &settled, again).await {
                    Ok(counts) => {
                        pool.give_back(loan);
                        if loads {
                            self.unloadable.store(0, Ordering::Relaxed);
                        }
                        writer.committed();
                        return Ok(counts);
                    }
                    Err(abort) => {
                        let spoiled = matches!(&abort, Abort::Fault(fault) if fault.spoils_session());
                        if !spoiled && loan.session.rollback().await.is_ok() {
                            pool.give_back(loan);
                        }
                        match abort {
                            Abort::Fault(fault) => fault,
                            Abort::AlreadyCommitted(counts) => return Ok(counts),
                            Abort::Fenced { found } => return Err(WriteError::Fenced { found }),
                            Abort::Unloadable(why) => {
                                self.monitor.event(&Event::Unloadable { span: commit.span, reason: &why });
                                self.unloadable.fetch_add(1, Ordering::Relaxed);
                                loads = false;
                                continue;
                            }
                            Abort::Tombstoned(named) => {
                                settled.leave_out(named);
                                continue;
                            }
                            Abort::OutOfTurn => return Err(WriteError::OutOfTurn),
                            Abort::Collision { table, row } => return Err(self.collision(batch, table, row)),
                        }
                    }
                },
            };
            drop(writer);
            again = true;
            self.wait(fault, commit, &mut waits).await.map_err(WriteError::Failed)?;
        }
    }

    /// Why the batch is not even tried to be loaded, all of it, since it is one transaction; none when it is.
    fn declines(&self, batch: &Batch) -> Option<&'static str> {
        let loadable =
            |table: usize| batch.tables[table].order.is_empty() || matches!(self.loads.get(table), Some(Some(_)));
        if !(0..batch.tables.len()).all(loadable) {
            return Some("rows of one of its tables may be overwritten");
        }
        let hopeless = self.unloadable.load(Ordering::Relaxed) >= UNLOADABLE_MAX;
        hopeless.then_some("so many pages in a row could not be loaded")
    }

    /// Waits as the fault demands, or gives up.
    pub(super) async fn wait(&self, fault: Fault, commit: Commit, waits: &mut Waits) -> Result<(), Error> {
        if fault.spoils_session() {
            [Some(&self.pool), self.loading.as_ref()].into_iter().flatten().for_each(|pool| pool.lost());
        }
        let wait = match fault.kind {
            FaultKind::Retry => {
                self.monitor.event(&Event::Retried { code: &fault.code });
                waits.contention.wait()
            }
            FaultKind::Lost => {
                self.monitor.event(&Event::ConnectionLost { code: &fault.code });
                waits.reconnect.wait()
            }
            FaultKind::Blocked => {
                self.monitor.event(&Event::Paused { reason: &fault.message });
                waits.blocked.wait()
            }
            _ => None,
        };
        match wait {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => {
                let span = commit.span;
                Err(fault.into_error(&format!("writing unit {} items {} to {}", span.unit, span.from, span.to)))
            }
        }
    }

    fn collision(&self, batch: &Batch, table: usize, row: u32) -> WriteError {
        let (unit, position) = batch.item_of(table, row);
        WriteError::Failed(Error::new(
            ErrorKind::Refused,
            format!(
                "table {}: item {position} of unit {unit} has the key of a row that this run wrote before, though the table \
                 was empty when it began: the key of the mapping merges items (check --key), or the application writes \
                 to the table too (then say --live-target); nothing of the page was written",
                self.names[table]
            ),
        ))
    }
}

/// By table: whether a row that is there is overwritten. Where nobody else writes nothing can be there to replace: a row
/// that is would be another item's, and is to be found out rather than overwritten.
pub(super) fn overwrites(on_conflict: OnConflict, guarded: &[bool], tables: usize) -> Vec<bool> {
    let replace = on_conflict == OnConflict::Replace;
    (0..tables).map(|table| replace && !guarded.get(table).copied().unwrap_or(false)).collect()
}

/// The waits of one batch.
pub(super) struct Waits {
    contention: Backoff,
    reconnect: Backoff,
    blocked: Backoff,
}

impl Waits {
    pub(super) fn new(commit: Commit) -> Self {
        let seed = commit.span.from ^ u64::from(commit.span.unit) << 32;
        Waits {
            contention: Backoff::contention(seed),
            reconnect: Backoff::reconnect(seed),
            blocked: Backoff::blocked(seed),
        }
    }
}

impl Sink for SqlSink {
    fn write<'a>(&'a self, batch: &'a Batch, commit: Commit) -> BoxFuture<'a, Result<Counts, WriteError>> {
        Box::pin(async move { self.record(batch, commit, &Settled::unwritten(batch)).await })
    }

    fn tend(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(health) = &self.health {
                self.writers.hold(health.trouble().await);
            }
        })
    }

    fn limited_by(&self) -> Option<String> {
        self.writers.limited_by()
    }
}
