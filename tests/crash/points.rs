//! Death at every named point of a page's life.

use crate::support::orders::{Orders, Place, is_soak};
use std::time::Instant;

const SIGABRT: i32 = 6;

/// In the order of a page's life; the last is of the run's.
pub(crate) const POINTS: [&str; 10] = [
    "unit-claimed",
    "page-read",
    "page-encoded",
    "transaction-begun",
    "rows-written",
    "ledger-written",
    "committed",
    "folded",
    "unit-done",
    "run-complete",
];

/// Runs until the process aborts at `point`.
#[track_caller]
fn abort_at(orders: &Orders, place: &Place, point: &str, nth: u64) {
    let outcome = orders.engine(place).env("TRANSVASE_ABORT_AT", &format!("{point}:{nth}")).run();
    assert_eq!(outcome.signal(), Some(SIGABRT), "{point}:{nth} {:?}\n{}", outcome.status, outcome.stderr);
}

#[test]
fn a_process_that_dies_at_every_point_in_turn_ends_with_every_item_once() {
    Orders::both().into_iter().for_each(dies_at_every_point);
}

fn dies_at_every_point(orders: &Orders) {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        for point in POINTS {
            abort_at(orders, &place, point, 1);
        }
        // The last death came after the run was marked complete.
        let outcome = orders.assert_complete(&place, orders.engine(&place).run());
        assert_eq!(outcome.report["status"], "already-complete");
        assert!(outcome.stdout.contains("was complete already; nothing done"), "{}", outcome.stdout);
    }
}

#[test]
fn a_process_that_dies_once_at_any_point_is_resumed() {
    Orders::both().into_iter().for_each(dies_once);
}

fn dies_once(orders: &Orders) {
    let nths: &[u64] = if is_soak() { &[1, 2, 5, 11] } else { &[3] };
    let began = Instant::now();
    let mut deaths = 0;
    for point in POINTS {
        // Every unit has several pages, every run at least five units and one end.
        for nth in nths.iter().map(|nth| if point == "run-complete" { 1 } else { *nth }) {
            let nth = if ["unit-claimed", "folded", "unit-done"].contains(&point) { nth.min(5) } else { nth };
            let folder = tempfile::tempdir().unwrap();
            let places = Place::all(folder.path());
            let picked = if is_soak() { &places[..] } else { &places[deaths % 3..deaths % 3 + 1] };
            for place in picked {
                abort_at(orders, place, point, nth);
                orders.assert_complete(place, orders.engine(place).run());
            }
            deaths += picked.len();
        }
    }
    println!("{}: {deaths} deaths at named points in {:.0?}", orders.kind(), began.elapsed());
}
