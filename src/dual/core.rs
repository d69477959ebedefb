//! What all parts of an instance share: the two stores, the gate, what it owes; and its tasks, which end with it.

use super::attempt::{Failed, bounded};
use super::counts::{Tally, count};
use super::gate::Gate;
use super::options::Options;
use super::stores::{Intent, Items, Rows};
use crate::error::Result;
use sha2::{Digest, Sha256};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Fills and shadow reads at once; a read waits for its turn.
const ASIDE: usize = 32;

/// What belongs to an instance.
pub(super) struct Core<I, R> {
    pub(super) items: I,
    pub(super) rows: R,
    pub(super) options: Options,
    pub(super) gate: Arc<Gate>,
    pub(super) tally: Tally,
    pub(super) aside: Arc<Semaphore>,
    /// Cancelled when the instance is gone: its tasks end wherever they are.
    pub(super) gone: CancellationToken,
    /// Intents of its own with nothing under way, which need not ripen.
    owed: Mutex<Vec<Intent>>,
    /// Faults that are not on record yet.
    untold: tokio::sync::Mutex<Vec<String>>,
    /// Counts its intents.
    intents: AtomicU64,
    /// Counts its reads, to choose those with a shadow.
    pub(super) reads: AtomicU64,
}

impl<I: Items, R: Rows> Core<I, R> {
    pub(super) fn new(items: I, rows: R, options: Options) -> Arc<Core<I, R>> {
        Arc::new(Core {
            items,
            rows,
            gate: Gate::new(&options),
            options,
            tally: Tally::default(),
            aside: Arc::new(Semaphore::new(ASIDE)),
            gone: CancellationToken::new(),
            owed: Mutex::default(),
            untold: tokio::sync::Mutex::default(),
            intents: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        })
    }

    /// Does `work` to its end, whether or not somebody waits for it; none when the instance was gone before.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let gone = self.gone.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = gone.cancelled() => None,
                done = work => Some(done),
            }
        })
    }

    /// A number for an intent that no other has: of a name that no other instance has, and a count.
    pub(super) fn intent_id(&self) -> u64 {
        let count = self.intents.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::new().chain_update(&self.options.name).chain_update(count.to_be_bytes()).finalize();
        // a signed column holds it
        digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)) >> 1
    }

    /// An intent of its own that is to be mended at once: nothing of what it was recorded for is under way.
    pub(super) fn owe(&self, intent: Intent) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).push(intent);
    }

    /// What is owed, and is not owed any more.
    pub(super) fn owed(&self) -> Vec<Intent> {
        std::mem::take(&mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a fault on record: at once, or as soon as the database can.
    pub(super) async fn fault(&self, what: String) {
        count(&self.tally.faults);
        tracing::error!("dual writes: fault: {what}");
        self.untold.lock().await.push(what);
        self.tell().await;
    }

    /// Puts on record what is not yet.
    pub(super) async fn tell(&self) {
        let mut untold = self.untold.lock().await;
        while let Some(what) = untold.last() {
            if let Err(failed) = self.within_request(self.rows.fault(&self.options.name, what)).await {
                tracing::warn!("dual writes: a fault is not on record yet: {}", failed.chain());
                return;
            }
            untold.pop();
        }
    }

    /// Waits for an answer no longer than a request's time.
    pub(super) async fn within_request<T>(&self, asked: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let until = Instant::now() + self.options.request;
        bounded(until, async { Ok(asked.await?) }).await.map_err(Failed::into_error)
    }
}
