//! A server that takes no writes for a while rejects nothing: the run pauses, says why, and goes on once it is mended.

use crate::generator::items::Shape;
use crate::roundtrip::{assert_holds, export, truth};
use crate::support::servers::{BOTH, Database, Kind, Server, ServerOptions, execute};
use crate::support::transvase::{Backfill, Ended, Target};
use sqlx::mysql::MySqlConnection;
use std::path::Path;
use std::time::Duration;

/// Pages enough that some are left when the first is written.
const ITEMS: u64 = 9000;
const KEY: [(&str, &str); 2] = [("customer_id", "S"), ("order_id", "S")];

/// How long the server stays as it is: long enough for the heartbeat and every writer to meet it.
const PAUSE: Duration = Duration::from_secs(2);

/// One writer, and a lease whose heartbeat falls into the pause.
const ARGS: [&str; 6] = ["--key", "customer_id:S,order_id:S", "--writers", "1", "--lease-seconds", "3"];

/// Breaks the server under a run that has written a page, mends it after the pause, and sees the run to its end.
async fn broken_and_mended(
    folder: &Path,
    target: &Target,
    admin: &mut MySqlConnection,
    [fault, mend]: [&str; 2],
) -> Ended {
    let from = folder.join(format!("{:?}-41-{ITEMS}", Shape::Orders)).join("AWSDynamoDB");
    let from = std::fs::read_dir(from).unwrap().next().unwrap().unwrap().path();
    let mut running = Backfill::new(folder, &from, target, &ARGS).env("TRANSVASE_STOP_AT", "committed:1").start();
    running.waits_to_sleep();
    execute(admin, fault).await;
    running.wake();
    assert!(running.waits_to_say("paused, the target cannot take writes"), "it ended without a pause");
    let rows = target.number("SELECT COUNT(*) FROM orders").await;
    tokio::time::sleep(PAUSE).await;
    assert!(running.is_running(), "it did not wait");
    assert_eq!(target.number("SELECT COUNT(*) FROM orders").await, rows, "it wrote although it could not");
    assert!(0 < rows && rows < ITEMS);
    execute(admin, mend).await;
    running.end()
}

async fn assert_whole(target: &Target, ended: Ended) {
    let ended = ended.expect(0);
    ended.counts([ITEMS, ITEMS, 0, 0, 0]);
    assert_eq!(ended.said.matches("cannot take writes").count(), 1, "{}", ended.said);
    assert!(ended.rejects.is_empty());
    let truth = truth(Shape::Orders, 41, ITEMS, &["customer_id", "order_id"]);
    assert_holds(target, "orders", &KEY, &truth, &target.to_string()).await;
}

#[tokio::test]
async fn a_read_only_server_pauses_the_run_and_rejects_nothing() {
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), Shape::Orders, 41, ITEMS, 3);
    for kind in BOTH {
        let server = Server::start(kind, &ServerOptions::default());
        let target = Target::server(server.database().await);
        let set = if kind == Kind::MySql { "super_read_only" } else { "read_only" };
        let (on, off) = (format!("SET GLOBAL {set} = 1"), "SET GLOBAL read_only = 0");
        let mut admin = server.admin().await;
        let ended = broken_and_mended(folder.path(), &target, &mut admin, [&on, off]).await;
        assert!(ended.said.contains("read"), "{}", ended.said);
        assert_whole(&target, ended).await;
    }
}

#[tokio::test]
async fn a_lost_privilege_pauses_the_run_and_rejects_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 41, ITEMS, 3);
    assert!(from.exists());
    for kind in BOTH {
        let server = Server::start(kind, &ServerOptions::default());
        let database = server.database().await;
        let mut admin = server.admin().await;
        let grants = insert_by_table(&mut admin, &database).await;
        let target = Target::server(database);
        let revoke = grants.replace("GRANT CREATE, INSERT", "REVOKE INSERT").replace(" TO ", " FROM ");
        let ended = broken_and_mended(folder.path(), &target, &mut admin, [&revoke, &grants]).await;
        ended.says(&["INSERT command denied"]);
        assert_whole(&target, ended).await;
    }
}

/// Gives the user INSERT table by table, as only such a privilege can be taken from sessions that are open; returns the
/// grant of the data table.
async fn insert_by_table(admin: &mut MySqlConnection, database: &Database) -> String {
    let name = &database.name;
    execute(admin, "REVOKE ALL PRIVILEGES ON `test\\_%`.* FROM transvase@'%'").await;
    let most = "SELECT, UPDATE, DELETE, CREATE, INDEX, ALTER";
    execute(admin, &format!("GRANT {most} ON {name}.* TO transvase@'%'")).await;
    let grant = |table: &str| format!("GRANT CREATE, INSERT ON {name}.{table} TO transvase@'%'");
    for table in ["runs", "units", "fences", "leases", "ledger", "rejects", "spills", "pieces", "loads"] {
        execute(admin, &grant(&format!("_transvase_{table}"))).await;
    }
    execute(admin, &grant("orders")).await;
    grant("orders")
}
