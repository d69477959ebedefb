//! A backfill amid a migration with dual writes: it runs under the backfill lock, only of a source that the dual writes cover, and
//! always as one whose target is written to by others.

use super::Backfill;
use crate::checkpoint::phases::covered::{MARGIN_US, covers};
use crate::checkpoint::phases::{Phase, Phases};
use crate::checkpoint::run::name_of;
use crate::error::{Error, Result};
use crate::mapping::moment_text;
use crate::sink::OnConflict;
use std::sync::Arc;

impl Backfill {
    /// The migration that the target knows of the source's table, if this is a backfill amid one. Then the application writes to the
    /// target, whether or not that was said: what is there is newer, and what was removed stays removed.
    ///
    /// # Errors
    /// `Refused` for a run that would overwrite what is there; of the database.
    pub(super) async fn migration(&mut self) -> Result<Option<Phases>> {
        if self.source.description().changes {
            return Ok(None);
        }
        let table = name_of(&self.source.description().table);
        let phases = Phases::existing(Arc::clone(&self.pool), &table).await?;
        if phases.is_some() {
            if self.options.on_conflict == OnConflict::Replace {
                return Err(Error::refused(format!(
                    "migration {table}: --on-conflict replace would put what is older in the place of dual writes: leave it out"
                )));
            }
            self.settings.live_target = true;
        }
        Ok(phases)
    }

    /// Takes the migration's backfill lock. From here on the run claims units only under it. What it reads is as of `as_of_us`, or
    /// of now.
    ///
    /// # Errors
    /// `Refused` when the step is none for a backfill, another run holds the lock, or what this one reads may be older than the
    /// dual writes; of the database.
    pub(super) async fn lock(&mut self, phases: &Phases, as_of_us: Option<i64>) -> Result<()> {
        let table = phases.migration().to_owned();
        loop {
            let Some(phase) = phases.load().await? else { return Ok(()) };
            check_step(&table, &phase)?;
            self.check_age(phases, &phase, as_of_us).await?;
            if let Some(epoch) = phases.hold_lock(&phase, self.checkpoint.run(), self.options.pipeline.lease).await? {
                self.checkpoint = self.checkpoint.clone().locked(&table, epoch);
                return Ok(());
            }
        }
    }

    /// What was written before the dual writes began is in what this run reads.
    async fn check_age(&self, phases: &Phases, phase: &Phase, as_of_us: Option<i64>) -> Result<()> {
        let dual = phases.covered_since_us().await?;
        let reads = match as_of_us {
            Some(at_us) => at_us,
            None => self.now().await?,
        };
        if covers(reads, dual) {
            return Ok(());
        }
        Err(Error::refused(format!(
            "migration {}: dual writes have been going on since {}, with the source as the truth, and what this run reads is as of \
             {}: what was written before may be missing in it, and what was removed may be there; copy what is as of {} or later \
             (generation {})",
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
    let unknown =
        || Error::refused(format!("migration {table} follows plan {}, of a later version: use that", phase.plan));
    let step = phase.planned().ok_or_else(unknown)?;
    if phase.may_be_copied() {
        return Ok(());
    }
    let (when, next) = match phase.step {
        1 => ("dual writes have not begun", "advance to step 2 first"),
        _ => ("the target is the source of truth", "a backfill would bring back what is older"),
    };
    Err(Error::refused(format!("migration {table} is in step {} ({}): {when}; {next}", phase.step, step.name)))
}
