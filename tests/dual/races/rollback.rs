//! The write of step 5 that is sent late, after a rollback.

use super::super::held::HeldItems;
use super::super::unguarded::{Unguarded, Without};
use super::super::{eventually, items, key, options, order, rows, runtime};
use super::{audit, both, to};
use crate::phases::{begun, put};
use crate::support::dynamo::DynamoServer;
use crate::support::orders::Place;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use transvase::dual::Instance;
use transvase::dual::dynamodb::DynamoItems;
use transvase::dual::stores::{Items, Rows, When, Written};

/// In step 5 a writer puts 100 in the place of 1, and has not sent it yet; the step becomes 4, and another puts 300 in the place of 1.
/// What they were told, and what both stores hold.
async fn sent_late(
    place: &Place,
    table: &DynamoItems,
    number: u32,
    [intent, proof]: [bool; 2],
) -> ([Written; 2], [Value; 2]) {
    let rows_there = rows(place).await;
    let phases = rows_there.phases();
    let five = phases.load().await.unwrap().unwrap();
    let without = Without { intent: !intent, proof: (!proof).then(|| five.clone()), ..Without::default() };
    let held = HeldItems::new(table.clone());
    let stop = Arc::clone(&held.sends);
    let late = Instance::open(held, Unguarded(rows(place).await, without), options(&format!("late-{number}"))).unwrap();
    let one = order(number, 1);
    let in_its_place = || When::Has("version".into(), one["version"].clone());
    late.put(one.clone()).await.unwrap();
    stop.arm();
    let (late_told, next_told) = tokio::join!(late.put_if(order(number, 100), in_its_place()), async {
        stop.reached().await;
        let audit = audit();
        let mut moving = std::pin::pin!(phases.transit(&five, to(4), &audit));
        if proof {
            tokio::select! {
                biased;
                moved = &mut moving => panic!("the step was changed under a write that has proved it: {moved:?}"),
                () = place.until_someone_waits() => stop.go(),
            }
        }
        let moved = moving.await;
        assert_eq!(moved.is_err(), intent && !proof, "what is on record keeps the truth where it is: {moved:?}");
        if moved.is_err() {
            stop.go();
            eventually("the late write is through", async || phases.unsettled().await.unwrap() == Some(0)).await;
            assert!(phases.transit(&five, to(4), &audit).await.unwrap());
        }
        let next = Instance::open(table.clone(), rows(place).await, options(&format!("next-{number}"))).unwrap();
        let (told, ()) = tokio::join!(next.put_if(order(number, 300), in_its_place()), async {
            if !intent && !proof {
                let three_hundred = Some(order(number, 300));
                eventually("it is sent", async || table.read(&key(&one)).await.unwrap() == three_hundred).await;
                stop.go();
            }
        });
        told
    });
    assert_eq!(phases.unsettled().await.unwrap(), Some(0));
    ([late_told.unwrap(), next_told.unwrap()], both(table, &rows_there, &one).await)
}

#[test]
fn a_write_sent_late_after_a_rollback_overwrites_nothing_and_would_without_record_and_proof() {
    let runtime = runtime();
    for place in Place::servers() {
        let phases = begun(&place);
        let server = DynamoServer::start();
        let table = runtime.block_on(items(&server));
        for (number, guards) in (0..).zip([[true, true], [true, false], [false, true], [false, false]]) {
            put(&phases, 5);
            let (told, both) = runtime.block_on(sent_late(&place, &table, number, guards));
            // both were told that theirs is what came after 1, and the one that came second is gone
            let lost = guards == [false, false];
            assert_eq!(told, [Written::Done, if lost { Written::Done } else { Written::Unmet }], "{guards:?}");
            assert_eq!(both, ["100", "100"], "{guards:?}");
        }
    }
}

#[test]
fn a_write_that_is_in_flight_keeps_its_step_from_being_changed() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        put(&begun(&place), 5);
        let server = DynamoServer::start();
        runtime.block_on(async {
            let table = items(&server).await;
            let held = HeldItems::new(table.clone());
            let stop = Arc::clone(&held.sends);
            let shop = Instance::open(held, rows(&place).await, options("shop")).unwrap();
            let there = rows(&place).await;
            let phases = there.phases();
            let one = order(1, 1);
            stop.arm();
            let five = phases.load().await.unwrap().unwrap();
            let (written, moved) = tokio::join!(shop.put(one.clone()), async {
                stop.reached().await;
                let audit = audit();
                let mut moving = std::pin::pin!(phases.transit(&five, to(4), &audit));
                let early = tokio::time::timeout(Duration::from_millis(300), &mut moving).await;
                assert!(early.is_err(), "the step was changed under a write that has proved it: {early:?}");
                stop.go();
                moving.await
            });
            written.unwrap();
            assert!(moved.unwrap(), "it is made when the write is through");
            assert_eq!(table.read(&key(&one)).await.unwrap(), Some(one.clone()));
            assert_eq!(there.row(&key(&one)).await.unwrap(), Some(one.clone()));
        });
    }
}
