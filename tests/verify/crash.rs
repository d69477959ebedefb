//! Whatever ends a verification, it goes on where it was and finds the same.

use super::{Difference, found};
use crate::crash::{seeded, while_below};
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{Orders, Place, is_soak};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const SIGABRT: i32 = 6;

/// Those before the target is looked at.
const READING: usize = 5;

/// In the order of a verification's life.
const POINTS: [&str; 11] = [
    "unit-claimed:2",
    "page-read:3",
    "page-encoded:2",
    "run-written:1",
    "committed:1",
    "load-begun:1",
    "transaction-begun:1",
    "rows-written:1",
    "ledger-written:1",
    "unit-done:1",
    "run-complete:1",
];

const DAMAGE: &str = "DELETE FROM orders WHERE order_id LIKE '%7'";
const ZOMBIES: &str = "INSERT INTO orders SELECT order_id, X'7A', item FROM orders WHERE order_id LIKE '%55'";

/// What was found, with the counts of the report.
fn result(state: &Path, outcome: Outcome) -> (BTreeSet<Difference>, Vec<u64>) {
    let outcome = outcome.expect(5);
    let names = ["source", "target", "equal", "missing", "extra", "different"];
    (found(state, &["orders"]), names.map(|name| super::figure(&outcome, name)).to_vec())
}

fn damaged(orders: &Orders, place: &Place) {
    orders.engine(place).run().expect(0);
    place.execute(DAMAGE);
    place.execute(ZOMBIES);
}

fn engine(orders: &Orders, place: &Place, folder: &Path) -> Engine {
    let spill = folder.join("spill");
    orders.verify(place, &folder.join("state.db")).args(&["--spill-dir", spill.to_str().unwrap()])
}

#[test]
fn a_verification_that_dies_at_every_point_finds_the_same() {
    for (source, orders) in Orders::both().into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        for (number, place) in Place::all(folder.path()).iter().enumerate() {
            damaged(orders, place);
            let folder = folder.path().join(number.to_string());
            std::fs::create_dir(&folder).unwrap();
            let state = folder.join("state.db");
            let undisturbed = result(&state, engine(orders, place, &folder).run());
            assert!(undisturbed.0.len() > 100);
            let levels = ["full", "digest"];
            // each target at both levels, but at each of them from one source only
            let levels = if is_soak() { &levels[..] } else { &levels[(source + number) % 2..][..1] };
            for level in levels {
                // while the source is read and sorted, neither the target nor the level has a part in it: one is enough
                let passed = if is_soak() || number == 0 { 0 } else { READING };
                for point in &POINTS[passed..] {
                    let verify = || engine(orders, place, &folder).args(&["--level", level]);
                    let died = verify().env("TRANSVASE_ABORT_AT", point).run();
                    assert_eq!(died.signal(), Some(SIGABRT), "{point} {level}: {}\n{}", died.stdout, died.stderr);
                    // the last is after its end: then it begins anew
                    if *point == "run-complete:1" || is_soak() {
                        assert_eq!(result(&state, verify().run()), undisturbed, "{} {point} {level}", orders.kind());
                    }
                }
                if !is_soak() {
                    assert_eq!(
                        result(&state, engine(orders, place, &folder).args(&["--level", level]).run()),
                        undisturbed
                    );
                }
            }
            assert_eq!(std::fs::read_dir(folder.join("spill")).unwrap().count(), 0, "the runs are removed");
        }
    }
}

#[test]
fn a_verification_killed_at_random_moments_finds_the_same() {
    let rng = &mut seeded("verify kills");
    for orders in Orders::both() {
        let folder = tempfile::tempdir().unwrap();
        let places = Place::all(folder.path());
        places.iter().for_each(|place| damaged(orders, place));
        let mut kills = 0;
        for round in 0..if is_soak() { 30 } else { 3 } {
            let place = &places[round % places.len()];
            let folder = folder.path().join(format!("round-{round}"));
            std::fs::create_dir(&folder).unwrap();
            let state = folder.join("state.db");
            let undisturbed = result(&state, engine(orders, place, &folder).run());
            let mut limit = Duration::from_millis(1200);
            for _ in 0..6 {
                let running = engine(orders, place, &folder).spawn();
                std::thread::sleep(while_below(rng, limit));
                if running.kill().signal().is_none() {
                    limit /= 2;
                }
                kills += 1;
            }
            assert_eq!(result(&state, engine(orders, place, &folder).run()), undisturbed, "{}", orders.kind());
        }
        println!("{}: {kills} kills", orders.kind());
    }
}

#[test]
fn a_lost_or_damaged_run_is_read_again_or_refused() {
    for orders in Orders::both() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::File(folder.path().join("target.db"));
        damaged(orders, &place);
        let state = folder.path().join("state.db");
        let undisturbed = result(&state, engine(orders, &place, folder.path()).run());
        engine(orders, &place, folder.path()).env("TRANSVASE_ABORT_AT", "load-begun:1").run();
        let runs = std::fs::read_dir(folder.path().join("spill")).unwrap().map(|entry| entry.unwrap().path());
        let files = runs.flat_map(|run| std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()));
        let run = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("run-")).min().unwrap();
        std::fs::remove_file(run).unwrap();
        let again = engine(orders, &place, folder.path()).run();
        if orders.kind() == "export" {
            assert_eq!(result(&state, again), undisturbed);
        } else {
            let again = again.expect(6);
            assert!(again.stderr.contains("--restart"), "{}", again.stderr);
            assert_eq!(result(&state, engine(orders, &place, folder.path()).args(&["--restart"]).run()), undisturbed);
        }
    }
}
