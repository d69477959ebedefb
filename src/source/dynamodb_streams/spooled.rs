//! A stream by way of a spool: all of it is captured as it comes, and handed out from there when it is asked for.
//!
//! Promises those of the stream itself; and that capturing goes on whatever happens to what is handed out, so that the
//! stream may forget what the spool holds. A unit's pages are its frames. What was applied is the ledger's: the spool is
//! read from wherever that says.

use super::DynamoDbStreams;
use super::capturing::Capturing;
use super::lineage::Lineage;
use super::reader::CAUGHT_UP;
use crate::error::{Error, Result};
use crate::model::counts::Counts;
use crate::model::page::{Page, UnitId, Wanted};
use crate::report::SourceUsage;
use crate::source::{Description, Read, Source, UnitReader, Urgency};
use crate::spool::Spool;
use crate::spool::log::{Log, LogReader};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a lineage is looked at whose spool has nothing more.
const LOOK: Duration = Duration::from_millis(20);

/// A stream and its spool.
pub struct SpooledStreams {
    streams: DynamoDbStreams,
    spool: Arc<Spool>,
    capturing: OnceLock<Arc<Capturing>>,
    applying: Arc<Applying>,
}

/// What is known of those who take from the spool.
#[derive(Default)]
struct Applying {
    /// When the last change was made of what each lineage has handed out, in seconds since 1970.
    since: Mutex<BTreeMap<UnitId, u64>>,
    /// Everything was handed out, and the stream had nothing more.
    is_caught_up: AtomicBool,
}

impl SpooledStreams {
    /// The stream, captured into `spool`, from which it is handed out.
    #[must_use]
    pub fn new(streams: DynamoDbStreams, spool: Arc<Spool>) -> SpooledStreams {
        SpooledStreams { streams, spool, capturing: OnceLock::new(), applying: Arc::default() }
    }

    /// Begins to capture lineages; `wanted` says what is still to be applied of each. Blocks.
    ///
    /// # Errors
    /// `Corrupt` when the spool lacks what is wanted.
    pub fn begin(&self, wanted: &BTreeMap<UnitId, Wanted>) -> Result<()> {
        wanted.iter().try_for_each(|(unit, wanted)| self.capturing().begin(*unit, wanted))
    }

    /// What some lineage has failed with; told once.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.capturing().failure()
    }

    /// Ends capturing; what is being written is finished.
    pub async fn end(&self) {
        self.capturing().end().await;
    }

    fn capturing(&self) -> &Arc<Capturing> {
        let new = || Arc::new(Capturing::new(Arc::clone(&self.streams.shared), Arc::clone(&self.spool)));
        self.capturing.get_or_init(new)
    }

    /// Age of what was handed out last, where more waits; else how far behind capturing is.
    fn lag(&self, backlog: u64, capturing: u64) -> u64 {
        let since = self.applying.since.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.streams.shared.wall();
        let oldest = since.values().min().filter(|_| backlog > 0);
        oldest.map_or(capturing, |since| now.saturating_sub(*since).max(capturing))
    }
}

impl Drop for SpooledStreams {
    fn drop(&mut self) {
        if let Some(capturing) = self.capturing.get() {
            capturing.cancel();
        }
    }
}

impl Source for SpooledStreams {
    fn description(&self) -> &Description {
        self.streams.description()
    }

    fn adopt(&mut self, derived: &str, so_far: &Counts) -> Result<()> {
        if self.spool.label().derived != derived {
            return Err(Error::refused(format!(
                "spool {} holds changes of another capture than the run's: remove it, or give --spool an empty place",
                self.spool.name()
            )));
        }
        self.streams.adopt(derived, so_far)
    }

    fn open(&self, unit: UnitId, wanted: &Wanted) -> Result<Box<dyn UnitReader>> {
        let capturing = Arc::clone(self.capturing());
        capturing.begin(unit, wanted)?;
        let log = self.spool.log(unit)?.read(wanted.items.first().map_or(0, |range| range.start));
        let logs = self.spool.logs().to_vec();
        let (applying, until_caught_up) = (Arc::clone(&self.applying), self.streams.shared.options.until_caught_up);
        Ok(Box::new(SpooledReader { capturing, applying, unit, log, logs, until_caught_up }))
    }

    fn usage(&self) -> SourceUsage {
        let mut usage = self.streams.usage();
        let spool = self.spool.usage();
        if let Some(stream) = &mut usage.stream {
            stream.lag_seconds = self.lag(spool.backlog, stream.lag_seconds);
            stream.caught_up = self.applying.is_caught_up.load(Ordering::SeqCst);
        }
        SourceUsage { spool: Some(spool), ..usage }
    }

    fn limited_by(&self) -> Option<String> {
        let paused = self.capturing().paused().map(|why| format!("the spool ({why})"));
        paused.or_else(|| self.streams.limited_by())
    }
}

/// Hands out the frames of one lineage.
struct SpooledReader {
    capturing: Arc<Capturing>,
    applying: Arc<Applying>,
    unit: UnitId,
    log: LogReader,
    /// Those of all lineages.
    logs: Vec<Arc<Log>>,
    until_caught_up: bool,
}

impl SpooledReader {
    /// Whether the stream has nothing more, and all that it gave was handed out. In this order: what is found in a stream that
    /// seemed to be read to its end makes it one that is not, before it is in the spool.
    fn is_caught_up(&self) -> bool {
        self.until_caught_up && self.capturing.is_caught_up() && self.logs.iter().all(|log| log.backlog() == 0)
    }
}

impl UnitReader for SpooledReader {
    fn next(&mut self, halt: &CancellationToken) -> Result<Read> {
        if halt.is_cancelled() {
            return Ok(Read::Halted);
        }
        // before the look for more: what a lineage ends with comes after all that was captured of it
        let has_ended = self.capturing.has_ended(self.unit);
        if let Some(frame) = self.log.frame()? {
            let made = Lineage::parse(&frame.reached)?.reading().map(|(_, position)| position.since).max();
            if let Some(made) = made {
                self.applying.since.lock().unwrap_or_else(PoisonError::into_inner).insert(self.unit, made);
            }
            return Ok(Read::Page(Page {
                span: frame.span,
                bytes: frame.lines,
                reached: Some(frame.reached),
                half_units: 0,
            }));
        }
        if has_ended {
            return self.capturing.ended(self.unit).unwrap_or(Ok(())).map(|()| Read::End);
        }
        if self.is_caught_up() {
            self.applying.is_caught_up.store(true, Ordering::SeqCst);
            return Ok(Read::Stop(CAUGHT_UP.to_owned()));
        }
        Ok(Read::Empty)
    }

    fn urgency(&self) -> Urgency {
        let is_due = self.log.has_more() || self.capturing.has_ended(self.unit) || self.is_caught_up();
        Urgency { need: self.log.backlog(), ready_in: if is_due { Duration::ZERO } else { LOOK } }
    }
}
