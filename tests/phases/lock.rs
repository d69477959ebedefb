//! A backfill under the backfill lock: it needs it, has it, and stops when it is taken away.

use super::{NAME, an_hour_later, begun, lease, phase, put, target};
use crate::crash::asleep_or_through;
use crate::support::orders::{Orders, Place, block_on};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use transvase::checkpoint::owner::Owner;
use transvase::checkpoint::phases::lock::Taken;
use transvase::checkpoint::run::Checkpoint;
use transvase::driver::pool::Pool;

/// Items of a run that are durable.
fn durable(place: &Place, run: &str) -> u64 {
    let folded = format!("SELECT COALESCE(SUM(watermark), 0) FROM _transvase_units WHERE run = '{run}'");
    let spans = format!("SELECT COALESCE(SUM(span_to - span_from), 0) FROM _transvase_ledger WHERE run = '{run}'");
    place.count(&folded) + place.count(&spans)
}

fn rows(place: &Place) -> u64 {
    place.count("SELECT COUNT(*) FROM orders")
}

#[test]
fn a_backfill_runs_under_the_lock_and_only_in_the_steps_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let orders = Orders::live(400, 3);
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        let backfill = || orders.engine(&place).args(&["--live-target"]).run();
        for (step, says) in [(1, "dual writes have not begun"), (5, "the target is the source of truth")] {
            put(&phases, step);
            let refused = backfill().expect(6).stderr;
            assert!(refused.contains(says), "{refused}");
        }
        put(&phases, 1);
        put(&phases, 2);
        let refused = backfill().expect(6).stderr;
        assert!(refused.contains("dual writes have been going on since"), "{refused}");
        an_hour_later(&place);
        // while the target was the truth, removals left no tombstones
        put(&phases, 5);
        put(&phases, 4);
        let refused = backfill().expect(6).stderr;
        assert!(refused.contains("dual writes have been going on since"), "{refused}");
        an_hour_later(&place);
        let held = block_on(phases.take_lock("another", lease())).unwrap();
        let refused = backfill().expect(6).stderr;
        assert!(refused.contains("run another holds the backfill lock"), "{refused}");
        assert_eq!(rows(&place), 0, "{held:?}");
        block_on(phases.release_lock("another")).unwrap();
        orders.assert_complete(&place, backfill());
        // a copy from before the dual writes began is stale when they do
        put(&phases, 1);
        for args in [&["--to", "2"][..], &["--to", "2", "--run", "another"]] {
            let refused = phase(&place, "advance", args).expect(6).stderr;
            assert!(refused.contains("rows from before the dual writes"), "{refused}");
        }
        let lock = block_on(phases.lock()).unwrap().unwrap();
        assert_eq!(lock.run, "orders");
    }
}

#[test]
fn a_zombie_whose_lock_was_taken_away_writes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let orders = Orders::shared();
    // not inside a transaction on SQLite, whose one file would be locked
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        // the export is old
        let begin = || {
            put(&phases, 2);
            place.execute("UPDATE _transvase_phase_history SET at_us = 1");
        };
        begin();
        let points: &[&str] = match place {
            Place::File(_) => &["page-encoded:3"],
            Place::Server(_) => &["page-encoded:3", "transaction-begun:5"],
        };
        // woken up amid a transaction it may be through before the lock can be taken away: then it was no zombie yet
        let attempts = points.iter().flat_map(|point| [*point; 20]).enumerate();
        let mut met = BTreeSet::new();
        for (round, point) in attempts {
            if met.contains(point) {
                continue;
            }
            let run = format!("run-{round}");
            let engine = orders.engine(&place).args(&["--live-target", "--run", &run, "--lease-seconds", "2"]);
            let Some(sleeper) = asleep_or_through(engine, &place, point) else {
                assert!(block_on(phases.release_lock(&run)).unwrap());
                continue;
            };
            let Some(lock) = block_on(phases.lock()).unwrap() else { panic!("{point}: it has no lock") };
            assert_eq!(lock.run, run);
            // a transaction that has proved its claim is waited for, so the zombie has to wake up meanwhile
            let before = std::thread::scope(|scope| {
                let taken = scope.spawn(|| {
                    put(&phases, 5);
                    assert!(block_on(phases.release_lock(&run)).unwrap());
                    durable(&place, &run)
                });
                std::thread::sleep(Duration::from_millis(300));
                sleeper.signal("CONT");
                taken.join().unwrap()
            });
            let ended = sleeper.wait(Duration::from_secs(60));
            assert_eq!(durable(&place, &run), before, "{point}: it wrote after its lock was taken away");
            if before < orders.items {
                assert_eq!(ended.code(), Some(6), "{point}: {}", ended.stderr);
                met.insert(point);
            }
            begin();
        }
        assert_eq!(met.len(), points.len(), "it was through each time: {met:?}");
    }
}

#[test]
fn nothing_is_claimed_under_a_lock_that_is_held_past_the_steps_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let orders = Orders::live(100, 7);
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        put(&phases, 2);
        an_hour_later(&place);
        let died = orders.engine(&place).env("TRANSVASE_ABORT_AT", "unit-claimed:1").run();
        assert_eq!(died.signal(), Some(6), "{}", died.stderr);
        place.execute("DELETE FROM _transvase_leases");
        put(&phases, 5);
        // as a copy does that looked at the step before, and was held up until now
        let Taken::Ours(epoch) = block_on(phases.take_lock("orders", lease())).unwrap() else { panic!("it is ours") };
        let claim = || {
            block_on(async {
                let pool = Arc::new(Pool::new(target(&place), 1));
                let run = Checkpoint::existing(pool, "orders").await.unwrap().unwrap().locked(NAME, epoch);
                run.claim(&Owner::this_process(), 7).await
            })
        };
        let refused = claim().unwrap_err();
        assert!(refused.chain().contains("was taken away"), "{}", refused.chain());
        put(&phases, 4);
        assert!(claim().unwrap().is_some());
    }
}

#[test]
fn a_lapsed_lock_passes_to_another_run_and_never_back() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        let take = |run: &str, lease| block_on(phases.take_lock(run, lease)).unwrap();
        assert_eq!(take("a", lease()), Taken::Ours(1));
        assert_eq!(take("a", Duration::ZERO), Taken::Ours(1), "all of its processes share it");
        let Taken::Theirs(lock) = take("b", lease()) else { panic!("b has taken what a holds") };
        assert!(lock.run == "a" && lock.left_us.is_some_and(|left| left > 1_000_000), "never made shorter: {lock:?}");
        place.execute("UPDATE _transvase_locks SET until_us = 1");
        assert_eq!(take("b", lease()), Taken::Ours(2));
        assert!(matches!(take("a", lease()), Taken::Theirs(_)));
        assert!(!block_on(phases.release_lock("a")).unwrap(), "it is not a's any more");
        let judged = block_on(phases.load()).unwrap().unwrap();
        let now = put(&phases, 3);
        assert_eq!(block_on(phases.hold_lock(&judged, "b", lease())).unwrap(), None, "it was judged in another step");
        assert_eq!(block_on(phases.hold_lock(&now, "b", lease())).unwrap(), Some(2));
        let refused = phase(&place, "unlock", &["--run", "b"]).expect(6).stderr;
        assert!(refused.contains("step 3 needs the backfill lock"), "{refused}");
        put(&phases, 5);
        phase(&place, "unlock", &["--run", "b"]).expect(0);
        assert_eq!(block_on(phases.lock()).unwrap(), None);
    }
}
