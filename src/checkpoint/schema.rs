//! The control tables and the SQL that differs by dialect.

use super::tombstones;
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
    let dialect = session.dialect();
    for statement in tables(dialect).into_iter().chain(tombstones::tables(dialect)) {
        session.run(&statement).await?;
    }
    add_columns(session).await
}

/// Adds what the rejects of an earlier version do not have.
async fn add_columns(session: &mut Session) -> FaultResult<()> {
    let there = reject_columns(session).await?;
    for (column, definition) in later_columns(session.dialect()) {
        if there.iter().any(|name| name.eq_ignore_ascii_case(column)) {
            continue;
        }
        let added = session.run(&format!("ALTER TABLE _transvase_rejects ADD COLUMN {column} {definition}")).await;
        // Another process may have added it in the meantime.
        if added.is_err() && !reject_columns(session).await?.iter().any(|name| name.eq_ignore_ascii_case(column)) {
            return added;
        }
    }
    Ok(())
}

async fn reject_columns(session: &mut Session) -> FaultResult<Vec<String>> {
    let sql = match session.dialect() {
        Dialect::Sqlite => "SELECT name FROM pragma_table_info('_transvase_rejects')",
        Dialect::MySql | Dialect::MariaDb => {
            "SELECT column_name FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = '_transvase_rejects'"
        }
    };
    Ok(session.fetch(sql, &[]).await?.iter().filter_map(|row| row[0].text()).collect())
}

/// What became of a reject after its run, and the last retry that looked at it; who answers for it.
fn later_columns(dialect: Dialect) -> [(&'static str, String); 5] {
    let Types { name, long, int, .. } = types(dialect);
    [
        ("outcome", name.to_owned()),
        ("retry", format!("{int} NOT NULL DEFAULT 0")),
        ("signed_by", name.to_owned()),
        ("signed_why", long.to_owned()),
        ("signed_us", int.to_owned()),
    ]
}

/// How columns are spelled.
pub(super) struct Types {
    pub(super) name: &'static str,
    pub(super) long: &'static str,
    bytes: &'static str,
    pub(super) int: &'static str,
    pub(super) tail: &'static str,
}

pub(super) fn types(dialect: Dialect) -> Types {
    match dialect {
        Dialect::Sqlite => Types { name: "TEXT", long: "TEXT", bytes: "BLOB", int: "INTEGER", tail: " WITHOUT ROWID" },
        Dialect::MySql | Dialect::MariaDb => Types {
            name: "VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            long: "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            bytes: "LONGBLOB",
            int: "BIGINT",
            tail: " ENGINE=InnoDB",
        },
    }
}

fn tables(dialect: Dialect) -> Vec<String> {
    let Types { name, long, bytes, int, tail } = types(dialect);
    let later = later_columns(dialect).map(|(column, definition)| format!("{column} {definition}, ")).concat();
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
             target {name}, field {long}, reason {long} NOT NULL, item {bytes} NOT NULL, {later}\
             PRIMARY KEY (run, unit, position, part))"
        )),
        table(&format!(
            "_transvase_retries (run {name} NOT NULL, retry {int} NOT NULL, state {name} NOT NULL, settings {long} NOT NULL, \
             PRIMARY KEY (run, retry))"
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
