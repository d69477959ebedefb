//! The second stage of a clustered load: each piece of a table's key range is merged from all sorted runs and written in
//! key order, pieces in parallel.
//!
//! A piece is a live unit to the ledger: its batches become durable in order, and it is resumed after the last key. The
//! same runs always merge to the same rows, also when one of them had to be made anew from the source.
//!
//! A sink that only writes has nothing to do where there are no rows. One that compares has: then a piece ends with a batch
//! of its own, which has no rows and stands for the keys after the last.
#![expect(clippy::disallowed_methods, reason = "measures latencies; decides nothing by the clock")]

use super::lane;
use super::work::{Assignment, Work};
use super::{Ended, MaxRejects};
use crate::checkpoint::spills::StoredPiece;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::model::batch::{Batch, Feed, Stretch, TableRows};
use crate::model::hex;
use crate::model::page::{Page, Span, UnitId};
use crate::model::rows::Rows;
use crate::monitor::{Event, Monitor};
use crate::sink::Sink;
use crate::spill::Fault;
use crate::spill::merge::Merge;
use crate::spill::pieces::Piece;
use crate::spill::run::Run;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of one transaction, at most: few enough for a server's undo log, many enough that its fixed costs do not show.
const ROWS_MAX: usize = 16_384;

/// Bytes of one transaction's rows.
const BYTES_MAX: usize = 4 << 20;

/// What the stage works with.
pub struct Loading {
    /// Where rows go.
    pub sink: Arc<dyn Sink>,
    /// Claims, fences and the ledger of the pieces.
    pub work: Work,
    /// Every sorted run, proved.
    pub runs: Vec<Arc<Run>>,
    /// The tables.
    pub mapping: Arc<Mapping>,
    /// By table, what a row in the runs looks like.
    pub shapes: Vec<RowShape>,
    /// Whether the sink is to be told of every key there can be.
    pub covers: bool,
    /// The pieces.
    pub pieces: BTreeMap<UnitId, StoredPiece>,
    /// Pieces at once.
    pub loaders: usize,
    /// Rejects after which the run stops.
    pub max_rejects: MaxRejects,
    /// How long a silent process keeps its pieces.
    pub lease: Duration,
    /// Who watches.
    pub monitor: Arc<dyn Monitor>,
}

/// What a row in a sorted run looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowShape {
    /// Its cells.
    pub columns: usize,
    /// Those of its key, in the key's order.
    pub key: Vec<usize>,
}

/// Where a piece was left that is compared to its end: no sort key looks so.
const END: &str = "end";

/// Loads every piece.
///
/// # Errors
/// The first fatal error, after everybody has stopped.
pub async fn run(loading: Arc<Loading>) -> Result<Ended> {
    loading.work.halt().run_until_cancelled(super::look(&*loading.sink, &*loading.monitor)).await;
    let processes = loading.work.heartbeat(loading.lease).await?;
    let beat = {
        let loading = Arc::clone(&loading);
        tokio::spawn(async move { super::keep_lease(&loading.work, loading.lease, processes, |_| {}).await })
    };
    let tending = {
        let loading = Arc::clone(&loading);
        tokio::spawn(async move { super::tend(&*loading.sink, &*loading.monitor).await })
    };
    let loaders: Vec<_> = (0..loading.loaders.max(1)).map(|_| tokio::spawn(load(Arc::clone(&loading)))).collect();
    for loader in loaders {
        if loader.await.is_err() {
            loading.work.fail(Error::internal("a loader died while writing a piece"));
        }
    }
    beat.abort();
    tending.abort();
    loading.work.end().await
}

async fn load(loading: Arc<Loading>) {
    while let Some(assignment) = loading.work.next().await {
        if let Err(error) = load_piece(&loading, &assignment).await {
            loading.work.fail(error);
        }
    }
}

/// A piece that is being merged.
struct Merging {
    merge: Merge,
    rows: Rows,
    last: Vec<u8>,
}

/// Begins a piece, or goes on after the key `after`. Gives where its next batch begins, and where its last one ends.
fn begin(loading: &Loading, piece: &StoredPiece, after: Option<&[u8]>) -> Result<(Merging, Stretch)> {
    let keys = Piece { from: piece.from.clone(), to: piece.to.clone(), rows: 0 };
    let (from, to) = keys.range(after);
    let merge = Merge::new(&loading.runs, piece.table, (from, to));
    let merge = merge.map_err(|fault| refused(fault, &loading.mapping, &loading.work))?;
    let rows = Rows::new(loading.shapes[piece.table].columns);
    let stretch = Stretch { table: piece.table, from: from.map(<[u8]>::to_vec), to: to.map(<[u8]>::to_vec) };
    Ok((Merging { merge, rows, last: Vec::new() }, stretch))
}

impl Merging {
    /// Merges the next rows; how many.
    async fn next(mut self, loading: &Loading) -> Result<(Self, usize)> {
        let merged = tokio::task::spawn_blocking(move || {
            self.rows.clear();
            let merged = self.merge.next(&mut self.rows, ROWS_MAX, BYTES_MAX, &mut self.last);
            (self, merged)
        });
        let (merging, merged) = merged.await.map_err(|_| Error::internal("a merge died"))?;
        Ok((merging, merged.map_err(|fault| refused(fault, &loading.mapping, &loading.work))?))
    }
}

async fn load_piece(loading: &Arc<Loading>, assignment: &Assignment) -> Result<()> {
    let (unit, reading) = (assignment.unit, assignment.reading);
    let piece = loading.pieces.get(&unit).ok_or_else(|| Error::internal("a piece that nobody stored"))?;
    let mut at = assignment.wanted.items.first().map_or(0, |range| range.start);
    let after = assignment.wanted.after.as_deref();
    if after == Some(END) {
        loading.work.verified(unit, reading, at).await;
        return Ok(());
    }
    let (mut merging, mut left) = begin(loading, piece, after.map(sort_key).transpose()?.as_deref())?;
    while !loading.work.halt().is_cancelled() {
        let started = Instant::now();
        let (mut next, rows) = merging.next(loading).await?;
        let is_end = rows == 0;
        if is_end && !loading.covers {
            loading.work.verified(unit, reading, at).await;
            return Ok(());
        }
        // The end counts as one position: a span has at least one.
        let span = Span { unit, from: at, to: at + rows.max(1) as u64 };
        let mut stretch = left.clone();
        let mut reached = END.to_owned();
        if !is_end {
            reached = hex::lower(&next.last);
            stretch.to = Bound::Included(next.last.clone());
            left.from = Bound::Excluded(next.last.clone());
        }
        let batch = batch(loading, stretch, span, std::mem::take(&mut next.rows), reached);
        loading.monitor.event(&Event::PageEncoded { span, took: started.elapsed() });
        let started = Instant::now();
        // Void: the piece is being read anew, by whoever takes it next.
        let Some(counts) = lane::write(&*loading.sink, &loading.work, &batch, reading).await? else { return Ok(()) };
        loading.monitor.event(&Event::Committed { span, counts: &counts, took: started.elapsed() });
        loading.work.committed(span, &counts, loading.max_rejects).await?;
        at = span.to;
        if is_end {
            loading.work.verified(unit, reading, at).await;
            return Ok(());
        }
        next.rows = batch.tables.into_iter().nth(piece.table).unwrap_or_default().rows;
        merging = next;
    }
    Ok(())
}

fn batch(loading: &Loading, stretch: Stretch, span: Span, rows: Rows, reached: String) -> Batch {
    let order = (0..u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
    let tables = loading.shapes.iter().map(|shape| TableRows { key: shape.key.clone(), ..TableRows::default() });
    let mut tables: Vec<TableRows> = tables.collect();
    tables[stretch.table].rows = rows;
    tables[stretch.table].order = order;
    let page = Page { span, bytes: Vec::new(), reached: Some(reached), half_units: 0 };
    Batch { page, tables, rejects: Vec::new(), skipped: 0, feed: Feed::Runs(stretch), changes: None }
}

/// Why rows could not be sorted or merged, with the names of tables and units.
pub(super) fn refused(fault: Fault, mapping: &Mapping, work: &Work) -> Error {
    match fault {
        Fault::Failed(error) => error,
        Fault::Twins(twins) => {
            let table = mapping.tables().get(twins.table).map_or("", |table| table.name.as_str());
            twins.refused(table, &work.unit_name(twins.first.unit), &work.unit_name(twins.second.unit))
        }
    }
}

/// The sort key that the ledger keeps in hexadecimal.
fn sort_key(reached: &str) -> Result<Vec<u8>> {
    hex::read(reached).ok_or_else(|| Error::internal("the position of a piece is not readable"))
}
