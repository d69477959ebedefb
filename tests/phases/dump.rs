//! All that the control tables hold, to be compared before and after.

use crate::support::orders::Place;

/// Every table that a phase command reads or writes, without those that a living follower or instance writes to by itself.
const TABLES: [&str; 13] = [
    "phases",
    "phase_history",
    "locks",
    "writers",
    "faults",
    "intents",
    "guards",
    "replays",
    "interlocks",
    "runs",
    "units",
    "fences",
    "rejects",
];

/// Every row of every control table, its cells as the server gives them.
pub(crate) fn dump(place: &Place) -> Vec<Vec<Vec<Option<Vec<u8>>>>> {
    let rows = |table: &str| {
        let mut rows = place.query(&format!("SELECT * FROM _transvase_{table}"));
        rows.sort();
        rows
    };
    let all: Vec<_> = TABLES.into_iter().map(rows).collect();
    assert!(!all[0].is_empty() && !all[1].is_empty(), "nothing is looked at");
    all
}
