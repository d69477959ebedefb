//! The sink for a DynamoDB table: items go to the table, what became of them into a database of control tables.
//!
//! There is no transaction over both, so the order of things is the promise: the fence is looked at, every item of the
//! batch is settled in the table, and only then does one transaction prove the fence and record rejects and ledger
//! row. A process that dies in between leaves items that the next one writes again:
//! - `replace` writes the same bytes over them;
//! - `keep` finds them there. Into a table that was empty when the run began and that nobody else writes to, they can
//!   only be our own, and an item that equals ours is counted as written. Elsewhere they are counted as present: the
//!   counts add up still, and nothing is overwritten.
//!
//! A claim that is lost while a batch is being written stops it within [`LOOK_EVERY`]; what such a process writes until
//! then are items of the source all the same.
//!
//! `keep` asks the server to decide, item by item (`attribute_not_exists`); `writing.rs` says what becomes of requests whose outcome
//! is not known. Batches never hold two items of one key: the items of a page have distinct target keys.
//!
//! Changes replace and delete, and are done at least once: the pages of one unit become durable in their order, so what is
//! done again after a death is the page that the table had seen last. A request whose outcome nobody knows is repeated until
//! it is answered, before a later page begins.

use super::sql::SqlSink;
use super::transaction::Settled;
use super::{OnConflict, Sink, WriteError};
use crate::driver::dynamodb::{Batched, Charged, DynamoDb, Refusal, RefusalKind, Write};
use crate::driver::session::BoxFuture;
use crate::error::{Error, ErrorKind};
use crate::model::batch::{Batch, Commit};
use crate::model::counts::Counts;
use crate::monitor::Monitor;
use pace::Pace;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use writing::Writing;

pub mod conditional;
pub mod pace;
pub mod preflight;
mod queue;
mod replay;
#[cfg(test)]
mod tests;
mod writing;

/// Requests of one batch at once. A request takes some milliseconds whatever it holds, so a few dozen at once keep a
/// connection pool busy; the semaphore of the sink bounds those of all batches.
const REQUESTS_PER_BATCH: u32 = 16;

/// How often a batch that is being written asks whether its claim is ours still: a lease is some times longer.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What the sink says to the table. The driver's client is one; tests have others.
pub trait Requests: Send + Sync {
    /// Puts an item, given as its JSON object; unless one with its key is there, when `absent` names the partition key.
    fn put<'a>(&'a self, item: &'a [u8], absent: Option<&'a str>) -> BoxFuture<'a, Result<Charged, Refusal>>;

    /// Puts and deletes at most 25 items with distinct keys, whatever is there.
    fn batch_write<'a>(&'a self, writes: &'a [Write<'a>]) -> BoxFuture<'a, Result<Batched, Refusal>>;

    /// The item whose key is this JSON object, as it is now.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Refusal>>;
}

/// A table, through the driver.
pub struct TableRequests {
    /// The client.
    pub db: DynamoDb,
    /// The table's name.
    pub table: String,
}

impl Requests for TableRequests {
    fn put<'a>(&'a self, item: &'a [u8], absent: Option<&'a str>) -> BoxFuture<'a, Result<Charged, Refusal>> {
        Box::pin(self.db.put(&self.table, item, absent))
    }

    fn batch_write<'a>(&'a self, writes: &'a [Write<'a>]) -> BoxFuture<'a, Result<Batched, Refusal>> {
        Box::pin(self.db.batch_write(&self.table, writes))
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Refusal>> {
        Box::pin(self.db.get(&self.table, key))
    }
}

/// What a sink is made from.
pub struct DynamoDbSinkOptions {
    /// The target table's key attributes, partition key first.
    pub key: Vec<String>,
    /// The table's name, for messages.
    pub table: String,
    /// What to do about items that are there.
    pub on_conflict: OnConflict,
    /// The table was empty when the run began, and nobody else writes to it.
    pub guarded: bool,
    /// The source gives the same items at every reading, as an export does and a live table does not.
    pub source_stands_still: bool,
    /// Its items may have been put before, by a process that could not say so: rejects that are tried again, of which no
    /// ledger tells.
    pub again: bool,
    /// Requests at once, of all batches.
    pub requests: usize,
    /// The shuffle's seed.
    pub seed: u64,
}

/// Writes batches into one table.
pub struct DynamoDbSink {
    requests: Arc<dyn Requests>,
    pace: Arc<Pace>,
    /// Writes no rows: proves fences and records.
    journal: SqlSink,
    in_flight: Semaphore,
    monitor: Arc<dyn Monitor>,
    options: DynamoDbSinkOptions,
}

impl DynamoDbSink {
    /// A sink that sends `requests` at a pace and records in `journal`, which writes no rows itself.
    #[must_use]
    pub fn new(
        requests: Arc<dyn Requests>,
        pace: Arc<Pace>,
        journal: SqlSink,
        options: DynamoDbSinkOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Self {
        let in_flight = Semaphore::new(options.requests.max(1));
        DynamoDbSink { requests, pace, journal, in_flight, monitor, options }
    }

    async fn write_durably(&self, batch: &Batch, commit: Commit) -> Result<Counts, WriteError> {
        self.journal.look(commit).await?;
        let settled = tokio::select! {
            settled = self.settle(batch) => settled.map_err(WriteError::Failed)?,
            lost = self.watch(commit) => return Err(lost),
        };
        self.journal.record(batch, commit, &settled).await
    }

    /// Puts every item of the batch, until each is written, present or refused, and deletes what its changes take away.
    async fn settle(&self, batch: &Batch) -> Result<Settled, Error> {
        let Some(rows) = batch.tables.first() else { return Ok(Settled::unwritten(batch)) };
        let writing = Writing::new(self, batch, rows);
        let workers = REQUESTS_PER_BATCH.min(u32::try_from(writing.waiting()).unwrap_or(u32::MAX));
        all((0..workers).map(|worker| Box::pin(writing.work(worker)) as BoxFuture<'_, _>).collect()).await?;
        Ok(writing.settled())
    }

    /// Ends when the claim is no longer ours, or cannot be asked for.
    async fn watch(&self, commit: Commit) -> WriteError {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(lost) = self.journal.look(commit).await {
                return lost;
            }
        }
    }

    /// Why the run stops at a refusal that no repetition would change.
    fn stopped(&self, refusal: &Refusal) -> Error {
        let kind = match refusal.kind {
            RefusalKind::Denied => ErrorKind::Config,
            _ => ErrorKind::Internal,
        };
        Error::new(kind, format!("writing table {}: {}", self.options.table, refusal.message))
    }

    /// Why the run stops after a request was repeated for minutes and never answered.
    fn unanswered(&self, refusal: &Refusal) -> Error {
        let message = format!(
            "writing table {}: requests failed for minutes; the last time: {}; the same command goes on from what is durable",
            self.options.table, refusal.message
        );
        Error::new(ErrorKind::Transient, message)
    }
}

impl Sink for DynamoDbSink {
    fn write<'a>(&'a self, batch: &'a Batch, commit: Commit) -> BoxFuture<'a, Result<Counts, WriteError>> {
        Box::pin(self.write_durably(batch, commit))
    }

    fn tend(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.pace.tend().await;
            self.journal.tend().await;
        })
    }

    fn share_among(&self, processes: u32) {
        self.pace.gate().share_among(processes);
    }

    fn limited_by(&self) -> Option<String> {
        self.pace.limited_by().or_else(|| self.journal.limited_by())
    }
}

/// Drives the futures side by side until all are done, or one fails: then the others are dropped.
async fn all(mut futures: Vec<BoxFuture<'_, Result<(), Error>>>) -> Result<(), Error> {
    std::future::poll_fn(move |context| {
        let mut failed = None;
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(Ok(())) => false,
            std::task::Poll::Ready(Err(error)) => {
                failed.get_or_insert(error);
                false
            }
        });
        match failed {
            Some(error) => std::task::Poll::Ready(Err(error)),
            None if futures.is_empty() => std::task::Poll::Ready(Ok(())),
            None => std::task::Poll::Pending,
        }
    })
    .await
}
