//! Clustered load: everything becomes sorted runs on local disk first, and is loaded in key order afterwards, so that a
//! table far larger than the server's memory is written page by page, each once.
//!
//! What is sorted and what is loaded is the database's to say, here as everywhere. A run that is lost or damaged when the
//! loading begins has its own spans read again, and no others.

use super::Backfill;
use crate::checkpoint::owner::Owner;
use crate::checkpoint::spills::StoredPiece;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::{ColumnType, Table};
use crate::model::page::{Unit, UnitId};
use crate::monitor::{Event, Monitor};
use crate::pipeline::load::{self, Loading};
use crate::pipeline::sort::Sorter;
use crate::pipeline::work::Work;
use crate::pipeline::{Ended, Outlet};
use crate::source::lines;
use crate::spill::RunInfo;
use crate::spill::dir::SpillDir;
use crate::spill::key::KeyKind;
use crate::spill::pieces::{self, Piece};
use crate::spill::run::{Damage, Run};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Pieces for each loader: enough that none waits long for the last one.
const PIECES_PER_LOADER: u64 = 4;

/// A smaller piece is not worth its own claim.
const ROWS_PER_PIECE_MIN: u64 = 20_000;

/// What a merge holds of one run: a block as it is stored, and as it was.
const MERGE_BYTES_PER_RUN: usize = 64 << 10;

/// How often lost runs are read again before somebody should look at the disk.
const ROUNDS_MAX: u32 = 3;

impl Backfill {
    /// Sorts what is not sorted yet and loads what is not loaded yet.
    pub(super) async fn flow_clustered(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let owner = Owner::this_process();
        self.checkpoint.heartbeat(&owner, self.options.pipeline.lease).await?;
        if self.checkpoint.others(&owner).await? > 0 {
            self.checkpoint.release(&owner).await?;
            return Err(Error::refused(format!(
                "run {}: another process works on it; a clustered load is one process's, since its sorted runs lie on one \
                 host's disk (several can share a run that was begun with --load-order arrival)",
                self.checkpoint.run()
            )));
        }
        let dir = Arc::new(SpillDir::open(
            &self.options.spill_dir,
            self.checkpoint.incarnation(),
            self.options.spill_limit,
            self.source.description().bytes,
        )?);
        if self.loaded().await? {
            return Ok(Ended::Drained);
        }
        for _ in 0..ROUNDS_MAX {
            match self.sort(&dir, stop, monitor).await? {
                Ended::Drained => {}
                other => return Ok(other),
            }
            if let Some(runs) = self.sound_runs(&dir).await?
                && self.cut(&runs).await?
            {
                return self.load(runs, stop, monitor).await;
            }
        }
        Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{}: sorted runs are lost or damaged again and again; try --spill-dir on another disk",
                dir.path().display()
            ),
        ))
    }

    /// Whether every piece is loaded, so that sorted runs are of no more use.
    async fn loaded(&self) -> Result<bool> {
        let pieces = self.checkpoint.pieces().await?;
        Ok(!pieces.is_empty() && self.checkpoint.open_units().await? == 0)
    }

    /// Units of the source: those before the pieces.
    fn sources(&self) -> UnitId {
        UnitId::try_from(self.source.description().units.len()).unwrap_or(UnitId::MAX)
    }

    async fn sort(&self, dir: &Arc<SpillDir>, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let known = self.run_infos().await?;
        let dir = Arc::clone(dir);
        dir.tidy(&known)?;
        let checkpoint = self.checkpoint.clone().of_units(0..self.sources()).watched(Arc::clone(monitor));
        let memory = self.options.pipeline.memory_bytes;
        let kinds = kinds(self.mapping.tables());
        let sorter = Sorter::new(checkpoint.clone(), dir, Arc::clone(&self.mapping), kinds, memory);
        self.flow(Outlet::Runs(sorter), checkpoint, stop, monitor).await
    }

    /// Every sorted run, proved to be what was written. None when some were not: their spans are to be read again.
    async fn sound_runs(&self, dir: &Arc<SpillDir>) -> Result<Option<Vec<Arc<Run>>>> {
        let infos = self.run_infos().await?;
        let dir = Arc::clone(dir);
        let proving = tokio::task::spawn_blocking(move || {
            let mut runs = Vec::with_capacity(infos.len());
            let mut lost = Vec::new();
            for info in infos {
                let Some(damage) = dir.verify(&info)? else {
                    runs.push(Arc::new(dir.run(&info)?));
                    continue;
                };
                let damage = match damage {
                    Damage::Missing => "it is not there".to_owned(),
                    Damage::Damaged(how) => how,
                };
                tracing::warn!(
                    "sorted run {} in {}: {damage}; its items are read again (was it begun with another --spill-dir?)",
                    info.name,
                    dir.path().display()
                );
                dir.remove(&info);
                lost.push(info.name);
            }
            Ok::<_, Error>((runs, lost))
        });
        let (runs, lost) = proving.await.map_err(|_| Error::internal("checking the sorted runs died"))??;
        if lost.is_empty() {
            return Ok(Some(runs));
        }
        let items = self.checkpoint.lose_spills(&lost).await?;
        tracing::warn!("{} sorted runs with {items} items are read again", lost.len());
        Ok(None)
    }

    async fn run_infos(&self) -> Result<Vec<RunInfo>> {
        let broken = |error| Error::internal("what is stored of a sorted run is not readable").because(error);
        let facts = self.checkpoint.spills().await?;
        facts.iter().map(|facts| serde_json::from_str(facts).map_err(broken)).collect()
    }

    /// Pieces loaded at once. A merge holds a block of every run; of very many runs fewer are merged at once.
    fn loaders(&self, runs: &[Arc<Run>]) -> usize {
        let options = &self.options.pipeline;
        let merges = options.memory_bytes / (runs.len() * MERGE_BYTES_PER_RUN).max(1);
        options.writers.min(merges).max(1)
    }

    /// Cuts what the runs hold into pieces, unless it is cut already. False when the server has forgotten some of them.
    async fn cut(&self, runs: &[Arc<Run>]) -> Result<bool> {
        let rows = self.checkpoint.totals().await?.spilled / (self.loaders(runs) as u64 * PIECES_PER_LOADER);
        let pieces = cut(runs, self.sources(), self.mapping.tables().len(), rows.max(ROWS_PER_PIECE_MIN));
        self.checkpoint.create_pieces(runs.len(), &pieces).await
    }

    async fn load(&self, runs: Vec<Arc<Run>>, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let (first, loaders, totals) = (self.sources(), self.loaders(&runs), self.checkpoint.totals().await?);
        let pieces = self.checkpoint.pieces().await?;
        monitor.event(&Event::LoadBegun { rows: totals.spilled, loaded: totals.loaded });
        let mut units = self.source.description().units.clone();
        units.extend(pieces.iter().map(|piece| Unit {
            id: piece.unit,
            name: format!("piece {} of {}", piece.unit - first + 1, pieces.len()),
            items: None,
        }));
        let checkpoint = self.checkpoint.clone().of_units(first..UnitId::MAX).watched(Arc::clone(monitor));
        let pool = Arc::clone(&self.pool);
        let work = Work::new(checkpoint, pool, Owner::this_process(), units, &totals, Arc::clone(monitor), stop);
        let loading = Loading {
            sink: self.sink(monitor),
            work,
            runs,
            mapping: Arc::clone(&self.mapping),
            pieces: pieces.into_iter().map(|piece| (piece.unit, piece)).collect(),
            loaders,
            max_rejects: self.options.pipeline.max_rejects,
            lease: self.options.pipeline.lease,
            monitor: Arc::clone(monitor),
        };
        load::run(Arc::new(loading)).await
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

/// How the key columns of each table compare. Decimals are text here, and numbers to the server.
fn kinds(tables: &[Table]) -> Vec<Vec<KeyKind>> {
    let kind = |ty: ColumnType| match ty {
        ColumnType::Decimal { .. } => KeyKind::Decimal,
        _ => KeyKind::AsIs,
    };
    let of_table = |table: &Table| table.key.iter().map(|column| kind(table.columns[*column].ty)).collect();
    tables.iter().map(of_table).collect()
}

/// Cuts every table's key range into pieces of about the same size, numbered from `first`.
fn cut(runs: &[Arc<Run>], first: UnitId, tables: usize, rows_per_piece: u64) -> Vec<StoredPiece> {
    let pieces = (0..tables).flat_map(|table| {
        let cut = pieces::cut(runs, table, rows_per_piece);
        cut.into_iter().map(move |Piece { from, to, .. }| (table, from, to))
    });
    (first..).zip(pieces).map(|(unit, (table, from, to))| StoredPiece { unit, table, from, to }).collect()
}
