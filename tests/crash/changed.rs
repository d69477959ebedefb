//! The world changes under an interrupted or a running run: refused, nothing written, or not complete.

use crate::support::orders::{KEY, Orders, Place};
use std::time::Duration;

/// A run that died after a few pages.
fn interrupted(orders: &Orders, place: &Place) {
    let outcome = orders.engine(place).env("TRANSVASE_ABORT_AT", "committed:4").run();
    assert_eq!(outcome.signal(), Some(6), "{}", outcome.stderr);
    assert!(place.count("SELECT COUNT(*) FROM orders") > 0);
}

fn create_statement(place: &Place) -> String {
    let (sql, column) = match place {
        Place::Server(_) => ("SHOW CREATE TABLE orders", 1),
        Place::File(_) => ("SELECT sql FROM sqlite_schema WHERE name = 'orders'", 0),
    };
    String::from_utf8(place.query(sql)[0][column].clone().unwrap()).unwrap()
}

fn empty(place: &Place) -> &'static str {
    if matches!(place, Place::File(_)) { "DELETE FROM orders" } else { "TRUNCATE TABLE orders" }
}

#[test]
fn a_target_changed_since_is_refused_and_a_restart_begins_anew() {
    let orders = Orders::shared();
    for change in ["truncated", "recreated", "altered", "partly deleted"] {
        let folder = tempfile::tempdir().unwrap();
        for place in Place::all(folder.path()) {
            interrupted(orders, &place);
            let statement = match change {
                "truncated" => empty(&place).to_owned(),
                "recreated" => format!("DROP TABLE orders; {}", create_statement(&place)),
                "altered" => "ALTER TABLE orders ADD COLUMN seen INTEGER".to_owned(),
                _ => "DELETE FROM orders WHERE customer_id >= ''".to_owned(),
            };
            place.execute(&statement);
            let before = place.snapshot();
            let outcome = orders.engine(&place).run().expect(6);
            assert!(outcome.stderr.contains("since"), "{change}: {}", outcome.stderr);
            assert!(outcome.stderr.contains("--restart"), "{change}: {}", outcome.stderr);
            assert_eq!(before, place.snapshot(), "{change}: a refused run wrote something");
            let outcome = orders.engine(&place).args(&["--restart"]).run().expect(0);
            assert_eq!(outcome.number("/outcomes/written") + outcome.number("/outcomes/present"), orders.items);
            orders.assert_equal(&place);
        }
    }
}

#[test]
fn a_target_emptied_underway_is_not_complete() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let resumed = |place: &Place| {
            interrupted(orders, place);
            orders.engine(place).args(&["--readers", "1"])
        };
        // its only reader has claimed and not read yet: no transaction is open that the table could not be emptied beside
        let (place, running) = super::asleep_anew(&place, resumed, "unit-claimed:1");
        place.execute(empty(&place));
        running.signal("CONT");
        let outcome = running.wait(Duration::from_secs(120)).expect(6);
        assert_eq!(outcome.report["status"], "failed");
        assert!(outcome.stderr.contains("--restart"), "{}", outcome.stderr);
        // And it stays so.
        orders.engine(&place).run().expect(6);
        orders.engine(&place).args(&["--restart"]).run().expect(0);
        orders.assert_equal(&place);
    }
}

#[test]
fn another_export_or_another_mapping_under_the_same_name_is_refused() {
    let (orders, others) = (Orders::shared(), Orders::new(400, 2, 99));
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        interrupted(orders, &place);
        let before = place.snapshot();
        let outcome = others.engine(&place).run().expect(6);
        assert!(outcome.stderr.contains("another source"), "{}", outcome.stderr);
        let outcome = orders.engine(&place).args(&["--table", "elsewhere"]).run().expect(6);
        assert!(outcome.stderr.contains("another key or mapping"), "{}", outcome.stderr);
        let outcome = orders.engine(&place).args(&["--on-conflict", "replace"]).run().expect(6);
        assert!(outcome.stderr.contains("another --on-conflict"), "{}", outcome.stderr);
        assert_eq!(before, place.snapshot());
        // Rates and widths may change freely.
        let wide = ["--memory", "32MiB", "--writers", "2", "--readers", "1", "--workers", "1"];
        let folder = orders.folder();
        let from = folder.to_str().unwrap();
        let url = place.url();
        let mut engine = crate::support::engine::Engine::new(&["backfill", "--from", from, "--key", KEY, "--to", &url]);
        if let Place::Server(database) = &place {
            engine = engine.env("MYSQL_PWD", database.password());
        }
        orders.assert_complete(&place, engine.report().args(&wide).run());
    }
}
