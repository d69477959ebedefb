//! One command from a full export over windows of changes to the stream: the target ends as the table is, every change of the
//! stream that counts is counted once, nothing is exported twice, whatever dies on the way. And what does not join on is
//! refused before it is paid for.

mod history;
mod joining;

use crate::follow_stream;
use crate::support::canon;
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::block_on;
use crate::support::streams_server::StreamFaults;
use crate::support::transvase::{Target, soak, sqlite, targets};
use history::{HOUR, History};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// The kinds of way: what the first export's age is, and which windows that takes, in seconds before the test began.
fn ways() -> [(u64, Vec<(u64, u64)>); 3] {
    let day = 24 * HOUR;
    let first = |age| (age + 900, age);
    [
        (3 * HOUR, Vec::new()),
        (20 * HOUR, vec![first(20 * HOUR), (20 * HOUR, 300)]),
        (30 * HOUR, vec![first(30 * HOUR), (30 * HOUR, 30 * HOUR - day)]),
    ]
}

/// Faults that cost little time, and a few changes at each request.
fn faults(seed: u64) -> StreamFaults {
    StreamFaults {
        seed,
        throttle: 0.01,
        lose: 0.005,
        empty: 0.05,
        life: 60,
        most: 25,
        acts: 4,
        ..StreamFaults::default()
    }
}

/// Arguments that lead to a target.
fn to(target: &Target) -> Vec<String> {
    let mut args = vec!["--to".to_owned(), target.url()];
    if let Target::Server(database) = target {
        args.extend(["--tls-ca".to_owned(), database.ca_file.display().to_string()]);
    }
    args
}

/// The command into a target, until it is caught up.
fn auto(history: &History, target: &Target) -> Engine {
    let args = to(target);
    let args: Vec<&str> = args.iter().map(String::as_str).chain(["--until", "caught-up"]).collect();
    match target {
        Target::Server(database) => history.auto(&args).env("MYSQL_PWD", database.password()),
        Target::Sqlite(_) => history.auto(&args),
    }
}

/// The version of each key in the target.
fn held(target: &Target) -> BTreeMap<String, u64> {
    block_on(follow_stream::held(target, "orders"))
}

/// Runs it again until the application has nothing more to do.
fn catch_up(history: &History, command: impl Fn() -> Engine) -> Outcome {
    loop {
        let is_settled = history.streams.world(|world| world.is_settled());
        let outcome = command().run().expect(0);
        assert!(outcome.stdout.contains("caught up"), "{}", outcome.stdout);
        if is_settled {
            return outcome;
        }
    }
}

/// Where the changes of the stream count from: five minutes before what the windows reach.
fn boundary(history: &History, (age, windows): &(u64, Vec<(u64, u64)>)) -> u64 {
    history.now - windows.last().map_or(*age, |window| window.1) - 300
}

/// Everything was asked for once and applied once.
#[track_caller]
fn assert_done(history: &History, way: &(u64, Vec<(u64, u64)>), last: &Outcome) {
    let exported = history.exported();
    assert_eq!(exported.len(), 1 + way.1.len(), "{exported:?}");
    assert_eq!(exported[0], None);
    for (found, (from, to)) in exported[1..].iter().zip(&way.1) {
        // one that ends "five minutes ago" was asked for at some time since the test began
        let (found, slack) = (found.unwrap(), if *to == 300 { history.lasts() } else { 0 });
        let (from, to) = (history.now - from, history.now - to);
        assert!(found.0 == from && (to..=to + slack).contains(&found.1), "{exported:?}");
    }
    let ended = exported.last().unwrap().map_or(history.now - way.0, |window| window.1);
    let counts = history.changes_since(ended - 300);
    assert_eq!(last.number("/read") - last.number("/skipped"), counts, "{}", last.stdout);
    assert_eq!(last.report["status"], "caught-up");
}

#[test]
fn one_command_leads_from_an_export_over_windows_to_the_stream_on_every_target() {
    let folder = tempfile::tempdir().unwrap();
    let ways = ways();
    let mut seed = 0;
    for round in 0..if soak() { 70 } else { 1 } {
        for target in block_on(targets(folder.path())) {
            // every server is led all ways under soak, SQLite always
            let is_quick = !soak() && !matches!(target, Target::Sqlite(_));
            for (number, way) in ways.iter().enumerate().skip(if is_quick { 2 } else { 0 }) {
                seed += 1;
                let target = if number == 0 || is_quick { target.clone() } else { fresh(&target, folder.path()) };
                let history = History::new(seed, way.0, faults(seed));
                let ended = catch_up(&history, || auto(&history, &target));
                assert_eq!(held(&target), history.truth(), "{target}, seed {seed}, round {round}");
                assert_done(&history, way, &ended);
                assert_eq!(history.streams.violations(), Vec::<String>::new());
            }
        }
    }
}

/// Another target of the same kind.
fn fresh(target: &Target, folder: &std::path::Path) -> Target {
    match target.kind() {
        None => sqlite(folder),
        Some(kind) => Target::server(block_on(crate::support::servers::shared(kind).database())),
    }
}

#[test]
fn the_command_killed_at_any_moment_goes_on_and_asks_for_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 100..if soak() { 300 } else { 109 } {
        let ways = ways();
        let way = &ways[usize::try_from(seed % 3).unwrap()];
        let target = sqlite(folder.path());
        let history = History::new(seed, way.0, faults(seed));
        let mut rng = StdRng::seed_from_u64(seed);
        for round in 0..6 {
            let running = auto(&history, &target).spawn();
            std::thread::sleep(Duration::from_millis(rng.random_range(20..500)));
            running.kill();
            history.streams.forget_readers();
            if round == 3 {
                // the stream keeps only what it must: what is trimmed was made before the hand-over
                let boundary = boundary(&history, way);
                history.streams.world(|world| world.trim_before(boundary - 60));
            }
        }
        let ended = catch_up(&history, || auto(&history, &target));
        assert_eq!(held(&target), history.truth(), "seed {seed}");
        assert_done(&history, way, &ended);
    }
}

#[test]
fn the_command_killed_at_every_kind_of_moment_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let way = &ways()[2];
    let (target, history) = (sqlite(folder.path()), History::new(200, way.0, faults(200)));
    // of the copy, of a window, of the stream: whichever comes to it first
    for point in
        ["rows-written:1", "run-complete:1", "rows-written:2", "run-complete:2", "ledger-written:3", "committed:4"]
    {
        let died = auto(&history, &target).env("TRANSVASE_ABORT_AT", point).run();
        assert!(died.signal().is_some(), "{point}: {}", died.stderr);
        history.streams.forget_readers();
    }
    let ended = catch_up(&history, || auto(&history, &target));
    assert_eq!(held(&target), history.truth());
    assert_done(&history, way, &ended);
}

#[test]
fn two_commands_at_once_hand_over_once() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 400..if soak() { 440 } else { 402 } {
        let way = &ways()[0];
        let (target, history) = (sqlite(folder.path()), History::new(seed, way.0, faults(seed)));
        let died = auto(&history, &target).env("TRANSVASE_ABORT_AT", "run-complete:1").run();
        assert!(died.signal().is_some(), "{}", died.stderr);
        // who comes second at the same moment is sent away, or goes on with the first one's capture; never with its own
        let both = [(); 2].map(|()| history.auto(&["--to", &target.url()]).spawn());
        std::thread::sleep(Duration::from_millis(1500));
        both.into_iter().for_each(|running| drop(running.kill()));
        history.streams.forget_readers();
        let ended = catch_up(&history, || auto(&history, &target));
        assert_eq!(held(&target), history.truth(), "seed {seed}");
        assert_done(&history, way, &ended);
    }
}

#[test]
fn a_dynamodb_table_is_led_the_same_way() {
    let way = &ways()[2];
    let history = History::new(300, way.0, faults(300));
    history.dynamo.create("copied", "id:S");
    let state = format!("sqlite:{}", history.folder.path().join("state.db").display());
    let args =
        ["--to", "dynamodb://copied", "--state", &state, "--write-capacity", "unlimited", "--until", "caught-up"];
    let died = history.auto(&args).env("TRANSVASE_ABORT_AT", "committed:2").run();
    assert!(died.signal().is_some(), "{}", died.stderr);
    history.streams.forget_readers();
    let ended = catch_up(&history, || history.auto(&args));
    let spelled = |(key, version): (String, u64)| json!({"id": {"S": key}, "version": {"N": version.to_string()}});
    let truth = history.truth().into_iter().map(|row| canon::item(&spelled(row))).collect();
    assert_eq!(history.dynamo.items("copied"), canon::sorted_items(truth));
    assert_done(&history, way, &ended);
}
