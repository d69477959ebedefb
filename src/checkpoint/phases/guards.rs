//! Guards: what puts the writers of one key in order, whether or not it has a row. A key's guard is one of a fixed number of rows,
//! made with the tables and never changed: to lock one locks no gap, and nothing grows. Two keys may share one, and wait for
//! each other.

use crate::checkpoint::run::{broken, int};
use crate::checkpoint::schema::{for_update, types};
use crate::driver::fault::FaultResult;
use crate::driver::session::Session;
use crate::model::dialect::Dialect;
use sha2::{Digest, Sha256};

/// How many there are: far more than writes that are in flight at once.
pub const GUARDS: u16 = 4096;

/// Rows in a statement.
const ROWS: u16 = 512;

pub(super) fn table(dialect: Dialect) -> String {
    let types = types(dialect);
    let (int, tail) = (types.int, types.tail);
    format!("CREATE TABLE IF NOT EXISTS _transvase_guards (guard {int} NOT NULL, PRIMARY KEY (guard)){tail}")
}

/// Makes those that are missing.
pub(super) async fn fill(session: &mut Session) -> FaultResult<()> {
    let there = session.fetch("SELECT COUNT(*) FROM _transvase_guards", &[]).await?;
    if there.first().and_then(|row| row[0].int()) == Some(i64::from(GUARDS)) {
        return Ok(());
    }
    let stays = match session.dialect() {
        Dialect::Sqlite => "ON CONFLICT DO NOTHING",
        Dialect::MySql | Dialect::MariaDb => {
            "ON DUPLICATE KEY UPDATE _transvase_guards.guard = _transvase_guards.guard"
        }
    };
    for first in (0..GUARDS).step_by(usize::from(ROWS)) {
        let rows: Vec<String> = (first..first + ROWS).map(|guard| format!("({guard})")).collect();
        session.run(&format!("INSERT INTO _transvase_guards (guard) VALUES {} {stays}", rows.join(","))).await?;
    }
    Ok(())
}

/// Locks the guard of a key of this migration until the session's transaction ends.
///
/// # Errors
/// The server's fault.
pub async fn lock(session: &mut Session, migration: &str, key: &str) -> FaultResult<()> {
    let lock = for_update(session.dialect());
    let sql = format!("SELECT guard FROM _transvase_guards WHERE guard = ?{lock}");
    let found = session.fetch(&sql, &[int(u32::from(of(migration, key)))]).await?;
    if found.is_empty() { Err(broken("a guard")) } else { Ok(()) }
}

/// The guard of a key.
fn of(migration: &str, key: &str) -> u16 {
    let digest = Sha256::new().chain_update(migration).chain_update([0]).chain_update(key).finalize();
    u16::from_be_bytes([digest[0], digest[1]]) % GUARDS
}
