//! Items into a DynamoDB table: as they are or in another format, beside items that are there, through kills.
//!
//! What the table holds is read back by the server itself and compared with what was loaded into the source.

use crate::scan::{SHAPES, lines, start};
use crate::support::canon;
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::{Engine, Outcome};
use crate::support::transvase::soak;
use serde_json::{Value, json};
use std::path::Path;

mod retried;
mod verified;
mod within_budget;

/// `transvase backfill` from one table of `server` into another, with the state in `folder`.
fn copy(server: &DynamoServer, folder: &Path, from: &str, to: &str, args: &[&str]) -> Engine {
    let (url, state) = (server.url(), format!("sqlite:{}", folder.join("state.db").display()));
    let (from, to) = (format!("dynamodb://{from}"), format!("dynamodb://{to}"));
    let engine = Engine::new(&["backfill", "--from", &from, "--to", &to, "--endpoint-url", &url, "--state", &state])
        .args(&["--read-capacity", "unlimited", "--write-capacity", "unlimited", "--segments", "5"])
        .args(args)
        .report();
    AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value))
}

/// Fails unless the report's counts are these: read, written, present, rejected.
#[track_caller]
fn assert_counts(outcome: &Outcome, expected: [u64; 4]) {
    let paths = ["/read", "/outcomes/written", "/outcomes/present", "/outcomes/rejected"];
    assert_eq!(paths.map(|path| outcome.number(path)), expected, "{}\n{}", outcome.stdout, outcome.stderr);
}

/// Items with the keys `range`, each of some kilobyte, so that a few hundred make several pages.
fn items(range: std::ops::Range<u64>, note: &str) -> Vec<Value> {
    let item = |id: u64| {
        json!({"id": {"S": format!("id-{id}")}, "at": {"N": id.to_string()}, "note": {"S": note},
            "text": {"S": "x".repeat(900)}})
    };
    range.map(item).collect()
}

#[test]
fn items_of_every_type_arrive_as_they_are() {
    for (shape, key, _, long) in SHAPES {
        let server = start();
        server.create("source", key);
        server.load_lines("source", &lines(shape, 11, if soak() { long } else { 170 }));
        let truth = server.items("source");
        for on_conflict in ["keep", "replace"] {
            let folder = tempfile::tempdir().unwrap();
            server.create(on_conflict, key);
            let args = ["--on-conflict", on_conflict];
            let outcome = copy(&server, folder.path(), "source", on_conflict, &args).run().expect(0);
            assert_counts(&outcome, [truth.len() as u64, truth.len() as u64, 0, 0]);
            let seconds = outcome.report["process"]["wall_seconds"].as_f64().unwrap();
            println!("{shape:?}, {on_conflict}: {} items in {seconds:.1} s", truth.len());
            assert!(server.items(on_conflict) == truth, "{shape:?}, {on_conflict}: the tables differ");
        }
    }
}

#[test]
fn keep_leaves_what_is_there_and_counts_it() {
    let (server, folder) = (start(), tempfile::tempdir().unwrap());
    for table in ["source", "target"] {
        server.create(table, "id:S,at:N");
    }
    server.load("source", items(0..600, "copied"));
    server.load("target", items(300..600, "live"));
    let outcome = copy(&server, folder.path(), "source", "target", &[]).run().expect(0);
    assert_counts(&outcome, [600, 300, 300, 0]);
    let expected = items(0..300, "copied").into_iter().chain(items(300..600, "live"));
    assert!(server.items("target") == canon::sorted_items(expected.map(|item| canon::item(&item)).collect()));
    // what the run has done is known: the same command does nothing
    copy(&server, folder.path(), "source", "target", &[]).run().expect(0);
}

#[test]
fn replace_overwrites_what_is_there() {
    let (server, folder) = (start(), tempfile::tempdir().unwrap());
    for table in ["source", "target"] {
        server.create(table, "id:S,at:N");
    }
    server.load("source", items(0..200, "copied"));
    server.load("target", items(100..200, "old"));
    let outcome = copy(&server, folder.path(), "source", "target", &["--on-conflict", "replace"]).run().expect(0);
    assert_counts(&outcome, [200, 200, 0, 0]);
    assert!(server.items("target") == server.items("source"));
}

/// The items are in the table and the ledger does not know: the worst moment.
#[test]
fn a_process_that_dies_before_its_ledger_row_is_gone_on_with() {
    for on_conflict in ["keep", "replace"] {
        let (server, folder) = (start(), tempfile::tempdir().unwrap());
        for table in ["source", "target"] {
            server.create(table, "id:S,at:N");
        }
        server.load("source", items(0..500, "copied"));
        let args = ["--on-conflict", on_conflict];
        for point in ["rows-written:1", "ledger-written:2", "rows-written:2"] {
            let died = copy(&server, folder.path(), "source", "target", &args).env("TRANSVASE_ABORT_AT", point).run();
            assert!(died.signal().is_some(), "it did not die at {point}\n{}", died.stderr);
        }
        assert!(!server.items("target").is_empty());
        let outcome = copy(&server, folder.path(), "source", "target", &args).run().expect(0);
        // the table was empty and nobody else writes: an equal item that is there is the dead process's
        assert_counts(&outcome, [500, 500, 0, 0]);
        assert!(server.items("target") == server.items("source"), "{on_conflict}: the tables differ");
    }
}

#[test]
fn a_mapping_changes_the_format_so_that_an_index_can_use_it() {
    let (server, folder) = (start(), tempfile::tempdir().unwrap());
    server.create("source", "pk:S,sk:N");
    let request = json!({
        "TableName": "target", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "zip", "AttributeType": "S"}],
        "GlobalSecondaryIndexes": [{"IndexName": "by-zip", "Projection": {"ProjectionType": "ALL"},
            "KeySchema": [{"AttributeName": "zip", "KeyType": "HASH"}]}],
    });
    server.create_from(request, "customer:S,sk:N");
    let source = |id: u64| {
        json!({"pk": {"S": format!("c{id}")}, "sk": {"N": "1"}, "total": {"S": format!("{id}.50")}, "old": {"NULL": true},
            "address": {"M": {"zip": {"S": format!("{:05}", id % 7)}, "city": {"S": "B"}}}})
    };
    let target = |id: u64| {
        json!({"customer": {"S": format!("c{id}")}, "sk": {"N": "1"}, "total": {"N": format!("{id}.5")},
            "address": {"M": {"city": {"S": "B"}}}, "zip": {"S": format!("{:05}", id % 7)}})
    };
    server.load("source", (0..120).map(source));
    // one whose zip the index cannot take, and one whose total is no number
    let mut wrong = vec![source(1000), source(1001)];
    wrong[0]["address"]["M"]["zip"] = json!({"N": "7"});
    wrong[1]["total"] = json!({"S": "much"});
    server.load("source", wrong);
    let mapping = folder.path().join("format.toml");
    let text = r#"key = "pk:S,sk:N"
[item]
drop = ["old"]
attribute = [
    { name = "customer", from = "pk" },
    { name = "zip", from = "address.zip" },
    { name = "total", type = "N" },
]"#;
    std::fs::write(&mapping, text).unwrap();
    for on_conflict in ["keep", "replace"] {
        let args = ["--mapping", mapping.to_str().unwrap(), "--max-rejects", "5", "--on-conflict", on_conflict];
        let outcome = copy(&server, folder.path(), "source", "target", &args).args(&["--run", on_conflict]).run();
        let outcome = outcome.expect(3);
        assert_counts(&outcome, [122, 120, 0, 2]);
        let expected = canon::sorted_items((0..120).map(|id| canon::item(&target(id))).collect());
        assert!(server.items("target") == expected, "{on_conflict}: the tables differ");
    }
}

#[test]
fn a_target_that_cannot_take_the_items_is_refused_before_the_first_write() {
    let (server, folder) = (start(), tempfile::tempdir().unwrap());
    server.create("source", "id:S,at:N");
    server.load("source", items(0..3, "copied"));
    server.create("other", "id:S,at:S");
    for (target, said) in [("other", ["id:S,at:S", "id:S,at:N"]), ("nowhere", ["nowhere", "nowhere"])] {
        let outcome = copy(&server, folder.path(), "source", target, &[]).run().expect(2);
        assert!(said.iter().all(|part| outcome.stderr.contains(part)), "{}", outcome.stderr);
    }
    assert!(server.items("other").is_empty());
}
