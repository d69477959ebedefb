//! The one listing of a stream's shards that all lineages look at: made anew on every close and about every minute.
//!
//! Promises: a listing is whole or not taken over; nobody waits for another's. DescribeStream is for the whole account ten
//! times a second [API reference], so closes that come together share one listing.

use super::tree::Tree;
use crate::driver::streams::{StreamPage, StreamRefusal, StreamRefusalKind, Streams};
use crate::error::{Error, Result};
use crate::limit::retry::Backoff;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a page of a listing is asked for, before the whole listing waits.
const PAGE_TRIES: u32 = 4;

/// What the last whole listing said.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The shards.
    pub(super) tree: Tree,
    /// How many listings came before.
    pub(super) generation: u64,
    /// The stream was switched off: no shard will turn up any more.
    pub(super) disabled: bool,
}

/// The stream's shards, as far as they are known.
pub(super) struct Listing {
    known: Mutex<Arc<Known>>,
    wanted: AtomicBool,
    /// Held by whoever is listing.
    backoff: tokio::sync::Mutex<Backoff>,
    due: Mutex<Due>,
    every: Duration,
    /// Between a listing and the next one that a close asks for.
    least: Duration,
}

/// When the next listing is made.
struct Due {
    at: Duration,
    /// Not before, whoever asks for it.
    soonest: Duration,
}

/// What a stream is, and its shards.
pub(super) struct Described {
    pub(super) status: String,
    pub(super) view: String,
    pub(super) created: Option<u64>,
    pub(super) tree: Tree,
}

/// All pages of a stream's description.
///
/// # Errors
/// The first refusal.
pub(super) async fn describe(driver: &Streams, arn: &str) -> Result<Described, StreamRefusal> {
    let (mut shards, mut after) = (Vec::new(), None);
    loop {
        let page = page(driver, arn, after.as_deref()).await?;
        shards.extend(page.shards);
        match page.next {
            // a server that gives the same page again would have us ask for ever
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => {
                let StreamPage { status, view, created, .. } = page;
                return Ok(Described { status, view, created, tree: Tree::new(shards) });
            }
        }
    }
}

/// A page of the description: asked for again at once, so that one refusal does not cost the pages before it.
async fn page(driver: &Streams, arn: &str, after: Option<&str>) -> Result<StreamPage, StreamRefusal> {
    let mut backoff = Backoff::throttled(rand::random());
    for _ in 1..PAGE_TRIES {
        match driver.describe(arn, after).await {
            Err(refusal) if passes(&refusal) => tokio::time::sleep(backoff.wait().unwrap_or_default()).await,
            answered => return answered,
        }
    }
    driver.describe(arn, after).await
}

/// Whether the same question may be answered a moment later.
pub(super) fn passes(refusal: &StreamRefusal) -> bool {
    matches!(refusal.kind, StreamRefusalKind::Unknown | StreamRefusalKind::Throttled(_))
}

impl Listing {
    pub(super) fn new(described: Described, every: Duration, least: Duration) -> Listing {
        let known = Known { disabled: described.status == "DISABLED", tree: described.tree, generation: 0 };
        Listing {
            known: Mutex::new(Arc::new(known)),
            wanted: AtomicBool::new(false),
            backoff: tokio::sync::Mutex::new(Backoff::reconnect(rand::random())),
            due: Mutex::new(Due { at: every, soonest: least }),
            every,
            least,
        }
    }

    /// A shard was closed, or its children are awaited: list again as soon as may be.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        let mut due = lock(&self.due);
        due.at = due.at.min(due.soonest);
    }

    /// What is known.
    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(&lock(&self.known))
    }

    /// For how long no listing is due.
    pub(super) fn rest(&self, now: Duration) -> Duration {
        lock(&self.due).at.saturating_sub(now)
    }

    /// Lists anew if it is time to, unless somebody does already; gives what is known then.
    ///
    /// # Errors
    /// When the stream is gone or may not be described, or cannot be reached for minutes.
    pub(super) async fn look(&self, driver: &Streams, arn: &str, now: Duration) -> Result<Arc<Known>> {
        let Ok(mut backoff) = self.backoff.try_lock() else { return Ok(self.known()) };
        if !self.rest(now).is_zero() {
            return Ok(self.known());
        }
        self.wanted.store(false, Ordering::SeqCst);
        // while this one is under way nobody else is ready for one
        *lock(&self.due) = Due { at: now + self.every, soonest: now + self.every };
        match describe(driver, arn).await {
            Ok(described) => {
                let mut known = lock(&self.known);
                *known = Arc::new(Known {
                    disabled: described.status == "DISABLED",
                    tree: described.tree,
                    generation: known.generation + 1,
                });
                *backoff = Backoff::reconnect(rand::random());
                // whoever asked meanwhile may have seen a close that this listing does not know
                let pause = if self.wanted.load(Ordering::SeqCst) { self.least } else { self.every };
                *lock(&self.due) = Due { at: now + pause, soonest: now + self.least };
            }
            Err(refusal) => {
                let Some(wait) = backoff.wait().filter(|_| passes(&refusal)) else { return Err(gone(arn, refusal)) };
                *lock(&self.due) = Due { at: now + wait, soonest: now + wait };
            }
        }
        Ok(self.known())
    }
}

/// Why a stream cannot be followed any further.
fn gone(arn: &str, refusal: StreamRefusal) -> Error {
    if refusal.kind == StreamRefusalKind::NotFound {
        return Error::config(format!(
            "stream {arn} is gone: it was switched off more than a day ago, or its table was deleted; changes that were not \
             read from it are lost, so copy the table anew (backfill --capture) before following its new stream"
        ));
    }
    refusal.into_error()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
