//! Locks of the SQL database in memory: by name, shared or exclusive, first come first served, as a server grants them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use transvase::dual::stores::Key;

/// What is locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// The migration's row.
    Phase,
    /// The backfill lock's row, and the claims of its run.
    Claim,
    /// Whether a load is going on.
    Loads,
    Guard(Key),
    Row(Key),
    Tombstone(Key),
}

/// A lock that a transaction has, until it ends.
#[derive(Debug)]
#[expect(dead_code, reason = "held, and looked at by nobody")]
pub(super) enum Held {
    Shared(OwnedRwLockReadGuard<()>),
    Exclusive(OwnedRwLockWriteGuard<()>),
}

/// How it is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Shared,
    Exclusive,
}

/// How long a server lets one wait.
const WAIT: Duration = Duration::from_millis(400);

#[derive(Default)]
pub(super) struct Locks(Mutex<BTreeMap<Name, Arc<RwLock<()>>>>);

impl Locks {
    /// Waits for a lock; none when it took too long.
    pub(super) async fn take(&self, name: &Name, how: How) -> Option<Held> {
        let lock = Arc::clone(self.0.lock().unwrap().entry(name.clone()).or_default());
        let granted = async {
            match how {
                How::Shared => Held::Shared(lock.read_owned().await),
                How::Exclusive => Held::Exclusive(lock.write_owned().await),
            }
        };
        tokio::time::timeout(WAIT, granted).await.ok()
    }
}
