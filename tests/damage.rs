//! Every kind of damage times every place: a clear error that names the file, or a reject that names the line, and never
//! a silent loss. Repaired and resumed, the target equals the source.
//!
//! The table of kinds is [`kinds::KINDS`]; what came of each is printed as a table, a column for each file and place.

pub(crate) mod kinds;

use crate::generator::export::{self, DataFile, Options};
use crate::generator::items::Shape;
use crate::roundtrip::{Truth, assert_holds, truth};
use crate::support::canon;
use crate::support::servers::{Kind as ServerKind, shared};
use crate::support::transvase::{Backfill, Ended, Target, soak, sqlite};
use kinds::{KINDS, Kind, Place};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Items of an export whose files are a page each, and of one whose files are several.
const ITEMS: u64 = 300;
const MANY_ITEMS: u64 = 9000;
const FILES: usize = 3;
const SEED: u64 = 51;
const KEY: [(&str, &str); 2] = [("customer_id", "S"), ("order_id", "S")];
const ARGS: [&str; 4] = ["--key", "customer_id:S,order_id:S", "--max-rejects", "10"];

/// The sound export, and what it holds.
struct Source {
    items: u64,
    root: PathBuf,
    folder: PathBuf,
    files: Vec<DataFile>,
    truth: Truth,
    /// The keys of the items of each file.
    keys: Vec<BTreeSet<Vec<String>>>,
}

fn source(root: &Path, items: u64) -> Source {
    let root = root.join("sound");
    let options = Options { out: root.clone(), items, files: FILES, seed: SEED, ..Options::default() };
    let export = export::write(&options).unwrap();
    let keys = |file: &DataFile| {
        let lines = kinds::inflated(&std::fs::read(&file.path).unwrap());
        lines.iter().map(|line| key_of(&serde_json::from_str::<Value>(line).unwrap()["Item"])).collect()
    };
    let keys = export.files.iter().map(keys).collect();
    let truth = truth(Shape::Orders, SEED, items, &["customer_id", "order_id"]);
    Source { items, root, folder: export.folder, files: export.files, truth, keys }
}

fn key_of(item: &Value) -> Vec<String> {
    KEY.iter().map(|(name, _)| canon::key(&item[*name])).collect()
}

/// Copies the sound export to `to`, over whatever is there.
fn copy(source: &Source, to: &Path) -> PathBuf {
    let _gone = std::fs::remove_dir_all(to);
    let folder = to.join(source.folder.strip_prefix(&source.root).unwrap());
    std::fs::create_dir_all(folder.join("data")).unwrap();
    for part in ["", "data"] {
        for entry in std::fs::read_dir(source.folder.join(part)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), folder.join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    folder
}

/// The keys of the rows there are; each row is checked to be the source's.
async fn keys_in(target: &Target, source: &Source, what: &str) -> BTreeSet<Vec<String>> {
    let mut keys = BTreeSet::new();
    for row in target.rows("SELECT item FROM orders").await {
        let found: Value = serde_json::from_slice(row[0].as_ref().unwrap()).unwrap();
        let key = key_of(&found);
        let expected = source.truth.get(&key).unwrap_or_else(|| panic!("{what}: a row that no item made: {found}"));
        assert!(canon::item(&found) == *expected, "{what}: altered by the damage: {found}");
        assert!(keys.insert(key), "{what}: a key twice");
    }
    keys
}

/// One kind of damage at one place, into one target; what came of it, for the table.
async fn one(source: &Source, kind: &Kind, place: Place, work: &Path, target: &Target) -> String {
    let what = format!("{target}: {} in file {} at {:?}", kind.name, place.file, place.at);
    let to = work.join("export");
    let folder = copy(source, &to);
    kinds::apply(kind, place, &folder, &source.files);
    let ended = Backfill::new(work, &folder, target, &ARGS).run();
    let outcome = judge(source, place, &ended, keys_in(target, source, &what).await, &what);

    copy(source, &to);
    let mut repaired = Backfill::new(work, &folder, target, &ARGS).run();
    if kind.in_the_export {
        // what was exported damaged is another export once it is sound: that is said, not guessed
        assert_eq!(repaired.code, 6, "{what}, repaired: {}", repaired.said);
        repaired.says(&["another source", "--restart"]);
        repaired = Backfill::new(work, &folder, target, &[&ARGS[..], &["--restart"]].concat()).run();
    }
    assert_eq!(repaired.code, 0, "{what}, repaired: {}", repaired.said);
    assert_eq!((repaired.count("read"), repaired.count("rejected")), (source.items, 0), "{what}, repaired");
    assert_eq!(repaired.count("written") + repaired.count("present"), source.items, "{what}, repaired");
    if !kind.in_the_export {
        assert_eq!(repaired.count("written"), source.items, "{what}, repaired: nobody else wrote");
    }
    assert_holds(target, "orders", &KEY, &source.truth, &format!("{what}, repaired")).await;
    outcome
}

/// Fails if anything is missing that was not named.
fn judge(source: &Source, place: Place, ended: &Ended, keys: BTreeSet<Vec<String>>, what: &str) -> String {
    let file = source.files[place.file].path.file_name().unwrap().to_str().unwrap();
    let missing: BTreeSet<_> = source.truth.keys().filter(|key| !keys.contains(*key)).collect();
    let report = |name: &str| ended.report["outcomes"].get(name).and_then(Value::as_u64).unwrap_or(0);
    assert_eq!(report("written"), keys.len() as u64, "{what}: the report counts other rows than there are");
    match ended.code {
        1 => {
            assert!(ended.said.contains(file), "{what}: {file} is not named in:\n{}", ended.said);
            assert!(missing.iter().all(|key| source.keys[place.file].contains(*key)), "{what}: other files suffered");
            let complete = ["complete", "complete-with-rejects"].map(Value::from);
            assert!(!complete.contains(&ended.report["status"]), "{what}: {}", ended.said);
            format!("error, {} of {}", keys.len(), source.items)
        }
        3 => {
            let lines = kinds::inflated(&std::fs::read(&source.files[place.file].path).unwrap());
            let named: BTreeSet<_> = ended
                .rejects
                .iter()
                .map(|reject| {
                    assert!(reject["unit"].as_str().unwrap().ends_with(file), "{what}: {reject}");
                    let line = usize::try_from(reject["line"].as_u64().unwrap()).unwrap();
                    key_of(&serde_json::from_str::<Value>(&lines[line - 1]).unwrap()["Item"])
                })
                .collect();
            assert_eq!(missing, named.iter().collect(), "{what}: missing is not what was rejected");
            assert_eq!(report("rejected"), named.len() as u64, "{what}");
            format!("reject, line {}", ended.rejects[0]["line"])
        }
        code => panic!("{what}: exit code {code}, {} rows missing:\n{}", missing.len(), ended.said),
    }
}

fn table(target: &str, rows: &[(&str, Vec<String>)]) -> String {
    let heads: Vec<String> = Place::all().map(|place| format!("file {} {:?}", place.file + 1, place.at)).collect();
    let line = |name: &str, cells: &[String]| {
        format!("{name:34}{}\n", cells.iter().map(|cell| format!("{cell:18}")).collect::<String>())
    };
    let lines: String = rows.iter().map(|(name, outcomes)| line(name, outcomes)).collect();
    format!("\ndamage into {target}\n{}{lines}", line("", &heads))
}

#[tokio::test]
async fn no_damage_at_any_place_loses_anything_silently_and_all_of_it_can_be_repaired() {
    let work = tempfile::tempdir().unwrap();
    let source = source(work.path(), ITEMS);
    let mut rows = Vec::new();
    for kind in &KINDS {
        let mut outcomes = Vec::new();
        for place in Place::all() {
            let target = sqlite(work.path());
            outcomes.push(one(&source, kind, place, work.path(), &target).await);
        }
        rows.push((kind.name, outcomes));
    }
    println!("{}", table("SQLite", &rows));
    // both answers must occur, else the table is not what it says
    let all: Vec<&String> = rows.iter().flat_map(|(_, outcomes)| outcomes).collect();
    assert!(all.iter().any(|outcome| outcome.starts_with("error")) && all.iter().any(|o| o.starts_with("reject")));
}

#[tokio::test]
async fn damage_does_no_more_harm_to_a_server() {
    let work = tempfile::tempdir().unwrap();
    let source = source(work.path(), ITEMS);
    let mut rows = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        let mut outcomes = Vec::new();
        for (at, place) in Place::all().enumerate() {
            // a place for each kind, another for the next; all of them in a soak
            if at != number * 4 % 9 && !soak() {
                outcomes.push("-".to_owned());
                continue;
            }
            let server = if (number + at).is_multiple_of(2) { ServerKind::MySql } else { ServerKind::MariaDb };
            let target = Target::server(shared(server).database().await);
            outcomes.push(one(&source, kind, place, work.path(), &target).await);
        }
        rows.push((kind.name, outcomes));
    }
    println!("{}", table("MySQL and MariaDB in turn", &rows));
}

#[tokio::test]
async fn damage_behind_a_page_that_was_written_is_told_and_repaired_too() {
    let work = tempfile::tempdir().unwrap();
    let source = source(work.path(), if soak() { MANY_ITEMS * 4 } else { MANY_ITEMS });
    let mut rows = Vec::new();
    let end = Place { file: 1, at: kinds::At::End };
    for kind in KINDS.iter().filter(|kind| kind.in_the_export) {
        let target = sqlite(work.path());
        rows.push((kind.name, vec![one(&source, kind, end, work.path(), &target).await]));
    }
    println!("\ndamage at the end of a file of several pages, into SQLite");
    for (name, outcomes) in &rows {
        println!("{name:34}{}", outcomes[0]);
    }
}

#[test]
fn manifests_that_disagree_are_refused_before_anything_is_written() {
    let work = tempfile::tempdir().unwrap();
    let source = source(work.path(), ITEMS);
    for (name, file, from, to, said) in [
        ("an edited list", "manifest-files.json", "\"itemCount\":100", "\"itemCount\":101", "manifest-files"),
        ("an edited summary", "manifest-summary.json", "\"itemCount\":300", "\"itemCount\":299", "manifest-summary"),
    ] {
        let folder = copy(&source, &work.path().join("export"));
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let target = sqlite(work.path());
        let ended = Backfill::new(work.path(), &folder, &target, &ARGS).run().expect(1);
        ended.says(&[said, "MD5"]);
        // as if the checksum had been edited too: then the two disagree
        kinds::seal(&folder, file.trim_end_matches(".json"));
        let ended = Backfill::new(work.path(), &folder, &target, &ARGS).run().expect(1);
        ended.says(&["301", "300"].map(|count| if name.ends_with("list") || count == "300" { count } else { "299" }));
        assert!(!Path::new(target.url().strip_prefix("sqlite:").unwrap()).exists(), "{name}: the target was touched");
    }
}
