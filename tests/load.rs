//! LOAD DATA LOCAL and INSERT are two ways to the same table: every value, every count, every reject; and where the server
//! does not let us load, or a load is not clean, rows are inserted.

mod broken;
mod values;
mod wire;

use crate::generator::items::Shape;
use crate::roundtrip::{assert_holds, export, truth};
use crate::support::project_dir;
use crate::support::servers::{BOTH, Kind, Server, ServerOptions, shared};
use crate::support::transvase::{Backfill, Ended, Target, sqlite};
use std::path::Path;

const KEY: [(&str, &str); 2] = [("customer_id", "S"), ("order_id", "S")];
const FLAGS: [&str; 2] = ["--key", "customer_id:S,order_id:S"];

/// Runs an export into a target by a method.
fn run(folder: &Path, from: &Path, target: &Target, method: &str, args: &[&str]) -> Ended {
    Backfill::new(folder, from, target, &[&["--load-method", method], args].concat()).run()
}

/// Fails unless every page of the run was loaded.
#[track_caller]
fn assert_loaded(ended: &Ended) {
    assert_eq!(ended.report["load_method"], "load-data", "{}", ended.said);
    assert_eq!(ended.report["process"]["unloadable"], 0, "{}", ended.said);
}

#[tokio::test]
async fn a_server_that_takes_no_loads_is_inserted_into_and_that_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 61, 3000, 3);
    for kind in BOTH {
        let extra = vec!["--local-infile=0".to_owned()];
        let server = Server::start(kind, &ServerOptions { extra, ..ServerOptions::default() });
        let target = Target::server(server.database().await);
        let refused = run(folder.path(), &from, &target, "load-data", &FLAGS).expect(2);
        refused.says(&[
            "--load-method load-data",
            "local_infile off",
            "SET GLOBAL local_infile = ON",
            "leave the flag",
        ]);
        let ended = run(folder.path(), &from, &target, "auto", &FLAGS).expect(0);
        ended.counts([3000, 3000, 0, 0, 0]);
        assert_eq!(ended.report["load_method"], "insert");
        assert_eq!(ended.said.matches("local_infile").count(), 2, "one line, which names it twice: {}", ended.said);
        let truth = truth(Shape::Orders, 61, 3000, &["customer_id", "order_id"]);
        assert_holds(&target, "orders", &KEY, &truth, &target.to_string()).await;
        // what was asked for by name is not remarked on
        let quiet = run(folder.path(), &from, &target, "insert", &[&FLAGS[..], &["--run", "again"]].concat()).expect(0);
        assert!(!quiet.said.contains("local_infile"), "{}", quiet.said);
    }
}

#[tokio::test]
async fn loads_are_refused_by_name_where_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 62, 100, 2);
    let file = sqlite(folder.path());
    run(folder.path(), &from, &file, "load-data", &FLAGS).expect(2).says(&["takes no LOAD DATA", "sqlite:"]);
    let ended = run(folder.path(), &from, &file, "auto", &FLAGS).expect(0);
    assert_eq!(ended.report["load_method"], "insert");
    let target = Target::server(shared(Kind::MariaDb).database().await);
    assert_loaded(&run(folder.path(), &from, &target, "load-data", &FLAGS).expect(0));
    // a table with rows that are to be overwritten: LOAD DATA … REPLACE would delete them, and lose what it does not fill
    let replace = [&FLAGS[..], &["--on-conflict", "replace", "--run", "again"]].concat();
    run(folder.path(), &from, &target, "load-data", &replace).expect(2).says(&["replace overwrites rows"]);
    let ended = run(folder.path(), &from, &target, "auto", &replace).expect(0);
    ended.counts([100, 100, 0, 0, 0]);
    assert_eq!(ended.report["load_method"], "insert");
    assert!(!ended.said.contains("LOAD DATA"), "it follows from what was asked for: {}", ended.said);
}

#[tokio::test]
async fn rows_that_no_insert_would_take_stop_the_run_and_are_not_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 66, 500, 2);
    let mapping = project_dir().join("fixtures/mapping/orders.toml");
    for kind in BOTH {
        let target = Target::server(shared(kind).database().await);
        let args = ["--mapping", mapping.to_str().unwrap(), "--create-tables"];
        run(folder.path(), &from, &target, "load-data", &args).expect(0);
        let foreign = "CREATE TABLE parents (k INT PRIMARY KEY); DELETE FROM orders; \
                       ALTER TABLE orders ADD FOREIGN KEY (quantity) REFERENCES parents (k)";
        let partition = "ALTER TABLE orders DROP FOREIGN KEY orders_ibfk_1, DROP KEY quantity; \
                         ALTER TABLE orders PARTITION BY RANGE COLUMNS (customer_id) (PARTITION p VALUES LESS THAN ('b'))";
        // LOCAL makes a warning of both, as of a duplicate: 1452 for no parent, 1526 for no partition
        for (alter, code, name) in [(foreign, "1452", "second"), (partition, "1526", "third")] {
            target.execute(alter).await;
            let ended = run(folder.path(), &from, &target, "load-data", &[&args[..2], &["--run", name]].concat());
            ended.says(&[code]);
            assert_eq!(ended.code, 1, "{}", ended.said);
            assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, 0, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn every_kind_of_login_loads() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 63, 100, 2);
    for kind in BOTH {
        let target = Target::server(shared(kind).database().await);
        // the chain verified; without TLS; and the certificate's host name, too
        for (number, args) in [&[][..], &["--tls", "off"], &["--tls", "verify-ca"]].into_iter().enumerate() {
            let name = number.to_string();
            let args = [&FLAGS[..], &["--table", &name, "--run", &name], args].concat();
            assert_loaded(&run(folder.path(), &from, &target, "load-data", &args).expect(0));
        }
    }
}

#[tokio::test]
async fn rows_already_there_are_counted_by_loads_to_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let (first, all) =
        (export(folder.path(), Shape::Orders, 64, 1234, 2), export(folder.path(), Shape::Orders, 64, 3000, 3));
    for kind in BOTH {
        let target = Target::server(shared(kind).database().await);
        run(folder.path(), &first, &target, "load-data", &FLAGS).expect(0).counts([1234, 1234, 0, 0, 0]);
        let again = [&FLAGS[..], &["--run", "again"]].concat();
        let ended = run(folder.path(), &all, &target, "load-data", &again).expect(0);
        ended.counts([3000, 1766, 1234, 0, 0]);
        assert_loaded(&ended);
        let truth = truth(Shape::Orders, 64, 3000, &["customer_id", "order_id"]);
        assert_holds(&target, "orders", &KEY, &truth, &target.to_string()).await;
    }
}

#[tokio::test]
async fn rows_that_the_server_refuses_are_found_by_inserts_with_the_same_counts() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 65, 3000, 3);
    let mapping = project_dir().join("fixtures/mapping/orders.toml");
    let mapping = mapping.to_str().unwrap();
    for kind in BOTH {
        let mut ends = Vec::new();
        for method in ["insert", "load-data"] {
            let target = Target::server(shared(kind).database().await);
            let args = ["--mapping", mapping, "--create-tables", "--run", "first"];
            run(folder.path(), &from, &target, method, &args).expect(0);
            let check = "CHECK (MINUTE(created_at) <> 0 OR quantity >= 9)";
            let alter = format!("ALTER TABLE orders ADD CONSTRAINT rare {check}");
            target.execute(&format!("DELETE FROM orders WHERE quantity < 9; {alter}")).await;
            let args = ["--mapping", mapping, "--run", "second", "--max-rejects", "100%"];
            let ended = run(folder.path(), &from, &target, method, &args).expect(3);
            assert_eq!(ended.report["load_method"], method);
            let inserted = ended.report["process"]["unloadable"].as_u64().unwrap();
            assert_eq!(inserted > 0, method == "load-data", "{}", ended.said);
            assert_eq!(ended.said.contains("took the insert path"), method == "load-data", "{}", ended.said);
            let counts = ["read", "written", "present", "skipped", "rejected"].map(|name| ended.count(name));
            assert!(counts[1..3].iter().all(|count| *count > 100) && counts[4] > 0, "{counts:?}");
            // MariaDB's message names the database
            let name = target.rows("SELECT DATABASE()").await.remove(0).remove(0).unwrap();
            let name = String::from_utf8(name).unwrap();
            let reasons: Vec<String> =
                ended.rejects.iter().map(|reject| reject.to_string().replace(&name, "")).collect();
            ends.push((counts, reasons, target.rows("SELECT * FROM orders ORDER BY 1, 2").await));
        }
        assert!(ends[0] == ends[1], "{kind:?}: the methods differ: {:?} {:?}", ends[0].0, ends[1].0);
    }
}
