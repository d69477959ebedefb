//! The control tables and the SQL that differs by dialect.

use crate::driver::fault::FaultResult;
use crate::driver::session::Session;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;

/// A run's name and an owner's name fit here.
pub const MAX_NAME: usize = 64;

/// Creates the control tables where they are missing.
///
/// # Errors
/// The server's fault.
pub async fn create(session: &mut Session) -> FaultResult<()> {
    for statement in tables(session.dialect()) {
        session.run(&statement).await?;
    }
    Ok(())
}

fn tables(dialect: Dialect) -> Vec<String> {
    let (name, long, bytes, int, tail) = match dialect {
        Dialect::Sqlite => ("TEXT", "TEXT", "BLOB", "INTEGER", " WITHOUT ROWID"),
        Dialect::MySql | Dialect::MariaDb => (
            "VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "LONGBLOB",
            "BIGINT",
            " ENGINE=InnoDB",
        ),
    };
    let index = match dialect {
        Dialect::Sqlite => String::new(),
        Dialect::MySql | Dialect::MariaDb => ", INDEX claimable (run, state, place)".to_owned(),
    };
    let table = |body: &str| format!("CREATE TABLE IF NOT EXISTS {body}{tail}");
    vec![
        table(&format!(
            "_transvase_runs (run {name} NOT NULL, incarnation {int} NOT NULL, state {name} NOT NULL, \
             settings {long} NOT NULL, PRIMARY KEY (run))"
        )),
        table(&format!(
            "_transvase_units (run {name} NOT NULL, unit {int} NOT NULL, place {int} NOT NULL, name {long} NOT NULL, \
             items {int}, state {name} NOT NULL, owner {name}, watermark {int} NOT NULL, \
             reached {long}, counts {long} NOT NULL, PRIMARY KEY (run, unit){index})"
        )),
        table(&format!(
            "_transvase_fences (run {name} NOT NULL, unit {int} NOT NULL, epoch {int} NOT NULL, PRIMARY KEY (run, unit))"
        )),
        table(&format!(
            "_transvase_leases (owner {name} NOT NULL, run {name} NOT NULL, until_us {int} NOT NULL, PRIMARY KEY (owner))"
        )),
        table(&format!(
            "_transvase_ledger (run {name} NOT NULL, unit {int} NOT NULL, span_from {int} NOT NULL, \
             span_to {int} NOT NULL, at_us {int} NOT NULL, reached {long}, counts {long} NOT NULL, \
             PRIMARY KEY (run, unit, span_from))"
        )),
        table(&format!(
            "_transvase_rejects (run {name} NOT NULL, unit {int} NOT NULL, position {int} NOT NULL, part {int} NOT NULL, \
             target {name}, field {long}, reason {long} NOT NULL, item {bytes} NOT NULL, \
             PRIMARY KEY (run, unit, position, part))"
        )),
        table(&format!(
            "_transvase_spills (run {name} NOT NULL, spill {name} NOT NULL, facts {long} NOT NULL, spans {long} NOT NULL, \
             PRIMARY KEY (run, spill))"
        )),
        table(&format!(
            "_transvase_pieces (run {name} NOT NULL, unit {int} NOT NULL, target {int} NOT NULL, key_from {bytes}, \
             key_to {bytes}, PRIMARY KEY (run, unit))"
        )),
        // The key's digest stands for the key, whose bytes an index may not hold.
        table(&format!(
            "_transvase_differences (run {name} NOT NULL, target {int} NOT NULL, digest {name} NOT NULL, \
             key_cells {long} NOT NULL, kind {name} NOT NULL, unit {int}, position {int}, verdict {name} NOT NULL, \
             detail {long}, PRIMARY KEY (run, target, digest))"
        )),
    ]
}

/// Whether there is such a table.
///
/// # Errors
/// The server's fault.
pub async fn exists(session: &mut Session, table: &str) -> FaultResult<bool> {
    let sql = match session.dialect() {
        Dialect::Sqlite => "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
        Dialect::MySql | Dialect::MariaDb => {
            "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
        }
    };
    Ok(!session.fetch(sql, &[CellRef::Text(table.as_bytes())]).await?.is_empty())
}

/// Now, in microseconds since 1970, by the database's clock: no host's clock decides about a lease.
#[must_use]
pub fn now_us(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        Dialect::MySql | Dialect::MariaDb => "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
    }
}

/// Ends a query that locks the rows it returns against every writer. SQLite has locked the file already.
#[must_use]
pub fn for_update(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::MySql | Dialect::MariaDb => " FOR UPDATE",
    }
}

/// Ends a query that takes the first row nobody else is taking.
#[must_use]
pub fn skip_locked(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::MySql | Dialect::MariaDb => " FOR UPDATE SKIP LOCKED",
    }
}

/// Ends a query that lets others read but not change the rows it returns; both servers know this spelling.
#[must_use]
pub fn for_share(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::MySql | Dialect::MariaDb => " LOCK IN SHARE MODE",
    }
}
