//! Every value that goes in comes out: random and awkward items into every target, read back from the database.
//!
//! The generator is the truth, the database the oracle; the comparison is `support::canon`'s and shares nothing with the
//! engine.

mod typed;

use crate::generator::export::{self, Options};
use crate::generator::items::{Items, Shape};
use crate::support::canon;
use crate::support::transvase::{Backfill, Target, soak, targets};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The canonical items by their keys.
pub(crate) type Truth = BTreeMap<Vec<String>, Value>;

/// What the generator makes of these numbers, as the items themselves.
pub(crate) fn truth(shape: Shape, seed: u64, items: u64, key: &[&str]) -> Truth {
    let made = Items::new(shape, seed);
    let mut truth = Truth::new();
    for index in 0..items {
        let mut line = Vec::new();
        made.write_line(index, &mut line).unwrap();
        let raw: Value = serde_json::from_slice(&line).unwrap();
        let key = key.iter().map(|name| canon::key(&raw["Item"][*name])).collect();
        assert!(truth.insert(key, canon::line(&line)).is_none(), "the generator made a key twice");
    }
    truth
}

/// Writes an export of generated items; the folder of its manifests.
pub(crate) fn export(root: &Path, shape: Shape, seed: u64, items: u64, files: usize) -> PathBuf {
    let out = root.join(format!("{shape:?}-{seed}-{items}"));
    let options = Options { out, shape, items, files, empty: 1, seed, level: 1, members: 2, ..Options::default() };
    export::write(&options).unwrap().folder
}

/// Fails unless the document table holds exactly these items, as they are after canonicalisation.
pub(crate) async fn assert_holds(target: &Target, table: &str, key: &[(&str, &str)], truth: &Truth, what: &str) {
    let names: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
    let (count, mut seen) = (truth.len() as u64, HashSet::new());
    assert_eq!(target.number(&format!("SELECT COUNT(*) FROM {table}")).await, count, "{what}");
    for row in target.rows(&format!("SELECT {}, item FROM {table}", names.join(", "))).await {
        let (item, keys) = row.split_last().unwrap();
        let found: Value = serde_json::from_slice(item.as_ref().unwrap()).unwrap();
        let own: Vec<String> = names.iter().map(|name| canon::key(&found[*name])).collect();
        let keys = keys.iter().zip(key).map(|(bytes, (_, tag))| canon::key_column(tag, bytes.as_ref().unwrap()));
        let keys: Vec<String> = keys.collect();
        assert_eq!(keys, own, "{what}: the key columns are not the item's key");
        let expected = truth.get(&keys).unwrap_or_else(|| panic!("{what}: no such item: {found}"));
        let found = canon::item(&found);
        assert!(found == *expected, "{what}:\n{found}\nis not\n{expected}");
        assert!(seen.insert(keys), "{what}: twice: {found}");
    }
    assert_eq!(seen.len(), truth.len(), "{what}: items are missing");
}

/// A shape, its key, and how many items of it: in every run, and in a soak. The first 165 awkward ones are all cases and all
/// keys once.
const SHAPES: [(Shape, &str, u64, u64); 6] = [
    (Shape::Random, "pk:S,sk:N", 2500, 20_000),
    (Shape::Awkward, "pk:S,sk:S", 200, 2000),
    (Shape::AwkwardBinary, "pk:B,sk:B", 200, 2000),
    (Shape::AwkwardNumber, "pk:N,sk:N", 1500, 20_000),
    (Shape::SingleTable, "pk:S,sk:S", 1800, 20_000),
    (Shape::Orders, "customer_id:S,order_id:S", 3000, 50_000),
];

#[tokio::test]
async fn every_item_of_every_shape_is_read_back_as_it_was_in_every_target() {
    let folder = tempfile::tempdir().unwrap();
    let first = std::env::var("TRANSVASE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(100_u64);
    let seeds = first..first + if soak() { 12 } else { 2 };
    println!("seeds {seeds:?} (TRANSVASE_TEST_SEED gives another first one)");
    let targets = targets(folder.path()).await;
    let (began, mut items) = (Instant::now(), 0);
    for seed in seeds {
        for (shape, key, quick, long) in SHAPES {
            let count = if soak() { long } else { quick };
            let key: Vec<(&str, &str)> = key.split(',').map(|part| part.split_once(':').unwrap()).collect();
            round(folder.path(), &targets, shape, &key, seed, count).await;
            items += count;
        }
    }
    println!("{items} items into each target in {:.1} s", began.elapsed().as_secs_f64());
}

/// Items of a shape into every target.
async fn round(folder: &Path, targets: &[Target], shape: Shape, key: &[(&str, &str)], seed: u64, items: u64) {
    let from = export(folder, shape, seed, items, 5);
    let table = format!("{shape:?}_{seed}").to_lowercase();
    let flag = key.iter().map(|(name, tag)| format!("{name}:{tag}")).collect::<Vec<_>>().join(",");
    let method = if seed.is_multiple_of(2) { "auto" } else { "insert" };
    let args = ["--key", flag.as_str(), "--table", table.as_str(), "--run", table.as_str(), "--load-method", method];
    let names: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
    let truth = truth(shape, seed, items, &names);
    for target in targets {
        let ended = Backfill::new(folder, &from, target, &args).run().expect(0);
        ended.counts([items, items, 0, 0, 0]);
        let what = format!("{target}, {shape:?}, seed {seed}, {items} items");
        assert_holds(target, &table, key, &truth, &what).await;
    }
    // what has been read needs no room while the next is tried
    std::fs::remove_dir_all(folder.join(format!("{shape:?}-{seed}-{items}"))).unwrap();
}
