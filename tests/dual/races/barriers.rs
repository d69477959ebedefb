//! The second write that is late: it comes across the barrier to step 5.

use super::super::held::HeldItems;
use super::super::unguarded::{Remembered, Unguarded, Without};
use super::super::{items, options, order, rows, runtime};
use super::{audit, both, to};
use crate::phases::{begun, put};
use crate::support::dynamo::DynamoServer;
use crate::support::orders::Place;
use serde_json::Value;
use std::sync::Arc;
use transvase::dual::Instance;
use transvase::dual::dynamodb::DynamoItems;
use transvase::error::{ErrorKind, Result};

/// The guards of a late second write that are there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Second {
    intent: bool,
    proof: bool,
    strong_read: bool,
}

/// In step 4 a writer has put 100 into the table and is late with the target; the step becomes 5, somebody puts 300, and he goes on.
/// What became of his write and of the transition, and what both stores hold.
async fn second_write(
    place: &Place,
    table: &DynamoItems,
    number: u32,
    there: Second,
) -> (Result<()>, Result<bool>, [Value; 2]) {
    let rows_there = rows(place).await;
    let phases = rows_there.phases();
    let four = phases.load().await.unwrap().unwrap();
    let without = Without { intent: !there.intent, proof: (!there.proof).then(|| four.clone()), ..Without::default() };
    let held = HeldItems::new(table.clone());
    let stop = Arc::clone(&held.sent);
    let unguarded = Unguarded(rows(place).await, without);
    let late = Instance::open(Remembered::new(held, !there.strong_read), unguarded, options(&format!("late-{number}")));
    let late = late.unwrap();
    let next = async || {
        let next = Instance::open(table.clone(), rows(place).await, options(&format!("next-{number}"))).unwrap();
        next.put(order(number, 300)).await.unwrap();
    };
    stop.arm();
    let (written, moved) = tokio::join!(late.put(order(number, 100)), async {
        stop.reached().await;
        let moved = phases.transit(&four, to(5), &audit()).await;
        if moved.is_ok() {
            next().await;
        }
        stop.go();
        moved
    });
    if moved.is_err() {
        assert!(phases.transit(&four, to(5), &audit()).await.unwrap(), "nothing is on record any more");
        next().await;
    }
    assert_eq!(phases.unsettled().await.unwrap(), Some(0), "nobody knows of any difference");
    assert_eq!(late.locked_out(), written.is_err());
    (written, moved, both(table, &rows_there, &order(number, 0)).await)
}

#[test]
fn a_second_write_late_across_the_barrier_is_kept_off_by_any_of_three_guards_and_not_by_none() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        let server = DynamoServer::start();
        let table = runtime.block_on(items(&server));
        let none = Second { intent: false, proof: false, strong_read: false };
        let guards = [
            Second { intent: true, proof: true, strong_read: true },
            Second { intent: true, ..none },
            Second { proof: true, ..none },
            Second { strong_read: true, ..none },
            none,
        ];
        for (number, there) in (0..).zip(guards) {
            put(&phases, 4);
            let (written, moved, both) = runtime.block_on(second_write(&place, &table, number, there));
            if there.intent {
                // what he has on record keeps the truth where it is
                assert_eq!(moved.unwrap_err().kind(), ErrorKind::Refused, "{there:?}");
            } else {
                assert!(moved.unwrap(), "{there:?}");
            }
            // he finds that the truth has changed
            assert_eq!(written.is_err(), there.proof && !there.intent, "{there:?}");
            let target = if there == none { "100" } else { "300" };
            assert_eq!(both, ["300", target], "{there:?}");
        }
        let faults = runtime.block_on(phases.faults()).unwrap();
        assert_eq!(faults.len(), 1, "whoever was overtaken has said so: {faults:?}");
    }
}
