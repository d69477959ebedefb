//! What the application's items are, and what a target holds of them: worked out here, without the engine.

use crate::support::canon;
use crate::support::orders::block_on;
use crate::support::streams_server::TABLE;
use crate::support::transvase::{Target, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Longer notes are rejected.
const NOTE_MAX: usize = 12;

/// By an item's kind, and once by its key as well. A kind that no table takes is skipped.
const MAPPING: &str = r#"
key = "id:S"
unmatched = "skip"
[[table]]
name = "orders"
where = [{ attribute = "kind", equals = "order" }]
ignore = "*"
column = [
    { name = "id", key = true, type = "varchar(20)" },
    { name = "version", type = "bigint" },
    { name = "note", type = "varchar(12)" },
]
[[table]]
name = "users"
where = [{ attribute = "kind", equals = "user" }]
ignore = "*"
column = [
    { name = "id", key = true, type = "varbinary(20)" },
    { name = "version", type = "decimal(30,0)" },
    { name = "note", type = "varchar(12)" },
]
[[table]]
name = "notes"
where = [{ attribute = "kind", equals = "note" }, { attribute = "id", begins_with = "key-0" }]
ignore = "*"
column = [
    { name = "id", key = true, type = "varchar(20)", strip_prefix = "key-" },
    { name = "version", type = "bigint" },
    { name = "note", type = "varchar(12)" },
]
"#;

const KINDS: [&str; 4] = ["order", "user", "note", "other"];

/// The item that a key's version is: the next one may be of another kind, or one that cannot be stored.
pub(super) fn dress(key: &str, version: u64) -> Value {
    let draw = version.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let width = usize::try_from(draw / 4 % 15).unwrap();
    json!({
        "id": {"S": key}, "version": {"N": version.to_string()}, "kind": {"S": kind(version)},
        "note": {"S": format!("{version:-<width$}")}, "tags": {"SS": [format!("t{}", draw % 7), "all"]},
        "amount": {"N": format!("{}.50", draw % 1000)}, "parts": {"L": [{"M": {"n": {"N": "1E2"}}}, {"BOOL": true}]},
    })
}

fn kind(version: u64) -> &'static str {
    KINDS[usize::try_from((version.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % 4).unwrap()]
}

/// How items become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Each item a document.
    Document,
    /// Three tables.
    Typed,
}

impl Shape {
    /// The flags that say so; a file that they need goes into `folder`.
    pub(super) fn flags(self, folder: &Path) -> Vec<String> {
        match self {
            Shape::Document => Vec::new(),
            Shape::Typed => {
                let file = folder.join("live.toml");
                // once: another process may be reading it
                if !file.exists() {
                    std::fs::write(&file, MAPPING).unwrap();
                }
                vec!["--mapping".into(), file.display().to_string()]
            }
        }
    }

    /// The rows that these versions of keys are, in order.
    pub(super) fn expected(self, truth: &BTreeMap<String, u64>) -> Vec<Vec<String>> {
        let row = |(key, version): (&String, &u64)| match self {
            Shape::Document => Some(vec![key.clone(), canon::item(&dress(key, *version)).to_string()]),
            Shape::Typed => typed(key, *version),
        };
        let mut rows: Vec<_> = truth.iter().filter_map(row).collect();
        rows.sort();
        rows
    }

    /// The rows that a target holds, in order.
    pub(super) fn found(self, target: &Target) -> Vec<Vec<String>> {
        let char = |column: &str| match target.kind() {
            None => format!("CAST({column} AS TEXT)"),
            Some(_) => format!("CAST({column} AS CHAR)"),
        };
        let (id, version) = (char("id"), char("version"));
        let query = match self {
            Shape::Document => format!("SELECT id, item FROM {TABLE}"),
            Shape::Typed => ["orders", "users", "notes"]
                .map(|table| format!("SELECT '{table}', {id}, {version}, note FROM {table}"))
                .join(" UNION ALL "),
        };
        let rows = block_on(target.rows(&query));
        let mut rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| text(cell).to_owned()).collect()).collect();
        if self == Shape::Document {
            rows.iter_mut().for_each(|row| row[1] = canon::item(&serde_json::from_str(&row[1]).unwrap()).to_string());
        }
        rows.sort();
        rows
    }
}

fn typed(key: &str, version: u64) -> Option<Vec<String>> {
    let (table, id) = match kind(version) {
        "order" => ("orders", key),
        "user" => ("users", key),
        "note" if key.starts_with("key-0") => ("notes", key.strip_prefix("key-")?),
        _ => return None,
    };
    let note = dress(key, version)["note"]["S"].as_str().unwrap().to_owned();
    (note.len() <= NOTE_MAX).then(|| vec![table.into(), id.into(), version.to_string(), note])
}
