//! A read: the truth answers, and the other store may be filled with the answer, or compared with it.
//!
//! While a barrier stands reads go on; only, the step may change at any time then, so it is proved after the store has answered.
//! An answer that came when the lease was over is none: the store may be the truth no longer.

use super::attempt::{Failed, bounded};
use super::core::Core;
use super::counts::count;
use super::gate::Belief;
use super::item::same;
use super::settle::{Held, prove};
use super::stores::{Item, Items, Key, Rows, Transaction};
use crate::error::Result;
use crate::phase::plan::{Fill, Step, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

impl<I: Items, R: Rows> Core<I, R> {
    /// The item, as the truth has it.
    pub(super) async fn read(self: &Arc<Self>, key: &Key) -> Result<Option<Item>> {
        let (until, mut least) = (Instant::now() + self.options.request, 0);
        loop {
            let belief = self.gate.living(until, least).await?;
            let read = bounded(until, self.read_once(key, &belief)).await;
            match read.map_err(Failed::into_error)? {
                Held::In(item) => {
                    self.aside(key, belief.step, item.as_ref()).await;
                    return Ok(item);
                }
                Held::Out(version) => {
                    least = version;
                    self.gate.nudge.notify_one();
                }
            }
        }
    }

    async fn read_once(&self, key: &Key, belief: &Belief) -> Result<Held<Option<Item>>, Failed> {
        let item = match belief.step.authority() {
            Store::Old => self.items.read(key).await?,
            Store::New => self.rows.row(key).await?,
        };
        if belief.phase.moving_to.is_some() {
            let mut transaction = self.rows.begin().await?;
            let proved = prove(&mut transaction).await?;
            transaction.commit().await?;
            if proved.step.authority() != belief.step.authority() {
                return Ok(Held::Out(proved.version));
            }
        } else if Instant::now() >= belief.until {
            return Ok(Held::Out(belief.phase.version));
        }
        Ok(Held::In(item))
    }

    /// What comes of a read besides its answer.
    async fn aside(self: &Arc<Self>, key: &Key, step: &'static Step, item: Option<&Item>) {
        let fills = match step.reads.fill {
            Fill::Nothing => false,
            Fill::Every => true,
            Fill::Missing => item.is_some(),
        };
        let compares = step.authority() == Store::New && step.writes.second == Some(Store::Old) && self.has_shadow();
        if !fills && !compares {
            return;
        }
        let Ok(turn) = Arc::clone(&self.aside).acquire_owned().await else { return };
        let (core, key) = (Arc::clone(self), key.clone());
        self.spawn(async move {
            let until = Instant::now() + core.options.request;
            let done = match fills {
                true => core.fill(&key, step.reads.fill, until).await,
                false => bounded(until, core.compare(&key)).await,
            };
            if let Err(failed) = done {
                tracing::debug!("dual writes: beside a read: {}", failed.into_error().chain());
            }
            drop(turn);
        });
    }

    /// Whether the next read is one of the share that is compared.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a share of reads")]
    fn has_shadow(&self) -> bool {
        let number = self.reads.fetch_add(1, Ordering::Relaxed);
        let until = |reads: u64| (reads as f64 * self.options.shadow) as i64;
        until(number + 1) > until(number)
    }

    /// Writes what was read to the new store, as it is by then.
    async fn fill(&self, key: &Key, fill: Fill, until: Instant) -> Result<(), Failed> {
        if fill == Fill::Missing && bounded(until, async { Ok(self.rows.row(key).await?) }).await?.is_some() {
            return Ok(());
        }
        if let Held::In(()) = self.settle(key, None, Some(Store::Old), until).await? {
            count(&self.tally.fills);
        }
        Ok(())
    }

    /// Compares both stores; what differs is looked at again with the key locked, and counts if no write of it is under way.
    async fn compare(&self, key: &Key) -> Result<(), Failed> {
        count(&self.tally.shadow_reads);
        if same(self.rows.row(key).await?.as_ref(), self.items.read(key).await?.as_ref()) {
            return Ok(());
        }
        let mut transaction = self.rows.begin().await?;
        transaction.guard(key).await?;
        let writes = prove(&mut transaction).await?.step.writes;
        if (writes.first, writes.second) != (Store::New, Some(Store::Old)) || transaction.pending(key).await? {
            return Ok(());
        }
        let row = transaction.row(key).await?;
        let item = self.items.read(key).await?;
        transaction.commit().await?;
        if !same(row.as_ref(), item.as_ref()) {
            count(&self.tally.shadow_differs);
            self.fault(
                "a read found that the stores differ, with no write under way: `transvase verify` tells which keys"
                    .to_owned(),
            )
            .await;
        }
        Ok(())
    }
}
