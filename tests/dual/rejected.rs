//! What a backfill amid dual writes has rejected is tried again: nothing comes back that was removed meanwhile.

use super::{application, key, order, runtime};
use crate::phases::{begun, put};
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{KEY, Place};
use serde_json::Value;
use transvase::dual::stores::Rows;

/// Runs the engine beside the table, on the place.
fn run(server: &DynamoServer, place: &Place, args: &[&str]) -> Outcome {
    let engine = AWS_ENVIRONMENT.into_iter().fold(Engine::new(args), |engine, (name, value)| engine.env(name, value));
    let engine = if args[0] == "backfill" { engine.args(&["--endpoint-url", &server.url()]) } else { engine };
    match place {
        Place::Server(database) => engine.env("MYSQL_PWD", database.password()).report().run(),
        Place::File(_) => engine.report().run(),
    }
}

/// Makes the table of orders, which is empty, refuse two of them; what makes it take them again.
fn refusing(place: &Place) -> String {
    if matches!(place, Place::Server(_)) {
        place.execute("ALTER TABLE orders ADD CONSTRAINT two CHECK (customer_id NOT IN ('c-1', 'c-2'))");
        return "ALTER TABLE orders DROP CONSTRAINT two".to_owned();
    }
    let taking = place.query("SELECT sql FROM sqlite_schema WHERE name = 'orders'")[0][0].clone().unwrap();
    let taking = String::from_utf8(taking).unwrap();
    let check = "CHECK (CAST(customer_id AS TEXT) NOT IN ('c-1', 'c-2')), PRIMARY KEY";
    place.execute(&format!("DROP TABLE orders; {}", taking.replacen("PRIMARY KEY", check, 1)));
    let kept = "CREATE TABLE kept AS SELECT * FROM orders; DROP TABLE orders";
    format!("{kept}; {taking}; INSERT INTO orders SELECT * FROM kept; DROP TABLE kept")
}

#[test]
fn what_was_removed_since_it_was_rejected_stays_removed() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for place in Place::all(folder.path()) {
        let server = DynamoServer::start();
        server.create("orders", KEY);
        server.load("orders", (0..4).map(|number| Value::Object(order(number, 1))));
        let phases = begun(&place);
        put(&phases, 2);
        let (shop, _, rows) = runtime.block_on(application(&server, &place, "shop"));
        // it is registered by then
        runtime.block_on(shop.get(&order(0, 1))).unwrap();
        let long_ago = "UPDATE _transvase_phase_history SET at_us = 1; UPDATE _transvase_writers SET since_us = 1";
        place.execute(long_ago);
        let taking = refusing(&place);
        let url = place.url();
        let backfill = [
            "backfill",
            "--from",
            "dynamodb://orders",
            "--to",
            &url,
            "--read-capacity",
            "unlimited",
            "--max-rejects",
            "2",
        ];
        let copied = run(&server, &place, &backfill).expect(3);
        assert_eq!(
            (copied.number("/outcomes/written"), copied.number("/outcomes/rejected")),
            (2, 2),
            "{}",
            copied.report
        );
        place.execute(&taking);
        // the copy is complete, and what is removed from now on has to be known as well as what was before
        assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_loads WHERE state = 'loading'"), 1);
        runtime.block_on(shop.delete(&order(1, 0))).unwrap();
        let retry = ["rejects", "retry", "--on", &url, "--key", KEY];
        // a copy that dual writes do not cover, and one whose tombstones went since
        for (forgotten, known) in [
            ("UPDATE _transvase_phase_history SET at_us = 8000000000000000", long_ago),
            ("UPDATE _transvase_loads SET state = 'loaded'", "UPDATE _transvase_loads SET state = 'loading'"),
        ] {
            place.execute(forgotten);
            let refused = run(&server, &place, &retry).expect(6).stderr;
            assert!(refused.contains("could come back"), "{refused}");
            place.execute(known);
        }
        let retried = run(&server, &place, &retry).expect(0);
        let states = ["/written", "/present", "/tombstoned", "/skipped", "/signed_off", "/open"];
        assert_eq!(states.map(|state| retried.number(state)), [1, 0, 1, 0, 0, 0], "{}", retried.report);
        for number in 0..4 {
            let there = runtime.block_on(rows.row(&key(&order(number, 0)))).unwrap();
            assert_eq!(there, (number != 1).then(|| order(number, 1)), "order {number}");
        }
    }
}
