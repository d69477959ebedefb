//! Changes become rows that replace, move and go: whatever order of puts, deletes and rejects comes, the target is in the
//! end what the last change of each key maps to, and every change is counted once.
//!
//! Histories are made here, with their truth, and handed to the engine by a source of the test's own; the database is read
//! back and compared with the truth.

mod history;
mod into_dynamo;
mod killed;
mod rate;
mod world;

use crate::support::servers::{BOTH, execute, shared};
use crate::support::transvase::{Target, soak, targets};
use history::{History, Totals};
use std::path::Path;
use std::time::Duration;
use world::{Bench, apply_to, make_tables};

/// Seeds of histories: few, or many.
fn seeds() -> std::ops::Range<u64> {
    if soak() { 0..40 } else { 0..2 }
}

/// The rows of all tables are those that the history leaves.
#[track_caller]
fn assert_rows(found: Vec<Vec<String>>, history: &History, place: &str) {
    let expected = history.rows();
    for row in &expected {
        assert!(found.contains(row), "{place}: {row:?} is missing");
    }
    for row in &found {
        assert!(expected.contains(row), "{place}: {row:?} should not be there");
    }
    assert_eq!(found.len(), expected.len(), "{place}");
}

async fn follow(target: &Target, folder: &Path, bench: Bench, run: &str) -> Totals {
    let report = apply_to(target, folder, bench, run, &[]).await;
    assert!(report.adds_up(), "{report:?}");
    Totals::of(&report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_changes_leaves_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    for seed in seeds() {
        let mut history = History::new(seed);
        let lineages = history.lineages(if soak() { 4000 } else { 700 }, 3);
        for target in targets(folder.path()).await {
            make_tables(&target).await;
            let totals = follow(&target, folder.path(), Bench::live(lineages.clone()), "t.follow").await;
            assert_eq!(totals, Totals::of_pages(&lineages), "{target}, seed {seed}");
            assert!(totals.superseded > 100 && totals.removed > 20 && totals.rejected > 20, "{totals:?}");
            assert_rows(world::rows(&target).await, &history, &format!("{target}, seed {seed}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_changes_leave_what_they_say_in_any_order_of_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    for seed in seeds() {
        let targets = targets(folder.path()).await;
        for target in &targets {
            make_tables(target).await;
        }
        let mut history = History::new(seed + 1000);
        for window in 0..3 {
            let files = history.window(if soak() { 3000 } else { 500 }, 3);
            for target in &targets {
                let run = format!("t.follow.{window}");
                let totals = follow(target, folder.path(), Bench::window(files.clone()), &run).await;
                assert_eq!(totals, Totals::of_pages(&files), "{target}, seed {seed}");
                assert_eq!(totals.superseded, 0);
                assert_rows(world::rows(target).await, &history, &format!("{target}, seed {seed}, window {window}"));
            }
        }
    }
}

/// Were a table read from end to end for what is to be deleted, this would wait for locks that are not given.
#[tokio::test(flavor = "multi_thread")]
async fn changes_wait_for_no_row_but_their_own() {
    let folder = tempfile::tempdir().unwrap();
    for kind in BOTH {
        let target = Target::server(shared(kind).database().await);
        make_tables(&target).await;
        // of a table with fewer rows than keys are to be deleted either server reads all
        for (table, row) in [("small", "(#, 's', 0, 'a')"), ("big", "('s', #, 0, 'a')"), ("logs", "('#', 's', 0, 'a')")]
        {
            let rows: Vec<String> = (1000..3000).map(|pk| row.replace('#', &pk.to_string())).collect();
            target.execute(&format!("INSERT INTO {table} VALUES {}; ANALYZE TABLE {table}", rows.join(","))).await;
        }
        let Target::Server(database) = &target else { panic!("a server") };
        let mut other = database.connect().await;
        // without gaps: those would rightly hold new rows back
        execute(&mut other, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
        let lock = "START TRANSACTION; UPDATE small SET v = 1; UPDATE big SET v = 1; UPDATE logs SET v = 1";
        execute(&mut other, lock).await;
        let mut history = History::new(5);
        let lineages = history.lineages(400, 3);
        let applied = follow(&target, folder.path(), Bench::live(lineages.clone()), "t");
        let totals = tokio::time::timeout(Duration::from_secs(100), applied).await;
        assert_eq!(totals, Ok(Totals::of_pages(&lineages)), "{target}: it waits for a row that it does not touch");
        let undo = "ROLLBACK; DELETE FROM small WHERE sk = 's'; DELETE FROM big WHERE sk = 's'";
        execute(&mut other, undo).await;
        execute(&mut other, "DELETE FROM logs WHERE sk = 's'").await;
        assert_rows(world::rows(&target).await, &history, &target.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_to_nowhere_and_all_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let lineages = History::new(7).lineages(500, 2);
    let bench = Bench::live(lineages.clone());
    let report = world::apply(transvase_null(), folder.path(), bench, "t", &[]).await;
    // a server's own rules are not known there
    let (found, expected) = (Totals::of(&report), Totals::of_pages(&lineages));
    assert!(report.adds_up(), "{report:?}");
    assert_eq!((found.read, found.removed, found.superseded), (expected.read, expected.removed, expected.superseded));
}

fn transvase_null() -> transvase::sink::destination::Destination {
    transvase::sink::destination::Destination::Sql(transvase::driver::target::Target::Null)
}
