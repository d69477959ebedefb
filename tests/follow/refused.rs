//! What does not make a chain, or does not join on to the copy: refused by name, before anything is written.

use super::{World, rewrite};
use crate::support::engine::Outcome;
use crate::support::orders::Place;
use std::path::Path;

fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

/// It was refused with `code`, saying all of this in one line, and the copy is as it was.
#[track_caller]
fn assert_refused(world: &World, place: &Place, outcome: Outcome, code: i32, said: &[&str]) {
    let outcome = outcome.expect(code);
    let line = outcome.stderr.lines().last().unwrap_or_default();
    for part in said {
        assert!(line.contains(part), "{part:?} is not in: {}", outcome.stderr);
    }
    world.assert_is(place, &world.chain.exported, "nothing was applied");
    assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_runs WHERE run LIKE '%follow%'"), 0);
}

/// A world with a copy, changed by `change`, whose chain is refused.
#[track_caller]
fn refused(change: impl Fn(&World), code: i32, said: impl Fn(&World) -> Vec<String>) {
    let world = World::small(21);
    let place = world.file("copy.db");
    world.copy(&place);
    change(&world);
    let said = said(&world);
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    assert_refused(&world, &place, world.follow(world.bucket(), &place).run(), code, &said);
}

fn names(world: &World, windows: &[usize]) -> Vec<String> {
    windows.iter().map(|at| name(world.window(*at)).to_owned()).collect()
}

#[test]
fn a_missing_window_is_named_with_both_its_neighbours() {
    let remove = |world: &World| std::fs::remove_dir_all(world.window(2)).unwrap();
    refused(remove, 2, |world| {
        let mut said = names(world, &[1, 3]);
        said.extend(["a window is missing between".to_owned(), "2026-01-".to_owned()]);
        said
    });
}

#[test]
fn overlapping_windows_are_both_named() {
    let earlier = |world: &World| {
        rewrite(world.window(1), &[("exportFromTime\":\"2026-01-14T10:18", "exportFromTime\":\"2026-01-14T10:17")])
    };
    refused(earlier, 2, |world| [names(world, &[0, 1]), vec!["overlap".into()]].concat());
    let twice = |world: &World| {
        let copy = world.window(1).with_file_name("01768385930001-abcdef01");
        std::fs::create_dir(&copy).unwrap();
        for file in ["manifest-summary.json", "manifest-files.json"] {
            std::fs::copy(world.window(1).join(file), copy.join(file)).unwrap();
        }
    };
    refused(twice, 2, |world| [names(world, &[1]), vec!["01768385930001-abcdef01".into(), "overlap".into()]].concat());
}

#[test]
fn exports_of_two_tables_are_both_named() {
    let other = |world: &World| {
        rewrite(
            world.window(2),
            &[(
                "tableArn\":\"arn:aws:dynamodb:eu-north-1:123456789012:table/orders",
                "tableArn\":\"arn:aws:dynamodb:eu-north-1:123456789012:table/others",
            )],
        )
    };
    refused(other, 2, |world| [names(world, &[1, 2]), vec!["table/others".into(), "one table".into()]].concat());
    let recreated = |world: &World| rewrite(world.window(2), &[("cf263806", "cf263807")]);
    refused(recreated, 2, |world| [names(world, &[1, 2]), vec!["cf263807".into(), "one table".into()]].concat());
}

#[test]
fn an_export_that_is_not_complete_is_named() {
    let unfinished = |world: &World| {
        for file in ["manifest-summary.json", "manifest-summary.md5"] {
            std::fs::remove_file(world.window(3).join(file)).unwrap();
        }
    };
    refused(unfinished, 2, |world| [names(world, &[3]), vec!["is not complete".into()]].concat());
    let failed = |world: &World| {
        unfinished(world);
        for file in ["manifest-files.json", "manifest-files.md5", "_started"] {
            std::fs::remove_file(world.window(3).join(file)).unwrap();
        }
    };
    refused(failed, 2, |world| [names(world, &[3]), vec!["is not complete".into()]].concat());
}

#[test]
fn a_full_export_is_no_window_and_another_ones_full_export_no_neighbour() {
    let world = World::small(22);
    let place = world.file("copy.db");
    world.copy(&place);
    let full = world.follow(&world.chain.full, &place).run();
    assert_refused(&world, &place, full, 2, &["is a full export", name(&world.chain.full), "backfill"]);
    let other = |world: &World| {
        let copy = world.chain.full.with_file_name("01768385930001-abcdef01");
        std::fs::create_dir(&copy).unwrap();
        for file in ["manifest-summary.json", "manifest-files.json"] {
            std::fs::copy(world.chain.full.join(file), copy.join(file)).unwrap();
        }
        rewrite(&copy, &[(&format!("/export/{}", name(&world.chain.full)), "/export/01768385930001-abcdef01")]);
    };
    refused(other, 2, |_| vec!["01768385930001-abcdef01".into(), "not the one that run orders copied".into()]);
}

#[test]
fn a_chain_that_begins_too_late_is_refused_with_both_times() {
    let without_first = |world: &World| std::fs::remove_dir_all(world.window(0)).unwrap();
    refused(without_first, 6, |world| {
        let times = ["2026-01-14T10:18:50Z", "2026-01-14T10:13:50Z"].map(str::to_owned);
        [names(world, &[1]), times.to_vec()].concat()
    });
}

#[test]
fn a_chain_goes_on_only_where_the_one_before_ended() {
    let world = World::small(23);
    let place = world.file("copy.db");
    world.copy(&place);
    world.follow(world.window(0), &place).run().expect(0);
    let gap = world.follow(world.window(2), &place).run().expect(6);
    assert!(gap.stderr.contains("a window is missing between 2026-01-14T10:03:50Z"), "{}", gap.stderr);
    assert!(gap.stderr.contains(name(world.window(2))), "{}", gap.stderr);
    world.assert_is(&place, &world.chain.windows[0].truth, "nothing was applied");
    let died = world.follow(world.bucket(), &place).env("TRANSVASE_ABORT_AT", "committed:1").run();
    assert!(died.signal().is_some());
    // another export of the same window would be read from its start
    rewrite(world.window(1), &[(name(world.window(1)), "01768385930001-abcdef01")]);
    let other = world.follow(world.bucket(), &place).run().expect(6);
    assert!(
        other.stderr.contains("was begun with export") && other.stderr.contains(name(world.window(1))),
        "{}",
        other.stderr
    );
}

#[test]
fn without_a_complete_copy_by_the_same_mapping_nothing_is_followed() {
    let world = World::small(24);
    let place = world.file("copy.db");
    let never = world.follow(world.bucket(), &place).run().expect(6);
    assert!(never.stderr.contains("holds no run orders"), "{}", never.stderr);
    let died = world.verb("backfill", &world.chain.full, &place).env("TRANSVASE_ABORT_AT", "committed:1").run();
    assert!(died.signal().is_some());
    let early = world.follow(world.bucket(), &place).run().expect(6);
    assert!(early.stderr.contains("run orders is not complete"), "{}", early.stderr);
    world.copy(&place);
    let renamed = world.follow(world.bucket(), &place).args(&["--table", "others"]).run();
    assert_refused(&world, &place, renamed, 6, &["another key or mapping"]);
    let named = world.follow(world.bucket(), &place).args(&["--run", "nobody"]).run();
    assert_refused(&world, &place, named, 6, &["no run nobody", "--run NAME"]);
    world.follow(world.window(0), &place).run().expect(0);
    let window = world.follow(world.bucket(), &place).args(&["--run", "orders.follow.2026-01-14T10:18:50Z"]).run();
    assert!(window.expect(6).stderr.contains("is no copy"));
}

#[test]
fn an_incremental_export_is_no_table_to_copy_or_to_look_at() {
    let world = World::small(25);
    let place = world.file("none.db");
    for verb in ["backfill", "verify", "plan"] {
        let outcome = world.verb(verb, world.window(1), &place).run().expect(2);
        assert!(outcome.stderr.contains("of an incremental export"), "{verb}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("transvase follow"), "{verb}: {}", outcome.stderr);
    }
}
