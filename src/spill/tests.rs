//! What goes into runs comes out of merges: whole, in key order, once, whatever the pieces; and nothing else ever does.

use super::gather::{Gathered, Packed, Sorted};
use super::key::{self, KeyKind};
use super::merge::Merge;
use super::pieces::{self, KeyRange};
use super::run::{self, Damage, Run};
use super::{Compression, Fault, Origin, RunInfo, Twins};
use crate::error::ErrorKind;
use crate::model::batch::{Batch, Feed, TableRows};
use crate::model::page::{Page, Span};
use crate::model::rows::Rows;
use proptest::prelude::*;
use std::convert::Infallible;
use std::fs;
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const ALL: KeyRange<'static> = (Bound::Unbounded, Bound::Unbounded);

/// Two tables: a text and an integer are the key of the one, a decimal that of the other.
fn kinds() -> [Vec<KeyKind>; 2] {
    [vec![KeyKind::AsIs, KeyKind::AsIs], vec![KeyKind::Decimal]]
}

fn put(rows: &mut Rows, bytes: &[u8]) {
    let copied: Result<(), Infallible> = rows.text(|out| {
        out.extend_from_slice(bytes);
        Ok(())
    });
    copied.unwrap();
}

/// A batch of `unit` with one row for each item of either table: its position says which item it was. Those of even units are
/// sorted, the others in the order of the items.
fn batch(unit: u32, items: &[(usize, u32, usize)]) -> Batch {
    let mut tables = [Rows::new(4), Rows::new(2)];
    for (position, (table, id, size)) in (0..).zip(items) {
        let rows = &mut tables[*table];
        // bytes that no compressor makes smaller
        let mut state = u64::from(*id) + 1;
        let noise: Vec<u8> = (0..*size).map(|_| next(&mut state)).collect();
        if *table == 0 {
            put(rows, format!("customer-{:02}", id % 16).as_bytes());
            rows.int(i64::from(*id) - 40);
            if size % 2 == 0 {
                rows.null()
            } else {
                rows.double(f64::from(*id) / 3.0)
            }
            let copied: Result<(), Infallible> = rows.binary(|out| {
                out.extend_from_slice(&noise);
                Ok(())
            });
            copied.unwrap();
        } else {
            put(rows, format!("{}", i64::from(*id) * 5 - 100).as_bytes());
            put(rows, &noise.iter().map(|byte| b'a' + byte % 26).collect::<Vec<_>>());
        }
        rows.end_row(position);
    }
    let tables = tables.into_iter().zip([vec![0, 1], vec![0]]).map(|(rows, key)| {
        let mut order: Vec<u32> = (0..u32::try_from(rows.len()).unwrap()).collect();
        if unit.is_multiple_of(2) {
            order.sort_by(|a, b| rows.compare(*a as usize, *b as usize, &key));
        }
        TableRows { rows, order, key }
    });
    let span = Span { unit, from: 0, to: items.len() as u64 };
    let page = Page { span, bytes: Vec::new(), reached: None, half_units: 0 };
    Batch { page, tables: tables.collect(), rejects: Vec::new(), skipped: 0, feed: Feed::Page, changes: None }
}

fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    state.to_be_bytes()[0]
}

fn sorted(batches: &[Batch]) -> Sorted {
    let mut gathered = Gathered::new(2);
    batches.iter().for_each(|batch| gathered.add(Packed::new(batch, &kinds())));
    gathered.sort().unwrap()
}

/// A run for each group of batches.
fn write(dir: &Path, groups: &[Vec<Batch>]) -> Vec<RunInfo> {
    // files of both kinds are merged together
    let compression = [Compression::Lz4, Compression::None];
    let write = |(at, group): (usize, &Vec<Batch>)| {
        sorted(group).write(dir, &format!("run-{at}"), compression[at % 2], None).unwrap()
    };
    groups.iter().enumerate().map(write).collect()
}

fn open(dir: &Path, infos: &[RunInfo]) -> Vec<Arc<Run>> {
    infos.iter().map(|info| Arc::new(Run::open(dir, info).unwrap())).collect()
}

/// A row as it can be compared: its key, where it is from, and its cells as text.
type Shown = (Vec<u8>, u32, u64, String);

fn show(rows: &Rows, row: usize, unit: u32, table: usize) -> Shown {
    let mut key = Vec::new();
    let columns: &[usize] = if table == 0 { &[0, 1] } else { &[0] };
    key::encode(columns.iter().map(|column| rows.cell(row, *column)), &kinds()[table], &mut key);
    (key, rows.unit(row, unit), rows.position(row), format!("{:?}", rows.row(row).collect::<Vec<_>>()))
}

/// All rows of `table`, in key order, by other means.
fn truth(groups: &[Vec<Batch>], table: usize) -> Vec<Shown> {
    let batches = groups.iter().flatten();
    let mut all: Vec<Shown> = batches
        .flat_map(|batch| {
            let rows = &batch.tables[table].rows;
            (0..rows.len()).map(|row| show(rows, row, batch.page.span.unit, table))
        })
        .collect();
    all.sort();
    all
}

fn columns(table: usize) -> usize {
    [4, 2][table]
}

/// Reads on in steps of `rows_max` rows and `bytes_max` bytes to the end, or to an error.
fn read(merge: &mut Merge, table: usize, rows_max: usize, bytes_max: usize, out: &mut Vec<Shown>) -> Result<(), Fault> {
    let mut rows = Rows::new(columns(table));
    let mut last = Vec::new();
    loop {
        rows.clear();
        let result = merge.next(&mut rows, rows_max, bytes_max, &mut last);
        out.extend((0..rows.len()).map(|row| show(&rows, row, u32::MAX, table)));
        match result? {
            0 => return Ok(()),
            count => {
                assert_eq!(rows.len(), count);
                assert!(count <= rows_max);
                assert_eq!(out.last().map(|shown| &shown.0), Some(&last));
            }
        }
    }
}

fn merged(runs: &[Arc<Run>], table: usize, range: KeyRange<'_>, rows_max: usize, bytes_max: usize) -> Vec<Shown> {
    let mut out = Vec::new();
    let mut merge = Merge::new(runs, table, range).unwrap();
    read(&mut merge, table, rows_max, bytes_max, &mut out).unwrap();
    out
}

/// Batches in groups: no id twice in a table, sizes from nothing to more than a block.
fn any_groups() -> impl Strategy<Value = Vec<Vec<Batch>>> {
    let sizes = prop_oneof![4 => 0usize..8, 3 => 100usize..900, 1 => 20_000usize..70_000];
    let items = prop::collection::btree_map((0usize..2, 0u32..400), sizes, 0..150);
    let items = items.prop_map(|items| items.into_iter().map(|((table, id), size)| (table, id, size)).collect());
    (items, 1usize..8, 1usize..4).prop_perturb(|(mut items, runs, batches): (Vec<_>, _, _), mut random| {
        for at in (1..items.len()).rev() {
            items.swap(at, random.random_range(0..=at));
        }
        let mut groups: Vec<Vec<Batch>> = (0..runs).map(|_| Vec::new()).collect();
        for (unit, items) in items.chunks(150 / runs / batches + 1).enumerate() {
            groups[unit % runs].push(batch(u32::try_from(unit).unwrap(), items));
        }
        groups
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn all_pieces_together_are_all_rows_in_key_order(groups in any_groups(), rows in 1u64..60, rows_max in 1usize..40, bytes_max in 0usize..90_000) {
        let dir = TempDir::new().unwrap();
        let infos = write(dir.path(), &groups);
        let runs = open(dir.path(), &infos);
        for table in 0..2 {
            let truth = truth(&groups, table);
            prop_assert_eq!(infos.iter().map(|info| info.rows[table]).sum::<u64>(), truth.len() as u64);
            let pieces = pieces::cut(&runs, table, rows);
            prop_assert_eq!(pieces.is_empty(), truth.is_empty());
            prop_assert!(pieces.windows(2).all(|pair| pair[0].to.is_some() && pair[0].to == pair[1].from));
            prop_assert!(pieces.first().is_none_or(|piece| piece.from.is_none()));
            prop_assert!(pieces.last().is_none_or(|piece| piece.to.is_none()));
            prop_assert_eq!(pieces.iter().map(|piece| piece.rows).sum::<u64>(), truth.len() as u64);
            let mut all = Vec::new();
            for piece in &pieces {
                let rows = merged(&runs, table, piece.range(None), rows_max, bytes_max);
                prop_assert!(!rows.is_empty());
                all.extend(rows);
            }
            prop_assert_eq!(all, truth);
        }
    }

    #[test]
    fn a_merge_goes_on_after_any_key(groups in any_groups(), rows in 1u64..60, at in any::<prop::sample::Index>()) {
        let dir = TempDir::new().unwrap();
        let runs = open(dir.path(), &write(dir.path(), &groups));
        for table in 0..2 {
            let truth = truth(&groups, table);
            if truth.is_empty() {
                continue;
            }
            let last = &truth[at.index(truth.len())].0;
            for piece in pieces::cut(&runs, table, rows) {
                let is_of_it = |key: &Vec<u8>| piece.from.as_ref().is_none_or(|from| key >= from) && piece.to.as_ref().is_none_or(|to| key < to);
                if is_of_it(last) {
                    let rest: Vec<_> = truth.iter().filter(|row| is_of_it(&row.0) && row.0 > *last).cloned().collect();
                    prop_assert_eq!(merged(&runs, table, piece.range(Some(last)), 7, usize::MAX), rest);
                }
            }
            // what a run that was written anew has to add to a piece that had come as far as `last`
            let until = truth.iter().filter(|row| row.0 <= *last).cloned().collect::<Vec<_>>();
            prop_assert_eq!(merged(&runs, table, (Bound::Unbounded, Bound::Included(last)), 7, usize::MAX), until);
        }
    }

    #[test]
    fn gathered_rows_are_loaded_in_order_without_a_file(groups in any_groups(), rows_max in 1usize..40, bytes_max in 1usize..90_000) {
        let batches: Vec<Batch> = groups.into_iter().flatten().collect();
        let sorted = sorted(&batches);
        let groups = [batches];
        for table in 0..2 {
            let (mut all, mut from) = (Vec::new(), 0);
            loop {
                let mut rows = Rows::new(columns(table));
                let count = sorted.append(table, from, &mut rows, rows_max, bytes_max).unwrap();
                all.extend((0..rows.len()).map(|row| show(&rows, row, u32::MAX, table)));
                from += count;
                if count == 0 {
                    break;
                }
            }
            prop_assert_eq!(from, sorted.rows(table));
            prop_assert_eq!(all, truth(&groups, table));
        }
    }

    #[test]
    fn no_damage_passes_as_a_row(groups in any_groups(), at in any::<prop::sample::Index>(), bit in 0u32..8, is_cut in any::<bool>()) {
        let dir = TempDir::new().unwrap();
        let infos = write(dir.path(), &groups);
        let info = &infos[at.index(infos.len())];
        let path = dir.path().join(&info.name);
        let mut bytes = fs::read(&path).unwrap();
        let byte = at.index(bytes.len());
        if is_cut { bytes.truncate(byte) } else { bytes[byte] ^= 1 << bit }
        fs::write(&path, bytes).unwrap();

        prop_assert!(matches!(run::verify(dir.path(), info).unwrap(), Some(Damage::Damaged(_))));
        for other in infos.iter().filter(|other| other.name != info.name) {
            prop_assert_eq!(run::verify(dir.path(), other).unwrap(), None);
        }
        let runs: Result<Vec<_>, _> = infos.iter().map(|info| Run::open(dir.path(), info).map(Arc::new)).collect();
        let is_told = |error: &crate::error::Error| error.kind() == ErrorKind::Corrupt && error.to_string().contains(&info.name);
        let runs = match runs {
            Ok(runs) => runs,
            Err(error) => {
                prop_assert!(is_told(&error), "{}", error);
                return Ok(());
            }
        };
        let mut told = 0;
        for table in 0..2 {
            let mut out = Vec::new();
            let end = Merge::new(&runs, table, ALL).and_then(|mut merge| read(&mut merge, table, 5, usize::MAX, &mut out));
            prop_assert!(truth(&groups, table).starts_with(&out));
            if let Err(Fault::Failed(error)) = end {
                prop_assert!(is_told(&error), "{}", error);
                told += 1;
            }
        }
        prop_assert_eq!(told, 1, "the damaged block is of one table");
    }
}

#[test]
fn every_byte_of_a_run_is_under_a_check() {
    let dir = TempDir::new().unwrap();
    let items: Vec<_> = (0..300).map(|id| (usize::from(id % 3 == 0), id, 150)).collect();
    let info = write(dir.path(), &[vec![batch(0, &items)]]).remove(0);
    assert_eq!(run::verify(dir.path(), &info).unwrap(), None);
    let path = dir.path().join(&info.name);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, info.bytes);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (at, byte) in (0..).zip(&bytes) {
        std::os::unix::fs::FileExt::write_all_at(&file, &[byte ^ 1], at).unwrap();
        assert!(matches!(run::verify(dir.path(), &info).unwrap(), Some(Damage::Damaged(_))), "byte {at}");
        std::os::unix::fs::FileExt::write_all_at(&file, &[*byte], at).unwrap();
    }
    assert_eq!(run::verify(dir.path(), &info).unwrap(), None);
}

#[test]
fn a_run_that_is_not_there_or_another_one_is_told_apart() {
    let dir = TempDir::new().unwrap();
    let group = |id| vec![batch(0, &[(0, id, 5)])];
    let infos = write(dir.path(), &[group(1), group(2), group(3), group(4)]);
    let infos = [infos[1].clone(), infos[3].clone()];
    assert_eq!(infos[0].bytes, infos[1].bytes);
    fs::copy(dir.path().join(&infos[1].name), dir.path().join(&infos[0].name)).unwrap();
    assert!(matches!(run::verify(dir.path(), &infos[0]).unwrap(), Some(Damage::Damaged(_))));
    fs::remove_file(dir.path().join(&infos[0].name)).unwrap();
    assert_eq!(run::verify(dir.path(), &infos[0]).unwrap(), Some(Damage::Missing));
    assert_eq!(Run::open(dir.path(), &infos[0]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(run::verify(dir.path(), &infos[1]).unwrap(), None);
}

#[test]
fn two_rows_of_one_key_are_reported_with_their_origins() {
    let twin = |unit| batch(unit, &[(0, 8, 1), (0, 9, 1), (1, 30, 1)]);
    let others = |unit, first| batch(unit, &[(0, first, 1), (0, first + 1, 1)]);
    let expected = [Origin { unit: 3, position: 0 }, Origin { unit: 7, position: 0 }];
    let is_found = |fault: Fault| match fault {
        Fault::Twins(Twins { table: 0, first, second }) => {
            expected.contains(&first) && expected.contains(&second) && first != second
        }
        _ => false,
    };

    let mut gathered = Gathered::new(2);
    for batch in [others(1, 20), twin(3), others(2, 50), twin(7)] {
        gathered.add(Packed::new(&batch, &kinds()));
    }
    assert!(is_found(gathered.sort().unwrap_err()));

    // of one page whose rows nobody has sorted
    let mut gathered = Gathered::new(2);
    gathered.add(Packed::new(&batch(3, &[(0, 8, 1), (0, 9, 1), (0, 8, 2)]), &kinds()));
    let Fault::Twins(twins) = gathered.sort().unwrap_err() else { panic!("other trouble") };
    let positions = [twins.first.position, twins.second.position];
    assert!(positions == [0, 2] || positions == [2, 0], "{twins:?}");

    let dir = TempDir::new().unwrap();
    for groups in [
        vec![vec![twin(3)], vec![twin(7)]],
        vec![vec![others(1, 20)], vec![twin(3)], vec![others(2, 0)], vec![others(4, 60)], vec![twin(7)]],
    ] {
        let runs = open(dir.path(), &write(dir.path(), &groups));
        let mut out = Vec::new();
        let fault = Merge::new(&runs, 0, ALL).and_then(|mut merge| read(&mut merge, 0, 3, usize::MAX, &mut out));
        assert!(is_found(fault.unwrap_err()));
    }
}

#[test]
fn twins_are_told_by_name_and_never_by_value() {
    let twins = Twins { table: 0, first: Origin { unit: 1, position: 5 }, second: Origin { unit: 2, position: 6 } };
    let error = twins.refused("orders", "a.json.gz", "b.json.gz");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let message = error.to_string();
    for part in ["orders", "item 5 of a.json.gz", "item 6 of b.json.gz", "--key"] {
        assert!(message.contains(part), "{message}");
    }
    let same = Twins { second: twins.first, ..twins };
    assert_eq!(same.refused("orders", "a", "a").kind(), ErrorKind::Internal);
}

#[test]
fn a_run_stays_within_its_room_or_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let items: Vec<_> = (0..200).map(|id| (0, id, 900)).collect();
    let sorted = sorted(&[batch(0, &items)]);
    let info = sorted.write(dir.path(), "run", Compression::Lz4, None).unwrap();
    fs::remove_file(dir.path().join("run")).unwrap();
    for room in [0, 7, 100, info.bytes / 2, info.bytes - 1] {
        let error = sorted.write(dir.path(), "run", Compression::Lz4, Some(room)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Blocked);
        assert!(error.to_string().contains("--spill-limit"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    assert_eq!(sorted.write(dir.path(), "run", Compression::Lz4, Some(info.bytes)).unwrap(), info);
    assert_eq!(run::verify(dir.path(), &info).unwrap(), None);
}

#[test]
fn a_run_is_private_and_a_full_or_absent_folder_is_named() {
    let dir = TempDir::new().unwrap();
    let sorted = sorted(&[batch(0, &[(0, 1, 900)])]);
    sorted.write(dir.path(), "run", Compression::Lz4, None).unwrap();
    assert_eq!(fs::metadata(dir.path().join("run")).unwrap().permissions().mode() & 0o077, 0);

    let error = sorted.write(Path::new("/nowhere/at/all"), "run", Compression::Lz4, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("/nowhere/at/all") && error.to_string().contains("--spill-dir"), "{error}");

    // a name that leads to a device without room
    std::os::unix::fs::symlink("/dev/full", dir.path().join("full.part")).unwrap();
    let error = sorted.write(dir.path(), "full", Compression::Lz4, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked);
    assert!(error.to_string().contains("--spill-dir") && error.to_string().contains("same command"), "{error}");
    assert!(!dir.path().join("full").exists());
}

#[test]
fn a_run_without_rows_is_sound_and_gives_none() {
    let dir = TempDir::new().unwrap();
    let infos = write(dir.path(), &[vec![], vec![batch(0, &[])]]);
    assert!(infos.iter().all(|info| info.rows == [0, 0] && run::verify(dir.path(), info).unwrap().is_none()));
    let runs = open(dir.path(), &infos);
    assert!(pieces::cut(&runs, 0, 10).is_empty());
    assert!(merged(&runs, 1, ALL, 10, 10).is_empty());
}

#[test]
fn pieces_are_even_however_skewed_the_keys_are() {
    let dir = TempDir::new().unwrap();
    // nine of ten rows have neighbouring keys, and each run has its share of them
    let id = |at: u32| if at.is_multiple_of(10) { at * 1000 } else { 1_000_000 + at };
    let groups: Vec<Vec<Batch>> = (0..4)
        .map(|run| vec![batch(run, &(0..5000).map(|at| (1, id(at * 4 + run), 100)).collect::<Vec<_>>())])
        .collect();
    let runs = open(dir.path(), &write(dir.path(), &groups));
    let pieces = pieces::cut(&runs, 1, 2000);
    assert!((9..=11).contains(&pieces.len()), "{}", pieces.len());
    for piece in &pieces[..pieces.len() - 1] {
        let rows = merged(&runs, 1, piece.range(None), 100, usize::MAX).len();
        // a block has about 270 rows
        assert!((2000 - 4 * 300..=2000 + 5 * 300).contains(&rows), "{rows}");
    }
}
