//! The first stage of a clustered load: batches gather until there are enough for a sorted run on disk.
//!
//! A run is written, made durable, and only then recorded with its spans in one transaction: what is not recorded was
//! never read. Whoever fills the gathered rows writes them; the others go on with new ones. A page's permit is held, for
//! the size of its encoded rows, until its run is recorded. Knows nothing of the target's tables but their keys.
//!
//! Pages of a live unit are gathered in their order, and runs are recorded in the order in which they were gathered: the
//! ledger of such a unit has no gaps. What arrives early waits.
#![expect(clippy::disallowed_methods, reason = "measures latencies; decides nothing by the clock")]

use super::Flow;
use super::load::refused;
use super::queue::Permit;
use super::work::RESTORES_MAX;
use crate::checkpoint::rejects::NewReject;
use crate::checkpoint::run::Checkpoint;
use crate::checkpoint::spills::{Recorded, SpilledSpan};
use crate::compare::narrow::Narrow;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Mapping;
use crate::model::batch::Batch;
use crate::model::counts::Counts;
use crate::model::page::{Span, UnitId};
use crate::model::reject::Reject;
use crate::monitor::Event;
use crate::spill::RunInfo;
use crate::spill::dir::SpillDir;
use crate::spill::gather::{Gathered, Packed};
use crate::spill::key::KeyKind;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Of the bytes in flight so much gathers for one run: one gathers, one is being written, and the rest is pages.
const SHARE_OF_MEMORY: usize = 3;

/// How often to ask whether nothing more will come for now.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Gathers batches and writes them as sorted runs.
pub struct Sorter {
    checkpoint: Checkpoint,
    dir: Arc<SpillDir>,
    mapping: Arc<Mapping>,
    kinds: Vec<Vec<KeyKind>>,
    full: usize,
    /// What rows become before they come here, if they do not come whole.
    narrow: Option<Arc<Narrow>>,
    state: Mutex<Gathering>,
    turns: Arc<Turns>,
}

#[derive(Default)]
struct Gathering {
    pages: Vec<PackedPage>,
    live: BTreeMap<UnitId, LiveUnit>,
    /// Bytes of all pages, those that wait for an earlier one included.
    held: usize,
}

/// A live unit whose pages are gathered.
struct LiveUnit {
    reading: u32,
    /// The item that comes next.
    next: u64,
    /// Pages that came too early, by their first item.
    early: BTreeMap<u64, PackedPage>,
}

/// A page whose rows are packed.
struct PackedPage {
    span: Span,
    reading: u32,
    /// Where a live unit goes on after it.
    reached: Option<String>,
    bytes: usize,
    rows: Packed,
    counts: Counts,
    rejects: Vec<(Reject, Vec<u8>)>,
    permit: Permit,
    since: Instant,
}

/// The pages of one run.
pub struct Full {
    pages: Vec<PackedPage>,
    turn: Turn,
}

impl Sorter {
    /// Writes runs of the tables of `mapping`, whose key columns compare as `kinds` say, into `dir`, with `memory` bytes
    /// in flight.
    #[must_use]
    pub fn new(
        checkpoint: Checkpoint,
        dir: Arc<SpillDir>,
        mapping: Arc<Mapping>,
        kinds: Vec<Vec<KeyKind>>,
        memory: usize,
    ) -> Self {
        let full = memory / SHARE_OF_MEMORY;
        let (state, turns) = (Mutex::default(), Arc::default());
        Sorter { checkpoint, dir, mapping, kinds, full, narrow: None, state, turns }
    }

    /// The same, for rows that become narrow first. They are there to be compared: of rejects only the number counts.
    #[must_use]
    pub fn narrowed(self, narrow: Option<Arc<Narrow>>) -> Self {
        Sorter { narrow, ..self }
    }

    /// What rows become before they are [added](Sorter::add).
    #[must_use]
    pub fn narrow(&self) -> Option<Arc<Narrow>> {
        self.narrow.clone()
    }

    /// Adds a batch; what it returns is full and to be [written](Sorter::write) by whoever gets it.
    pub fn add(&self, flow: &Flow, batch: &Batch, reading: u32, mut permit: Permit) -> Option<Full> {
        let rows = Packed::new(batch, &self.kinds);
        let quoted = batch.rejects.iter().filter(|_| self.narrow.is_none());
        let quoted = quoted.map(|reject| (reject.clone(), batch.line(reject.position).to_vec()));
        let rejects: Vec<_> = quoted.collect();
        let bytes = rows.bytes() + rejects.iter().map(|(_, line)| line.len()).sum::<usize>();
        permit.settle(bytes);
        let (span, counts, reached) = (batch.page.span, batch.counts().spilled(), batch.page.reached.clone());
        let is_live = reached.is_some();
        let since = Instant::now();
        let page = PackedPage { span, reading, reached, bytes, rows, counts, rejects, permit, since };
        let durable = if is_live { flow.work.contiguous(span.unit) } else { 0 };
        let mut state = self.lock();
        state.held += bytes;
        if is_live {
            state.add_live(page, durable)
        } else {
            state.pages.push(page)
        }
        if state.held >= self.full { self.take(&mut state) } else { None }
    }

    /// What has gathered, if anything has.
    fn rest(&self) -> Option<Full> {
        self.take(&mut self.lock())
    }

    fn take(&self, state: &mut Gathering) -> Option<Full> {
        if state.pages.is_empty() {
            return None;
        }
        let pages = std::mem::take(&mut state.pages);
        state.held -= pages.iter().map(|page| page.bytes).sum::<usize>();
        Some(Full { pages, turn: self.turns.next() })
    }

    /// Writes a run and records it.
    ///
    /// # Errors
    /// Of the disk and of the database; `Refused` when two rows have one key.
    pub async fn write(&self, flow: &Flow, full: Full) -> Result<()> {
        // Pages of a unit that failed meanwhile are void: their rows must not be in the run either.
        let Full { mut pages, turn } = full;
        pages.retain(|page| flow.work.fence(page.span.unit, page.reading).is_some());
        if pages.is_empty() {
            return Ok(());
        }
        let mut gathered = Gathered::new(self.kinds.len());
        for page in &mut pages {
            gathered.add(std::mem::take(&mut page.rows));
        }
        let dir = Arc::clone(&self.dir);
        let size = gathered.bytes() as u64;
        let writing = tokio::task::spawn_blocking(move || dir.write(&gathered.sort()?, size));
        let written = writing.await.map_err(|_| Error::internal("writing a sorted run died"))?;
        let info = written.map_err(|fault| refused(fault, &self.mapping, &flow.work))?;
        flow.monitor.event(&Event::RunWritten { bytes: info.bytes });
        turn.comes().await;
        for _ in 0..RESTORES_MAX {
            match self.record(flow, &info, &pages).await? {
                Recorded::Done => {
                    drop(turn);
                    return self.recorded(flow, pages).await;
                }
                // Either another process owns a unit, or the server forgot our claim: the audit tells, or puts it back.
                Recorded::Fenced => flow.work.audit().await?,
            }
        }
        Err(Error::refused("the claim of a unit is lost again and again; is the database being restored?"))
    }

    async fn record(&self, flow: &Flow, info: &RunInfo, pages: &[PackedPage]) -> Result<Recorded> {
        let facts = serde_json::to_string(info).map_err(|error| Error::internal("a run's facts").because(error))?;
        let mut spans = Vec::with_capacity(pages.len());
        for page in pages {
            let unit = page.span.unit;
            let Some(fence) = flow.work.fence(unit, page.reading) else {
                let name = flow.work.unit_name(unit);
                return Err(Error::new(
                    ErrorKind::Transient,
                    format!("{name} failed while a sorted run with rows of it was written; run the same command again"),
                ));
            };
            let rejects = page.rejects.iter().map(|(reject, line)| self.reject(unit, reject, line)).collect();
            let reached = page.reached.as_deref();
            spans.push(SpilledSpan { fence, span: page.span, reached, counts: &page.counts, rejects });
        }
        self.checkpoint.record_spill(&info.name, &facts, &spans).await
    }

    fn reject<'a>(&'a self, unit: UnitId, reject: &'a Reject, line: &'a [u8]) -> NewReject<'a> {
        let table = reject.table.and_then(|table| self.mapping.tables().get(table)).map(|table| table.name.as_str());
        let (column, reason) = (reject.column.as_deref(), reject.reason.as_str());
        NewReject { unit, position: reject.position, table, column, reason, item: line }
    }

    async fn recorded(&self, flow: &Flow, pages: Vec<PackedPage>) -> Result<()> {
        for page in pages {
            let PackedPage { span, counts, permit, since, .. } = page;
            flow.monitor.event(&Event::Committed { span, counts: &counts, took: since.elapsed() });
            drop(permit);
            flow.work.committed(span, &counts, flow.options.max_rejects).await?;
        }
        Ok(())
    }

    /// Writes what has gathered whenever nothing more can come before that is recorded: units end only when their last
    /// span is durable, and readers wait for that. `is_dry` says that no unit is open and none can be claimed.
    pub async fn write_rests(&self, flow: &Flow, is_dry: &(dyn Fn() -> bool + Send + Sync), end: &CancellationToken) {
        while end.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let held = self.lock().held;
            // Whatever is in flight is gathered here: no page waits, none is on its way, none is being written.
            if held == 0 || !is_dry() || flow.budget.used() != held {
                continue;
            }
            if let Some(full) = self.rest()
                && let Err(error) = self.write(flow, full).await
            {
                flow.work.fail(error);
            }
        }
    }

    /// Writes what has gathered: the readers have ended.
    ///
    /// # Errors
    /// See [`Sorter::write`].
    pub async fn finish(&self, flow: &Flow) -> Result<()> {
        match self.rest() {
            Some(full) if !flow.work.has_failed() => self.write(flow, full).await,
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gathering> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    /// Adds a page of a live unit, which is durable up to item `durable`: behind the one before it, or it waits for that.
    fn add_live(&mut self, page: PackedPage, durable: u64) {
        let (unit, reading) = (page.span.unit, page.reading);
        let known = self.live.get(&unit).map(|unit| unit.reading);
        if known.is_some_and(|known| known > reading) {
            // Void: the unit is being read anew.
            self.held -= page.bytes;
            return;
        }
        if known != Some(reading) {
            let void = self.live.insert(unit, LiveUnit { reading, next: durable, early: BTreeMap::new() });
            self.held -= void.iter().flat_map(|unit| unit.early.values()).map(|page| page.bytes).sum::<usize>();
        }
        let Some(live) = self.live.get_mut(&unit) else { return };
        live.early.insert(page.span.from, page);
        while let Some(page) = live.early.remove(&live.next) {
            live.next = page.span.to;
            self.pages.push(page);
        }
    }
}

/// Whose turn it is to record: runs are recorded in the order in which their pages were gathered.
#[derive(Default)]
struct Turns {
    state: Mutex<TurnState>,
    changed: Notify,
}

#[derive(Default)]
struct TurnState {
    given: u64,
    /// All before it have had their turn.
    now: u64,
    /// Those after it that need theirs no more.
    done: BTreeSet<u64>,
}

/// A place in the queue; it is left when this is dropped.
struct Turn {
    turns: Arc<Turns>,
    place: u64,
}

impl Turns {
    fn next(self: &Arc<Self>) -> Turn {
        let mut state = self.lock();
        state.given += 1;
        Turn { turns: Arc::clone(self), place: state.given - 1 }
    }

    fn lock(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits until all before it are recorded, or never will be.
    async fn comes(&self) {
        loop {
            let changed = self.turns.changed.notified();
            if self.turns.lock().now == self.place {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.done.insert(self.place);
        while let now = state.now
            && state.done.remove(&now)
        {
            state.now += 1;
        }
        drop(state);
        self.turns.changed.notify_waiters();
    }
}
