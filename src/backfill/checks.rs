//! Is it the run, and are they the tables, that the stored plan speaks of: asked before a page flows and after the last.

use super::{Backfill, LoadOrder};
use crate::checkpoint::run::{RunState, Settings, TargetTable};
use crate::error::{Error, Result};
use crate::model::counts::Counts;
use crate::sink::inspect::{Create, Inspected};

impl Backfill {
    fn begun_with(&self, what: &str) -> Result<()> {
        let run = self.checkpoint.run();
        Err(Error::refused(format!(
            "run {run} was begun with {what}; --restart forgets it and begins anew, --run NAME keeps it and starts another"
        )))
    }

    /// Before anything is asked of the tables: another mapping has other ones.
    pub(super) fn check_same_plan(&self, stored: &Settings) -> Result<()> {
        let refuse = |what: &str| self.begun_with(what);
        let derived = &self.settings;
        if stored.source != derived.source {
            return refuse("another source");
        }
        if stored.mapping != derived.mapping {
            return refuse("another key or mapping");
        }
        if stored.on_conflict != derived.on_conflict || stored.live_target != derived.live_target {
            return refuse("another --on-conflict or --live-target");
        }
        Ok(())
    }

    /// Rows that are on disk must still be loaded, and rows that are written cannot be sorted any more.
    pub(super) fn check_same_order(&self, stored: &Settings) -> Result<()> {
        match (self.options.load_order, stored.clustered) {
            (LoadOrder::Arrival, true) => self.begun_with("--load-order clustered"),
            (LoadOrder::Clustered, false) => self.begun_with("--load-order arrival"),
            _ => Ok(()),
        }
    }

    pub(super) fn check_same_tables(&self, stored: &Settings) -> Result<()> {
        let derived = &self.settings;
        // Adding the mapping's indexes is an alteration too; nothing more will be written.
        if self.state == RunState::Complete && self.mapping.tables().iter().any(|table| !table.indexes.is_empty()) {
            return Ok(());
        }
        for (index, (then, now)) in stored.tables.iter().zip(&derived.tables).enumerate() {
            let written = self.has_rows(&self.before, index);
            if then.name != now.name || then.identity != now.identity || (written && now.empty_at_start) {
                return self
                    .begun_with(&format!("a table {} that was altered, truncated or recreated since", then.name));
            }
        }
        Ok(())
    }

    /// Whether a table that is empty lost its rows to somebody else: what changes have put, changes may take away, and what
    /// was copied too where others write; there the canaries tell.
    fn has_rows(&self, totals: &Counts, table: usize) -> bool {
        let written = totals.tables.get(table).is_some_and(|outcomes| outcomes.written > 0);
        written && !self.source.description().changes && !self.settings.live_target
    }

    /// Looks for rows that the run made durable: a TRUNCATE between then and now takes them all. The application may
    /// delete some of them, so most must be gone before it counts.
    pub(super) async fn check_canaries(&self) -> Result<()> {
        let canaries = self.checkpoint.canaries().await?;
        let missing = self.destination.missing(&self.pool, &self.mapping, &canaries).await?;
        let tolerated = if self.settings.live_target { canaries.len() / 2 } else { 0 };
        if missing.len() <= tolerated {
            return Ok(());
        }
        let table = missing.first().and_then(|canary| self.mapping.tables().get(canary.table));
        Err(Error::refused(format!(
            "table {}: {} of {} rows looked for are gone that run {} had written: it was truncated, restored or cleaned \
             since; --restart begins anew (or say --live-target from the start if the application deletes rows)",
            table.map_or("", |table| table.name.as_str()),
            missing.len(),
            canaries.len(),
            self.checkpoint.run()
        )))
    }

    pub(super) async fn inspect(&self, create: Create) -> Result<Vec<TargetTable>> {
        let Inspected { tables, warnings } = self.destination.inspect(&self.pool, &self.mapping, create).await?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(tables)
    }

    /// Whether the tables are those of the beginning still, with the rows that `totals` tells of.
    pub(super) async fn check_unchanged(&self, totals: &Counts) -> Result<()> {
        if self.settings.tables.is_empty() {
            return Ok(());
        }
        let now = self.inspect(Create::Nothing).await?;
        let mut tables = self.settings.tables.iter().zip(&now).enumerate();
        let changed = tables.find(|(index, (then, now))| {
            then.identity != now.identity || (self.has_rows(totals, *index) && now.empty_at_start)
        });
        if let Some((_, (then, _))) = changed {
            return Err(Error::refused(format!(
                "table {} was altered, truncated or recreated while the run was going on; it is not complete: begin \
                 anew with --restart",
                then.name
            )));
        }
        self.check_canaries().await
    }
}
