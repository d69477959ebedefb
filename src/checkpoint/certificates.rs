//! Registered certificates: what each said when it was issued, so that a file that was altered later cannot simply be
//! hashed anew. They lie in the target, beside the rows that they speak of.

use super::run::text;
use super::schema::{exists, now_us};
use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::session::{Session, Statement};
use crate::model::dialect::Dialect;

/// A certificate as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The fingerprint it had.
    pub fingerprint: String,
    /// When, in microseconds since 1970 by the database's clock.
    pub at_us: i64,
    /// What it said.
    pub body: String,
}

fn create(dialect: Dialect) -> String {
    let (name, long, int, tail) = match dialect {
        Dialect::Sqlite => ("TEXT", "TEXT", "INTEGER", " WITHOUT ROWID"),
        Dialect::MySql | Dialect::MariaDb => (
            "VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "BIGINT",
            " ENGINE=InnoDB",
        ),
    };
    format!(
        "CREATE TABLE IF NOT EXISTS _transvase_certificates (id {name} NOT NULL, fingerprint {name} NOT NULL, \
         at_us {int} NOT NULL, body {long} NOT NULL, PRIMARY KEY (id)){tail}"
    )
}

/// Registers a certificate; makes the table where it is missing. Twice is once.
///
/// # Errors
/// The server's fault: a user that may not write there has one.
pub async fn register(session: &mut Session, id: &str, fingerprint: &str, body: &str) -> FaultResult<()> {
    let dialect = session.dialect();
    if !exists(session, "_transvase_certificates").await? {
        session.run(&create(dialect)).await?;
    }
    let sql = Statement::new(format!(
        "INSERT INTO _transvase_certificates (id, fingerprint, at_us, body) VALUES (?, ?, {}, ?)",
        now_us(dialect)
    ));
    match session.execute(&sql, [text(id), text(fingerprint), text(body)].into_iter()).await {
        Err(fault) if fault.kind == FaultKind::Duplicate => Ok(()),
        other => other.map(drop),
    }
}

/// The certificate registered under `id`; none when there is none, nor a table of them.
///
/// # Errors
/// The server's fault.
pub async fn find(session: &mut Session, id: &str) -> FaultResult<Option<Registered>> {
    if !exists(session, "_transvase_certificates").await? {
        return Ok(None);
    }
    let sql = "SELECT fingerprint, at_us, body FROM _transvase_certificates WHERE id = ?";
    let rows = session.fetch(sql, &[text(id)]).await?;
    let found = rows.first().map(|row| Registered {
        fingerprint: row[0].text().unwrap_or_default(),
        at_us: row[1].int().unwrap_or(0),
        body: row[2].text().unwrap_or_default(),
    });
    Ok(found)
}

/// Now by the database's clock, in microseconds since 1970.
///
/// # Errors
/// The server's fault.
pub async fn now(session: &mut Session) -> FaultResult<i64> {
    let rows = session.fetch(&format!("SELECT {}", now_us(session.dialect())), &[]).await?;
    let broken = || Fault::new(FaultKind::Other, "clock", "the database does not tell the time");
    rows.first().and_then(|row| row[0].int()).ok_or_else(broken)
}
