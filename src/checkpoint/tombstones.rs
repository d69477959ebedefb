//! Tombstones: keys whose rows a live writer removed while a load of their table is not complete, so that a row which was
//! read before the removal cannot bring them back. And which tables are being loaded.
//!
//! The order that leaves no zombie, whoever comes first: the loader inserts its rows, then reads the tombstones of their
//! keys under a share lock, takes out what they name, commits. Who removes writes the tombstone, then removes the row, in one
//! transaction. Checking before the insert, or without the lock, or removing the row first, leaves zombies [measured].
//! A put by a live writer lifts its key's tombstone, after its row.
//!
//! A table's state is a row that each live transaction reads under a share lock: once a load has marked its tables, every
//! later removal leaves a tombstone; once it has marked them loaded, none is left any more.

use super::run::{Checkpoint, big, text};
use super::schema::{for_share, for_update, now_us, types};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Session, Statement};
use crate::error::Result;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;
use std::collections::HashSet;

/// Keys in a statement, but for one that is alone. Lists are filled up with their last key, so that a server prepares two statements.
const KEYS: usize = 250;

/// Tombstones purged by one transaction.
const PURGED_AT_ONCE: usize = 10_000;

/// The control tables of tombstones and of tables that are loaded.
pub(super) fn tables(dialect: Dialect) -> [String; 2] {
    let types = types(dialect);
    let (name, int, tail) = (types.name, types.int, types.tail);
    [
        format!(
            "CREATE TABLE IF NOT EXISTS _transvase_tombstones (target {name} NOT NULL, digest {name} NOT NULL, \
             at_us {int} NOT NULL, PRIMARY KEY (target, digest)){tail}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS _transvase_loads (target {name} NOT NULL, run {name} NOT NULL, \
             incarnation {int} NOT NULL, state {name} NOT NULL, at_us {int} NOT NULL, PRIMARY KEY (target)){tail}"
        ),
    ]
}

/// Whether the table has any tombstone. Waits for a transaction that is about to leave one; who leaves one later finds
/// the rows that are there already.
///
/// # Errors
/// The server's fault.
pub async fn any(session: &mut Session, table: &str) -> FaultResult<bool> {
    let lock = for_share(session.dialect());
    let sql = format!("SELECT 1 FROM _transvase_tombstones WHERE target = ? LIMIT 1{lock}");
    Ok(!session.fetch(&sql, &[text(table)]).await?.is_empty())
}

/// Which of the keys have a tombstone, under a share lock.
///
/// # Errors
/// The server's fault.
pub async fn named(session: &mut Session, table: &str, digests: &[String]) -> FaultResult<HashSet<String>> {
    let lock = for_share(session.dialect());
    let mut named = HashSet::new();
    for keys in digests.chunks(KEYS) {
        let (size, what) = (size_of(keys), "SELECT digest FROM _transvase_tombstones WHERE target = ? AND digest IN");
        let found = session.fetch(&format!("{what} ({}){lock}", marks(size)), &cells_of(table, keys, size)).await?;
        named.extend(found.iter().filter_map(|row| row[0].text()));
    }
    Ok(named)
}

/// Leaves tombstones, before the rows are removed; a key may have one already.
///
/// # Errors
/// The server's fault.
pub async fn leave(session: &mut Session, table: &str, digests: &[String]) -> FaultResult<()> {
    let now = now_us(session.dialect());
    let again = match session.dialect() {
        Dialect::Sqlite => "ON CONFLICT (target, digest) DO UPDATE SET at_us = excluded.at_us",
        Dialect::MySql | Dialect::MariaDb => "ON DUPLICATE KEY UPDATE at_us = VALUES(at_us)",
    };
    for keys in digests.chunks(KEYS) {
        let rows = vec![format!("(?, ?, {now})"); keys.len()].join(", ");
        let sql = format!("INSERT INTO _transvase_tombstones (target, digest, at_us) VALUES {rows} {again}");
        let cells = keys.iter().flat_map(|key| [text(table), text(key)]);
        session.execute(&Statement::new(sql), cells).await?;
    }
    Ok(())
}

/// Lifts the tombstones of keys that are written anew, after their rows.
///
/// # Errors
/// The server's fault.
pub async fn lift(session: &mut Session, table: &str, digests: &[String]) -> FaultResult<()> {
    for keys in digests.chunks(KEYS) {
        let size = size_of(keys);
        let sql = format!("DELETE FROM _transvase_tombstones WHERE target = ? AND digest IN ({})", marks(size));
        session.execute(&Statement::new(sql), cells_of(table, keys, size).into_iter()).await?;
    }
    Ok(())
}

/// Whether removals from any of these tables have to leave tombstones: a table is being loaded, or nothing has completed a
/// load of it yet. The state cannot change before the transaction ends.
///
/// # Errors
/// The server's fault.
pub async fn are_wanted(session: &mut Session, tables: &[String]) -> FaultResult<bool> {
    let lock = for_share(session.dialect());
    let sql = format!(
        "SELECT target FROM _transvase_loads WHERE state = 'loaded' AND target IN ({}){lock}",
        marks(tables.len())
    );
    let cells: Vec<CellRef<'_>> = tables.iter().map(|table| text(table)).collect();
    Ok(session.fetch(&sql, &cells).await?.len() < tables.len())
}

/// Whether all removals from the tables have left tombstones since the run began to load them: none of the tables was marked as
/// loaded, or taken over by another run. Stays so until the transaction ends.
///
/// # Errors
/// The server's fault.
pub async fn are_kept(session: &mut Session, tables: &[String], (run, incarnation): (&str, u64)) -> FaultResult<bool> {
    let lock = for_share(session.dialect());
    let sql = format!(
        "SELECT target FROM _transvase_loads WHERE run = ? AND incarnation = ? AND state = 'loading' AND target IN ({}){lock}",
        marks(tables.len())
    );
    let cells: Vec<CellRef<'_>> =
        [text(run), big(incarnation)].into_iter().chain(tables.iter().map(|table| text(table))).collect();
    Ok(session.fetch(&sql, &cells).await?.len() == tables.len())
}

impl Checkpoint {
    /// Marks the tables as being loaded by this run, before it reads anything: from here on removals leave tombstones. When
    /// that is new, tombstones of an earlier load go, but for those that were left at or after `since_us` (microseconds
    /// since 1970, by the database's clock): what this run reads is as old as that, and their keys may be in it.
    ///
    /// # Errors
    /// Of the database.
    pub async fn begin_load(&self, tables: &[String], since_us: Option<i64>) -> Result<()> {
        for table in tables {
            let context = (table.as_str(), self.run.as_str(), self.incarnation);
            let marked = self.retrying("marking a table", &context, |session, (table, run, incarnation)| {
                Box::pin(async move {
                    session.begin().await?;
                    let before_us = mark_new(session, table, run, *incarnation).await?;
                    session.commit().await?;
                    Ok(before_us)
                })
            });
            if let Some(before_us) = marked.await? {
                self.purge_tombstones(table, since_us.map_or(before_us, |since| since.min(before_us))).await?;
                self.mark(table, "loading").await?;
            }
        }
        Ok(())
    }

    /// Marks the tables as loaded: no removal leaves a tombstone any more, and those that there are go; not those of a table
    /// that another run has begun to load. May be done again at any time.
    ///
    /// # Errors
    /// Of the database.
    pub async fn end_load(&self, tables: &[String]) -> Result<()> {
        for table in tables {
            self.mark(table, "loaded").await?;
            self.purge_all(table).await?;
        }
        Ok(())
    }

    /// Says so of a table that this run loads; of another's it says nothing.
    async fn mark(&self, table: &str, state: &str) -> Result<()> {
        const SQL: &str = "UPDATE _transvase_loads SET state = ? WHERE target = ? AND run = ? AND incarnation = ?";
        let context = (table, state, self.run.as_str(), self.incarnation);
        self.retrying("marking a table", &context, |session, (table, state, run, incarnation)| {
            Box::pin(async move {
                let cells = [text(state), text(table), text(run), big(*incarnation)];
                session.execute(&Statement::new(SQL.to_owned()), cells.into_iter()).await.map(drop)
            })
        })
        .await
    }

    /// Purges all tombstones of a table while it is this run's: nobody can take it over before a transaction ends.
    async fn purge_all(&self, table: &str) -> Result<()> {
        loop {
            let context = (table, self.run.as_str(), self.incarnation);
            let purged = self.retrying("purging tombstones", &context, |session, (table, run, incarnation)| {
                Box::pin(async move {
                    session.begin().await?;
                    let lock = for_share(session.dialect());
                    let ours = format!(
                        "SELECT 1 FROM _transvase_loads WHERE target = ? AND run = ? AND incarnation = ?{lock}"
                    );
                    let is_ours = !session.fetch(&ours, &[text(table), text(run), big(*incarnation)]).await?.is_empty();
                    let purged = if is_ours { purge_some(session, table, i64::MAX).await? } else { 0 };
                    session.commit().await?;
                    Ok(purged)
                })
            });
            if purged.await? < PURGED_AT_ONCE as u64 {
                return Ok(());
            }
        }
    }

    /// In small transactions: a delete of millions of rows would hold up whoever leaves a tombstone.
    async fn purge_tombstones(&self, table: &str, before_us: i64) -> Result<()> {
        loop {
            let context = (table, before_us);
            let purged = self.retrying("purging tombstones", &context, |session, (table, before)| {
                Box::pin(purge_some(session, table, *before))
            });
            if purged.await? < PURGED_AT_ONCE as u64 {
                return Ok(());
            }
        }
    }
}

/// Deletes tombstones of a table that were left before a moment, where a server can [`PURGED_AT_ONCE`] at most. How many.
async fn purge_some(session: &mut Session, table: &str, before_us: i64) -> FaultResult<u64> {
    let some = match session.dialect() {
        Dialect::Sqlite => String::new(),
        Dialect::MySql | Dialect::MariaDb => format!(" LIMIT {PURGED_AT_ONCE}"),
    };
    let sql = format!("DELETE FROM _transvase_tombstones WHERE target = ? AND at_us < ?{some}");
    let cells = [text(table), CellRef::Int(before_us)];
    Ok(session.execute(&Statement::new(sql), cells.into_iter()).await?.affected)
}

/// Takes the table over for the run. Returns the moment, in microseconds since 1970 by the database's clock, before which
/// tombstones belong to earlier loads, if they have not been purged yet.
async fn mark_new(session: &mut Session, table: &str, run: &str, incarnation: u64) -> FaultResult<Option<i64>> {
    let (now, lock) = (now_us(session.dialect()), for_update(session.dialect()));
    let known = format!("SELECT run, incarnation, state, at_us FROM _transvase_loads WHERE target = ?{lock}");
    if let Some(row) = session.fetch(&known, &[text(table)]).await?.first()
        && row[0].text().as_deref() == Some(run)
        && row[1].int() == i64::try_from(incarnation).ok()
    {
        let is_purging = row[2].text().as_deref() == Some("purging");
        return Ok(row[3].int().filter(|_| is_purging));
    }
    let taken_over = match session.dialect() {
        Dialect::Sqlite => {
            "ON CONFLICT (target) DO UPDATE SET run = excluded.run, incarnation = excluded.incarnation, \
             state = excluded.state, at_us = excluded.at_us"
        }
        Dialect::MySql | Dialect::MariaDb => {
            "ON DUPLICATE KEY UPDATE run = VALUES(run), incarnation = VALUES(incarnation), state = VALUES(state), \
             at_us = VALUES(at_us)"
        }
    };
    let sql = format!(
        "INSERT INTO _transvase_loads (target, run, incarnation, state, at_us) VALUES (?, ?, ?, 'purging', {now}) {taken_over}"
    );
    let cells = [text(table), text(run), big(incarnation)];
    session.execute(&Statement::new(sql), cells.into_iter()).await?;
    let rows = session.fetch("SELECT at_us FROM _transvase_loads WHERE target = ?", &[text(table)]).await?;
    Ok(rows.first().and_then(|row| row[0].int()))
}

/// A list of so many parameters.
fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// How many keys the statement for these has.
fn size_of(keys: &[String]) -> usize {
    if keys.len() == 1 { 1 } else { KEYS }
}

/// The table and so many keys: the last one again until there are as many.
fn cells_of<'a>(table: &'a str, keys: &'a [String], size: usize) -> Vec<CellRef<'a>> {
    let last = keys.last().into_iter().cycle();
    std::iter::once(text(table)).chain(keys.iter().chain(last).take(size).map(|key| text(key))).collect()
}
