//! A live DynamoDB table, read by a segmented parallel Scan: every segment is a unit, its pages are the server's.
//!
//! Promises: only a missing LastEvaluatedKey ends a segment; a page's `reached` is the key to go on from, so that a
//! resume goes on where the last durable page ended; every request passes the limiter, and every throttle reaches it
//! with its reason. A segment owns no share of the rate: who needs the next page most is served first. A live table is
//! no snapshot: items written or deleted meanwhile may or may not be seen, each at most once.

mod lookup;
mod reader;

use super::lookup::Lookup;
use super::{Description, Source, UnitReader};
use crate::driver::dynamodb::{DynamoDb, TableDescription};
use crate::error::{Error, Result};
use crate::limit::budget::{Allowance, Budget, Capacity, Direction};
use crate::limit::gate::Gate;
use crate::limit::pages::Pages;
use crate::limit::price::{Prices, Purse};
use crate::model::counts::Counts;
use crate::model::page::{Unit, UnitId, Wanted};
use crate::report::SourceUsage;
use lookup::TableLookup;
use reader::SegmentReader;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// A segment of so many bytes: small enough that one unlucky segment is no long tail, and that a killed process has many
/// others to go on with; large enough that claiming it does not show.
const SEGMENT_BYTES: u64 = 512 * 1024 * 1024;

/// Segments of a table by default: many more than readers in any case, and a list that the control tables carry lightly.
const SEGMENTS: std::ops::RangeInclusive<u64> = 64..=16_384;

/// A partition's size at most, so that a table has about so many [developer guide, partitions].
const PARTITION_BYTES: u64 = 10_000_000_000;

/// The most that DynamoDB takes.
pub const SEGMENTS_MAX: u32 = 1_000_000;

/// How often the table's capacity is asked for again: it may be raised or lowered while the run goes on.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How to read a table.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Segments; by default derived from the table's size, and kept for the run.
    pub segments: Option<u32>,
    /// Twice the price; each item as it is at that moment, rather than as it was perhaps a second ago.
    pub consistent: bool,
    /// What of the table's read capacity may be used.
    pub budget: Budget,
    /// What units cost.
    pub prices: Prices,
    /// US dollars that the whole run may spend on reading.
    pub max_cost: Option<f64>,
}

impl ScanOptions {
    /// A full purse.
    #[must_use]
    pub fn purse(&self) -> SharedPurse {
        Arc::new(Mutex::new(Purse::new(self.prices, self.max_cost.unwrap_or(f64::INFINITY), 0.0)))
    }
}

/// Money that may be spent, by whoever reads: it may be several tables that one run reads.
pub type SharedPurse = Arc<Mutex<Purse>>;

/// A live table.
pub struct DynamoDbScan {
    shared: Arc<Shared>,
    description: Description,
    options: ScanOptions,
}

/// What the readers of all segments share.
struct Shared {
    driver: DynamoDb,
    runtime: Handle,
    table: String,
    segments: u32,
    consistent: bool,
    budget: Budget,
    gate: Gate,
    pages: Mutex<Pages>,
    purse: SharedPurse,
    max_cost: Option<f64>,
    /// Bytes of the table, roughly.
    bytes: u64,
    usage: Mutex<SourceUsage>,
    looked: Mutex<Duration>,
}

impl DynamoDbScan {
    /// A table as `table` describes it. Reads nothing yet.
    ///
    /// # Errors
    /// `Config` when it is not active, or when the budget cannot be told from what is known of it.
    pub fn new(
        driver: DynamoDb,
        runtime: Handle,
        table: &TableDescription,
        options: ScanOptions,
    ) -> Result<(DynamoDbScan, String)> {
        if !table.active {
            return Err(Error::config(format!(
                "table {} is being created or deleted: wait until it is active",
                table.name
            )));
        }
        let derived = (table.bytes / SEGMENT_BYTES).clamp(*SEGMENTS.start(), *SEGMENTS.end());
        let segments = options.segments.unwrap_or_else(|| u32::try_from(derived).unwrap_or(SEGMENTS_MAX));
        if segments == 0 || segments > SEGMENTS_MAX {
            return Err(Error::config(format!("--segments {segments}: give 1 to {SEGMENTS_MAX}")));
        }
        let allowance = allowance(options.budget, &table.read)?;
        let item_bytes = (table.items > 0).then(|| table.bytes as f64 / table.items as f64);
        let shared = Shared {
            driver,
            runtime,
            table: table.name.clone(),
            segments,
            consistent: options.consistent,
            budget: options.budget,
            gate: Gate::new(allowance.rate),
            pages: Mutex::new(Pages::new(item_bytes, options.consistent)),
            purse: options.purse(),
            max_cost: options.max_cost,
            bytes: table.bytes,
            usage: Mutex::default(),
            looked: Mutex::new(Duration::ZERO),
        };
        let description = Description {
            table: table.name.clone(),
            identity: format!("{} {}{}", table.arn, table.id, if options.consistent { " consistent" } else { "" }),
            units: Vec::new(),
            items: table.items,
            bytes: Some(table.bytes).filter(|bytes| *bytes > 0),
            exact: false,
            derived: None,
            changes: false,
        };
        let mut scan = DynamoDbScan { shared: Arc::new(shared), description, options };
        scan.cut(segments);
        Ok((scan, allowance.why))
    }

    /// The same, paying from a purse that others pay from too.
    ///
    /// # Errors
    /// `Internal` once the scan has begun.
    pub fn paying_from(mut self, purse: SharedPurse) -> Result<Self> {
        let shared = Arc::get_mut(&mut self.shared).ok_or_else(|| Error::internal("the scan has begun"))?;
        shared.purse = purse;
        Ok(self)
    }

    /// Cuts the table into `segments` units.
    fn cut(&mut self, segments: u32) {
        let name = |id| format!("segment {id} of {segments}");
        self.description.units = (0..segments).map(|id| Unit { id, name: name(id), items: None }).collect();
        self.description.derived = Some(segments.to_string());
        let partitions = self.shared.bytes / PARTITION_BYTES + 1;
        self.shared.gate.lay_out(segments, u32::try_from(partitions).unwrap_or(u32::MAX));
    }
}

/// The rate that `budget` allows of `capacity`.
fn allowance(budget: Budget, capacity: &Capacity) -> Result<Allowance> {
    budget.allow(capacity, None, Direction::Read)
}

impl Source for DynamoDbScan {
    fn description(&self) -> &Description {
        &self.description
    }

    fn adopt(&mut self, derived: &str, so_far: &Counts) -> Result<()> {
        let begun = derived.parse().map_err(|_| Error::internal("the run's number of segments is not readable"))?;
        if let Some(given) = self.options.segments
            && given != begun
        {
            return Err(Error::refused(format!(
                "the run was begun with {begun} segments, and positions in them mean nothing in {given}: leave --segments \
                 away, or begin anew with --restart"
            )));
        }
        let Some(shared) = Arc::get_mut(&mut self.shared) else { return Err(Error::internal("the scan has begun")) };
        shared.segments = begun;
        shared.purse().pay((0.0, 0.0), (so_far.half_units as f64 / 2.0, 0.0));
        self.cut(begun);
        Ok(())
    }

    fn open(&self, unit: UnitId, wanted: &Wanted) -> Result<Box<dyn UnitReader>> {
        Ok(Box::new(SegmentReader::new(Arc::clone(&self.shared), unit, wanted)))
    }

    fn usage(&self) -> SourceUsage {
        SourceUsage { dollars: self.shared.purse().spent(), ..self.shared.usage().clone() }
    }

    fn lookup(&self) -> Option<Arc<dyn Lookup>> {
        Some(Arc::new(TableLookup::new(Arc::clone(&self.shared), &self.description)))
    }

    fn share_among(&self, processes: u32) {
        self.shared.gate.share_among(processes);
    }

    fn limited_by(&self) -> Option<String> {
        self.shared.gate.limited_by().map(|limit| limit.to_string())
    }
}

impl Shared {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn purse(&self) -> MutexGuard<'_, Purse> {
        self.purse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usage(&self) -> MutexGuard<'_, SourceUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the run stops when the purse is empty.
    fn spent(&self) -> String {
        format!(
            "reading on may cost more than --max-cost {}: about {:.4} US dollars are spent; what is durable stays, raise it \
             and run the same command again to go on",
            self.max_cost.unwrap_or_default(),
            self.purse().spent()
        )
    }

    /// Asks for the table's capacity now and then. A failure changes nothing: the scan itself will tell of a table that
    /// is gone.
    async fn look_again(&self) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if self.gate.now().saturating_sub(*looked) < LOOK_AGAIN {
                return;
            }
            *looked = self.gate.now();
        }
        match self.driver.describe(&self.table).await.and_then(|table| allowance(self.budget, &table.read)) {
            Ok(allowance) => self.gate.set_rate(allowance.rate),
            Err(error) => tracing::warn!("table {}: its capacity could not be asked for: {error}", self.table),
        }
    }
}
