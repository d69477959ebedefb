//! How many rows of an insert-if-absent were there already: sqlx always asks for found rows, so the count of affected
//! rows cannot tell. `LAST_INSERT_ID(expr)`, which comes back in the statement's own OK packet, can.

use super::{databases, number};
use crate::support::servers::execute;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;

/// Inserts `count` rows with keys from `first` on into table `t` and returns (affected rows, last insert id) as sqlx
/// reads them from the OK packet.
async fn keep(connection: &mut MySqlConnection, columns: &str, first: u32, count: u32) -> (u64, u64) {
    let width = columns.split(',').count();
    let row = format!("({})", vec!["?"; width].join(","));
    let rows = vec![row; usize::try_from(count).expect("small")].join(",");
    let counter = "IF(LAST_INSERT_ID(LAST_INSERT_ID() + 1) > 0, t.k, t.k)";
    let statement = format!("INSERT INTO t ({columns}) VALUES {rows} ON DUPLICATE KEY UPDATE k = {counter}");
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for key in first..first + count {
        for column in 0..width {
            query = query.bind(format!("{column}-{key}"));
        }
    }
    let done = query.execute(connection).await.expect("rows are taken");
    (done.rows_affected(), done.last_insert_id())
}

#[tokio::test]
async fn the_ok_packet_of_an_insert_counts_the_rows_already_present() {
    for database in databases().await {
        let mut connection = database.connect().await;
        for (key, columns) in [("k", "k, v"), ("k, s", "k, s, v")] {
            execute(&mut connection, "DROP TABLE IF EXISTS t").await;
            let table = "CREATE TABLE t (k VARBINARY(64), s VARBINARY(64) DEFAULT '', v VARCHAR(64), PRIMARY KEY";
            execute(&mut connection, &format!("{table} ({key})); DO LAST_INSERT_ID(0)")).await;
            assert_eq!(keep(&mut connection, columns, 0, 1000).await, (1000, 0), "none present");
            assert_eq!(keep(&mut connection, columns, 500, 1000).await, (1000, 500), "half present");
            // the counter belongs to the session: it goes on from where it was
            assert_eq!(keep(&mut connection, columns, 0, 1000).await, (1000, 1500), "all present");
            // a statement that meets no present row reports 0, and leaves the counter as it is
            assert_eq!(keep(&mut connection, columns, 9000, 10).await, (10, 0));
            assert_eq!(keep(&mut connection, columns, 9000, 1).await, (1, 1501));
            assert_eq!(number(&mut connection, "SELECT COUNT(*) FROM t").await, 1510);
        }
    }
}

#[tokio::test]
async fn the_fence_read_resets_the_counter_on_its_way() {
    for database in databases().await {
        let mut connection = database.connect().await;
        execute(&mut connection, "CREATE TABLE fence (name VARCHAR(9) PRIMARY KEY, epoch BIGINT NOT NULL)").await;
        execute(&mut connection, "INSERT INTO fence VALUES ('run', 7); DO LAST_INSERT_ID(77); BEGIN").await;
        let fence = "SELECT epoch, LAST_INSERT_ID(0) FROM fence WHERE name = 'run' LOCK IN SHARE MODE";
        assert_eq!(number(&mut connection, fence).await, 7);
        assert_eq!(number(&mut connection, "SELECT CAST(LAST_INSERT_ID() AS SIGNED)").await, 0);
    }
}

#[tokio::test]
async fn a_failed_statement_leaves_the_counter_advanced() {
    for database in databases().await {
        let mut connection = database.connect().await;
        execute(&mut connection, "CREATE TABLE t (k VARBINARY(64) PRIMARY KEY, v VARCHAR(3))").await;
        execute(&mut connection, "SET sql_mode = 'STRICT_ALL_TABLES'; INSERT INTO t VALUES ('a', ''), ('b', '')").await;
        execute(&mut connection, "DO LAST_INSERT_ID(0)").await;
        let statement = "INSERT INTO t VALUES ('a', ''), ('b', ''), ('c', 'long') \
                         ON DUPLICATE KEY UPDATE k = IF(LAST_INSERT_ID(LAST_INSERT_ID() + 1) > 0, t.k, t.k)";
        assert_eq!(super::attempt(&mut connection, statement).await, Err(1406));
        assert_eq!(number(&mut connection, "SELECT CAST(LAST_INSERT_ID() AS SIGNED)").await, 2);
    }
}

#[tokio::test]
async fn a_generated_id_spoils_the_counter() {
    for database in databases().await {
        let mut connection = database.connect().await;
        execute(
            &mut connection,
            "CREATE TABLE t (k VARBINARY(64) PRIMARY KEY, v VARCHAR(64), id INT AUTO_INCREMENT, KEY (id))",
        )
        .await;
        execute(&mut connection, "DO LAST_INSERT_ID(0)").await;
        assert_eq!(keep(&mut connection, "k, v", 0, 1000).await, (1000, 1), "the first generated id, not the count");
        let half = keep(&mut connection, "k, v", 500, 1000).await.1;
        assert_ne!(half, 500, "if this ever counts, tables with AUTO_INCREMENT can be taken without a user variable");
    }
}

#[tokio::test]
async fn a_user_variable_counts_where_ids_are_generated() {
    for database in databases().await {
        let mut connection = database.connect().await;
        execute(&mut connection, "CREATE TABLE t (k VARBINARY(64) PRIMARY KEY, id INT AUTO_INCREMENT, KEY (id))").await;
        execute(&mut connection, "INSERT INTO t (k) VALUES ('a'), ('b'); SET @present = 0").await;
        let statement = "INSERT INTO t (k) VALUES (?), (?), (?) \
                         ON DUPLICATE KEY UPDATE k = IF((@present := @present + 1) > 0, t.k, t.k)";
        let done = sqlx::query(statement).bind("a").bind("b").bind("c").execute(&mut connection).await;
        done.expect("rows are taken");
        assert_eq!(number(&mut connection, "SELECT CAST(@present AS SIGNED)").await, 2);
    }
}
