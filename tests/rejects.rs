//! What cannot be stored is quoted exactly, counted, bounded, and kept from strangers' eyes; what can be stored arrives.

mod blocked;
mod followed;
mod packets;
mod retry;

use crate::generator::items::Shape;
use crate::roundtrip::export;
use crate::support::small_export::SmallExport;
use crate::support::transvase::{Backfill, Target, sqlite, targets};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Typed columns that not every value fits.
const MAPPING: &str = r#"
key = "pk:S"
[[table]]
name = "things"
where = [{ attribute = "kind", equals = "thing" }]
[[table.column]]
name = "pk"
type = "varchar(16)"
key = true
[[table.column]]
name = "name"
type = "varchar(5)"
[[table.column]]
name = "amount"
type = "decimal(5,2)"
missing = "null"
[[table.column]]
name = "count"
type = "int"
missing = "null"
[[table.column]]
name = "at"
type = "datetime"
missing = "null"
"#;

/// A line, and if it must be rejected: table, column and a part of the reason.
type Case = (&'static str, Option<(Option<&'static str>, Option<&'static str>, &'static str)>);

const THINGS: Option<&str> = Some("things");

const CASES: [Case; 20] = [
    (r#"{"Item":{"pk":{"S":"0"},"kind":{"S":"thing"},"name":{"S":"plain"}}}"#, None),
    (
        r#"{"Item":{"pk":{"S":"1"},"kind":{"S":"thing"},"name":{"S":"longer"}}}"#,
        Some((THINGS, Some("name"), "too long")),
    ),
    (
        r#"{"Item": {"pk":{"S":"2"},"kind":{"S":"thing"}, "name":{"S":"x"},"amount":{"N":"1.005"}}}"#,
        Some((THINGS, Some("amount"), "after the point")),
    ),
    (
        r#"{"Item":{"pk":{"S":"3"},"kind":{"S":"thing"},"name":{"S":"x"},"amount":{"N":"1000"}}}"#,
        Some((THINGS, Some("amount"), "range")),
    ),
    (r#"{"Item":{"pk":{"S":"4"},"kind":{"S":"thing"},"name":{"S":"x"},"amount":{"N":"999.99"}}}"#, None),
    (r#"{"Item":{"pk":{"S":"5"},"kind":{"S":"thing"}}}"#, Some((THINGS, Some("name"), "missing"))),
    (r#"{"Item":{"pk":{"S":"6"},"kind":{"S":"thing"},"name":{"N":"12"}}}"#, None),
    (
        r#"{"Item":{"pk":{"S":"7"},"kind":{"S":"thing"},"name":{"BOOL":true}}}"#,
        Some((THINGS, Some("name"), "type BOOL")),
    ),
    (
        r#"{"Item":{"pk":{"S":"8"},"kind":{"S":"thing"},"name":{"S":"x"},"count":{"N":"2147483648"}}}"#,
        Some((THINGS, Some("count"), "range")),
    ),
    (
        r#"{"Item":{"pk":{"S":"9"},"kind":{"S":"thing"},"name":{"S":"x"},"at":{"S":"yesterday"}}}"#,
        Some((THINGS, Some("at"), "ISO-8601")),
    ),
    (
        r#"{"Item":{"pk":{"S":"10"},"kind":{"S":"thing"},"name":{"S":"\u00e9\ud83d\ude00"},"at":{"S":"0999-01-01T00:00:00Z"}}}"#,
        Some((THINGS, Some("at"), "range")),
    ),
    (r#"{"Item":{"pk":{"S":"11"},"kind":{"S":"other"},"name":{"S":"x"}}}"#, Some((None, None, "no table"))),
    (r#"{"Item":{"kind":{"S":"thing"},"name":{"S":"x"}}}"#, Some((THINGS, Some("pk"), "missing"))),
    (
        r#"{"Item":{"pk":{"S":"seventeen letters"},"kind":{"S":"thing"},"name":{"S":"x"}}}"#,
        Some((THINGS, Some("pk"), "too long")),
    ),
    (r#"{"Item":{"pk":{"S":"14"},"kind":{"S":"thing"},"name":{"S":"x"}"#, Some((None, None, ""))),
    (r#"{"pk":{"S":"15"},"kind":{"S":"thing"},"name":{"S":"x"}}"#, Some((None, None, ""))),
    ("no JSON at all \u{1f600}", Some((None, None, ""))),
    (r#"{"Item":{"pk":{"S":"17"},"kind":{"S":"thing"},"name":{"N":"twelve"}}}"#, Some((None, None, ""))),
    (r#"{"Item":{"pk":{"S":"18"},"kind":{"S":"thing"},"name":{"S":"x","N":"1"}}}"#, Some((None, None, ""))),
    (r#"{"Item":{"pk":{"S":"19"},"kind":{"S":"thing"},"name":{"S":"12345"}}}"#, None),
];

/// The cases in two files, the second in reverse order under other keys; and the mapping file.
fn source(folder: &Path) -> (PathBuf, PathBuf, Vec<Vec<String>>) {
    let first: Vec<String> = CASES.iter().map(|(line, _)| (*line).to_owned()).collect();
    let second = first.iter().rev().map(|line| line.replace(r#""pk":{"S":""#, r#""pk":{"S":"-"#)).collect();
    let files = vec![first, second];
    let export = SmallExport { files: files.clone(), ..SmallExport::new(0, 0, 0) };
    export.write(folder);
    let mapping = folder.join("things.toml");
    std::fs::write(&mapping, MAPPING).unwrap();
    (export.folder(folder), mapping, files)
}

/// The line that a reject quotes, from the text of the rejects file: byte for byte.
fn quoted(folder: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(folder.join("rejects.jsonl")).unwrap();
    let item = |line: &str| match line.split_once(",\"item\":") {
        Some((_, item)) => item.strip_suffix('}').unwrap().as_bytes().to_vec(),
        None => STANDARD.decode(serde_json::from_str::<Value>(line).unwrap()["item_base64"].as_str().unwrap()).unwrap(),
    };
    text.lines().map(item).collect()
}

#[tokio::test]
async fn rejects_quote_line_place_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (from, mapping, files) = source(folder.path());
    for target in targets(folder.path()).await {
        let args = ["--mapping", mapping.to_str().unwrap(), "--create-tables", "--max-rejects", "100"];
        let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(3);
        let bad = CASES.iter().filter(|(_, reject)| reject.is_some()).count() as u64;
        let good = CASES.len() as u64 - bad;
        ended.counts([CASES.len() as u64 * 2, good * 2, 0, 0, bad * 2]);
        assert_eq!(target.number("SELECT COUNT(*) FROM things").await, good * 2, "{target}");
        assert_eq!(ended.rejects.len() as u64, bad * 2, "{target}");
        let mut expected = Vec::new();
        for (unit, lines) in files.iter().enumerate() {
            for (number, line) in lines.iter().enumerate() {
                let case = if unit == 0 { number } else { CASES.len() - 1 - number };
                if let Some(reject) = CASES[case].1 {
                    expected.push((unit, number as u64 + 1, line, reject));
                }
            }
        }
        let rejects = ended.rejects.iter().zip(quoted(folder.path())).zip(expected);
        for ((found, item), (unit, number, line, (table, column, reason))) in rejects {
            assert!(found["unit"].as_str().unwrap().ends_with(&format!("data/{unit:026}.json.gz")), "{found}");
            assert_eq!(found["line"], number, "{target}: {found}");
            assert_eq!((found["table"].as_str(), found["column"].as_str()), (table, column), "{target}: {found}");
            let why = found["reason"].as_str().unwrap();
            assert!(!why.is_empty() && why.contains(reason), "{target}: {found}");
            assert_eq!(String::from_utf8_lossy(&item), *line, "{target}");
        }
    }
}

#[test]
fn the_rejects_file_is_its_owners_alone_even_if_it_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let (from, mapping, _) = source(folder.path());
    let path = folder.path().join("rejects.jsonl");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let args = ["--mapping", mapping.to_str().unwrap(), "--create-tables", "--max-rejects", "100"];
    Backfill::new(folder.path(), &from, &sqlite(folder.path()), &args).run().expect(3);
    assert_eq!(mode(), 0o600);
    std::fs::write(&path, "from another day").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    Backfill::new(folder.path(), &from, &sqlite(folder.path()), &args).run().expect(3);
    assert_eq!(mode(), 0o600);
}

#[tokio::test]
async fn the_run_stops_at_its_limit_of_rejects_and_goes_on_with_a_larger_one() {
    let folder = tempfile::tempdir().unwrap();
    let (from, mapping, _) = source(folder.path());
    for target in targets(folder.path()).await {
        let run = |limit: &str| {
            let args = ["--mapping", mapping.to_str().unwrap(), "--create-tables", "--max-rejects", limit];
            Backfill::new(folder.path(), &from, &target, &args).run()
        };
        let ended = run("0").expect(1);
        ended.says(&["rejected so far", "AWSDynamoDB/", "--max-rejects"]);
        assert!(ended.count("rejected") > 0 && !ended.rejects.is_empty(), "{target}");
        // as it is typed again without a thought
        let ended = run("0").expect(1);
        ended.says(&["rejects already", "--max-rejects"]);
        let ended = run("32").expect(3);
        ended.counts([40, 8, 0, 0, 32]);
        assert_eq!(ended.rejects.len(), 32, "{target}");
        // once complete it stays so, and still tells
        let ended = run("32");
        assert_eq!(ended.count("rejected"), 32, "{target}: {}", ended.said);
    }
}

#[tokio::test]
async fn rows_that_a_check_refuses_are_found_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let items = 4000;
    let from = export(folder.path(), Shape::Orders, 31, items, 3);
    let mapping = crate::support::project_dir().join("fixtures/mapping/orders.toml");
    let mapping = mapping.to_str().unwrap();
    for target in targets(folder.path()).await {
        // made once by the engine, then given a rule of its own
        let args = ["--mapping", mapping, "--create-tables", "--run", "first"];
        Backfill::new(folder.path(), &from, &target, &args).run().expect(0);
        let sevens = target.number("SELECT COUNT(*) FROM orders WHERE quantity = 7").await;
        assert!(sevens > 100, "{sevens}");
        with_check(&target).await;
        let spill = folder.path().to_str().unwrap();
        for order in ["arrival", "clustered"] {
            target.execute("DELETE FROM orders").await;
            let args = ["--mapping", mapping, "--run", order, "--max-rejects", "1000", "--load-order", order];
            let args = [&args[..], &["--spill-dir", spill]].concat();
            let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(3);
            ended.counts([items, items - sevens, 0, 0, sevens]);
            assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, items - sevens, "{target}");
            assert_eq!(target.number("SELECT COUNT(*) FROM orders WHERE quantity = 7").await, 0, "{target}");
            for reject in &ended.rejects {
                assert_eq!(reject["item"]["Item"]["quantity"]["N"], "7", "{target}: {reject}");
                assert_eq!(reject["table"], "orders");
                assert!(reject["reason"].as_str().unwrap().contains("the server refused the row"), "{reject}");
            }
            assert_eq!(ended.rejects.len() as u64, sevens, "{target}, {order}");
        }
    }
}

async fn with_check(target: &Target) {
    if target.kind().is_some() {
        target.execute("DELETE FROM orders; ALTER TABLE orders ADD CONSTRAINT no_seven CHECK (quantity <> 7)").await;
        return;
    }
    let ddl = target.rows("SELECT sql FROM sqlite_schema WHERE name = 'orders'").await;
    let ddl = String::from_utf8(ddl[0][0].clone().unwrap()).unwrap();
    let ddl = ddl.replace("PRIMARY KEY", "CHECK (quantity <> 7), PRIMARY KEY");
    target.execute(&format!("DROP TABLE orders; {ddl}")).await;
}
