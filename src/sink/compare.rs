//! The sink that writes no row: it compares those of the source, as they come in key order, with those of the target.
//!
//! A batch is a stretch of a table's keys with everything that the source has there, as [narrow rows](crate::compare::narrow).
//! What an SQL target has there is counted, digested by its server, or read in key order, as the level demands; where counts
//! or digests differ it is always read. A target whose server knows no order of keys was read and sorted before, as the
//! source was: then its runs are merged. The keys that disagree become durable with the span, in the verification's own
//! database. Nothing is decided about them here: either side may have been written to in between.

use super::health::Health;
use super::scan::{Columns, KeyBounds, LOOKUP_MAX, ScannedTable, key_kinds, key_texts};
use super::{Sink, WriteError};
use crate::checkpoint::differences::ComparedSpan;
use crate::checkpoint::run::Checkpoint;
use crate::compare::narrow::Narrow;
use crate::compare::server::ServerText;
use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::pool::Pool;
use crate::driver::session::{BoxFuture, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::limit::retry::Backoff;
use crate::limit::writers::Writers;
use crate::mapping::Mapping;
use crate::model::batch::{Batch, Commit, Feed, Stretch};
use crate::model::counts::{Compared, Counts, KeyCell};
use crate::model::dialect::Dialect;
use crate::model::rows::Rows;
use crate::monitor::{Event, Monitor};
use crate::spill::key;
use crate::spill::run::Run;
use join::{Asked, Found, Side};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

mod join;
mod merged;
mod page;

/// How closely rows are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Row by row, value by value, both ways.
    Rows,
    /// By how many there are and their digest; row by row where these differ.
    Digests,
    /// By how many there are; key by key where these differ.
    Counts,
    /// Value by value, the rows that the source has and no others.
    Lookups,
}

/// Where the target's rows come from.
pub enum Theirs {
    /// A database that is asked for ranges of keys, as its server speaks.
    Sql(Arc<Pool>, Dialect),
    /// Sorted runs of narrow rows, the same narrow rows as those of the source.
    Runs(Vec<Arc<Run>>),
    /// A store that knows single keys only: for [`Depth::Lookups`].
    Keys(Arc<dyn ByKey>),
}

/// Whole rows of a target by their keys.
pub trait ByKey: Send + Sync {
    /// The rows that are there of at most [`LOOKUP_MAX`] keys of a table, in any order.
    ///
    /// # Errors
    /// Of the target, when asking again is of no use.
    fn rows<'a>(&'a self, table: usize, keys: &'a [Vec<KeyCell>]) -> BoxFuture<'a, Result<Rows>>;
}

/// What a comparing sink is made from.
pub struct ComparingOptions {
    /// How closely.
    pub depth: Depth,
    /// Whether an item is found again by its unit and position.
    pub repeatable: bool,
    /// Reads at once.
    pub readers: usize,
    /// Holds the reads when the target bears them badly.
    pub health: Option<Arc<Health>>,
}

/// Compares.
pub struct Comparing {
    theirs: Theirs,
    checkpoint: Checkpoint,
    mapping: Arc<Mapping>,
    narrow: Arc<Narrow>,
    sides: Vec<Side>,
    options: ComparingOptions,
    gate: Writers,
    /// Whether it was told that the server does not answer what it is asked.
    is_told: AtomicBool,
    monitor: Arc<dyn Monitor>,
}

impl Comparing {
    /// Compares with the target's rows, `theirs`; what is found goes to `checkpoint`.
    #[must_use]
    pub fn new(
        theirs: Theirs,
        checkpoint: Checkpoint,
        mapping: Arc<Mapping>,
        narrow: Arc<Narrow>,
        options: ComparingOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Self {
        // of any other target neither statements nor kinds depend on it
        let dialect = if let Theirs::Sql(_, dialect) = &theirs { *dialect } else { Dialect::Sqlite };
        let kinds = key_kinds(mapping.tables(), dialect);
        let sides = mapping.tables().iter().zip(kinds).enumerate().map(|(index, (table, kinds))| Side {
            stored: ScannedTable::new(table, dialect),
            key: table.key.clone(),
            texts: key_texts(table),
            kinds,
            asked: matches!(theirs, Theirs::Sql(..)).then(|| asked(options.depth, narrow.server(index))).flatten(),
        });
        let sides = sides.collect();
        let gate = Writers::new(u32::try_from(options.readers).unwrap_or(u32::MAX));
        let is_told = AtomicBool::new(false);
        Comparing { theirs, checkpoint, narrow, sides, options, gate, is_told, monitor, mapping }
    }

    async fn compare(&self, batch: &Batch, stretch: &Stretch) -> Result<Found> {
        let side = self.sides.get(stretch.table).ok_or_else(|| Error::internal("a batch of no table"))?;
        let mut found = Found::new(stretch.table, batch, &self.narrow, self.options.repeatable);
        if let Some(asked) = &side.asked
            && self.agrees(side, asked, &range(stretch, side)?, &mut found).await?
        {
            return Ok(found);
        }
        match self.options.depth {
            Depth::Lookups => self.look_up(batch, side, &mut found).await?,
            Depth::Counts => self.walk(batch, side, stretch, Columns::Key, &mut found).await?,
            Depth::Rows | Depth::Digests => self.walk(batch, side, stretch, Columns::All, &mut found).await?,
        }
        Ok(found)
    }

    /// Whether what the server says of the range is what the source's rows are together.
    async fn agrees(&self, side: &Side, asked: &Asked, range: &KeyBounds, found: &mut Found) -> Result<bool> {
        let context = (&side.stored, asked, range);
        let answer = self
            .reading(&context, |session, (stored, asked, range)| Box::pin(stored.aggregate(session, &***asked, range)));
        let (count, digest) = match answer.await {
            Ok(answer) => answer,
            // The server cannot compute it, for reasons of its own: then its rows are read.
            Err(error) if error.kind() == ErrorKind::Internal => {
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "ranges of rows are read, since their server does not digest them: {}",
                        error.chain()
                    );
                }
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let is_same = || {
            let text = self.narrow.server(found.table);
            text.and_then(|text| text.together(digest.as_deref(), count)) == Some(found.range_digest)
        };
        let agrees = count == found.compared.source && (self.options.depth == Depth::Counts || is_same());
        if agrees {
            found.all_agree();
        }
        Ok(agrees)
    }

    /// Reads the target's rows of the range in key order beside the source's.
    async fn walk(
        &self,
        batch: &Batch,
        side: &Side,
        stretch: &Stretch,
        columns: Columns,
        found: &mut Found,
    ) -> Result<()> {
        let mut join = join::Join::new(batch, side, found.table);
        let mut pages = match &self.theirs {
            Theirs::Runs(runs) => Pages::Merged(merged::Pages::new(self, runs, stretch)?),
            _ => Pages::Asked(page::Pages::new(range(stretch, side)?, columns)),
        };
        while let Some(page) = match &mut pages {
            Pages::Asked(pages) => pages.next(self, side, found.table).await?,
            Pages::Merged(pages) => pages.next(self, side).await?,
        } {
            for row in 0..page.rows.len() {
                join.stored(&page, row, found)?;
                if found.candidates.len() >= join::CANDIDATES_MAX {
                    self.checkpoint.record_candidates(&found.take_candidates()).await?;
                }
            }
        }
        join.rest(found)
    }

    /// Reads the rows that the source has, and no others.
    async fn look_up(&self, batch: &Batch, side: &Side, found: &mut Found) -> Result<()> {
        let table = &batch.tables[found.table];
        for chunk in table.order.chunks(LOOKUP_MAX) {
            let keys = chunk.iter().map(|row| join::key_of(table.key_of(*row))).collect::<Result<Vec<_>>>()?;
            let mut page = page::looked_up(self, side, found.table, keys).await?;
            page.sort();
            let mut join = join::Join::of(batch, side, found.table, chunk);
            for row in page.order() {
                join.stored(&page, row, found)?;
            }
            join.rest(found)?;
        }
        Ok(())
    }

    /// Reads, again after a lost connection or a lock, for as long as there is hope. What the reading needs comes as
    /// `context`, so that its future may borrow it.
    async fn reading<C: ?Sized + Sync, T>(
        &self,
        context: &C,
        read: impl for<'s> Fn(&'s mut Session, &'s C) -> BoxFuture<'s, FaultResult<T>> + Send + Sync,
    ) -> Result<T> {
        let Theirs::Sql(target, _) = &self.theirs else { return Err(Error::internal("the target is no database")) };
        let (mut contention, mut reconnect) = (Backoff::contention(2), Backoff::reconnect(2));
        loop {
            let turn = self.gate.enter().await;
            let fault = match target.take().await {
                Err(fault) => fault,
                Ok(mut loan) => match read(&mut loan.session, context).await {
                    Ok(value) => {
                        target.give_back(loan);
                        return Ok(value);
                    }
                    Err(fault) => fault,
                },
            };
            drop(turn);
            if fault.kind == FaultKind::Lost {
                target.lost();
            }
            let wait = self.wait(&fault, &mut contention, &mut reconnect);
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(fault.into_error("reading the target's rows")),
            }
        }
    }

    fn wait(&self, fault: &Fault, contention: &mut Backoff, reconnect: &mut Backoff) -> Option<std::time::Duration> {
        match fault.kind {
            FaultKind::Retry => {
                self.monitor.event(&Event::Retried { code: &fault.code });
                contention.wait()
            }
            FaultKind::Lost => {
                self.monitor.event(&Event::ConnectionLost { code: &fault.code });
                reconnect.wait()
            }
            _ => None,
        }
    }

    fn counts(&self, batch: &Batch, found: &Found) -> Counts {
        let mut counts = batch.counts();
        counts.compared = vec![Compared::default(); self.mapping.tables().len()];
        counts.compared[found.table] = found.compared;
        counts
    }
}

impl Sink for Comparing {
    fn write<'a>(&'a self, batch: &'a Batch, commit: Commit) -> BoxFuture<'a, Result<Counts, WriteError>> {
        Box::pin(async move {
            let Feed::Runs(stretch) = &batch.feed else {
                return Err(WriteError::Failed(Error::internal("what is compared comes from sorted runs")));
            };
            let found = self.compare(batch, stretch).await.map_err(WriteError::Failed)?;
            let (counts, reached) = (self.counts(batch, &found), batch.page.reached.as_deref());
            let recorded = self.checkpoint.record_compared(commit, reached, &counts, &found.candidates).await;
            match recorded.map_err(WriteError::Failed)? {
                ComparedSpan::Durable(counts) => Ok(counts),
                ComparedSpan::Fenced(found) => Err(WriteError::Fenced { found }),
                ComparedSpan::OutOfTurn => Err(WriteError::OutOfTurn),
            }
        })
    }

    fn tend(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(health) = &self.options.health {
                self.gate.hold(health.trouble().await);
            }
        })
    }

    fn limited_by(&self) -> Option<String> {
        self.gate.limited_by()
    }
}

/// What the server is asked of each range before any row of it is read.
fn asked(depth: Depth, server: Option<&ServerText>) -> Option<Asked> {
    match depth {
        Depth::Counts => Some(Box::new(|from: &str| format!("SELECT COUNT(*) FROM {from}"))),
        Depth::Digests => {
            let server = server?.clone();
            Some(Box::new(move |from: &str| server.query(from)))
        }
        Depth::Rows | Depth::Lookups => None,
    }
}

/// The pages of a stretch of the target's keys.
enum Pages {
    Asked(page::Pages),
    Merged(merged::Pages),
}

/// A stretch as the cells that a query takes.
fn range(stretch: &Stretch, side: &Side) -> Result<KeyBounds> {
    Ok((bound(&stretch.from, side)?, bound(&stretch.to, side)?))
}

/// A sort key as the cells that a query takes.
fn bound(bound: &Bound<Vec<u8>>, side: &Side) -> Result<Bound<Vec<KeyCell>>> {
    let cells = |sort_key: &Vec<u8>| {
        key::decode(sort_key, &side.kinds, &side.texts).ok_or_else(|| Error::internal("a sort key that is none"))
    };
    Ok(match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) => Bound::Included(cells(key)?),
        Bound::Excluded(key) => Bound::Excluded(cells(key)?),
    })
}
