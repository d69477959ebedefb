//! The copy of what was there before: it reads the source, live or as it was when it was exported, and inserts what it read
//! much later. It dies and goes on, sleeps and wakes up when another has taken its place.

use super::base::{Base, Load};
use super::guards::Guard;
use super::host::{Host, State};
use super::locks::{How, Name};
use super::rows::MemoryRows;
use super::world::{REQUEST, World};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use transvase::dual::stores::{Item, Key, Rows, Transaction};
use transvase::error::{Error, Result};

/// The run that all loaders work on.
pub(super) const RUN: &str = "copy";

/// How much later than the dual writes a source is, in milliseconds.
const MARGIN: i64 = 2 * REQUEST.cast_signed();

/// What the loader reads.
#[derive(Clone)]
enum Source {
    /// The table as it is when a page is read.
    Live,
    /// The table as it was.
    Export(BTreeMap<Key, Option<Item>>),
}

/// Loaders, one after the other, and sometimes two.
pub(super) async fn load_again_and_again(world: Arc<World>) {
    let mut exports: Vec<(i64, Source)> = Vec::new();
    for number in 0_u64.. {
        tokio::time::sleep(world.chance.millis(20..300)).await;
        exports.push((world.base.now(), Source::Export(snapshot(&world))));
        let host = Host::new(format!("load-{number}"), Arc::clone(&world));
        let source = match world.chance.hits(500) {
            true => (world.base.now(), Source::Live),
            false => world.chance.one(&exports).clone(),
        };
        let mut loading = tokio::spawn(load(Arc::clone(&host), source));
        let ended = tokio::time::timeout(world.chance.millis(100..4000), &mut loading).await.is_ok();
        if world.is_ending() {
            return;
        }
        if ended {
            continue;
        }
        if world.chance.hits(500) {
            host.set(State::Dead);
            world.base.close_sessions(&host.name, std::time::Duration::ZERO);
        } else {
            tokio::spawn(sleep_and_wake(host));
        }
    }
}

/// A loader stands still, another takes its place, and it wakes up.
async fn sleep_and_wake(host: Arc<Host>) {
    host.set(State::Sleeps);
    tokio::time::sleep(host.world.chance.millis(200..4000)).await;
    host.set(State::Runs);
}

fn snapshot(world: &World) -> BTreeMap<Key, Option<Item>> {
    let table = world.table();
    world.keys.iter().map(|key| (key.clone(), table.read(key, false))).collect()
}

async fn load(host: Arc<Host>, source: (i64, Source)) {
    let rows = MemoryRows::new(host);
    // whatever stops it, another loader goes on
    let end = Loader { rows: &rows, as_of: source.0, source: source.1 }.load().await;
    rows.host.world.tell(|| format!("{} ends: {end:?}", rows.host.name));
}

struct Loader<'a> {
    rows: &'a MemoryRows,
    as_of: i64,
    source: Source,
}

fn refused() -> Error {
    Error::refused("not now, or no longer")
}

impl Loader<'_> {
    fn world(&self) -> &Arc<World> {
        &self.rows.host.world
    }

    fn base(&self) -> &Base {
        &self.world().base
    }

    async fn load(&self) -> Result<()> {
        let epoch = self.claim().await?;
        self.world().figures.loaders.fetch_add(1, Ordering::Relaxed);
        self.world().tell(|| format!("{} loads by epoch {epoch}", self.rows.host.name));
        let mut keys = self.world().keys.clone();
        // in the order of the source, which nobody knows
        keys.sort_by_cached_key(|_| self.world().chance.of(0..1000));
        for page in keys.chunks(2) {
            let read = self.read(page).await;
            *self.world().about.lock().unwrap() = read.first().map(|(key, _)| key.clone());
            self.rows.host.rest(self.world().chance.millis(1..600)).await;
            while self
                .write(&read, epoch)
                .await
                .is_err_and(|error| error.kind() == transvase::error::ErrorKind::Transient)
            {
                self.rows.host.rest(self.world().chance.millis(1..100)).await;
            }
        }
        self.complete(epoch).await
    }

    /// Whether a backfill may be made at all, and of this; then the lock, and a claim of its own.
    async fn claim(&self) -> Result<u64> {
        self.rows.send().await?;
        let phase = self.base().phase();
        self.rows.hear().await?;
        if !(2..=4).contains(&phase.step) || !self.is_covered() {
            return Err(refused());
        }
        let mut transaction = self.rows.begin().await?;
        transaction.lock(Name::Claim, How::Exclusive).await?;
        transaction.lock(Name::Loads, How::Exclusive).await?;
        let epoch = {
            let tables = self.base().tables();
            let is_ours = tables.lock.as_deref() == Some(RUN) && tables.phase.generation == phase.generation;
            if !is_ours || !self.is_loadable(tables.load) {
                return Err(refused());
            }
            tables.epoch + 1
        };
        let exported = matches!(self.source, Source::Export(_)).then_some(self.as_of);
        transaction.change(move |tables, now| {
            let as_of = exported.unwrap_or(now);
            tables.epoch = epoch;
            if tables.load.is_none_or(|load| load.is_loaded) {
                tables.tombstones.retain(|_, at| *at >= as_of);
                tables.load = Some(Load { as_of, is_loaded: false });
                tables.units = Some((1, 1));
            }
        })?;
        transaction.commit().await?;
        Ok(epoch)
    }

    /// Whether what it reads is covered by dual writes.
    fn is_covered(&self) -> bool {
        let tables = self.base().tables();
        let since = tables.writers.values().filter(|one| one.step > 1).map(|one| one.since).max();
        let dual = since.unwrap_or(0).max(tables.entered);
        self.as_of >= dual + MARGIN || self.world().lacks(Guard::SourceAge)
    }

    /// Whether removals since what it reads have left their tombstones.
    fn is_loadable(&self, before: Option<Load>) -> bool {
        match (&self.source, before) {
            (Source::Live, _) | (_, None) => true,
            (Source::Export(_), Some(load)) if load.is_loaded => self.world().lacks(Guard::LoadMark),
            // older tombstones went when it began
            (Source::Export(_), Some(load)) => self.as_of >= load.as_of,
        }
    }

    async fn read(&self, page: &[Key]) -> Vec<(Key, Item)> {
        self.rows.host.rest(self.world().chance.millis(1..20)).await;
        let found = |key: &Key| match &self.source {
            Source::Live => self.world().table().read(key, false),
            Source::Export(items) => items.get(key).cloned().flatten(),
        };
        page.iter().filter_map(|key| found(key).map(|item| (key.clone(), item))).collect()
    }

    /// One page: proves the claim, inserts what is absent, looks at tombstones, and writes what it has done into the ledger.
    async fn write(&self, read: &[(Key, Item)], epoch: u64) -> Result<()> {
        let mut transaction = self.rows.begin().await?;
        self.prove(&mut transaction, epoch).await?;
        for (key, item) in read {
            transaction.lock(Name::Row(key.clone()), How::Exclusive).await?;
            let keeps = !self.world().lacks(Guard::Keep) && transaction.sees(key)?.is_some();
            if !keeps {
                transaction.set(key, Some(item.clone()))?;
                self.bury(&mut transaction, key).await?;
            }
        }
        transaction.commit().await
    }

    /// Takes out again what a live writer has removed.
    async fn bury(&self, transaction: &mut super::transaction::MemoryTransaction, key: &Key) -> Result<()> {
        if self.world().lacks(Guard::TombstoneLook) {
            return Ok(());
        }
        if !self.world().lacks(Guard::TombstoneLock) {
            transaction.lock(Name::Tombstone(key.clone()), How::Shared).await?;
        }
        if self.base().tables().tombstones.contains_key(key) {
            transaction.set(key, None)?;
        }
        Ok(())
    }

    async fn prove(&self, transaction: &mut super::transaction::MemoryTransaction, epoch: u64) -> Result<()> {
        transaction.lock(Name::Claim, How::Shared).await?;
        let is_proved = self.base().tables().epoch == epoch;
        if is_proved || self.world().lacks(Guard::Fence) { Ok(()) } else { Err(refused()) }
    }

    /// All is loaded: removals leave no tombstones any more.
    async fn complete(&self, epoch: u64) -> Result<()> {
        let mut transaction = self.rows.begin().await?;
        self.prove(&mut transaction, epoch).await?;
        transaction.lock(Name::Loads, How::Exclusive).await?;
        transaction.change(|tables, _| {
            tables.units = Some((0, 1));
            tables.load = tables.load.map(|load| Load { is_loaded: true, ..load });
            tables.tombstones.clear();
        })?;
        transaction.commit().await?;
        self.world().figures.copies.fetch_add(1, Ordering::Relaxed);
        self.world().tell(|| format!("{} has loaded all", self.rows.host.name));
        Ok(())
    }
}
