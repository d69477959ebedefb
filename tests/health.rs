//! A target that bears the load badly is waited for: nothing is written meanwhile, the reason is said, and the run goes on.

use crate::generator::items::Shape;
use crate::roundtrip::{assert_holds, export, truth};
use crate::support::transvase::{Backfill, Target, sqlite, targets};
use std::path::Path;
use std::time::Duration;

const ITEMS: u64 = 60_000;
const KEY: [(&str, &str); 2] = [("customer_id", "S"), ("order_id", "S")];
const ARGS: [&str; 4] = ["--key", "customer_id:S,order_id:S", "--writers", "1"];

/// The rows there are, once they have stopped coming: what had begun when the writers were held is still finished.
async fn rows_at_rest(target: &Target) -> u64 {
    let mut before = None;
    loop {
        let now = target.number("SELECT COUNT(*) FROM orders").await;
        if before == Some(now) {
            return now;
        }
        before = Some(now);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
}

#[tokio::test]
async fn writers_wait_while_a_replica_lags_or_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 51, ITEMS, 3);
    let truth = truth(Shape::Orders, 51, ITEMS, &["customer_id", "order_id"]);
    let query = ["--max-replica-lag", "5", "--replica-lag-query", "SELECT seconds FROM behind"];
    for target in targets(folder.path()).await.into_iter().filter(|target| target.kind().is_some()) {
        target.execute("CREATE TABLE behind (seconds DOUBLE)").await;
        target.execute("INSERT INTO behind VALUES (12.5)").await;
        let mut running = Backfill::new(folder.path(), &from, &target, &[&ARGS[..], &query].concat()).start();
        assert!(running.waits_to_say("writers wait: MySQL replica lag 12.5 s"), "{target}");
        let rows = rows_at_rest(&target).await;
        assert_eq!(rows, 0, "{target}: it did not look before it wrote");
        target.execute("UPDATE behind SET seconds = NULL").await;
        assert_eq!(rows_at_rest(&target).await, rows, "{target}: a lag that nobody knows held nobody");
        assert!(running.is_running());
        target.execute("UPDATE behind SET seconds = 0.5").await;
        running.end().expect(0).counts([ITEMS, ITEMS, 0, 0, 0]);
        assert_holds(&target, "orders", &KEY, &truth, &target.to_string()).await;
    }
}

#[tokio::test]
async fn a_server_that_is_no_replica_and_one_that_is_busy_hold_the_writers() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 52, 3000, 2);
    for target in targets(folder.path()).await.into_iter().filter(|target| target.kind().is_some()) {
        let url = target.url();
        for (args, said) in [
            (&["--max-replica-lag", "5", "--replica", &url][..], "replica lag unknown"),
            (&["--max-threads-running", "0"], "more than 0"),
        ] {
            let args = [&ARGS[..], args].concat();
            let mut running = Backfill::new(folder.path(), &from, &target, &args).start();
            assert!(running.waits_to_say(said), "{target}: {said}");
        }
    }
}

#[test]
fn who_knows_the_lag_must_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new("nowhere");
    let target = sqlite(folder.path());
    let run = |args: &[&str]| Backfill::new(folder.path(), from, &target, &[&ARGS[..], args].concat()).run().expect(2);
    run(&["--max-replica-lag", "never"]);
    let from = export(folder.path(), Shape::Orders, 53, 10, 2);
    let run = |args: &[&str]| Backfill::new(folder.path(), &from, &target, &[&ARGS[..], args].concat()).run().expect(2);
    run(&["--max-replica-lag", "5"]).says(&["has no replicas"]);
    run(&["--max-threads-running", "5"]).says(&["no threads"]);
}
