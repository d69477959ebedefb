//! Following up to a time: the windows that end by then are applied, and no later one.

use super::{World, statuses};

#[test]
fn windows_that_end_by_a_time_are_applied_and_later_ones_wait() {
    let world = World::small(21);
    let place = world.file("until.db");
    world.copy(&place);
    let until = |time: &str| world.follow(world.bucket(), &place).args(&["--until", time]).run().expect(0);
    let none = until("2000-01-01T00:00:00Z");
    assert_eq!(statuses(&none), ["waiting"; 4]);
    assert!(none.stderr.contains("0 windows to apply, 0 passed over"), "{}", none.stderr);
    world.assert_is(&place, &world.chain.exported, "nothing is applied");
    let end = none.report["windows"][1]["to"].as_str().unwrap().to_owned();
    let some = until(&end);
    assert_eq!(statuses(&some), ["applied", "applied", "waiting", "waiting"]);
    assert_eq!((&some.report["status"], &some.report["until"]), (&"caught-up".into(), &end.as_str().into()));
    assert_eq!(some.report["caught_up_to"], end.as_str());
    assert!(some.stdout.contains(&format!("caught up with the last window that ends by {end}")), "{}", some.stdout);
    world.assert_is(&place, &world.chain.windows[1].truth, "after the second window");
    // within the third, in another place's time
    let third = none.report["windows"][2]["to"].as_str().unwrap().replace('Z', "+00:01");
    assert_eq!(statuses(&until(&third)), ["applied-before", "applied-before", "waiting", "waiting"]);
    world.assert_is(&place, &world.chain.windows[1].truth, "a window is applied as a whole");
    let all = world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
    assert_eq!(statuses(&all), ["applied-before", "applied-before", "applied", "applied"]);
}

#[test]
fn a_window_that_was_begun_and_ends_later_waits_as_it_is() {
    let world = World::small(22);
    let place = world.file("begun.db");
    world.copy(&place);
    let died = world.follow(world.bucket(), &place).env("TRANSVASE_ABORT_AT", "committed:1").run();
    assert!(died.signal().is_some(), "{}", died.stderr);
    let waits = world.follow(world.bucket(), &place).args(&["--until", "2000-01-01T00:00:00Z"]).run().expect(0);
    assert_eq!(statuses(&waits), ["begun", "waiting", "waiting", "waiting"]);
    world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
}

#[test]
fn what_is_no_time_is_refused_and_a_chain_has_no_caught_up() {
    let world = World::small(23);
    let place = world.file("refused.db");
    world.copy(&place);
    for (until, why) in [
        ("caught-up", "a chain has an end"),
        ("tomorrow", "neither caught-up nor a time as RFC 3339"),
        ("2026-11-22", "neither caught-up nor a time"),
        ("2026-11-22T06:00:00", "neither caught-up nor a time"),
        ("2026-11-31T06:00:00Z", "neither caught-up nor a time"),
    ] {
        let refused = world.follow(world.bucket(), &place).args(&["--until", until]).run().expect(2);
        assert!(refused.stderr.contains(why), "{until}: {}", refused.stderr);
    }
}
