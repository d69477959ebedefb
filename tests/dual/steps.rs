//! What each step writes, and where its reads come from.

use super::{application, eventually, key, order, runtime};
use crate::phases::{begun, put};
use crate::support::dynamo::DynamoServer;
use crate::support::orders::{KEY, Place};
use transvase::dual::dynamodb::DynamoItems;
use transvase::dual::mysql::SqlRows;
use transvase::dual::stores::{Item, Items, Rows, When, Written};

/// What both stores hold of an item, once nothing is on record.
async fn both(items: &DynamoItems, rows: &SqlRows, of: &Item) -> (Option<Item>, Option<Item>) {
    eventually("the stores are settled", async || rows.phases().unsettled().await.unwrap() == Some(0)).await;
    (items.read(&key(of)).await.unwrap(), rows.row(&key(of)).await.unwrap())
}

#[test]
fn every_step_writes_to_the_stores_that_it_says_and_reads_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        let server = DynamoServer::start();
        server.create("orders", KEY);
        let phases = begun(&place);
        for step in 1..=7 {
            put(&phases, step);
            runtime.block_on(async {
                let (shop, items, rows) = application(&server, &place, &format!("shop-{step}")).await;
                let (one, two) = (order(u32::from(step), 1), order(u32::from(step), 2));
                let expect = async |there: Option<&Item>, about: &str| {
                    let (item, row) = both(&items, &rows, &one).await;
                    let [old, new] = [step <= 6, step >= 2].map(|written| there.filter(|_| written).cloned());
                    assert_eq!((item, row), (old, new), "step {step}: {about}");
                    assert_eq!(shop.get(&one).await.unwrap().as_ref(), there, "step {step}: {about}");
                };
                assert_eq!(shop.update(one.clone()).await.unwrap(), Written::Unmet);
                expect(None, "an update of nothing").await;
                shop.put(one.clone()).await.unwrap();
                expect(Some(&one), "a put").await;
                assert_eq!(shop.put_if(two.clone(), When::Absent).await.unwrap(), Written::Unmet);
                expect(Some(&one), "a put where nothing is").await;
                assert_eq!(
                    shop.put_if(two.clone(), When::Has("version".into(), one["version"].clone())).await.unwrap(),
                    Written::Done
                );
                expect(Some(&two), "a put in the place of what was seen").await;
                assert_eq!(
                    shop.delete_if(&one, When::Has("version".into(), one["version"].clone())).await.unwrap(),
                    Written::Unmet
                );
                expect(Some(&two), "a delete of what is no more").await;
                shop.delete(&one).await.unwrap();
                expect(None, "a delete").await;
                let counts = shop.counts();
                assert_eq!((counts.acknowledged, counts.unmet, counts.faults), (3, 3, 0), "{counts:?}");
                shop.close().await.unwrap();
                assert!(rows.phases().writers().await.unwrap().is_empty(), "it has taken its leave");
            });
        }
    }
}

#[test]
fn a_conditional_put_that_fails_is_mirrored_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        let server = DynamoServer::start();
        server.create("orders", KEY);
        put(&begun(&place), 2);
        runtime.block_on(async {
            let (shop, items, rows) = application(&server, &place, "shop").await;
            // of before the dual writes
            let one = order(1, 1);
            items.write(&key(&one), Some(&one), &When::Always).await.unwrap();
            assert_eq!(shop.put_if(order(1, 2), When::Absent).await.unwrap(), Written::Unmet);
            assert_eq!(both(&items, &rows, &one).await, (Some(one.clone()), Some(one)));
        });
    }
}

#[test]
fn reads_fill_what_the_target_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        let server = DynamoServer::start();
        server.create("orders", KEY);
        let phases = begun(&place);
        for step in [3, 4] {
            put(&phases, step);
            runtime.block_on(async {
                let (shop, items, rows) = application(&server, &place, &format!("shop-{step}")).await;
                let one = order(u32::from(step), 1);
                items.write(&key(&one), Some(&one), &When::Always).await.unwrap();
                assert_eq!(shop.get(&one).await.unwrap(), Some(one.clone()));
                eventually("it is filled", async || rows.row(&key(&one)).await.unwrap() == Some(one.clone())).await;
            });
        }
    }
}
