//! DynamoDB in memory: slow, forgetful of answers, and sometimes late.
//!
//! Assumed of the real one: a request lands at most once, within the time that its answer is waited for after it was sent, or
//! never; and exactly once before it is answered.

use super::fates::{Fate, lost};
use super::guards::Guard;
use super::host::Host;
use super::world::{REQUEST, World};
use std::sync::Arc;
use std::time::Duration;
use transvase::dual::stores::{Item, Items, Key, When, Written};
use transvase::error::Result;

/// The table, as one process reaches it.
#[derive(Clone)]
pub(super) struct MemoryItems {
    host: Arc<Host>,
}

impl MemoryItems {
    pub(super) fn new(host: Arc<Host>) -> MemoryItems {
        MemoryItems { host }
    }

    fn world(&self) -> &Arc<World> {
        &self.host.world
    }

    fn fate(&self) -> Fate {
        let world = self.world();
        Fate::of_one(&world.chance, world.weather().items_lost)
    }

    /// How long a request is under way.
    fn way(&self) -> Duration {
        let world = self.world();
        match world.chance.hits(world.weather().slow) {
            false => world.chance.millis(1..8),
            true => world.chance.millis(8..REQUEST / 2),
        }
    }

    /// How long one is that nobody hears of: longer than anybody waits.
    fn long_way(&self) -> Duration {
        let world = self.world();
        match world.lacks(Guard::RequestBound) && world.chance.hits(300) {
            true => world.chance.millis(REQUEST..20 * REQUEST),
            false => world.chance.millis(1..REQUEST),
        }
    }

    /// An error after a while; or nothing at all, for as long as anybody waits.
    async fn unheard<T>(&self) -> Result<T> {
        let chance = &self.world().chance;
        let until = if chance.hits(500) { chance.millis(1..REQUEST / 4) } else { Duration::from_millis(10 * REQUEST) };
        self.host.rest(until).await;
        Err(lost())
    }
}

/// Whether what has to hold of the item that is there does.
pub(super) fn holds(when: &When, there: Option<&Item>) -> bool {
    match when {
        When::Always => true,
        When::Absent => there.is_none(),
        When::Present => there.is_some(),
        When::Has(name, value) => there.is_some_and(|item| item.get(name) == Some(value)),
    }
}

impl Items for MemoryItems {
    async fn read(&self, key: &Key) -> Result<Option<Item>> {
        self.host.rest(self.way()).await;
        if self.fate() != Fate::Answered {
            return self.unheard().await;
        }
        let world = self.world();
        let stale = world.lacks(Guard::StrongRead) && world.chance.hits(200);
        let found = world.table().read(key, stale);
        self.host.rest(self.way()).await;
        Ok(found)
    }

    async fn write(&self, key: &Key, image: Option<&Item>, when: &When) -> Result<Written> {
        let sending = self.clone().send(key.clone(), image.cloned(), when.clone());
        match self.world().lacks(Guard::ClockLook) {
            // nobody calls it back when the time is over
            true => tokio::spawn(sending).await.map_err(|_| lost())?,
            false => sending.await,
        }
    }
}

impl MemoryItems {
    async fn send(self, key: Key, image: Option<Item>, when: When) -> Result<Written> {
        let world = Arc::clone(self.world());
        // until it leaves the process
        self.host.rest(self.way()).await;
        let sent = tokio::time::Instant::now();
        let fate = self.fate();
        let way = if fate == Fate::Answered { self.way() } else { self.long_way() };
        let late = sent.elapsed() + way > Duration::from_millis(REQUEST);
        if fate == Fate::Lost || late && !world.lacks(Guard::RequestBound) {
            return self.unheard().await;
        }
        // it lands whatever becomes of who sent it
        let landing = tokio::spawn(async move {
            tokio::time::sleep(way).await;
            world.table().write(&key, image, &when)
        });
        if fate == Fate::Unheard {
            return self.unheard().await;
        }
        let written = landing.await.map_err(|_| lost())?;
        self.host.rest(self.way()).await;
        Ok(written)
    }
}

/// What the table holds.
#[derive(Default)]
pub(super) struct Table {
    items: std::collections::BTreeMap<Key, Versions>,
}

/// An item, and what it was before.
#[derive(Default)]
struct Versions {
    now: Option<Item>,
    before: Option<Item>,
}

impl Table {
    /// An item as it is; or as it was before the last write.
    pub(super) fn read(&self, key: &Key, stale: bool) -> Option<Item> {
        let versions = self.items.get(key)?;
        if stale { versions.before.clone() } else { versions.now.clone() }
    }

    pub(super) fn write(&mut self, key: &Key, image: Option<Item>, when: &When) -> Written {
        let versions = self.items.entry(key.clone()).or_default();
        if !holds(when, versions.now.as_ref()) {
            return Written::Unmet;
        }
        versions.before = std::mem::replace(&mut versions.now, image);
        Written::Done
    }
}
