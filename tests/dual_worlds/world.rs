//! One world: a fresh database on a real server, an emulated table, and what goes wrong with them. A seed says what goes wrong and how
//! often, not in which order things come to pass.

use super::figures::Figures;
use crate::dual_simulation::calls::{self, item};
use crate::dual_simulation::chance::{Chance, Weather};
use crate::dual_simulation::guards::Guard;
use crate::dual_simulation::history::{History, Value};
use crate::phases::target;
use crate::support::dynamo::DynamoServer;
use crate::support::orders::Place;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use transvase::checkpoint::phases::Phases;
use transvase::driver::pool::Pool;
use transvase::driver::session::Session;
use transvase::dual::dynamodb::DynamoItems;
use transvase::dual::mysql::{SqlOptions, SqlRows};
use transvase::dual::stores::Key;
use transvase::error::Result;
use transvase::mapping::Mapping;

/// The table, the migration, the copy's run, and the target's table.
pub(super) const TABLE: &str = "orders";
/// Items that nobody writes to: the first one's number, and how many.
pub(super) const QUIET: (usize, usize) = (1000, 200);
/// How long all are about one key, in milliseconds.
const FOCUS: u64 = 400;

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) history: History,
    pub(super) figures: Figures,
    pub(super) keys: usize,
    /// The longest that a request is waited for.
    pub(super) request: Duration,
    pub(super) place: Place,
    pub(super) server: DynamoServer,
    /// What requests travel by, and who looks from outside.
    pub(super) network: Handle,
    pub(super) table: DynamoItems,
    pub(super) rows: SqlRows,
    pub(super) pool: Arc<Pool>,
    pub(super) mapping: Arc<Mapping>,
    pub(super) weather: Weather,
    pub(super) without: Option<Guard>,
    pub(super) told: Mutex<Vec<String>>,
    /// What was seen that should not be.
    pub(super) seen: Mutex<Option<String>>,
    /// Why nothing can be said of it: the machine did not keep what is assumed.
    pub(super) stalled: Mutex<Option<String>>,
    pub(super) is_ending: AtomicBool,
    pub(super) next_value: AtomicU64,
    pub(super) clients: Arc<AtomicUsize>,
    pub(super) requests: Arc<AtomicUsize>,
    pub(super) began: Instant,
}

/// Something that is going on, as long as this lives.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(of: &Arc<AtomicUsize>) -> Counted {
        of.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(of))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The key of an item.
pub(super) fn key(number: usize) -> Key {
    Key::of(&item(number, 0), &["pk".to_owned()]).unwrap()
}

impl World {
    pub(super) async fn open_rows(&self, options: SqlOptions) -> Result<SqlRows> {
        SqlRows::open(&target(&self.place), TABLE, Arc::clone(&self.mapping), options).await
    }

    pub(super) fn phases(&self) -> &Phases {
        self.rows.phases()
    }

    /// The step of now.
    pub(super) async fn step(&self) -> u8 {
        self.phases().load().await.unwrap().unwrap().step
    }

    pub(super) fn lacks(&self, guard: Guard) -> bool {
        self.without == Some(guard)
    }

    /// What goes wrong now.
    pub(super) fn weather(&self) -> Weather {
        if self.is_ending() { Weather::CALM } else { self.weather }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        self.tell(|| "the end begins".to_owned());
    }

    /// A client is at work.
    pub(super) fn at_work(&self) -> Counted {
        Counted::new(&self.clients)
    }

    /// A request is under way.
    pub(super) fn under_way(&self) -> Counted {
        Counted::new(&self.requests)
    }

    /// Whether nobody asks for anything any more, and nothing that was asked for is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.clients.load(Ordering::SeqCst) == 0 && self.requests.load(Ordering::SeqCst) == 0
    }

    pub(super) fn new_value(&self) -> Value {
        self.next_value.fetch_add(1, Ordering::Relaxed)
    }

    /// Milliseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    pub(super) fn some_key(&self) -> usize {
        calls::some_key(&self.chance, self.keys, self.now() / FOCUS)
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        self.told.lock().unwrap().push(format!("{:>6} {}", self.now(), what()));
    }

    /// All that was told.
    pub(super) fn story(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }

    pub(super) fn stall(&self, why: &str) {
        self.stalled.lock().unwrap().get_or_insert(why.to_owned());
    }

    /// Whether it is not to be judged, and may as well end.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.lock().unwrap().is_some()
    }

    /// Runs a statement, as often as it takes.
    pub(super) async fn execute(&self, statement: &str) {
        loop {
            let done = match Session::open(&target(&self.place)).await {
                Ok(mut session) => session.run(statement).await.map_err(|fault| fault.into_error(statement)),
                Err(error) => Err(error),
            };
            match done {
                Ok(_) => return,
                Err(error) => self.tell(|| format!("again: {}", error.chain())),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
