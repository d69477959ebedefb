//! The races of dual writes, each played on real servers twice: with the guards that close it, and without them, where the loss comes
//! about. What is left out is left out here, around the stores or in what a guard has put into the database, never in the library.
//! `docs/phases.md` says which race is played where.

mod barriers;
mod copied;
mod crossed;
mod exported;
mod rollback;
mod unlocked;

use super::{execute, key};
use crate::support::orders::Place;
use serde_json::Value;
use transvase::checkpoint::phases::{Audit, Next};
use transvase::dual::dynamodb::DynamoItems;
use transvase::dual::mysql::SqlRows;
use transvase::dual::stores::{Item, Items, Rows};

fn to(step: u8) -> Next {
    Next { step, barrier: None, generation: 1, within_barrier: false, releases_lock: false }
}

fn audit() -> Audit {
    Audit::new("test", "move", None, "{}")
}

/// What both stores hold of an item: the table, the target.
async fn both(table: &DynamoItems, rows: &SqlRows, of: &Item) -> [Value; 2] {
    let [item, row] = [table.read(&key(of)).await, rows.row(&key(of)).await];
    [item, row].map(|found| found.unwrap().unwrap()["version"]["N"].clone())
}

/// Everything on record is as old as an hour: whoever looks next mends it.
async fn ripen(place: &Place) {
    execute(place, "UPDATE _transvase_intents SET at_us = at_us - 3600000000").await;
}
