//! A backfill amid a migration with dual writes: it runs under the backfill lock, and only of a source that the dual writes
//! cover.

use super::Backfill;
use crate::checkpoint::phases::lock::Taken;
use crate::checkpoint::phases::{Phase, Phases};
use crate::checkpoint::run::name_of;
use crate::error::{Error, Result};
use crate::mapping::moment_text;
use crate::phase::plan::Interlock;
use crate::phase::plan_called;
use std::sync::Arc;

/// How much older than the dual writes a source must not be, in microseconds: what was written in the minutes before an
/// export's time may be missing in it, and clocks differ.
const MARGIN_US: i64 = 5 * 60 * 1_000_000;

impl Backfill {
    /// Takes the backfill lock, where the target knows of a migration of the source's table. From here on the run claims units
    /// only under it. What it reads is as of `as_of_us`, or of now.
    ///
    /// # Errors
    /// `Refused` when the step is none for a backfill, another run holds the lock, or what this one reads may be older than the
    /// dual writes; of the database.
    pub(super) async fn lock(&mut self, as_of_us: Option<i64>) -> Result<()> {
        if self.source.description().changes {
            return Ok(());
        }
        let table = name_of(&self.source.description().table);
        let Some(phases) = Phases::existing(Arc::clone(&self.pool), &table).await? else { return Ok(()) };
        let Some(phase) = phases.load().await? else { return Ok(()) };
        check_step(&table, &phase)?;
        self.check_age(&phases, &phase, as_of_us).await?;
        match phases.take_lock(self.checkpoint.run(), self.options.pipeline.lease).await? {
            Taken::Ours(epoch) => self.checkpoint = self.checkpoint.clone().locked(&table, epoch),
            Taken::Theirs(lock) => {
                return Err(Error::refused(format!(
                    "migration {table}: run {} holds the backfill lock, and this is run {}: give --run {}, or take the lock away \
                     with `transvase phase unlock --run {}`",
                    lock.run,
                    self.checkpoint.run(),
                    lock.run,
                    lock.run
                )));
            }
        }
        Ok(())
    }

    /// What was written before the dual writes began is in what this run reads.
    async fn check_age(&self, phases: &Phases, phase: &Phase, as_of_us: Option<i64>) -> Result<()> {
        let history = phases.history().await?;
        let entered = history.iter().rfind(|past| past.from == 1 && past.to > 1).map_or(0, |past| past.at_us);
        let writers = phases.writers().await?;
        let dual = writers.iter().filter(|one| one.step > 1).map(|one| one.since_us).max().unwrap_or(0).max(entered);
        let reads = match as_of_us {
            Some(at_us) => at_us,
            None => self.now().await?,
        };
        if reads >= dual + MARGIN_US {
            return Ok(());
        }
        Err(Error::refused(format!(
            "migration {}: dual writes have been going on since {}, and what this run reads is as of {}: what was written to the \
             source alone before may be missing in it; copy what is as of {} or later (generation {})",
            phases.migration(),
            moment_text(dual),
            moment_text(reads),
            moment_text(dual + MARGIN_US),
            phase.generation
        )))
    }
}

/// Whether a backfill belongs into the step.
fn check_step(table: &str, phase: &Phase) -> Result<()> {
    let step = plan_called(&phase.plan).and_then(|plan| plan.step(phase.step));
    let unknown =
        || Error::refused(format!("migration {table} follows plan {}, of a later version: use that", phase.plan));
    let step = step.ok_or_else(unknown)?;
    if step.interlock == Interlock::BackfillLock {
        return Ok(());
    }
    let (when, next) = match phase.step {
        1 => ("dual writes have not begun", "advance to step 2 first"),
        _ => ("the target is the source of truth", "a backfill would bring back what is older"),
    };
    Err(Error::refused(format!("migration {table} is in step {} ({}): {when}; {next}", phase.step, step.name)))
}
