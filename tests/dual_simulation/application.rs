//! The application: some instances, each with a task that writes and reads few keys at random. Instances die and are followed by
//! others, stand still and go on, and lose their database.

use super::calls::{self, Caller};
use super::host::{Host, State};
use super::items::MemoryItems;
use super::rows::MemoryRows;
use super::world::{LEASE, MEND_EVERY, REQUEST, World};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use transvase::dual::{Instance, Options};

type Dual = Instance<MemoryItems, MemoryRows>;

/// Between looks at what goes wrong, in milliseconds.
const TICK: u64 = 250;

/// All instances.
pub(super) struct Population {
    world: Arc<World>,
    alive: Mutex<Vec<(Arc<Host>, Arc<Dual>)>>,
    started: AtomicU64,
}

impl Population {
    pub(super) fn new(world: &Arc<World>) -> Arc<Population> {
        Arc::new(Population { world: Arc::clone(world), alive: Mutex::default(), started: AtomicU64::new(0) })
    }

    /// Starts an instance.
    fn start(self: &Arc<Self>) {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let host = Host::new(format!("app-{number}"), Arc::clone(&self.world));
        self.world.tell(|| format!("{} starts", host.name));
        let instance = open(&host);
        self.alive.lock().unwrap().push((Arc::clone(&host), Arc::clone(&instance)));
        // one task each: several that wait at the gate are let in by chance, and a seed has to be one story
        tokio::spawn(Client { host: Arc::clone(&host), instance, caller: Caller::default() }.work());
    }

    fn kill(&self, host: &Arc<Host>) {
        self.alive.lock().unwrap().retain(|(one, _)| !Arc::ptr_eq(one, host));
        host.set(State::Dead);
        self.world.figures.deaths.fetch_add(1, Ordering::Relaxed);
        self.world.tell(|| format!("{} dies", host.name));
        let (world, name) = (Arc::clone(&self.world), host.name.clone());
        tokio::spawn(async move {
            // the server hears of it sooner or later
            tokio::time::sleep(world.chance.millis(1..800)).await;
            world.base.close_sessions(&name, Duration::ZERO);
        });
    }

    /// Wakes all up, and lets their tasks come to an end; one more instance mends what the dead have left.
    pub(super) async fn end(self: &Arc<Self>) {
        self.start();
        let alive = self.alive.lock().unwrap().clone();
        for (host, _) in alive {
            host.reaches_database(true);
            host.set(State::Runs);
        }
        tokio::time::sleep(Duration::from_millis(5 * REQUEST)).await;
    }
}

fn open(host: &Arc<Host>) -> Arc<Dual> {
    let mut options = Options::new(&host.name, &["pk"]);
    options.name.clone_from(&host.name);
    options.lease = Duration::from_millis(LEASE);
    options.heartbeat = Duration::from_millis(host.world.weather().heartbeat);
    options.request = Duration::from_millis(REQUEST);
    options.mend_every = Duration::from_millis(MEND_EVERY);
    options.shadow = 0.2;
    let (items, rows) = World::stores(host);
    Arc::new(Instance::open(items, rows, options).unwrap())
}

/// Instances live, and what goes wrong with them goes wrong.
pub(super) async fn live(population: Arc<Population>) {
    let world = Arc::clone(&population.world);
    for _ in 0..world.chance.of(3..6) {
        population.start();
    }
    while !world.is_ending() {
        tokio::time::sleep(Duration::from_millis(TICK)).await;
        let alive = population.alive.lock().unwrap().clone();
        for (host, _) in alive {
            if world.chance.hits(world.weather().deaths * TICK / 1000) {
                population.kill(&host);
                population.start();
            } else if world.chance.hits(world.weather().sleeps * TICK / 1000) {
                tokio::spawn(sleep(host));
            } else if world.chance.hits(world.weather().away * TICK / 1000) {
                tokio::spawn(lose_database(host));
            }
        }
    }
}

/// An instance stands still and goes on; the server gives up on it after a while.
async fn sleep(host: Arc<Host>) {
    let world = Arc::clone(&host.world);
    host.set(State::Sleeps);
    world.figures.sleeps.fetch_add(1, Ordering::Relaxed);
    world.tell(|| format!("{} stands still", host.name));
    let during = world.chance.of(50..5 * LEASE);
    tokio::time::sleep(Duration::from_millis(during.min(4 * LEASE))).await;
    if during > 4 * LEASE {
        world.base.close_sessions(&host.name, Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(during - 4 * LEASE)).await;
    }
    host.set(State::Runs);
    world.tell(|| format!("{} goes on", host.name));
}

async fn lose_database(host: Arc<Host>) {
    let world = Arc::clone(&host.world);
    host.reaches_database(false);
    world.tell(|| format!("{} has no database", host.name));
    tokio::time::sleep(world.chance.millis(100..4 * LEASE)).await;
    host.reaches_database(true);
}

/// A task of an instance.
struct Client {
    host: Arc<Host>,
    instance: Arc<Dual>,
    caller: Caller,
}

impl Client {
    async fn work(mut self) {
        let world = Arc::clone(&self.host.world);
        while !world.is_ending() {
            self.host.rest(world.chance.millis(1..150)).await;
            let key = world.some_key();
            let call = self.caller.choose(key, &world.chance, || world.new_value());
            let asked = world.history.ask(&self.host.name, key, call, world.now());
            let answer = calls::make(&self.instance, key, call).await;
            self.host.goes_on().await;
            world.history.answer(asked, answer, world.now());
            self.caller.hear(key, call, answer);
        }
    }
}
