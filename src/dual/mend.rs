//! Mending what was left behind: by instances that died, slept, or were not answered.
//!
//! An intent is left to whoever recorded it until nothing of what he sent can take effect any more. Then one instance takes it up,
//! which makes its time anew, and settles its key. One that does not get through with it leaves it in turn.

use super::attempt::Failed;
use super::core::Core;
use super::counts::count;
use super::stores::{Intent, Items, Rows};
use crate::error::ErrorKind;
use tokio::time::{Instant, sleep};

/// Intents looked at in one go.
const MOST: usize = 100;

impl<I: Items, R: Rows> Core<I, R> {
    /// Mends for as long as the instance is there.
    pub(super) async fn mend_on(&self) {
        loop {
            sleep(self.options.mend_every).await;
            self.tell().await;
            self.mend_owed().await;
            self.mend_ripe().await;
        }
    }

    /// Mends what the instance knows that nothing is under way of.
    pub(super) async fn mend_owed(&self) {
        for intent in self.owed() {
            self.mend(&intent).await;
        }
    }

    async fn mend_ripe(&self) {
        match self.within_request(self.rows.ripe(self.options.ripe(), MOST)).await {
            Ok(intents) => {
                for intent in intents {
                    self.mend(&intent).await;
                }
            }
            Err(error) => tracing::warn!("dual writes: looking for what was left behind: {}", error.chain()),
        }
    }

    async fn mend(&self, intent: &Intent) {
        // before it is taken up: what is sent by then is sent within a request of the time that this makes anew
        let until = Instant::now() + self.options.request;
        match self.within_request(self.rows.take_up(intent)).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!("dual writes: intent {} was not taken up: {}", intent.id, error.chain());
                return;
            }
        }
        match self.settle(&intent.key, Some(intent.id), None, until).await {
            Ok(_) => count(&self.tally.mended),
            Err(failed) => self.not_mended(intent, failed).await,
        }
    }

    /// It stays on record, and is taken up again. What a store refuses for good a human has to see: once.
    async fn not_mended(&self, intent: &Intent, failed: Failed) {
        let refused = matches!(&failed, Failed::Undone(error) if error.kind() == ErrorKind::Corrupt);
        let why = failed.into_error().chain();
        tracing::warn!("dual writes: intent {} is not mended yet: {why}", intent.id);
        if refused && intent.attempt == 0 {
            self.fault(format!("intent {} cannot be mended: {why}", intent.id)).await;
        }
    }
}
