//! Damage of every kind is listed without a value, mended, and gone at the second look; a process that dies between is
//! gone on with.

use super::verb::{Verified, listed, verify};
use crate::generator::items::Shape;
use crate::roundtrip::{assert_holds, export, truth};
use crate::scan::{lines, start};
use crate::support::dynamo::AWS_ENVIRONMENT;
use crate::support::project_dir;
use crate::support::transvase::{Backfill, Target, targets};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const ITEMS: u64 = 900;
const KEY: [(&str, &str); 2] = [("customer_id", "S"), ("order_id", "S")];
const DOCUMENT: [&str; 2] = ["--key", "customer_id:S,order_id:S"];
/// Nothing that is stored says so: it must not be seen where values are redacted.
const SECRET: &str = "secret-value";

/// A key column's condition.
fn is(column: &str, value: &str, typed: bool) -> String {
    format!("{column} = {}", literal(value, typed))
}

/// A key as SQL has it: text, or the bytes of a document's key.
fn literal(value: &str, typed: bool) -> String {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    if typed { format!("'{value}'") } else { format!("x'{hex}'") }
}

/// Takes 20 rows away, moves 10 to other keys, and alters 15 and 5. So many keys differ: missing, extra, different.
async fn damage(target: &Target, orders: &[String], typed: bool) -> [u64; 3] {
    let mut orders = orders.iter();
    let mut next = || is("order_id", orders.next().unwrap(), typed);
    for _ in 0..20 {
        target.execute(&format!("DELETE FROM orders WHERE {}", next())).await;
    }
    for number in 0..10 {
        let moved = literal(&format!("zzz-{number}"), typed);
        target.execute(&format!("UPDATE orders SET order_id = {moved} WHERE {}", next())).await;
    }
    let (one, other) = match typed {
        true => (format!("status = '{SECRET}'"), "note = ''".to_owned()),
        false => (format!("item = '{{\"a\":{{\"S\":\"{SECRET}\"}}}}'"), format!("item = '[\"{SECRET}\"]'")),
    };
    for _ in 0..15 {
        target.execute(&format!("UPDATE orders SET {one} WHERE {}", next())).await;
    }
    for _ in 0..5 {
        target.execute(&format!("UPDATE orders SET {other} WHERE {}", next())).await;
    }
    [30, 10, 20]
}

fn kinds(verified: &Verified) -> [u64; 3] {
    serde_json::from_value(verified.report["kinds"].clone()).unwrap()
}

/// The keys of the orders, in the order of the sort key.
fn orders(seed: u64) -> Vec<String> {
    let orders = truth(Shape::Orders, seed, ITEMS, &["order_id"]).into_values();
    orders.map(|item| item["order_id"]["S"].as_str().unwrap().to_owned()).collect()
}

async fn rows(target: &Target) -> Vec<Vec<Option<Vec<u8>>>> {
    target.rows("SELECT * FROM orders ORDER BY customer_id, order_id").await
}

fn assert_redacted(path: &Path) {
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(path).unwrap();
    for value in [SECRET, "PENDING", "SHIPPED", "Station"] {
        assert!(!text.contains(value), "{value} is told");
    }
}

#[tokio::test]
async fn every_kind_of_damage_is_listed_redacted_and_mended() {
    let mapping = project_dir().join("fixtures/mapping/orders.toml");
    let typed_args = ["--mapping", mapping.to_str().unwrap()];
    for typed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let from = export(folder.path(), Shape::Orders, 71, ITEMS, 3);
        let from_text = from.to_str().unwrap();
        let args: &[&str] = if typed { &typed_args } else { &DOCUMENT };
        for target in targets(folder.path()).await {
            let what = format!("{target}, typed {typed}");
            let create = [args, &["--create-tables"]].concat();
            Backfill::new(folder.path(), &from, &target, if typed { &create } else { args }).run().expect(0);
            let (list, certificate) = (folder.path().join("d.jsonl"), folder.path().join("c.json"));
            drop(std::fs::remove_file(&certificate));
            let run = |more: &[&str]| verify(folder.path(), from_text, &target, &[args, more].concat(), &[]);
            let before = rows(&target).await;
            let damaged = damage(&target, &orders(71), typed).await;
            let found = run(&["--differences", "d.jsonl", "--certificate", "c.json"]).expect(5);
            assert_eq!(kinds(&found), damaged, "{what}");
            assert_redacted(&list);
            assert!(!certificate.exists(), "{what}: a certificate of differences");
            let lines = listed(&list);
            let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count() as u64;
            assert_eq!([of("missing"), of("extra"), of("different")], damaged, "{what}: {lines:?}");
            for line in &lines {
                assert!(line["table"] == "orders" && line["key"]["order_id"].is_string() == typed, "{what}: {line}");
                assert!(line["item"]["order_id"]["S"].is_string(), "{what}: {line}");
                let column = line["column"].as_str().unwrap_or_default();
                assert!(line["kind"] != "different" || ["status", "note", "item"].contains(&column), "{what}: {line}");
            }
            let shown = run(&["--differences", "d.jsonl", "--show-values"]).expect(5);
            assert_eq!(kinds(&shown), damaged);
            let text = std::fs::read_to_string(&list).unwrap();
            assert!(text.contains(SECRET) && text.contains("PENDING"), "{what}: values were asked for");
            let mended = run(&["--repair", "--differences", "d.jsonl"]).expect(5);
            assert_eq!(
                (kinds(&mended), mended.verdict("repaired")),
                ([0, damaged[1], 0], damaged[0] + damaged[2]),
                "{what}"
            );
            assert_redacted(&list);
            let all = run(&["--repair", "--delete-extras", "--certificate", "c.json"]).expect(0);
            assert_eq!(all.verdict("repaired"), damaged[1], "{what}");
            let clean = run(&["--differences", "d.jsonl"]).expect(0);
            assert_eq!(clean.report["differences"], 0, "{what}");
            assert_eq!(std::fs::read_to_string(&list).unwrap(), "", "{what}");
            match typed {
                true => assert!(rows(&target).await == before, "{what}: the rows are not what they were"),
                false => {
                    assert_holds(
                        &target,
                        "orders",
                        &KEY,
                        &truth(Shape::Orders, 71, ITEMS, &["customer_id", "order_id"]),
                        &what,
                    )
                    .await
                }
            }
            run(&["--check", "c.json"]).expect(0).says(&["it stands", "level full"]);
        }
    }
}

/// Verdicts are durable as they fall, and so is what was mended.
#[tokio::test]
async fn a_process_that_dies_while_it_mends_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 72, ITEMS, 3);
    let from_text = from.to_str().unwrap();
    for target in targets(folder.path()).await {
        Backfill::new(folder.path(), &from, &target, &DOCUMENT).run().expect(0);
        target.execute("DELETE FROM orders WHERE order_id < x'38'").await;
        let gone = ITEMS - target.number("SELECT COUNT(*) FROM orders").await;
        assert!(gone > 300, "{gone}");
        let run = |env: &[(&str, &str)]| {
            verify(folder.path(), from_text, &target, &[&DOCUMENT[..], &["--repair"]].concat(), env)
        };
        for at in ["look-begun:1", "judged:1", "judged:2"] {
            let died = run(&[("TRANSVASE_ABORT_AT", at)]);
            assert_eq!(died.code, None, "{target}: it was to die: {}", died.said);
        }
        let ended = run(&[]).expect(0);
        ended.says(&["resuming"]);
        // those whose process died before it knew of its own commit agree when they are looked at
        assert_eq!(ended.verdict("repaired") + ended.verdict("settled"), gone, "{target}");
        run(&[]).expect(0);
        let truth = truth(Shape::Orders, 72, ITEMS, &["customer_id", "order_id"]);
        assert_holds(&target, "orders", &KEY, &truth, &target.to_string()).await;
    }
}

#[tokio::test]
async fn rows_that_the_run_rejected_are_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 73, ITEMS, 3);
    let from_text = from.to_str().unwrap();
    let mapping = project_dir().join("fixtures/mapping/orders.toml");
    let args = ["--mapping", mapping.to_str().unwrap()];
    for target in targets(folder.path()).await.into_iter().filter(|target| target.kind().is_some()) {
        let create = [&args[..], &["--create-tables"]].concat();
        Backfill::new(folder.path(), &from, &target, &create).run().expect(0);
        target.execute("DELETE FROM orders").await;
        target.execute("ALTER TABLE orders ADD CONSTRAINT few CHECK (quantity < 3)").await;
        let again = [&args[..], &["--restart", "--max-rejects", "100%"]].concat();
        let rejected = Backfill::new(folder.path(), &from, &target, &again).run().expect(3).count("rejected");
        let run = |more: &[&str]| verify(folder.path(), from_text, &target, &[&args[..], more].concat(), &[]);
        assert!(rejected > 100, "{rejected}");
        let verified = run(&["--certificate", "c.json"]).expect(0);
        assert_eq!(verified.verdict("rejected"), rejected, "{target}");
        run(&["--run", "nobody"]).expect(2).says(&["--run nobody", "knows no such run"]);
        // the verification that could not end is another's now
        target.execute("DELETE FROM _transvase_rejects WHERE position < 100").await;
        let unaccounted = run(&["--restart"]).expect(5);
        assert!(unaccounted.verdict("rejected") < rejected && unaccounted.verdict("confirmed") > 0, "{target}");
        assert_eq!(unaccounted.verdict("rejected") + unaccounted.verdict("confirmed"), rejected, "{target}");
    }
}

#[tokio::test]
async fn a_live_table_is_verified_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("orders", "customer_id:S,order_id:S");
    server.load_lines("orders", &lines(Shape::Orders, 74, ITEMS));
    let url = server.url();
    let live = ["--endpoint-url", url.as_str(), "--read-capacity", "unlimited", "--segments", "4"];
    for target in targets(folder.path()).await {
        let backfill = Backfill::new(folder.path(), Path::new("dynamodb://orders"), &target, &live);
        AWS_ENVIRONMENT.into_iter().fold(backfill, |backfill, (name, value)| backfill.env(name, value)).run().expect(0);
        let run = |more: &[&str]| {
            verify(folder.path(), "dynamodb://orders", &target, &[&live[..], more].concat(), &AWS_ENVIRONMENT)
        };
        let damaged = damage(&target, &orders(74), false).await;
        let mended = run(&["--repair", "--delete-extras", "--certificate", "c.json"]).expect(0);
        assert_eq!(mended.verdict("repaired"), damaged.iter().sum::<u64>(), "{target}: {}", mended.report);
        run(&["--certificate", "c.json"]).expect(0);
        run(&["--check", "c.json"]).expect(0);
        let truth = truth(Shape::Orders, 74, ITEMS, &["customer_id", "order_id"]);
        assert_holds(&target, "orders", &KEY, &truth, &target.to_string()).await;
        let units = mended.report["process"]["source"]["read_units"].as_f64().unwrap();
        assert!(units > 0.0, "{target}: lookups are charged");
        let _value: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join("c.json")).unwrap()).unwrap();
    }
}
