//! The SQL database in memory: its tables, its clock, its locks, and the sessions that are open.

use super::chance::Chance;
use super::guards::Guard;
use super::loader::RUN;
use super::locks::{Held, How, Locks, Name};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;
use transvase::checkpoint::phases::{Next, Phase};
use transvase::dual::stores::{Intent, Item, Key};
use transvase::phase::dynamodb_to_mysql::DYNAMODB_TO_MYSQL;

/// A registered instance.
#[derive(Clone, Debug)]
pub(super) struct WriterRow {
    pub(super) step: u8,
    pub(super) version: u64,
    pub(super) stopped: bool,
    /// Since when it has been beyond the first step, or in it, by the database's clock.
    pub(super) since: i64,
    pub(super) until: i64,
}

/// The last load of the target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// As of when its source is.
    pub(super) as_of: i64,
    /// Whether removals leave no tombstones any more.
    pub(super) is_loaded: bool,
}

/// What is committed. Times are milliseconds of the database's clock.
pub(super) struct Tables {
    pub(super) phase: Phase,
    /// When a barrier that stands is over.
    pub(super) until: i64,
    pub(super) rows: BTreeMap<Key, Item>,
    /// When each was left.
    pub(super) tombstones: BTreeMap<Key, i64>,
    pub(super) load: Option<Load>,
    pub(super) intents: BTreeMap<u64, (Intent, i64)>,
    pub(super) writers: BTreeMap<String, WriterRow>,
    pub(super) faults: Vec<String>,
    /// The run that holds the backfill lock, and what its processes prove.
    pub(super) lock: Option<String>,
    pub(super) epoch: u64,
    /// Units of the copy that are open, and all; none before it was begun.
    pub(super) units: Option<(u64, u64)>,
    /// When dual writes began.
    pub(super) entered: i64,
    /// Whether nothing stale is in the target.
    pub(super) is_fresh: bool,
}

/// The database.
pub(super) struct Base {
    tables: Mutex<Tables>,
    pub(super) locks: Locks,
    sessions: Mutex<BTreeMap<u64, Arc<Session>>>,
    next: Mutex<u64>,
    began: Instant,
    /// Its clock: what it showed at the beginning, and how many millionths it is too fast.
    offset: i64,
    drift: i64,
    without: Vec<Guard>,
}

/// A session amid a transaction; none when the transaction is over.
pub(super) struct Session {
    pub(super) host: String,
    pub(super) began: Instant,
    open: Mutex<Option<Open>>,
}

/// What a transaction has, and will do.
#[derive(Default)]
pub(super) struct Open {
    held: BTreeMap<Name, Held>,
    /// Rows as this transaction has left them.
    pub(super) rows: BTreeMap<Key, Option<Item>>,
    changes: Vec<Change>,
}

type Change = Box<dyn FnOnce(&mut Tables, i64) + Send>;

impl Base {
    pub(super) fn new(chance: &Chance, without: &[Guard]) -> Base {
        let phase =
            Phase { plan: DYNAMODB_TO_MYSQL.name.to_owned(), step: 1, moving_to: None, generation: 1, version: 1 };
        let tables = Tables {
            phase,
            until: 0,
            rows: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            load: None,
            intents: BTreeMap::new(),
            writers: BTreeMap::new(),
            faults: Vec::new(),
            lock: None,
            epoch: 0,
            units: None,
            entered: 0,
            is_fresh: true,
        };
        Base {
            tables: Mutex::new(tables),
            locks: Locks::default(),
            sessions: Mutex::default(),
            next: Mutex::new(0),
            began: Instant::now(),
            offset: i64::try_from(chance.of(0..1_000_000)).unwrap(),
            drift: i64::try_from(chance.of(0..2_000)).unwrap() - 1_000,
            without: without.to_vec(),
        }
    }

    /// The migration has come as far as this step: the copy is complete.
    pub(super) fn begin_at(&self, step: u8, rows: impl Iterator<Item = (Key, Item)>) {
        let (now, mut tables) = (self.now(), self.tables());
        tables.phase.step = step;
        tables.rows.extend(rows);
        tables.load = Some(Load { as_of: now, is_loaded: true });
        tables.units = Some((0, 1));
        tables.entered = now;
        tables.lock = (step == 4).then(|| RUN.to_owned());
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    /// Its clock, in milliseconds.
    pub(super) fn now(&self) -> i64 {
        let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        self.offset + passed + passed * self.drift / 1_000_000
    }

    /// Where the migration is: a barrier that is over is none.
    pub(super) fn phase(&self) -> Phase {
        let tables = self.tables();
        let moving_to = tables.phase.moving_to.filter(|_| tables.until > self.now());
        Phase { moving_to, ..tables.phase.clone() }
    }

    pub(super) fn lacks(&self, guard: Guard) -> bool {
        self.without.contains(&guard)
    }

    /// Begins a transaction of a process.
    pub(super) fn begin(&self, host: &str) -> (u64, Arc<Session>) {
        let session = Session { host: host.to_owned(), began: Instant::now(), open: Mutex::new(Some(Open::default())) };
        let session = Arc::new(session);
        let mut next = self.next.lock().unwrap();
        *next += 1;
        self.sessions.lock().unwrap().insert(*next, Arc::clone(&session));
        (*next, session)
    }

    /// Has what a transaction did, and lets its locks go; whether it was open.
    pub(super) fn commit(&self, (number, session): (u64, &Session)) -> bool {
        self.sessions.lock().unwrap().remove(&number);
        let Some(mut open) = session.open.lock().unwrap().take() else { return false };
        let now = self.now();
        let mut tables = self.tables();
        for change in open.changes.drain(..) {
            change(&mut tables, now);
        }
        drop(tables);
        true
    }

    /// Nothing remains of a transaction.
    pub(super) fn roll_back(&self, (number, session): (u64, &Session)) {
        self.sessions.lock().unwrap().remove(&number);
        let open = session.open.lock().unwrap().take();
        drop(open);
    }

    /// The server closes the sessions of a process that is gone, and those of one that has been silent for too long.
    pub(super) fn close_sessions(&self, host: &str, silent_for: Duration) {
        let of = |session: &Arc<Session>| session.host == host && session.began.elapsed() >= silent_for;
        let sessions = self.sessions.lock().unwrap();
        let closed: Vec<_> =
            sessions.iter().filter(|(_, session)| of(session)).map(|(n, s)| (*n, Arc::clone(s))).collect();
        drop(sessions);
        for (number, session) in closed {
            self.roll_back((number, &session));
        }
    }

    /// Whether any transaction is open.
    pub(super) fn is_busy(&self) -> bool {
        !self.sessions.lock().unwrap().is_empty()
    }
}

impl Session {
    /// What is still open of it; none when the server has ended it.
    pub(super) fn with<T>(&self, of: impl FnOnce(&mut Open) -> T) -> Option<T> {
        self.open.lock().unwrap().as_mut().map(of)
    }

    /// Takes a lock for the transaction; whether it has it.
    pub(super) async fn lock(&self, base: &Base, name: Name, how: How) -> bool {
        let has = self.with(|open| match (open.held.get(&name), how) {
            (Some(Held::Exclusive(_)), _) | (Some(Held::Shared(_)), How::Shared) => true,
            (Some(Held::Shared(_)) | None, _) => false,
        });
        match has {
            None => return false,
            Some(true) => return true,
            Some(false) => {}
        }
        let Some(held) = base.locks.take(&name, how).await else { return false };
        // one that the server has ended meanwhile lets it go again
        self.with(|open| open.held.insert(name, held)).is_some()
    }

    /// Lets a lock go before the transaction ends.
    pub(super) fn let_go(&self, name: &Name) {
        drop(self.with(|open| open.held.remove(name)));
    }

    /// Something that is made when it commits.
    pub(super) fn change(&self, change: impl FnOnce(&mut Tables, i64) + Send + 'static) -> bool {
        self.with(|open| open.changes.push(Box::new(change))).is_some()
    }
}

impl Base {
    /// A transition, if it is made from what was looked at; the migration's row is locked.
    pub(super) fn transit(&self, from: &Phase, next: Next) -> bool {
        let (now, mut tables) = (self.now(), self.tables());
        let is_same = tables.phase.version == from.version || self.lacks(Guard::CompareAndSet);
        let is_over = next.within_barrier && tables.until <= now && !self.lacks(Guard::BarrierEnds);
        let [was_new, is_new] = [tables.phase.step, next.step].map(|step| step > 4);
        let settled = if is_new { Guard::NewIsSettled } else { Guard::OldIsSettled };
        let counts = was_new != is_new && !self.lacks(Guard::Counted) && !self.lacks(settled);
        if !is_same || is_over || counts && !tables.intents.is_empty() {
            return false;
        }
        tables.transit(next, now, self.lacks(Guard::LoadMark));
        true
    }
}

impl Tables {
    fn transit(&mut self, next: Next, now: i64, keeps_mark: bool) {
        if next.releases_lock {
            self.release();
        }
        if next.barrier.is_none() && next.step != self.phase.step {
            self.writers.retain(|_, writer| writer.until > now);
        }
        if next.step == 1 || next.step == 7 {
            self.intents.clear();
        }
        if next.generation != self.phase.generation {
            self.units = None;
            self.is_fresh = false;
        }
        if self.phase.step == 1 && next.step == 2 {
            self.entered = now;
            // removals leave tombstones from the first dual write on
            self.load = self.load.filter(|_| keeps_mark);
        }
        self.until = next.barrier.map_or(0, |(_, during)| now + i64::try_from(during).unwrap() / 1000);
        self.phase.step = next.step;
        self.phase.moving_to = next.barrier.map(|(to, _)| to);
        self.phase.generation = next.generation;
        self.phase.version += 1;
    }

    /// Nobody holds the backfill lock any more, and no claim of its run is good for anything.
    pub(super) fn release(&mut self) {
        self.lock = None;
        self.epoch += 1;
    }
}
