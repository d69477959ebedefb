//! The end: proves that every item is accounted for, marks the run complete, and reports. Nothing of the report comes from
//! memory: a run that was killed at any point is reported the same by whoever finishes it.

use super::Backfill;
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::{Event, Monitor};
use crate::pipeline;
use crate::report::{ProcessReport, Report, Status};
use std::path::Path;
use std::sync::Arc;

impl Backfill {
    /// All units are done: proves that everything is accounted for and that the target is still the one it was.
    pub(super) async fn finish(&self, monitor: &Arc<dyn Monitor>) -> Result<()> {
        let totals = self.checkpoint.totals().await?;
        let (items, exact) = (self.source.description().items, self.source.description().exact);
        if (exact && totals.read != items) || totals.loaded != totals.spilled || !totals.add_up() {
            // Every unit was done a moment ago: either the server lost commits since, or something is badly wrong, which
            // another round will not change.
            return Err(Error::new(
                ErrorKind::Transient,
                format!(
                    "run {}: {} items are accounted for, the source declares {items}; the run is not complete",
                    self.checkpoint.run(),
                    totals.read
                ),
            ));
        }
        self.check_unchanged(&totals).await?;
        if self.settings.clustered {
            self.quote_rejects().await?;
        }
        self.checkpoint.complete().await?;
        monitor.event(&Event::RunComplete);
        self.checkpoint.end_copy(&self.pool, &self.source.description().table, &self.loaded_tables()).await?;
        self.clear_spill().await;
        Ok(())
    }

    /// The tables that this run loads while live writers may remove rows from them. A run of changes loads none: it is such
    /// a writer itself; and a DynamoDB target has no tables that remember.
    pub(super) fn loaded_tables(&self) -> Vec<String> {
        let loads = !self.source.description().changes;
        self.settings.tables.iter().filter(|_| loads).map(|table| table.name.clone()).collect()
    }

    pub(super) async fn report(&self, status: Status) -> Result<Report> {
        let totals = self.checkpoint.totals().await?;
        let description = self.source.description();
        let names: Vec<String> = self.mapping.tables().iter().map(|table| table.name.clone()).collect();
        let rejected = totals.outcomes().rejected;
        let rejects_file = if rejected > 0 { Some(self.export_rejects().await?) } else { None };
        let since = if rejected > 0 { Some(self.checkpoint.reject_states().await?) } else { None };
        let status = if status == Status::Complete && rejected > 0 { Status::CompleteWithRejects } else { status };
        let mut report = Report {
            status,
            run: self.checkpoint.run().to_owned(),
            source: description.identity.clone(),
            target: self.destination.to_string(),
            table: description.table.clone(),
            items: description.items,
            exact: description.exact,
            read: 0,
            bytes: 0,
            outcomes: totals.outcomes(),
            skipped: 0,
            removed: description.changes.then_some(0),
            superseded: description.changes.then_some(0),
            tables: Vec::new(),
            rejects_since: since.filter(|states| states.open < states.total()),
            failures: Vec::new(),
            rejects_file,
            kept_until: None,
            seed: self.settings.seed,
            process: ProcessReport::default(),
            load_method: if self.loading.is_some() { "load-data" } else { "insert" },
            version: env!("CARGO_PKG_VERSION"),
            server: self.facts.server.clone(),
        };
        report.set_counts(&totals, &names);
        Ok(report)
    }

    async fn export_rejects(&self) -> Result<String> {
        let default = || Path::new(&format!("{}.rejects.jsonl", self.checkpoint.run())).to_path_buf();
        let path = self.options.rejects.clone().unwrap_or_else(default);
        let units = &self.source.description().units;
        let names = |unit: u32| units.get(unit as usize).map(|unit| unit.name.as_str()).unwrap_or_default();
        pipeline::reject::export(&self.checkpoint, &path, &names).await?;
        Ok(path.display().to_string())
    }
}
