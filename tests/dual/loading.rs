//! A backfill amid dual writes: without being told it leaves what they have written, and what they have removed.

use super::{application, key, object, order, rows, runtime, settle};
use crate::crash::{asleep_anew, asleep_or_through};
use crate::phases::{begun, put};
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::Engine;
use crate::support::orders::{KEY, Orders, Place};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use transvase::dual::stores::{Item, Items, Rows, When};

const WAYS: [&[&str]; 3] = [
    &["--load-order", "arrival", "--load-method", "insert"],
    &["--load-order", "arrival", "--load-method", "load-data"],
    &["--load-order", "clustered"],
];

fn item_of((customer, order): &(String, String)) -> Item {
    object(json!({"customer_id": {"S": customer}, "order_id": {"S": order}, "version": {"N": "2"}}))
}

fn engine(orders: &Orders, place: &Place, way: &[&str], spill: &Path) -> Engine {
    let engine = orders.engine(place).args(way).args(&["--lease-seconds", "5"]);
    if way.contains(&"clustered") { engine.args(&["--spill-dir", spill.to_str().unwrap()]) } else { engine }
}

#[test]
fn a_backfill_amid_dual_writes_leaves_what_they_wrote_and_removed() {
    let orders = Orders::new(3000, 4, 23);
    let keys: Vec<_> = orders.keys().step_by(50).cloned().collect();
    let folder = tempfile::tempdir().unwrap();
    for (round, template) in Place::all(folder.path()).into_iter().enumerate() {
        for (number, way) in WAYS.into_iter().enumerate() {
            if matches!(template, Place::File(_)) && way.contains(&"load-data") {
                continue;
            }
            let folder = folder.path().join(format!("{round}-{number}"));
            std::fs::create_dir(&folder).unwrap();
            let begins = |place: &Place| {
                put(&begun(place), 2);
                // the export is old
                place.execute("UPDATE _transvase_phase_history SET at_us = 1");
                engine(&orders, place, way, &folder)
            };
            // the table is empty when the run begins, and not any more when it writes
            let (place, sleeper) = asleep_anew(&Place::all(&folder).swap_remove(round), begins, "unit-claimed:1");
            let runtime = runtime();
            let rows = runtime.block_on(rows(&place));
            runtime.block_on(async {
                for (at, order) in keys.iter().map(item_of).enumerate() {
                    settle(&rows, &key(&order), (at % 2 == 0).then_some(&order)).await;
                }
            });
            sleeper.signal("CONT");
            let outcome = sleeper.wait(Duration::from_secs(120)).expect(0);
            let counts = ["written", "present", "tombstoned"].map(|name| outcome.number(&format!("/outcomes/{name}")));
            assert_eq!(counts, [orders.items - 60, 30, 30], "{way:?}: {}", outcome.report);
            for (at, order) in keys.iter().map(item_of).enumerate() {
                let there = runtime.block_on(rows.row(&key(&order))).unwrap();
                assert_eq!(there, (at % 2 == 0).then_some(order), "{way:?}: item {at}");
            }
        }
    }
}

/// The copy of the live table to `place`, by this way.
pub(super) fn copy(server: &DynamoServer, place: &Place, url: &str) -> Engine {
    let engine = Engine::new(&["backfill", "--from", "dynamodb://orders", "--to", url, "--endpoint-url"])
        .args(&[&server.url(), "--read-capacity", "unlimited"])
        .report();
    let engine = AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value));
    match place {
        Place::Server(database) => engine.env("MYSQL_PWD", database.password()),
        Place::File(_) => engine,
    }
}

/// Half of a table is deleted or put anew while a copy of it sleeps. How many tombstones the copy heeds then; none where it was through
/// before it could sleep.
fn copied_amid_deletes(place: &Place) -> Option<u64> {
    let (server, runtime) = (DynamoServer::start(), runtime());
    server.create("orders", KEY);
    server.load("orders", (0..400).map(|number| Value::Object(order(number, 1))));
    let phases = begun(place);
    put(&phases, 2);
    let (shop, items, rows) = runtime.block_on(application(&server, place, "shop"));
    // it is registered by then
    runtime.block_on(shop.get(&order(0, 1))).unwrap();
    place.execute("UPDATE _transvase_phase_history SET at_us = 1; UPDATE _transvase_writers SET since_us = 1");
    let engine = copy(&server, place, &place.url()).args(&["--segments", "2"]);
    // what it has read by now it will write
    let sleeper = asleep_or_through(engine, place, "page-encoded:1")?;
    runtime.block_on(async {
        for number in (0..400).step_by(2) {
            match number % 4 {
                0 => shop.delete(&order(number, 0)).await.unwrap(),
                _ => shop.put(order(number, 2)).await.unwrap(),
            }
        }
    });
    sleeper.signal("CONT");
    let outcome = sleeper.wait(Duration::from_secs(120)).expect(0);
    runtime.block_on(async {
        for number in 0..400 {
            let expected = match number % 4 {
                0 => None,
                2 => Some(order(number, 2)),
                _ => Some(order(number, 1)),
            };
            assert_eq!(items.read(&key(&order(number, 0))).await.unwrap(), expected);
            assert_eq!(rows.row(&key(&order(number, 0))).await.unwrap(), expected, "order {number}");
        }
    });
    Some(outcome.number("/outcomes/tombstoned"))
}

#[test]
fn what_an_instance_deletes_while_the_table_is_copied_stays_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut tombstoned = 0;
    for place in Place::all(folder.path()) {
        let mut places = std::iter::successors(Some(place), |place| Some(place.another())).take(20);
        let heeded = places.find_map(|place| copied_amid_deletes(&place));
        tombstoned += heeded.expect("it was through each time");
    }
    assert!(tombstoned > 0, "nothing was deleted between being read and being written");
}

#[test]
fn what_was_deleted_right_before_a_copy_began_stays_deleted_though_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        let server = DynamoServer::start();
        server.create("orders", KEY);
        server.load("orders", (0..4).map(|number| Value::Object(order(number, 1))));
        put(&begun(&place), 2);
        let (shop, items, rows) = runtime.block_on(application(&server, &place, "shop"));
        runtime.block_on(shop.delete(&order(1, 0))).unwrap();
        runtime.block_on(shop.delete(&order(2, 0))).unwrap();
        runtime.block_on(shop.put(order(2, 2))).unwrap();
        place.execute("UPDATE _transvase_phase_history SET at_us = 1; UPDATE _transvase_writers SET since_us = 1");
        // a scan reads what was a moment ago, and an export what was minutes ago
        runtime.block_on(items.write(&key(&order(1, 0)), Some(&order(1, 1)), &When::Always)).unwrap();
        let outcome = copy(&server, &place, &place.url()).run().expect(0);
        let counts = ["written", "present", "tombstoned"].map(|name| outcome.number(&format!("/outcomes/{name}")));
        assert_eq!(counts, [2, 1, 1], "{}", outcome.report);
        for (number, expected) in [(1, None), (2, Some(order(2, 2)))] {
            assert_eq!(runtime.block_on(rows.row(&key(&order(number, 0)))).unwrap(), expected, "order {number}");
        }
    }
}

#[test]
fn a_backfill_that_would_overwrite_dual_writes_is_refused() {
    let orders = Orders::new(10, 1, 3);
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        put(&begun(&place), 2);
        place.execute("UPDATE _transvase_phase_history SET at_us = 1");
        let refused = orders.engine(&place).args(&["--on-conflict", "replace", "--live-target"]).run().expect(6).stderr;
        assert!(refused.contains("in the place of dual writes"), "{refused}");
    }
}
