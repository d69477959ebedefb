//! Two stages over local disk: everything becomes sorted runs first, and goes to a sink in key order afterwards. A clustered
//! load writes it there, so that a table far larger than the server's memory is written page by page, each once; a
//! verification compares it.
//!
//! What is sorted and what is loaded is the database's to say, here as everywhere. A run that is lost or damaged when the
//! second stage begins has its own spans read again, and no others; of a live table, which cannot be read twice alike, the
//! whole run is refused.

use super::load::{self, Loading, RowShape};
use super::sort::Sorter;
use super::work::Work;
use super::{Ended, Flow, Options, Outlet};
use crate::checkpoint::owner::Owner;
use crate::checkpoint::run::Checkpoint;
use crate::checkpoint::spills::StoredPiece;
use crate::compare::narrow::Narrow;
use crate::driver::pool::Pool;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Mapping;
use crate::model::counts::Counts;
use crate::model::page::{Unit, UnitId};
use crate::monitor::{Event, Monitor};
use crate::sink::Sink;
use crate::source::Source;
use crate::spill::RunInfo;
use crate::spill::dir::SpillDir;
use crate::spill::key::KeyKind;
use crate::spill::pieces::{self, Piece};
use crate::spill::run::{Damage, Run};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::path::PathBuf;
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

/// A run of two stages.
pub struct Clustered {
    /// Where items come from.
    pub source: Arc<dyn Source>,
    /// How they become rows.
    pub mapping: Arc<Mapping>,
    /// The run.
    pub checkpoint: Checkpoint,
    /// The sessions behind it.
    pub pool: Arc<Pool>,
    /// How wide, with the run's own seed and page size.
    pub options: Options,
    /// Where sorted runs are kept.
    pub spill_dir: PathBuf,
    /// Bytes that they may take.
    pub spill_limit: Option<u64>,
    /// What earlier processes did.
    pub before: Counts,
    /// By table, how the columns of its key compare.
    pub kinds: Vec<Vec<KeyKind>>,
    /// What rows become before they are sorted; none when they stay as they are.
    pub narrow: Option<Arc<Narrow>>,
    /// Whether the sink is to be told of every key there can be, rather than of those that have rows.
    pub covers: bool,
}

/// Everything, sorted; the folder is this process's own while it is held.
pub struct Sorted {
    /// The runs, proved.
    pub runs: Vec<Arc<Run>>,
    dir: Arc<SpillDir>,
}

impl Sorted {
    /// Bytes that they take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.dir.bytes()
    }
}

impl Clustered {
    /// Sorts what is not sorted yet, and gives `sink` what it has not had yet.
    ///
    /// # Errors
    /// The first fatal error; `Refused` when another process works on the run.
    pub async fn run(
        &self,
        sink: Arc<dyn Sink>,
        stop: &CancellationToken,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<Ended> {
        let dir = self.alone().await?;
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
                return self.load(sink, runs, stop, monitor).await;
            }
        }
        Err(lost_again(&dir))
    }

    /// Sorts what is not sorted yet, and no more: the runs, or how else it ended.
    ///
    /// # Errors
    /// As [`run`](Clustered::run).
    pub async fn sorted(
        &self,
        stop: &CancellationToken,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<std::result::Result<Sorted, Ended>> {
        let dir = self.alone().await?;
        for _ in 0..ROUNDS_MAX {
            match self.sort(&dir, stop, monitor).await? {
                Ended::Drained => {}
                other => return Ok(Err(other)),
            }
            if let Some(runs) = self.sound_runs(&dir).await? {
                return Ok(Ok(Sorted { runs, dir }));
            }
        }
        Err(lost_again(&dir))
    }

    /// Proves that no other process works on the run, and opens its folder.
    async fn alone(&self) -> Result<Arc<SpillDir>> {
        let owner = Owner::this_process();
        self.checkpoint.heartbeat(&owner, self.options.lease).await?;
        if self.checkpoint.others(&owner).await? > 0 {
            self.checkpoint.release(&owner).await?;
            return Err(Error::refused(format!(
                "run {}: another process works on it; it is one process's, since its sorted runs lie on one host's disk \
                 (several can share a backfill that was begun with --load-order arrival)",
                self.checkpoint.run()
            )));
        }
        let bytes = self.source.description().bytes;
        let dir = SpillDir::open(&self.spill_dir, self.checkpoint.incarnation(), self.spill_limit, bytes)?;
        Ok(Arc::new(dir))
    }

    /// Whether every piece is loaded, so that sorted runs are of no more use.
    ///
    /// # Errors
    /// Of the database.
    pub async fn loaded(&self) -> Result<bool> {
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
        let (mapping, kinds, memory) = (Arc::clone(&self.mapping), self.kinds.clone(), self.options.memory_bytes);
        let sorter = Sorter::new(checkpoint.clone(), dir, mapping, kinds, memory).narrowed(self.narrow.clone());
        let (units, pool) = (self.source.description().units.clone(), Arc::clone(&self.pool));
        let work = Work::new(checkpoint, pool, Owner::this_process(), units, &self.before, Arc::clone(monitor), stop);
        let (source, options) = (Arc::clone(&self.source), self.options.clone());
        super::run(Flow::new(source, &self.mapping, Outlet::Runs(sorter), work, options, stop.clone())?).await
    }

    /// Every sorted run, proved to be what was written. None when some were not: their spans are to be read again.
    async fn sound_runs(&self, dir: &Arc<SpillDir>) -> Result<Option<Vec<Arc<Run>>>> {
        let infos = self.run_infos().await?;
        let dir = Arc::clone(dir);
        // Nothing else goes on meanwhile: a run on each core.
        let proving = tokio::task::spawn_blocking(move || {
            infos.into_par_iter().map(|info| proved(&dir, info)).collect::<Result<Vec<_>>>()
        });
        let proved = proving.await.map_err(|_| Error::internal("checking the sorted runs died"))??;
        let (mut runs, mut lost) = (Vec::with_capacity(proved.len()), Vec::new());
        for proved in proved {
            match proved {
                Ok(run) => runs.push(Arc::new(run)),
                Err(name) => lost.push(name),
            }
        }
        if lost.is_empty() {
            return Ok(Some(runs));
        }
        if !self.source.description().exact {
            let items = self.source.description().items;
            return Err(Error::refused(format!(
                "run {}: {} sorted runs are lost or damaged, and a live table cannot be read twice alike: begin anew with \
                 --restart, which reads the whole table again, about {items} items",
                self.checkpoint.run(),
                lost.len()
            )));
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
        let merges = self.options.memory_bytes / (runs.len() * MERGE_BYTES_PER_RUN).max(1);
        self.options.writers.min(merges).max(1)
    }

    /// Cuts what the runs hold into pieces, unless it is cut already. False when the server has forgotten some of them.
    async fn cut(&self, runs: &[Arc<Run>]) -> Result<bool> {
        let rows = self.checkpoint.totals().await?.spilled / (self.loaders(runs) as u64 * PIECES_PER_LOADER);
        let rows = rows.max(ROWS_PER_PIECE_MIN);
        let pieces = (0..self.mapping.tables().len()).flat_map(|table| {
            let mut cut = pieces::cut(runs, table, rows);
            if cut.is_empty() && self.covers {
                cut.push(Piece { from: None, to: None, rows: 0 });
            }
            cut.into_iter().map(move |Piece { from, to, .. }| (table, from, to))
        });
        let pieces =
            (self.sources()..).zip(pieces).map(|(unit, (table, from, to))| StoredPiece { unit, table, from, to });
        self.checkpoint.create_pieces(runs.len(), &pieces.collect::<Vec<_>>()).await
    }

    async fn load(
        &self,
        sink: Arc<dyn Sink>,
        runs: Vec<Arc<Run>>,
        stop: &CancellationToken,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<Ended> {
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
            sink,
            work,
            runs,
            mapping: Arc::clone(&self.mapping),
            shapes: self.shapes(),
            covers: self.covers,
            pieces: pieces.into_iter().map(|piece| (piece.unit, piece)).collect(),
            loaders,
            max_rejects: self.options.max_rejects,
            lease: self.options.lease,
            monitor: Arc::clone(monitor),
        };
        load::run(Arc::new(loading)).await
    }

    /// By table, what a row in the runs looks like.
    fn shapes(&self) -> Vec<RowShape> {
        let tables = self.mapping.tables().iter().enumerate();
        let shape = |(index, table): (usize, &crate::mapping::Table)| match &self.narrow {
            None => RowShape { columns: table.columns.len(), key: table.key.clone() },
            Some(narrow) => RowShape { columns: narrow.columns(index), key: (0..table.key.len()).collect() },
        };
        tables.map(shape).collect()
    }
}

/// A sorted run that is what was written; of any other the name, once it is told and removed.
fn proved(dir: &SpillDir, info: RunInfo) -> Result<std::result::Result<Run, String>> {
    let Some(damage) = dir.verify(&info)? else { return dir.run(&info).map(Ok) };
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
    Ok(Err(info.name))
}

fn lost_again(dir: &SpillDir) -> Error {
    let path = dir.path().display();
    let what = format!("{path}: sorted runs are lost or damaged again and again; try --spill-dir on another disk");
    Error::new(ErrorKind::Corrupt, what)
}
