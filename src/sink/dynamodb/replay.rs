//! Rejects put after all: each is settled in the table first, then one transaction proves them open still and says how each
//! ended.
//!
//! A process that dies in between has its items put again. An item that is there and equals ours counts as written then,
//! as after any request whose outcome is not known: it is the reject's, whoever put it.

use super::writing::Writing;
use super::{DynamoDbSink, REQUESTS_PER_BATCH, all};
use crate::checkpoint::retries::{Place, Retried, Retry};
use crate::driver::session::BoxFuture;
use crate::error::Result;
use crate::model::batch::{Batch, TableRows};
use crate::sink::replay::{Replayed, Rows};

impl DynamoDbSink {
    /// Puts the items of a batch that was made from rejects, whose `places` are in the order of its page, and settles them.
    ///
    /// # Errors
    /// `Refused` when an item meets another one, or the retry is over; of the table and the state's database.
    pub async fn replay(&self, batch: &Batch, places: &[Place], retry: &Retry) -> Result<Replayed> {
        // Whoever comes late puts nothing.
        if self.journal.settle_rejects(Rows::None, batch, places, retry).await? == Replayed::Stale {
            return Ok(Replayed::Stale);
        }
        let mut ended = vec![Retried::Skipped; places.len()];
        for reject in &batch.rejects {
            self.journal.reject(reject, &mut ended);
        }
        if let Some(rows) = batch.tables.first().filter(|rows| !rows.order.is_empty()) {
            self.put_rejects(batch, rows, places, &mut ended).await?;
        }
        self.journal.settle_rejects(Rows::Ended(&ended), batch, places, retry).await
    }

    async fn put_rejects(
        &self,
        batch: &Batch,
        rows: &TableRows,
        places: &[Place],
        ended: &mut [Retried],
    ) -> Result<()> {
        let writing = Writing::new(self, batch, rows);
        let workers = REQUESTS_PER_BATCH.min(u32::try_from(rows.order.len()).unwrap_or(u32::MAX));
        all((0..workers).map(|worker| Box::pin(writing.work(worker)) as BoxFuture<'_, _>).collect()).await?;
        let position = |row: u32| rows.rows.position(row as usize);
        let mut note = |position: u64, how: Retried| {
            if let Some(ended) = usize::try_from(position).ok().and_then(|at| ended.get_mut(at)) {
                *ended = how;
            }
        };
        rows.order.iter().for_each(|row| note(position(*row), Retried::Written));
        let (present, settled) = (writing.present(), writing.settled());
        if let Some(row) = present.first().filter(|_| self.options.guarded) {
            return Err(self.journal.met_another(0, position(*row), places));
        }
        present.iter().for_each(|row| note(position(*row), Retried::Present));
        settled.rejects.iter().for_each(|reject| self.journal.reject(reject, ended));
        Ok(())
    }
}
