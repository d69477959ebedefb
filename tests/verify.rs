//! `transvase verify`: every planted damage is found, none where there is none, and what dies in between goes on.

mod bench;
mod crash;
mod damage;
mod levels;

use crate::support::engine::Outcome;
use crate::support::orders::Place;
use std::collections::BTreeSet;
use std::path::Path;

/// A key that differs: table, kind, and the key's cells as JSON.
type Difference = (String, String, String);

/// What a verification whose state is in the file `state` has found, and not taken back.
fn found(state: &Path, tables: &[&str]) -> BTreeSet<Difference> {
    let sql = "SELECT CAST(target AS TEXT), kind, key_cells FROM _transvase_differences WHERE verdict <> 'settled'";
    let text = |cell: &Option<Vec<u8>>| String::from_utf8(cell.clone().unwrap()).unwrap();
    let rows = Place::File(state.to_path_buf()).query(sql);
    let table = |cell| tables[text(cell).parse::<usize>().unwrap()].to_owned();
    rows.iter().map(|row| (table(&row[0]), text(&row[1]), text(&row[2]))).collect()
}

/// A figure of the report's first table.
fn figure(outcome: &Outcome, name: &str) -> u64 {
    outcome.number(&format!("/tables/0/{name}"))
}
