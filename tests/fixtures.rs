//! The generator keeps its promises, and the committed exports are what it writes.
//!
//! The decoder and `serde_json` read every line it makes: two readers that share no code with its writer.

use crate::generator::awkward::Awkward;
use crate::generator::export::{self, Export, Options};
use crate::generator::items::{Items, Shape};
use crate::generator::value::{MAX_ITEM_BYTES, Value as Attribute, item_size};
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::collections::BTreeSet;
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
