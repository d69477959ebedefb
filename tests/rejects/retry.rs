//! Rejects tried again through a mended mapping: each ends once, whatever dies on the way, and the counts add up.

use super::{CASES, source};
use crate::generator::items::Shape;
use crate::roundtrip::export;
use crate::support::engine::{Engine, Outcome};
use crate::support::project_dir;
use crate::support::servers::Kind;
use crate::support::transvase::{Backfill, Target, sqlite, targets, text};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `transvase rejects VERB` on the run's database.
pub(super) fn rejects(target: &Target, verb: &str, args: &[&str]) -> Engine {
    let engine = Engine::new(&["rejects", verb, "--on", &target.url()]).args(args);
    match target {
        Target::Server(database) => {
            let ca = database.ca_file.to_str().unwrap().to_owned();
            engine.env("MYSQL_PWD", database.password()).args(&["--tls-ca", &ca])
        }
        Target::Sqlite(_) => engine,
    }
}

/// What has become of the rejects: written, present, skipped, signed off, open.
#[track_caller]
pub(super) fn assert_states(outcome: &Outcome, expected: [u64; 5]) {
    let found = ["/written", "/present", "/skipped", "/signed_off", "/open"].map(|path| outcome.number(path));
    assert_eq!(found, expected, "{}\n{}", outcome.stdout, outcome.stderr);
}

/// Alters tables where the server minds what its columns take; SQLite's text takes it all.
pub(super) async fn alter(target: &Target, table: &str, columns: &[(&str, &str)]) {
    let collation = match target.kind() {
        None => return,
        Some(Kind::MySql) => "CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin",
        Some(Kind::MariaDb) => "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    };
    let change = |(name, ty): &(&str, &str)| format!("MODIFY {name} {}", ty.replace("BIN", collation));
    let changes: Vec<String> = columns.iter().map(change).collect();
    target.execute(&format!("ALTER TABLE {table} {}", changes.join(", "))).await;
}

/// The mapping of the cases, mended: eight of the rejects of each file fit now, one of them in a table of its own.
const MENDED: &str = r#"
key = "pk:S"
[[table]]
name = "things"
where = [{ attribute = "kind", equals = "thing" }]
[[table.column]]
name = "pk"
type = "varchar(16)"
key = true
[[table.column]]
name = "name"
type = "varchar(64)"
missing = "default"
mismatch = "default"
default = "?"
[[table.column]]
name = "amount"
type = "decimal(20,4)"
missing = "null"
[[table.column]]
name = "count"
type = "bigint"
missing = "null"
[[table.column]]
name = "at"
type = "datetime"
missing = "null"
mismatch = "null"
[[table]]
name = "others"
where = [{ attribute = "kind", equals = "other" }]
rest = "rest"
[[table.column]]
name = "pk"
type = "varchar(16)"
key = true
"#;

/// Loads the cases with all their rejects, and mends tables and mapping. The mended mapping's path.
async fn loaded(folder: &Path, target: &Target) -> String {
    let (from, mapping, _) = source(folder);
    let args = ["--mapping", mapping.to_str().unwrap(), "--create-tables", "--max-rejects", "100"];
    Backfill::new(folder, &from, target, &args).run().expect(3);
    let columns = [("name", "VARCHAR(64) BIN NOT NULL"), ("amount", "DECIMAL(20,4)"), ("count", "BIGINT")];
    alter(target, "things", &columns).await;
    let mended = folder.join("mended.toml");
    std::fs::write(&mended, MENDED).unwrap();
    mended.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_a_mended_mapping_takes_is_written_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets(folder.path()).await {
        let mended = loaded(folder.path(), &target).await;
        let outcome = rejects(&target, "list", &[]).report().run().expect(3);
        assert_states(&outcome, [0, 0, 0, 0, 32]);
        let args = ["--run", "orders", "--mapping", &mended, "--create-tables"];
        let outcome = rejects(&target, "retry", &args).report().run().expect(3);
        assert_states(&outcome, [16, 0, 0, 0, 16]);
        assert!(outcome.stdout.contains("rejected 32 = written since 16"), "{}", outcome.stdout);
        assert_eq!(target.number("SELECT COUNT(*) FROM things").await, 8 + 14, "{target}");
        assert_eq!(target.number("SELECT COUNT(*) FROM others").await, 2, "{target}");
        let rows = target.rows("SELECT name, amount, count FROM things WHERE pk IN ('1', '2', '8') ORDER BY pk").await;
        assert_eq!([&rows[0][0], &rows[1][1], &rows[2][2]].map(text), ["longer", amount(&target), "2147483648"]);
        // the same again changes nothing
        let outcome = rejects(&target, "retry", &args).report().run().expect(3);
        assert_states(&outcome, [16, 0, 0, 0, 16]);
        assert_eq!(outcome.number("/tried"), 16, "{target}");
        // what is left is exported, with the exact items
        let file = folder.path().join("left.jsonl");
        rejects(&target, "export", &["--rejects", file.to_str().unwrap()]).run().expect(0);
        let left = std::fs::read_to_string(&file).unwrap();
        assert_eq!(left.lines().count(), 16, "{target}");
        for line in left.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
            let number = usize::try_from(line["line"].as_u64().unwrap()).unwrap() - 1;
            let case =
                if line["unit"].as_str().unwrap().contains("0.json") { number } else { CASES.len() - 1 - number };
            assert!([10, 12, 13, 14, 15, 16, 17, 18].contains(&case), "{target}: {line}");
        }
    }
}

/// A decimal as the target prints it.
fn amount(target: &Target) -> &'static str {
    if target.kind().is_some() { "1.0050" } else { "1.005" }
}

#[tokio::test]
async fn a_list_tells_kinds_and_places_and_no_values() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets(folder.path()).await {
        loaded(folder.path(), &target).await;
        let outcome = rejects(&target, "list", &[]).run().expect(3);
        for part in ["rejected 32 =", "open 32", "column amount", "column name", "too long", "line 2", "AWSDynamoDB/"] {
            assert!(outcome.stdout.contains(part), "{part} is not in {}", outcome.stdout);
        }
        for value in ["longer", "yesterday", "seventeen", "twelve"] {
            assert!(!outcome.stdout.contains(value), "{value} is in {}", outcome.stdout);
        }
    }
}

#[tokio::test]
async fn sign_offs_are_by_name_and_can_be_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets(folder.path()).await {
        let mended = loaded(folder.path(), &target).await;
        // by nobody, or for nothing, is none
        rejects(&target, "sign-off", &["--by", "Ada"]).run().expect(2);
        let by = ["--by", "Ada L.", "--why", "test data"];
        let outcome = rejects(&target, "sign-off", &by).args(&["--column", "amount"]).run().expect(0);
        assert!(outcome.stdout.contains("4 rejects signed off"), "{}", outcome.stdout);
        let outcome = rejects(&target, "list", &[]).report().run().expect(3);
        assert_states(&outcome, [0, 0, 0, 4, 28]);
        assert!(outcome.stdout.contains("signed off by Ada L.: test data"), "{}", outcome.stdout);
        assert_eq!(
            target.number("SELECT COUNT(*) FROM _transvase_rejects WHERE signed_us > 1700000000000000").await,
            4
        );
        // a retry leaves them alone
        let args = ["--mapping", &mended, "--create-tables"];
        let outcome = rejects(&target, "retry", &args).report().run().expect(3);
        assert_states(&outcome, [12, 0, 0, 4, 16]);
        let outcome = rejects(&target, "sign-off", &by).args(&["--reason", "range"]).run().expect(0);
        assert!(outcome.stdout.contains("2 rejects signed off"), "{}", outcome.stdout);
        rejects(&target, "sign-off", &by).run().expect(0);
        let outcome = rejects(&target, "list", &[]).report().run().expect(0);
        assert_states(&outcome, [12, 0, 0, 20, 0]);
        rejects(&target, "sign-off", &["--withdraw", "--column", "amount"]).run().expect(0);
        let outcome = rejects(&target, "retry", &args).report().run().expect(0);
        assert_states(&outcome, [16, 0, 0, 16, 0]);
    }
}

#[tokio::test]
async fn a_row_with_a_rejects_key_refuses_the_retry_unless_the_application_may_have_written_it() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets(folder.path()).await {
        let mended = loaded(folder.path(), &target).await;
        target.execute("INSERT INTO things (pk, name) VALUES ('1', 'theirs')").await;
        let args = ["--mapping", &mended, "--create-tables"];
        let outcome = rejects(&target, "retry", &args).run().expect(6);
        assert!(outcome.stderr.contains("--live-target") && outcome.stderr.contains("things"), "{}", outcome.stderr);
        assert_eq!(target.number("SELECT COUNT(*) FROM things").await, 9, "{target}: nothing of the page is written");
        let outcome = rejects(&target, "retry", &args).args(&["--live-target"]).report().run().expect(3);
        assert_states(&outcome, [15, 1, 0, 0, 16]);
        let name = target.rows("SELECT name FROM things WHERE pk = '1'").await;
        assert_eq!(text(&name[0][0]), "theirs", "{target}");
    }
}

#[tokio::test]
async fn control_tables_of_an_earlier_version_are_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets(folder.path()).await {
        let mended = loaded(folder.path(), &target).await;
        for column in ["outcome", "retry", "signed_by", "signed_why", "signed_us"] {
            target.execute(&format!("ALTER TABLE _transvase_rejects DROP COLUMN {column}")).await;
        }
        target.execute("DROP TABLE _transvase_retries").await;
        let args = ["--mapping", &mended, "--create-tables"];
        let outcome = rejects(&target, "retry", &args).report().run().expect(3);
        assert_states(&outcome, [16, 0, 0, 0, 16]);
    }
}

#[test]
fn usage_mistakes_are_said_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    let outcome = rejects(&target, "list", &[]).run().expect(2);
    assert!(outcome.stderr.contains("no such file"), "{}", outcome.stderr);
    let Target::Sqlite(path) = &target else { unreachable!() };
    std::fs::write(path, "").unwrap();
    let outcome = rejects(&target, "list", &[]).run().expect(2);
    assert!(outcome.stderr.contains("knows of no run"), "{}", outcome.stderr);
    assert_eq!(std::fs::metadata(path).unwrap().len(), 0, "a look changes nothing");
    let (from, mapping, _) = source(folder.path());
    let args = ["--mapping", mapping.to_str().unwrap(), "--create-tables", "--max-rejects", "0"];
    Backfill::new(folder.path(), &from, &target, &args).run().expect(1);
    let outcome = rejects(&target, "list", &["--run", "other"]).run().expect(2);
    assert!(outcome.stderr.contains("--run: orders"), "{}", outcome.stderr);
    let outcome = rejects(&target, "retry", &["--mapping", mapping.to_str().unwrap()]).run().expect(6);
    assert!(outcome.stderr.contains("not complete"), "{}", outcome.stderr);
    rejects(&target, "retry", &[]).run().expect(2);
    Engine::new(&["rejects", "list", "--on", "dynamodb://orders"]).run().expect(2);
    Engine::new(&["rejects", "list", "--on", "null:"]).run().expect(2);
}

/// Orders most of whose totals do not fit: several pages of rejects.
const ITEMS: u64 = 3000;

/// The mapping of the orders with another type of `total`.
fn orders_mapping(folder: &Path, total: &str) -> String {
    let text = std::fs::read_to_string(project_dir().join("fixtures/mapping/orders.toml")).unwrap();
    assert!(text.contains("decimal(20,2)"));
    let path = folder.join(format!("{total}.toml"));
    std::fs::write(&path, text.replace("decimal(20,2)", total)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Loads the orders with their rejects and widens the column; the retry's arguments, and how many there are.
async fn many(folder: &Path, from: &Path, target: &Target) -> (Vec<String>, u64) {
    let narrow = orders_mapping(folder, "decimal(5,2)");
    let args = ["--mapping", &narrow, "--create-tables", "--max-rejects", "100%"];
    let ended = Backfill::new(folder, from, target, &args).run().expect(3);
    let rejected = ended.count("rejected");
    assert!(rejected > 1500, "{rejected} make several pages");
    alter(target, "orders", &[("total", "DECIMAL(12,2) NOT NULL")]).await;
    (vec!["--mapping".to_owned(), orders_mapping(folder, "decimal(12,2)")], rejected)
}

const ROWS: &str = "SELECT * FROM orders ORDER BY customer_id, order_id";

#[tokio::test]
async fn a_retry_that_dies_at_any_point_ends_with_every_reject_once() {
    let folder = tempfile::tempdir().unwrap();
    let from: PathBuf = export(folder.path(), Shape::Orders, 17, ITEMS, 3);
    for target in targets(folder.path()).await {
        let (args, rejected) = many(folder.path(), &from, &target).await;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for (point, nth) in [
            ("transaction-begun", 2),
            ("rows-written", 1),
            ("ledger-written", 2),
            ("ledger-written", 1),
            ("run-complete", 1),
        ] {
            let engine = rejects(&target, "retry", &args).env("TRANSVASE_ABORT_AT", &format!("{point}:{nth}"));
            let outcome = engine.run();
            assert_eq!(outcome.signal(), Some(6), "{target}, {point}: {}", outcome.stderr);
            let settled = "SELECT COUNT(*) FROM _transvase_rejects WHERE part = 0 AND outcome = 'written'";
            let rows = target.number("SELECT COUNT(*) FROM orders").await;
            assert_eq!(rows, ITEMS - rejected + target.number(settled).await, "{target}, {point}");
        }
        let outcome = rejects(&target, "retry", &args).report().run().expect(0);
        assert_states(&outcome, [rejected, 0, 0, 0, 0]);
        // the rows are those of a load with the mended mapping from the start
        let clean = sqlite(folder.path());
        let wide = orders_mapping(folder.path(), "decimal(12,2)");
        Backfill::new(folder.path(), &from, &clean, &["--mapping", &wide, "--create-tables"]).run().expect(0);
        assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, ITEMS);
        if target.kind().is_none() {
            assert!(target.rows(ROWS).await == clean.rows(ROWS).await, "the rows differ");
        } else {
            let keys = "SELECT customer_id, order_id FROM orders ORDER BY 1, 2";
            assert!(target.rows(keys).await == clean.rows(keys).await, "{target}: the keys differ");
        }
    }
}

#[tokio::test]
async fn a_process_that_overslept_writes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let from: PathBuf = export(folder.path(), Shape::Orders, 18, ITEMS, 3);
    for target in targets(folder.path()).await {
        let (args, rejected) = many(folder.path(), &from, &target).await;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // outside of a transaction, its page read
        let mut asleep = rejects(&target, "retry", &args).env("TRANSVASE_STOP_AT", "page-read:2").spawn();
        asleep.wait_to_sleep();
        let outcome = rejects(&target, "retry", &args).report().run().expect(0);
        assert_states(&outcome, [rejected, 0, 0, 0, 0]);
        asleep.signal("CONT");
        let outcome = asleep.wait(Duration::from_secs(60)).expect(6);
        assert!(outcome.stderr.contains("writes nothing more"), "{target}: {}", outcome.stderr);
        assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, ITEMS, "{target}");
    }
}
