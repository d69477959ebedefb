//! Rejects of a run into a DynamoDB table, tried again through a mended mapping: each is put once, whatever dies on the way.

use super::copy;
use crate::scan::start;
use crate::support::canon;
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::{Engine, Outcome};
use serde_json::{Value, json};
use std::path::Path;

/// `transvase rejects VERB` on the state in `folder`.
fn rejects(server: &DynamoServer, folder: &Path, verb: &str, args: &[&str]) -> Engine {
    let on = format!("sqlite:{}", folder.join("state.db").display());
    let engine = Engine::new(&["rejects", verb, "--on", &on]).args(args).report();
    let engine = AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value));
    if verb == "retry" {
        engine.args(&["--endpoint-url", &server.url(), "--write-capacity", "unlimited"])
    } else {
        engine
    }
}

/// What has become of the rejects: written, present, skipped, signed off, open.
#[track_caller]
fn assert_states(outcome: &Outcome, expected: [u64; 5]) {
    let found = ["/written", "/present", "/skipped", "/signed_off", "/open"].map(|path| outcome.number(path));
    assert_eq!(found, expected, "{}\n{}", outcome.stdout, outcome.stderr);
}

/// Item `id`; the total of each tenth is no number, and the zip of some is none that an index takes.
fn item(id: u64) -> Value {
    let total = if id % 10 == 3 { format!("{id} Euro") } else { format!("{id}.50") };
    let zip = if id % 20 == 7 { json!({"N": "7"}) } else { json!({"S": format!("{id:05}")}) };
    json!({"pk": {"S": format!("c{id}")}, "total": {"S": total}, "zip": zip})
}

const STRICT: &str = "key = \"pk:S\"\n[item]\nattribute = [{ name = \"total\", type = \"N\" }]";
const MENDED: &str = "key = \"pk:S\"\n[item]\nattribute = [{ name = \"zip\", type = \"S\" }]";

/// A run of 100 items with 10 rejects of the mapping and 5 of the table, and the mended mapping's path.
fn loaded(folder: &Path) -> (DynamoServer, String) {
    let server = start();
    server.create("source", "pk:S");
    let request = json!({
        "TableName": "target", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "zip", "AttributeType": "S"}],
        "GlobalSecondaryIndexes": [{"IndexName": "by-zip", "Projection": {"ProjectionType": "ALL"},
            "KeySchema": [{"AttributeName": "zip", "KeyType": "HASH"}]}],
    });
    server.create_from(request, "pk:S");
    server.load("source", (0..100).map(item));
    for (name, text) in [("strict.toml", STRICT), ("mended.toml", MENDED)] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let strict = folder.join("strict.toml");
    let args = ["--mapping", strict.to_str().unwrap(), "--max-rejects", "50"];
    let outcome = copy(&server, folder, "source", "target", &args).run().expect(3);
    super::assert_counts(&outcome, [100, 85, 0, 15]);
    (server, folder.join("mended.toml").display().to_string())
}

/// The rejected items, as the mended mapping makes them.
fn retried() -> Vec<Value> {
    let mended = |id: u64| {
        let mut item = item(id);
        if let Some(number) = item["zip"].get("N").cloned() {
            item["zip"] = json!({"S": number});
        }
        canon::item(&item)
    };
    (0..100).filter(|id| id % 10 == 3 || id % 20 == 7).map(mended).collect()
}

#[test]
fn rejects_are_put_after_all_and_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mended) = loaded(folder.path());
    let to = ["--to", "dynamodb://target"];
    let strict = folder.path().join("strict.toml").display().to_string();
    // through the same mapping they are rejected again, each for its reason
    let outcome = rejects(&server, folder.path(), "retry", &["--mapping", &strict]).args(&to).run().expect(3);
    assert_states(&outcome, [0, 0, 0, 0, 15]);
    let outcome = rejects(&server, folder.path(), "retry", &["--mapping", &mended]).args(&to).run().expect(0);
    assert_states(&outcome, [15, 0, 0, 0, 0]);
    let items = server.items("target");
    assert_eq!(items.len(), 100);
    assert!(retried().iter().all(|item| items.contains(item)), "{items:?}");
    let again = rejects(&server, folder.path(), "retry", &["--mapping", &mended]).args(&to).run().expect(0);
    assert_eq!(again.number("/tried"), 0);
}

#[test]
fn a_retry_that_dies_after_its_puts_counts_them_as_written() {
    for live in [&[][..], &["--live-target"]] {
        let folder = tempfile::tempdir().unwrap();
        let (server, mended) = loaded(folder.path());
        let args = [&["--to", "dynamodb://target", "--mapping", mended.as_str()], live].concat();
        for point in ["transaction-begun:1", "rows-written:1", "ledger-written:1"] {
            let retry = rejects(&server, folder.path(), "retry", &args).env("TRANSVASE_ABORT_AT", point);
            let died = retry.run();
            assert!(died.signal().is_some(), "it did not die at {point}\n{}{}", died.stdout, died.stderr);
            assert_eq!(server.items("target").len(), 100, "the items are put before they are settled");
            let listed = rejects(&server, folder.path(), "list", &[]).run().expect(3);
            assert_states(&listed, [0, 0, 0, 0, 15]);
        }
        let outcome = rejects(&server, folder.path(), "retry", &args).run().expect(0);
        assert_states(&outcome, [15, 0, 0, 0, 0]);
    }
}

#[test]
fn an_item_of_the_application_stays_and_one_of_nobody_refuses_the_retry() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mended) = loaded(folder.path());
    let theirs = json!({"pk": {"S": "c3"}, "total": {"S": "theirs"}});
    server.load("target", [theirs.clone()]);
    let args = ["--to", "dynamodb://target", "--mapping", mended.as_str()];
    let refused = rejects(&server, folder.path(), "retry", &args).run().expect(6);
    assert!(refused.stderr.contains("--live-target") && refused.stderr.contains("target"), "{}", refused.stderr);
    assert_states(&rejects(&server, folder.path(), "list", &[]).run().expect(3), [0, 0, 0, 0, 15]);
    let outcome = rejects(&server, folder.path(), "retry", &args).args(&["--live-target"]).run().expect(0);
    assert_states(&outcome, [14, 1, 0, 0, 0]);
    assert!(server.items("target").contains(&canon::item(&theirs)));
}

#[test]
fn another_table_than_that_of_the_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mended) = loaded(folder.path());
    let retry = |args: &[&str]| rejects(&server, folder.path(), "retry", &["--mapping", &mended]).args(args).run();
    server.create("other", "pk:S");
    for (args, said) in [
        (&["--to", "dynamodb://other"][..], "wrote to target, not to other"),
        (&["--to", "sqlite:other.db"], "dynamodb://TABLE"),
        (&[], "[item]"),
    ] {
        let refused = retry(args).expect(2);
        assert!(refused.stderr.contains(said), "{args:?}: {}", refused.stderr);
    }
    server.database.delete_table(serde_json::from_value(json!({"TableName": "target"})).unwrap()).unwrap();
    server.create("target", "pk:S");
    let refused = retry(&["--to", "dynamodb://target"]).expect(6);
    assert!(refused.stderr.contains("made anew"), "{}", refused.stderr);
    assert!(server.items("target").is_empty());
}
