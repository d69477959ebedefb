//! The rows of the migrated table in the SQL database in memory, as one process reaches them: what the protocol asks of them,
//! outside of a transaction.

use super::base::{Base, WriterRow};
use super::guards::Guard;
use super::host::Host;
use super::locks::{How, Name};
use super::transaction::MemoryTransaction;
use std::sync::Arc;
use std::time::Duration;
use transvase::checkpoint::phases::Phase;
use transvase::dual::stores::{Intent, Item, Key, Rows};
use transvase::error::{Error, ErrorKind, Result};

/// The database, as one process reaches it.
#[derive(Clone)]
pub(super) struct MemoryRows {
    pub(super) host: Arc<Host>,
}

/// What the database says when it does not do what it was asked.
pub(super) fn away() -> Error {
    Error::new(ErrorKind::Transient, "the database did not answer")
}

pub(super) fn millis(during: Duration) -> i64 {
    i64::try_from(during.as_millis()).unwrap()
}

impl MemoryRows {
    pub(super) fn new(host: Arc<Host>) -> MemoryRows {
        MemoryRows { host }
    }

    /// How long a statement is under way.
    pub(super) fn way(&self) -> Duration {
        let world = &self.host.world;
        match world.chance.hits(world.weather().slow) {
            false => world.chance.millis(1..4),
            true => world.chance.millis(4..200),
        }
    }

    pub(super) fn fails(&self) -> bool {
        let world = &self.host.world;
        world.chance.hits(world.weather().rows_lost)
    }

    /// A statement reaches the server, or does not.
    pub(super) async fn send(&self) -> Result<()> {
        self.host.rest(self.way()).await;
        if !self.host.has_database() {
            self.host.rest(self.host.world.chance.millis(10..1000)).await;
            return Err(away());
        }
        if self.fails() { Err(away()) } else { Ok(()) }
    }

    /// Its answer reaches the process, or does not.
    pub(super) async fn hear(&self) -> Result<()> {
        self.host.rest(self.way()).await;
        if self.fails() || !self.host.has_database() { Err(away()) } else { Ok(()) }
    }

    /// A statement that commits by itself: once it is sent it is made, whoever waits for it.
    async fn ask<T: Send + 'static>(
        &self,
        locks: Option<Name>,
        make: impl FnOnce(&Base) -> T + Send + 'static,
    ) -> Result<T> {
        self.send().await?;
        let world = Arc::clone(&self.host.world);
        let made = tokio::spawn(async move {
            let held = match locks {
                Some(name) => Some(world.base.locks.take(&name, How::Shared).await?),
                None => None,
            };
            let made = make(&world.base);
            drop(held);
            Some(made)
        });
        let made = made.await.ok().flatten();
        self.hear().await?;
        made.ok_or_else(away)
    }
}

impl Rows for MemoryRows {
    type Transaction<'a> = MemoryTransaction;

    async fn begin(&self) -> Result<MemoryTransaction> {
        self.send().await?;
        let transaction = MemoryTransaction::new(self.clone());
        self.hear().await?;
        Ok(transaction)
    }

    async fn row(&self, key: &Key) -> Result<Option<Item>> {
        let key = key.clone();
        self.ask(None, move |base| base.tables().rows.get(&key).cloned()).await
    }

    async fn heartbeat(&self, writer: &str, stopped: Option<u64>, lease: Duration) -> Result<Option<Phase>> {
        let writer = writer.to_owned();
        let beat = move |base: &Base| {
            let (phase, now) = (base.phase(), base.now());
            let told = if base.lacks(Guard::Lease) { lease / 8 } else { lease };
            let mut tables = base.tables();
            let before = tables.writers.get(&writer);
            let since = before.filter(|one| (one.step > 1) == (phase.step > 1)).map_or(now, |one| one.since);
            let row = WriterRow {
                step: phase.step,
                version: phase.version,
                stopped: stopped == Some(phase.version) || stopped.is_some() && base.lacks(Guard::StoppedHere),
                since,
                until: now + millis(told),
            };
            tables.writers.insert(writer, row);
            Some(phase)
        };
        let told = self.ask(Some(Name::Phase), beat).await?;
        self.host.told.lock().unwrap().clone_from(&told);
        Ok(told)
    }

    async fn leave(&self, writer: &str) -> Result<()> {
        let writer = writer.to_owned();
        let left = self.ask(None, move |base| base.tables().writers.remove(&writer).is_some()).await;
        left.map(|_| ())
    }

    async fn fault(&self, writer: &str, what: &str) -> Result<()> {
        let fault = format!("{writer}: {what}");
        self.ask(None, move |base| base.tables().faults.push(fault)).await
    }

    async fn ripe(&self, age: Duration, most: usize) -> Result<Vec<Intent>> {
        let ripe = move |base: &Base| {
            let before = if base.lacks(Guard::Ripe) { i64::MAX } else { base.now() - millis(age) };
            let mut found: Vec<_> = base.tables().intents.values().filter(|(_, at)| *at <= before).cloned().collect();
            found.sort_by_key(|(_, at)| *at);
            found.into_iter().take(most).map(|(intent, _)| intent).collect()
        };
        self.ask(None, ripe).await
    }

    async fn take_up(&self, intent: &Intent) -> Result<bool> {
        let intent = intent.clone();
        let take = move |base: &Base| {
            let now = base.now();
            let always = base.lacks(Guard::TakeUp);
            let mut tables = base.tables();
            let Some((there, at)) = tables.intents.get_mut(&intent.id) else { return always };
            if there.attempt != intent.attempt {
                return always;
            }
            there.attempt += 1;
            *at = if always { *at } else { now };
            true
        };
        self.ask(None, take).await
    }
}
