//! What tells that a table is no longer the table it was, and to whom.

use super::{attempt, databases, number};
use crate::support::servers::{Database, Kind, execute, shared};
use sqlx::mysql::MySqlConnection;
use std::time::Duration;

/// What can be read of table `t`: creation time and definition by anyone, its id in InnoDB with the PROCESS privilege.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    created: i64,
    definition: String,
    id: i64,
}

async fn identity(plain: &mut MySqlConnection, admin: &mut MySqlConnection, database: &Database) -> Identity {
    let created = "SELECT UNIX_TIMESTAMP(CREATE_TIME) FROM information_schema.TABLES \
                   WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't'";
    let (_, definition): (String, String) =
        sqlx::query_as("SHOW CREATE TABLE t").fetch_one(&mut *plain).await.expect("t is there");
    let id =
        format!("SELECT CAST(TABLE_ID AS SIGNED) FROM {} WHERE NAME = '{}/t'", innodb_tables(database), database.name);
    Identity { created: number(plain, created).await, definition, id: number(admin, &id).await }
}

fn innodb_tables(database: &Database) -> &'static str {
    match database.kind {
        Kind::MySql => "information_schema.INNODB_TABLES",
        Kind::MariaDb => "information_schema.INNODB_SYS_TABLES",
    }
}

#[tokio::test]
async fn a_plain_user_may_not_read_table_ids() {
    for database in databases().await {
        let mut connection = database.connect().await;
        let query = format!("SELECT TABLE_ID FROM {}", innodb_tables(&database));
        assert_eq!(attempt(&mut connection, &query).await, Err(1227));
    }
}

#[tokio::test]
async fn only_the_table_id_tells_of_a_truncation() {
    for database in databases().await {
        let (mut plain, mut admin) = (database.connect().await, shared(database.kind).admin().await);
        execute(&mut plain, "CREATE TABLE t (k VARBINARY(9) PRIMARY KEY, v INT); INSERT INTO t VALUES ('a', 1)").await;
        let before = identity(&mut plain, &mut admin, &database).await;
        // the creation time is in whole seconds
        tokio::time::sleep(Duration::from_millis(1100)).await;
        execute(&mut plain, "TRUNCATE TABLE t").await;
        let after = identity(&mut plain, &mut admin, &database).await;
        assert_ne!(before.id, after.id);
        assert_eq!((before.created, before.definition), (after.created, after.definition));
    }
}

#[tokio::test]
async fn creation_time_tells_of_a_recreated_table() {
    for database in databases().await {
        let (mut plain, mut admin) = (database.connect().await, shared(database.kind).admin().await);
        let create = "CREATE TABLE t (k VARBINARY(9) PRIMARY KEY, v INT)";
        execute(&mut plain, create).await;
        let before = identity(&mut plain, &mut admin, &database).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        execute(&mut plain, &format!("DROP TABLE t; {create}")).await;
        let after = identity(&mut plain, &mut admin, &database).await;
        assert!(before.id != after.id && before.created != after.created, "{before:?} {after:?}");
        assert_eq!(before.definition, after.definition);
    }
}

#[tokio::test]
async fn the_definition_tells_of_an_altered_table_that_keeps_its_id() {
    for database in databases().await {
        let (mut plain, mut admin) = (database.connect().await, shared(database.kind).admin().await);
        execute(&mut plain, "CREATE TABLE t (k VARBINARY(9) PRIMARY KEY, v VARCHAR(9))").await;
        let before = identity(&mut plain, &mut admin, &database).await;
        execute(&mut plain, "ALTER TABLE t MODIFY v VARCHAR(19)").await;
        let after = identity(&mut plain, &mut admin, &database).await;
        assert_eq!(before.id, after.id);
        assert_ne!(before.definition, after.definition);
    }
}
