//! The changes of a live table, from its stream: what a page's lines say was done to the table, in the order in which it was
//! done to each key.
//!
//! Promises: every change after the [`capture`] is handed out, at least once and, since a page's position is durable with
//! what it did, once; the changes of a key in their order, because a key lives in one shard at a time and a shard is read
//! only after its parent's end. A *unit* is a [`lineage`]: a captured shard and all that continues it; lineages flow beside
//! each other. What the stream no longer keeps stops the run: a gap is never stepped over. Must not know: what a change
//! does to a target.

pub mod capture;
mod capturing;
pub mod hand_over;
pub mod lineage;
mod listing;
mod reader;
pub mod sequence;
pub mod spooled;
pub mod tree;
mod watch;

use super::{Description, Source, UnitReader};
use crate::checkpoint::follows::STREAM;
use crate::driver::dynamodb::TableDescription;
use crate::driver::streams::{StreamRefusal, Streams};
use crate::error::{Error, Result};
use crate::model::counts::Counts;
use crate::model::page::{Unit, UnitId, Wanted};
use crate::report::SourceUsage;
use capture::Capture;
use listing::Listing;
use reader::LineageReader;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use watch::Watch;

/// How often a description is asked for before giving up, when a run begins.
const DESCRIBES_MAX: u32 = 5;

/// From so few seconds to the horizon on, it is what limits.
const HORIZON_NEAR: u64 = 8 * 3600;

/// How to follow a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// Where to begin, where no capture was kept.
    pub begin: Begin,
    /// Deletes that the service makes because an item's time is over are counted as skipped, not done.
    pub skip_expired: bool,
    /// Ask for an end once every open shard has nothing more to give.
    pub until_caught_up: bool,
    /// Ask for an end once all is read that was made before this moment, in seconds since 1970.
    pub until: Option<u64>,
    /// Seconds since 1970.
    pub clock: fn() -> u64,
    /// Between questions to a shard that has nothing new: the first pause, of four lengths.
    pub poll: Duration,
    /// Between listings of the shards, if none is closed.
    pub relist: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions {
            begin: Begin::Now,
            skip_expired: false,
            until_caught_up: false,
            until: None,
            clock: wall,
            poll: Duration::from_millis(250),
            relist: Duration::from_secs(60),
        }
    }
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the shards that are open now, from their beginning.
    Now,
    /// With the oldest change that the stream still keeps.
    Horizon,
}

/// The stream of a table.
pub struct DynamoDbStreams {
    shared: Arc<Shared>,
    description: Description,
    /// When the stream was switched on, where the service tells.
    created: Option<u64>,
}

/// What the readers of all lineages share.
struct Shared {
    driver: Streams,
    runtime: Handle,
    capture: Capture,
    listing: Listing,
    options: StreamOptions,
    /// When the first listing was asked for, in seconds since 1970.
    asked: u64,
    began: Instant,
    usage: Mutex<SourceUsage>,
    watch: Mutex<Watch>,
}

impl DynamoDbStreams {
    /// The stream of the table that `table` describes, captured now. Reads no record.
    ///
    /// # Errors
    /// `Config` for a table without a stream, or with one that carries no new images; whatever the service refuses.
    #[expect(clippy::disallowed_methods, reason = "pauses between questions are those of the real clock")]
    pub async fn open(
        driver: Streams,
        runtime: Handle,
        table: &TableDescription,
        options: StreamOptions,
    ) -> Result<DynamoDbStreams> {
        let arn = streamed(table)?;
        let asked = (options.clock)();
        let described = describe(&driver, arn).await?;
        let view = if described.view.is_empty() { table.stream_view.as_deref() } else { Some(described.view.as_str()) };
        check_view(&table.name, view)?;
        let (now, created) = ((options.clock)(), described.created);
        let capture = match options.begin {
            Begin::Now => Capture::of_leaves(arn, &described.tree, now)?,
            Begin::Horizon => Capture::of_horizon(arn, &described.tree, now)?,
        };
        let shared = Shared {
            driver,
            runtime,
            capture,
            listing: Listing::new(described, options.relist, options.poll * 2),
            options,
            asked,
            began: Instant::now(),
            usage: Mutex::default(),
            watch: Mutex::default(),
        };
        let description = Description {
            table: table.name.clone(),
            identity: format!("{STREAM}{arn}"),
            units: Vec::new(),
            items: 0,
            bytes: None,
            exact: false,
            derived: None,
            changes: true,
        };
        let mut streams = DynamoDbStreams { shared: Arc::new(shared), description, created };
        streams.cut()?;
        Ok(streams)
    }

    /// Where following begins.
    #[must_use]
    pub fn capture(&self) -> &Capture {
        &self.shared.capture
    }

    /// A unit for each lineage of the capture.
    fn cut(&mut self) -> Result<()> {
        let roots = &self.shared.capture.lineages;
        let unit = |(id, root): (u32, &capture::Root)| Unit { id, name: format!("shard {}", root.shard), items: None };
        self.description.units = (0..).zip(roots).map(unit).collect();
        self.description.derived = Some(self.shared.capture.text()?);
        Ok(())
    }
}

/// The ARN of the table's stream.
fn streamed(table: &TableDescription) -> Result<&str> {
    let arn = table.stream_arn.as_deref().filter(|_| table.stream_view.is_some());
    arn.ok_or_else(|| {
        Error::config(format!(
            "table {} has no stream: switch it on with new images (aws dynamodb update-table --stream-specification \
             StreamEnabled=true,StreamViewType=NEW_IMAGE), then copy the table with backfill --capture",
            table.name
        ))
    })
}

/// Whether the stream tells what an item is after a change.
fn check_view(table: &str, view: Option<&str>) -> Result<()> {
    match view {
        Some("NEW_IMAGE" | "NEW_AND_OLD_IMAGES") => Ok(()),
        view => Err(Error::config(format!(
            "the stream of table {table} shows {} of a change, not what the item is afterwards: switch it off, then on with \
             NEW_IMAGE or NEW_AND_OLD_IMAGES",
            view.unwrap_or("nothing")
        ))),
    }
}

/// All pages of the stream's description; asked for again a few times, as nothing has begun yet.
async fn describe(driver: &Streams, arn: &str) -> Result<listing::Described> {
    let mut backoff = crate::limit::retry::Backoff::reconnect(rand::random());
    for _ in 1..DESCRIBES_MAX {
        match listing::describe(driver, arn).await {
            Ok(described) => return Ok(described),
            Err(refusal) if listing::passes(&refusal) => {
                tokio::time::sleep(backoff.wait().unwrap_or_default()).await;
            }
            Err(refusal) => return Err(refusal.into_error()),
        }
    }
    listing::describe(driver, arn).await.map_err(StreamRefusal::into_error)
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a lag is told by this host's clock; of what is read it decides only where an end is, with a margin"
)]
fn wall() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Source for DynamoDbStreams {
    fn description(&self) -> &Description {
        &self.description
    }

    fn adopt(&mut self, derived: &str, _: &Counts) -> Result<()> {
        let begun = Capture::parse(derived)?;
        if begun.stream != self.shared.capture.stream {
            return Err(Error::refused(format!(
                "the table's stream is another than the one that was captured ({} now, {} then): it was switched off in \
                 between, and changes of that time are in neither; copy the table anew with backfill --capture --restart",
                self.shared.capture.stream, begun.stream
            )));
        }
        let Some(shared) = Arc::get_mut(&mut self.shared) else { return Err(Error::internal("following has begun")) };
        shared.capture = begun;
        self.cut()
    }

    fn open(&self, unit: UnitId, wanted: &Wanted) -> Result<Box<dyn UnitReader>> {
        Ok(Box::new(LineageReader::new(Arc::clone(&self.shared), unit, wanted)?))
    }

    fn usage(&self) -> SourceUsage {
        let stream = self.shared.watch().usage(self.shared.wall(), self.shared.capture.lineages.len());
        SourceUsage { stream: Some(stream), ..self.shared.usage().clone() }
    }

    fn limited_by(&self) -> Option<String> {
        let stream = self.shared.watch().usage(self.shared.wall(), self.shared.capture.lineages.len());
        let (lag, left) = (stream.lag_seconds, stream.horizon_seconds);
        (left < HORIZON_NEAR)
            .then(|| format!("the stream: {lag} s behind, {:.1} h before changes are trimmed", left as f64 / 3600.0))
    }
}

impl Shared {
    /// Time since the source was opened.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn wall(&self) -> u64 {
        (self.options.clock)()
    }

    fn usage(&self) -> MutexGuard<'_, SourceUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
