//! The real database as one process reaches it: slow, away for a while, and forgetful of answers; without one of its guards where a
//! test leaves it out.

use super::process::Process;
use crate::dual_simulation::guards::Guard;
use std::sync::Arc;
use std::time::Duration;
use transvase::checkpoint::phases::Phase;
use transvase::dual::mysql::{SqlRows, SqlTransaction};
use transvase::dual::stores::{Intent, Item, Key, Rows, Transaction};
use transvase::error::{Error, ErrorKind, Result};

/// The database.
pub(super) struct WorldRows {
    process: Arc<Process>,
    inner: SqlRows,
}

/// A transaction of it.
pub(super) struct WorldTransaction<'a> {
    rows: &'a WorldRows,
    inner: SqlTransaction<'a>,
    /// Whether it has left a tombstone.
    has_buried: bool,
}

fn away() -> Error {
    Error::new(ErrorKind::Transient, "the database did not answer")
}

impl WorldRows {
    pub(super) fn new(process: Arc<Process>, inner: SqlRows) -> WorldRows {
        WorldRows { process, inner }
    }

    fn lacks(&self, guard: Guard) -> bool {
        self.process.world.lacks(guard)
    }

    fn fails(&self) -> bool {
        let world = &self.process.world;
        // one of many in a transaction
        world.chance.of(0..3000) < world.weather().rows_lost
    }

    /// A statement reaches the server, or does not.
    async fn send(&self) -> Result<()> {
        let world = &self.process.world;
        // a statement is one of many: more of them take long than of an item's requests, so that writers meet
        if world.chance.hits(3 * world.weather().slow) {
            tokio::time::sleep(world.chance.millis(1..100)).await;
        }
        if !self.process.has_database() {
            tokio::time::sleep(world.chance.millis(10..1000)).await;
            return Err(away());
        }
        if self.fails() { Err(away()) } else { Ok(()) }
    }

    /// Its answer reaches the process, or does not.
    fn hear<T>(&self, answer: Result<T>) -> Result<T> {
        if self.fails() || !self.process.has_database() { Err(away()) } else { answer }
    }

    async fn ask<T>(&self, asked: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.send().await?;
        self.hear(asked.await)
    }
}

impl Rows for WorldRows {
    type Transaction<'a> = WorldTransaction<'a>;

    async fn begin(&self) -> Result<WorldTransaction<'_>> {
        let inner = self.ask(self.inner.begin()).await?;
        Ok(WorldTransaction { rows: self, inner, has_buried: false })
    }

    async fn row(&self, key: &Key) -> Result<Option<Item>> {
        self.ask(self.inner.row(key)).await
    }

    async fn heartbeat(&self, writer: &str, stopped: Option<u64>, lease: Duration) -> Result<Option<Phase>> {
        self.ask(self.inner.heartbeat(writer, stopped, self.process.calls(lease))).await
    }

    async fn leave(&self, writer: &str) -> Result<()> {
        self.ask(self.inner.leave(writer)).await
    }

    async fn fault(&self, writer: &str, what: &str) -> Result<()> {
        self.ask(self.inner.fault(writer, what)).await
    }

    async fn ripe(&self, age: Duration, most: usize) -> Result<Vec<Intent>> {
        let age = if self.lacks(Guard::Ripe) { Duration::ZERO } else { self.process.calls(age) };
        self.ask(self.inner.ripe(age, most)).await
    }

    async fn take_up(&self, intent: &Intent) -> Result<bool> {
        self.ask(self.inner.take_up(intent)).await
    }
}

impl Transaction for WorldTransaction<'_> {
    async fn prove(&mut self) -> Result<Option<Phase>> {
        self.rows.ask(self.inner.prove()).await
    }

    async fn guard(&mut self, key: &Key) -> Result<()> {
        if self.rows.lacks(Guard::KeyLock) {
            return Ok(());
        }
        self.rows.ask(self.inner.guard(key)).await
    }

    async fn row(&mut self, key: &Key) -> Result<Option<Item>> {
        self.rows.ask(self.inner.row(key)).await
    }

    async fn write(&mut self, key: &Key, image: Option<&Item>) -> Result<()> {
        self.has_buried |= image.is_none();
        self.rows.ask(self.inner.write(key, image)).await
    }

    async fn pending(&mut self, key: &Key) -> Result<bool> {
        self.rows.ask(self.inner.pending(key)).await
    }

    async fn intend(&mut self, intent: &Intent) -> Result<()> {
        if self.rows.lacks(Guard::Intent) {
            return Ok(());
        }
        self.rows.ask(self.inner.intend(intent)).await
    }

    async fn clear(&mut self, id: u64) -> Result<()> {
        self.rows.ask(self.inner.clear(id)).await
    }

    async fn commit(self) -> Result<()> {
        let (rows, inner) = (self.rows, self.inner);
        rows.ask(inner.commit()).await?;
        if self.has_buried && rows.lacks(Guard::Tombstone) {
            rows.process.world.execute("DELETE FROM _transvase_tombstones").await;
        }
        Ok(())
    }
}
