//! Write barriers: writers stop, the step changes, writers go on; or the barrier goes away by itself.

use super::{begun, lease, phase, put, target};
use crate::support::orders::{Place, block_on};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use transvase::checkpoint::phases::{Next, Phases, prove};
use transvase::driver::session::Session;

/// An application instance that stops when it is told to, and remembers in which steps it would have written; one more is at work when
/// it has heard for the first time what it may do.
fn instance(phases: &Phases, name: &str, obeys: bool, (at_work, end): (&AtomicUsize, &AtomicBool)) -> Vec<u8> {
    let (mut wrote, mut stopped, mut heard) = (Vec::new(), None, 0);
    while !end.load(Ordering::Relaxed) {
        let phase = block_on(phases.heartbeat(name, stopped, lease())).unwrap().unwrap();
        stopped = (obeys && phase.moving_to.is_some()).then_some(phase.version);
        if stopped.is_none() && wrote.last() != Some(&phase.step) {
            wrote.push(phase.step);
        }
        heard += 1;
        if heard == 1 {
            at_work.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(20));
    }
    wrote
}

/// Ends the instances.
struct Over<'e>(&'e AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `during` while instances are at work; the steps in which each wrote.
pub(super) fn with_instances(phases: &Phases, obey: &[bool], during: impl FnOnce()) -> Vec<Vec<u8>> {
    let (at_work, end) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (at_work, end) = (&at_work, &end);
        let all: Vec<_> = obey
            .iter()
            .enumerate()
            .map(|(number, obeys)| {
                scope.spawn(move || instance(phases, &format!("app-{number}"), *obeys, (at_work, end)))
            })
            .collect();
        // who is on record may not have heard yet in which step
        while at_work.load(Ordering::Relaxed) < obey.len() && !all.iter().any(|one| one.is_finished()) {
            thread::sleep(Duration::from_millis(5));
        }
        // what fails ends the instances too
        let over = Over(end);
        during();
        // each sees what has come of it
        let version = block_on(phases.load()).unwrap().unwrap().version;
        while block_on(phases.writers()).unwrap().iter().any(|one| one.version < version) {
            thread::sleep(Duration::from_millis(5));
        }
        drop(over);
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn writers_stop_and_go_on_across_a_barrier() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        put(&phases, 6);
        let wrote = with_instances(&phases, &[true; 4], || {
            // it is crossed as soon as all have stopped, however busy the machine is
            let args = ["--to", "sql", "--yes-lose-rollback", "orders", "--barrier-timeout", "60"];
            let said = phase(&place, "advance", &args).expect(0).stdout;
            assert!(said.contains("step 7 (sql), from step 6; writers were stopped for"), "{said}");
        });
        assert!(wrote.iter().all(|steps| *steps == [6, 7]), "{wrote:?}");
        let said = phase(&place, "history", &[]).expect(0).stdout;
        assert!(said.contains("barrier  step 6 to 7") && said.contains("advance  step 6 to 7"), "{said}");
    }
}

#[test]
fn a_barrier_that_somebody_does_not_stop_at_is_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        put(&phases, 6);
        let wrote = with_instances(&phases, &[true, false], || {
            let args = ["--to", "7", "--yes-lose-rollback", "orders", "--barrier-timeout", "0.5"];
            let said = phase(&place, "advance", &args).expect(6).stderr;
            assert!(said.contains("writers go on in step 6") && said.contains("app-1"), "{said}");
        });
        assert_eq!(wrote, [[6], [6]]);
        assert_eq!(block_on(phases.load()).unwrap().unwrap().step, 6);
    }
}

#[test]
fn a_dead_instance_holds_up_a_barrier_until_its_lease_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("target.db"));
    let phases = begun(&place);
    put(&phases, 6);
    let args = ["--to", "7", "--yes-lose-rollback", "orders"];
    block_on(phases.heartbeat("gone", None, lease())).unwrap();
    let said = phase(&place, "advance", &[&args[..], &["--barrier-timeout", "0.3"]].concat()).expect(6).stderr;
    assert!(said.contains("gone"), "{said}");
    place.execute("UPDATE _transvase_writers SET until_us = 1");
    phase(&place, "advance", &args).expect(0);
    assert!(block_on(phases.writers()).unwrap().is_empty(), "who is dead is no longer told of");
}

#[test]
fn a_barrier_that_a_controller_left_behind_ends_by_itself_or_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    for (place, goes_on) in Place::all(folder.path()).into_iter().zip([true, false, true]) {
        let phases = begun(&place);
        let before = put(&phases, 6);
        let during = if goes_on { 60_000_000 } else { 200_000 };
        let next =
            Next { step: 6, barrier: Some((7, during)), generation: 1, within_barrier: false, releases_lock: false };
        block_on(async { assert!(phases.transit(&before, next, &super::audit("barrier")).await.unwrap()) });
        if goes_on {
            assert_eq!(block_on(phases.load()).unwrap().unwrap().moving_to, Some(7));
            phase(&place, "advance", &["--to", "7", "--yes-lose-rollback", "orders"]).expect(0);
            continue;
        }
        thread::sleep(Duration::from_millis(250));
        let over = block_on(phases.load()).unwrap().unwrap();
        assert_eq!((over.step, over.moving_to), (6, None), "writers go on by themselves");
        let late = Next { step: 7, barrier: None, within_barrier: true, ..next };
        let crossed = block_on(phases.transit(&over, late, &super::audit("advance"))).unwrap();
        assert!(!crossed, "a barrier that is over cannot be crossed");
    }
}

#[test]
fn a_transition_that_waits_until_its_barrier_is_over_is_not_made() {
    // SQLite locks the whole file, and knows no such wait
    for place in Place::servers() {
        let phases = begun(&place);
        let before = put(&phases, 6);
        let during = 1_000_000;
        let next =
            Next { step: 6, barrier: Some((7, during)), generation: 1, within_barrier: false, releases_lock: false };
        block_on(async { assert!(phases.transit(&before, next, &super::audit("barrier")).await.unwrap()) });
        let standing = block_on(phases.load()).unwrap().unwrap();
        let over = Next { step: 7, barrier: None, within_barrier: true, ..next };
        let crossed = thread::scope(|scope| {
            block_on(async {
                let mut session = Session::open(&target(&place)).await.unwrap();
                session.begin().await.unwrap();
                prove(&mut session, super::NAME).await.unwrap();
                let crossing = scope.spawn(|| block_on(phases.transit(&standing, over, &super::audit("advance"))));
                // whoever holds the row finds the barrier over, and goes on in step 6
                while prove(&mut session, super::NAME).await.unwrap().unwrap().moving_to.is_some() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                session.commit().await.unwrap();
                crossing.join().unwrap().unwrap()
            })
        });
        assert!(!crossed, "{}", place.url());
    }
}
