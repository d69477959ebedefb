//! Rows that were there before: left alone under keep, overwritten under replace, counted to the last one.

use crate::generator::items::Shape;
use crate::roundtrip::{Truth, assert_holds, export, truth};
use crate::support::servers::Kind;
use crate::support::transvase::{Backfill, Target, soak, targets, text};
use std::path::Path;
use std::process::Command;

const KEY: [(&str, &str); 2] = [("customer_id", "S"), ("order_id", "S")];
/// Which of the items are there beforehand.
type Chosen = fn(usize) -> bool;

const FLAG: &str = "customer_id:S,order_id:S";

/// The DDL that the engine would run.
fn schema(folder: &Path, target: &Target) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transvase"));
    command.current_dir(folder).args(["schema", "--key", FLAG, "--table", "orders", "--to", &target.url()]);
    if let Target::Server(database) = target {
        command.env("MYSQL_PWD", database.password()).arg("--tls-ca").arg(&database.ca_file);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Puts rows under the keys of the chosen items, with a document that no item has; how many.
async fn put(target: &Target, truth: &Truth, chosen: impl Fn(usize) -> bool) -> u64 {
    let keys: Vec<&Vec<String>> = truth.keys().enumerate().filter(|(at, _)| chosen(*at)).map(|(_, key)| key).collect();
    for chunk in keys.chunks(500) {
        let values: Vec<String> = chunk
            .iter()
            .map(|key| format!("(X'{}', X'{}', '{{\"from\": {{\"S\": \"before\"}}}}')", key[0], key[1]))
            .collect();
        let columns = "(customer_id, order_id, item)";
        target.execute(&format!("INSERT INTO orders {columns} VALUES {}", values.join(", "))).await;
    }
    keys.len() as u64
}

/// The number of rows that still hold what was there before.
async fn untouched(target: &Target) -> u64 {
    let rows = target.rows("SELECT item FROM orders").await;
    rows.iter().filter(|row| text(&row[0]).contains("\"before\"")).count() as u64
}

#[tokio::test]
async fn rows_that_are_there_are_kept_or_replaced_and_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let items = if soak() { 40_000 } else { 3000 };
    let from = export(folder.path(), Shape::Orders, 21, items, 4);
    let truth = truth(Shape::Orders, 21, items, &["customer_id", "order_id"]);
    // none, one, every other, runs of seven, all but one, all: whatever a statement's share of present rows is
    let choices: [(&str, Chosen); 6] = [
        ("none", |_| false),
        ("one", |at| at == 1234),
        ("every other", |at| at.is_multiple_of(2)),
        ("runs of seven", |at| (at / 7).is_multiple_of(2)),
        ("all but one", |at| at != 99),
        ("all", |_| true),
    ];
    for ((name, chosen), method) in choices.into_iter().zip(["auto", "insert"].into_iter().cycle()) {
        for target in targets(folder.path()).await {
            target.execute(&schema(folder.path(), &target)).await;
            let there = put(&target, &truth, chosen).await;
            let args = ["--key", FLAG, "--load-method", method];
            let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(0);
            ended.counts([items, items - there, there, 0, 0]);
            assert_eq!(untouched(&target).await, there, "{target} {name}: a row that was there was overwritten");
            assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, items, "{target} {name}");
            let args = ["--key", FLAG, "--on-conflict", "replace", "--run", "again"];
            let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(0);
            ended.counts([items, items, 0, 0, 0]);
            let what = format!("{target}, {name}, replaced");
            assert_holds(&target, "orders", &KEY, &truth, &what).await;
        }
    }
}

#[tokio::test]
async fn present_rows_are_counted_exactly_beside_rows_that_are_rejected() {
    // a refused row makes its statement fail after present rows were counted: they must not be counted twice
    let folder = tempfile::tempdir().unwrap();
    let items = 1000;
    let from = export(folder.path(), Shape::Orders, 22, items, 2);
    let truth = truth(Shape::Orders, 22, items, &["customer_id", "order_id"]);
    for target in targets(folder.path()).await {
        let ddl = schema(folder.path(), &target);
        let condition = match target.kind() {
            Some(Kind::MySql) => "JSON_UNQUOTE(JSON_EXTRACT(item, '$.status.S')) <> 'SHIPPED'",
            _ => "item NOT LIKE '%SHIPPED%'",
        };
        let check = format!(", CONSTRAINT not_shipped CHECK ({condition})");
        let end = ddl.rfind(')').filter(|_| target.kind().is_none()).unwrap_or_else(|| ddl.find("\n)").unwrap() + 1);
        let ddl = [ddl.get(..end), Some(&check), ddl.get(end..)].map(Option::unwrap).concat();
        target.execute(&ddl).await;
        let there = put(&target, &truth, |at| at.is_multiple_of(3)).await;
        let shipped = |at: usize, item: &serde_json::Value| item["status"]["S"] == "SHIPPED" && !at.is_multiple_of(3);
        let fresh_and_refused = truth.values().enumerate().filter(|(at, item)| shipped(*at, item)).count() as u64;
        let args = ["--key", FLAG, "--max-rejects", "1000"];
        let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(3);
        let rows = target.number("SELECT COUNT(*) FROM orders").await;
        // servers check a row before they find it present, SQLite as well: such a row is refused, and stays as it was
        let (rejected, present) = (ended.count("rejected"), ended.count("present"));
        ended.counts([items, rows - there, present, 0, rejected]);
        assert_eq!(rows, items - fresh_and_refused, "{target}");
        let refused_though_there = truth
            .values()
            .enumerate()
            .filter(|(at, item)| item["status"]["S"] == "SHIPPED" && at.is_multiple_of(3))
            .count();
        assert_eq!(rejected, fresh_and_refused + refused_though_there as u64, "{target}");
        assert_eq!(present, there - refused_though_there as u64, "{target}");
        assert_eq!(untouched(&target).await, there, "{target}");
    }
}
