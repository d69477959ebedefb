//! Exports read back, whole and in parts, and damaged in every way at every place.

#[path = "../../../tests/support/small_export.rs"]
mod small_export;

use super::*;
use crate::source::Read;
use small_export::{SmallExport, gzip, md5_base64};
use std::ops::Range;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// A line as it arrived: unit, position, bytes.
type Line = (UnitId, u64, String);

fn open(path: &Path, page_bytes: usize) -> Result<DynamoDbExport> {
    let location = ExportLocation::find(path.to_str().unwrap())?;
    let ExportLocation::Folder { root, .. } = &location else { panic!("a folder") };
    DynamoDbExport::open(&location, Objects::folder(root), &ExportOptions { page_bytes })
}

fn read_unit(export: &DynamoDbExport, unit: UnitId, wanted: &[Range<u64>]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut reader = Source::open(export, unit, &Wanted { items: wanted.to_vec(), after: None })?;
    while let Read::Page(page) = reader.next(&CancellationToken::new())? {
        assert_eq!(page.span.unit, unit);
        assert!(wanted.iter().any(|range| range.start <= page.span.from && page.span.to <= range.end), "{page:?}");
        assert!(page.bytes.ends_with(b"\n"));
        let before = lines.len();
        lines.extend(page.lines().map(|(at, line)| (unit, at, String::from_utf8(line.to_vec()).unwrap())));
        assert_eq!((lines.len() - before) as u64, page.span.items());
    }
    Ok(lines)
}

fn read_all(path: &Path, page_bytes: usize) -> Result<Vec<Line>> {
    let export = open(path, page_bytes)?;
    let mut all = Vec::new();
    for unit in &export.description().units {
        all.extend(read_unit(&export, unit.id, &one(0..unit.items.unwrap()))?);
    }
    Ok(all)
}

/// One wanted range.
fn one(range: Range<u64>) -> Vec<Range<u64>> {
    vec![range]
}

fn expected(export: &SmallExport) -> Vec<Line> {
    let files = export.files.iter().filter(|lines| !lines.is_empty()).zip(0..);
    files.flat_map(|(lines, unit)| lines.iter().zip(0..).map(move |(line, at)| (unit, at, line.clone()))).collect()
}

fn written(export: &SmallExport) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    export.write(root.path());
    root
}

/// Edits manifest-files.json and its checksum.
fn edit_list(export: &SmallExport, root: &Path, edit: impl FnOnce(String) -> String) {
    let list = std::fs::read_to_string(export.folder(root).join("manifest-files.json")).unwrap();
    export.write_manifest(root, "manifest-files", &edit(list));
}

/// Replaces a data file, and its MD5 in the manifest: damage that was there before AWS hashed it.
fn replace_data(export: &SmallExport, root: &Path, file: usize, bytes: &[u8]) {
    let path = root.join(export.data_key(file));
    let before = md5_base64(&std::fs::read(&path).unwrap());
    std::fs::write(path, bytes).unwrap();
    edit_list(export, root, |list| list.replace(&before, &md5_base64(bytes)));
}

#[test]
fn every_line_arrives_once_at_its_position() {
    for members in [1, 7] {
        for last_newline in [true, false] {
            let mut export = SmallExport::new(3, 1000, 300);
            export.files.insert(1, Vec::new());
            (export.members, export.last_newline) = (members, last_newline);
            let root = written(&export);
            for page_bytes in [1, 100, 10_000, 1 << 20] {
                assert!(read_all(root.path(), page_bytes).unwrap() == expected(&export), "{members} {page_bytes}");
            }
        }
    }
}

#[test]
fn the_description_tells_the_export_and_its_manifest_apart() {
    let export = SmallExport::new(2, 5, 100);
    let root = written(&export);
    let first = open(root.path(), 1000).unwrap();
    let description = first.description().clone();
    assert_eq!((description.table.as_str(), description.items), ("orders", 10));
    assert_eq!(description.units[1], Unit { id: 1, name: export.data_key(1), items: Some(5) });
    assert!(description.identity.starts_with("arn:aws:dynamodb:eu-north-1:123456789123:table/orders/export/0176"));
    edit_list(&export, root.path(), |list| list.replace("x-1", "y-1"));
    assert_ne!(open(root.path(), 1000).unwrap().description().identity, description.identity);
}

#[test]
fn only_what_is_wanted_is_handed_out_and_the_rest_is_still_counted() {
    let export = SmallExport::new(1, 500, 200);
    let root = written(&export);
    let all = expected(&export);
    for page_bytes in [300, 5000, 1 << 20] {
        let source = open(root.path(), page_bytes).unwrap();
        for wanted in [one(0..1), one(499..500), vec![3..4, 4..5, 7..100, 250..251], one(100..500), vec![]] {
            let lines = read_unit(&source, 0, &wanted).unwrap();
            let right: Vec<Line> =
                all.iter().filter(|(_, at, _)| wanted.iter().any(|w| w.contains(at))).cloned().collect();
            assert!(lines == right, "{page_bytes} {wanted:?}");
        }
    }
    edit_list(&export, root.path(), |list| list.replace("itemCount\":500", "itemCount\":499"));
    let summary = std::fs::read_to_string(export.folder(root.path()).join("manifest-summary.json")).unwrap();
    export.write_manifest(root.path(), "manifest-summary", &summary.replace("itemCount\":500", "itemCount\":499"));
    let source = open(root.path(), 1000).unwrap();
    let error = read_unit(&source, 0, &one(0..1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn wanted_ranges_out_of_order_are_a_bug() {
    let export = SmallExport::new(1, 10, 100);
    let root = written(&export);
    let source = open(root.path(), 1000).unwrap();
    for wanted in [vec![5..6, 2..3], vec![0..4, 3..5], one(2..2), one(5..11)] {
        assert_eq!(read_unit(&source, 0, &wanted).unwrap_err().kind(), ErrorKind::Internal, "{wanted:?}");
    }
    assert_eq!(read_unit(&source, 1, &one(0..1)).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn an_odd_line_is_an_item_and_nothing_is_trimmed() {
    let mut export = SmallExport::new(1, 3, 100);
    export.files[0].splice(1..1, ["".into(), "crlf\r".into(), " spaces ".into(), "\u{2028}".into(), "".into()]);
    let root = written(&export);
    for page_bytes in [1, 20, 1000] {
        assert_eq!(read_all(root.path(), page_bytes).unwrap(), expected(&export));
    }
}

#[test]
fn keys_are_found_wherever_the_export_was_copied() {
    let mut export = SmallExport::new(2, 10, 100);
    export.prefix = Some("backups/2026".into());
    let root = written(&export);
    let folder = export.folder(root.path());
    assert_eq!(read_all(&folder, 1000).unwrap(), expected(&export), "inside the bucket's copy");
    assert_eq!(read_all(&root.path().join("backups/2026"), 1000).unwrap(), expected(&export), "below the prefix");

    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy");
    std::fs::rename(&folder, &copy).unwrap();
    assert_eq!(read_all(&copy, 1000).unwrap(), expected(&export), "copied without its folders");
    for file in 0..2 {
        let name = export.data_key(file).rsplit('/').next().unwrap().to_owned();
        std::fs::rename(copy.join("data").join(&name), copy.join(name)).unwrap();
    }
    assert_eq!(read_all(&copy, 1000).unwrap(), expected(&export), "flattened");
}

#[test]
fn keys_without_the_prefix_are_found_below_it() {
    let mut export = SmallExport::new(2, 10, 100);
    export.prefix = Some("backups".into());
    let root = written(&export);
    edit_list(&export, root.path(), |list| list.replace("backups/", ""));
    let key = format!("backups/AWSDynamoDB/{}/manifest-summary.json", small_export::ID);
    let location = ExportLocation::Folder { root: root.path().to_owned(), manifest_key: key };
    let source = DynamoDbExport::open(&location, Objects::folder(root.path()), &ExportOptions::default()).unwrap();
    let lines = read_unit(&source, 1, &one(0..10)).unwrap();
    assert!(lines == expected(&export)[10..]);
}

#[test]
fn both_spellings_of_a_checksum_are_held_against_the_manifest() {
    for ending in [Some("md5"), Some("checksum"), None] {
        for stem in ["manifest-files", "manifest-summary"] {
            let mut export = SmallExport::new(1, 10, 100);
            export.checksum = ending;
            let root = written(&export);
            assert_eq!(read_all(root.path(), 1000).unwrap(), expected(&export));
            let path = export.folder(root.path()).join(format!("{stem}.json"));
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text + " ").unwrap();
            match ending {
                None => assert_eq!(read_all(root.path(), 1000).unwrap(), expected(&export)),
                Some(_) => {
                    let error = read_all(root.path(), 1000).unwrap_err();
                    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("was edited or damaged"));
                }
            }
        }
    }
}

#[test]
fn an_empty_file_is_not_read() {
    let mut export = SmallExport::new(1, 10, 100);
    export.files.push(Vec::new());
    let root = written(&export);
    std::fs::remove_file(root.path().join(export.data_key(1))).unwrap();
    assert_eq!(read_all(root.path(), 1000).unwrap(), expected(&export));
    assert_eq!(open(root.path(), 1000).unwrap().description().units.len(), 1);
}

#[test]
fn an_export_of_an_empty_table_has_no_units() {
    let root = written(&SmallExport { files: vec![Vec::new(), Vec::new()], ..SmallExport::new(0, 0, 0) });
    assert_eq!(open(root.path(), 1000).unwrap().description().units, []);
}

/// A way to damage the export written at a root.
type Damage = Box<dyn Fn(&SmallExport, &Path)>;

fn flip(at: impl Fn(usize) -> usize + 'static) -> Damage {
    Box::new(move |export, root| {
        let path = root.join(export.data_key(1));
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at(bytes.len());
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    })
}

/// Rewrites file 1 with its MD5: only what comes after the MD5 can notice.
fn rewrite(edit: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> Damage {
    Box::new(move |export, root| {
        let bytes = std::fs::read(root.join(export.data_key(1))).unwrap();
        replace_data(export, root, 1, &edit(bytes));
    })
}

/// Rewrites the lines of file 1, with its MD5.
fn relines(edit: impl Fn(&mut Vec<String>) + 'static) -> Damage {
    Box::new(move |export, root| {
        let mut lines = export.files[1].clone();
        edit(&mut lines);
        replace_data(export, root, 1, &gzip((lines.join("\n") + "\n").as_bytes(), 1));
    })
}

fn manifest(from: &'static str, to: &'static str) -> Damage {
    Box::new(move |export, root| edit_list(export, root, |list| list.replacen(from, to, 1)))
}

/// To a file, since the export was made: its MD5 tells.
fn damages_at_rest() -> Vec<(&'static str, &'static str, Damage)> {
    vec![
        ("a bit flipped in the gzip header", "is damaged: its", flip(|_| 3)),
        ("a bit flipped early", "is damaged: its", flip(|len| len / 10)),
        ("a bit flipped in the middle", "is damaged: its", flip(|len| len / 2)),
        ("a bit flipped in the trailer", "is damaged: its", flip(|len| len - 1)),
        (
            "cut short",
            "is damaged: its",
            Box::new(|export, root| {
                let path = root.join(export.data_key(1));
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            }),
        ),
        (
            "emptied",
            "is damaged: its 0 bytes",
            Box::new(|e, root| std::fs::write(root.join(e.data_key(1)), "").unwrap()),
        ),
        (
            "missing",
            "is missing: looked for",
            Box::new(|e, root| std::fs::remove_file(root.join(e.data_key(1))).unwrap()),
        ),
        (
            "another file's gzip",
            "is damaged: its",
            Box::new(|export, root| {
                std::fs::copy(root.join(export.data_key(0)), root.join(export.data_key(1))).unwrap();
            }),
        ),
    ]
}

/// To a file before AWS took its MD5: only reading it tells.
fn damages_before_the_md5() -> Vec<(&'static str, &'static str, Damage)> {
    vec![
        ("cut short before it was hashed", "it is not whole gzip data", rewrite(|b| b[..b.len() / 2].to_vec())),
        ("cut before its trailer", "it is not whole gzip data", rewrite(|b| b[..b.len() - 8].to_vec())),
        (
            "altered before it was hashed",
            "it is not whole gzip data",
            rewrite(|mut b| {
                let at = b.len() / 2;
                b[at] ^= 1;
                b
            }),
        ),
        ("emptied before it was hashed", "it is not whole gzip data", rewrite(|_| Vec::new())),
        ("followed by garbage", "it is not whole gzip data", rewrite(|b| [b, b"garbage".to_vec()].concat())),
        ("followed by zeros", "it is not whole gzip data", rewrite(|b| [b, vec![0; 512]].concat())),
        ("not gzip", "it is not whole gzip data", rewrite(|_| b"{\"Item\":{}}\n".to_vec())),
        ("a line less", "it holds 199 lines, the manifest says 200", relines(|lines| drop(lines.pop()))),
        ("a line more", "it holds 201 lines, the manifest says 200", relines(|lines| lines.push("{}".into()))),
        ("a blank line more", "it holds 201 lines, the manifest says 200", relines(|lines| lines.push("".into()))),
        ("a line too long", "a line is longer than", relines(|lines| lines[0] = "x".repeat(65 << 20))),
    ]
}

/// To the list of data files, with a right checksum.
fn damages_to_the_list() -> Vec<(&'static str, &'static str, Damage)> {
    vec![
        (
            "a wrong count",
            "lists 3 data files with 601 items, the summary says 600",
            manifest("itemCount\":200", "itemCount\":201"),
        ),
        (
            "a wrong md5",
            "is damaged: its",
            Box::new(|export, root| {
                edit_list(export, root, |list| {
                    let md5 = list.split('"').nth(5).unwrap().to_owned();
                    list.replace(&md5, "1B2M2Y8AsgTpgAmY7PhCfg==")
                });
            }),
        ),
        (
            "a listed file dropped",
            "the summary says 600",
            Box::new(|export, root| {
                edit_list(export, root, |list| list.lines().skip(1).map(|line| format!("{line}\n")).collect());
            }),
        ),
        (
            "a file listed twice",
            "is listed twice",
            Box::new(|export, root| {
                edit_list(export, root, |list| format!("{list}{list}"));
            }),
        ),
    ]
}

#[test]
fn no_damage_goes_unnoticed() {
    let damages = [damages_at_rest(), damages_before_the_md5(), damages_to_the_list()];
    for (name, sentence, damage) in damages.into_iter().flatten() {
        let export = SmallExport::new(3, 200, 300);
        let root = written(&export);
        damage(&export, root.path());
        let error = match read_all(root.path(), 5000) {
            Err(error) => error,
            Ok(lines) => panic!("{name}: read {} lines", lines.len()),
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        assert!(error.chain().contains(sentence), "{name}: {}", error.chain());
        assert!(!error.chain().contains("\"Item\""), "{name}: no values in messages");
    }
}

#[test]
fn damage_of_one_file_leaves_the_others_readable() {
    let export = SmallExport::new(3, 200, 300);
    let root = written(&export);
    flip(|len| len / 2)(&export, root.path());
    let source = open(root.path(), 5000).unwrap();
    let error = read_unit(&source, 1, &one(0..200)).unwrap_err();
    assert!(error.to_string().contains(&export.data_key(1)), "{error}");
    for unit in [0, 2] {
        assert_eq!(read_unit(&source, unit, &one(0..200)).unwrap().len(), 200);
    }
}

#[test]
fn counts_swapped_between_files_are_noticed_in_each() {
    let export = SmallExport::new(2, 100, 100);
    let root = written(&export);
    edit_list(&export, root.path(), |list| {
        list.replacen("itemCount\":100", "itemCount\":99", 1).replacen("itemCount\":100", "itemCount\":101", 1)
    });
    let source = open(root.path(), 1000).unwrap();
    let messages = [0, 1].map(|unit| {
        let items = source.description().units[unit as usize].items.unwrap();
        read_unit(&source, unit, &one(0..items)).unwrap_err().to_string()
    });
    assert!(messages[0].contains("it holds 100 lines, the manifest says 99 items"), "{}", messages[0]);
    assert!(messages[1].contains("after item 100: it holds 100 lines, the manifest says 101 items"), "{}", messages[1]);
}
