//! Writers that cross, and one that dies between its two writes.

use super::super::held::HeldItems;
use super::super::unguarded::{Unguarded, Without};
use super::super::{application, eventually, items, key, options, order, rows, runtime};
use super::{audit, ripen, to};
use crate::phases::{begun, put};
use crate::support::dynamo::DynamoServer;
use crate::support::orders::Place;
use std::sync::Arc;
use transvase::dual::Instance;
use transvase::dual::stores::{Item, Items, Rows};
use transvase::error::ErrorKind;

/// The first of two writers has read what he is about to write to the target, and stands still; the second comes and goes. What both
/// stores hold in the end.
async fn crossing(server: &DynamoServer, place: &Place, guarded: bool) -> [Option<Item>; 2] {
    let table = items(server).await;
    let (one, two) = (order(1, 1), order(1, 2));
    let held = HeldItems::new(table.clone());
    let stop = Arc::clone(&held.read);
    let without = Without { guard: !guarded, ..Without::default() };
    let first = Instance::open(held, Unguarded(rows(place).await, without.clone()), options("first")).unwrap();
    let second = Instance::open(table.clone(), Unguarded(rows(place).await, without), options("second")).unwrap();
    stop.arm();
    let (crossed, second_done) = tokio::join!(first.put(one.clone()), async {
        stop.reached().await;
        let (done, ()) = tokio::join!(second.put(two.clone()), async {
            let came = async || table.read(&key(&one)).await.unwrap() == Some(two.clone());
            eventually("the second has written the table", came).await;
            if guarded {
                stop.go();
            }
        });
        stop.go();
        done
    });
    crossed.unwrap();
    second_done.unwrap();
    [table.read(&key(&one)).await.unwrap(), rows(place).await.row(&key(&one)).await.unwrap()]
}

#[test]
fn crossing_writers_end_equal_and_would_not_without_the_guard() {
    let runtime = runtime();
    for guarded in [true, false] {
        for place in Place::servers() {
            put(&begun(&place), 2);
            let server = DynamoServer::start();
            let [item, row] = runtime.block_on(crossing(&server, &place, guarded));
            assert_eq!(item, Some(order(1, 2)));
            assert_eq!(row, Some(order(1, if guarded { 2 } else { 1 })), "guarded: {guarded}");
        }
    }
}

/// In step 4 a writer dies who has had the table's answer and has not written the target; a reader reads what he wrote, and the step
/// becomes 5. What is read then, and what the table holds.
async fn dying(server: &DynamoServer, place: &Place, recorded: bool) -> [Option<Item>; 2] {
    let table = items(server).await;
    let (one, two) = (order(1, 1), order(1, 2));
    let held = HeldItems::new(table.clone());
    let stop = Arc::clone(&held.sent);
    let without = Without { intent: !recorded, ..Without::default() };
    let dies = Arc::new(Instance::open(held, Unguarded(rows(place).await, without), options("dies")).unwrap());
    dies.put(one.clone()).await.unwrap();
    stop.arm();
    let writes = tokio::spawn({
        let (dies, two) = (Arc::clone(&dies), two.clone());
        async move { dies.put(two).await.is_ok() }
    });
    stop.reached().await;
    writes.abort();
    assert!(writes.await.is_err());
    drop(dies);
    let there = rows(place).await;
    let phases = there.phases();
    assert_eq!(phases.unsettled().await.unwrap(), Some(u64::from(recorded)));
    let (reads, _, _) = application(server, place, "reads").await;
    assert_eq!(reads.get(&one).await.unwrap(), Some(two.clone()));
    assert_eq!(there.row(&key(&one)).await.unwrap(), Some(one.clone()));
    let four = phases.load().await.unwrap().unwrap();
    let moved = phases.transit(&four, to(5), &audit()).await;
    if recorded {
        assert_eq!(moved.unwrap_err().kind(), ErrorKind::Refused, "what is on record keeps the truth where it is");
        ripen(place).await;
        eventually("it is mended", async || reads.counts().mended == 1).await;
        assert!(phases.transit(&four, to(5), &audit()).await.unwrap());
    } else {
        assert!(moved.unwrap(), "nobody knows of anything");
    }
    let (later, _, _) = application(server, place, "later").await;
    [later.get(&one).await.unwrap(), table.read(&key(&one)).await.unwrap()]
}

#[test]
fn what_a_writer_that_died_has_left_crosses_the_barrier_and_would_not_without_its_record() {
    let runtime = runtime();
    for recorded in [true, false] {
        for place in Place::servers() {
            put(&begun(&place), 4);
            let server = DynamoServer::start();
            let [read, item] = runtime.block_on(dying(&server, &place, recorded));
            assert_eq!(item, Some(order(1, 2)));
            assert_eq!(read, Some(order(1, if recorded { 2 } else { 1 })), "recorded: {recorded}");
        }
    }
}

#[test]
fn what_an_instance_left_between_its_two_writes_is_mended_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        for step in [2, 5, 6] {
            put(&phases, step);
            let server = DynamoServer::start();
            runtime.block_on(async {
                let table = items(&server).await;
                let (one, two) = (order(step.into(), 1), order(step.into(), 2));
                let held = HeldItems::new(table.clone());
                let stop = Arc::clone(if step == 6 { &held.sends } else { &held.sent });
                let shop = Instance::open(held, rows(&place).await, options("dies")).unwrap();
                shop.put(one.clone()).await.unwrap();
                let there = rows(&place).await;
                eventually("all is settled", async || there.phases().unsettled().await.unwrap() == Some(0)).await;
                stop.arm();
                let shop = Arc::new(shop);
                let writes = tokio::spawn({
                    let (shop, two) = (Arc::clone(&shop), two.clone());
                    async move { shop.put(two).await.is_ok() }
                });
                stop.reached().await;
                // in the last of these steps it is acknowledged before the table is written
                if step == 6 {
                    assert!(writes.await.unwrap());
                } else {
                    writes.abort();
                    assert!(writes.await.is_err());
                }
                drop(shop);
                assert_eq!(there.phases().unsettled().await.unwrap(), Some(1), "step {step}");
                // what was sent is the truth or is not, by the step
                let truth = if step == 5 { &one } else { &two };
                let (mends, _, _) = application(&server, &place, "mends").await;
                ripen(&place).await;
                eventually("it is mended", async || mends.counts().mended == 1).await;
                assert_eq!(there.phases().unsettled().await.unwrap(), Some(0));
                assert_eq!(table.read(&key(&one)).await.unwrap().as_ref(), Some(truth), "step {step}");
                assert_eq!(there.row(&key(&one)).await.unwrap().as_ref(), Some(truth), "step {step}");
                assert_eq!(mends.get(&one).await.unwrap().as_ref(), Some(truth), "step {step}");
            });
        }
    }
}
