//! The real stores with guards of the protocol left out: what a build without them would do.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use transvase::checkpoint::phases::Phase;
use transvase::dual::mysql::{SqlRows, SqlTransaction};
use transvase::dual::stores::{Intent, Item, Items, Key, Rows, Transaction, When, Written};
use transvase::error::Result;

/// What is left out.
#[derive(Clone, Default)]
pub(super) struct Without {
    /// The lock of the key.
    pub(super) guard: bool,
    /// The record of a write that one store may lack.
    pub(super) intent: bool,
    /// The proof of the step, whose place this belief takes.
    pub(super) proof: Option<Phase>,
}

/// Rows without it.
pub(super) struct Unguarded(pub(super) SqlRows, pub(super) Without);

pub(super) struct UnguardedTransaction<'a>(SqlTransaction<'a>, &'a Without);

impl Rows for Unguarded {
    type Transaction<'a> = UnguardedTransaction<'a>;

    async fn begin(&self) -> Result<Self::Transaction<'_>> {
        self.0.begin().await.map(|transaction| UnguardedTransaction(transaction, &self.1))
    }

    async fn row(&self, key: &Key) -> Result<Option<Item>> {
        self.0.row(key).await
    }

    async fn heartbeat(&self, writer: &str, stopped: Option<u64>, lease: Duration) -> Result<Option<Phase>> {
        self.0.heartbeat(writer, stopped, lease).await
    }

    async fn leave(&self, writer: &str) -> Result<()> {
        self.0.leave(writer).await
    }

    async fn fault(&self, writer: &str, what: &str) -> Result<()> {
        self.0.fault(writer, what).await
    }

    async fn ripe(&self, age: Duration, most: usize) -> Result<Vec<Intent>> {
        self.0.ripe(age, most).await
    }

    async fn take_up(&self, intent: &Intent) -> Result<bool> {
        self.0.take_up(intent).await
    }
}

impl Transaction for UnguardedTransaction<'_> {
    async fn prove(&mut self) -> Result<Option<Phase>> {
        match &self.1.proof {
            None => self.0.prove().await,
            belief => Ok(belief.clone()),
        }
    }

    async fn guard(&mut self, key: &Key) -> Result<()> {
        if self.1.guard { Ok(()) } else { self.0.guard(key).await }
    }

    async fn row(&mut self, key: &Key) -> Result<Option<Item>> {
        self.0.row(key).await
    }

    async fn write(&mut self, key: &Key, image: Option<&Item>) -> Result<()> {
        self.0.write(key, image).await
    }

    async fn pending(&mut self, key: &Key) -> Result<bool> {
        self.0.pending(key).await
    }

    async fn intend(&mut self, intent: &Intent) -> Result<()> {
        if self.1.intent { Ok(()) } else { self.0.intend(intent).await }
    }

    async fn clear(&mut self, id: u64) -> Result<()> {
        self.0.clear(id).await
    }

    async fn commit(self) -> Result<()> {
        self.0.commit().await
    }
}

/// A table of one item that may be believed to hold what was written here last: then the other store is given that, whoever has
/// written since.
pub(super) struct Remembered<I> {
    inner: I,
    believes: bool,
    sent: Mutex<Option<Item>>,
}

impl<I> Remembered<I> {
    pub(super) fn new(inner: I, believes: bool) -> Remembered<I> {
        Remembered { inner, believes, sent: Mutex::default() }
    }
}

impl<I: Items> Items for Remembered<I> {
    async fn read(&self, key: &Key) -> Result<Option<Item>> {
        match self.believes {
            true => Ok(self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            false => self.inner.read(key).await,
        }
    }

    async fn write(&self, key: &Key, image: Option<&Item>, when: &When) -> Result<Written> {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = image.cloned();
        self.inner.write(key, image, when).await
    }
}
