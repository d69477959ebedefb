//! A run of changes amid a migration with dual writes: it applies nothing once the target is the truth, and tells how far behind it
//! is.

use super::Backfill;
use crate::checkpoint::phases::Phases;
use crate::checkpoint::run::{Checkpoint, name_of};
use crate::error::Result;
use crate::report::StreamUsage;
use std::sync::Arc;

/// Longer than a stream takes to show a change, in microseconds; and whole seconds are rounded down.
const SHOWN_US: i64 = 2_000_000;

/// Tells how far a replay is behind, where the move to another truth asks for it.
pub struct Teller {
    phases: Arc<Phases>,
    checkpoint: Checkpoint,
}

impl Backfill {
    /// Registers a run of changes with the migration of its table, if the target knows of one. From here on it claims units only
    /// while the source is the truth.
    ///
    /// # Errors
    /// `Refused` when the target is; of the database.
    pub(super) async fn register(&mut self) -> Result<()> {
        if !self.source.description().changes {
            return Ok(());
        }
        let table = name_of(&self.source.description().table);
        let Some(phases) = Phases::existing(Arc::clone(&self.pool), &table).await? else { return Ok(()) };
        if !phases.register_replay(self.checkpoint.run()).await? {
            return Err(self.checkpoint.outdated());
        }
        self.checkpoint = self.checkpoint.clone().replaying(&table);
        self.replays = Some(Arc::new(phases));
        Ok(())
    }

    /// What tells how far the run is behind; none of one that is no replay amid a migration.
    #[must_use]
    pub fn teller(&self) -> Option<Teller> {
        let phases = Arc::clone(self.replays.as_ref()?);
        Some(Teller { phases, checkpoint: self.checkpoint.clone() })
    }
}

impl Teller {
    /// Tells what `usage` says of what was read a moment ago. Nothing is behind only when every shard was found empty since, and all
    /// that was read is durable; and only as of when they were asked.
    ///
    /// # Errors
    /// Of the database.
    pub async fn tell(&self, usage: impl FnOnce() -> StreamUsage) -> Result<()> {
        // a process may be held up at any point: the database's time of before the look is not too late for what it finds
        let now_us = self.phases.now_us().await?;
        let usage = usage();
        let is_done = usage.abreast && {
            // asked after the look at the readers: what they read later does not count as done
            let durable = self.checkpoint.ends().await?;
            usage.ends.iter().all(|(unit, end)| durable.get(unit).is_some_and(|durable| durable >= end))
        };
        let lag = if is_done { 0 } else { usage.lag_seconds.max(1) };
        let asked_us = i64::try_from(usage.asked_seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        self.phases.tell_lag(self.checkpoint.run(), lag, now_us.saturating_sub(asked_us) - SHOWN_US).await
    }
}
