//! Secondary indexes of a mapping file: with the table, or when all rows are there; never twice, and never instead of rows.

use crate::generator::items::Shape;
use crate::roundtrip::export;
use crate::support::project_dir;
use crate::support::servers::Kind;
use crate::support::transvase::{Backfill, Target, targets, text};
use std::path::{Path, PathBuf};

const INDEXES: &str = "
[[table.index]]
name = \"by_status\"
columns = [\"status\", \"created_at\"]

[[table.index]]
name = \"by_total\"
columns = [\"total\"]
";

/// The mapping of the orders, with two indexes.
fn mapping(folder: &Path) -> PathBuf {
    let orders = std::fs::read_to_string(project_dir().join("fixtures/mapping/orders.toml")).unwrap();
    let path = folder.join("indexed.toml");
    std::fs::write(&path, orders + INDEXES).unwrap();
    path
}

async fn indexes(target: &Target) -> Vec<String> {
    let sql = match target.kind() {
        None => "SELECT name FROM pragma_index_list('orders') WHERE origin = 'c' ORDER BY name",
        Some(Kind::MySql | Kind::MariaDb) => {
            "SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = DATABASE() \
             AND table_name = 'orders' AND index_name <> 'PRIMARY' ORDER BY 1"
        }
    };
    target.rows(sql).await.iter().map(|row| text(&row[0]).to_owned()).collect()
}

#[tokio::test]
async fn indexes_come_with_the_table_or_when_all_rows_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 5, 3000, 3);
    let mapping = mapping(folder.path());
    let mapping = mapping.to_str().unwrap();
    for target in targets(folder.path()).await {
        let args = ["--mapping", mapping, "--create-tables"];
        Backfill::new(folder.path(), &from, &target, &args).run().expect(0).counts([3000, 3000, 0, 0, 0]);
        assert_eq!(indexes(&target).await, ["by_status", "by_total"], "{target}");
    }
    for target in targets(folder.path()).await {
        let args = ["--mapping", mapping, "--create-tables", "--defer-indexes"];
        // Dies when the run is complete and no index is there.
        let died = std::panic::catch_unwind(|| {
            Backfill::new(folder.path(), &from, &target, &args).env("TRANSVASE_ABORT_AT", "run-complete:1").run()
        });
        assert!(died.is_err(), "{target}: the process was to die");
        assert!(indexes(&target).await.is_empty(), "{target}: put off");
        let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(0);
        assert_eq!(ended.report["status"], "already-complete");
        assert_eq!(indexes(&target).await, ["by_status", "by_total"], "{target}");
        // Those that are there are left, and are no alteration that would bar a run that is complete.
        Backfill::new(folder.path(), &from, &target, &args).run().expect(0);
    }
}
