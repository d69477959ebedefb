//! Two tables of typed columns, of every type and with a decimal in a key, and one that no item goes to; loaded, and with a
//! clean copy to be restored from.

use crate::support::engine::{Engine, Outcome};
use crate::support::orders::Place;
use crate::support::small_export::SmallExport;
use std::path::PathBuf;
use tempfile::TempDir;

pub(super) const TABLES: [&str; 3] = ["things", "blobs", "ghosts"];

/// Things and blobs.
pub(super) const THINGS: usize = 240;
pub(super) const BLOBS: usize = 60;

const MAPPING: &str = r#"
key = "pk:S,sk:N"
unmatched = "skip"
[[table]]
name = "things"
where = [{ attribute = "kind", equals = "thing" }]
rest = "rest"
[[table.column]]
name = "id"
from = "pk"
type = "varchar(64)"
key = true
[[table.column]]
name = "seq"
from = "sk"
type = "decimal(20,3)"
key = true
[[table.column]]
name = "name"
type = "varchar(64)"
[[table.column]]
name = "amount"
type = "decimal(38,10)"
[[table.column]]
name = "count"
type = "bigint"
missing = "null"
[[table.column]]
name = "data"
type = "varbinary(64)"
[[table.column]]
name = "note"
type = "text"
missing = "null"
[[table.column]]
name = "doc"
type = "json"
[[table.column]]
name = "plain"
type = "json"
json = "plain"
[[table.column]]
name = "flag"
type = "boolean"
[[table.column]]
name = "at"
type = "datetime"
epoch = "ms"
[[table.column]]
name = "day"
type = "date"
[[table]]
name = "blobs"
where = [{ attribute = "kind", equals = "blob" }]
ignore = ["kind"]
[[table.column]]
name = "pk"
type = "varbinary(64)"
key = true
[[table.column]]
name = "sk"
type = "bigint"
key = true
[[table.column]]
name = "ratio"
type = "double"
[[table]]
name = "ghosts"
where = [{ attribute = "kind", equals = "ghost" }]
[[table.column]]
name = "pk"
type = "varchar(64)"
key = true
[[table.column]]
name = "sk"
type = "int"
key = true
"#;

/// An export of them, a mapping file, and where the states of verifications go.
pub(super) struct Bench {
    folder: TempDir,
}

/// The item of thing `n`: some have no count, some an empty note and some none.
fn thing(n: usize) -> String {
    let note = ["", r#","note":{"S":""}"#, r#","note":{"S":"a note"}"#][n % 3];
    let count = if n.is_multiple_of(2) { format!(r#","count":{{"N":"{n}"}}"#) } else { String::new() };
    format!(
        r#"{{"Item":{{"pk":{{"S":"t{}"}},"sk":{{"N":"{}.5"}},"kind":{{"S":"thing"}},"name":{{"S":"naïve {n}"}},"amount":{{"N":"123456789012345678901234567{}.9012345678"}}{count},"data":{{"B":"AAEC"}}{note},"doc":{{"M":{{"tags":{{"SS":["b","a","c{n}"]}},"n":{{"NS":["1.0","2e1"]}}}}}},"plain":{{"M":{{"big":{{"N":"18446744073709551615"}},"a":{{"N":"0.1"}}}}}},"flag":{{"BOOL":{}}},"at":{{"N":"1700000000{:03}"}},"day":{{"S":"2024-02-29"}},"other":{{"L":[{{"N":"{n}"}},{{"NULL":true}}]}}}}}}"#,
        n / 7,
        n as i64 * 3 - 300,
        n % 10,
        n.is_multiple_of(3),
        n
    )
}

fn blob(n: usize) -> String {
    let ratio = ["0.1", "1e-7", "1E15", "123456.789", "1e16", "3"][n % 6];
    format!(
        r#"{{"Item":{{"pk":{{"S":"b\u0000{}"}},"sk":{{"N":"{n}"}},"kind":{{"S":"blob"}},"ratio":{{"N":"{ratio}"}}}}}}"#,
        n / 5
    )
}

impl Bench {
    pub(super) fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let mut lines: Vec<String> = (0..THINGS).map(thing).chain((0..BLOBS).map(blob)).collect();
        lines.push(r#"{"Item":{"pk":{"S":"nobody"},"sk":{"N":"1"},"kind":{"S":"other"}}}"#.into());
        let files = (0..4).map(|file| lines.iter().skip(file).step_by(4).cloned().collect()).collect();
        let export = SmallExport { files, ..SmallExport::new(0, 0, 0) };
        export.write(&folder.path().join("export"));
        std::fs::write(folder.path().join("mapping.toml"), MAPPING).unwrap();
        Bench { folder }
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// A verb of the engine, from the export to `place`.
    pub(super) fn engine(&self, verb: &str, place: &Place) -> Engine {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let engine =
            Engine::new(&[verb, "--from", &path("export"), "--mapping", &path("mapping.toml"), "--to", &place.url()]);
        match place {
            Place::Server(database) => engine.env("MYSQL_PWD", database.password()),
            Place::File(_) => engine,
        }
        .report()
    }

    /// Loads `place`, and keeps a clean copy of each table.
    pub(super) fn load(&self, place: &Place) {
        self.engine("backfill", place).args(&["--create-tables"]).run().expect(0);
        for table in TABLES {
            place.execute(&format!("CREATE TABLE clean_{table} AS SELECT * FROM {table}"));
        }
    }

    /// Makes the tables what they were.
    pub(super) fn restore(&self, place: &Place) {
        for table in TABLES {
            place.execute(&format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM clean_{table}"));
        }
    }

    /// Verifies from the beginning.
    pub(super) fn verify(&self, place: &Place, args: &[&str]) -> Outcome {
        let state = format!("sqlite:{}", self.state().display());
        self.engine("verify", place).args(&["--state", &state, "--restart"]).args(args).run()
    }
}
