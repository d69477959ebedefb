//! A process that applies a stream dies at named points, again and again: each change is counted once, and nobody who reads
//! the target meanwhile ever sees a row step back, or an item in two tables.

use super::assert_rows;
use super::history::{History, Line, Totals};
use super::world::{self, Bench};
use crate::support::orders::block_on;
use crate::support::transvase::{Target, soak, targets};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use transvase::driver::target::Target as LibraryTarget;
use transvase::monitor::{Event, Monitor};
use transvase::sink::destination::Destination;

const VARIABLE: &str = "TRANSVASE_TEST_APPLY";
const SIGABRT: i32 = 6;
/// Each process gets a few of the pages further, and none to the end.
const POINTS: [(u64, &str); 6] = [
    (1, "page-encoded"),
    (2, "transaction-begun"),
    (5, "rows-written"),
    (5, "ledger-written"),
    (6, "committed"),
    (1, "folded"),
];

/// Aborts the process at the n-th event of a name.
struct Death {
    name: String,
    left: AtomicI64,
}

impl Monitor for Death {
    fn event(&self, event: &Event<'_>) {
        if event.name() == self.name && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}

fn lineages(history: &mut History) -> Vec<Vec<Line>> {
    history.lineages(if soak() { 12_000 } else { 2400 }, 3)
}

/// The process that dies: this test's own binary, told by its environment where and when. Told nothing it lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_applied_by_a_process_of_its_own() {
    let told: Value = std::env::var(VARIABLE).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let target = match (text("url"), text("file")) {
        (url, file) if url.is_empty() && file.is_empty() => LibraryTarget::Null,
        (url, file) if url.is_empty() => LibraryTarget::Sqlite(file.into()),
        (url, _) => world::server(&url, &text("password"), Path::new(&text("ca"))),
    };
    let lineages = lineages(&mut History::new(told["seed"].as_u64().unwrap_or(1)));
    let death = Death { name: text("point"), left: AtomicI64::new(told["nth"].as_i64().unwrap_or(0)) };
    let bench = Bench::live(lineages.clone());
    let report = world::apply(Destination::Sql(target), folder.path(), bench, "t.follow", &[Arc::new(death)]).await;
    assert_eq!(report.read, Totals::of_pages(&lineages).read);
}

/// Runs that process until it dies.
fn die(target: &Target, seed: u64, point: &str, nth: u64) {
    let told = match target {
        Target::Sqlite(path) => json!({"file": path}),
        Target::Server(database) => {
            json!({"url": database.url(), "password": database.password(), "ca": database.ca_file})
        }
    };
    let mut told = told;
    (told["seed"], told["point"], told["nth"]) = (json!(seed), json!(point), json!(nth));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "apply::killed::a_stream_is_applied_by_a_process_of_its_own"])
        .env(VARIABLE, told.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert_eq!(child.status.signal(), Some(SIGABRT), "{target}, {point}:{nth}: {:?}\n{said}", child.status);
}

/// Ends the reading however the test ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Reads all rows until told to stop: no version falls, no item is in two tables. Returns how often it looked.
fn poll(target: &Target, done: &AtomicBool) -> u64 {
    let mut newest: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut looks = 0;
    while !done.load(Ordering::SeqCst) {
        let mut seen = std::collections::BTreeSet::new();
        for row in block_on(world::rows(target)) {
            let (key, version) = ((row[1].clone(), row[2].clone()), row[3].parse::<u64>().unwrap());
            assert!(seen.insert(key.clone()), "{target}: {key:?} is in two tables");
            let newest = newest.entry(key).or_default();
            assert!(version >= *newest, "{target}: {row:?} is older than version {newest}, which was there before");
            *newest = version;
        }
        looks += 1;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    looks
}

#[test]
fn no_death_repeats_a_change_and_no_reader_sees_a_row_step_back() {
    let folder = tempfile::tempdir().unwrap();
    for seed in if soak() { 0..8 } else { 0..1 } {
        for target in block_on(targets(folder.path())) {
            block_on(world::make_tables(&target));
            let mut history = History::new(seed);
            let lineages = lineages(&mut history);
            let done = AtomicBool::new(false);
            let (report, looks) = std::thread::scope(|scope| {
                let reader = scope.spawn(|| poll(&target, &done));
                let ended = Done(&done);
                for (nth, point) in POINTS {
                    die(&target, seed, point, nth);
                }
                let last = tokio::runtime::Runtime::new().unwrap();
                let bench = Bench::live(lineages.clone());
                let report = last.block_on(world::apply_to(&target, folder.path(), bench, "t.follow", &[]));
                drop(ended);
                (report, reader.join().unwrap())
            });
            assert_eq!(Totals::of(&report), Totals::of_pages(&lineages), "{target}, seed {seed}");
            assert_rows(block_on(world::rows(&target)), &history, &format!("{target}, seed {seed}"));
            println!("{target}: {} deaths, the rows read {looks} times", POINTS.len());
        }
    }
}
