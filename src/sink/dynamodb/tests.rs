//! The sink against a table that has bad days: items held back, requests whose outcome nobody knows, items it refuses.

use super::*;
use crate::driver::pool::Pool;
use crate::driver::target::Target;
use crate::limit::throttle::ThrottleReason;
use crate::mapping::{Mapping, parse_key};
use crate::model::decode::Decoder;
use crate::model::dialect::Dialect;
use crate::model::page::{Page, Span};
use crate::monitor::Monitors;
use crate::sink::sql::SqlSinkOptions;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A table in memory. Each request meets a fault with some probability, from a seed.
struct FakeTable {
    state: Mutex<FakeState>,
    faults: f64,
    /// Refused for its value.
    poison: Option<&'static str>,
}

struct FakeState {
    items: BTreeMap<String, Value>,
    rng: StdRng,
    /// Items held back, outcomes lost with and without effect, throttles.
    injected: [u32; 4],
}

fn key(item: &Value) -> String {
    item["pk"]["S"].as_str().unwrap().to_owned()
}

fn refusal(kind: RefusalKind) -> Refusal {
    Refusal { kind, message: "as told".into(), code: "test".into() }
}

impl FakeTable {
    fn new(faults: f64, items: impl IntoIterator<Item = Value>) -> Arc<Self> {
        let items = items.into_iter().map(|item| (key(&item), item)).collect();
        let state = FakeState { items, rng: StdRng::seed_from_u64(7), injected: [0; 4] };
        Arc::new(FakeTable { state: Mutex::new(state), faults, poison: None })
    }

    fn items(&self) -> BTreeMap<String, Value> {
        self.state.lock().unwrap().items.clone()
    }

    fn put_once(&self, item: &[u8], absent: bool) -> Result<Charged, Refusal> {
        let item: Value = serde_json::from_slice(item).unwrap();
        let mut state = self.state.lock().unwrap();
        let fault = if state.rng.random_bool(self.faults) { state.rng.random_range(1..4_usize) } else { 0 };
        state.injected[fault] += u32::from(fault > 0);
        match fault {
            1 => return Err(refusal(RefusalKind::Unknown)),
            3 => return Err(refusal(RefusalKind::Throttled(vec![ThrottleReason::unstated(true)]))),
            _ => {}
        }
        if self.poison.is_some_and(|poison| key(&item) == poison) {
            return Err(refusal(RefusalKind::Value));
        }
        if absent && state.items.contains_key(&key(&item)) {
            return Err(refusal(RefusalKind::ConditionFailed));
        }
        state.items.insert(key(&item), item);
        if fault == 2 { Err(refusal(RefusalKind::Unknown)) } else { Ok(Charged { units: 1.0, indexes: Vec::new() }) }
    }

    fn batch_once(&self, writes: &[Write<'_>]) -> Result<Batched, Refusal> {
        let object = |write: &Write<'_>| match write {
            Write::Put(object) | Write::Delete(object) => serde_json::from_slice::<Value>(object).unwrap(),
        };
        let keys: std::collections::BTreeSet<String> = writes.iter().map(|write| key(&object(write))).collect();
        assert_eq!(keys.len(), writes.len(), "equal keys in one call");
        assert!(writes.len() <= 25);
        let is_poison = |write: &Write<'_>| Some(key(&object(write)).as_str()) == self.poison;
        if writes.iter().any(|write| matches!(write, Write::Put(_)) && is_poison(write)) {
            return Err(refusal(RefusalKind::Value));
        }
        let mut unprocessed = Vec::new();
        for (place, write) in writes.iter().enumerate() {
            let held = {
                let mut state = self.state.lock().unwrap();
                let held = state.rng.random_bool(self.faults);
                state.injected[0] += u32::from(held);
                held
            };
            if held {
                unprocessed.push(place);
                continue;
            }
            let mut state = self.state.lock().unwrap();
            match write {
                Write::Put(_) => state.items.insert(key(&object(write)), object(write)),
                Write::Delete(_) => state.items.remove(&key(&object(write))),
            };
        }
        let mut state = self.state.lock().unwrap();
        if state.rng.random_bool(self.faults) {
            state.injected[1] += 1;
            return Err(refusal(RefusalKind::Unknown));
        }
        let served = u32::try_from(writes.len() - unprocessed.len()).unwrap();
        Ok(Batched { unprocessed, charged: Charged { units: f64::from(served), indexes: Vec::new() } })
    }
}

impl Requests for FakeTable {
    fn put<'a>(&'a self, item: &'a [u8], absent: Option<&'a str>) -> BoxFuture<'a, Result<Charged, Refusal>> {
        Box::pin(async move { self.put_once(item, absent == Some("pk")) })
    }

    fn batch_write<'a>(&'a self, writes: &'a [Write<'a>]) -> BoxFuture<'a, Result<Batched, Refusal>> {
        Box::pin(async move { self.batch_once(writes) })
    }

    fn get<'a>(&'a self, wanted: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Refusal>> {
        let wanted = key(&serde_json::from_slice(wanted).unwrap());
        let found = self.items().remove(&wanted).map(|item| item.to_string().into_bytes());
        Box::pin(async move { Ok(found) })
    }
}

fn item(number: usize, note: &str) -> Value {
    serde_json::json!({"pk": {"S": format!("k{number}")}, "n": {"N": number.to_string()}, "note": {"S": note}})
}

/// Settles a page of `count` items in `table`; says what became of them.
async fn settle(
    table: &Arc<FakeTable>,
    count: usize,
    on_conflict: OnConflict,
    guarded: bool,
) -> Result<Settled, Error> {
    let mapping = Mapping::items(&parse_key("pk:S").unwrap(), "t").unwrap();
    let lines: String = (0..count).map(|number| format!("{{\"Item\":{}}}\n", item(number, "ours"))).collect();
    let span = Span { unit: 3, from: 0, to: count as u64 };
    let page = Page { span, bytes: lines.into_bytes(), reached: None, half_units: 0 };
    let batch = batch(page, &mapping);
    sink(table, &mapping, on_conflict, guarded).settle(&batch).await
}

fn sink(table: &Arc<FakeTable>, mapping: &Mapping, on_conflict: OnConflict, guarded: bool) -> DynamoDbSink {
    let pool = Arc::new(Pool::new(Target::Sqlite(":memory:".into()), 1));
    let journal = SqlSinkOptions {
        run: "r".into(),
        on_conflict,
        changes: false,
        guarded: Vec::new(),
        write_rows: false,
        writers: 1,
        loading: None,
    };
    let monitor: Arc<dyn Monitor> = Arc::new(Monitors::default());
    let journal = SqlSink::new(pool, mapping.tables(), Dialect::Sqlite, usize::MAX, journal, Arc::clone(&monitor));
    let options = DynamoDbSinkOptions {
        again: false,
        key: vec!["pk".into()],
        table: "t".into(),
        on_conflict,
        guarded,
        source_stands_still: true,
        requests: 8,
        seed: 1,
    };
    let requests = Arc::clone(table) as Arc<dyn Requests>;
    DynamoDbSink::new(requests, Arc::new(Pace::unlimited()), journal, options, monitor)
}

/// Applies a page of changes, of which every fourth is a delete and the others put an item; says what became of them.
async fn change(table: &Arc<FakeTable>, count: usize) -> Settled {
    use crate::model::batch::{Changes, TableRows};
    use crate::model::rows::Rows;
    let mapping = Mapping::items(&parse_key("pk:S").unwrap(), "t").unwrap();
    let line = |number: usize| match number % 4 {
        0 => format!("{{\"Keys\":{{\"pk\":{{\"S\":\"k{number}\"}}}}}}\n"),
        _ => format!("{{\"Item\":{}}}\n", item(number, "ours")),
    };
    let bytes = (0..count).map(line).collect::<String>().into_bytes();
    let span = Span { unit: 3, from: 0, to: count as u64 };
    let page = Page { span, bytes, reached: None, half_units: 0 };
    let (mut rows, mut gone) = ([Rows::new(2)], [Rows::new(2)]);
    let mut keys = mapping.key_mapper().unwrap();
    for (position, line) in page.lines() {
        let mut decoder = Decoder::default();
        if decoder.decode_change(line, |change| keys.map(change.keys, position, None, &mut gone)).is_err() {
            decoder.decode(line, |item| mapping.mapper().map(item, line, position, &mut rows)).unwrap();
        }
    }
    let all = |rows: Rows| TableRows { order: (0..u32::try_from(rows.len()).unwrap()).collect(), rows, key: vec![0] };
    let ([rows], [gone]) = (rows, gone);
    let changes = Changes { removed: gone.len() as u64, superseded: 0, removals: vec![all(gone)] };
    let batch = Batch {
        page,
        tables: vec![all(rows)],
        rejects: Vec::new(),
        skipped: 0,
        feed: crate::model::batch::Feed::Page,
        changes: Some(changes),
    };
    sink(table, &mapping, OnConflict::Replace, false).settle(&batch).await.unwrap()
}

fn batch(page: Page, mapping: &Mapping) -> Batch {
    use crate::model::batch::{Feed, TableRows};
    use crate::model::rows::Rows;
    let mut rows = [Rows::new(2)];
    for (position, line) in page.lines() {
        let mut mapper = mapping.mapper();
        Decoder::default().decode(line, |item| mapper.map(item, line, position, &mut rows)).unwrap();
    }
    let [rows] = rows;
    let order = (0..u32::try_from(rows.len()).unwrap()).collect();
    Batch {
        page,
        tables: vec![TableRows { rows, order, key: vec![0] }],
        rejects: Vec::new(),
        skipped: 0,
        feed: Feed::Page,
        changes: None,
    }
}

fn outcomes(settled: &Settled) -> (u64, u64, u64) {
    assert!(settled.counts.add_up());
    let outcomes = settled.counts.outcomes();
    (outcomes.written, outcomes.present, outcomes.rejected)
}

fn ours(numbers: std::ops::Range<usize>) -> BTreeMap<String, Value> {
    numbers.map(|number| (key(&item(number, "ours")), item(number, "ours"))).collect()
}

#[tokio::test]
async fn items_held_back_are_sent_until_none_is() {
    let table = FakeTable::new(0.4, []);
    let settled = settle(&table, 200, OnConflict::Replace, false).await.unwrap();
    assert_eq!(outcomes(&settled), (200, 0, 0));
    assert_eq!(table.items(), ours(0..200));
    let injected = table.state.lock().unwrap().injected;
    assert!(injected[0] > 0 && injected[1] > 0, "{injected:?}");
}

#[tokio::test]
async fn keep_counts_exactly_though_outcomes_are_unknown() {
    for guarded in [false, true] {
        let there = if guarded { 0 } else { 40 };
        let table = FakeTable::new(0.3, (0..there).map(|number| item(number, "live")));
        let settled = settle(&table, 80, OnConflict::Keep, guarded).await.unwrap();
        assert_eq!(outcomes(&settled), (80 - there as u64, there as u64, 0));
        let mut expected = ours(there..80);
        expected.extend((0..there).map(|number| (key(&item(number, "live")), item(number, "live"))));
        assert_eq!(table.items(), expected);
        let injected = table.state.lock().unwrap().injected;
        assert!(injected[1..].iter().all(|times| *times > 0), "{injected:?}");
    }
}

#[tokio::test]
async fn one_item_that_is_refused_is_rejected_alone() {
    for on_conflict in [OnConflict::Replace, OnConflict::Keep] {
        let mut table = FakeTable::new(0.0, []);
        Arc::get_mut(&mut table).unwrap().poison = Some("k17");
        let settled = settle(&table, 60, on_conflict, false).await.unwrap();
        assert_eq!(outcomes(&settled), (59, 0, 1));
        assert_eq!(settled.rejects[0].position, 17);
        assert_eq!(table.items().len(), 59);
    }
}

/// A dead process's item is its own; another item under the key, where nobody else writes, means a wrong key.
#[tokio::test]
async fn in_a_guarded_table_an_equal_item_is_ours_and_another_stops_the_run() {
    let table = FakeTable::new(0.0, (0..10).map(|number| item(number, "ours")));
    let settled = settle(&table, 20, OnConflict::Keep, true).await.unwrap();
    assert_eq!(outcomes(&settled), (20, 0, 0));
    let table = FakeTable::new(0.0, [item(4, "another")]);
    let error = settle(&table, 20, OnConflict::Keep, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("item 4 of unit 3") && !error.to_string().contains("another\""));
    assert_eq!(table.items()["k4"], item(4, "another"));
}

/// An item that the table refuses is older there than anywhere: it goes.
#[tokio::test]
async fn changes_put_and_delete_whatever_is_held_back_and_a_refused_item_goes() {
    let mut table = FakeTable::new(0.3, (0..150).map(|number| item(number, "old")));
    Arc::get_mut(&mut table).unwrap().poison = Some("k17");
    let settled = change(&table, 100).await;
    assert_eq!((outcomes(&settled), settled.counts.removed), ((74, 0, 1), 25));
    let mut expected = ours(0..100);
    let is_put = |key: &str| key.trim_start_matches('k').parse::<usize>().unwrap() % 4 != 0;
    expected.retain(|key, _| key != "k17" && is_put(key));
    expected.extend((100..150).map(|number| (key(&item(number, "old")), item(number, "old"))));
    assert_eq!(table.items(), expected);
    let injected = table.state.lock().unwrap().injected;
    assert!(injected[0] > 0 && injected[1] > 0, "{injected:?}");
}
