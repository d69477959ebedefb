//! One batch on its way into the table: workers send its items, and repeat what is not settled.
//!
//! # Verdicts on a conditional put
//!
//! A put that timed out may have happened. It is repeated, and if it had, the repetition fails its own condition. So a
//! failed condition after an unknown outcome says nothing yet: the item is read back (consistently). When it equals ours,
//! our put is what happened, or somebody wrote the very same item, which nobody can tell apart and nobody needs to: it
//! counts as written. When it differs, somebody else's item is there, before ours or after it: it counts as present.
//! Either way nothing was overwritten.

use super::queue::Queue;
use super::{DynamoDbSink, OnConflict};
use crate::driver::dynamodb::{Batched, Charged, Refusal, RefusalKind, Write};
use crate::error::{Error, ErrorKind};
use crate::limit::gate::Admission;
use crate::limit::limiter::{Ask, Outcome};
use crate::limit::retry::Backoff;
use crate::model::batch::{Batch, TableRows};
use crate::model::canonical::canonical;
use crate::model::decode::Decoder;
use crate::model::json::{write_string, write_value};
use crate::model::reject::{REFUSED_BY_SERVER, Reject};
use crate::model::rows::CellRef;
use crate::model::size::{item_bytes, write_units};
use crate::monitor::Event;
use crate::sink::transaction::Settled;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thing to be done.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// Put the item of this row.
    Put(u32),
    /// Delete the item of this removal.
    Delete(u32),
    /// Delete the item whose place this row's item was to take: the table refused that one, and what is there is older.
    Clear(u32),
}

/// A batch that is being written.
pub(super) struct Writing<'s> {
    sink: &'s DynamoDbSink,
    batch: &'s Batch,
    rows: &'s TableRows,
    queue: Mutex<Queue<Task>>,
    /// Rows whose keys other items have.
    present: Mutex<Vec<u32>>,
    rejects: Mutex<Vec<Reject>>,
}

/// Lanes of a unit. To the limiter each worker is a lane of keys: a request that fails slows its own worker, while those
/// beside it find out for themselves; were a unit one lane, a few failures at once would count as many in a row.
const LANES: u32 = super::REQUESTS_PER_BATCH;

/// Writes of one worker that fail one after the other before the run gives up: the limiter's waits between them add up to
/// about five minutes.
const FAILURES_MAX: u32 = 28;

/// The waits of one worker. An answer begins them anew.
struct Waits {
    lane: u32,
    seed: u64,
    failures: u32,
    throttled: Backoff,
    unknown: Backoff,
}

impl Waits {
    fn new(lane: u32, seed: u64) -> Self {
        let seed = seed ^ u64::from(lane) << 32;
        Waits { lane, seed, failures: 0, throttled: Backoff::throttled(seed), unknown: Backoff::reconnect(seed) }
    }

    fn answered(&mut self) {
        *self = Waits::new(self.lane, self.seed.wrapping_add(1));
    }
}

impl<'s> Writing<'s> {
    pub(super) fn new(sink: &'s DynamoDbSink, batch: &'s Batch, rows: &'s TableRows) -> Self {
        let removals = removals(batch).into_iter().flat_map(|removals| &removals.order).copied();
        let mut order: Vec<Task> =
            rows.order.iter().copied().map(Task::Put).chain(removals.map(Task::Delete)).collect();
        // Neighbours by key are neighbours in the table: in key order they would all go to one partition.
        let seed = sink.options.seed ^ batch.page.span.from ^ u64::from(batch.page.span.unit) << 32;
        order.shuffle(&mut StdRng::seed_from_u64(seed));
        let queue = Queue::new(order.into_iter(), sink.options.on_conflict == OnConflict::Replace);
        Writing {
            sink,
            batch,
            rows,
            queue: Mutex::new(queue),
            present: Mutex::new(Vec::new()),
            rejects: Mutex::new(Vec::new()),
        }
    }

    /// Sends until nothing waits.
    pub(super) async fn work(&self, worker: u32) -> Result<(), Error> {
        let lane = self.batch.page.span.unit.wrapping_mul(LANES).wrapping_add(worker);
        let mut waits = Waits::new(lane, self.batch.page.span.from);
        loop {
            let taken = lock(&self.queue).take(|task| self.bytes(task));
            match (taken.as_deref(), self.sink.options.on_conflict) {
                (None, _) => {
                    self.sink.pace.gate().forget(lane);
                    return Ok(());
                }
                (Some([Task::Put(row)]), OnConflict::Keep) => self.put_if_absent(*row, &mut waits).await?,
                (Some(tasks), _) => self.write_batch(tasks, &mut waits).await?,
            }
        }
    }

    /// The rows of items that were not put, since other items have their keys. To be asked when all workers have ended.
    pub(super) fn present(&self) -> Vec<u32> {
        lock(&self.present).clone()
    }

    /// How the items ended. To be asked when all workers have ended.
    pub(super) fn settled(self) -> Settled {
        let mut counts = self.batch.counts();
        let rejects = self.rejects.into_inner().unwrap_or_else(PoisonError::into_inner);
        let present = self.present.into_inner().unwrap_or_else(PoisonError::into_inner).len() as u64;
        if let Some(outcomes) = counts.tables.first_mut() {
            outcomes.present += present;
            outcomes.rejected += rejects.len() as u64;
            outcomes.written -= present + rejects.len() as u64;
        }
        Settled { rejects, ..Settled::counted(counts) }
    }

    /// How many writes wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue).len()
    }

    /// Sends writes once. What is not settled waits again in the queue, after a pause.
    async fn write_batch(&self, tasks: &[Task], waits: &mut Waits) -> Result<(), Error> {
        let objects = tasks.iter().map(|task| self.object(*task)).collect::<Result<Vec<_>, _>>()?;
        let writes: Vec<Write<'_>> = tasks
            .iter()
            .zip(&objects)
            .map(|(task, object)| match task {
                Task::Put(_) => Write::Put(object),
                Task::Delete(_) | Task::Clear(_) => Write::Delete(object),
            })
            .collect();
        let admission = self.admit(waits.lane, tasks.iter().map(|task| self.estimate(*task)).sum()).await;
        let permit = self.sink.in_flight.acquire().await;
        let answer = self.sink.requests.batch_write(&writes).await;
        drop(permit);
        match answer {
            Ok(Batched { unprocessed, charged }) => {
                settle_written(admission, &charged, !unprocessed.is_empty());
                if unprocessed.len() < tasks.len() {
                    waits.answered();
                }
                if !unprocessed.is_empty() {
                    // Told as a throttle, so the limiter has this lane rest before it asks again.
                    self.sink.monitor.event(&Event::Retried { code: "UnprocessedItems" });
                    let left = unprocessed.iter().filter_map(|place| tasks.get(*place).copied());
                    lock(&self.queue).put_back(left);
                }
                Ok(())
            }
            Err(refusal) if matches!(refusal.kind, RefusalKind::Value) => {
                admission.settle(Outcome::Charged(0.0));
                let found = lock(&self.queue).suspect(tasks);
                found.map_or(Ok(()), |task| self.condemn(task, &refusal))
            }
            Err(refusal) => {
                self.refused(admission, &refusal, waits)?;
                lock(&self.queue).put_back(tasks.iter().copied());
                Ok(())
            }
        }
    }

    /// The table refuses this one write for its value.
    fn condemn(&self, task: Task, refusal: &Refusal) -> Result<(), Error> {
        let Task::Put(row) = task else { return Err(self.sink.stopped(refusal)) };
        self.reject(row, refusal);
        if self.batch.changes.is_some() {
            lock(&self.queue).put_back(std::iter::once(Task::Clear(row)));
        }
        Ok(())
    }

    /// Puts one row's item unless one is there, until it is settled.
    async fn put_if_absent(&self, row: u32, waits: &mut Waits) -> Result<(), Error> {
        let units = self.units(row);
        let partition_key = self.sink.options.key.first().map(String::as_str).unwrap_or_default();
        let mut may_be_ours = self.sink.options.again;
        loop {
            let admission = self.admit(waits.lane, units).await;
            let permit = self.sink.in_flight.acquire().await;
            let answer = self.sink.requests.put(self.item(row), Some(partition_key)).await;
            drop(permit);
            match answer {
                Ok(charged) => {
                    settle_written(admission, &charged, false);
                    waits.answered();
                    return Ok(());
                }
                Err(refusal) if matches!(refusal.kind, RefusalKind::ConditionFailed) => {
                    admission.settle(Outcome::Charged(units));
                    waits.answered();
                    return self.found_there(row, may_be_ours, waits).await;
                }
                Err(refusal) if matches!(refusal.kind, RefusalKind::Value) => {
                    admission.settle(Outcome::Charged(0.0));
                    self.reject(row, &refusal);
                    return Ok(());
                }
                Err(refusal) => {
                    may_be_ours |= matches!(refusal.kind, RefusalKind::Unknown);
                    self.refused(admission, &refusal, waits)?;
                }
            }
        }
    }

    /// An item with the row's key is in the table: judges whose it is.
    async fn found_there(&self, row: u32, may_be_ours: bool, waits: &mut Waits) -> Result<(), Error> {
        let guarded = self.sink.options.guarded;
        if (guarded || may_be_ours) && self.is_stored(row, waits).await? {
            return Ok(());
        }
        if guarded && !may_be_ours && self.sink.options.source_stands_still {
            return Err(self.collision(row));
        }
        lock(&self.present).push(row);
        Ok(())
    }

    /// Whether what the table holds under the row's key equals the row's item.
    async fn is_stored(&self, row: u32, waits: &mut Waits) -> Result<bool, Error> {
        let key = self.key_object(row)?;
        loop {
            match self.sink.requests.get(&key).await {
                Ok(None) => return Ok(false),
                Ok(Some(stored)) => {
                    let mut decoder = Decoder::default();
                    let ours = canonical(&mut decoder, self.item(row));
                    return Ok(ours.is_some() && ours == canonical(&mut decoder, &stored));
                }
                Err(refusal) => self.wait(refusal, waits).await?,
            }
        }
    }

    /// The row's key as a JSON object, cut out of its item.
    fn key_object(&self, row: u32) -> Result<Vec<u8>, Error> {
        let line = [b"{\"Item\":", self.item(row), b"}"].concat();
        let mut key = vec![b'{'];
        let written = Decoder::default().decode(&line, |item| {
            self.sink.options.key.iter().all(|name| {
                let Some(value) = item.get(name) else { return false };
                if key.len() > 1 {
                    key.push(b',');
                }
                write_string(name, &mut key);
                key.push(b':');
                write_value(value, &mut key);
                true
            })
        });
        key.push(b'}');
        match written {
            Ok(true) => Ok(key),
            _ => Err(Error::internal("an item to be written has no key")),
        }
    }

    /// After a refusal that is no verdict: tells the limiter, or gives up. How long to wait is the limiter's to say, when
    /// this lane asks again.
    fn refused(&self, admission: Admission<'_>, refusal: &Refusal, waits: &mut Waits) -> Result<(), Error> {
        match &refusal.kind {
            RefusalKind::Throttled(reasons) => admission.settle(Outcome::Throttled(reasons)),
            RefusalKind::Unknown => {
                admission.settle(Outcome::Unknown);
                waits.failures += 1;
                if waits.failures >= FAILURES_MAX {
                    return Err(self.sink.unanswered(refusal));
                }
            }
            _ => {
                admission.settle(Outcome::Charged(0.0));
                return Err(self.sink.stopped(refusal));
            }
        }
        self.sink.monitor.event(&Event::Retried { code: &refusal.code });
        Ok(())
    }

    /// Waits before a read-back is repeated, which no limiter admits.
    async fn wait(&self, refusal: Refusal, waits: &mut Waits) -> Result<(), Error> {
        let wait = match &refusal.kind {
            RefusalKind::Throttled(_) => waits.throttled.wait(),
            RefusalKind::Unknown => waits.unknown.wait(),
            _ => return Err(self.sink.stopped(&refusal)),
        };
        self.sink.monitor.event(&Event::Retried { code: &refusal.code });
        if wait.is_none() {
            return Err(self.sink.unanswered(&refusal));
        }
        pause(wait).await;
        Ok(())
    }

    async fn admit(&self, lane: u32, estimate: f64) -> Admission<'_> {
        self.sink.pace.gate().admit(Ask { key: lane, need: 0, estimate }).await
    }

    /// What is sent: an item, or the key of one.
    fn object(&self, task: Task) -> Result<Cow<'s, [u8]>, Error> {
        match task {
            Task::Put(row) => Ok(Cow::Borrowed(self.item(row))),
            Task::Clear(row) => self.key_object(row).map(Cow::Owned),
            Task::Delete(row) => {
                let removals =
                    removals(self.batch).ok_or_else(|| Error::internal("a key to be deleted is not there"))?;
                Ok(Cow::Borrowed(last_cell(removals, row)))
            }
        }
    }

    /// Bytes to be sent, roughly: those of a key are few.
    fn bytes(&self, task: Task) -> usize {
        match task {
            Task::Put(row) => self.item(row).len(),
            Task::Delete(_) | Task::Clear(_) => 4096,
        }
    }

    /// Write units that it will take. What a delete takes is told by the size of an item that only the table knows: one,
    /// until the answer says more.
    fn estimate(&self, task: Task) -> f64 {
        match task {
            Task::Put(row) => self.units(row),
            Task::Delete(_) | Task::Clear(_) => 1.0,
        }
    }

    /// The row's item as JSON: its last cell.
    fn item(&self, row: u32) -> &'s [u8] {
        last_cell(self.rows, row)
    }

    /// Write units of the row's item by its own size, at least one. Also what a failed condition is charged, of which
    /// no answer tells: by the larger of the two items, and ours is the one we know.
    #[expect(clippy::cast_precision_loss, reason = "an item has at most 400 units")]
    fn units(&self, row: u32) -> f64 {
        write_units(item_bytes(self.item(row))) as f64
    }

    fn reject(&self, row: u32, refusal: &Refusal) {
        let position = self.rows.rows.position(row as usize);
        let reason = format!("{REFUSED_BY_SERVER}{}: {}", refusal.code, refusal.message);
        lock(&self.rejects).push(Reject { unit: None, position, table: Some(0), column: None, reason });
    }

    fn collision(&self, row: u32) -> Error {
        let span = self.batch.page.span;
        let position = self.rows.rows.position(row as usize);
        Error::new(
            ErrorKind::Refused,
            format!(
                "table {}: item {position} of unit {} has the key of another item that is there already, though the table \
                 was empty when the run began: the key merges items (check --key), or the application writes to the table \
                 too (then say --live-target from the start)",
                self.sink.options.table, span.unit
            ),
        )
    }
}

/// The keys to be deleted, when the batch is of changes.
fn removals(batch: &Batch) -> Option<&TableRows> {
    batch.changes.as_ref().and_then(|changes| changes.removals.first())
}

/// The row's last cell: a JSON object.
fn last_cell(rows: &TableRows, row: u32) -> &[u8] {
    match rows.rows.cell(row as usize, rows.rows.columns() - 1) {
        CellRef::Text(object) => object,
        _ => b"{}",
    }
}

fn settle_written(admission: Admission<'_>, charged: &Charged, unprocessed: bool) {
    admission.settle(Outcome::Written { units: charged.total(), indexes: &charged.indexes, unprocessed });
}

async fn pause(wait: Option<Duration>) {
    if let Some(wait) = wait {
        tokio::time::sleep(wait).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
