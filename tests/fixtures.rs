//! The generator keeps its promises, and the committed exports are what it writes.
//!
//! The decoder and `serde_json` read every line it makes: two readers that share no code with its writer.

use crate::generator::awkward::Awkward;
use crate::generator::export::{self, Export, Options};
use crate::generator::items::{Items, Shape};
use crate::generator::value::{MAX_ITEM_BYTES, Value as Attribute, item_size};
use crate::incremental::{self, State, View};
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use transvase::model::decode::Decoder;
use transvase::model::json::write_item;

/// How `fixtures/README.md` says the committed exports were written.
fn committed() -> [(&'static str, Options); 2] {
    let options = |shape, items, seed, table: &str| Options {
        shape,
        items,
        seed,
        files: 4,
        empty: 1,
        table: String::from(table),
        ..Options::default()
    };
    [("full", options(Shape::Orders, 400, 1, "orders")), ("awkward", options(Shape::Awkward, 165, 2, "awkward"))]
}

fn inflated(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(fs::read(path)?.as_slice()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Every line of the items, and the key of each as JSON text.
fn lines_and_keys(shape: Shape, count: u64) -> io::Result<(Vec<Vec<u8>>, BTreeSet<String>)> {
    let items = Items::new(shape, 7);
    let (mut lines, mut keys) = (Vec::new(), BTreeSet::new());
    for index in 0..count {
        let mut line = Vec::new();
        items.write_line(index, &mut line)?;
        let names = if shape == Shape::Orders { ["customer_id", "order_id"] } else { ["pk", "sk"] };
        let item: Value = serde_json::from_slice(&line)?;
        keys.insert(names.map(|name| item["Item"][name].to_string()).join(" "));
        assert_eq!(line.pop(), Some(b'\n'));
        lines.push(line);
    }
    Ok((lines, keys))
}

const SHAPES: [Shape; 6] =
    [Shape::Orders, Shape::Awkward, Shape::AwkwardBinary, Shape::AwkwardNumber, Shape::SingleTable, Shape::Random];

#[test]
fn committed_exports_are_what_the_generator_writes() {
    for (name, options) in committed() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/export").join(name);
        let folder = tempfile::tempdir().unwrap();
        let export = export::write(&Options { out: folder.path().to_owned(), ..options }).unwrap();
        let there = root.join(export.folder.strip_prefix(folder.path()).unwrap());
        for file in ["manifest-summary.json", "manifest-summary.md5", "_started"] {
            assert_eq!(
                fs::read(there.join(file)).unwrap(),
                fs::read(export.folder.join(file)).unwrap(),
                "{name}/{file}"
            );
        }
        let manifest = fs::read_to_string(there.join("manifest-files.json")).unwrap();
        assert_eq!(manifest.lines().count(), export.files.len(), "{name}");
        for (line, file) in manifest.split_inclusive('\n').zip(&export.files) {
            let path = root.join(file.path.strip_prefix(folder.path()).unwrap());
            // the compressed bytes may change with the version of the compressor, the lines may not
            assert!(inflated(&path).unwrap() == inflated(&file.path).unwrap(), "{} differs", path.display());
            let key = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let count = file.items.end - file.items.start;
            assert_eq!(line, export::manifest_line(count, &fs::read(&path).unwrap(), key), "{name}");
        }
    }
}

/// How `fixtures/README.md` says the committed chain was written.
fn committed_chain(out: &Path) -> incremental::Options {
    incremental::Options {
        out: out.to_owned(),
        windows: 3,
        items: 60,
        changes: 40,
        files: 3,
        seed: 3,
        ..incremental::Options::default()
    }
}

/// The lines of one export of a chain, by its manifest.
fn lines_of(root: &Path, folder: &Path) -> Vec<Value> {
    let manifest = fs::read_to_string(folder.join("manifest-files.json")).unwrap();
    let mut lines = Vec::new();
    for file in manifest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let bytes = inflated(&root.join(file["dataFileS3Key"].as_str().unwrap())).unwrap();
        let before = lines.len();
        lines.extend(
            bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice::<Value>(line).unwrap()),
        );
        assert_eq!((lines.len() - before) as u64, file["itemCount"].as_u64().unwrap());
    }
    lines
}

#[test]
fn the_committed_chain_is_what_the_generator_writes() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/export/incremental");
    let folder = tempfile::tempdir().unwrap();
    let chain = incremental::write(&committed_chain(folder.path())).unwrap();
    for written in chain.windows.iter().map(|window| &window.folder).chain([&chain.full]) {
        let there = root.join(written.strip_prefix(folder.path()).unwrap());
        let summary = |folder: &Path| fs::read(folder.join("manifest-summary.json")).unwrap();
        assert!(summary(&there) == summary(written), "{}", there.display());
        assert!(lines_of(&root, &there) == lines_of(folder.path(), written), "{}", there.display());
    }
}

/// A table as a chain's lines make it: keys and whole items, as JSON text.
type Table = BTreeMap<String, String>;

/// What the generator says that a table holds.
fn told(options: &incremental::Options, state: &State) -> Table {
    let item = |index: u64, version: u32| {
        let (mut key, mut item) = (Vec::new(), Vec::new());
        let _rng = crate::generator::orders::write_key(options.seed, index, &mut key).unwrap();
        crate::generator::orders::write_version(options.seed, index, version, &mut item).unwrap();
        let text = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap().to_string();
        (text(&key), text(&item))
    };
    state.iter().map(|(index, version)| item(*index, *version)).collect()
}

/// Applies a window's lines; fails where a line does not follow from the table before it.
fn apply(table: &mut Table, lines: &[Value], view: View) {
    let mut keys = BTreeSet::new();
    for line in lines {
        let key = line["Keys"].to_string();
        assert!(keys.insert(key.clone()), "one line for a key");
        let old = line.get("OldImage").map(Value::to_string);
        if view == View::NewAndOldImages {
            assert_eq!(old.as_ref(), table.get(&key), "the item before the change");
        }
        assert!(old.is_none() || view == View::NewAndOldImages);
        match line.get("NewImage") {
            Some(new) => drop(table.insert(key, new.to_string())),
            None => assert!(table.remove(&key).is_some(), "a delete of an item that was there"),
        }
    }
}

#[test]
fn a_chains_lines_lead_from_the_full_export_to_each_truth() {
    for (seed, view) in [(5, View::NewImage), (6, View::NewAndOldImages), (7, View::NewAndOldImages)] {
        let folder = tempfile::tempdir().unwrap();
        let options = incremental::Options {
            out: folder.path().to_owned(),
            items: 120,
            windows: 5,
            changes: 90,
            seed,
            view,
            ..incremental::Options::default()
        };
        let chain = incremental::write(&options).unwrap();
        let lines = lines_of(folder.path(), &chain.full);
        let key = |item: &Value| {
            serde_json::json!({"customer_id": item["customer_id"], "order_id": item["order_id"]}).to_string()
        };
        let mut table: Table = lines.iter().map(|line| (key(&line["Item"]), line["Item"].to_string())).collect();
        assert!(table == told(&options, &chain.exported));
        let mut before = chain.windows[0].span.0;
        for (number, window) in chain.windows.iter().enumerate() {
            let (from, to) = window.span;
            assert!(from == before && (900..=86_400).contains(&(to - from)), "{:?}", window.span);
            before = to;
            let lines = lines_of(folder.path(), &window.folder);
            let deletes = lines.iter().filter(|line| line.get("NewImage").is_none()).count() as u64;
            assert_eq!((lines.len() as u64 - deletes, deletes), window.changes);
            assert!(window.changes.0 > 0 && window.changes.1 > 0, "a window of both kinds");
            if number > 0 {
                apply(&mut table, &lines, view);
            }
            assert!(table == told(&options, &window.truth), "after window {number}");
        }
    }
}

#[test]
fn every_item_is_valid_and_no_two_share_a_key() {
    for shape in SHAPES {
        let (lines, keys) = lines_and_keys(shape, 1200).unwrap();
        assert_eq!(keys.len(), lines.len(), "{shape:?}");
        let mut decoder = Decoder::default();
        for (index, line) in lines.iter().enumerate() {
            let mut written = b"{\"Item\":".to_vec();
            let decoded = decoder.decode(line, |item| write_item(item, &mut written));
            assert_eq!(decoded, Ok(()), "{shape:?} {index}");
            written.push(b'}');
            let (read, told): (Value, Value) =
                (serde_json::from_slice(line).unwrap(), serde_json::from_slice(&written).unwrap());
            assert!(read == told, "{shape:?} {index} is not decoded as serde_json reads it");
        }
    }
}

#[test]
fn the_first_round_holds_every_awkward_key_and_value_within_dynamodbs_limits() {
    let awkward = Awkward::new();
    let (_, options) = &committed()[1];
    let mut cases = BTreeSet::new();
    for index in 0..options.items * 4 {
        let item = awkward.with_text_key(index);
        let text = |wanted: &str| match item.iter().find(|(name, _)| name == wanted) {
            Some((_, Attribute::S(text))) => text.clone(),
            other => panic!("{wanted} is {other:?}"),
        };
        let new = cases.insert(text("case"));
        assert!(index < options.items || !new, "case {} is not in the committed export", text("case"));
        // the mark of a later round: every key of the catalogue itself has been seen
        assert!(
            index < options.items || text("pk").rsplit('#').next().is_some_and(|round| round.parse::<u64>().is_ok())
        );
    }
    let sizes: Vec<_> = (0..options.items).map(|index| item_size(&awkward.with_text_key(index))).collect();
    assert!(sizes.iter().all(|size| *size <= MAX_ITEM_BYTES));
    assert!(sizes.iter().filter(|size| **size > MAX_ITEM_BYTES - 4096).count() >= 4);
}

#[test]
fn an_order_is_about_410_bytes() {
    let (lines, _) = lines_and_keys(Shape::Orders, 2000).unwrap();
    let mean = lines.iter().map(Vec::len).sum::<usize>() / lines.len();
    assert!((400..=420).contains(&mean), "{mean}");
}

#[test]
fn an_empty_data_file_is_byte_for_byte_what_aws_writes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_owned();
    let export = export::write(&Options { out, items: 3, files: 2, empty: 1, ..Options::default() }).unwrap();
    let empty = export.files.iter().find(|file| file.items.is_empty()).unwrap();
    assert_eq!(empty.bytes, 0);
    // the checksum and the ETag of empty files in a real export
    assert!(empty.manifest_line.contains(r#""md5Checksum":"FjvgqIxwymKf1RbbqtrZag==""#), "{}", empty.manifest_line);
    assert!(empty.manifest_line.contains(r#""etag":"7deb4078f238dd87d6af0538152c04e9-1""#), "{}", empty.manifest_line);
}

#[test]
fn prefix_members_and_spelling_of_the_checksum_files_are_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        out: folder.path().to_owned(),
        items: 10,
        files: 2,
        members: 3,
        prefix: Some(String::from("some/prefix")),
        checksum_suffix: "checksum",
        ..Options::default()
    };
    let export = export::write(&options).unwrap();
    assert!(export.folder.starts_with(folder.path().join("some/prefix/AWSDynamoDB")));
    assert!(
        export.folder.join("manifest-files.checksum").exists() && !export.folder.join("manifest-files.md5").exists()
    );
    for file in &export.files {
        let compressed = fs::read(&file.path).unwrap();
        let mut first_member = Vec::new();
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut first_member).unwrap();
        let lines = inflated(&file.path).unwrap();
        assert_eq!(lines.len() as u64, file.bytes);
        assert!(first_member.len() < lines.len());
        assert_eq!(lines, expected(&options, file.items.clone()).unwrap());
        let line: Value = serde_json::from_str(&file.manifest_line).unwrap();
        assert!(folder.path().join(line["dataFileS3Key"].as_str().unwrap()).exists());
    }
    let again = export::write(&options).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn items_are_spread_over_the_files_that_are_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (items, files, empty)) in
        [(10, 1, 0), (10, 4, 0), (10, 4, 3), (7, 16, 9), (2, 4, 0)].into_iter().enumerate()
    {
        let out = folder.path().join(number.to_string());
        let export: Export = export::write(&Options { out, items, files, empty, ..Options::default() }).unwrap();
        let mut next = 0;
        for file in &export.files {
            assert_eq!(file.items.start, next);
            next = file.items.end;
        }
        assert_eq!((next, export.files.len()), (items, files));
        assert!(export.files.iter().filter(|file| file.items.is_empty()).count() >= empty);
    }
    let out = folder.path().join("none");
    assert!(export::write(&Options { out, items: 1, files: 2, empty: 2, ..Options::default() }).is_err());
}

fn expected(options: &Options, items: std::ops::Range<u64>) -> io::Result<Vec<u8>> {
    let made = Items::new(options.shape, options.seed);
    let mut lines = Vec::new();
    for index in items {
        made.write_line(index, &mut lines)?;
    }
    Ok(lines)
}
