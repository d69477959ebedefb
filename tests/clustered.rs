//! Clustered load: sorted on disk first, then written in key order. Whatever dies, is killed, damaged or full in between,
//! every item is there once and the counts add up.

use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{Orders, Place, is_soak};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SIGABRT: i32 = 6;

/// A clustered backfill with its runs in `spill`.
fn engine(orders: &Orders, place: &Place, spill: &Path) -> Engine {
    orders.engine(place).args(&["--load-order", "clustered", "--spill-dir", spill.to_str().unwrap()])
}

/// The sorted runs in `spill`.
fn runs(spill: &Path) -> Vec<PathBuf> {
    let files = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let all = files(spill.to_path_buf()).flat_map(files);
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("run-")).collect()
}

fn dies_at(orders: &Orders, place: &Place, spill: &Path, point: &str) -> Outcome {
    let outcome = engine(orders, place, spill).env("TRANSVASE_ABORT_AT", point).run();
    assert_eq!(outcome.signal(), Some(SIGABRT), "{point}: {:?}\n{}", outcome.status, outcome.stderr);
    outcome
}

#[test]
fn a_clustered_load_holds_every_item_once_and_leaves_nothing_on_the_disk() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let spill = tempfile::tempdir().unwrap();
        let outcome = orders.assert_complete(&place, engine(orders, &place, spill.path()).run());
        assert!(outcome.stderr.contains("rows to load in key order"), "{}", outcome.stderr);
        assert_eq!(std::fs::read_dir(spill.path()).unwrap().count(), 0, "the runs are removed");
        let again = orders.assert_complete(&place, engine(orders, &place, spill.path()).run());
        assert_eq!(again.report["status"], "already-complete");
    }
}

#[test]
fn rows_that_are_there_are_kept_and_counted() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let spill = tempfile::tempdir().unwrap();
        orders.assert_complete(&place, engine(orders, &place, spill.path()).run());
        place.execute("DELETE FROM orders WHERE order_id LIKE '%3'");
        let left = place.count("SELECT COUNT(*) FROM orders");
        assert!(0 < left && left < orders.items);
        let outcome = engine(orders, &place, spill.path()).args(&["--run", "again"]).run().expect(0);
        assert_eq!(outcome.number("/outcomes/present"), left, "{}", outcome.report);
        assert_eq!(outcome.number("/outcomes/written"), orders.items - left, "{}", outcome.report);
        orders.assert_equal(&place);
    }
}

/// In the order of a run's life: those of sorting, then those of loading. First occurrences where later ones may be of the
/// other stage: two pieces are loaded at once, and little is left when the process died so often.
const POINTS: [&str; 11] = [
    "unit-claimed:2",
    "page-read:3",
    "page-encoded:9",
    "run-written:1",
    "run-written:2",
    "committed:1",
    "load-begun:1",
    "transaction-begun:1",
    "rows-written:1",
    "ledger-written:1",
    "run-complete:1",
];

#[test]
fn a_clustered_load_that_dies_at_every_point_in_turn_goes_on_where_it_was() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let spill = tempfile::tempdir().unwrap();
        for point in POINTS {
            dies_at(orders, &place, spill.path(), point);
        }
        // The last death came after the run was marked complete, and before its runs were removed.
        assert!(!runs(spill.path()).is_empty());
        let outcome = orders.assert_complete(&place, engine(orders, &place, spill.path()).run());
        assert_eq!(outcome.report["status"], "already-complete");
        assert_eq!(std::fs::read_dir(spill.path()).unwrap().count(), 0, "the runs are removed");
    }
}

#[test]
fn a_clustered_load_killed_at_random_moments_loses_and_doubles_nothing() {
    let orders = Orders::shared();
    let rng = &mut crate::crash::seeded("random kills of a clustered load");
    let wanted = if is_soak() { 60 } else { 6 };
    let (mut kills, mut rounds, mut loading) = (0, 0, 0);
    while kills < wanted {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::all(folder.path()).swap_remove(rounds % 3);
        let spill = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let running = engine(orders, &place, spill.path()).spawn();
            std::thread::sleep(crate::crash::while_below(rng, Duration::from_millis(2500)));
            let outcome = running.kill();
            if outcome.signal().is_none() {
                outcome.expect(0);
                break;
            }
            kills += 1;
            loading += usize::from(place.count("SELECT COUNT(*) FROM _transvase_pieces") > 0);
        }
        orders.assert_complete(&place, engine(orders, &place, spill.path()).run());
        rounds += 1;
    }
    println!("{kills} kills in {rounds} runs, {loading} of them while loading");
}

/// What may happen to a run's file.
fn hurt(path: &Path, how: usize) {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    match how % 4 {
        0 => std::fs::remove_file(path).unwrap(),
        1 => std::fs::write(path, &bytes[..at]).unwrap(),
        2 => std::fs::write(path, [&bytes[..at], &[bytes[at] ^ 1], &bytes[at + 1..]].concat()).unwrap(),
        _ => std::fs::write(path, [bytes.as_slice(), b"more"].concat()).unwrap(),
    }
}

#[test]
fn a_lost_or_damaged_run_has_its_own_items_read_again_and_no_others() {
    let orders = Orders::shared();
    for how in 0..4 {
        // Before a row is loaded, and when some are.
        for point in ["load-begun:1", "rows-written:2"] {
            let folder = tempfile::tempdir().unwrap();
            let place = Place::all(folder.path()).swap_remove(how % 3);
            let spill = tempfile::tempdir().unwrap();
            dies_at(orders, &place, spill.path(), point);
            let all = runs(spill.path());
            assert!(all.len() > 1, "there are runs to be spared");
            hurt(&all[how % all.len()], how);
            let outcome = engine(orders, &place, spill.path()).env("TRANSVASE_LOG", "info").run();
            let outcome = orders.assert_complete(&place, outcome);
            assert!(outcome.stderr.contains("read again"), "{}", outcome.stderr);
            let said = outcome.stderr.lines().find(|line| line.contains("1 sorted runs with")).unwrap();
            let items: u64 = said.split("with ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!(0 < items && items < orders.items, "{said}");
        }
    }
}

#[test]
fn a_full_disk_ends_the_run_before_it_is_full_and_room_lets_it_go_on() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("target.db"));
    let spill = tempfile::tempdir().unwrap();
    let small = engine(orders, &place, spill.path()).args(&["--spill-limit", "4MiB"]).run();
    assert_eq!(small.code(), Some(1), "{}", small.stderr);
    assert!(
        small.stderr.contains("--spill-limit") && small.stderr.contains("run the same command again"),
        "{}",
        small.stderr
    );
    let held: u64 = runs(spill.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(held <= 4 << 20, "{held}");
    orders.assert_complete(&place, engine(orders, &place, spill.path()).run());
}

#[test]
fn a_second_process_does_not_touch_a_clustered_run() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let spill = tempfile::tempdir().unwrap();
        let run = |place: &Place| engine(orders, place, spill.path());
        let (place, first) = crate::crash::asleep_anew(&place, run, "run-written:2");
        // It is refused by the first one's lease; on the same host it would be by the folder's lock as well.
        let second = engine(orders, &place, spill.path()).run().expect(6);
        assert!(second.stderr.contains("another process"), "{}", second.stderr);
        first.signal("CONT");
        orders.assert_complete(&place, first.wait(Duration::from_secs(120)));
    }
}

#[test]
fn what_cannot_be_clustered_is_refused_in_words() {
    let orders = Orders::shared();
    let from = orders.folder();
    let clustered = |to: &str| {
        Engine::new(&["backfill", "--from", from.to_str().unwrap(), "--key", crate::support::orders::KEY, "--to", to])
            .args(&["--load-order", "clustered"])
            .run()
            .expect(2)
    };
    assert!(clustered("null:").stderr.contains("only an SQL database has a key order"));
    // A run keeps the order that it was begun in.
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("target.db"));
    let spill = tempfile::tempdir().unwrap();
    dies_at(orders, &place, spill.path(), "run-written:2");
    let other = orders.engine(&place).args(&["--load-order", "arrival"]).run().expect(6);
    assert!(other.stderr.contains("--load-order clustered"), "{}", other.stderr);
    let auto = orders.engine(&place).args(&["--spill-dir", spill.path().to_str().unwrap()]).run();
    orders.assert_complete(&place, auto);
}
