//! Clustered load: everything becomes sorted runs on local disk first, and is loaded in key order afterwards, so that a
//! table far larger than the server's memory is written page by page, each once. The two stages are the pipeline's.

use super::Backfill;
use crate::error::{Error, Result};
use crate::model::page::UnitId;
use crate::monitor::Monitor;
use crate::pipeline::Ended;
use crate::pipeline::clustered::Clustered;
use crate::sink::scan::key_kinds;
use crate::source::lines;
use crate::spill::dir::SpillDir;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Backfill {
    /// Sorts what is not sorted yet and loads what is not loaded yet.
    pub(super) async fn flow_clustered(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let mut options = self.options.pipeline.clone();
        (options.seed, options.page_bytes) = (self.settings.seed, self.settings.page_bytes);
        let clustered = Clustered {
            source: Arc::clone(&self.source),
            mapping: Arc::clone(&self.mapping),
            checkpoint: self.checkpoint.clone(),
            pool: Arc::clone(&self.pool),
            options,
            spill_dir: self.options.spill_dir.clone(),
            spill_limit: self.options.spill_limit,
            before: self.before.clone(),
            kinds: key_kinds(self.mapping.tables(), self.facts.dialect),
            narrow: None,
            covers: false,
        };
        clustered.run(self.sink(monitor), stop, monitor).await
    }

    /// Gives the rejects of the loading their items, which only the source has.
    pub(super) async fn quote_rejects(&self) -> Result<()> {
        let mut by_unit: BTreeMap<UnitId, Vec<u64>> = BTreeMap::new();
        for (unit, position) in self.checkpoint.unquoted().await? {
            by_unit.entry(unit).or_default().push(position);
        }
        for (unit, positions) in by_unit {
            let source = Arc::clone(&self.source);
            let reading = tokio::task::spawn_blocking(move || lines::at(&*source, unit, &positions));
            let found = reading.await.map_err(|_| Error::internal("reading rejected items again died"))??;
            for (position, line) in found {
                self.checkpoint.quote(unit, position, &line).await?;
            }
        }
        Ok(())
    }

    /// Removes what only the loading needed: the run is complete.
    pub(super) async fn clear_spill(&self) {
        if !self.settings.clustered {
            return;
        }
        SpillDir::clear(&self.options.spill_dir, self.checkpoint.incarnation());
        if let Err(error) = self.checkpoint.forget_spills().await {
            tracing::warn!("the run is complete, but the names of its sorted runs are still stored: {}", error.chain());
        }
    }
}
