//! What joins on and what does not: each refusal names its reason, and comes before anything is paid for or written.

use super::history::{HOUR, History};
use super::{auto, catch_up, faults, held};
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::block_on;
use crate::support::streams_server::StreamFaults;
use crate::support::transvase::{Target, sqlite};

fn quiet() -> StreamFaults {
    StreamFaults { acts: 4, ..StreamFaults::default() }
}

/// A verb into a target.
fn verb(history: &History, verb: &str, from: &str, target: &Target, args: &[&str]) -> Engine {
    history.engine(verb, from, &[&["--to", &target.url()], args].concat())
}

/// The full export, copied by its own command.
fn copy(history: &History, target: &Target, args: &[&str]) -> Outcome {
    let export = ["--request-export", "s3://bucket", "--export-poll-seconds", "0.01"];
    verb(history, "backfill", "dynamodb://orders", target, &[export.as_slice(), args].concat()).run()
}

fn stream(history: &History, target: &Target) -> Engine {
    let args = ["--until", "caught-up", "--run", "orders"];
    verb(history, "follow", "streams://orders", target, &args)
}

#[track_caller]
fn refused(outcome: Outcome, code: i32, part: &str) {
    let outcome = outcome.expect(code);
    assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
}

#[test]
fn a_copy_without_a_capture_is_followed_by_its_stream_where_that_joins_on() {
    let folder = tempfile::tempdir().unwrap();
    let (target, history) = (sqlite(folder.path()), History::new(1, 3 * HOUR, faults(1)));
    let export = ["--request-export", "s3://bucket", "--export-poll-seconds", "0.01"];
    let died = verb(&history, "backfill", "dynamodb://orders", &target, &export);
    assert!(died.env("TRANSVASE_ABORT_AT", "run-complete:1").run().signal().is_some());
    let ended = catch_up(&history, || stream(&history, &target));
    assert_eq!(held(&target), history.truth());
    assert_eq!(
        block_on(target.number("SELECT COUNT(*) FROM _transvase_tombstones")),
        0,
        "the load of the copy is over"
    );
    assert_eq!(ended.number("/read") - ended.number("/skipped"), history.changes_since(history.now - 3 * HOUR - 300));
}

#[test]
fn a_stream_that_lacks_changes_is_refused_and_windows_make_it_join_on() {
    let folder = tempfile::tempdir().unwrap();
    let (target, history) = (sqlite(folder.path()), History::new(2, 30 * HOUR, quiet()));
    copy(&history, &target, &[]).expect(0);
    refused(stream(&history, &target).run(), 6, "30 hours ago, and a stream keeps changes for 24 hours only");
    history.streams.world(|world| world.switched_on = Some(history.now - 30 * HOUR - 299));
    refused(stream(&history, &target).run(), 6, "it must have been on five minutes before");
    history.streams.world(|world| world.switched_on = None);
    refused(stream(&history, &target).run(), 6, "does not tell when the stream was switched on");
    history.streams.world(|world| world.switched_on = Some(history.now - 2 * HOUR));
    let windows = ["--request-exports", "s3://bucket", "--export-poll-seconds", "0.01"];
    let died = verb(&history, "follow", "dynamodb://orders", &target, &windows);
    let died = died.env("TRANSVASE_ABORT_AT", "committed:1").run();
    assert!(died.signal().is_some(), "{}", died.stderr);
    refused(stream(&history, &target).run(), 6, "a window of changes was begun");
    verb(&history, "follow", "dynamodb://orders", &target, &windows).run().expect(0);
    catch_up(&history, || stream(&history, &target));
    assert_eq!(held(&target), history.truth());
    // and once the stream is followed, no window is applied or asked for
    let asked = history.exported().len();
    refused(verb(&history, "follow", "dynamodb://orders", &target, &windows).run(), 6, "follows its stream already");
    assert_eq!(history.exported().len(), asked);
}

#[test]
fn a_window_is_refused_once_the_stream_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (target, history) = (sqlite(folder.path()), History::new(3, 3 * HOUR, quiet()));
    copy(&history, &target, &[]).expect(0);
    // a window that joins on is there, and not applied
    let other = sqlite(folder.path());
    copy(&history, &other, &[]).expect(0);
    let windows = ["--request-exports", "s3://bucket", "--export-poll-seconds", "0.01"];
    verb(&history, "follow", "dynamodb://orders", &other, &windows).run().expect(0);
    catch_up(&history, || stream(&history, &target));
    let bucket = history.folder.path().join("bucket").display().to_string();
    for export in std::fs::read_dir(history.folder.path().join("bucket/AWSDynamoDB")).unwrap() {
        let there = export.unwrap().path();
        let summary = std::fs::read_to_string(there.join("manifest-summary.json")).unwrap_or_default();
        if summary.contains("\"exportTime\"") {
            std::fs::remove_dir_all(there).unwrap();
        }
    }
    refused(verb(&history, "follow", &bucket, &target, &["--key", "id:S"]).run(), 6, "follows its stream already");
    assert_eq!(held(&target), history.truth());
}

#[test]
fn a_stream_switched_on_lately_is_reached_by_a_window_more() {
    let folder = tempfile::tempdir().unwrap();
    let (target, history) = (sqlite(folder.path()), History::new(4, 3 * HOUR, quiet()));
    history.streams.world(|world| world.switched_on = Some(history.now - 2 * HOUR));
    catch_up(&history, || auto(&history, &target));
    assert_eq!(held(&target), history.truth());
    assert_eq!(history.exported().len(), 3, "the copy, the window before it, and the one into the stream");
}

#[test]
fn a_copy_begun_anew_is_joined_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (target, history) = (sqlite(folder.path()), History::new(5, 3 * HOUR, quiet()));
    catch_up(&history, || auto(&history, &target));
    // the same export, over what the stream has brought since
    copy(&history, &target, &["--restart", "--on-conflict", "replace", "--live-target"]).expect(0);
    assert_ne!(held(&target), history.truth());
    catch_up(&history, || auto(&history, &target));
    assert_eq!(held(&target), history.truth());
    assert_eq!(history.exported().len(), 1);
}

#[test]
fn a_copy_that_an_export_has_begun_is_completed_and_one_by_scan_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (target, history) = (sqlite(folder.path()), History::new(6, 3 * HOUR, quiet()));
    let export = ["--request-export", "s3://bucket", "--export-poll-seconds", "0.01", "--live-target"];
    let begun = verb(&history, "backfill", "dynamodb://orders", &target, &export);
    let died = begun.env("TRANSVASE_ABORT_AT", "committed:1").run();
    assert!(died.signal().is_some(), "{}", died.stderr);
    refused(stream(&history, &target).run(), 6, "and it is not complete");
    catch_up(&history, || auto(&history, &target));
    assert_eq!(history.streams.violations(), Vec::<String>::new());
    assert_eq!(held(&target), history.truth());
    assert_eq!(history.exported().len(), 1);
    let target = sqlite(folder.path());
    let scan = verb(&history, "backfill", "dynamodb://orders", &target, &[]);
    assert!(scan.env("TRANSVASE_ABORT_AT", "unit-claimed:1").run().signal().is_some());
    refused(auto(&history, &target).run(), 6, "by a scan and is not complete");
}

#[test]
fn what_cannot_be_followed_is_refused_before_an_export_is_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    let (target, history) = (sqlite(folder.path()), History::new(7, 3 * HOUR, quiet()));
    refused(verb(&history, "follow", "auto:orders", &target, &[]).run(), 2, "add --request-exports");
    let url = target.url();
    refused(history.auto(&["--to", &url, "--ttl-deletes", "skip"]).run(), 2, "do not tell who deleted");
    refused(history.auto(&["--to", "null:"]).run(), 2, "keeps nothing");
    history.streams.world(|world| world.view = "KEYS_ONLY".into());
    refused(auto(&history, &target).run(), 2, "KEYS_ONLY");
    history.plane.change(|answers| answers.table["StreamSpecification"] = serde_json::json!({"StreamEnabled": false}));
    refused(auto(&history, &target).run(), 2, "has no stream");
    assert_eq!(history.exported(), []);
}
