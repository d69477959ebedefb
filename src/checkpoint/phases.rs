//! Where a migration is: its step, its generation, the barrier that stands, and the history of all transitions.
//!
//! One row a migration, with a version: a transition is a compare-and-set of that version and a row of history, in one
//! transaction. Who proves the step (a dual write, the backfill) reads the row under a share lock, so a transition waits for all
//! that have proved the step before it, and nothing proves it afterwards. A barrier has an end by the database's clock: past it,
//! it stands no longer, and cannot be completed.

pub mod covered;
pub mod forced;
pub mod guards;
pub mod intents;
mod interlocks;
pub mod lock;
pub mod mending;
pub mod replays;
pub mod writers;

use super::ledger::number;
use super::run::{Checkpoint, big, broken, int, text};
use super::schema::{exists, for_share, for_update, now_us, types};
use super::tombstones;
use crate::driver::fault::{FaultKind, FaultResult};
use crate::driver::pool::Pool;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::{Error, Result};
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;
use crate::phase::plan::{Interlock, Move, Plan, Step};
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

/// What a transition leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// The step.
    pub step: u8,
    /// A barrier that stands from now on: the step it leads to, and for how many microseconds.
    pub barrier: Option<(u8, u64)>,
    /// The generation.
    pub generation: u64,
    /// Whether the transition must come before a standing barrier's end.
    pub within_barrier: bool,
    /// Whether nobody holds the backfill lock afterwards.
    pub releases_lock: bool,
}

impl Next {
    /// The transition that makes a move.
    #[must_use]
    pub fn made_by(phase: &Phase, plan: &Plan, found: &Move, within_barrier: bool) -> Next {
        let locks = |number| plan.step(number).is_some_and(|step| step.interlock == Interlock::BackfillLock);
        Next {
            step: found.to,
            barrier: None,
            generation: phase.generation + u64::from(found.ends_generation),
            within_barrier,
            releases_lock: locks(found.from) && !locks(found.to),
        }
    }
}

/// What history tells of a transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Who asked for it.
    pub who: String,
    /// What kind of transition it is.
    pub what: String,
    /// Why, as was typed.
    pub why: Option<String>,
    /// What it was decided by, as JSON.
    pub evidence: String,
    /// Tells this attempt from another's of the same: whoever does not know whether his was made, looks for it.
    pub attempt: u64,
}

impl Audit {
    /// Of an attempt that nobody has made yet.
    #[must_use]
    pub fn new(who: &str, what: &str, why: Option<&str>, evidence: &str) -> Audit {
        let attempt = rand::random::<u64>() >> 1;
        Audit {
            who: who.to_owned(),
            what: what.to_owned(),
            why: why.map(str::to_owned),
            evidence: evidence.to_owned(),
            attempt,
        }
    }
}

/// A transition that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Past {
    /// The version that it led to.
    pub version: u64,
    /// When, in microseconds since 1970 by the database's clock.
    pub at_us: i64,
    /// From this step.
    pub from: u8,
    /// To this one; with a barrier, the step that it leads to.
    pub to: u8,
    /// The rest.
    #[serde(flatten)]
    pub audit: Audit,
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
                    remember(session, name, (1, 1, 1), audit).await?;
                    session.commit().await?;
                    Ok(true)
                })
            })
            .await
    }

    /// Makes a transition from what was [loaded](Phases::load), if nothing was made since; whether it was. A transition whose
    /// answer was lost is found made, by its own audit row.
    ///
    /// # Errors
    /// `Refused` when the store that is the truth would change while a write is on record, or another tool's table, which mirrors
    /// ours, says what is not ours; of the database.
    pub async fn transit(&self, from: &Phase, next: Next, audit: &Audit) -> Result<bool> {
        let context = (self.migration(), self.mirror.as_deref(), (from, next), audit);
        let made = self.base.retrying("changing the phase", &context, |session, (name, other, (from, next), audit)| {
            Box::pin(async move {
                session.begin().await?;
                if !set(session, name, from, *next).await? {
                    session.rollback().await?;
                    return was_made(session, name, from.version + 1, audit).await.map(Ok);
                }
                if let Some(sentence) = withheld(session, name, *other, (from, *next)).await? {
                    session.rollback().await?;
                    return Ok(Err(sentence));
                }
                let to = next.barrier.map_or(next.step, |(to, _)| to);
                remember(session, name, (from.version + 1, from.step, to), audit).await?;
                if next.releases_lock {
                    lock::release(session, name).await?;
                }
                if next.barrier.is_none() && next.step != from.step {
                    writers::forget_dead(session, name).await?;
                    replays::fence(session, name, from, next.step).await?;
                    if writes_once(from, next.step) {
                        intents::forget(session, name).await?;
                    }
                }
                session.commit().await?;
                Ok(Ok(true))
            })
        });
        made.await?.map_err(|sentence| Error::refused(sentence + "; nothing was changed"))
    }

    /// All transitions, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn history(&self) -> Result<Vec<Past>> {
        const SQL: &str = "SELECT version, at_us, step_from, step_to, who, what, why, evidence, attempt \
                           FROM _transvase_phase_history WHERE migration = ? ORDER BY version";
        self.base
            .retrying("reading the history", self.migration(), |session, name| {
                Box::pin(async move { session.fetch(SQL, &[text(name)]).await?.iter().map(|row| past(row)).collect() })
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

/// Whether another store is the truth afterwards.
fn changes_authority(from: &Phase, next: Next) -> bool {
    let authority = |step| plan_called(&from.plan).and_then(|plan| plan.step(step)).map(|step| step.authority());
    authority(from.step) != authority(next.step)
}

/// Whether one store alone is written in a step: the other lacks what it will.
fn writes_once(from: &Phase, step: u8) -> bool {
    plan_called(&from.plan).and_then(|plan| plan.step(step)).is_some_and(|step| step.writes.second.is_none())
}

/// The compare-and-set.
async fn set(session: &mut Session, migration: &str, from: &Phase, next: Next) -> FaultResult<bool> {
    // the row is had before the time is asked for: a statement's time is of when it began to wait, and a heartbeat that it waited
    // for may have found the barrier over
    read(session, migration, for_update(session.dialect())).await?;
    let now = now_us(session.dialect());
    let within = if next.within_barrier { format!(" AND until_us > {now}") } else { String::new() };
    let until = if next.barrier.is_some() { format!("{now} + ?") } else { "?".to_owned() };
    let sql = Statement::new(format!(
        "UPDATE _transvase_phases SET step = ?, moving_to = ?, until_us = {until}, generation = ?, version = version + 1 \
         WHERE migration = ? AND version = ?{within}"
    ));
    let (to, during) = match next.barrier {
        Some((to, during)) => (int(u32::from(to)), big(during)),
        None => (CellRef::Null, CellRef::Null),
    };
    let cells = [int(u32::from(next.step)), to, during, big(next.generation), text(migration), big(from.version)];
    Ok(session.execute(&sql, cells.into_iter()).await?.affected == 1)
}

/// In the transaction of a transition: why it may not be made after all. Where there is a table to mirror into, it is brought into
/// step.
async fn withheld(
    session: &mut Session,
    migration: &str,
    given: Option<&str>,
    (from, next): (&Phase, Next),
) -> FaultResult<Option<String>> {
    // whoever proved the old step was waited for, so what he put on record is seen here
    if changes_authority(from, next) {
        let open = intents::count(session, migration).await?;
        if open > 0 {
            return Ok(Some(format!(
                "{open} writes are on record that one of the stores may lack: the writers mend them by themselves, wait until \
                 they have"
            )));
        }
    }
    let Some(other) = interlocks::mirrored(session, migration, given).await? else { return Ok(None) };
    let holder = lock::held(session, migration, "").await?.map(|lock| lock.run);
    let stand = |step, holder| interlocks::Stand { holder, barrier: interlocks::barrier_of(&from.plan, step) };
    let after = stand(next.step, holder.clone().filter(|_| !next.releases_lock));
    interlocks::mirror(session, migration, &other, (&stand(from.step, holder), &after)).await
}

/// Whether this very transition was made by an earlier attempt.
async fn was_made(session: &mut Session, migration: &str, version: u64, audit: &Audit) -> FaultResult<bool> {
    const SQL: &str = "SELECT attempt FROM _transvase_phase_history WHERE migration = ? AND version = ?";
    let rows = session.fetch(SQL, &[text(migration), big(version)]).await?;
    Ok(rows.first().map(|row| number(&row[0])).transpose()? == Some(audit.attempt))
}

async fn remember(
    session: &mut Session,
    migration: &str,
    (version, from, to): (u64, u8, u8),
    audit: &Audit,
) -> FaultResult<()> {
    let sql = Statement::new(format!(
        "INSERT INTO _transvase_phase_history (migration, version, at_us, step_from, step_to, who, what, why, evidence, attempt) \
         VALUES (?, ?, {}, ?, ?, ?, ?, ?, ?, ?)",
        now_us(session.dialect())
    ));
    let cells = [
        text(migration),
        big(version),
        int(u32::from(from)),
        int(u32::from(to)),
        text(&audit.who),
        text(&audit.what),
        audit.why.as_deref().map_or(CellRef::Null, text),
        text(&audit.evidence),
        big(audit.attempt),
    ];
    session.execute(&sql, cells.into_iter()).await.map(drop)
}

fn past(row: &[Fetched]) -> FaultResult<Past> {
    let said = |cell: &Fetched| cell.text().unwrap_or_default();
    Ok(Past {
        version: number(&row[0])?,
        at_us: row[1].int().ok_or_else(|| broken("a time"))?,
        from: step(&row[2])?,
        to: step(&row[3])?,
        audit: Audit {
            who: said(&row[4]),
            what: said(&row[5]),
            why: row[6].text(),
            evidence: said(&row[7]),
            attempt: number(&row[8])?,
        },
    })
}
