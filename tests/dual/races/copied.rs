//! The copy beside the dual writes: what it has read before it was deleted, and what it has read before its lock was taken away.

use super::super::loading::copy;
use super::super::{application, eventually, key, order, runtime};
use super::{audit, to};
use crate::crash::asleep;
use crate::phases::{begun, put};
use crate::support::dynamo::DynamoServer;
use crate::support::engine::Running;
use crate::support::orders::{KEY, Place, block_on};
use crate::support::servers::execute;
use serde_json::Value;
use sqlx::mysql::MySqlConnection;
use std::time::Duration;
use transvase::checkpoint::phases::{Next, Phases};
use transvase::dual::stores::{Item, Items, Rows};

pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// A table of four orders in step 2, and its copy, asleep when it has read them all. It is its only reader that sleeps there, and no
/// lease is over soon: so it holds no lock, and its sessions live on.
pub(super) fn asleep_with_all_read(place: &Place, url: &str, more: &[&str]) -> (DynamoServer, Phases, Running) {
    let server = DynamoServer::start();
    server.create("orders", KEY);
    server.load("orders", (0..4).map(|number| Value::Object(order(number, 1))));
    let phases = begun(place);
    put(&phases, 2);
    // dual writes have been going on for long
    place.execute("UPDATE _transvase_phase_history SET at_us = 1");
    let engine = copy(&server, place, url).args(&["--segments", "1", "--readers", "1", "--lease-seconds", "600"]);
    let sleeper = asleep(engine.args(more), place, "page-read:1");
    (server, phases, sleeper)
}

/// An order is deleted by the application that the copy has read already. What the target holds of it when the copy is complete.
fn deleted_meanwhile(place: &Place, tombstone: bool) -> Option<Item> {
    let (server, _, sleeper) = asleep_with_all_read(place, &place.url(), &[]);
    let runtime = runtime();
    let (shop, items, rows) = runtime.block_on(application(&server, place, "shop"));
    runtime.block_on(shop.delete(&order(1, 0))).unwrap();
    // what is acknowledged may be settled a little later
    runtime.block_on(eventually("it is settled", async || rows.phases().unsettled().await.unwrap() == Some(0)));
    assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_tombstones"), 1);
    if !tombstone {
        place.execute("DELETE FROM _transvase_tombstones");
    }
    sleeper.signal("CONT");
    let outcome = sleeper.wait(LIMIT).expect(0);
    let counts = ["written", "present", "tombstoned"].map(|name| outcome.number(&format!("/outcomes/{name}")));
    assert_eq!(counts, if tombstone { [3, 0, 1] } else { [4, 0, 0] }, "{}", outcome.report);
    runtime.block_on(async {
        assert_eq!(items.read(&key(&order(1, 0))).await.unwrap(), None);
        rows.row(&key(&order(1, 0))).await.unwrap()
    })
}

#[test]
fn what_is_deleted_amid_the_copy_stays_deleted_and_would_not_without_its_tombstone() {
    for tombstone in [true, false] {
        for place in Place::servers() {
            let there = deleted_meanwhile(&place, tombstone);
            assert_eq!(there, if tombstone { None } else { Some(order(1, 1)) });
        }
    }
}

/// A session that keeps the row of the backfill lock for itself.
async fn hold_the_lock(place: &Place) -> MySqlConnection {
    let Place::Server(database) = place else { panic!("this is played on servers") };
    let mut session = database.connect().await;
    execute(&mut session, "BEGIN; SELECT * FROM _transvase_locks FOR UPDATE").await;
    session
}

/// The copy sleeps while its lock is taken away and the target becomes the truth, where an order is deleted that it has read; then it
/// goes on. What the application reads of that order, and how many rows there are.
fn zombie(place: &Place, fenced: bool) -> (Option<Item>, u64) {
    let (server, phases, sleeper) = asleep_with_all_read(place, &place.url(), &[]);
    // as if others had completed the copy
    let next = Next { releases_lock: true, ..to(5) };
    block_on(async {
        let two = phases.load().await.unwrap().unwrap();
        assert!(phases.transit(&two, next, &audit()).await.unwrap());
    });
    place.execute("UPDATE _transvase_loads SET state = 'loaded'");
    if !fenced {
        place.execute("UPDATE _transvase_fences SET epoch = epoch - 1");
    }
    let runtime = runtime();
    let (shop, _, there) = runtime.block_on(application(&server, place, "shop"));
    runtime.block_on(shop.delete(&order(1, 0))).unwrap();
    // without its claim's end it would find out when it asks for more to copy: not before it has written
    let holds = (!fenced).then(|| runtime.block_on(hold_the_lock(place)));
    sleeper.signal("CONT");
    let written = async || fenced || there.row(&key(&order(3, 0))).await.unwrap().is_some();
    runtime.block_on(eventually("it writes", written));
    drop(holds);
    sleeper.wait(LIMIT).expect(6);
    let read = runtime.block_on(shop.get(&order(1, 0))).unwrap();
    (read, place.count("SELECT COUNT(*) FROM orders"))
}

#[test]
fn a_copy_that_wakes_up_without_its_lock_writes_nothing_and_would_if_its_claims_were_good_still() {
    for fenced in [true, false] {
        for place in Place::servers() {
            let expected = if fenced { (None, 0) } else { (Some(order(1, 1)), 4) };
            assert_eq!(zombie(&place, fenced), expected, "fenced: {fenced}");
        }
    }
}
