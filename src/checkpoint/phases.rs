//! Where a migration is: its step, its generation, and the barrier that stands.
//!
//! One row a migration, with a version: a transition is a compare-and-set of that version and a row of history, in one
//! transaction. Who proves the step (a dual write, the backfill) reads the row under a share lock, so a transition waits for all
//! that have proved the step before it, and nothing proves it afterwards. A barrier has an end by the database's clock: past it,
//! it stands no longer, and cannot be completed.

pub mod covered;
pub mod forced;
pub mod guards;
mod history;
pub mod intents;
mod interlocks;
pub mod lock;
pub mod mending;
pub mod replays;
mod transition;
pub mod writers;

pub use history::{Audit, Past};
pub use transition::Next;

use super::certificates::now;
use super::ledger::number;
use super::run::{Checkpoint, broken, text};
use super::schema::{exists, for_share, now_us, types};
use super::tombstones;
use crate::driver::fault::{FaultKind, FaultResult};
use crate::driver::pool::Pool;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::dialect::Dialect;
use crate::phase::plan::{Interlock, Step};
use crate::phase::plan_called;
use serde::Serialize;
use std::sync::Arc;

/// The control tables of one migration.
pub struct Phases {
    base: Checkpoint,
    /// Another tool's table that was given here: it may not be noted yet.
    mirror: Option<String>,
}

/// Where a migration is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// The name of its plan.
    pub plan: String,
    /// The step, counted from 1.
    pub step: u8,
    /// The step that a standing barrier leads to.
    pub moving_to: Option<u8>,
    /// How often the target's content was given up.
    pub generation: u64,
    /// Counts transitions; a compare-and-set asks for it.
    pub version: u64,
}

impl Phase {
    /// The step as its plan tells it; none when this version knows of no such plan or step.
    #[must_use]
    pub fn planned(&self) -> Option<&'static Step> {
        plan_called(&self.plan)?.step(self.step)
    }

    /// Whether a copy may be made now: what live writers remove leaves tombstones then.
    #[must_use]
    pub fn may_be_copied(&self) -> bool {
        self.planned().is_some_and(|step| step.interlock == Interlock::BackfillLock)
    }
}

fn tables(dialect: Dialect) -> [String; 9] {
    let types = types(dialect);
    let (name, long, int, tail) = (types.name, types.long, types.int, types.tail);
    let table = |body: String| format!("CREATE TABLE IF NOT EXISTS {body}{tail}");
    [
        table(format!(
            "_transvase_phases (migration {name} NOT NULL, plan {name} NOT NULL, step {int} NOT NULL, moving_to {int}, \
             until_us {int}, generation {int} NOT NULL, version {int} NOT NULL, PRIMARY KEY (migration))"
        )),
        table(format!(
            "_transvase_phase_history (migration {name} NOT NULL, version {int} NOT NULL, at_us {int} NOT NULL, \
             step_from {int} NOT NULL, step_to {int} NOT NULL, who {long} NOT NULL, what {name} NOT NULL, why {long}, \
             evidence {long} NOT NULL, attempt {int} NOT NULL, PRIMARY KEY (migration, version))"
        )),
        lock::table(dialect),
        writers::table(dialect),
        writers::faults(dialect),
        intents::table(dialect),
        guards::table(dialect),
        replays::table(dialect),
        interlocks::table(dialect),
    ]
}

impl Phases {
    /// Those of a migration, in control tables that are created where they are missing.
    ///
    /// # Errors
    /// Of connecting, and of creating tables.
    pub async fn create(pool: Arc<Pool>, migration: &str) -> Result<Phases> {
        let base = Checkpoint::unopened(pool, migration);
        base.retrying("creating the tables of phases", &(), |session, ()| {
            Box::pin(async move {
                let dialect = session.dialect();
                // dual writes may begin before a copy does, and what they remove must stay removed
                for statement in tables(dialect).into_iter().chain(tombstones::tables(dialect)) {
                    session.run(&statement).await?;
                }
                guards::fill(session).await
            })
        })
        .await?;
        Ok(Phases { base, mirror: None })
    }

    /// Those of a migration that was begun; creates nothing. None when there is none of this name.
    ///
    /// # Errors
    /// Of the database.
    pub async fn existing(pool: Arc<Pool>, migration: &str) -> Result<Option<Phases>> {
        let base = Checkpoint::unopened(pool, migration);
        let there = base.retrying("looking for a migration", &(), |session, ()| {
            Box::pin(async move { exists(session, "_transvase_phases").await })
        });
        if !there.await? {
            return Ok(None);
        }
        let phases = Phases { base, mirror: None };
        Ok(phases.load().await?.map(|_| phases))
    }

    /// The migration's name.
    #[must_use]
    pub fn migration(&self) -> &str {
        &self.base.run
    }

    /// Where it is; none when it was not begun.
    ///
    /// # Errors
    /// Of the database.
    pub async fn load(&self) -> Result<Option<Phase>> {
        self.base
            .retrying("reading the phase", self.migration(), |session, name| Box::pin(read(session, name, "")))
            .await
    }

    /// Now, in microseconds since 1970, by the database's clock.
    ///
    /// # Errors
    /// Of the database.
    pub async fn now_us(&self) -> Result<i64> {
        self.base.retrying("asking the database's clock", &(), |session, ()| Box::pin(now(session))).await
    }

    /// Begins at step 1 of a plan; whether it was begun now.
    ///
    /// # Errors
    /// Of the database.
    pub async fn begin(&self, plan: &str, audit: &Audit) -> Result<bool> {
        let context = (self.migration(), plan, audit);
        self.base
            .retrying("beginning a migration", &context, |session, (name, plan, audit)| {
                Box::pin(async move {
                    const SQL: &str = "INSERT INTO _transvase_phases (migration, plan, step, generation, version) \
                                       VALUES (?, ?, 1, 1, 1)";
                    session.begin().await?;
                    let sql = Statement::new(SQL.to_owned());
                    match session.execute(&sql, [text(name), text(plan)].into_iter()).await {
                        Err(fault) if fault.kind == FaultKind::Duplicate => {
                            session.rollback().await?;
                            return Ok(false);
                        }
                        other => drop(other?),
                    }
                    history::remember(session, name, (1, 1, 1), audit).await?;
                    session.commit().await?;
                    Ok(true)
                })
            })
            .await
    }
}

/// Reads where a migration is, with `lock` at the end of the query. A barrier that is over is none.
///
/// # Errors
/// The server's fault.
pub(super) async fn read(session: &mut Session, migration: &str, lock: &str) -> FaultResult<Option<Phase>> {
    let now = now_us(session.dialect());
    let sql = format!(
        "SELECT plan, step, CASE WHEN until_us > {now} THEN moving_to END, generation, version \
         FROM _transvase_phases WHERE migration = ?{lock}"
    );
    let rows = session.fetch(&sql, &[text(migration)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Phase {
        plan: row[0].text().unwrap_or_default(),
        step: step(&row[1])?,
        moving_to: if row[2].int().is_some() { Some(step(&row[2])?) } else { None },
        generation: number(&row[3])?,
        version: number(&row[4])?,
    }))
}

/// Where a migration is, and stays until the session's transaction ends.
///
/// # Errors
/// The server's fault.
pub async fn prove(session: &mut Session, migration: &str) -> FaultResult<Option<Phase>> {
    let lock = for_share(session.dialect());
    read(session, migration, lock).await
}

fn step(cell: &Fetched) -> FaultResult<u8> {
    u8::try_from(number(cell)?).map_err(|_| broken("a step"))
}
