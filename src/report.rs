//! What a run did: counts that add up, rates, latencies, what it cost this process. For people and as JSON.
//!
//! Counts come from the ledger alone. The rest is measured by [`Meter`], which listens as a monitor.

use crate::model::counts::{Counts, Outcomes};
use crate::model::reject::RejectStates;
use crate::monitor::{Event, Monitor};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Every item is accounted for, none rejected.
    Complete,
    /// Every item is accounted for, some rejected.
    CompleteWithRejects,
    /// It had been completed before; nothing was done.
    AlreadyComplete,
    /// A stream was followed until it had nothing more to give.
    CaughtUp,
    /// A stop was requested; run the same command to go on.
    Interrupted,
    /// Some units could not be read; the rest is durable.
    UnitsFailed,
    /// It ended with an error; run the same command to go on.
    Failed,
}

/// What became of the items of one target table.
#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Its items.
    #[serde(flatten)]
    pub outcomes: Outcomes,
}

/// Percentiles of a duration, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Half were faster.
    pub p50_us: u64,
    /// Nine of ten were faster.
    pub p90_us: u64,
    /// 99 of 100 were faster.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How it ended.
    pub status: Status,
    /// The run's name.
    pub run: String,
    /// The source, as described by itself.
    pub source: String,
    /// The target, without a password.
    pub target: String,
    /// The DynamoDB table.
    pub table: String,
    /// Items in the source: declared by an export, roughly known of a live table.
    pub items: u64,
    /// Whether that is exact.
    pub exact: bool,
    /// Items read, by every process that worked on the run.
    pub read: u64,
    /// Inflated bytes read.
    pub bytes: u64,
    /// All tables together. `read = written + present + tombstoned + rejected + skipped`, and of changes `+ removed +
    /// superseded`.
    pub outcomes: Outcomes,
    /// Items that no table takes and the mapping skips.
    pub skipped: u64,
    /// Changes that are deletes; none of a source of items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
    /// Changes that a later one of the same key and page has overtaken; none of a source of items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded: Option<u64>,
    /// By target table.
    pub tables: Vec<TableReport>,
    /// What has become of the rejected since, once a retry or a sign-off has dealt with some.
    pub rejects_since: Option<RejectStates>,
    /// What failed, in plain words.
    pub failures: Vec<String>,
    /// Where the rejects were written.
    pub rejects_file: Option<String>,
    /// Where a stream was captured or followed: until when it keeps what the target lacks, as RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<String>,
    /// The shuffle's seed.
    pub seed: u64,
    /// What this process did and took.
    pub process: ProcessReport,
    /// How this process sends rows: `insert` or `load-data`.
    pub load_method: &'static str,
    /// The engine's version.
    pub version: &'static str,
    /// The target server's version.
    pub server: String,
}

/// What reading has taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceUsage {
    /// Requests made again.
    pub retries: u64,
    /// Read request units that this process consumed, as the table said.
    pub read_units: f64,
    /// What the run has cost so far at the prices given, in US dollars.
    pub dollars: f64,
    /// Requests that a live table throttled, by its reason.
    pub throttled: BTreeMap<String, u64>,
    /// Answers without an item.
    pub empty_pages: u64,
    /// The unit with most of them, and how many.
    pub emptiest: Option<(String, u64)>,
    /// How far behind a stream it is, where one is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamUsage>,
    /// What is kept of it until it can be applied, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolUsage>,
}

/// What a process that keeps changes until they can be applied has kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolUsage {
    /// Where.
    pub place: String,
    /// Changes that this process has captured.
    pub captured: u64,
    /// Changes that are captured and not yet taken up to be applied.
    pub backlog: u64,
}

/// Where a process that follows a stream is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamUsage {
    /// Shards that it is reading.
    pub shards: u64,
    /// Shards that it has read to their end.
    pub shards_ended: u64,
    /// Records that it has read.
    pub records: u64,
    /// Age of the last record read of the shard that is furthest behind; 0 when none is.
    pub lag_seconds: u64,
    /// How long until what comes next is no longer kept.
    pub horizon_seconds: u64,
    /// The shard of which that is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest_shard: Option<String>,
    /// Whether every open shard of the run has nothing more to give; only ever true when that was asked for.
    pub caught_up: bool,
    /// Whether every shard was found to have nothing more within the last seconds.
    #[serde(skip)]
    pub abreast: bool,
    /// How long ago the shard was asked that was asked the longest ago of those that had nothing more.
    #[serde(skip)]
    pub asked_seconds: u64,
    /// By unit: how many changes were handed out.
    #[serde(skip)]
    pub ends: BTreeMap<u32, u64>,
}

impl SourceUsage {
    /// With what reading another table has taken, which is paid from the same purse.
    #[must_use]
    pub fn and(mut self, other: SourceUsage) -> SourceUsage {
        self.retries += other.retries;
        self.read_units += other.read_units;
        self.dollars = self.dollars.max(other.dollars);
        for (reason, count) in other.throttled {
            *self.throttled.entry(reason).or_default() += count;
        }
        self.empty_pages += other.empty_pages;
        if other.emptiest.as_ref().map(|(_, count)| *count) > self.emptiest.as_ref().map(|(_, count)| *count) {
            self.emptiest = other.emptiest;
        }
        self
    }
}

/// What this process did and took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProcessReport {
    /// Items that this process made durable.
    pub items: u64,
    /// Inflated bytes of them.
    pub bytes: u64,
    /// Wall time.
    pub wall_seconds: f64,
    /// CPU time in user mode.
    pub user_seconds: f64,
    /// CPU time in the kernel.
    pub system_seconds: f64,
    /// Largest resident memory.
    pub peak_memory_bytes: u64,
    /// From a page's arrival at a worker to its rows.
    pub page_encode: Percentiles,
    /// From rows to commit, waits included.
    pub batch_write: Percentiles,
    /// Transactions done again.
    pub retries: u64,
    /// Pages that LOAD DATA could not prove to have taken, so that they were inserted.
    pub unloadable: u64,
    /// What reading took.
    pub source: SourceUsage,
    /// Connections lost.
    pub connections_lost: u64,
    /// Items written again because the server lost their commits.
    pub items_lost_by_server: u64,
}

impl Report {
    /// Whether every item of the source is accounted for.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let changed = self.removed.unwrap_or(0) + self.superseded.unwrap_or(0);
        self.read == self.skipped + self.outcomes.total() + changed
    }

    /// Takes over the ledger's counts.
    pub fn set_counts(&mut self, counts: &Counts, tables: &[String]) {
        self.read = counts.read;
        self.bytes = counts.bytes;
        self.skipped = counts.skipped;
        self.removed = self.removed.map(|_| counts.removed);
        self.superseded = self.superseded.map(|_| counts.superseded);
        self.outcomes = counts.outcomes();
        self.tables = tables
            .iter()
            .enumerate()
            .map(|(index, table)| TableReport {
                table: table.clone(),
                outcomes: counts.tables.get(index).copied().unwrap_or_default(),
            })
            .collect();
    }
}

/// Measures a run from its events.
#[derive(Default)]
pub struct Meter {
    items: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
    unloadable: AtomicU64,
    connections_lost: AtomicU64,
    items_lost: AtomicU64,
    encode: Mutex<Latencies>,
    write: Mutex<Latencies>,
}

struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // Two significant digits, grows as needed: a few kilobytes.
        Latencies(Histogram::new(2).unwrap_or_else(|error| panic!("a histogram of two digits exists: {error}")))
    }
}

impl Latencies {
    fn add(&mut self, took: Duration) {
        // The histogram grows by itself; a duration beyond 500,000 years is not recorded.
        self.0.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).unwrap_or_default();
    }

    fn percentiles(&self) -> Percentiles {
        Percentiles {
            count: self.0.len(),
            p50_us: self.0.value_at_quantile(0.5),
            p90_us: self.0.value_at_quantile(0.9),
            p99_us: self.0.value_at_quantile(0.99),
            max_us: self.0.max(),
        }
    }
}

impl Monitor for Meter {
    fn event(&self, event: &Event<'_>) {
        let lock = |latencies: &Mutex<Latencies>, took| {
            latencies.lock().unwrap_or_else(PoisonError::into_inner).add(took);
        };
        match event {
            Event::PageEncoded { took, .. } => lock(&self.encode, *took),
            Event::Committed { counts, took, .. } => {
                lock(&self.write, *took);
                self.items.fetch_add(counts.read, Ordering::Relaxed);
                self.bytes.fetch_add(counts.bytes, Ordering::Relaxed);
            }
            Event::Retried { .. } => {
                self.retries.fetch_add(1, Ordering::Relaxed);
            }
            Event::Unloadable { .. } => {
                self.unloadable.fetch_add(1, Ordering::Relaxed);
            }
            Event::ConnectionLost { .. } => {
                self.connections_lost.fetch_add(1, Ordering::Relaxed);
            }
            Event::CommitsLost { items, .. } => {
                self.items_lost.fetch_add(*items, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl Meter {
    /// The figures so far; `wall` is the caller's clock. What reading took is no event: the caller adds it.
    #[must_use]
    pub fn process(&self, wall: Duration) -> ProcessReport {
        let (user_seconds, system_seconds) = cpu_seconds();
        let percentiles =
            |latencies: &Mutex<Latencies>| latencies.lock().unwrap_or_else(PoisonError::into_inner).percentiles();
        ProcessReport {
            items: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            wall_seconds: wall.as_secs_f64(),
            user_seconds,
            system_seconds,
            peak_memory_bytes: peak_memory(),
            page_encode: percentiles(&self.encode),
            batch_write: percentiles(&self.write),
            retries: self.retries.load(Ordering::Relaxed),
            unloadable: self.unloadable.load(Ordering::Relaxed),
            source: SourceUsage::default(),
            connections_lost: self.connections_lost.load(Ordering::Relaxed),
            items_lost_by_server: self.items_lost.load(Ordering::Relaxed),
        }
    }
}

/// User and system time of this process; /proc counts in hundredths of a second [proc(5)].
fn cpu_seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(')') else { return (0.0, 0.0) };
    let mut fields = fields.split_whitespace().skip(11).map(|field| field.parse::<f64>().unwrap_or(0.0) / 100.0);
    (fields.next().unwrap_or(0.0), fields.next().unwrap_or(0.0))
}

/// The largest resident set of this process.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) * 1024
}
