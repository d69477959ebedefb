//! Others write to the target tables: locks held for long, deadlocks.

use super::seeded;
use crate::support::orders::{Orders, Place, block_on};
use crate::support::servers::{BOTH, Database, execute, shared};
use sqlx::AssertSqlSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// Creates the table as the engine says it is to be.
fn create_table(orders: &Orders, place: &Place) {
    let url = place.url();
    let Place::Server(database) = place else { panic!("a server") };
    let engine = crate::support::engine::Engine::new(&[
        "schema",
        "--key",
        crate::support::orders::KEY,
        "--table",
        "orders",
        "--to",
        &url,
    ]);
    let outcome = engine.env("MYSQL_PWD", database.password()).run().expect(0);
    place.execute(&outcome.stdout);
    assert!(orders.items > 0);
}

fn insert(keys: &[&(String, String)]) -> String {
    let rows: Vec<String> = keys.iter().map(|(c, o)| format!("('{c}', '{o}', '{{}}')")).collect();
    format!("INSERT INTO orders (customer_id, order_id, item) VALUES {}", rows.join(","))
}

#[test]
fn rows_locked_by_another_session_are_waited_for() {
    let orders = Orders::shared();
    for place in Place::servers() {
        create_table(orders, &place);
        let Place::Server(database) = &place else { continue };
        let keys: Vec<_> = orders.keys().step_by(997).collect();
        let outcome = block_on(async {
            let mut holder = database.connect().await;
            execute(&mut holder, &format!("START TRANSACTION; {}", insert(&keys))).await;
            // Half of it is the server's lock wait: it times out while the locks are held.
            let engine = orders.engine(&place).args(&["--answer-seconds", "10"]).env("TRANSVASE_LOG", "info");
            let mut running = engine.spawn();
            // who gave up waiting begins the transaction again
            running.wait_to_say("transaction done again");
            assert!(!running.has_ended(), "it did not wait: {}", running.said());
            execute(&mut holder, "ROLLBACK").await;
            running.wait(LIMIT)
        });
        let outcome = orders.assert_complete(&place, outcome);
        assert!(outcome.number("/process/retries") > 0, "{}", outcome.report);
    }
}

/// Inserts random keys in random order, holds them a moment, and takes them back, until told to stop.
fn quarrel(database: &Database, orders: &Orders, seed: u64, stop: &AtomicBool, deadlocks: &AtomicU64) {
    let all: Vec<_> = orders.keys().collect();
    let rng = &mut crate::generator::rng::Rng::new(seed, 0);
    block_on(async {
        let mut connection = database.connect().await;
        execute(&mut connection, "SET SESSION innodb_lock_wait_timeout = 1").await;
        while !stop.load(Ordering::Relaxed) {
            execute(&mut connection, "START TRANSACTION").await;
            for _ in 0..8 {
                let text = insert(&[all[rng.index(all.len())]]);
                let done = sqlx::query(AssertSqlSafe(text)).execute(&mut connection).await;
                if let Err(sqlx::Error::Database(error)) = done
                    && error.message().contains("eadlock")
                {
                    deadlocks.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            execute(&mut connection, "ROLLBACK").await;
        }
    });
}

#[test]
fn deadlocks_with_other_writers_cost_nothing() {
    let orders = Orders::shared();
    let mut seeds = seeded("deadlocks");
    for kind in BOTH {
        // Whether two meet is chance, less of it on a busy machine: as often as it takes.
        let quarrelled = (0..20).any(|_| quarrels(orders, &Place::on(shared(kind)), seeds.next()));
        assert!(quarrelled, "nobody ever quarrelled on {kind:?}");
    }
}

/// Whether a backfill among others who write to its table met any deadlock, or any of them did; all rows are there.
fn quarrels(orders: &Orders, place: &Place, seed: u64) -> bool {
    create_table(orders, place);
    let Place::Server(database) = place else { panic!("a server") };
    let (stop, deadlocks) = (AtomicBool::new(false), AtomicU64::new(0));
    let outcome = thread::scope(|scope| {
        for index in 0..4 {
            let (stop, deadlocks) = (&stop, &deadlocks);
            scope.spawn(move || quarrel(database, orders, seed + index, stop, deadlocks));
        }
        let running = orders.engine(place).spawn();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.wait(LIMIT)));
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    let outcome = orders.assert_complete(place, outcome.unwrap());
    let (theirs, ours) = (deadlocks.load(Ordering::Relaxed), outcome.number("/process/retries"));
    println!("{:?}: {theirs} deadlocks of the others, {ours} transactions of ours done again", database.kind);
    theirs + ours > 0
}
