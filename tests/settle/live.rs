//! An application that writes while candidates are looked at: dual writes in both orders, and deletes. None of its writes
//! is taken for a difference, every planted one is found, and mending undoes none of them.
//!
//! The source is a real table, read by the real lookup. Time is logical: the halves of a dual write are at most two looks
//! apart, and three in a row confirm a difference.

use super::world::{
    Moment, Papers, Script, Store, Watched, item, mapping, pair, patience, settle, target_items, write_target,
};
use crate::generator::rng::Rng;
use crate::scan::start;
use crate::support::dynamo::{DynamoServer, config_of};
use crate::support::transvase::{Target, soak, targets};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use transvase::driver::dynamodb::{DynamoDb, Patience};
use transvase::driver::session::BoxFuture;
use transvase::limit::price;
use transvase::mapping::{Mapping, parse_key};
use transvase::model::difference::{Kind, Verdict};
use transvase::sink::dynamodb::conditional::Conditional;
use transvase::sink::dynamodb::pace::Pace;
use transvase::source::Source;
use transvase::source::dynamodb_scan::{DynamoDbScan, ScanOptions};
use transvase::source::lookup::{Looked, Lookup};
use transvase::verify::ends::{ItemsEnd, Pair, TargetEnd};

pub(super) const TABLE: &str = "items";

/// Keys that the application writes to, and keys that it does not: some of these differ.
const BUSY: u64 = 30;
const PLANTED: u64 = 18;

/// The table at a URL, as the engine reads it.
pub(super) async fn scan_of(url: &str, max_cost: Option<f64>) -> DynamoDbScan {
    let driver = DynamoDb::with_config(&config_of(url), Patience::default());
    let description = driver.describe(TABLE).await.unwrap();
    let options = ScanOptions {
        segments: Some(2),
        consistent: false,
        budget: "unlimited".parse().unwrap(),
        prices: price::DEFAULT,
        max_cost,
    };
    DynamoDbScan::new(driver, tokio::runtime::Handle::current(), &description, options).unwrap().0
}

/// A table, and the way in which the engine reads it.
struct Table {
    server: DynamoServer,
    lookup: Arc<dyn Lookup>,
}

impl Table {
    async fn start() -> Table {
        let server = start();
        server.create(TABLE, "pk:S");
        let lookup = scan_of(&server.url(), None).await.lookup().unwrap();
        Table { server, lookup }
    }

    fn write(&self, key: &str, value: Option<u64>) {
        let database = &self.server.database;
        match value {
            Some(value) => {
                let request = json!({"TableName": TABLE, "Item": item(key, value)});
                database.put_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
            }
            None => {
                let request = json!({"TableName": TABLE, "Key": {"pk": {"S": key}}});
                database.delete_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
            }
        }
    }

    fn items(&self) -> BTreeMap<String, u64> {
        let pair = |item: Value| {
            // canonical: digits, e, and the power of ten
            let (digits, power) = item["v"]["N"].as_str().unwrap().split_once('e').unwrap_or(("0", "0"));
            let value = digits.parse::<u64>().unwrap() * 10_u64.pow(power.parse().unwrap());
            (item["pk"]["S"].as_str().unwrap().to_owned(), value)
        };
        self.server.items(TABLE).into_iter().map(pair).collect()
    }
}

impl Store for Table {
    fn read(&self, keys: &[String]) -> BoxFuture<'_, Vec<Looked>> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| json!({"pk": {"S": key}}).to_string().into_bytes()).collect();
        Box::pin(async move {
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let turn = self.lookup.turn(keys.len()).await.unwrap();
            self.lookup.read(turn, &keys).await.unwrap()
        })
    }
}

/// What the source was copied to.
enum Copy {
    Sql(Target),
    Items(Arc<Table>),
}

impl Copy {
    async fn write(&self, key: &str, value: Option<u64>) {
        match self {
            Copy::Sql(target) => write_target(target, key, value).await,
            Copy::Items(table) => table.write(key, value),
        }
    }

    async fn items(&self) -> BTreeMap<String, u64> {
        match self {
            Copy::Sql(target) => target_items(target).await,
            Copy::Items(table) => table.items(),
        }
    }

    async fn clear(&self) {
        for key in self.items().await.keys() {
            self.write(key, None).await;
        }
    }

    async fn pair(&self, source: Watched) -> Pair {
        let source = Arc::new(source);
        match self {
            Copy::Sql(target) => pair(source, mapping(), target).await,
            Copy::Items(table) => {
                let mapping = Arc::new(Mapping::items(&parse_key("pk:S").unwrap(), TABLE).unwrap());
                let db = DynamoDb::with_config(&config_of(&table.server.url()), Patience::default());
                let writes = Conditional::new(db, TABLE, vec!["pk".into()], Arc::new(Pace::unlimited()));
                let (lookup, writes) = (Arc::clone(&table.lookup), Arc::new(writes));
                let target = TargetEnd::Items(ItemsEnd { lookup, mapping: Arc::clone(&mapping), writes });
                Pair { source, mapping, target, live_target: true }
            }
        }
    }
}

impl std::fmt::Display for Copy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Copy::Sql(target) => target.fmt(out),
            Copy::Items(_) => out.write_str("DynamoDB"),
        }
    }
}

/// A dual write whose second half is to come.
#[derive(Clone, Copy)]
struct Half {
    value: Option<u64>,
    /// Of which side.
    of_source: bool,
    /// When the first half was done: it is finished by the end of the next read at the latest.
    since: u32,
}

struct State {
    rng: Rng,
    half: BTreeMap<String, Half>,
    /// Writes that each key is still to see.
    left: BTreeMap<String, u64>,
    next: u64,
}

struct Application {
    table: Arc<Table>,
    target: Arc<Copy>,
    state: Mutex<State>,
}

impl Application {
    async fn write(&self, key: &str, value: Option<u64>, of_source: bool) {
        match of_source {
            true => self.table.write(key, value),
            false => self.target.write(key, value).await,
        }
    }

    /// What is to be done now, if anything: which half, and whether it is the second.
    fn decide(&self, key: &str, read: u32, moment: Moment) -> Option<(Option<u64>, bool)> {
        let mut state = self.state.lock().unwrap();
        if let Some(half) = state.half.get(key).copied() {
            let is_due = read > half.since && moment == Moment::After;
            if is_due || state.rng.below(2) == 0 {
                state.half.remove(key);
                return Some((half.value, half.of_source));
            }
            return None;
        }
        let left = state.left.get(key).copied().unwrap_or(0);
        if left == 0 || state.rng.below(2) == 0 {
            return None;
        }
        state.left.insert(key.to_owned(), left - 1);
        state.next += 1;
        let value = if state.rng.below(4) == 0 { None } else { Some(state.next) };
        if value.is_none() {
            // A key that comes back to a former state at every look cannot be told from one that rests.
            state.left.insert(key.to_owned(), 0);
        }
        let of_source = state.rng.below(2) == 0;
        state.half.insert(key.to_owned(), Half { value, of_source: !of_source, since: read });
        Some((value, of_source))
    }

    /// Finishes what is half done.
    async fn rest(&self) {
        let halves: Vec<(String, Half)> = std::mem::take(&mut self.state.lock().unwrap().half).into_iter().collect();
        for (key, half) in halves {
            self.write(&key, half.value, half.of_source).await;
        }
    }
}

impl Script for Application {
    fn at<'a>(&'a self, key: &'a str, read: u32, moment: Moment) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some((value, of_source)) = self.decide(key, read, moment) {
                self.write(key, value, of_source).await;
            }
        })
    }
}

/// One seeded run: candidates of both sorts, settled while the application writes.
async fn run(table: &Arc<Table>, target: &Arc<Copy>, seed: u64, mend: Option<bool>) {
    let what = format!("{target}, seed {seed}, mend {mend:?}");
    let mut rng = Rng::new(seed, 17);
    for key in table.items().keys() {
        table.write(key, None);
    }
    let mut left = BTreeMap::new();
    let application = |rng, left| Application {
        table: Arc::clone(table),
        target: Arc::clone(target),
        state: Mutex::new(State { rng, half: BTreeMap::new(), left, next: 1000 }),
    };
    let mut candidates = Vec::new();
    let kinds = [Kind::Missing, Kind::Extra, Kind::Different];
    let mut planted = BTreeMap::new();
    target.clear().await;
    for number in 0..BUSY {
        let key = format!("busy-{number}");
        table.write(&key, Some(number));
        target.write(&key, Some(number)).await;
        left.insert(key.clone(), rng.below(9));
        candidates.push((key, kinds[usize::try_from(rng.below(3)).unwrap()]));
    }
    for number in 0..PLANTED {
        let (key, kind) = (format!("planted-{number}"), kinds[usize::try_from(number % 3).unwrap()]);
        if kind != Kind::Extra {
            table.write(&key, Some(number));
        }
        if kind != Kind::Missing {
            target.write(&key, Some(number + 500)).await;
        }
        planted.insert(key.clone(), kind);
        candidates.push((key, kind));
    }
    let application = Arc::new(application(rng, left));
    let watched = Watched::new(Arc::clone(table) as _, Arc::clone(&application) as _);
    let pair = target.pair(watched).await;
    let papers = Papers::of(candidates);
    settle(&pair, &papers, patience(8), mend).await;
    application.rest().await;
    for (key, (kind, verdict)) in papers.verdicts() {
        match planted.get(&key) {
            None => {
                assert!(matches!(verdict, Verdict::Settled | Verdict::Unsettled), "{what}: {key} {kind:?} {verdict:?}")
            }
            Some(was) => {
                assert_eq!(kind, *was, "{what}: {key}");
                let mended = mend.is_some_and(|extras| extras || kind != Kind::Extra);
                let wanted = if mended { Verdict::Repaired } else { Verdict::Confirmed };
                assert_eq!(verdict, wanted, "{what}: {key}");
            }
        }
    }
    let (source, held) = (table.items(), target.items().await);
    let differs = |key: &String| source.get(key) != held.get(key);
    let remain = |kind: &Kind| !mend.is_some_and(|extras| extras || *kind != Kind::Extra);
    for key in source.keys().chain(held.keys()).filter(|key| differs(key)) {
        assert!(planted.get(key).is_some_and(remain), "{what}: {key} differs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_an_application_are_no_differences_and_planted_ones_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let table = Arc::new(Table::start().await);
    let seeds = if soak() { 60 } else { 4 };
    let copies = targets(folder.path()).await.into_iter().map(Copy::Sql);
    for target in copies.chain([Copy::Items(Arc::new(Table::start().await))]).map(Arc::new) {
        // its tables are made
        target.pair(Watched::new(Arc::clone(&table) as _, Arc::new(Nobody))).await;
        for seed in 0..seeds {
            let mend = [None, Some(true), Some(false)][usize::try_from(seed % 3).unwrap()];
            run(&table, &target, seed, mend).await;
        }
        println!("settled {seeds} seeded runs with an application that writes: {target}");
    }
}

/// An application that does nothing.
struct Nobody;

impl Script for Nobody {
    fn at<'a>(&'a self, _: &'a str, _: u32, _: Moment) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
