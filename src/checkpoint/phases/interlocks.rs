//! The interlock table of another tool, kept in step with ours: off unless a migration was told of one.
//!
//! Promises: what our lock and our barrier are is written there in the transaction that makes them so; a row that is not ours is
//! never overwritten, it refuses the transition. The table is taken as it is: which spelling it has is asked of its columns, and
//! one with neither is refused. Must not know: what the other tool does with it.

use super::lock::held;
use super::{Phases, prove, read};
use crate::checkpoint::run::text;
use crate::checkpoint::schema::{for_update, types};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Session, Statement};
use crate::error::{Error, Result};
use crate::mapping::ddl::quote;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;
use crate::phase::plan::Interlock;
use crate::phase::plan_called;

/// What stands: who holds the backfill lock, and the barrier that the step needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) holder: Option<String>,
    pub(super) barrier: Option<u8>,
}

/// Another tool's table, by its columns. With a value: rows `backfill-lock` (who holds it) and `write-barrier` (its number).
/// Without: rows `backfill` and `write-barrier-1`, which are there or not.
struct Other {
    table: String,
    key: String,
    name: String,
    value: Option<String>,
}

/// A row of it: the interlock, and its value.
type Row = (String, Option<String>);

pub(super) fn table(dialect: Dialect) -> String {
    let types = types(dialect);
    format!(
        "CREATE TABLE IF NOT EXISTS _transvase_interlocks (migration {} NOT NULL, mirror {} NOT NULL, PRIMARY KEY (migration)){}",
        types.name, types.long, types.tail
    )
}

impl Phases {
    /// From now on every transition of the migration is mirrored into the table `name` (`schema.name` on a server), which has
    /// what stands now when this returns; without a name into none. Whoever makes a transition mirrors it.
    ///
    /// # Errors
    /// `Refused` when it is no such table, or says what we have not; of the database.
    pub async fn mirror_into(&mut self, name: Option<&str>) -> Result<()> {
        let context = (self.migration(), name);
        let begun = self.base.retrying("mirroring interlocks", &context, |session, (migration, name)| {
            Box::pin(async move {
                session.begin().await?;
                let refused = begin(session, migration, *name).await?;
                if refused.is_some() {
                    session.rollback().await?
                } else {
                    session.commit().await?
                }
                Ok(refused)
            })
        });
        if let Some(sentence) = begun.await? {
            return Err(Error::refused(sentence));
        }
        self.mirror = name.map(str::to_owned);
        Ok(())
    }
}

/// Notes the table and brings it into step; why not.
async fn begin(session: &mut Session, migration: &str, name: Option<&str>) -> FaultResult<Option<String>> {
    const FORGET: &str = "DELETE FROM _transvase_interlocks WHERE migration = ?";
    const NOTE: &str = "INSERT INTO _transvase_interlocks (migration, mirror) VALUES (?, ?)";
    let phase = read(session, migration, for_update(session.dialect())).await?;
    session.execute(&Statement::new(FORGET.to_owned()), [text(migration)].into_iter()).await?;
    let (Some(phase), Some(name)) = (phase, name) else { return Ok(None) };
    session.execute(&Statement::new(NOTE.to_owned()), [text(migration), text(name)].into_iter()).await?;
    let holder = held(session, migration, "").await?.map(|lock| lock.run);
    let stand = Stand { holder, barrier: barrier_of(&phase.plan, phase.step) };
    mirror(session, migration, name, (&stand, &stand)).await
}

/// The table that the migration's interlocks are mirrored into: the one that was given, or is noted.
pub(super) async fn mirrored(
    session: &mut Session,
    migration: &str,
    given: Option<&str>,
) -> FaultResult<Option<String>> {
    const SQL: &str = "SELECT mirror FROM _transvase_interlocks WHERE migration = ?";
    match given {
        Some(name) => Ok(Some(name.to_owned())),
        None => Ok(session.fetch(SQL, &[text(migration)]).await?.first().and_then(|row| row[0].text())),
    }
}

/// The barrier that a step needs.
pub(super) fn barrier_of(plan: &str, step: u8) -> Option<u8> {
    match plan_called(plan)?.step(step)?.interlock {
        Interlock::Barrier(number) => Some(number),
        Interlock::Nothing | Interlock::BackfillLock => None,
    }
}

/// In a transaction that takes the lock or gives it back, after it was looked at: mirrors who holds it afterwards, if there is a
/// table to mirror into. Why it may not be.
pub(super) async fn mirror_holder(
    session: &mut Session,
    migration: &str,
    given: Option<&str>,
    (before, after): (Option<String>, Option<String>),
) -> FaultResult<Option<String>> {
    let Some(name) = mirrored(session, migration, given).await? else { return Ok(None) };
    let phase = prove(session, migration).await?;
    let barrier = phase.and_then(|phase| barrier_of(&phase.plan, phase.step));
    let (before, after) = (Stand { holder: before, barrier }, Stand { holder: after, barrier });
    mirror(session, migration, &name, (&before, &after)).await
}

/// Makes the table say what stands afterwards; why it may not: it is none, or says what did not stand before.
pub(super) async fn mirror(
    session: &mut Session,
    migration: &str,
    name: &str,
    (before, after): (&Stand, &Stand),
) -> FaultResult<Option<String>> {
    let Some(other) = other(session, name).await? else {
        return Ok(Some(format!(
            "{name} is no interlock table: it has neither the columns tableName and flag nor table_name, interlock and value; \
             create it as the other tool documents it, or mirror into none with --interlock-table off"
        )));
    };
    let found = other.rows(session, migration).await?;
    let (before, after) = (other.of(before), other.of(after));
    let is_unset = |row: &Row| other.value.is_some() && row.1.as_deref().unwrap_or_default().is_empty();
    if let Some((interlock, value)) = found.iter().find(|row| !is_unset(row) && !before.contains(row)) {
        let value = value.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
        return Ok(Some(format!(
            "{name} says {interlock}{value} for {migration}, which is not ours: another tool has set it, and has to take it back"
        )));
    }
    for row in found.iter().filter(|row| !is_unset(row) && !after.contains(row)) {
        other.remove(session, migration, row).await?;
    }
    for row in after.iter().filter(|row| !found.contains(row)) {
        let unset = found.iter().any(|there| there.0 == row.0 && is_unset(there));
        other.set(session, migration, row, unset).await?;
    }
    Ok(None)
}

/// The table by its columns; none when it has neither spelling.
async fn other(session: &mut Session, name: &str) -> FaultResult<Option<Other>> {
    let dialect = session.dialect();
    let (schema, bare) = match (dialect, name.split_once('.')) {
        (Dialect::MySql | Dialect::MariaDb, Some((schema, bare))) => (Some(schema), bare),
        _ => (None, name),
    };
    let rows = match (dialect, schema) {
        (Dialect::Sqlite, _) => session.fetch("SELECT name FROM pragma_table_info(?)", &[text(bare)]).await?,
        (_, schema) => {
            let sql = "SELECT column_name FROM information_schema.columns \
                       WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?";
            session.fetch(sql, &[schema.map_or(CellRef::Null, text), text(bare)]).await?
        }
    };
    let columns: Vec<String> = rows.iter().filter_map(|row| row[0].text()).collect();
    let called = |names: &[&str]| {
        let found = columns.iter().find(|column| names.iter().any(|name| column.eq_ignore_ascii_case(name)));
        found.map(|column| quote(column, dialect))
    };
    let (key, name, value) = (called(&["tableName", "table_name"]), called(&["flag", "interlock"]), called(&["value"]));
    let quoted = schema.map(|schema| quote(schema, dialect) + ".").unwrap_or_default() + &quote(bare, dialect);
    Ok(key.zip(name).map(|(key, name)| Other { table: quoted, key, name, value }))
}

impl Other {
    /// What it says when this stands.
    fn of(&self, stand: &Stand) -> Vec<Row> {
        let holder = stand.holder.as_ref();
        let barrier = stand.barrier.map(|number| number.to_string());
        let rows: [Option<Row>; 2] = match self.value {
            Some(_) => [
                holder.map(|run| ("backfill-lock".to_owned(), Some(format!("transvase {run}")))),
                barrier.map(|number| ("write-barrier".to_owned(), Some(number))),
            ],
            None => [
                holder.map(|_| ("backfill".to_owned(), None)),
                barrier.map(|number| (format!("write-barrier-{number}"), None)),
            ],
        };
        rows.into_iter().flatten().collect()
    }

    /// What it says of lock and barrier; locked.
    async fn rows(&self, session: &mut Session, migration: &str) -> FaultResult<Vec<Row>> {
        let value = self.value.as_deref().unwrap_or("NULL");
        let sql = format!(
            "SELECT {}, {value} FROM {} WHERE {} = ?{}",
            self.name,
            self.table,
            self.key,
            for_update(session.dialect())
        );
        let rows = session.fetch(&sql, &[text(migration)]).await?;
        let row = |row: &Vec<crate::driver::session::Fetched>| (row[0].text().unwrap_or_default(), row[1].text());
        let is_known = |row: &Row| row.0.starts_with("backfill") || row.0.starts_with("write-barrier");
        Ok(rows.iter().map(row).filter(is_known).collect())
    }

    async fn set(&self, session: &mut Session, migration: &str, row: &Row, unset: bool) -> FaultResult<()> {
        let Other { table, key, name, value } = self;
        let (sql, cells) = match (value, unset) {
            (Some(value), true) => (
                format!("UPDATE {table} SET {value} = ? WHERE {key} = ? AND {name} = ?"),
                vec![row.1.as_deref().map_or(CellRef::Null, text), text(migration), text(&row.0)],
            ),
            (Some(value), false) => (
                format!("INSERT INTO {table} ({key}, {name}, {value}) VALUES (?, ?, ?)"),
                vec![text(migration), text(&row.0), row.1.as_deref().map_or(CellRef::Null, text)],
            ),
            (None, _) => {
                (format!("INSERT INTO {table} ({key}, {name}) VALUES (?, ?)"), vec![text(migration), text(&row.0)])
            }
        };
        session.execute(&Statement::new(sql), cells.into_iter()).await.map(drop)
    }

    async fn remove(&self, session: &mut Session, migration: &str, row: &Row) -> FaultResult<()> {
        let sql = format!("DELETE FROM {} WHERE {} = ? AND {} = ?", self.table, self.key, self.name);
        session.execute(&Statement::new(sql), [text(migration), text(&row.0)].into_iter()).await.map(drop)
    }
}
