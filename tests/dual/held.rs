//! The real table with a place to stop at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use transvase::dual::dynamodb::DynamoItems;
use transvase::dual::stores::{Item, Items, Key, When, Written};
use transvase::error::Result;

/// Where the first to come stops, once it is armed, until it is let go.
pub(super) struct Stop {
    armed: AtomicBool,
    reached: Semaphore,
    go: Semaphore,
}

impl Stop {
    fn new() -> Arc<Stop> {
        Arc::new(Stop { armed: AtomicBool::new(false), reached: Semaphore::new(0), go: Semaphore::new(0) })
    }

    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Waits until somebody stands there.
    pub(super) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub(super) fn go(&self) {
        self.go.add_permits(1);
    }

    async fn pass(&self) {
        if self.armed.swap(false, Ordering::SeqCst) {
            self.reached.add_permits(1);
            self.go.acquire().await.unwrap().forget();
        }
    }
}

/// A table whose requests stop.
pub(super) struct HeldItems {
    inner: DynamoItems,
    /// After the answer to a read.
    pub(super) read: Arc<Stop>,
    /// Before a write is sent.
    pub(super) sends: Arc<Stop>,
    /// After the answer to a write.
    pub(super) sent: Arc<Stop>,
}

impl HeldItems {
    pub(super) fn new(inner: DynamoItems) -> HeldItems {
        HeldItems { inner, read: Stop::new(), sends: Stop::new(), sent: Stop::new() }
    }
}

impl Items for HeldItems {
    async fn read(&self, key: &Key) -> Result<Option<Item>> {
        let item = self.inner.read(key).await;
        self.read.pass().await;
        item
    }

    async fn write(&self, key: &Key, image: Option<&Item>, when: &When) -> Result<Written> {
        self.sends.pass().await;
        let written = self.inner.write(key, image, when).await;
        self.sent.pass().await;
        written
    }
}
