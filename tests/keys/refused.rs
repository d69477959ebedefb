//! Targets and mappings that would merge, cut, alter or miscount rows are refused by name, before the first row.

use super::{line, lines, write};
use crate::support::servers::{BOTH, Kind, shared};
use crate::support::transvase::{Backfill, Target, sqlite};
use std::path::{Path, PathBuf};

/// What the tables below are made for.
const MAPPING: &str = r#"
key = "pk:S,sk:S"
[[table]]
name = "things"
[[table.column]]
name = "pk"
type = "varchar(64)"
key = true
[[table.column]]
name = "sk"
type = "varchar(64)"
key = true
[[table.column]]
name = "name"
type = "varchar(200)"
[[table.column]]
name = "total"
type = "decimal(12,2)"
missing = "null"
[[table.column]]
name = "at"
type = "datetime"
missing = "null"
"#;

fn source(folder: &Path) -> (PathBuf, PathBuf) {
    let from = lines(folder, "export", vec![vec![line("a", "1", "x"), line("b", "1", "y")]]);
    (from, write(folder, "things.toml", MAPPING))
}

/// Runs into `target` and expects a refusal that names the table and says each of `parts`.
async fn refused(folder: &Path, target: &Target, what: &str, parts: &[&str]) {
    let (from, mapping) = (folder.join("export"), folder.join("things.toml"));
    let args = ["--mapping", mapping.to_str().unwrap()];
    let ended = Backfill::new(folder, &from, target, &args).run();
    assert_eq!(ended.code, 2, "{target} {what}: {}", ended.said);
    ended.says(&["table things"]);
    ended.says(parts);
    assert_eq!(target.number("SELECT COUNT(*) FROM things").await, 0, "{target} {what}");
}

/// The table as the engine would make it, but for key columns of this collation.
fn things(collation: &str) -> String {
    let key = |name| format!("{name} VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL");
    format!(
        "CREATE TABLE things ({}, {}, name VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL, total DECIMAL(12,2), \
         at DATETIME(6), PRIMARY KEY (pk, sk))",
        key("pk"),
        key("sk")
    )
}

fn sound(kind: Kind) -> String {
    things(if kind == Kind::MySql { "utf8mb4_0900_bin" } else { "utf8mb4_nopad_bin" })
}

#[tokio::test]
async fn a_collation_that_merges_keys_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    source(folder.path());
    let collations: [(&str, &[Kind]); 9] = [
        ("utf8mb4_0900_ai_ci", &[Kind::MySql]),
        ("utf8mb4_0900_as_ci", &[Kind::MySql]),
        ("utf8mb4_0900_as_cs", &[Kind::MySql]),
        ("utf8mb4_bin", &BOTH),
        ("utf8mb4_general_ci", &BOTH),
        ("utf8mb4_unicode_ci", &BOTH),
        ("uca1400_ai_ci", &[Kind::MariaDb]),
        ("uca1400_nopad_as_cs", &[Kind::MariaDb]),
        ("utf8mb4_unicode_nopad_ci", &[Kind::MariaDb]),
    ];
    for (collation, kinds) in collations {
        for kind in kinds {
            let target = Target::server(shared(*kind).database().await);
            target.execute(&things(collation)).await;
            refused(folder.path(), &target, collation, &["column pk", "column sk", collation, "items would be merged"])
                .await;
        }
    }
    for collation in ["NOCASE", "RTRIM"] {
        let target = sqlite(folder.path());
        let key = format!("pk TEXT COLLATE {collation} NOT NULL, sk TEXT COLLATE {collation} NOT NULL");
        target
            .execute(&format!(
                "CREATE TABLE things ({key}, name TEXT NOT NULL, total TEXT, at TEXT, PRIMARY KEY (pk, sk))"
            ))
            .await;
        refused(folder.path(), &target, collation, &["column pk", collation, "items would be merged"]).await;
    }
}

#[tokio::test]
async fn the_table_that_the_engine_would_make_is_taken() {
    // else the refusals below would prove nothing
    let folder = tempfile::tempdir().unwrap();
    let (from, mapping) = source(folder.path());
    for kind in BOTH {
        let target = Target::server(shared(kind).database().await);
        target.execute(&sound(kind)).await;
        let args = ["--mapping", mapping.to_str().unwrap()];
        Backfill::new(folder.path(), &from, &target, &args).run().expect(0).counts([2, 2, 0, 0, 0]);
    }
}

/// What is done to a sound table, and what the refusal must say.
const CHANGES: [(&str, &[&str]); 16] = [
    ("CREATE UNIQUE INDEX by_name ON things (name)", &["unique index by_name", "name"]),
    (
        "CREATE TRIGGER touched BEFORE INSERT ON things FOR EACH ROW SET NEW.name = 'touched'",
        &["trigger touched", "drop it"],
    ),
    (
        "ALTER TABLE things DROP COLUMN total, ADD COLUMN total DECIMAL(12,2) GENERATED ALWAYS AS (1) STORED",
        &["column total", "generated"],
    ),
    ("ALTER TABLE things MODIFY name VARCHAR(199) CHARACTER SET utf8mb4 NOT NULL", &["column name", "varchar(199)"]),
    ("ALTER TABLE things MODIFY name VARCHAR(200) CHARACTER SET latin1 NOT NULL", &["column name", "latin1"]),
    ("ALTER TABLE things MODIFY total DECIMAL(12,1)", &["column total", "decimal(12,1)"]),
    ("ALTER TABLE things MODIFY total DECIMAL(11,2)", &["column total", "decimal(11,2)"]),
    ("ALTER TABLE things MODIFY total DOUBLE", &["column total", "double"]),
    ("ALTER TABLE things MODIFY at DATETIME", &["column at", "datetime"]),
    ("ALTER TABLE things MODIFY at TIMESTAMP(6) NULL", &["column at", "timestamp"]),
    ("ALTER TABLE things MODIFY at DATETIME(6) NOT NULL", &["column at", "NOT NULL"]),
    ("ALTER TABLE things DROP COLUMN name", &["column name is missing"]),
    ("ALTER TABLE things ADD COLUMN more INT NOT NULL", &["column more", "NOT NULL without a default"]),
    ("ALTER TABLE things ADD COLUMN n BIGINT NOT NULL AUTO_INCREMENT, ADD INDEX (n)", &["AUTO_INCREMENT"]),
    ("ALTER TABLE things DROP PRIMARY KEY, ADD PRIMARY KEY (pk)", &["primary key is (pk)", "(pk, sk)"]),
    ("ALTER TABLE things ENGINE=MyISAM", &["engine MyISAM", "InnoDB"]),
];

#[tokio::test]
async fn a_table_that_would_lose_or_alter_rows_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    source(folder.path());
    for kind in BOTH {
        for (change, parts) in CHANGES {
            let target = Target::server(shared(kind).database().await);
            target.execute(&sound(kind)).await;
            target.execute(change).await;
            refused(folder.path(), &target, change, parts).await;
        }
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (from, mapping) = source(folder.path());
    let target = sqlite(folder.path());
    let args = ["--mapping", mapping.to_str().unwrap()];
    let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(2);
    ended.says(&["table things is not there", "--create-tables", "transvase schema"]);
}

/// Mappings that could fold two keys into one row, and what the refusal must say.
const FOLDING: [(&str, &[&str]); 6] = [
    // the sort key is left out
    ("[[table.column]]\nname = \"pk\"\ntype = \"varchar(64)\"\nkey = true", &["leave key attribute sk open"]),
    // it is a column, but not of the key
    (
        "[[table.column]]\nname = \"pk\"\ntype = \"varchar(64)\"\nkey = true\n[[table.column]]\nname = \"sk\"\ntype = \"varchar(64)\"",
        &["leave key attribute sk open"],
    ),
    // two moments may be written in two ways
    (
        "[[table.column]]\nname = \"pk\"\ntype = \"varchar(64)\"\nkey = true\n[[table.column]]\nname = \"sk\"\ntype = \"datetime\"\nkey = true",
        &["column sk", "two items could meet in one row"],
    ),
    // a default stands in for what is missing
    (
        "[[table.column]]\nname = \"pk\"\ntype = \"varchar(64)\"\nkey = true\n[[table.column]]\nname = \"sk\"\ntype = \"varchar(64)\"\nkey = true\nmissing = \"default\"\ndefault = \"x\"",
        &["column sk", "key column"],
    ),
    // another attribute is the key
    (
        "[[table.column]]\nname = \"pk\"\ntype = \"varchar(64)\"\nkey = true\n[[table.column]]\nname = \"name\"\ntype = \"varchar(64)\"\nkey = true",
        &["leave key attribute sk open"],
    ),
    // a begins_with fixes only the beginning
    (
        "where = [{ attribute = \"sk\", begins_with = \"A#\" }]\n[[table.column]]\nname = \"pk\"\ntype = \"varchar(64)\"\nkey = true",
        &["leave key attribute sk open"],
    ),
];

#[test]
fn a_mapping_that_could_fold_two_keys_into_one_row_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (from, _) = source(folder.path());
    for (columns, parts) in FOLDING {
        let text = format!("key = \"pk:S,sk:S\"\n[[table]]\nname = \"things\"\n{columns}\n");
        let mapping = write(folder.path(), "folding.toml", &text);
        let args = ["--mapping", mapping.to_str().unwrap(), "--create-tables"];
        let target = sqlite(folder.path());
        let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(2);
        ended.says(&["folding.toml", "things"]);
        ended.says(parts);
        assert!(
            !Path::new(target.url().strip_prefix("sqlite:").unwrap()).exists(),
            "{columns}: the target was touched"
        );
    }
}
