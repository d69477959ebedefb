//! Changes applied while the copy is still being made: what they remove stays removed, what they put stays.

use super::World;
use crate::incremental::Options;
use crate::support::engine::Engine;
use crate::support::orders::{Place, is_soak};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn backfill(world: &World, place: &Place) -> Engine {
    world.verb("backfill", &world.chain.full, place).args(&["--live-target", "--lease-seconds", "2"])
}

/// Where the copy stands still: with nothing written, with items read that are not written, and with rows that are not
/// committed.
const POINTS: [&str; 3] = ["unit-claimed:1", "page-encoded:2", "rows-written:2"];

#[test]
fn changes_applied_while_a_copy_stands_still_outlast_it() {
    for seed in 0..if is_soak() { 20 } else { 1 } {
        let world = World::new(Options { items: 300, windows: 3, changes: 260, seed, ..Options::default() });
        for point in POINTS {
            for place in Place::servers() {
                let copy = crate::crash::asleep(backfill(&world, &place), &place, point);
                // Woken while the changes are being applied: some wait for rows that it holds.
                let changes = world.follow(world.bucket(), &place).spawn();
                std::thread::sleep(Duration::from_millis(300));
                copy.signal("CONT");
                let copied = copy.wait(LIMIT).expect(0);
                world.assert_caught_up(&place, changes.wait(LIMIT));
                let ended =
                    ["written", "present", "tombstoned"].map(|name| copied.number(&format!("/outcomes/{name}")));
                assert_eq!(ended.iter().sum::<u64>(), world.chain.exported.len() as u64, "{}", copied.report);
                assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_tombstones"), 0, "the load is over");
            }
        }
    }
}

#[test]
fn a_copy_that_died_goes_on_after_the_changes_and_revives_nothing() {
    let world = World::new(Options { items: 300, windows: 3, changes: 260, seed: 5, ..Options::default() });
    for place in Place::all(world.folder.path()) {
        let died = backfill(&world, &place).env("TRANSVASE_ABORT_AT", "transaction-begun:2").run();
        assert!(died.signal().is_some(), "{}", died.stderr);
        world.assert_counts(&world.follow(world.bucket(), &place).run().expect(0));
        assert!(place.count("SELECT COUNT(*) FROM _transvase_tombstones") > 0, "what was deleted may still be loaded");
        let copied = backfill(&world, &place).run().expect(0);
        assert!(
            copied.number("/outcomes/present") > 0 && copied.number("/outcomes/tombstoned") > 0,
            "{}",
            copied.report
        );
        world.assert_is(&place, world.end(), "at the end");
    }
}

#[test]
fn a_copy_that_only_it_writes_is_not_followed_before_it_is_complete() {
    let world = World::small(6);
    let place = world.file("alone.db");
    let died = world.verb("backfill", &world.chain.full, &place).env("TRANSVASE_ABORT_AT", "committed:1").run();
    assert!(died.signal().is_some(), "{}", died.stderr);
    let refused = world.follow(world.bucket(), &place).run().expect(6);
    assert!(refused.stderr.contains("is not complete, and was begun without --live-target"), "{}", refused.stderr);
}

#[test]
fn a_copy_that_died_just_when_it_was_complete_leaves_no_tombstones_once_it_is_followed() {
    let world = World::new(Options { items: 200, windows: 2, changes: 160, seed: 7, ..Options::default() });
    let stone = "INSERT INTO _transvase_tombstones (target, digest, at_us) VALUES ('orders', 'stone', 1)";
    for place in Place::all(world.folder.path()) {
        let died = backfill(&world, &place).env("TRANSVASE_ABORT_AT", "run-complete:1").run();
        assert!(died.signal().is_some(), "{}", died.stderr);
        assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_loads WHERE state = 'loading'"), 1);
        place.execute(stone);
        world.follow(world.window(0), &place).run().expect(0);
        assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_tombstones"), 0, "neither the old one nor new ones");
        // those of another load of the table are not this one's to take
        let other = backfill(&world, &place).args(&["--run", "other"]).env("TRANSVASE_ABORT_AT", "committed:1").run();
        assert!(other.signal().is_some(), "{}", other.stderr);
        place.execute(stone);
        world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
        assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_tombstones WHERE digest = 'stone'"), 1);
    }
}
