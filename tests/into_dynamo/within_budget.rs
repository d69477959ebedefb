//! A copy within its write budget, where a model of capacity charges every put: also one that its condition refuses, of
//! which DynamoDB charges the units and reports none.
//!
//! The model is asked as requests reach the proxy. A busy machine makes them come later, never earlier, so the bounds hold
//! however slow it is.

use super::assert_counts;
use crate::scan::start;
use crate::simulation::capacity::{Direction, Mode, Table, Touch};
use crate::support::canon;
use crate::support::dynamo::AWS_ENVIRONMENT;
use crate::support::dynamo_proxy::{Admit, Demand, DynamoProxy, Faults, Reason};
use crate::support::engine::{Engine, Running};
use crate::support::transvase::soak;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Units a second.
const BUDGET: f64 = 400.0;
/// Of the budget, what may be charged in any time, but for a second's worth that the model saves.
const MOST: f64 = 1.1;
/// The largest item, in units.
const LARGEST: f64 = 3.0;

/// What the model charged, and how often it had to refuse.
#[derive(Default)]
struct Writes {
    charged: Vec<(Duration, f64)>,
    refused: u64,
}

/// A table that gives [`MOST`] of the budget and saves no more than a second of it.
fn model() -> Table {
    let read = Mode::OnDemand { warm: 12_000.0, max: None };
    Table::new("target", 1.0, read, Mode::OnDemand { warm: 4000.0, max: Some(BUDGET * MOST) })
}

/// Has the model decide, and keeps what it charged.
fn admit(writes: Arc<Mutex<Writes>>) -> Admit {
    let mut table = model();
    Box::new(move |now, demand: &Demand| {
        let direction = if demand.write { Direction::Write } else { Direction::Read };
        let touch = Touch { direction, position: demand.place, units: demand.units, indexes: Vec::new() };
        let admitted = table.ask(&touch, now);
        let mut writes = writes.lock().unwrap();
        match &admitted {
            Ok(()) if demand.write => writes.charged.push((now, demand.units)),
            Err(_) if demand.write => writes.refused += 1,
            _ => {}
        }
        let told =
            |reason: crate::simulation::capacity::Reason| Reason { reason: reason.reason, resource: reason.resource };
        admitted.map_err(|reasons| reasons.into_iter().map(told).collect())
    })
}

/// Items of one to three units.
fn items(range: Range<u64>, note: &str) -> Vec<Value> {
    let item = |id: u64| {
        let text = "x".repeat(900 + usize::try_from(id % 3).unwrap() * 1000);
        json!({"id": {"S": format!("id-{id}")}, "note": {"S": note}, "text": {"S": text}})
    };
    range.map(item).collect()
}

/// `transvase backfill` from one table into the other at `url`, with so many units a second.
fn copy(url: &str, folder: &Path, units: f64) -> Engine {
    let state = format!("sqlite:{}", folder.join("state.db").display());
    let engine = Engine::new(&["backfill", "--from", "dynamodb://source", "--to", "dynamodb://target"])
        .args(&["--endpoint-url", url, "--state", &state, "--segments", "5", "--read-capacity", "unlimited"])
        .args(&["--write-capacity", &units.to_string()])
        .report();
    AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value))
}

/// The busiest ten seconds, in units.
fn busiest(charged: &[(Duration, f64)]) -> f64 {
    let from = |at: Duration| {
        let within = charged.iter().filter(|(other, _)| *other >= at && *other < at + Duration::from_secs(10));
        within.map(|(_, units)| units).sum::<f64>()
    };
    charged.iter().map(|(at, _)| from(*at)).fold(0.0, f64::max)
}

#[test]
fn a_copy_beside_items_that_are_there_stays_within_its_budget_though_nobody_reports_what_they_cost() {
    let count: u64 = if soak() { 9000 } else { 900 };
    let server = start();
    for table in ["source", "target"] {
        server.create(table, "id:S");
    }
    server.load("source", items(0..count, "copied"));
    server.load("target", items(count / 2..count, "live"));
    let proxy = DynamoProxy::start(server.address, Faults::default());
    let writes = Arc::new(Mutex::new(Writes::default()));
    proxy.admit_by("id", admit(Arc::clone(&writes)));
    let folder = tempfile::tempdir().unwrap();
    let outcome = copy(&proxy.url(), folder.path(), BUDGET).run().expect(0);
    assert_counts(&outcome, [count, count / 2, count - count / 2, 0]);
    let expected = items(0..count / 2, "copied").into_iter().chain(items(count / 2..count, "live"));
    assert!(server.items("target") == canon::sorted_items(expected.map(|item| canon::item(&item)).collect()));

    let writes = writes.lock().unwrap();
    let (mut sum, mut last) = (0.0, Duration::ZERO);
    for (at, units) in &writes.charged {
        (sum, last) = (sum + units, *at);
        // the proxy is older than the engine and its limiter
        let most = BUDGET * MOST * at.as_secs_f64() + LARGEST;
        assert!(sum <= most, "{sum} units within {at:?}");
    }
    let puts = u64::try_from(writes.charged.len()).unwrap();
    println!("{puts} puts, {sum} units in {last:?}, busiest 10 s: {} units", busiest(&writes.charged));
    assert_eq!((puts, writes.refused), (count, 0), "each item is put once, and the model refuses none");
    assert!(sum >= 1.9 * count as f64, "{sum}");
}

/// Waits until the process has said for the `time`th time that so many share in the run.
#[track_caller]
fn wait_to_share(running: &mut Running, processes: u32, time: usize) {
    let line = format!("processes={processes}");
    while running.said().lines().filter(|said| said.ends_with(&line)).count() < time {
        assert!(!running.has_ended(), "{}", running.said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a part of the budget is, the limiter's own tests tell.
#[test]
fn processes_learn_how_many_of_them_share_the_budget() {
    let (server, folder) = (start(), tempfile::tempdir().unwrap());
    for table in ["source", "target"] {
        server.create(table, "id:S");
    }
    server.load("source", items(0..400, "copied"));
    // some minutes' work
    let begin = || copy(&server.url(), folder.path(), 5.0).args(&["--lease-seconds", "1", "--log", "info"]).spawn();
    let mut first = begin();
    wait_to_share(&mut first, 1, 1);
    let mut second = begin();
    wait_to_share(&mut second, 2, 1);
    wait_to_share(&mut first, 2, 1);
    second.kill();
    wait_to_share(&mut first, 1, 2);
    first.kill();
}
