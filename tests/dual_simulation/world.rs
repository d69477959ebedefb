//! One world: two stores, application instances, a loader, an operator, and what goes wrong with them; all by one seed, in
//! simulated time.

use super::application::{self, Population};
use super::base::Base;
use super::calls::{self, item, value_of};
use super::chance::{Chance, Weather};
use super::controller;
use super::guards::Guard;
use super::history::{History, Value};
use super::host::Host;
use super::items::{MemoryItems, Table};
use super::loader;
use super::panics;
use super::rows::MemoryRows;
use super::totals::Moves;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;
use transvase::dual::stores::{Key, When};

/// For how long an answer of DynamoDB is waited for, in milliseconds.
pub(super) const REQUEST: u64 = 400;
/// How long an instance's lease lasts.
pub(super) const LEASE: u64 = 1_200;
/// Between looks for writes to mend.
pub(super) const MEND_EVERY: u64 = 200;
/// How long the world lasts before its end begins.
const LASTS: u64 = 15_000;
/// How long all are about one key.
const FOCUS: u64 = 600;
/// How long all has to be mended in then.
const END: u64 = 20_000;

/// What a run has seen of what is meant to happen in it.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) deaths: AtomicU64,
    pub(super) sleeps: AtomicU64,
    pub(super) copies: AtomicU64,
    pub(super) loaders: AtomicU64,
    pub(super) withdrawn: AtomicU64,
    pub(super) moves: Mutex<Moves>,
}

impl Figures {
    /// What went wrong, by its name.
    pub(super) fn named(&self) -> [(&'static str, u64); 4] {
        let now = |of: &AtomicU64| of.load(Ordering::Relaxed);
        [
            ("deaths", now(&self.deaths)),
            ("sleeps", now(&self.sleeps)),
            ("copies", now(&self.copies)),
            ("barriers withdrawn", now(&self.withdrawn)),
        ]
    }
}

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) base: Base,
    pub(super) history: History,
    pub(super) keys: Vec<Key>,
    pub(super) figures: Figures,
    /// What happened beside the calls of the application, told when asked.
    pub(super) told: Mutex<Option<Vec<String>>>,
    weather: Weather,
    /// A key that the loader has read and is about to insert.
    pub(super) about: Mutex<Option<Key>>,
    /// What an observer saw that should not be.
    seen: Mutex<Option<String>>,
    is_ending: AtomicBool,
    table: Mutex<Table>,
    next_value: AtomicU64,
    began: Instant,
}

/// What came of a run.
pub(super) struct Outcome {
    /// What should not be.
    pub(super) violation: Option<String>,
    pub(super) world: Arc<World>,
}

impl World {
    fn new(seed: u64, without: &[Guard], tells: bool) -> Arc<World> {
        let chance = Chance::new(seed);
        let keys = (0..chance.of(if chance.hits(300) { 8..24 } else { 3..8 }))
            .map(|number| Key { text: format!(r#"{{"pk":{{"S":"{number}"}}}}"#) })
            .collect();
        Arc::new(World {
            weather: Weather::of(&chance),
            base: Base::new(&chance, without),
            chance,
            history: History::default(),
            keys,
            figures: Figures::default(),
            told: Mutex::new(tells.then(Vec::new)),
            about: Mutex::default(),
            seen: Mutex::default(),
            is_ending: AtomicBool::new(false),
            table: Mutex::default(),
            next_value: AtomicU64::new(1),
            began: Instant::now(),
        })
    }

    pub(super) fn lacks(&self, guard: Guard) -> bool {
        self.base.lacks(guard)
    }

    /// What goes wrong now.
    pub(super) fn weather(&self) -> Weather {
        if self.is_ending() { Weather::CALM } else { self.weather }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// The source.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap()
    }

    /// A value that nobody has written yet.
    pub(super) fn new_value(&self) -> Value {
        self.next_value.fetch_add(1, Ordering::Relaxed)
    }

    /// Milliseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if let Some(told) = self.told.lock().unwrap().as_mut() {
            told.push(format!("{:>6} {}", self.now(), what()));
        }
    }

    /// What the store that is the truth has of a key, at once.
    pub(super) fn truth(&self, key: usize) -> Option<Value> {
        let step = self.base.phase().step;
        let item = match step {
            ..=4 => self.table().read(&self.keys[key], false),
            _ => self.base.tables().rows.get(&self.keys[key]).cloned(),
        };
        item.as_ref().map(value_of)
    }

    /// A key: mostly the one that all are about for a while, so that others lie as they were left; or one that somebody else is
    /// about to write.
    pub(super) fn some_key(&self) -> usize {
        let other = match self.chance.of(0..10) {
            0 => self.base.tables().intents.values().next().map(|(intent, _)| intent.key.clone()),
            1 => self.about.lock().unwrap().clone(),
            _ => None,
        };
        if let Some(other) = other {
            return self.keys.iter().position(|key| *key == other).unwrap();
        }
        calls::some_key(&self.chance, self.keys.len(), self.now() / FOCUS)
    }

    /// What is wrong with a key at this moment: while no intent of it is open, both stores hold the same.
    fn divergence(&self, key: usize) -> Option<String> {
        let (step, is_pending, is_copied) = {
            let tables = self.base.tables();
            let is_pending = tables.intents.values().any(|(intent, _)| intent.key == self.keys[key]);
            (tables.phase.step, is_pending, matches!(tables.units, Some((0, _))))
        };
        let [source, target] = self.both(key);
        let is_right = match step {
            1 | 7 => true,
            2..=4 if !is_copied => target.is_none() || target == source,
            _ => source == target,
        };
        let now = self.now();
        (!is_right && !is_pending).then(|| {
            format!("{now}: key {key}: in step {step} the source has {source:?} and the target {target:?}, and no intent says so")
        })
    }

    /// What both stores have of a key.
    fn both(&self, key: usize) -> [Option<Value>; 2] {
        let source = self.table().read(&self.keys[key], false);
        let target = self.base.tables().rows.get(&self.keys[key]).cloned();
        [source, target].map(|item| item.as_ref().map(value_of))
    }

    /// A process of this world, as it reaches the stores.
    pub(super) fn stores(host: &Arc<Host>) -> (MemoryItems, MemoryRows) {
        (MemoryItems::new(Arc::clone(host)), MemoryRows::new(Arc::clone(host)))
    }
}

/// Lives through a seed's world, without one of its guards.
pub(super) fn live(seed: u64, without: &[Guard], tells: bool) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let panics = panics::count();
    let mut outcome = runtime.block_on(async {
        let world = World::new(seed, without, tells);
        let violation = world.story().await;
        Outcome { violation, world }
    });
    if panics::count() > panics {
        outcome.violation.get_or_insert_with(|| "a task panicked".to_owned());
    }
    outcome
}

impl World {
    async fn story(self: &Arc<Self>) -> Option<String> {
        self.begin_with_items();
        let step = *self.chance.one(&[1, 1, 4, 6]);
        if step > 1 {
            self.base
                .begin_at(step, self.keys.iter().filter_map(|key| Some((key.clone(), self.table().read(key, false)?))));
        }
        let population = Population::new(self);
        tokio::spawn(application::live(Arc::clone(&population)));
        for number in 0..1 + self.chance.of(0..2) {
            tokio::spawn(controller::operate(Arc::clone(self), number));
        }
        tokio::spawn(loader::load_again_and_again(Arc::clone(self)));
        tokio::spawn(observe(Arc::clone(self)));
        tokio::time::sleep(Duration::from_millis(LASTS)).await;
        self.is_ending.store(true, Ordering::Relaxed);
        self.tell(|| "the end begins".to_owned());
        population.end().await;
        self.wait_until_mended().await;
        self.judge()
    }

    /// Some keys have an item before anything begins.
    fn begin_with_items(&self) {
        for number in 0..self.keys.len() {
            if self.chance.hits(700) {
                let value = self.new_value();
                self.table().write(&self.keys[number], Some(item(number, value)), &When::Always);
                let call = super::history::Call::Write(Some(value), super::history::Asked::Always);
                let asked = self.history.ask("before", number, call, 0);
                self.history.answer(asked, super::history::Answer::Done, 0);
            }
        }
    }

    async fn wait_until_mended(&self) {
        let until = self.now() + END;
        while self.now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.base.tables().intents.is_empty() && !self.base.is_busy() {
                break;
            }
        }
    }

    /// What should not be, when all has come to rest.
    fn judge(&self) -> Option<String> {
        if let Some(seen) = self.seen.lock().unwrap().take() {
            return Some(seen);
        }
        let (step, left) = {
            let tables = self.base.tables();
            (tables.phase.step, tables.intents.len())
        };
        for key in 0..self.keys.len() {
            self.history.see("the end", key, self.truth(key), self.now());
        }
        if let Some(contradiction) = self.history.contradiction(self.keys.len()) {
            return Some(contradiction);
        }
        if left > 0 {
            return Some(format!("{left} intents are open at the end, in step {step}"));
        }
        (0..self.keys.len()).find_map(|key| self.divergence(key))
    }
}

/// Looks at the truth now and then, as nobody in the world can.
async fn observe(world: Arc<World>) {
    loop {
        tokio::time::sleep(world.chance.millis(10..150)).await;
        let mut seen = world.seen.lock().unwrap();
        *seen = seen.take().or_else(|| (0..world.keys.len()).find_map(|key| world.divergence(key)));
        drop(seen);
        let key = world.some_key();
        world.history.see("observer", key, world.truth(key), world.now());
    }
}
