//! Windows that join on to the copy: applied by time, once, whatever dies.

use super::{World, into_dynamo, statuses, with_credentials, within};
use crate::incremental::{Options, View};
use crate::support::dynamo::DynamoServer;
use crate::support::engine::Engine;
use crate::support::orders::{KEY, Place, is_soak};
use crate::support::s3::S3Server;
use std::time::Duration;

const SIGABRT: i32 = 6;

#[test]
fn after_each_window_the_target_is_what_the_table_was() {
    for seed in if is_soak() { 0..200 } else { 0..2 } {
        let view = if seed % 2 == 0 { View::NewAndOldImages } else { View::NewImage };
        let world = World::new(Options { items: 200, windows: 4, changes: 150, seed, view, ..Options::default() });
        let place = world.file("each.db");
        world.copy(&place);
        for (at, window) in world.chain.windows.iter().enumerate() {
            let outcome = world.follow(&window.folder, &place).run().expect(0);
            assert_eq!(statuses(&outcome), ["applied"], "{}", outcome.stderr);
            world.assert_is(&place, &window.truth, &format!("seed {seed}, after window {at}"));
        }
        let outcome = world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
        assert_eq!(statuses(&outcome), ["applied-before"; 4]);
        assert_eq!(outcome.number("/process/items"), 0);
    }
}

#[test]
fn a_chain_is_applied_by_time_into_every_database() {
    let world = World::small(11);
    for place in Place::all(world.folder.path()) {
        world.copy(&place);
        let first = world.follow(world.window(0), &place).run().expect(0);
        assert!(first.stdout.contains("caught up with the end of the chain"), "{}", first.stdout);
        world.assert_is(&place, &world.chain.windows[0].truth, "after the first window");
        let outcome = world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
        assert_eq!(statuses(&outcome), ["applied-before", "applied", "applied", "applied"]);
        assert!(outcome.stderr.contains("window 3 of 3, "), "{}", outcome.stderr);
        assert_eq!(outcome.report["remarks"].as_array().unwrap().len(), 0, "a window ends at the copy's time");
    }
}

#[test]
fn a_dynamodb_table_follows_as_well() {
    let world = World::small(12);
    let (server, state) = (DynamoServer::start(), within(&world, "state.db"));
    server.create("orders", KEY);
    into_dynamo("backfill", &world.chain.full, &server, &state).run().expect(0);
    let died = into_dynamo("follow", world.bucket(), &server, &state).env("TRANSVASE_ABORT_AT", "rows-written:4").run();
    assert_eq!(died.signal(), Some(SIGABRT), "{}", died.stderr);
    let outcome = into_dynamo("follow", world.bucket(), &server, &state).run().expect(0);
    world.assert_counts(&outcome);
    assert!(server.items("orders") == world.truth(world.end()), "the table at the end");
}

#[test]
fn a_process_that_dies_at_every_point_in_turn_applies_each_change_once() {
    let world = World::small(13);
    let places = Place::all(world.folder.path());
    for place in if is_soak() { &places[..] } else { &places[1..] } {
        world.copy(place);
        for (point, nth) in [
            ("unit-claimed", 1),
            ("page-read", 2),
            ("transaction-begun", 1),
            ("rows-written", 2),
            ("ledger-written", 1),
            ("committed", 1),
            ("unit-done", 1),
            ("run-complete", 1),
            ("rows-written", 4),
            ("run-complete", 2),
        ] {
            let died = world.follow(world.bucket(), place).env("TRANSVASE_ABORT_AT", &format!("{point}:{nth}")).run();
            assert_eq!(died.signal(), Some(SIGABRT), "{point}:{nth} {:?}\n{}", died.status, died.stderr);
        }
        world.assert_caught_up(place, world.follow(world.bucket(), place).run());
    }
}

#[test]
fn two_processes_apply_a_chain_together() {
    let options = Options { items: 2000, windows: 4, changes: 6000, files: 6, seed: 18, ..Options::default() };
    let world = World::new(options);
    for place in Place::servers() {
        world.copy(&place);
        let engine = || world.follow(world.bucket(), &place).args(&["--memory", "4MiB"]).spawn();
        for running in [engine(), engine(), engine()] {
            world.assert_caught_up(&place, running.wait(Duration::from_secs(120)));
        }
    }
}

#[test]
fn a_window_without_a_change_is_applied_like_any_other() {
    let world = World::new(Options { items: 20, windows: 3, changes: 0, seed: 19, ..Options::default() });
    let place = world.file("quiet.db");
    world.copy(&place);
    let outcome = world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
    assert_eq!(statuses(&outcome), ["applied"; 3]);
}

const NARROW: &str = r#"key = "customer_id:S,order_id:S"
[[table]]
name = "orders"
rest = "rest"
column = [
    { name = "customer_id", type = "varchar(64)", key = true },
    { name = "order_id", type = "varchar(64)", key = true },
    { name = "total", type = "decimal(5,2)" },
]"#;

/// Orders of 1000 and more do not fit: their rows go with the change that made them so.
#[test]
fn a_change_that_cannot_be_stored_is_a_reject_and_takes_its_row_away() {
    let world = World::new(Options { items: 200, windows: 3, changes: 300, seed: 20, ..Options::default() });
    let mapping = within(&world, "narrow.toml");
    std::fs::write(&mapping, NARROW).unwrap();
    for place in Place::all(world.folder.path()) {
        let verb = |verb: &str, from: &std::path::Path| {
            let args = ["--from", from.to_str().unwrap(), "--to", &place.url(), "--max-rejects", "1000"];
            let engine = Engine::new(&[verb]).args(&args).args(&["--mapping", mapping.to_str().unwrap()]).report();
            match &place {
                Place::Server(database) => engine.env("MYSQL_PWD", database.password()),
                Place::File(_) => engine,
            }
        };
        verb("backfill", &world.chain.full).args(&["--create-tables"]).run().expect(3);
        let outcome = verb("follow", world.bucket()).run().expect(3);
        assert_eq!(outcome.report["status"], "caught-up-with-rejects");
        let truth = world.truth(world.end());
        let fits = |item: &&serde_json::Value| {
            let total = item["total"]["N"].as_str().unwrap();
            let (digits, power) = total.split_once('e').unwrap();
            digits.parse::<f64>().unwrap() * 10_f64.powi(power.parse().unwrap()) < 1000.0
        };
        let id = |item: &serde_json::Value| item["order_id"]["S"].as_str().unwrap().as_bytes().to_vec();
        let mut expected: Vec<Vec<u8>> = truth.iter().filter(fits).map(id).collect();
        expected.sort();
        let rows = place.query("SELECT order_id FROM orders ORDER BY order_id");
        let found: Vec<Vec<u8>> = rows.into_iter().map(|mut row| row.remove(0).unwrap()).collect();
        assert!(found == expected, "{} rows, {} orders that fit", found.len(), expected.len());
        assert!(found.len() > 10 && found.len() < truth.len());
        let [read, written, removed, rejected] =
            ["read", "written", "removed", "rejected"].map(|name| outcome.number(&format!("/{name}")));
        assert_eq!(read, written + removed + rejected);
        let declared: u64 = world.chain.windows.iter().map(|window| window.changes.0 + window.changes.1).sum();
        assert_eq!((read, rejected > 10), (declared, true));
        let file = outcome.report["windows"][0]["rejects_file"].as_str().unwrap();
        assert!(file.contains(".follow.2026-01-14T10:18:50Z.rejects.jsonl"), "{file}");
        let copied = verb("follow", world.bucket()).run().expect(3);
        assert_eq!(statuses(&copied), ["applied-before"; 3]);
        refuses_retry(&world, &place);
    }
}

/// What the copy rejected may have been overtaken by the windows.
fn refuses_retry(world: &World, place: &Place) {
    let mapping = within(world, "narrow.toml");
    for run in ["orders", "orders.follow.2026-01-14T10:18:50Z"] {
        let engine = Engine::new(&["rejects", "retry", "--on", &place.url(), "--run", run, "--mapping"]);
        let engine = engine.args(&[mapping.to_str().unwrap()]);
        let outcome = match place {
            Place::Server(database) => engine.env("MYSQL_PWD", database.password()).run(),
            Place::File(_) => engine.run(),
        };
        assert!(outcome.expect(6).stderr.contains("may have been overtaken"));
    }
}

#[test]
fn a_stopped_chain_says_how_far_it_is_and_goes_on() {
    // so many that there are some left whenever the signal is heard
    let world = World::new(Options { items: 200, windows: 40, changes: 60, seed: 14, ..Options::default() });
    let place = world.file("stopped.db");
    world.copy(&place);
    // woken in its second window, it finds the signal
    let mut running = world.follow(world.bucket(), &place).env("TRANSVASE_STOP_AT", "committed:4").spawn();
    running.wait_to_sleep();
    running.signal("TERM");
    running.signal("CONT");
    let outcome = running.wait(Duration::from_secs(120)).expect(4);
    assert_eq!(outcome.report["status"], "interrupted");
    assert_eq!(statuses(&outcome)[0], "applied");
    assert_eq!(statuses(&outcome).last().unwrap(), "waiting");
    world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
}

#[test]
fn a_copy_begun_anew_has_had_no_window() {
    let world = World::small(15);
    let place = world.file("anew.db");
    world.copy(&place);
    world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
    place.execute("DROP TABLE orders");
    world.verb("backfill", &world.chain.full, &place).args(&["--restart"]).run().expect(0);
    world.assert_is(&place, &world.chain.exported, "the new copy");
    let outcome = world.assert_caught_up(&place, world.follow(world.bucket(), &place).run());
    assert_eq!(statuses(&outcome), ["applied"; 4]);
}

#[test]
fn a_chain_in_s3_is_found_below_its_prefix() {
    let options = Options { items: 200, windows: 3, changes: 120, seed: 16, ..Options::default() };
    let world = World::new(Options { prefix: Some("nightly/backups".into()), ..options });
    let server = S3Server::start(world.folder.path());
    let place = world.file("s3.db");
    world.copy(&place);
    let engine = |from: &str| {
        let engine = Engine::new(&["follow", "--from", from, "--key", KEY, "--to", &place.url()]).report();
        with_credentials(engine).env("TRANSVASE_S3_ENDPOINT", &format!("http://{}", server.address))
    };
    let id = world.window(0).file_name().unwrap().to_str().unwrap();
    let one = engine(&format!("s3://bucket/nightly/backups/AWSDynamoDB/{id}")).run().expect(0);
    assert_eq!(statuses(&one), ["applied"]);
    let outcome = engine("s3://bucket/nightly/backups").run();
    let outcome = world.assert_caught_up(&place, outcome);
    assert_eq!(statuses(&outcome), ["applied-before", "applied", "applied"]);
    let nothing = engine("s3://bucket/weekly").run().expect(2);
    assert!(nothing.stderr.contains("no incremental export at s3://bucket/weekly"), "{}", nothing.stderr);
}

#[test]
fn a_copy_of_the_folder_without_the_prefix_is_read_too() {
    let options = Options { items: 100, windows: 2, changes: 60, seed: 17, ..Options::default() };
    let world = World::new(Options { prefix: Some("nightly".into()), ..options });
    let place = world.file("moved.db");
    world.copy(&place);
    let moved = within(&world, "moved");
    std::fs::rename(world.bucket().join("nightly/AWSDynamoDB"), &moved).unwrap();
    world.assert_caught_up(&place, world.follow(&moved, &place).run());
}

/// Its fence alone keeps it from that: the other's spans are folded, and tell nothing of each page any more.
#[test]
fn a_process_that_slept_while_another_ended_the_chain_takes_nothing_back() {
    let world = World::small(9);
    for place in Place::all(world.folder.path()) {
        let follow = |place: &Place| world.follow(world.bucket(), place).args(&["--lease-seconds", "2"]);
        let copied = |place: &Place| {
            world.copy(place);
            follow(place)
        };
        let (place, sleeper) = crate::crash::asleep_anew(&place, copied, "page-encoded:1");
        world.assert_caught_up(&place, follow(&place).run());
        sleeper.signal("CONT");
        let woken = sleeper.wait(Duration::from_secs(120));
        assert!(woken.signal().is_none(), "{woken:?}");
        world.assert_caught_up(&place, follow(&place).run());
    }
}
