//! A world's life: its stores are made and filled, its processes live for a while, all comes to rest, and it is judged.

use super::figures::Figures;
use super::world::{QUIET, TABLE, World};
use super::{application, judge, loader, operator};
use crate::dual_simulation::calls::item;
use crate::dual_simulation::chance::{Chance, Weather};
use crate::dual_simulation::guards::Guard;
use crate::dual_simulation::history::{Answer, Asked, Call, History};
use crate::phases::target;
use crate::support::dynamo::{DynamoServer, config_of};
use crate::support::orders::Place;
use crate::support::servers::{Kind, shared};
use serde_json::Value as Json;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use transvase::checkpoint::phases::{Audit, Phases};
use transvase::driver::dynamodb::{DynamoDb, Patience};
use transvase::driver::pool::Pool;
use transvase::dual::dynamodb::DynamoItems;
use transvase::dual::mysql::{SqlOptions, SqlRows};
use transvase::mapping::{Mapping, parse_key};

const KEY: &str = "pk:S";
/// How long a look from outside of the world waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a world.
pub(super) struct Outcome {
    /// What should not be.
    pub(super) violation: Option<String>,
    /// Why it was not judged.
    pub(super) stalled: Option<String>,
    pub(super) world: Arc<World>,
}

impl World {
    async fn new(
        (place, server): (Place, DynamoServer),
        seed: u64,
        request: Duration,
        without: Option<Guard>,
    ) -> Arc<World> {
        let chance = Chance::new(seed);
        let pool = Arc::new(Pool::new(target(&place), 2));
        let phases = Phases::create(Arc::clone(&pool), TABLE).await.unwrap();
        phases.begin("dynamodb-to-mysql", &Audit::new("test", "begin", None, "{}")).await.unwrap();
        let mapping = Arc::new(Mapping::document(&parse_key(KEY).unwrap(), TABLE, &[]).unwrap());
        let options = SqlOptions { request: PATIENCE, create_tables: true, idle: PATIENCE, sessions: 4 };
        let rows = SqlRows::open(&target(&place), TABLE, Arc::clone(&mapping), options).await.unwrap();
        let service =
            DynamoDb::with_config(&config_of(&server.url()), Patience { attempt: PATIENCE, ..Patience::default() });
        let table = DynamoItems::open(service, TABLE, PATIENCE).await.unwrap();
        let keys = usize::try_from(chance.of(3..8)).unwrap();
        let world = Arc::new(World {
            weather: Weather::of(&chance),
            chance,
            history: History::default(),
            figures: Figures::default(),
            keys,
            request,
            place,
            server,
            network: Handle::current(),
            table,
            rows,
            pool,
            mapping,
            without,
            told: Mutex::default(),
            seen: Mutex::default(),
            stalled: Mutex::default(),
            is_ending: AtomicBool::new(false),
            next_value: AtomicU64::new(10_000),
            clients: Arc::default(),
            requests: Arc::default(),
            began: Instant::now(),
        });
        world.begin_with_items();
        world
    }

    /// The quiet items are there before anything begins, and some of the others.
    fn begin_with_items(&self) {
        let (first, count) = QUIET;
        let quiet = (first..first + count).map(|number| Json::Object(item(number, number as u64)));
        self.server.load(TABLE, quiet);
        for number in 0..self.keys {
            if self.chance.hits(700) {
                let value = self.new_value();
                self.server.load(TABLE, [Json::Object(item(number, value))]);
                let asked = self.history.ask("before", number, Call::Write(Some(value), Asked::Always), 0);
                self.history.answer(asked, Answer::Done, 0);
            }
        }
    }
}

/// Lives through a seed's world, without one of its guards.
pub(super) fn live(kind: Kind, seed: u64, request: Duration, without: Option<Guard>) -> Outcome {
    let network = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stores = (Place::on(shared(kind)), DynamoServer::start());
    stores.1.create(TABLE, KEY);
    let world = network.block_on(World::new(stores, seed, request, without));
    let loading = std::thread::spawn({
        let world = Arc::clone(&world);
        move || loader::load(&world)
    });
    let found = network.block_on(async {
        let operating = tokio::spawn(operator::operate(Arc::clone(&world)));
        let auditing = tokio::spawn(judge::audit(Arc::clone(&world)));
        let population = application::live(&world).await;
        population.come_to_rest();
        for task in [&operating, &auditing] {
            task.abort();
        }
        drop((operating.await, auditing.await));
        let loaded = tokio::task::spawn_blocking(|| loading.join()).await.unwrap();
        let mended = match loaded {
            Ok(()) => judge::all_is_mended(&world).await,
            Err(_) => Some("a loader failed".to_owned()),
        };
        population.end().await;
        match mended {
            None => judge::judge(&world).await,
            wrong => wrong,
        }
    });
    let stalled = world.stalled.lock().unwrap().clone();
    let violation = if stalled.is_none() { found } else { None };
    Outcome { violation, stalled, world }
}
