//! The operator stops it: once for an orderly end, twice for an end at once.

use crate::support::orders::{Orders, Place, block_on};
use crate::support::servers::execute;
use std::time::Duration;

#[test]
fn a_stopped_run_drains_exits_4_and_is_resumed() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    for (place, name) in Place::all(folder.path()).into_iter().zip(["TERM", "INT", "TERM"]) {
        // Woken, it finds the signal before all that is left is done, one page after the other.
        let engine = orders.engine(&place).args(&["--writers", "1", "--readers", "1"]);
        let mut running = engine.env("TRANSVASE_STOP_AT", "committed:2").spawn();
        running.wait_to_sleep();
        running.signal(name);
        running.signal("CONT");
        let outcome = running.wait(Duration::from_secs(120)).expect(4);
        assert_eq!(outcome.report["status"], "interrupted");
        assert!(outcome.stderr.contains("stopping: pages in flight are being finished"), "{}", outcome.stderr);
        let durable = outcome.number("/read");
        assert_eq!(durable, place.count("SELECT COUNT(*) FROM orders"), "what the report counts is what is there");
        assert!(durable < orders.items);
        let outcome = orders.engine(&place).run();
        assert!(outcome.stderr.contains(&format!("resuming: {durable} of ")), "{}", outcome.stderr);
        let outcome = orders.assert_complete(&place, outcome);
        assert_eq!(outcome.number("/process/items"), orders.items - durable, "nothing durable is written again");
    }
}

#[test]
fn a_second_signal_ends_it_at_once_and_costs_nothing() {
    let orders = Orders::shared();
    for place in Place::servers() {
        let Place::Server(database) = &place else { continue };
        let begun = orders.engine(&place).env("TRANSVASE_ABORT_AT", "committed:2").run();
        assert_eq!(begun.signal(), Some(6));
        // whatever the dead one had claimed may be claimed now
        place.execute("DELETE FROM _transvase_leases");
        let outcome = block_on(async {
            // Locked fences: no unit can be claimed, and what waits for one cannot be finished.
            let mut holder = database.connect().await;
            execute(&mut holder, "START TRANSACTION; SELECT * FROM _transvase_fences FOR UPDATE").await;
            let mut running = orders.engine(&place).spawn();
            running.wait_to_say("resuming");
            place.until_someone_waits().await;
            running.signal("TERM");
            running.wait_to_say("stopping");
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!running.has_ended(), "it waits for what is in flight: {}", running.said());
            running.signal("TERM");
            let outcome = running.wait(Duration::from_secs(120));
            // an orderly stop, which it would come to when the server gives up waiting, ends with a report
            assert!(outcome.report.is_null(), "{}", outcome.report);
            execute(&mut holder, "ROLLBACK").await;
            outcome
        });
        outcome.expect(4);
        orders.assert_complete(&place, orders.engine(&place).run());
    }
}

#[test]
fn a_complete_run_says_so_and_does_nothing() {
    let orders = Orders::new(500, 2, 3);
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        orders.assert_complete(&place, orders.engine(&place).run());
        let before = place.snapshot();
        let outcome = orders.assert_complete(&place, orders.engine(&place).run());
        assert_eq!(outcome.report["status"], "already-complete");
        assert_eq!(outcome.number("/process/items"), 0);
        assert!(outcome.stdout.contains("was complete already; nothing done"), "{}", outcome.stdout);
        assert_eq!(before, place.snapshot());
    }
}
