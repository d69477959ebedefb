//! The two real stores, each promise of theirs by itself.

use super::{items, key, mapping, object, order, rows, runtime, settle};
use crate::phases::{NAME, begun, put, target};
use crate::support::dynamo::DynamoServer;
use crate::support::orders::Place;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use transvase::checkpoint::phases::{Audit, Next};
use transvase::driver::dynamodb::attributes;
use transvase::dual::mysql::{SqlOptions, SqlRows};
use transvase::dual::stores::{Intent, Items, Key, Rows, Transaction, When, Written};
use transvase::error::ErrorKind;
use transvase::mapping::{Mapping, parse_key};

fn intent(id: u64, key: &Key) -> Intent {
    Intent { id, key: key.clone(), attempt: 0 }
}

#[test]
fn a_table_is_written_on_conditions_and_read_as_it_is_now() {
    let (server, runtime) = (DynamoServer::start(), runtime());
    runtime.block_on(async {
        let items = items(&server).await;
        let (one, two) = (order(1, 1), order(1, 2));
        let key = key(&one);
        let has = |version: &str| When::Has("version".into(), json!({ "N": version }));
        let story = [
            (Some(&one), When::Present, Written::Unmet),
            (Some(&one), has("1"), Written::Unmet),
            (None, When::Present, Written::Unmet),
            (Some(&one), When::Absent, Written::Done),
            (Some(&two), When::Absent, Written::Unmet),
            (Some(&two), has("2"), Written::Unmet),
            (Some(&two), has("1.0"), Written::Done),
            (None, has("1"), Written::Unmet),
            (Some(&one), When::Present, Written::Done),
            (Some(&two), When::Always, Written::Done),
        ];
        let mut there = None;
        for (image, when, expected) in story {
            assert_eq!(items.write(&key, image, &when).await.unwrap(), expected, "{when:?}");
            if expected == Written::Done {
                there = image.cloned();
            }
            assert_eq!(items.read(&key).await.unwrap(), there, "{when:?}");
        }
        assert_eq!(items.write(&key, None, &When::Present).await.unwrap(), Written::Done);
        assert_eq!(items.read(&key).await.unwrap(), None);
        let sdk = attributes::from_json(&one).unwrap();
        assert_eq!(attributes::to_json(&sdk), Some(one));
    });
}

#[test]
fn an_item_that_a_table_does_not_take_was_not_written() {
    let (server, runtime) = (DynamoServer::start(), runtime());
    runtime.block_on(async {
        let items = items(&server).await;
        let mut large = order(1, 1);
        large.insert("text".into(), json!({"S": "x".repeat(500_000)}));
        let refused = items.write(&key(&large), Some(&large), &When::Always).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        drop(server);
        let silent = items.write(&key(&large), None, &When::Always).await.unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::Transient, "{silent}");
    });
}

#[test]
fn rows_are_what_was_committed_last_and_nothing_of_what_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        put(&begun(&place), 2);
        runtime.block_on(async {
            let rows = rows(&place).await;
            let (one, two) = (order(1, 1), order(1, 2));
            let key = key(&one);
            settle(&rows, &key, Some(&one)).await;
            assert_eq!(rows.row(&key).await.unwrap(), Some(one.clone()));
            let mut dropped = rows.begin().await.unwrap();
            dropped.write(&key, Some(&two)).await.unwrap();
            dropped.intend(&intent(7, &key)).await.unwrap();
            assert_eq!(dropped.row(&key).await.unwrap(), Some(two.clone()));
            drop(dropped);
            // what comes next is in no transaction of the one before
            settle(&rows, &super::key(&order(2, 1)), Some(&order(2, 1))).await;
            assert_eq!(rows.row(&key).await.unwrap(), Some(one));
            assert_eq!(rows.phases().unsettled().await.unwrap(), Some(0));
            settle(&rows, &key, Some(&two)).await;
            assert_eq!(rows.row(&key).await.unwrap(), Some(two));
            settle(&rows, &key, None).await;
            assert_eq!(rows.row(&key).await.unwrap(), None);
        });
        assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_tombstones"), 1, "no load has been completed yet");
        runtime.block_on(async { settle(&rows(&place).await, &key(&order(1, 3)), Some(&order(1, 3))).await });
        assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_tombstones"), 0, "a put lifts it");
    }
}

#[test]
fn a_removal_leaves_a_tombstone_in_every_step_that_a_copy_may_be_made_in() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        // an earlier copy is complete
        place.execute("INSERT INTO _transvase_loads (target, run, incarnation, state, at_us) VALUES ('orders', 'a', 1, 'loaded', 1)");
        for step in 2..=6 {
            put(&phases, step);
            place.execute("DELETE FROM _transvase_tombstones");
            runtime.block_on(async {
                let rows = rows(&place).await;
                let mut transaction = rows.begin().await.unwrap();
                transaction.prove().await.unwrap();
                transaction.write(&key(&order(1, 1)), None).await.unwrap();
                transaction.commit().await.unwrap();
            });
            let left = place.count("SELECT COUNT(*) FROM _transvase_tombstones");
            assert_eq!(left, u64::from(step <= 4), "step {step}");
        }
    }
}

#[test]
fn what_cannot_be_a_row_is_refused_and_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        put(&begun(&place), 2);
        runtime.block_on(async {
            let rows = rows(&place).await;
            let one = order(1, 1);
            settle(&rows, &key(&one), Some(&one)).await;
            let wrong = object(json!({"customer_id": {"S": "c-1"}, "order_id": {"S": "o"}, "version": {"N": "one"}}));
            let mut transaction = rows.begin().await.unwrap();
            let refused = transaction.write(&key(&one), Some(&wrong)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
            assert!(transaction.commit().await.is_err(), "it is over with its first error");
            assert_eq!(rows.row(&key(&one)).await.unwrap(), Some(one));
        });
    }
}

#[test]
fn an_intent_is_taken_up_by_one_and_told_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        put(&begun(&place), 2);
        runtime.block_on(async {
            let rows = rows(&place).await;
            let key = key(&order(1, 1));
            let mut transaction = rows.begin().await.unwrap();
            transaction.intend(&intent(u64::MAX, &key)).await.unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(rows.ripe(Duration::from_secs(3600), 10).await.unwrap(), []);
            let ripe = rows.ripe(Duration::ZERO, 10).await.unwrap();
            assert_eq!(ripe, [intent(u64::MAX, &key)]);
            assert!(rows.take_up(&ripe[0]).await.unwrap());
            assert!(!rows.take_up(&ripe[0]).await.unwrap(), "somebody has");
            let again = rows.ripe(Duration::ZERO, 10).await.unwrap();
            assert_eq!((again.len(), again[0].attempt), (1, 1));
            let mut transaction = rows.begin().await.unwrap();
            assert!(transaction.pending(&key).await.unwrap());
            assert!(!transaction.pending(&super::key(&order(2, 1))).await.unwrap());
            transaction.clear(u64::MAX).await.unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(rows.phases().unsettled().await.unwrap(), Some(0));
        });
    }
}

#[test]
fn the_truth_does_not_change_while_an_intent_is_open_and_a_generation_takes_its_intents_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        put(&begun(&place), 4);
        runtime.block_on(async {
            let rows = rows(&place).await;
            let key = key(&order(1, 1));
            let phases = rows.phases();
            let four = phases.load().await.unwrap().unwrap();
            let mut writer = rows.begin().await.unwrap();
            assert_eq!(writer.prove().await.unwrap().as_ref(), Some(&four));
            writer.intend(&intent(1, &key)).await.unwrap();
            let to = |step| Next { step, barrier: None, generation: 1, within_barrier: false, releases_lock: false };
            let audit = Audit::new("test", "advance", None, "{}");
            // it waits for whoever has proved the step, and then sees what he has left
            let (moved, ()) = tokio::join!(phases.transit(&four, to(5), &audit), async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                writer.commit().await.unwrap();
            });
            let refused = moved.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
            assert_eq!(phases.load().await.unwrap(), Some(four.clone()), "nothing was changed");
            assert!(phases.transit(&four, to(3), &audit).await.unwrap(), "the truth stays");
            assert_eq!(phases.unsettled().await.unwrap(), Some(1));
            let three = phases.load().await.unwrap().unwrap();
            assert!(phases.transit(&three, to(1), &audit).await.unwrap());
            assert_eq!(
                phases.unsettled().await.unwrap(),
                Some(0),
                "nothing is to be mended where one store is written"
            );
        });
    }
}

#[test]
fn a_key_is_one_writers_at_a_time_and_another_waits_some_seconds_at_most() {
    let runtime = runtime();
    for place in Place::servers() {
        put(&begun(&place), 2);
        runtime.block_on(async {
            let rows = rows(&place).await;
            // who gives up soon: it finds the tables there
            let options = SqlOptions { request: Duration::from_secs(6), ..SqlOptions::default() };
            let hasty = SqlRows::open(&target(&place), NAME, mapping(), options).await.unwrap();
            let one = key(&order(1, 1));
            let mut first = rows.begin().await.unwrap();
            first.guard(&one).await.unwrap();
            let mut second = hasty.begin().await.unwrap();
            let waited = second.guard(&one).await.unwrap_err();
            assert_eq!(waited.kind(), ErrorKind::Transient, "{waited}");
            let mut other = rows.begin().await.unwrap();
            other.guard(&key(&order(2, 1))).await.unwrap();
            // a transaction that is dropped lets go
            drop(first);
            let mut third = rows.begin().await.unwrap();
            third.guard(&one).await.unwrap();
        });
    }
}

#[test]
fn rows_are_not_opened_where_items_could_not_be_read_back_or_no_migration_was_begun() {
    let place = Place::servers().swap_remove(0);
    let runtime = runtime();
    let open = |mapping: Mapping| {
        let (place, options) = (&place, SqlOptions { create_tables: true, ..SqlOptions::default() });
        runtime.block_on(async move { SqlRows::open(&target(place), NAME, Arc::new(mapping), options).await.err() })
    };
    let document = || Mapping::document(&parse_key("pk:S").unwrap(), "orders", &[]).unwrap();
    let refused = open(document()).unwrap().to_string();
    assert!(refused.contains("begin it with `transvase phase lock`"), "{refused}");
    begun(&place);
    assert!(open(document()).is_none());
    let columns = "key = \"pk:S\"\n[[table]]\nname = \"orders\"\nrest = \"extra\"\n[[table.column]]\nname = \"pk\"\n\
                   type = \"varchar(64)\"\nkey = true\n";
    let refused = open(Mapping::parse(columns, "orders.toml").unwrap()).unwrap();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("no column holds the whole item"), "{refused}");
}
