//! Capturing a stream into a spool while its table is copied, until the copy is complete: then it can be applied.
//!
//! Everything is asked of the target: what was captured before the copy, how far the copy is, and, while the spool is
//! applied, what of it is durable and may be removed.

use crate::checkpoint::follows::stream_run as run_name;
use crate::checkpoint::run::{Checkpoint, RunState};
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::model::counts::Counts;
use crate::model::page::Wanted;
use crate::report::SourceUsage;
use crate::sink::destination::Destination;
use crate::source::Source;
use crate::source::dynamodb_streams::DynamoDbStreams;
use crate::source::dynamodb_streams::spooled::SpooledStreams;
use crate::spool::store::Store;
use crate::spool::{Label, Spool};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the target is asked whether the copy is complete.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// How often what was applied is removed. What is durable at one look is removed at the next: a server that dies may forget
/// what it acknowledged within the last second.
const RELEASE_EVERY: Duration = Duration::from_secs(5);

/// A run that was captured before its table was copied.
pub struct Captured {
    copy: String,
    checkpoint: Checkpoint,
    label: Label,
    pool: Arc<Pool>,
}

/// How far the copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copying {
    /// Items that are durable.
    pub read: u64,
    /// Items in the table, about; none before the copy has begun.
    pub items: Option<u64>,
    /// Whether all of them are.
    pub is_complete: bool,
}

impl Captured {
    /// The capture that was made before run `copy` read the table. None when there is neither yet.
    ///
    /// # Errors
    /// `Refused` when the copy was begun without one, or by another mapping; of the database.
    pub async fn find(destination: &Destination, mapping: &Mapping, copy: &str) -> Result<Option<Captured>> {
        let pool = Arc::new(Pool::new(destination.state(), 1));
        let run = run_name(copy);
        let Some(mut checkpoint) = Checkpoint::existing(Arc::clone(&pool), &run).await? else {
            return match Checkpoint::existing(pool, copy).await? {
                Some(_) => Err(Error::refused(format!(
                    "nothing was captured before run {copy} read the table, so what changed meanwhile is not known: copy it \
                     anew with `transvase backfill --capture --restart`"
                ))),
                None => Ok(None),
            };
        };
        let Some((settings, _)) = checkpoint.load().await? else { return Ok(None) };
        if settings.mapping != mapping.identity() {
            return Err(Error::refused(format!(
                "run {copy} is made with another key or mapping: follow with the same, or copy the table anew"
            )));
        }
        let derived = settings.derived.ok_or_else(|| Error::internal("a capture that holds nothing"))?;
        let label = Label { source: settings.source, run, incarnation: checkpoint.incarnation(), derived };
        Ok(Some(Captured { copy: copy.to_owned(), checkpoint, label, pool }))
    }

    /// Opens the spool of this run in `store`.
    ///
    /// # Errors
    /// `Refused` when the stream or the spool is another's; those of the spool.
    pub async fn open(
        &self,
        mut streams: DynamoDbStreams,
        store: Arc<dyn Store>,
    ) -> Result<(SpooledStreams, Arc<Spool>)> {
        streams.adopt(&self.label.derived, &Counts::default())?;
        let (label, units) = (self.label.clone(), streams.description().units.len());
        let units = u32::try_from(units).map_err(|_| Error::internal("so many lineages"))?;
        let spool = tokio::task::spawn_blocking(move || Spool::open(store, label, units)).await;
        let spool = Arc::new(spool.map_err(|error| Error::internal("opening the spool").because(error))??);
        Ok((SpooledStreams::new(streams, Arc::clone(&spool)), spool))
    }

    /// Captures until the copy is complete, or a stop is requested; true when it is complete. `tell` hears of it each
    /// time that the copy is asked about.
    ///
    /// # Errors
    /// Whatever ends capturing for good; `Refused` when the copy was begun anew.
    pub async fn until_copied(
        &self,
        source: SpooledStreams,
        stop: &CancellationToken,
        tell: impl Fn(&SourceUsage, Copying),
    ) -> Result<bool> {
        if self.copying().await?.is_complete {
            return Ok(true);
        }
        let (source, wanted) = (Arc::new(source), self.wanted().await?);
        let beginning = Arc::clone(&source);
        let begun = tokio::task::spawn_blocking(move || beginning.begin(&wanted)).await;
        begun.map_err(|error| Error::internal("beginning to capture").because(error))??;
        let ended = self.ask_until_copied(&source, stop, tell).await;
        source.end().await;
        ended
    }

    async fn ask_until_copied(
        &self,
        source: &SpooledStreams,
        stop: &CancellationToken,
        tell: impl Fn(&SourceUsage, Copying),
    ) -> Result<bool> {
        loop {
            let copying = self.copying().await?;
            tell(&source.usage(), copying);
            if let Some(error) = source.failure() {
                return Err(error);
            }
            if copying.is_complete {
                return Ok(true);
            }
            if stop.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_none() {
                return Ok(false);
            }
        }
    }

    /// What of each lineage is still to be applied.
    async fn wanted(&self) -> Result<BTreeMap<u32, Wanted>> {
        let units = self.checkpoint.ledger(None).await?.into_iter().filter(|(_, ledger)| !ledger.done);
        let wanted = units.map(|(unit, ledger)| {
            let from = ledger.durable().contiguous();
            (unit, Wanted { items: std::iter::once(from..u64::MAX).collect(), after: ledger.reached })
        });
        Ok(wanted.collect())
    }

    /// How far the copy is, which must still be the one that was captured for.
    async fn copying(&self) -> Result<Copying> {
        let mut capture = self.checkpoint.clone();
        if capture.load().await?.is_none() || capture.incarnation() != self.checkpoint.incarnation() {
            return Err(Error::refused(format!(
                "run {} was begun anew, with another capture: remove the spool, or give --spool an empty place, and run the \
                 same command again",
                self.copy
            )));
        }
        let Some(mut copy) = Checkpoint::existing(Arc::clone(&self.pool), &self.copy).await? else {
            return Ok(Copying::default());
        };
        let Some((settings, state)) = copy.load().await? else { return Ok(Copying::default()) };
        let read = copy.totals().await?.read;
        Ok(Copying { read, items: Some(settings.items), is_complete: state == RunState::Complete })
    }

    /// Removes from the spool what was applied, for as long as it is polled.
    pub async fn release(&self, spool: Arc<Spool>) {
        let mut before = BTreeMap::new();
        loop {
            tokio::time::sleep(RELEASE_EVERY).await;
            match self.checkpoint.ledger(None).await {
                Ok(ledger) => {
                    let durable = ledger.iter().map(|(unit, ledger)| (*unit, ledger.durable().contiguous())).collect();
                    remove(&spool, std::mem::replace(&mut before, durable)).await;
                }
                Err(error) => tracing::warn!("what was applied stays in the spool for now: {}", error.chain()),
            }
        }
    }
}

async fn remove(spool: &Arc<Spool>, applied: BTreeMap<u32, u64>) {
    let spool = Arc::clone(spool);
    let removed = tokio::task::spawn_blocking(move || {
        applied.iter().try_for_each(|(unit, applied)| spool.log(*unit)?.release(*applied))
    });
    if let Ok(Err(error)) = removed.await {
        tracing::warn!("what was applied stays in the spool for now: {}", error.chain());
    }
}
