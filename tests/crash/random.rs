//! `kill -9` at random moments, several in a row before the run may end.

use super::{seeded, while_below};
use crate::support::orders::{Orders, Place, is_soak};
use std::time::{Duration, Instant};

#[test]
fn a_process_killed_at_random_moments_loses_and_doubles_nothing() {
    for orders in Orders::both() {
        kill_at_random(orders);
    }
}

fn kill_at_random(orders: &Orders) {
    let rng = &mut seeded("random kills");
    let (kills_wanted, began) = (if is_soak() { 100 } else { 6 }, Instant::now());
    let (mut kills, mut runs, mut resumed_at) = (0, 0, Vec::new());
    let is_underway = |percent: &u64| (1..100).contains(percent);
    // On a busy machine the first few may all come too soon.
    while kills < kills_wanted || (kills < kills_wanted * 10 && !resumed_at.iter().any(is_underway)) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::all(folder.path()).swap_remove(runs % 3);
        let mut limit = Duration::from_millis(1500);
        for _ in 0..2 + rng.below(3) {
            // one run may go on by the other method
            let method = if rng.below(3) == 0 { "insert" } else { "auto" };
            let running = orders.engine(&place).args(&["--load-method", method]).spawn();
            std::thread::sleep(while_below(rng, limit));
            let outcome = running.kill();
            if outcome.signal().is_none() {
                // It was done before the kill: the next ones come sooner.
                outcome.expect(0);
                limit /= 2;
                break;
            }
            kills += 1;
            resumed_at.push(place.count("SELECT COUNT(*) FROM orders") * 100 / orders.items);
        }
        orders.assert_complete(&place, orders.engine(&place).run());
        runs += 1;
    }
    println!(
        "{}: {kills} kills in {runs} runs, {:.0?}; percent durable at each: {resumed_at:?}",
        orders.kind(),
        began.elapsed()
    );
    assert!(resumed_at.iter().any(is_underway), "no kill hit a run underway: {resumed_at:?}");
}
