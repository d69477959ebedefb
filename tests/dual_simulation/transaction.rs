//! One transaction of the SQL database in memory: locks that last until it ends, changes that are made when it commits.

use super::base::Session;
use super::guards::Guard;
use super::locks::{How, Name};
use super::rows::{MemoryRows, away};
use std::sync::Arc;
use transvase::checkpoint::phases::Phase;
use transvase::dual::stores::{Intent, Item, Key, Transaction};
use transvase::error::Result;

/// A transaction; dropped, the server rolls it back as soon as it hears of it.
pub(super) struct MemoryTransaction {
    rows: MemoryRows,
    number: u64,
    session: Arc<Session>,
    ended: bool,
}

impl MemoryTransaction {
    pub(super) fn new(rows: MemoryRows) -> MemoryTransaction {
        let (number, session) = rows.host.world.base.begin(&rows.host.name);
        MemoryTransaction { rows, number, session, ended: false }
    }

    fn lacks(&self, guard: Guard) -> bool {
        self.rows.host.world.lacks(guard)
    }

    /// A statement: a failure ends the transaction.
    async fn send(&mut self) -> Result<()> {
        let sent = self.rows.send().await;
        if sent.is_err() || self.session.with(|_| ()).is_none() {
            self.end();
            return Err(away());
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<()> {
        let heard = self.rows.hear().await;
        if heard.is_err() {
            self.end();
        }
        heard
    }

    fn end(&mut self) {
        self.ended = true;
        self.rows.host.world.base.roll_back((self.number, &self.session));
    }

    /// Takes a lock; one that is not granted in time ends the transaction.
    pub(super) async fn lock(&mut self, name: Name, how: How) -> Result<()> {
        self.send().await?;
        if !self.session.lock(&self.rows.host.world.base, name, how).await {
            self.end();
            return Err(away());
        }
        self.hear().await
    }

    /// A change that is made when it commits.
    pub(super) fn change(&self, change: impl FnOnce(&mut super::base::Tables, i64) + Send + 'static) -> Result<()> {
        if self.session.change(change) { Ok(()) } else { Err(away()) }
    }

    /// A row as this transaction sees it.
    pub(super) fn sees(&self, key: &Key) -> Result<Option<Item>> {
        let own = self.session.with(|open| open.rows.get(key).cloned()).ok_or_else(away)?;
        Ok(own.unwrap_or_else(|| self.rows.host.world.base.tables().rows.get(key).cloned()))
    }

    /// Writes a row, or removes it.
    pub(super) fn set(&self, key: &Key, image: Option<Item>) -> Result<()> {
        self.session.with(|open| open.rows.insert(key.clone(), image.clone())).ok_or_else(away)?;
        let key = key.clone();
        self.change(move |tables, _| match image {
            Some(item) => drop(tables.rows.insert(key, item)),
            None => drop(tables.rows.remove(&key)),
        })
    }

    /// Leaves a tombstone if a load is going on, and removes the row.
    async fn remove(&mut self, key: &Key) -> Result<()> {
        self.lock(Name::Loads, How::Shared).await?;
        let is_loaded = self.rows.host.world.base.tables().load.is_some_and(|load| load.is_loaded);
        if !is_loaded && !self.lacks(Guard::Tombstone) {
            self.lock(Name::Tombstone(key.clone()), How::Exclusive).await?;
            let buried = key.clone();
            self.change(move |tables, now| {
                tables.tombstones.insert(buried, now);
            })?;
        }
        let row = Name::Row(key.clone());
        self.lock(row.clone(), How::Exclusive).await?;
        if self.sees(key)?.is_none() {
            // at READ COMMITTED a removal waits for whoever has inserted the row; where there is none it locks and does nothing
            self.session.let_go(&row);
            return Ok(());
        }
        self.set(key, None)
    }

    /// Writes the row, and lifts a tombstone.
    async fn put(&mut self, key: &Key, item: &Item) -> Result<()> {
        self.lock(Name::Loads, How::Shared).await?;
        self.lock(Name::Row(key.clone()), How::Exclusive).await?;
        self.set(key, Some(item.clone()))?;
        self.lock(Name::Tombstone(key.clone()), How::Exclusive).await?;
        let lifted = key.clone();
        self.change(move |tables, _| {
            tables.tombstones.remove(&lifted);
        })
    }
}

impl Transaction for MemoryTransaction {
    async fn prove(&mut self) -> Result<Option<Phase>> {
        if self.lacks(Guard::ShareLock) {
            self.send().await?;
        } else {
            self.lock(Name::Phase, How::Shared).await?;
        }
        let phase = self.rows.host.world.base.phase();
        self.hear().await?;
        let remembered = self.rows.host.told.lock().unwrap().clone().filter(|_| self.lacks(Guard::Proved));
        Ok(remembered.or(Some(phase)))
    }

    async fn guard(&mut self, key: &Key) -> Result<()> {
        if self.lacks(Guard::KeyLock) {
            return self.send().await;
        }
        self.lock(Name::Guard(key.clone()), How::Exclusive).await
    }

    async fn row(&mut self, key: &Key) -> Result<Option<Item>> {
        self.send().await?;
        let row = self.sees(key)?;
        self.hear().await?;
        Ok(row)
    }

    async fn write(&mut self, key: &Key, image: Option<&Item>) -> Result<()> {
        match image {
            Some(item) => self.put(key, item).await,
            None => self.remove(key).await,
        }
    }

    async fn pending(&mut self, key: &Key) -> Result<bool> {
        self.send().await?;
        let pending = self.rows.host.world.base.tables().intents.values().any(|(intent, _)| intent.key == *key);
        self.hear().await?;
        Ok(pending)
    }

    async fn intend(&mut self, intent: &Intent) -> Result<()> {
        self.send().await?;
        if !self.lacks(Guard::Intent) {
            let intent = intent.clone();
            self.change(move |tables, now| drop(tables.intents.insert(intent.id, (intent, now))))?;
        }
        self.hear().await
    }

    async fn clear(&mut self, id: u64) -> Result<()> {
        self.send().await?;
        self.change(move |tables, _| drop(tables.intents.remove(&id)))?;
        self.hear().await
    }

    async fn commit(mut self) -> Result<()> {
        self.ended = true;
        let (way, is_lost) = (self.rows.way(), self.rows.fails() || !self.rows.host.has_database());
        let (world, number) = (Arc::clone(&self.rows.host.world), self.number);
        let session = Arc::clone(&self.session);
        // once it is sent it comes about, or does not, whoever waits for it
        let host = Arc::clone(&self.rows.host);
        let committing = tokio::spawn(async move {
            // a process that stands still between looking at the clock and sending sends it when it goes on
            host.goes_on().await;
            tokio::time::sleep(way).await;
            if is_lost && world.chance.hits(500) {
                world.base.roll_back((number, &session));
                return false;
            }
            world.base.commit((number, &session))
        });
        let committed = committing.await.unwrap_or(false);
        if is_lost || !committed {
            self.rows.host.goes_on().await;
            return Err(away());
        }
        self.rows.hear().await
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (world, number) = (Arc::clone(&self.rows.host.world), self.number);
        let (session, after) = (Arc::clone(&self.session), self.rows.way());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(after).await;
                world.base.roll_back((number, &session));
            })),
            Err(_) => world.base.roll_back((number, &session)),
        }
    }
}
