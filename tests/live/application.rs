//! Where the changes come from: an application at work on a table of the emulator's, with its stream of one shard; or the
//! streams server, whose shards split while it serves its story. Both know what the table is in the end.

use super::shapes::dress;
use crate::support::canon;
use crate::support::dynamo::DynamoServer;
use crate::support::streams_server::{Plot, StreamFaults, StreamsServer, TABLE, World};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where the engine's copy of a table goes when it goes into a table.
pub(super) const COPY: &str = "copied";

/// Keys of the emulator's table; few of them are written often.
const KEYS: u64 = 160;
const BUSY: u64 = 25;

/// A table that changes, and its stream.
pub(super) enum Source {
    Emulator { server: Arc<DynamoServer>, application: Option<Application> },
    Lineages(Box<StreamsServer>),
}

/// A thread that writes until it is told to end.
pub(super) struct Application {
    over: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, u64>>,
}

impl Source {
    /// The emulator's table, an application writing to it from now on.
    pub(super) fn emulator(seed: u64) -> Source {
        let server = DynamoServer::start();
        server.create_streamed(TABLE, "id:S");
        server.create(COPY, "id:S");
        let truth: BTreeMap<String, u64> = (0..KEYS).map(|at| (key(at), at + 1)).collect();
        server.load(TABLE, truth.iter().map(|(key, version)| dress(key, *version)));
        let over = Arc::new(AtomicBool::new(false));
        let server = Arc::new(server);
        let writer = Writer { server: Arc::clone(&server), rng: StdRng::seed_from_u64(seed), truth, version: KEYS };
        let thread = std::thread::spawn({
            let over = Arc::clone(&over);
            move || writer.write(&over)
        });
        Source::Emulator { server, application: Some(Application { over, thread }) }
    }

    /// The streams server, with a fault now and then.
    pub(super) fn lineages(seed: u64) -> Source {
        let plot = Plot { seed, keys: 160, before: 400, during: 2500, closes: 8, late: 2 };
        let faults = StreamFaults {
            seed,
            throttle: 0.01,
            fail: 0.003,
            lose: 0.003,
            damage: 0.003,
            empty: 0.05,
            life: 80,
            most: 25,
            acts: 5,
            start_is_no_place: false,
        };
        let mut world = World::new(plot);
        world.dress = dress;
        Source::Lineages(Box::new(StreamsServer::start(world, faults)))
    }

    pub(super) fn url(&self) -> String {
        match self {
            Source::Emulator { server, .. } => server.url(),
            Source::Lineages(server) => server.url(),
        }
    }

    /// A process died: what it was told counts no more.
    pub(super) fn forget_readers(&self) {
        if let Source::Lineages(server) = self {
            server.forget_readers();
        }
    }

    /// The application writes nothing more; the version of each key then. The streams server's story goes on for as long as
    /// somebody asks: none until it is told.
    pub(super) fn end(&mut self) -> Option<BTreeMap<String, u64>> {
        match self {
            Source::Lineages(server) => server.world(|world| world.is_settled().then(|| world.items.clone())),
            Source::Emulator { server, application } => {
                let application = application.take().expect("it is ended once");
                application.over.store(true, Ordering::SeqCst);
                let truth = application.thread.join().unwrap();
                let items = truth.iter().map(|(key, version)| canon::item(&dress(key, *version))).collect();
                assert_eq!(server.items(TABLE), canon::sorted_items(items), "the emulator holds what was written");
                Some(truth)
            }
        }
    }

    /// Records that a reader was given from the first on; not known of the emulator.
    pub(super) fn records(&self) -> Option<u64> {
        let Source::Lineages(server) = self else { return None };
        assert_eq!(server.violations(), Vec::<String>::new());
        let read = |world: &mut World| {
            world.shards.iter().filter(|shard| shard.read).map(|shard| shard.records.len() as u64).sum()
        };
        Some(server.world(read))
    }

    /// The items of the copy.
    pub(super) fn copied(&self) -> Vec<Value> {
        let Source::Emulator { server, .. } = self else { panic!("only the emulator holds two tables") };
        server.items(COPY)
    }
}

fn key(at: u64) -> String {
    format!("key-{at:03}")
}

/// The application.
struct Writer {
    server: Arc<DynamoServer>,
    rng: StdRng,
    truth: BTreeMap<String, u64>,
    version: u64,
}

impl Writer {
    /// Writes until it is over; the version of each key then.
    fn write(mut self, over: &AtomicBool) -> BTreeMap<String, u64> {
        while !over.load(Ordering::SeqCst) {
            let most = if self.rng.random_bool(0.5) { BUSY } else { KEYS };
            let key = key(self.rng.random_range(0..most));
            self.version += 1;
            match self.rng.random_range(0..10) {
                0..5 => self.put(&key),
                5..8 => self.update(&key),
                _ => self.delete(&key),
            }
            std::thread::sleep(Duration::from_micros(self.rng.random_range(0..4000)));
        }
        self.truth
    }

    fn put(&mut self, key: &str) {
        self.server.put(TABLE, &dress(key, self.version));
        self.truth.insert(key.to_owned(), self.version);
    }

    /// Sets every attribute: what is not there is made.
    fn update(&mut self, key: &str) {
        let mut item = dress(key, self.version);
        let id = item.as_object_mut().unwrap().remove("id").unwrap();
        let (mut sets, mut names, mut values) = (Vec::new(), json!({}), json!({}));
        for (name, value) in item.as_object().unwrap() {
            sets.push(format!("#{name} = :{name}"));
            (names[format!("#{name}")], values[format!(":{name}")]) = (json!(name), value.clone());
        }
        let request = json!({"TableName": TABLE, "Key": {"id": id}, "UpdateExpression": format!("SET {}", sets.join(", ")),
            "ExpressionAttributeNames": names, "ExpressionAttributeValues": values});
        self.server.database.update_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
        self.truth.insert(key.to_owned(), self.version);
    }

    fn delete(&mut self, key: &str) {
        self.server.delete(TABLE, &json!({"id": {"S": key}}));
        self.truth.remove(key);
    }
}
