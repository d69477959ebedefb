//! A source in memory that an application writes to at chosen moments of a read, the target of a test, and a docket of
//! candidates: logical time in place of clocks, so that a test meets the same interleavings on every machine.

use crate::support::transvase::{Target, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use transvase::checkpoint::differences::{Difference, DifferenceId, Judgement};
use transvase::driver::pool::Pool;
use transvase::driver::session::{BoxFuture, Session};
use transvase::driver::target::{Target as LibraryTarget, Tls};
use transvase::error::{Error, Result};
use transvase::mapping::{Mapping, parse_key};
use transvase::model::counts::{Counts, KeyCell};
use transvase::model::difference::{Candidate, Kind, Verdict};
use transvase::model::page::{UnitId, Wanted};
use transvase::monitor::Monitors;
use transvase::report::SourceUsage;
use transvase::sink::inspect::{Create, inspect};
use transvase::source::lookup::{Looked, Lookup, Turn};
use transvase::source::{Description, Source, UnitReader};
use transvase::verify::case::Patience;
use transvase::verify::ends::{Pair, TargetEnd};
use transvase::verify::settle::{Accounted, Docket, Settled, Settler};

/// When, in the reading of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    Before,
    After,
}

/// What an application does when a key is read for the `read`th time.
pub(super) trait Script: Send + Sync {
    fn at<'a>(&'a self, key: &'a str, read: u32, moment: Moment) -> BoxFuture<'a, ()>;
}

/// Items by key.
pub(super) trait Store: Send + Sync {
    fn read(&self, keys: &[String]) -> BoxFuture<'_, Vec<Looked>>;
}

/// Items in memory: a number for each key.
#[derive(Default)]
pub(super) struct Memory(pub(super) Mutex<BTreeMap<String, u64>>);

impl Memory {
    pub(super) fn set(&self, key: &str, value: Option<u64>) {
        let mut items = self.0.lock().unwrap();
        match value {
            Some(value) => drop(items.insert(key.to_owned(), value)),
            None => drop(items.remove(key)),
        }
    }
}

impl Store for Memory {
    fn read(&self, keys: &[String]) -> BoxFuture<'_, Vec<Looked>> {
        let items = self.0.lock().unwrap();
        let look = |key: &String| {
            items.get(key).map_or(Looked::Absent, |value| Looked::Item(item(key, *value).to_string().into_bytes()))
        };
        let looked = keys.iter().map(look).collect();
        Box::pin(async move { looked })
    }
}

/// The item of a key with a value.
pub(super) fn item(key: &str, value: u64) -> Value {
    json!({"pk": {"S": key}, "v": {"N": value.to_string()}})
}

/// A live source whose reads an application knows of.
pub(super) struct Watched {
    pub(super) store: Arc<dyn Store>,
    pub(super) script: Arc<dyn Script>,
    reads: Arc<Mutex<BTreeMap<String, u32>>>,
    description: Description,
}

impl Watched {
    pub(super) fn new(store: Arc<dyn Store>, script: Arc<dyn Script>) -> Watched {
        let description = Description {
            table: "t".into(),
            identity: "t".into(),
            units: Vec::new(),
            items: 0,
            bytes: None,
            exact: false,
            derived: None,
            changes: false,
        };
        Watched { store, script, reads: Arc::default(), description }
    }
}

impl Source for Watched {
    fn description(&self) -> &Description {
        &self.description
    }

    fn adopt(&mut self, _: &str, _: &Counts) -> Result<()> {
        Ok(())
    }

    fn open(&self, _: UnitId, _: &Wanted) -> Result<Box<dyn UnitReader>> {
        Err(Error::internal("it is looked up only"))
    }

    fn lookup(&self) -> Option<Arc<dyn Lookup>> {
        let (store, script, reads) = (Arc::clone(&self.store), Arc::clone(&self.script), Arc::clone(&self.reads));
        Some(Arc::new(WatchedLookup { store, script, reads }))
    }

    fn usage(&self) -> SourceUsage {
        SourceUsage::default()
    }

    fn limited_by(&self) -> Option<String> {
        None
    }
}

struct WatchedLookup {
    store: Arc<dyn Store>,
    script: Arc<dyn Script>,
    reads: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Lookup for WatchedLookup {
    fn turn(&self, _: usize) -> BoxFuture<'_, Result<Turn<'_>>> {
        Box::pin(async { Ok(Turn::default()) })
    }

    fn read<'a>(&'a self, _: Turn<'a>, keys: &'a [&'a [u8]]) -> BoxFuture<'a, Result<Vec<Looked>>> {
        Box::pin(async move {
            let keys: Vec<String> = keys
                .iter()
                .map(|key| serde_json::from_slice::<Value>(key).unwrap()["pk"]["S"].as_str().unwrap().to_owned())
                .collect();
            let count = |key: &String| {
                let mut reads = self.reads.lock().unwrap();
                let read = reads.entry(key.clone()).or_default();
                *read += 1;
                *read
            };
            let counts: Vec<u32> = keys.iter().map(count).collect();
            for (key, read) in keys.iter().zip(&counts) {
                self.script.at(key, *read, Moment::Before).await;
            }
            let looked = self.store.read(&keys).await;
            for (key, read) in keys.iter().zip(&counts) {
                self.script.at(key, *read, Moment::After).await;
            }
            Ok(looked)
        })
    }
}

/// Candidates in memory.
#[derive(Default)]
pub(super) struct Papers(pub(super) Mutex<Vec<Difference>>);

impl Papers {
    pub(super) fn of(candidates: impl IntoIterator<Item = (String, Kind)>) -> Papers {
        let difference = |(key, kind): (String, Kind)| {
            let candidate = Candidate { table: 0, key: vec![KeyCell::Bytes(key.into_bytes())], kind, origin: None };
            Difference { id: DifferenceId::of(&candidate).unwrap(), candidate, verdict: Verdict::Open, detail: None }
        };
        Papers(Mutex::new(candidates.into_iter().map(difference).collect()))
    }

    /// By key: how it differed, and what became of it.
    pub(super) fn verdicts(&self) -> BTreeMap<String, (Kind, Verdict)> {
        let key = |difference: &Difference| match difference.candidate.key.as_slice() {
            [KeyCell::Bytes(bytes)] => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        let papers = self.0.lock().unwrap();
        papers.iter().map(|paper| (key(paper), (paper.candidate.kind, paper.verdict))).collect()
    }
}

impl Docket for Papers {
    fn open(&self, most: usize) -> BoxFuture<'_, Result<Vec<Difference>>> {
        let papers = self.0.lock().unwrap();
        let open = papers.iter().filter(|paper| paper.verdict == Verdict::Open).take(most).cloned().collect();
        Box::pin(async move { Ok(open) })
    }

    fn judge<'a>(&'a self, judgements: &'a [Judgement]) -> BoxFuture<'a, Result<()>> {
        let mut papers = self.0.lock().unwrap();
        for judgement in judgements {
            let paper = papers.iter_mut().find(|paper| paper.id == judgement.id).unwrap();
            paper.candidate.kind = judgement.kind;
            paper.verdict = judgement.verdict;
            paper.detail = judgement.detail.clone();
        }
        Box::pin(async { Ok(()) })
    }

    fn reopen(&self) -> BoxFuture<'_, Result<()>> {
        for paper in self.0.lock().unwrap().iter_mut() {
            if matches!(paper.verdict, Verdict::Confirmed | Verdict::Unsettled) {
                paper.verdict = Verdict::Open;
            }
        }
        Box::pin(async { Ok(()) })
    }
}

/// Three looks, short pauses: time is what the script says, not what a clock does.
pub(super) fn patience(rounds: u32) -> Patience {
    Patience { pauses: [2, 4, 20].map(Duration::from_millis).to_vec(), rounds }
}

/// The mapping of table `t`.
pub(super) fn mapping() -> Arc<Mapping> {
    Arc::new(Mapping::document(&parse_key("pk:S").unwrap(), "t", &[]).unwrap())
}

/// The target as the library takes it.
pub(super) fn library_target(target: &Target) -> LibraryTarget {
    match target {
        Target::Sqlite(path) => LibraryTarget::Sqlite(path.clone()),
        Target::Server(database) => {
            let tls = Tls::Auto { ca: Some(database.ca_file.clone()) };
            let mut target = LibraryTarget::parse(&database.url(), tls).unwrap();
            if let LibraryTarget::MySql(mysql) = &mut target {
                mysql.password = Some(database.password().to_owned());
            }
            target
        }
    }
}

/// Source and target as settling takes them; the mapping's tables are made.
pub(super) async fn pair(source: Arc<dyn Source>, mapping: Arc<Mapping>, target: &Target) -> Pair {
    let target = library_target(target);
    let mut session = Session::open(&target).await.unwrap();
    inspect(&mut session, mapping.tables(), Create::Tables).await.unwrap();
    let dialect = session.dialect();
    drop(session);
    let target = TargetEnd::Sql(Arc::new(Pool::new(target, 4)), dialect);
    Pair { source, mapping, target, live_target: true }
}

/// Settles what is open; mends it, if `mend` says whether extras may be deleted.
pub(super) async fn settle(pair: &Pair, docket: &dyn Docket, patience: Patience, mend: Option<bool>) {
    let sides = pair.sides().unwrap();
    let mender = mend.map(|deletes| pair.mender(deletes, None).unwrap());
    let settler = Settler {
        docket,
        sides: &*sides,
        mender: mender.as_deref(),
        patience,
        accounted: Accounted::new(),
        tables: pair.mapping.tables(),
        is_items: !pair.mapping.target_key().is_empty(),
        show_values: false,
        monitor: &Monitors::default(),
    };
    let ended = settler.run(&CancellationToken::new()).await.unwrap();
    assert_eq!(ended, Settled::All);
}

/// The application's write to the target: a value, or a delete.
pub(super) async fn write_target(target: &Target, key: &str, value: Option<u64>) {
    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    let statement = match value {
        Some(value) => format!("REPLACE INTO t (pk, item) VALUES (x'{hex}', '{}')", item(key, value)),
        None => format!("DELETE FROM t WHERE pk = x'{hex}'"),
    };
    target.execute(&statement).await;
}

/// What the target holds.
pub(super) async fn target_items(target: &Target) -> BTreeMap<String, u64> {
    let rows = target.rows("SELECT item FROM t").await;
    let parsed = rows.iter().map(|row| serde_json::from_str::<Value>(text(&row[0])).unwrap());
    let pair = |item: Value| {
        let value = item["v"]["N"].as_str().unwrap().parse().unwrap();
        (item["pk"]["S"].as_str().unwrap().to_owned(), value)
    };
    parsed.map(pair).collect()
}
