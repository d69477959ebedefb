//! The application: some instances, each a process. They die and are followed by others, stand still and go on, and lose their
//! database.

use super::process::Process;
use super::world::World;
use crate::support::transvase::soak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between looks at what goes wrong, in milliseconds.
const TICK: u64 = 250;
/// How long all lasts before the end begins, in requests' times: quickly, and in a soak that nothing is left out of.
const LASTS: [u32; 2] = [11, 22];

/// All processes.
pub(super) struct Population {
    world: Arc<World>,
    alive: Mutex<Vec<Arc<Process>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    started: AtomicU64,
}

impl Population {
    fn start(&self) {
        let (process, thread) = Process::start(&self.world, self.started.fetch_add(1, Ordering::Relaxed));
        self.world.tell(|| format!("{} starts", process.name));
        self.alive.lock().unwrap().push(process);
        self.threads.lock().unwrap().push(thread);
    }

    fn kill(&self, process: &Arc<Process>) {
        self.alive.lock().unwrap().retain(|one| !Arc::ptr_eq(one, process));
        process.die();
        self.world.figures.deaths.fetch_add(1, Ordering::Relaxed);
        self.world.tell(|| format!("{} dies", process.name));
    }

    /// All have their database again, and whoever stands still goes on before long; one more mends what the dead have left.
    pub(super) fn come_to_rest(&self) {
        self.world.end();
        self.start();
        for process in self.alive.lock().unwrap().iter() {
            process.reaches_database(true);
        }
    }

    /// Nothing of it happens any more.
    pub(super) async fn end(&self) {
        self.alive.lock().unwrap().iter().for_each(|process| process.die());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(JoinHandle::join)).await.unwrap();
        assert!(joined.is_ok(), "an instance failed");
    }
}

/// Instances live for a while, and what goes wrong with them goes wrong.
pub(super) async fn live(world: &Arc<World>) -> Population {
    let population = Population {
        world: Arc::clone(world),
        alive: Mutex::default(),
        threads: Mutex::default(),
        started: AtomicU64::new(0),
    };
    for _ in 0..world.chance.of(3..5) {
        population.start();
    }
    let until = tokio::time::Instant::now() + world.request * LASTS[usize::from(soak() && world.without.is_none())];
    while tokio::time::Instant::now() < until && !world.is_stalled() {
        tokio::time::sleep(Duration::from_millis(TICK)).await;
        let alive = population.alive.lock().unwrap().clone();
        for process in alive {
            if world.chance.hits(world.weather().deaths * TICK / 1000) {
                population.kill(&process);
                population.start();
            } else if world.chance.hits(world.weather().sleeps * TICK / 1000) {
                sleep(&process);
            } else if world.chance.hits(world.weather().away * TICK / 1000) {
                tokio::spawn(lose_database(process));
            }
        }
    }
    population
}

/// A time of up to so many requests.
fn some(world: &World, requests: u32) -> Duration {
    let most = u64::try_from((world.request * requests).as_millis()).unwrap();
    world.chance.millis(50..most)
}

/// It stands still for a while; the server gives up on its sessions after a second.
fn sleep(process: &Process) {
    let (world, during) = (&process.world, some(&process.world, 6));
    world.figures.sleeps.fetch_add(1, Ordering::Relaxed);
    world.tell(|| format!("{} stands still for {during:?}", process.name));
    process.sleep(during);
}

async fn lose_database(process: Arc<Process>) {
    let world = &process.world;
    process.reaches_database(false);
    world.figures.away.fetch_add(1, Ordering::Relaxed);
    world.tell(|| format!("{} has no database", process.name));
    tokio::time::sleep(some(world, 5)).await;
    process.reaches_database(true);
}
