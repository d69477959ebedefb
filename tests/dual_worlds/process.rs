//! A process of the application: a thread with a runtime of its own, so that it stands still as a stopped process does, timers and
//! all, while its sessions stay open; and dies with whatever it is about, at once.

use super::items::WorldItems;
use super::rows::WorldRows;
use super::world::World;
use crate::dual_simulation::calls::{self, Caller};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use transvase::dual::mysql::SqlOptions;
use transvase::dual::{Instance, Options};
use transvase::error::Result;

type Dual = Instance<WorldItems, WorldRows>;

/// Clients of an instance.
const CLIENTS: usize = 2;

/// What becomes of a process.
enum Order {
    Sleep(Duration),
    Die,
}

/// A process.
pub(super) struct Process {
    pub(super) name: String,
    pub(super) world: Arc<World>,
    /// How many of the database's seconds are one of its own.
    rate: f64,
    has_database: AtomicBool,
    orders: UnboundedSender<Order>,
}

impl Process {
    /// Starts one; the thread ends with its death.
    pub(super) fn start(world: &Arc<World>, number: u64) -> (Arc<Process>, JoinHandle<()>) {
        let (orders, ordered) = unbounded_channel();
        let thousandths = u32::try_from(world.chance.of(950..1051)).unwrap();
        let process = Arc::new(Process {
            name: format!("app-{number}"),
            world: Arc::clone(world),
            rate: f64::from(thousandths) / 1000.0,
            has_database: AtomicBool::new(true),
            orders,
        });
        let lives = Arc::clone(&process);
        (process, std::thread::spawn(move || lives.live(ordered)))
    }

    /// Stands still for so long.
    pub(super) fn sleep(&self, during: Duration) {
        self.order(Order::Sleep(during));
    }

    /// Nothing of it happens any more, but for requests that are on their way.
    pub(super) fn die(&self) {
        self.order(Order::Die);
    }

    fn order(&self, order: Order) {
        // one that is dead already does not hear it
        drop(self.orders.send(order));
    }

    pub(super) fn reaches_database(&self, does: bool) {
        self.has_database.store(does, Ordering::Relaxed);
    }

    pub(super) fn has_database(&self) -> bool {
        self.has_database.load(Ordering::Relaxed)
    }

    /// What it takes for `time`, by everybody else's clock.
    pub(super) fn lasts(&self, time: Duration) -> Duration {
        time.mul_f64(self.rate)
    }

    /// What it calls a time that passes on its clock.
    pub(super) fn calls(&self, time: Duration) -> Duration {
        time.div_f64(self.rate)
    }

    fn live(self: Arc<Self>, mut ordered: UnboundedReceiver<Order>) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let instance = Arc::new(self.open().await);
            for _ in 0..CLIENTS {
                let client = Client {
                    process: Arc::clone(&self),
                    instance: Arc::clone(&instance),
                    _at_work: self.world.at_work(),
                };
                tokio::spawn(client.work());
            }
            while let Some(Order::Sleep(during)) = ordered.recv().await {
                std::thread::sleep(during);
            }
        });
    }

    async fn open(self: &Arc<Self>) -> Dual {
        loop {
            // on a busy machine the database may take its time
            match self.try_to_open().await {
                Ok(instance) => return instance,
                Err(error) => self.world.tell(|| format!("{} does not come up: {}", self.name, error.chain())),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_to_open(self: &Arc<Self>) -> Result<Dual> {
        let request = self.world.request;
        // a session that is silent for the shortest time there is goes with its locks
        let sql = SqlOptions {
            sessions: 4,
            request: self.lasts(request),
            idle: Duration::from_secs(1),
            create_tables: false,
        };
        let rows = WorldRows::new(Arc::clone(self), self.world.open_rows(sql).await?);
        let options = Options {
            name: self.name.clone(),
            request: self.lasts(request),
            lease: self.lasts(request * 5 / 2),
            heartbeat: request / 5,
            mend_every: request / 4,
            shadow: 0.3,
            ..Options::new(&self.name, &["pk"])
        };
        Instance::open(WorldItems::new(Arc::clone(self)), rows, options)
    }
}

/// A client of an instance.
struct Client {
    process: Arc<Process>,
    instance: Arc<Dual>,
    _at_work: super::world::Counted,
}

impl Client {
    async fn work(self) {
        let (world, mut caller) = (Arc::clone(&self.process.world), Caller::default());
        while !world.is_ending() {
            tokio::time::sleep(world.chance.millis(1..200)).await;
            let key = world.some_key();
            let call = caller.choose(key, &world.chance, || world.new_value());
            let asked = world.history.ask(&self.process.name, key, call, world.now());
            let answer = Box::pin(calls::make(&self.instance, key, call)).await;
            world.history.answer(asked, answer, world.now());
            caller.hear(key, call, answer);
        }
    }
}
