//! What keeps a copy and its follower from each other's way, one guard at a time: without it the row of an item that was
//! deleted comes back, or a change that was overtaken is done once more.

use crate::follow_stream::{assert_counted, backfill, engine, follow, held};
use crate::support::dynamo::DynamoServer;
use crate::support::engine::{Engine, Outcome, Running};
use crate::support::orders::block_on;
use crate::support::servers::{Kind, shared};
use crate::support::streams_server::{Plot, StreamFaults, StreamsServer, TABLE, World};
use crate::support::transvase::{Target, targets, text};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Longer than a transaction takes that waits for nothing.
const WHILE: Duration = Duration::from_millis(1500);

fn item(id: &str, version: u64) -> Value {
    json!({"id": {"S": id}, "version": {"N": version.to_string()}})
}

/// A table of three items, and its stream, which has no change yet.
fn table() -> DynamoServer {
    let server = DynamoServer::start();
    server.create_streamed(TABLE, "id:S");
    server.load(TABLE, ["a", "b", "c"].map(|id| item(id, 1)));
    server
}

/// Not a file: whoever sleeps may hold all of it.
fn servers(folder: &Path) -> impl Iterator<Item = Target> {
    block_on(targets(folder)).into_iter().filter(|target| target.kind().is_some())
}

fn delete(server: &DynamoServer, id: &str) {
    server.delete(TABLE, &json!({"id": {"S": id}}));
}

/// A copy beside which it is followed; it reads all items at once.
fn copy(server: &DynamoServer, target: &Target, args: &[&str]) -> Engine {
    let flags = ["--read-capacity", "unlimited", "--segments", "1", "--live-target", "--lease-seconds", "30"];
    engine("backfill", &format!("dynamodb://{TABLE}"), &server.url(), target, &[args, &flags].concat())
}

fn caught_up(server: &DynamoServer, target: &Target) -> Outcome {
    follow(&server.url(), target, &["--until", "caught-up", "--lease-seconds", "30"]).run().expect(0)
}

fn asleep(engine: Engine, point: &str) -> Running {
    let mut running = engine.env("TRANSVASE_STOP_AT", point).spawn();
    running.wait_to_sleep();
    assert!(!running.has_ended(), "{point}: {}", running.said());
    running
}

/// The rows are these: key and version.
#[track_caller]
fn assert_rows(target: &Target, expected: &[(&str, u64)]) {
    let rows = block_on(target.rows(&format!("SELECT id, item FROM {TABLE} ORDER BY id")));
    let version = |cell| serde_json::from_slice::<Value>(cell).unwrap()["version"]["N"].as_str().unwrap().to_owned();
    let found: Vec<(&str, String)> =
        rows.iter().map(|row| (text(&row[0]), version(row[1].as_ref().unwrap()))).collect();
    let expected: Vec<(&str, String)> = expected.iter().map(|(id, version)| (*id, version.to_string())).collect();
    assert_eq!(found, expected, "{target}");
}

/// The loader inserts a row while a removal of it is not committed: it has to wait for what comes of that.
#[test]
fn a_loader_waits_for_a_removal_that_is_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    for target in servers(folder.path()) {
        let server = table();
        let copy = asleep(copy(&server, &target, &["--capture"]), "page-encoded:1");
        delete(&server, "b");
        let follow = follow(&server.url(), &target, &["--until", "caught-up", "--lease-seconds", "30"]);
        let follow = asleep(follow, "ledger-written:1");
        copy.signal("CONT");
        std::thread::sleep(WHILE);
        follow.signal("CONT");
        follow.wait(LIMIT).expect(0);
        let copied = copy.wait(LIMIT).expect(0);
        assert_eq!(copied.number("/outcomes/tombstoned"), 1, "{target}: {}", copied.report);
        assert_rows(&target, &[("a", 1), ("c", 1)]);
    }
}

/// Once a copy is complete no removal leaves a tombstone; from the moment on that another begins, all have to again.
#[test]
fn a_copy_begun_anew_beside_its_follower_revives_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for target in servers(folder.path()) {
        let server = table();
        copy(&server, &target, &["--capture"]).run().expect(0);
        delete(&server, "a");
        caught_up(&server, &target);
        let copy = asleep(copy(&server, &target, &["--restart"]), "page-encoded:1");
        delete(&server, "b");
        caught_up(&server, &target);
        copy.signal("CONT");
        copy.wait(LIMIT).expect(0);
        assert_rows(&target, &[("c", 1)]);
    }
}

/// All rows that the copy has written so far are deleted: nobody has truncated the table.
#[test]
fn a_table_that_changes_have_emptied_is_not_taken_for_a_truncated_one() {
    let folder = tempfile::tempdir().unwrap();
    for target in block_on(targets(folder.path())) {
        let server = table();
        let died = copy(&server, &target, &["--capture"]).env("TRANSVASE_ABORT_AT", "committed:1").run();
        assert!(died.signal().is_some(), "{}", died.stderr);
        ["a", "b", "c"].into_iter().for_each(|id| delete(&server, id));
        caught_up(&server, &target);
        copy(&server, &target, &["--capture"]).run().expect(0);
        assert_rows(&target, &[]);
    }
}

/// A follower sleeps through its lease with changes in hand; another does them and so many more that its spans are folded,
/// and tell nothing of each page any more.
#[test]
fn a_follower_that_slept_through_its_lease_takes_nothing_back() {
    let plot = Plot { seed: 7, keys: 12, before: 40, during: 400, closes: 0, late: 0 };
    let server = StreamsServer::start(World::new(plot), StreamFaults { most: 1, ..StreamFaults::default() });
    let target = Target::server(block_on(shared(Kind::MySql).database()));
    backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    let follow = || follow(&server.url(), &target, &["--until", "caught-up"]);
    let sleeper = asleep(follow(), "page-encoded:1");
    server.world(|world| world.play(usize::MAX));
    follow().run().expect(0);
    sleeper.signal("CONT");
    let woken = sleeper.wait(LIMIT);
    assert!(woken.signal().is_none(), "{woken:?}");
    assert_eq!(block_on(held(&target, TABLE)), server.world(|world| world.items.clone()));
    assert_counted(&server, &follow().run().expect(0), "slept");
}
