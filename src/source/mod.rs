//! Where items come from: units that can be read apart, each a sequence of items with fixed positions.

use crate::error::Result;
use crate::model::counts::Counts;
use crate::model::page::{Page, Unit, UnitId, Wanted};
use crate::report::SourceUsage;
use lookup::Lookup;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub mod dynamodb_export;
pub mod dynamodb_scan;
pub mod lines;
pub mod lookup;

/// What a source is, for the run's fingerprint and the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The DynamoDB table's name.
    pub table: String,
    /// The identity that must not change between a run and its resume: for an export its ARN and a digest of its manifest.
    pub identity: String,
    /// Every unit that may hold items, in the source's order.
    pub units: Vec<Unit>,
    /// Items in all units: declared by an export, roughly known of a live table.
    pub items: u64,
    /// Bytes of all items as DynamoDB bills them, where they are known.
    pub bytes: Option<u64>,
    /// Whether `items` is exact, so that a run that read another number is not complete.
    pub exact: bool,
    /// What was derived when the run began and must stay, so that the units are the same at a resume: the number of
    /// segments, say. Kept with the run.
    pub derived: Option<String>,
    /// Whether its lines are changes rather than items: an object with the member `Keys`, the key attributes as DynamoDB
    /// JSON, and `NewImage`, the whole item after the change; a line without `NewImage` is a delete. Other members say
    /// nothing of what is to be done.
    pub changes: bool,
}

/// What came of asking for a page.
#[derive(Debug)]
pub enum Read {
    /// A page.
    Page(Page),
    /// The source answered without an item; the unit goes on.
    Empty,
    /// All that was wanted has been handed out, and the unit's end has been checked.
    End,
    /// The run was halted while waiting.
    Halted,
    /// The source asks for an orderly stop, and says why: no more may be spent on it.
    Stop(String),
}

/// How much a unit needs its next page, among those that are open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Urgency {
    /// Higher is served first.
    pub need: u64,
    /// It rests for so long: asking before is of no use.
    pub ready_in: Duration,
}

/// A source of items: of repeatable units, where the same positions give the same items, or of live ones
/// (see [`Page::reached`]).
pub trait Source: Send + Sync {
    /// What it is.
    fn description(&self) -> &Description;

    /// The moment whose state it hands out, in microseconds since 1970: what was written since must be followed. None of a
    /// live table, whose items are each of the moment when they are read, and where it is not known.
    fn as_of_us(&self) -> Option<i64> {
        None
    }

    /// Takes over what earlier processes of the run derived, and what they have read, before anything is opened.
    ///
    /// # Errors
    /// `Refused` when it was told something else.
    fn adopt(&mut self, derived: &str, so_far: &Counts) -> Result<()>;

    /// Opens a unit to read what is wanted of it. Blocks. Nothing of a data file is handed out before its integrity
    /// has been proved.
    ///
    /// # Errors
    /// `Corrupt` names the unit and what is wrong with it; `Transient` when it could not be read after retries.
    fn open(&self, unit: UnitId, wanted: &Wanted) -> Result<Box<dyn UnitReader>>;

    /// Takes back the memory of a page that is done with, for another page. What it holds does not matter.
    fn take_back(&self, bytes: Vec<u8>) {
        drop(bytes);
    }

    /// What reading has taken so far.
    fn usage(&self) -> SourceUsage;

    /// Looks single items up as they are at that moment; none of a source that stands still.
    fn lookup(&self) -> Option<Arc<dyn Lookup>> {
        None
    }

    /// So many processes read the source, this one included: what may be used of it is for all of them.
    fn share_among(&self, _processes: u32) {}

    /// What holds the source back right now, in plain words; none when nothing of its own does.
    fn limited_by(&self) -> Option<String>;
}

/// Reads one unit, page by page.
pub trait UnitReader: Send {
    /// The next page. It never spans the end of a wanted range. Blocks, until `halt` says that nobody waits for it.
    ///
    /// # Errors
    /// `Corrupt` with the unit's name and the position reached; of a live table whatever it refuses for good.
    fn next(&mut self, halt: &CancellationToken) -> Result<Read>;

    /// How much the unit needs its next page.
    fn urgency(&self) -> Urgency {
        Urgency::default()
    }
}
