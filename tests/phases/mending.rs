//! Rows of a migration's target are mended under the backfill lock alone, and not at all once the target is the truth.

use super::{NAME, an_hour_later, begun, lease, phase, put, put_into, target};
use crate::crash::asleep;
use crate::support::orders::{Orders, Place, block_on};
use crate::support::small_export::SmallExport;
use std::sync::Arc;
use std::time::Duration;
use transvase::checkpoint::phases::Phases;
use transvase::checkpoint::phases::mending::MendLock;
use transvase::checkpoint::retries::{self, RetrySettings};
use transvase::checkpoint::run::Checkpoint;
use transvase::driver::pool::Pool;
use transvase::driver::session::Session;

fn rows(place: &Place) -> u64 {
    place.count("SELECT COUNT(*) FROM orders")
}

/// Takes a row away that the source has.
fn damage(place: &Place) {
    let one = "SELECT order_id FROM (SELECT MIN(order_id) AS order_id FROM orders) AS one";
    place.execute(&format!("DELETE FROM orders WHERE order_id = ({one})"));
}

#[test]
fn a_repair_runs_under_the_lock_and_only_while_the_source_is_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let orders = Orders::live(300, 5);
    for (number, place) in Place::all(folder.path()).into_iter().enumerate() {
        let state = folder.path().join(format!("verify-{number}.db"));
        let phases = begun(&place);
        put(&phases, 2);
        an_hour_later(&place);
        orders.assert_complete(&place, orders.engine(&place).run());
        block_on(phases.release_lock(NAME)).unwrap();
        damage(&place);
        let verify =
            |args: &[&str]| orders.verify(&place, &state).args(&["--live-target", "--restart"]).args(args).run();
        let refuses = |part: &str| {
            let refused = verify(&["--repair"]).expect(6).stderr;
            assert!(refused.contains(part), "{refused}");
            assert_eq!(rows(&place), 299);
        };
        put(&phases, 5);
        refuses("the target is the source of truth");
        // looking needs no lock, whatever the step
        assert_eq!(verify(&[]).code(), Some(5), "it differs");
        put(&phases, 3);
        block_on(phases.take_lock("another", lease())).unwrap();
        refuses("run another holds the backfill lock");
        block_on(phases.release_lock("another")).unwrap();
        verify(&["--repair"]).expect(0);
        assert_eq!(rows(&place), 300);
        assert_eq!(block_on(phases.lock()).unwrap().unwrap().run, NAME);
    }
}

#[test]
fn an_export_mends_nothing_while_dual_writes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let orders = Orders::new(100, 1, 5);
    let place = Place::File(folder.path().join("target.db"));
    orders.assert_complete(&place, orders.engine(&place).run());
    let phases = begun(&place);
    let state = folder.path().join("verify.db");
    damage(&place);
    put(&phases, 2);
    let refused = orders.verify(&place, &state).args(&["--repair"]).run().expect(6).stderr;
    assert!(refused.contains("an export is older than they are"), "{refused}");
    assert_eq!(rows(&place), 99);
    put(&phases, 1);
    orders.verify(&place, &state).args(&["--repair"]).run().expect(0);
    assert_eq!(rows(&place), 100);
}

#[test]
fn a_repair_whose_lock_is_taken_away_mends_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let orders = Orders::live(100, 6);
    for (number, place) in Place::servers().into_iter().enumerate() {
        let phases = begun(&place);
        put(&phases, 2);
        an_hour_later(&place);
        orders.assert_complete(&place, orders.engine(&place).run());
        // the lock is taken when looking again begins, and rows are mended some pauses later: on a busy machine that may be over
        // before the lock is taken away, and then it was no zombie
        let met = (0..20).any(|attempt| {
            damage(&place);
            block_on(phases.release_lock(NAME)).unwrap();
            let state = folder.path().join(format!("verify-{number}-{attempt}.db"));
            let engine = orders.verify(&place, &state).args(&["--live-target", "--repair"]);
            let sleeper = asleep(engine, &place, "look-begun:1");
            block_on(phases.release_lock(NAME)).unwrap();
            sleeper.signal("CONT");
            while block_on(phases.lock()).unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            block_on(phases.release_lock(NAME)).unwrap();
            let taken_at = rows(&place);
            let ended = sleeper.wait(Duration::from_secs(60));
            if taken_at == 100 {
                return false;
            }
            assert_eq!(ended.code(), Some(6), "{}", ended.stderr);
            assert!(ended.stderr.contains("was taken away"), "{}", ended.stderr);
            assert_eq!(rows(&place), 99, "it mended without its lock");
            true
        });
        assert!(met, "it was through each time");
    }
}

#[test]
fn rejects_are_tried_again_under_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        // a run with one reject, of a table that a migration is begun for afterwards
        let below = tempfile::tempdir().unwrap();
        let lines =
            [r#"{"Item":{"pk":{"S":"1"},"n":{"S":"fine"}}}"#, r#"{"Item":{"pk":{"S":"2"}}}"#].map(str::to_owned);
        let export = SmallExport { files: vec![lines.to_vec()], ..SmallExport::new(1, 1, 1) };
        export.write(below.path());
        let mapping = |name: &str, missing: &str| {
            let column = |name: &str, rest: &str| {
                format!("[[table.column]]\nname = \"{name}\"\ntype = \"varchar(16)\"\n{rest}\n")
            };
            let (pk, n) = (column("pk", "key = true"), column("n", missing));
            let path = below.path().join(name);
            std::fs::write(&path, format!("key = \"pk:S\"\n[[table]]\nname = \"things\"\n{pk}{n}")).unwrap();
            path.display().to_string()
        };
        let url = place.url();
        let run = |args: &[&str]| {
            let engine = crate::support::engine::Engine::new(args);
            match &place {
                Place::Server(database) => engine.env("MYSQL_PWD", database.password()).run(),
                Place::File(_) => engine.run(),
            }
        };
        let (from, strict) = (export.folder(below.path()).display().to_string(), mapping("strict.toml", ""));
        let args = ["--mapping", &strict, "--create-tables", "--max-rejects", "1"];
        run(&[&["backfill", "--from", &from, "--to", &url][..], &args].concat()).expect(3);
        let table = String::from_utf8(place.query("SELECT run FROM _transvase_runs")[0][0].clone().unwrap()).unwrap();
        assert_eq!(table, NAME, "the export's table");
        let phases = begun(&place);
        let retry = |args: &[&str]| {
            let mended = mapping("mended.toml", "missing = \"default\"\ndefault = \"?\"");
            run(&[&["rejects", "retry", "--on", &url, "--mapping", &mended][..], args].concat())
        };
        let refuses = |args: &[&str], part: &str| {
            let refused = retry(args).expect(6).stderr;
            assert!(refused.contains(part), "{refused}");
            assert_eq!(place.count("SELECT COUNT(*) FROM things"), 1);
        };
        put(&phases, 6);
        refuses(&[], "the target is the source of truth");
        put(&phases, 4);
        refuses(&["--on-conflict", "replace"], "what is older in the place of dual writes");
        block_on(phases.release_lock(NAME)).unwrap();
        block_on(phases.take_lock("another", lease())).unwrap();
        refuses(&[], "run another holds the backfill lock");
        block_on(phases.release_lock("another")).unwrap();
        // what was removed from the source alone meanwhile has left nothing that would keep it from coming back
        refuses(&[], "could come back");
        put(&phases, 1);
        block_on(a_retry_without_its_lock_settles_nothing(&place, &phases));
        retry(&[]).expect(0);
        assert_eq!(place.count("SELECT COUNT(*) FROM things"), 2);
        phase(&place, "status", &[]).expect(0);
    }
}

/// In its very transaction; nor does one that began before dual writes did.
async fn a_retry_without_its_lock_settles_nothing(place: &Place, phases: &Phases) {
    let pool = Arc::new(Pool::new(target(place), 2));
    let checkpoint = Checkpoint::existing(Arc::clone(&pool), NAME).await.unwrap().unwrap();
    let lock = MendLock::take(&pool, NAME, NAME, (lease(), false)).await.unwrap();
    let settings =
        RetrySettings { mapping: "x".into(), on_conflict: "keep".into(), live_target: true, guarded: vec![] };
    let retry = checkpoint.begin_retry(&settings, lock).await.unwrap();
    for (step, is_proved) in [(1, true), (2, false), (1, true), (7, false), (1, true)] {
        put_into(phases, step).await;
        let mut session = Session::connect(&target(place)).await.unwrap();
        let proved = retries::lock(&mut session, &retry, &[]).await.unwrap();
        assert_eq!(
            proved.map_err(|lost| lost.chain().contains("moved to where nothing is mended")),
            is_proved.then_some(true).ok_or(true)
        );
    }
    let mut session = Session::connect(&target(place)).await.unwrap();
    take_away(place).await;
    let lost = retries::lock(&mut session, &retry, &[]).await.unwrap().unwrap_err();
    assert!(lost.chain().contains("was taken away"), "{}", lost.chain());
    checkpoint.end_retry(&retry).await.unwrap();
}

/// Takes the lock away.
async fn take_away(place: &Place) {
    let pool = Arc::new(Pool::new(target(place), 2));
    let phases = Phases::existing(pool, NAME).await.unwrap().unwrap();
    assert!(phases.release_lock(NAME).await.unwrap());
}
