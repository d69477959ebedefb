//! Transitions of a migration: a compare-and-set of its version, with what has to go with it in one transaction.

use super::history::{Audit, remember, was_made};
use super::{Phase, Phases, intents, interlocks, lock, read, replays, writers};
use crate::checkpoint::run::{big, int, text};
use crate::checkpoint::schema::{for_update, now_us};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Session, Statement};
use crate::error::{Error, Result};
use crate::model::rows::CellRef;
use crate::phase::plan::{Interlock, Move, Plan};
use crate::phase::plan_called;

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

impl Phases {
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
pub(super) async fn set(session: &mut Session, migration: &str, from: &Phase, next: Next) -> FaultResult<bool> {
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
