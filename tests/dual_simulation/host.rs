//! A process of the simulated world: it can stand still, lose its database, or die, and all of its calls go through it.

use super::world::World;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use transvase::checkpoint::phases::Phase;

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    /// It stands still, and will go on where it was.
    Sleeps,
    /// None of its tasks does anything more.
    Dead,
}

/// A process: of the application, the loader's, the controller's.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) world: Arc<World>,
    state: Mutex<State>,
    /// Wakes who waits in the order in which they came: a seed is one story.
    changed: Notify,
    has_database: AtomicBool,
    /// What its last heartbeat was told.
    pub(super) told: Mutex<Option<Phase>>,
}

impl Host {
    pub(super) fn new(name: String, world: Arc<World>) -> Arc<Host> {
        let (state, changed, has_database) = (Mutex::new(State::Runs), Notify::new(), AtomicBool::new(true));
        Arc::new(Host { name, world, state, changed, has_database, told: Mutex::default() })
    }

    pub(super) fn state(&self) -> State {
        *self.state.lock().unwrap()
    }

    /// A dead process stays dead.
    pub(super) fn set(&self, state: State) {
        let mut now = self.state.lock().unwrap();
        if *now != State::Dead {
            *now = state;
            self.changed.notify_waiters();
        }
    }

    /// Whether the database can be reached from here.
    pub(super) fn reaches_database(&self, does: bool) {
        self.has_database.store(does, Ordering::Relaxed);
    }

    pub(super) fn has_database(&self) -> bool {
        self.has_database.load(Ordering::Relaxed)
    }

    /// Goes on when the process does: at once, when it is awake again, or never.
    pub(super) async fn goes_on(&self) {
        while self.state() != State::Runs {
            // one thread runs all: nothing changes between the look and the wait
            self.changed.notified().await;
        }
    }

    /// Time passes, and it goes on only while the process runs.
    pub(super) async fn rest(&self, during: Duration) {
        tokio::time::sleep(during).await;
        self.goes_on().await;
    }
}
