//! Different items stay different rows, whatever a collation, a mapping or a wrong `--key` would make of them; and rows
//! that were there before are counted exactly and treated as asked.

mod present;
mod refused;

use crate::damage::kinds::inflated;
use crate::generator::items::Shape;
use crate::roundtrip::export;
use crate::support::small_export::SmallExport;
use crate::support::transvase::{Backfill, Target, targets, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Keys that some collation, padding, normalisation or folding takes for one another.
const TWINS: [&str; 30] = [
    "key",
    "Key",
    "KEY",
    "key ",
    "key  ",
    " key",
    "key\t",
    "key\0",
    "\0key",
    "key\u{200b}",
    "key\u{200d}",
    "key\u{feff}",
    "\u{e9}t\u{e9}",
    "e\u{301}te\u{301}",
    "ete",
    "\u{c9}T\u{c9}",
    "straße",
    "strasse",
    "STRASSE",
    "I",
    "ı",
    "i",
    "İ",
    "Å",
    "\u{212b}",
    "😀",
    "😁",
    "か\u{3099}",
    "が",
    "1",
];

/// A small export of these lines in these files.
fn lines(root: &Path, name: &str, files: Vec<Vec<String>>) -> PathBuf {
    let root = root.join(name);
    let export = SmallExport { files, ..SmallExport::new(0, 0, 0) };
    export.write(&root);
    export.folder(&root)
}

fn line(pk: &str, sk: &str, name: &str) -> String {
    json!({"Item": {"pk": {"S": pk}, "sk": {"S": sk}, "name": {"S": name}}}).to_string()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Every pair of twins, so that both key columns are put to the test; spread over files.
fn twin_export(root: &Path) -> (PathBuf, BTreeSet<(String, String)>) {
    let mut files = vec![Vec::new(); 3];
    let mut pairs = BTreeSet::new();
    for (number, pk) in TWINS.iter().enumerate() {
        for sk in TWINS {
            files[number % 3].push(line(pk, sk, &format!("{pk}/{sk}")));
            pairs.insert(((*pk).to_owned(), sk.to_owned()));
        }
    }
    assert_eq!(pairs.len(), TWINS.len() * TWINS.len());
    (lines(root, "twins", files), pairs)
}

async fn pairs_in(target: &Target, table: &str) -> BTreeSet<(String, String)> {
    let rows = target.rows(&format!("SELECT pk, sk FROM {table}")).await;
    assert_eq!(rows.len(), TWINS.len() * TWINS.len());
    rows.iter().map(|row| (text(&row[0]).to_owned(), text(&row[1]).to_owned())).collect()
}

#[tokio::test]
async fn twin_keys_arrive_as_rows_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (from, pairs) = twin_export(folder.path());
    let mapping = write(folder.path(), "twins.toml", MAPPING);
    let all = pairs.len() as u64;
    for target in targets(folder.path()).await {
        let document = ["--key", "pk:S,sk:S", "--table", "documents", "--run", "documents"];
        let ended = Backfill::new(folder.path(), &from, &target, &document).run().expect(0);
        ended.counts([all, all, 0, 0, 0]);
        assert!(pairs_in(&target, "documents").await == pairs, "{target}");
        let typed = ["--mapping", mapping.to_str().unwrap(), "--create-tables", "--run", "typed"];
        let ended = Backfill::new(folder.path(), &from, &target, &typed).run().expect(0);
        ended.counts([all, all, 0, 0, 0]);
        assert!(pairs_in(&target, "twins").await == pairs, "{target}");
        let found: BTreeSet<String> =
            target.rows("SELECT name FROM twins").await.iter().map(|row| text(&row[0]).to_owned()).collect();
        assert_eq!(found.len(), pairs.len(), "{target}: a row of one key was given another's value");
    }
}

/// The twins as text keys.
const MAPPING: &str = r#"
key = "pk:S,sk:S"
[[table]]
name = "twins"
[[table.column]]
name = "pk"
type = "varchar(64)"
key = true
[[table.column]]
name = "sk"
type = "varchar(64)"
key = true
[[table.column]]
name = "name"
type = "varchar(200)"
"#;

#[tokio::test]
async fn a_wrong_key_is_caught_inside_a_page_and_both_items_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::SingleTable, 5, 90, 2);
    for target in targets(folder.path()).await {
        let ended = Backfill::new(folder.path(), &from, &target, &["--key", "pk:S"]).run().expect(6);
        ended.says(&["table orders: items ", "AWSDynamoDB/", ".json.gz have the same target key", "--key"]);
        assert_named_twins(&ended.said, &from);
        assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, 0, "{target}");
        // the right key on the same run is another mapping, and says so
        let right = ["--key", "pk:S,sk:S"];
        Backfill::new(folder.path(), &from, &target, &right).run().expect(6).says(&["another key or mapping"]);
        Backfill::new(folder.path(), &from, &target, &["--key", "pk:S,sk:S", "--table", "t", "--run", "t"])
            .run()
            .expect(0)
            .counts([90, 90, 0, 0, 0]);
    }
}

/// The two items that the refusal names are really two, of one partition key.
fn assert_named_twins(said: &str, from: &Path) {
    let named = said.split_once("table orders: items ").unwrap().1;
    let words: Vec<&str> = named.split_whitespace().collect();
    let [first, "and", second, "of", file] = words[..5] else { panic!("{named}") };
    let lines = inflated(&std::fs::read(from.join("data").join(file.rsplit_once('/').unwrap().1)).unwrap());
    let item = |number: &str| -> Value { serde_json::from_str(&lines[number.parse::<usize>().unwrap()]).unwrap() };
    let (first, second) = (item(first), item(second));
    assert_eq!(first["Item"]["pk"], second["Item"]["pk"]);
    assert_ne!(first["Item"]["sk"], second["Item"]["sk"]);
}

/// Two files, each without twins of its own; by `pk` alone the last item of the second is the first of the first.
fn split_twins(root: &Path) -> PathBuf {
    let first = (0..20).map(|number| line(&format!("a{number}"), "1", "")).collect();
    let second = (0..20).map(|number| line(&format!("b{number}"), "1", "")).chain([line("a0", "2", "")]).collect();
    lines(root, "split", vec![first, second])
}

#[tokio::test]
async fn a_wrong_key_is_caught_across_pages() {
    let folder = tempfile::tempdir().unwrap();
    let from = split_twins(folder.path());
    for target in targets(folder.path()).await {
        let wrong = ["--key", "pk:S"];
        let ended = Backfill::new(folder.path(), &from, &target, &wrong).run().expect(6);
        ended.says(&["table orders: item ", "has the key of a row that this run wrote before", "--live-target"]);
        let rows = target.number("SELECT COUNT(*) FROM orders").await;
        assert!(rows == 20 || rows == 21, "{target}: {rows} rows: one of the pages was not written whole");
        assert_eq!((ended.count("written"), ended.count("present")), (rows, 0), "{target}");
        // it is no matter of luck: run again, it is refused again
        Backfill::new(folder.path(), &from, &target, &wrong).run().expect(6);
        assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, rows, "{target}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_caught_across_runs_of_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let from = split_twins(folder.path());
    let second = from.join("data").join(format!("{:026}.json.gz", 1));
    let hidden = folder.path().join("hidden");
    for target in targets(folder.path()).await {
        let wrong = ["--key", "pk:S"];
        std::fs::rename(&second, &hidden).unwrap();
        let ended = Backfill::new(folder.path(), &from, &target, &wrong).run().expect(1);
        assert_eq!(ended.count("written"), 20, "{target}");
        std::fs::rename(&hidden, &second).unwrap();
        Backfill::new(folder.path(), &from, &target, &wrong).run().expect(6).says(&["has the key of a row"]);
        assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, 20, "{target}");
    }
}

#[tokio::test]
async fn with_a_live_target_rows_found_there_are_the_applications_own() {
    let folder = tempfile::tempdir().unwrap();
    let from = split_twins(folder.path());
    for target in targets(folder.path()).await {
        let ended = Backfill::new(folder.path(), &from, &target, &["--key", "pk:S", "--live-target"]).run().expect(0);
        ended.counts([41, 40, 1, 0, 0]);
        assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, 40, "{target}");
    }
}
