//! What replays a migration's changes into its target: each tells how far behind it is, and none is left when the target becomes
//! the truth, for what a replay applies is older than that.
//!
//! A replay registers, and claims units, only in a step whose truth is the source, which it proves by a share lock. The transition
//! to another truth voids the claims of all that are registered, so it waits for data transactions that have proved theirs, and
//! none does afterwards.

use super::lock::void_claims;
use super::{Phase, Phases, prove};
use crate::checkpoint::ledger::number;
use crate::checkpoint::run::{Checkpoint, big, broken, text};
use crate::checkpoint::schema::{now_us, types};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Session, Statement};
use crate::error::Result;
use crate::model::dialect::Dialect;
use crate::model::page::UnitId;
use crate::model::rows::CellRef;
use crate::phase::plan::Store;
use crate::phase::plan_called;
use serde::Serialize;
use std::collections::BTreeMap;

/// A replay that told nothing for so long, in microseconds, does not live.
const RECENT_US: i64 = 10_000_000;

/// A registered replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// Its run.
    pub run: String,
    /// How far behind it is, in seconds; none when it has not told lately.
    pub lag: Option<u64>,
    /// When it told last, or came to its end, in microseconds since 1970 by the database's clock.
    pub told_us: Option<i64>,
}

pub(super) fn table(dialect: Dialect) -> String {
    let types = types(dialect);
    let (name, int, tail) = (types.name, types.int, types.tail);
    format!(
        "CREATE TABLE IF NOT EXISTS _transvase_replays (migration {name} NOT NULL, run {name} NOT NULL, lag_s {int}, \
         told_us {int}, as_of_us {int}, PRIMARY KEY (migration, run)){tail}"
    )
}

impl Phases {
    /// A run that replays changes is registered, if the source is the truth; whether it is.
    ///
    /// # Errors
    /// Of the database.
    pub async fn register_replay(&self, run: &str) -> Result<bool> {
        self.base
            .retrying("registering a replay", &(self.migration(), run), |session, (name, run)| {
                Box::pin(async move {
                    session.begin().await?;
                    let may = may_replay(session, name).await?;
                    if may {
                        let there = match session.dialect() {
                            Dialect::Sqlite => "ON CONFLICT (migration, run) DO NOTHING",
                            Dialect::MySql | Dialect::MariaDb => "ON DUPLICATE KEY UPDATE run = VALUES(run)",
                        };
                        let sql = format!("INSERT INTO _transvase_replays (migration, run) VALUES (?, ?) {there}");
                        session.execute(&Statement::new(sql), [text(name), text(run)].into_iter()).await?;
                    }
                    session.commit().await?;
                    Ok(may)
                })
            })
            .await
    }

    /// A registered replay tells how far behind it is, in seconds; and as of when, in microseconds since 1970 by the database's
    /// clock: what was made later may be behind too.
    ///
    /// # Errors
    /// Of the database.
    pub async fn tell_lag(&self, run: &str, lag: u64, as_of_us: i64) -> Result<()> {
        let context = (self.migration(), run, (lag, as_of_us));
        self.base
            .retrying("telling the lag", &context, |session, (name, run, (lag, as_of_us))| {
                Box::pin(async move {
                    let now = now_us(session.dialect());
                    let sql = format!(
                        "UPDATE _transvase_replays SET lag_s = ?, as_of_us = ?, told_us = {now} WHERE migration = ? AND run = ?"
                    );
                    let cells = [big(*lag), CellRef::Int(*as_of_us), text(name), text(run)];
                    session.execute(&Statement::new(sql), cells.into_iter()).await.map(drop)
                })
            })
            .await
    }

    /// All registered replays, by run. One that was not behind before `since_us`, and has not looked since, may be behind by what
    /// was made in between: by a second at least.
    ///
    /// # Errors
    /// Of the database.
    pub async fn replays(&self, since_us: i64) -> Result<Vec<Replay>> {
        self.base
            .retrying("reading the replays", &(self.migration(), since_us), |session, (name, since_us)| {
                Box::pin(async move {
                    let now = now_us(session.dialect());
                    let sql = format!(
                        "SELECT run, CASE WHEN told_us <= {now} - ? THEN NULL WHEN lag_s = 0 AND COALESCE(as_of_us, 0) < ? THEN 1 \
                         ELSE lag_s END, told_us FROM _transvase_replays WHERE migration = ? ORDER BY run"
                    );
                    let cells = [CellRef::Int(RECENT_US), CellRef::Int(*since_us), text(name)];
                    let rows = session.fetch(&sql, &cells).await?;
                    rows.iter()
                        .map(|row| {
                            let lag = if row[1].int().is_some() { Some(number(&row[1])?) } else { None };
                            Ok(Replay { run: row[0].text().unwrap_or_default(), lag, told_us: row[2].int() })
                        })
                        .collect()
                })
            })
            .await
    }
}

impl Checkpoint {
    /// By unit: the item up to which it is durable. Only of a run whose pages become durable in their order.
    ///
    /// # Errors
    /// Of the database.
    pub async fn ends(&self) -> Result<BTreeMap<UnitId, u64>> {
        const SQL: &str = "SELECT u.unit, u.watermark, (SELECT MAX(l.span_to) FROM _transvase_ledger l \
                           WHERE l.run = u.run AND l.unit = u.unit) FROM _transvase_units u WHERE u.run = ?";
        self.retrying("reading how far a run is", &self.run, |session, run| {
            Box::pin(async move {
                let rows = session.fetch(SQL, &[text(run)]).await?;
                rows.iter()
                    .map(|row| {
                        let unit = u32::try_from(number(&row[0])?).map_err(|_| broken("a unit"))?;
                        let spans = row[2].int().and_then(|end| u64::try_from(end).ok()).unwrap_or(0);
                        Ok((unit, number(&row[1])?.max(spans)))
                    })
                    .collect()
            })
        })
        .await
    }
}

/// A replay comes to its end now, if the session's transaction is committed.
///
/// # Errors
/// The server's fault.
pub(in crate::checkpoint) async fn end(session: &mut Session, migration: &str, run: &str) -> FaultResult<()> {
    let now = now_us(session.dialect());
    let sql = format!("UPDATE _transvase_replays SET told_us = {now} WHERE migration = ? AND run = ?");
    session.execute(&Statement::new(sql), [text(migration), text(run)].into_iter()).await.map(drop)
}

/// Whether the source is the truth, until the session's transaction ends; of a migration that was not begun it is.
pub(in crate::checkpoint) async fn may_replay(session: &mut Session, migration: &str) -> FaultResult<bool> {
    Ok(prove(session, migration).await?.is_none_or(|phase| truth(&phase.plan, phase.step) == Some(Store::Old)))
}

/// Voids the claims of every replay, where the step after `from` has another truth than the source.
pub(super) async fn fence(session: &mut Session, migration: &str, from: &Phase, step: u8) -> FaultResult<()> {
    const SQL: &str = "SELECT run FROM _transvase_replays WHERE migration = ? ORDER BY run";
    if truth(&from.plan, from.step) != Some(Store::Old) || truth(&from.plan, step) == Some(Store::Old) {
        return Ok(());
    }
    for row in session.fetch(SQL, &[text(migration)]).await? {
        void_claims(session, &row[0].text().unwrap_or_default()).await?;
    }
    Ok(())
}

fn truth(plan: &str, step: u8) -> Option<Store> {
    Some(plan_called(plan)?.step(step)?.authority())
}
