//! Two processes on one run, awake or asleep.

use super::seeded;
use crate::generator::rng::Rng;
use crate::support::engine::Running;
use crate::support::orders::{Orders, Place, is_soak};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn two_processes_share_a_run_and_write_each_page_once() {
    Orders::both().into_iter().for_each(share);
}

fn share(orders: &Orders) {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..if is_soak() { 10 } else { 1 } {
        let folder = folder.path().join(round.to_string());
        std::fs::create_dir(&folder).unwrap();
        for place in Place::all(&folder) {
            let both = [orders.engine(&place).spawn(), orders.engine(&place).spawn()];
            let both = both.map(|running| orders.assert_complete(&place, running.wait(LIMIT)));
            let shares = [both[0].number("/process/items"), both[1].number("/process/items")];
            println!("shares {shares:?}");
            assert_eq!(shares.iter().sum::<u64>(), orders.items, "every item was written by one of the two");
        }
    }
}

/// Where a process may fall asleep. On SQLite not inside a transaction, since the one file would be locked for everybody.
const OUTSIDE: [&str; 4] = ["unit-claimed", "page-read", "page-encoded", "committed"];
const INSIDE: [&str; 3] = ["transaction-begun", "rows-written", "ledger-written"];

/// A run that fell asleep at some point of a page's life, its lease a second; and where.
fn asleep(orders: &Orders, place: &Place, rng: &mut Rng) -> (Place, Running) {
    let inside: &[&str] = if matches!(place, Place::File(_)) { &[] } else { &INSIDE };
    let points: Vec<&str> = OUTSIDE.iter().chain(inside).copied().collect();
    let point = points[usize::try_from(rng.below(points.len() as u64)).unwrap()];
    let point = format!("{point}:{}", 1 + rng.below(5));
    println!("asleep at {point}");
    super::asleep_anew(place, |place| orders.engine(place).args(&["--lease-seconds", "1"]), &point)
}

#[test]
fn a_process_woken_after_its_lease_writes_nothing_more() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    let rng = &mut seeded("woken after its lease");
    for round in 0..if is_soak() { 10 } else { 1 } {
        let folder = folder.path().join(round.to_string());
        std::fs::create_dir(&folder).unwrap();
        for place in Place::all(&folder) {
            let (place, sleeper) = asleep(orders, &place, rng);
            let durable = place.count("SELECT COUNT(*) FROM orders");
            // Its lease is a second; the other takes over as soon as that has run out.
            orders.assert_complete(&place, orders.engine(&place).args(&["--lease-seconds", "1"]).run());
            let before = place.snapshot();
            sleeper.signal("CONT");
            let outcome = sleeper.wait(LIMIT);
            println!("asleep with {durable} durable, woken: exit {:?}", outcome.code());
            assert_eq!(before, place.snapshot(), "the woken process changed something");
            match outcome.code() {
                Some(6) => assert!(outcome.stderr.contains("another process"), "{}", outcome.stderr),
                // Nothing of it was in flight: it finds everything done.
                _ => drop(orders.assert_complete(&place, outcome)),
            }
        }
    }
}

#[test]
fn a_process_woken_after_its_lease_with_nobody_else_goes_on() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    let rng = &mut seeded("woken alone");
    for round in 0..if is_soak() { 10 } else { 1 } {
        let folder = folder.path().join(round.to_string());
        std::fs::create_dir(&folder).unwrap();
        for place in Place::all(&folder) {
            let (place, sleeper) = asleep(orders, &place, rng);
            std::thread::sleep(Duration::from_millis(3200));
            sleeper.signal("CONT");
            orders.assert_complete(&place, sleeper.wait(LIMIT));
        }
    }
}

#[test]
fn a_process_woken_after_a_restart_of_its_run_writes_nothing_more() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    let rng = &mut seeded("woken after a restart");
    for place in Place::all(folder.path()) {
        let (place, sleeper) = asleep(orders, &place, rng);
        let outcome = orders.engine(&place).args(&["--restart", "--live-target"]).run().expect(0);
        assert_eq!(outcome.number("/read"), orders.items);
        assert_eq!(outcome.number("/outcomes/written") + outcome.number("/outcomes/present"), orders.items);
        let before = place.snapshot();
        sleeper.signal("CONT");
        let outcome = sleeper.wait(LIMIT).expect(6);
        assert!(
            outcome.stderr.contains("writes nothing more") || outcome.stderr.contains("are gone"),
            "{}",
            outcome.stderr
        );
        assert_eq!(before, place.snapshot());
        orders.assert_equal(&place);
    }
}
