//! What the sample did not show: stored losslessly where it can be, and otherwise a reject that says which column.

use super::{command, run};
use crate::support::small_export::SmallExport;
use crate::support::transvase::{Backfill, Cell, sqlite, text};
use std::path::Path;

fn line(pk: &str, sk: &str, more: &str) -> String {
    format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"sk":{{"S":"{sk}"}}{more}}}}}"#)
}

/// Orders and their lines, as the sample shows them.
fn usual(number: usize) -> Vec<String> {
    let order = |n: usize| {
        let more = format!(r#","status":{{"S":"OPEN"}},"total":{{"N":"{n}.25"}},"paid":{{"BOOL":true}}"#);
        line(&format!("CUST#{n}"), &format!("ORDER#{n}"), &more)
    };
    let part = |n: usize| line(&format!("ORDER#{n}"), &format!("LINE#{n}"), r#","quantity":{"N":"3"}"#);
    (0..number).flat_map(|n| [order(n), part(n)]).collect()
}

fn export(root: &Path, lines: Vec<String>) -> std::path::PathBuf {
    let export = SmallExport { files: vec![lines], ..SmallExport::new(0, 0, 0) };
    std::fs::create_dir_all(root).unwrap();
    export.write(root);
    export.folder(root)
}

#[tokio::test]
async fn what_the_sample_did_not_show_is_kept_or_clearly_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let seen = export(&folder.path().join("seen"), usual(2000));
    // half of it is looked at, so that nothing is taken for all that there is
    let args = ["--key", "pk:S,sk:S", "--sample", "2000"];
    let planned = run(command(folder.path(), seen.to_str().unwrap(), None, &args), folder.path()).expect(0);
    let order = |key: &str, more: &str| line(&format!("CUST#{key}"), &format!("ORDER#{key}"), more);
    let kept = [
        order("a", r#","status":{"S":"OPEN"}"#),
        order("b", r#","status":{"S":"OPEN"},"total":{"S":"unknown"},"paid":{"NULL":true}"#),
        order("c", r#","status":{"S":"OPEN"},"new":{"L":[{"N":"1.000000000000000000001"}]}"#),
        line("INVOICE#1", "INVOICE#1", r#","total":{"N":"1E100"}"#),
        line("CUST#d", "no separator", r#","status":{"N":"17"}"#),
        line(&"x".repeat(2048), &"y".repeat(1024), ""),
    ];
    let rejected = [
        order("e", r#","total":{"N":"1.00000001"}"#),
        order("f", r#","total":{"N":"1E100"}"#),
        order("g", &format!(r#","status":{{"S":"{}"}}"#, "x".repeat(500))),
        order(&"k".repeat(900), ""),
    ];
    let lines = [usual(50), kept.to_vec(), rejected.to_vec()].concat();
    let other = export(&folder.path().join("other"), lines);
    let target = sqlite(folder.path());
    let args = ["--mapping", planned.mapping.to_str().unwrap(), "--create-tables", "--max-rejects", "100"];
    let ended = Backfill::new(folder.path(), &other, &target, &args).run().expect(3);
    ended.counts([110, 106, 0, 0, 4]);
    let mut columns: Vec<&str> = ended.rejects.iter().map(|reject| reject["column"].as_str().unwrap()).collect();
    columns.sort_unstable();
    assert_eq!(columns, ["pk", "status", "total", "total"]);
    assert!(ended.rejects.iter().all(|reject| !reject["reason"].as_str().unwrap().is_empty()));

    let other = target.rows("SELECT pk, extra FROM orders_other ORDER BY pk").await;
    assert_eq!(other.len(), 3);
    assert_eq!(text(&other[1][1]), r#"{"total":{"N":"1E100"}}"#);
    let odd = target.rows("SELECT total, paid, extra FROM cust_order WHERE sk IN ('b', 'c') ORDER BY sk").await;
    let expected: [[Option<&str>; 3]; 2] = [
        [None, None, Some(r#"{"total":{"S":"unknown"},"paid":{"NULL":true}}"#)],
        [None, None, Some(r#"{"new":{"L":[{"N":"1.000000000000000000001"}]}}"#)],
    ];
    let shown =
        |row: &Vec<Cell>| row.iter().map(|cell| cell.as_ref().map(|_| text(cell).to_owned())).collect::<Vec<_>>();
    assert_eq!(
        odd.iter().map(shown).collect::<Vec<_>>(),
        expected.map(|row| row.map(|cell| cell.map(str::to_owned)).to_vec())
    );
}

#[test]
fn an_export_without_its_key_is_told_which_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), usual(50));
    let planned = run(command(folder.path(), from.to_str().unwrap(), None, &[]), folder.path()).expect(2);
    planned.says(&["--key", "it may be pk:S or sk:S"]);
    let planned =
        run(command(folder.path(), from.to_str().unwrap(), None, &["--key", "pk:S", "--sample", "x"]), folder.path());
    planned.expect(2).says(&["--sample x"]);
}

#[test]
fn lines_that_are_no_items_are_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let broken = vec![r#"{"Item":{"pk":{"S":1}}}"#.to_owned(), "{".to_owned()];
    let from = export(folder.path(), [usual(50), broken].concat());
    let planned =
        run(command(folder.path(), from.to_str().unwrap(), None, &["--key", "pk:S,sk:S"]), folder.path()).expect(0);
    planned.says(&["100 of 102 sampled items map to a row", "2 sampled lines are no DynamoDB JSON"]);
}
