//! Live tables on a bad day: throttles with every reason, 5xx, lost and damaged answers, empty pages, items held back,
//! and the process killed on top of it. Every item arrives once, and the counts say so.

use crate::generator::items::Shape;
use crate::generator::rng::Rng;
use crate::roundtrip::assert_holds;
use crate::scan::{SHAPES, lines, start, truth_of};
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::dynamo_proxy::{DynamoProxy, Faults};
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{Place, block_on};
use crate::support::transvase::{Backfill, soak, targets};
use std::path::Path;
use std::time::Duration;

mod failing;

const KEY: [(&str, &str); 2] = [("customer_id", "S"), ("order_id", "S")];

/// A bad day. Throttles that come by chance, however slowly one goes, are few: were they many, the limiter would take them
/// for a table that is out of capacity, and slow.
fn bad_day(seed: u64, throttle: f64) -> Faults {
    let (fail, lose, damage) = (0.04, 0.03, 0.03);
    Faults { seed, throttle, fail, lose, damage, empty: 0.1, hold: throttle, ..Faults::default() }
}

fn server(items: u64) -> (DynamoServer, Vec<u8>) {
    let (server, lines) = (start(), lines(Shape::Orders, 21, items));
    for table in ["orders", "copies"] {
        server.create(table, "customer_id:S,order_id:S");
    }
    server.load_lines("orders", &lines);
    (server, lines)
}

#[test]
fn a_scan_on_a_bad_day_reads_every_item_once() {
    let items = if soak() { 60_000 } else { 16_000 };
    let (server, lines) = server(items);
    let truth = truth_of(&lines, &["customer_id", "order_id"]);
    let folder = tempfile::tempdir().unwrap();
    for (target, seed) in block_on(targets(folder.path())).into_iter().zip(1..) {
        let proxy = DynamoProxy::start(server.address, Faults { empty: 0.3, ..bad_day(seed, 0.03) });
        let url = proxy.url();
        // each segment is two requests or three: enough of them to meet every fault, in whatever order they come
        let args = ["--endpoint-url", &url, "--read-capacity", "unlimited", "--segments", "40"];
        let backfill = Backfill::new(folder.path(), Path::new("dynamodb://orders"), &target, &args);
        let backfill = AWS_ENVIRONMENT.into_iter().fold(backfill, |backfill, (name, value)| backfill.env(name, value));
        let ended = backfill.run().expect(0);
        ended.counts([items, items, 0, 0, 0]);
        let source = &ended.report["process"]["source"];
        let injected = proxy.injected();
        let (throttled, emptied) = (injected.count(|all| &all.throttled), injected.count(|all| &all.emptied));
        println!("{target}: {injected:?}");
        assert!(throttled > 0 && emptied > 0, "not a bad day: {injected:?}");
        let told = source["throttled"].as_object().unwrap().values();
        assert_eq!(told.map(|times| times.as_u64().unwrap()).sum::<u64>(), throttled, "{source}");
        assert_eq!(source["empty_pages"], emptied, "{source}");
        ended.says(&["throttled", "empty pages"]);
        block_on(assert_holds(&target, "orders", &KEY, &truth, &target.to_string()));
    }
}

/// `transvase backfill` from one table into the other, at `url`, with the state in `folder`.
fn copy(url: &str, folder: &Path, on_conflict: &str) -> Engine {
    copy_with(url, &format!("sqlite:{}", folder.join("state.db").display()), on_conflict)
}

/// The same, with the state in any database.
fn copy_with(url: &str, state: &str, on_conflict: &str) -> Engine {
    let engine = Engine::new(&["backfill", "--from", "dynamodb://orders", "--to", "dynamodb://copies"])
        .args(&["--endpoint-url", url, "--state", state, "--segments", "20", "--on-conflict", on_conflict])
        .args(&["--read-capacity", "unlimited", "--write-capacity", "unlimited"])
        .report();
    AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value))
}

#[track_caller]
fn assert_copied(server: &DynamoServer, outcome: &Outcome, items: u64) {
    let paths = ["/read", "/outcomes/written", "/outcomes/present", "/outcomes/rejected"];
    assert_eq!(paths.map(|path| outcome.number(path)), [items, items, 0, 0], "{}", outcome.stdout);
    assert!(server.items("copies") == server.items("orders"), "the tables differ");
}

#[test]
fn a_copy_on_a_bad_day_drops_and_doubles_nothing() {
    let items = if soak() { 20_000 } else { 1500 };
    for (on_conflict, seed) in [("keep", 11), ("replace", 12)] {
        let (server, _) = server(items);
        let proxy = DynamoProxy::start(server.address, bad_day(seed, 0.002));
        let folder = tempfile::tempdir().unwrap();
        let outcome = copy(&proxy.url(), folder.path(), on_conflict).run().expect(0);
        assert_copied(&server, &outcome, items);
    }
}

#[test]
fn items_of_every_type_are_copied_on_a_bad_day() {
    for ((shape, key, _, long), seed) in SHAPES.into_iter().zip(21..) {
        let server = start();
        for table in ["orders", "copies"] {
            server.create(table, key);
        }
        server.load_lines("orders", &lines(shape, 11, if soak() { long } else { 150 }));
        let items = server.items("orders").len() as u64;
        let proxy = DynamoProxy::start(server.address, bad_day(seed, 0.002));
        let folder = tempfile::tempdir().unwrap();
        let on_conflict = if seed % 2 == 0 { "keep" } else { "replace" };
        let outcome = copy(&proxy.url(), folder.path(), on_conflict).run().expect(0);
        let seconds = outcome.report["process"]["wall_seconds"].as_f64().unwrap();
        println!("{shape:?}, {on_conflict}: {items} items in {seconds:.1} s");
        assert_copied(&server, &outcome, items);
    }
}

#[test]
fn a_copy_that_dies_at_random_points_is_gone_on_with() {
    const POINTS: [&str; 5] = ["unit-claimed", "page-read", "page-encoded", "rows-written", "committed"];
    let items = if soak() { 20_000 } else { 3000 };
    let seed = std::env::var("TRANSVASE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("TRANSVASE_TEST_SEED={seed}");
    let rng = &mut Rng::new(seed, 3);
    for on_conflict in ["keep", "replace"] {
        let (server, _) = server(items);
        let proxy = DynamoProxy::start(server.address, Faults { lose: 0.02, seed, ..Faults::default() });
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..if soak() { 20 } else { 4 } {
            let point = POINTS[usize::try_from(rng.below(POINTS.len() as u64)).unwrap()];
            let point = format!("{point}:{}", 1 + rng.below(2));
            let died = copy(&proxy.url(), folder.path(), on_conflict).env("TRANSVASE_ABORT_AT", &point).run();
            assert!(died.signal().is_some(), "it did not die at {point}\n{}\n{}", died.stdout, died.stderr);
        }
        let outcome = copy(&proxy.url(), folder.path(), on_conflict).run().expect(0);
        assert_copied(&server, &outcome, items);
    }
}

/// As two hosts would: the state is on a server that both reach.
#[test]
fn two_processes_copy_one_table_and_each_item_is_counted_once() {
    let items = if soak() { 20_000 } else { 3000 };
    for place in Place::servers() {
        let Place::Server(database) = &place else { continue };
        for on_conflict in ["keep", "replace"] {
            let (server, _) = server(items);
            let engine = || {
                let engine = copy_with(&server.url(), &place.url(), on_conflict);
                engine.args(&["--run", on_conflict]).env("MYSQL_PWD", database.password())
            };
            let both = [engine().spawn(), engine().spawn()];
            let both = both.map(|running| running.wait(Duration::from_secs(120)).expect(0));
            let shares = both.each_ref().map(|outcome| outcome.number("/process/items"));
            println!("{on_conflict}: shares {shares:?}");
            assert_eq!(shares.iter().sum::<u64>(), items);
            // whoever ended first may have reported before the other's last page
            let last = engine().run().expect(0);
            assert_eq!(last.report["status"], "already-complete");
            assert_copied(&server, &last, items);
        }
    }
}
