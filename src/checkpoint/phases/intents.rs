//! Writes that one of the two stores may lack: each is on record before the first store is written, and off it when both hold the
//! same. So what a writer left behind that died, or does not know what became of its write, is a row that somebody mends.
//!
//! The store that is the truth does not change while a row is here ([`transit`](super::Phases::transit) asks in the transaction
//! that would change it), so nobody who mends has to ask in which direction. Where a step begins that writes to one store only,
//! nothing is to be mended any more, and all rows go.

use super::Phases;
use crate::checkpoint::ledger::number;
use crate::checkpoint::run::{big, broken, text};
use crate::checkpoint::schema::{exists, now_us, types};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;
use std::time::Duration;

/// A row of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its number; no other has it, of any writer.
    pub id: u64,
    /// The item's key, as the writer spells it.
    pub key: String,
    /// How often it was taken up.
    pub attempt: u64,
}

pub(super) fn table(dialect: Dialect) -> String {
    let types = types(dialect);
    let (name, long, int, tail) = (types.name, types.long, types.int, types.tail);
    format!(
        "CREATE TABLE IF NOT EXISTS _transvase_intents (migration {name} NOT NULL, id {int} NOT NULL, key_text {long} NOT NULL, \
         attempt {int} NOT NULL, at_us {int} NOT NULL, PRIMARY KEY (migration, id)){tail}"
    )
}

impl Phases {
    /// How many writes are on record; none when no writer can have put one there.
    ///
    /// # Errors
    /// Of the database.
    pub async fn unsettled(&self) -> Result<Option<u64>> {
        self.base
            .retrying("counting the writes on record", self.migration(), |session, name| {
                Box::pin(async move {
                    let there = exists(session, "_transvase_intents").await?;
                    if there { count(session, name).await.map(Some) } else { Ok(None) }
                })
            })
            .await
    }

    /// At most `most` rows that are older than `age`, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn ripe(&self, age: Duration, most: usize) -> Result<Vec<Open>> {
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let context = (self.migration(), age, most as u64);
        self.base
            .retrying("reading the writes on record", &context, |session, (name, age, most)| {
                Box::pin(async move {
                    let now = now_us(session.dialect());
                    let sql = format!(
                        "SELECT id, key_text, attempt FROM _transvase_intents WHERE migration = ? AND at_us <= {now} - ? \
                         ORDER BY at_us, id LIMIT ?"
                    );
                    let rows = session.fetch(&sql, &[text(name), big(*age), big(*most)]).await?;
                    rows.iter().map(|row| open(row)).collect()
                })
            })
            .await
    }

    /// Takes a row up as it was read, and makes it as young as a new one; whether nobody else has meanwhile.
    ///
    /// # Errors
    /// Of the database.
    pub async fn take_up(&self, row: &Open) -> Result<bool> {
        self.base
            .retrying("taking up a write on record", &(self.migration(), row), |session, (name, row)| {
                Box::pin(async move {
                    let sql = Statement::new(format!(
                        "UPDATE _transvase_intents SET attempt = attempt + 1, at_us = {} \
                         WHERE migration = ? AND id = ? AND attempt = ?",
                        now_us(session.dialect())
                    ));
                    let cells = [text(name), id(row.id), big(row.attempt)];
                    Ok(session.execute(&sql, cells.into_iter()).await?.affected == 1)
                })
            })
            .await
    }
}

/// Puts a row on record, as of now.
///
/// # Errors
/// The server's fault.
pub async fn record(session: &mut Session, migration: &str, row: &Open) -> FaultResult<()> {
    let sql = Statement::new(format!(
        "INSERT INTO _transvase_intents (migration, id, key_text, attempt, at_us) VALUES (?, ?, ?, ?, {})",
        now_us(session.dialect())
    ));
    let cells = [text(migration), id(row.id), text(&row.key), big(row.attempt)];
    session.execute(&sql, cells.into_iter()).await.map(drop)
}

/// Takes a row off the record; it may be gone.
///
/// # Errors
/// The server's fault.
pub async fn clear(session: &mut Session, migration: &str, number: u64) -> FaultResult<()> {
    const SQL: &str = "DELETE FROM _transvase_intents WHERE migration = ? AND id = ?";
    let cells = [text(migration), id(number)];
    session.execute(&Statement::new(SQL.to_owned()), cells.into_iter()).await.map(drop)
}

/// Whether a write of this key is on record.
///
/// # Errors
/// The server's fault.
pub async fn is_open(session: &mut Session, migration: &str, key: &str) -> FaultResult<bool> {
    // by reading them all: there are as many as writes are in flight
    const SQL: &str = "SELECT 1 FROM _transvase_intents WHERE migration = ? AND key_text = ? LIMIT 1";
    Ok(!session.fetch(SQL, &[text(migration), text(key)]).await?.is_empty())
}

/// Takes all rows off the record.
pub(super) async fn forget(session: &mut Session, migration: &str) -> FaultResult<()> {
    const SQL: &str = "DELETE FROM _transvase_intents WHERE migration = ?";
    session.execute(&Statement::new(SQL.to_owned()), [text(migration)].into_iter()).await.map(drop)
}

/// How many are on record, as last committed.
pub(super) async fn count(session: &mut Session, migration: &str) -> FaultResult<u64> {
    const SQL: &str = "SELECT COUNT(*) FROM _transvase_intents WHERE migration = ?";
    let rows = session.fetch(SQL, &[text(migration)]).await?;
    rows.first().map_or_else(|| Err(broken("a count")), |row| number(&row[0]))
}

/// All 64 bits of a number, in a column that has a sign.
fn id(number: u64) -> CellRef<'static> {
    CellRef::Int(number.cast_signed())
}

fn open(row: &[Fetched]) -> FaultResult<Open> {
    Ok(Open {
        id: row[0].int().ok_or_else(|| broken("a number"))?.cast_unsigned(),
        key: row[1].text().unwrap_or_default(),
        attempt: number(&row[2])?,
    })
}
