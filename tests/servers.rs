//! Facts about MySQL and MariaDB that the engine leans on, checked on the real servers.
//!
//! Each of them once surprised somebody. When a new server version changes one, the test here fails before a user's
//! data does. Nothing of the engine is used.

mod collations;
mod counting;
mod identity;
mod lifetime;
mod locks;

use crate::support::servers::{BOTH, Database, Kind, shared};
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;

/// A fresh database on the shared server of each kind.
async fn databases() -> Vec<Database> {
    let mut databases = Vec::new();
    for kind in BOTH {
        databases.push(shared(kind).database().await);
    }
    databases
}

/// One value from one row.
async fn number(connection: &mut MySqlConnection, query: &str) -> i64 {
    let value = sqlx::query_scalar(AssertSqlSafe(query.to_string())).fetch_one(connection).await;
    value.unwrap_or_else(|error| panic!("{error}\nin: {query}"))
}

/// The server's error number when the statement fails (0: not the server's error), or the rows that it affected.
async fn attempt(connection: &mut MySqlConnection, statement: &str) -> Result<u64, u16> {
    match sqlx::query(AssertSqlSafe(statement.to_string())).execute(connection).await {
        Ok(done) => Ok(done.rows_affected()),
        Err(error) => Err(error_number(&error)),
    }
}

fn error_number(error: &sqlx::Error) -> u16 {
    let error = error.as_database_error();
    error
        .and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>())
        .map_or(0, |error| error.number())
}

#[tokio::test]
async fn each_server_is_what_it_is_taken_for() {
    for database in databases().await {
        let mut connection = database.connect().await;
        let version: String =
            sqlx::query_scalar("SELECT version()").fetch_one(&mut connection).await.expect("it tells");
        assert_eq!(version.contains("MariaDB"), database.kind == Kind::MariaDb, "{version}");
        let major: u32 = version.split('.').next().and_then(|n| n.parse().ok()).expect("a version");
        assert!(major >= if database.kind == Kind::MySql { 9 } else { 10 }, "{version}");
    }
}
