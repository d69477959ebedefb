//! What a backfill costs and takes, before it begins: reading the table beside exporting it, room in the target and on
//! disk, and which of the two ways is the better one. Pure: figures in, figures out.
//!
//! Units are exact for the sizes given: pages of a scan are charged as DynamoDB charges them. Durations rest on what is
//! assumed, and say so.

use crate::limit::budget::Allowance;
use crate::limit::limiter::page_units;
use crate::limit::price::{self, Prices};
use crate::mapping::footprint::TableSize;
use serde::{Deserialize, Serialize};

/// A page of a scan: 1 MB of items, each 4 KB of which are a unit, or half of one.
const PAGE_BYTES: f64 = 1_048_576.0;
const UNIT_BYTES: f64 = 4096.0;
/// Read units a second of one partition at most, whatever the table has.
const PARTITION_UNITS: f64 = 3000.0;
/// Pages with which a segment begins before they are full ones (see [`pages`](crate::limit::pages)).
const FIRST_PAGES: f64 = 2.0;
/// What storage is billed for beside an item's own bytes.
const BILLED_PER_ITEM: u64 = 100;
/// Bytes of a GB, as AWS bills them.
const GB: f64 = 1_073_741_824.0;
/// An export of next to nothing takes five to six minutes [measured in published exports].
const EXPORT_MINUTES_LEAST: f64 = 6.0;
/// Half a minute a GB on top is what users tell; AWS promises nothing.
const EXPORT_MINUTES_PER_GB: f64 = 0.5;
/// Sorted runs of whole items, compressed, as a share of their JSON.
const SPILL_SHARE: f64 = 0.5;
/// Streams keep records for so long.
pub const RETENTION_HOURS: f64 = 24.0;
/// Tables above are exported unless somebody says otherwise.
pub const EXPORT_ABOVE: u64 = 80 << 30;
/// US dollars for an export of a GB of table, us-east-1.
pub const EXPORT_PRICE: f64 = 0.10;
/// Rows a second that a target of some cores takes, and bytes: assumed, since only a load shows it.
pub const ROWS_PER_SECOND: f64 = 50_000.0;
const BYTES_PER_SECOND: f64 = 50e6;

/// What is to be moved.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Items.
    pub items: u64,
    /// Their bytes as DynamoDB counts them: names and values.
    pub bytes: u64,
    /// Bytes of the table's local indexes: an export is billed for them, too.
    pub local_index_bytes: u64,
    /// Bytes of the items as lines of DynamoDB JSON.
    pub json_bytes: u64,
    /// The share of all bytes in the partition that has most, 0 to 1; 0 when it is not known.
    pub hottest_share: f64,
    /// The rows that they become.
    pub tables: Vec<TableSize>,
}

/// How a live table would be read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Units a second that may be used, and why so many.
    pub allowance: Allowance,
    /// Twice the price.
    pub consistent: bool,
    /// Segments of the scan.
    pub segments: u32,
}

/// At which prices, and under which assumptions.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Of capacity.
    pub prices: Prices,
    /// US dollars for a GB of an export.
    pub export_price: f64,
    /// Tables of more bytes are exported.
    pub export_above: u64,
    /// Rows a second that the target takes; none to go by [`ROWS_PER_SECOND`].
    pub rows_per_second: Option<f64>,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { prices: price::DEFAULT, export_price: EXPORT_PRICE, export_above: EXPORT_ABOVE, rows_per_second: None }
    }
}

/// What a backfill costs and takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Reading the live table; none when the source is an export.
    pub scan: Option<Scan>,
    /// Having it exported; none when it is one already.
    pub export: Option<Export>,
    /// Writing.
    pub load: Load,
    /// The target tables.
    pub tables: Vec<TableSize>,
    /// All of them, in bytes.
    pub target_bytes: u64,
    /// What sorted runs of a clustered load take on disk, in bytes.
    pub spill_bytes: u64,
    /// Which way to go; none when the source is an export.
    pub recommended: Option<Recommended>,
    /// When the default prices were in force.
    pub prices_as_of: String,
}

/// Of reading a live table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// Read units.
    pub units: f64,
    /// What they cost on demand, in US dollars.
    pub dollars: f64,
    /// How long reading and writing, which go on side by side, take.
    pub hours: f64,
    /// What they wait for, in plain words.
    pub limited_by: String,
}

/// Of an export to S3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// What it costs, in US dollars, without S3's own requests and storage.
    pub dollars: f64,
    /// Until it is complete at the earliest, in minutes: an export of nothing takes as long.
    pub minutes_least: f64,
    /// What such exports have taken, in minutes. Nobody promises it.
    pub minutes: f64,
    /// With the load that follows, in hours.
    pub hours: f64,
    /// What must be there first.
    pub needs: Vec<String>,
}

/// Of writing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Rows.
    pub rows: u64,
    /// Rows a second.
    pub rows_per_second: f64,
    /// Where that figure comes from.
    pub basis: String,
    /// How long writing takes.
    pub hours: f64,
}

/// Which of the two ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommended {
    /// Reading it or exporting it.
    pub way: Way,
    /// In a sentence.
    pub why: String,
}

/// A way to get at a table's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Read the live table.
    Scan,
    /// Have it exported to S3.
    Export,
}

/// Estimates; `reading` is none when the source is an export already.
#[must_use]
pub fn estimate(subject: &Subject, reading: Option<&Reading>, terms: &Terms) -> Estimate {
    let load = load(subject, terms);
    let scan = reading.map(|reading| scan(subject, reading, &load, terms));
    let export = reading.map(|_| export(subject, &load, terms));
    let recommended = scan.as_ref().zip(export.as_ref()).map(|(scan, export)| recommend(subject, scan, export, terms));
    Estimate {
        scan,
        export,
        load,
        target_bytes: subject.tables.iter().map(|table| table.bytes).sum(),
        tables: subject.tables.clone(),
        spill_bytes: whole(subject.json_bytes as f64 * SPILL_SHARE),
        recommended,
        prices_as_of: price::DEFAULT_AS_OF.to_owned(),
    }
}

fn load(subject: &Subject, terms: &Terms) -> Load {
    let rows: u64 = subject.tables.iter().map(|table| table.rows).sum();
    let bytes: f64 = subject.tables.iter().map(|table| table.value_bytes as f64 * table.rows as f64).sum();
    let (rows_per_second, basis) = match terms.rows_per_second {
        Some(given) => (given, "as given".to_owned()),
        None => {
            let by_bytes = if bytes > 0.0 { BYTES_PER_SECOND * rows as f64 / bytes } else { ROWS_PER_SECOND };
            let basis = format!(
                "assumed, not measured: {ROWS_PER_SECOND} rows or {} MB a second, whichever is less",
                BYTES_PER_SECOND / 1e6
            );
            (ROWS_PER_SECOND.min(by_bytes), basis)
        }
    };
    Load { rows, rows_per_second, basis, hours: rows as f64 / rows_per_second.max(f64::MIN_POSITIVE) / 3600.0 }
}

fn scan(subject: &Subject, reading: &Reading, load: &Load, terms: &Terms) -> Scan {
    let rate = reading.allowance.rate.units();
    let units = units(subject.bytes, reading);
    let partition = units * subject.hottest_share / PARTITION_UNITS / 3600.0;
    let table = if rate.is_finite() { units / rate / 3600.0 } else { 0.0 };
    let ways = [
        (table, format!("the table's capacity: {}", reading.allowance.why)),
        (
            partition,
            format!(
                "one partition, which has {:.0} % of the bytes and serves {PARTITION_UNITS} read units a second at most",
                subject.hottest_share * 100.0
            ),
        ),
        (load.hours, format!("the target: {:.0} rows a second, {}", load.rows_per_second, load.basis)),
    ];
    let slowest = ways.into_iter().max_by(|left, right| left.0.total_cmp(&right.0));
    let (hours, limited_by) = slowest.unwrap_or_default();
    Scan { units, dollars: terms.prices.cost(units, 0.0), hours, limited_by }
}

/// Read units of a whole scan: every page is rounded up to a unit once, so small pages cost more.
fn units(bytes: u64, reading: &Reading) -> f64 {
    let factor = if reading.consistent { 1.0 } else { 0.5 };
    let full = PAGE_BYTES / UNIT_BYTES * factor;
    let page = page_units(reading.allowance.rate).min(full);
    let exact = bytes as f64 / UNIT_BYTES * factor;
    let pages = exact / page + f64::from(reading.segments) * FIRST_PAGES.min((exact / page).max(0.5));
    // half of a rounding for each page
    exact + pages * factor * 0.5
}

fn export(subject: &Subject, load: &Load, terms: &Terms) -> Export {
    let billed = subject.bytes + subject.items * BILLED_PER_ITEM + subject.local_index_bytes;
    let gb = billed as f64 / GB;
    let minutes = EXPORT_MINUTES_LEAST + gb * EXPORT_MINUTES_PER_GB;
    Export {
        dollars: gb * terms.export_price,
        minutes_least: EXPORT_MINUTES_LEAST,
        minutes,
        hours: minutes / 60.0 + load.hours,
        needs: vec![
            "point-in-time recovery of the table (billed by the GB-month)".to_owned(),
            "a bucket that these credentials may write: s3:PutObject, s3:PutObjectAcl, s3:AbortMultipartUpload"
                .to_owned(),
            "dynamodb:ExportTableToPointInTime and dynamodb:DescribeExport on the table".to_owned(),
        ],
    }
}

fn recommend(subject: &Subject, scan: &Scan, export: &Export, terms: &Terms) -> Recommended {
    let size = subject.bytes as f64 / GB;
    if subject.bytes > terms.export_above {
        let most = terms.export_above as f64 / GB;
        let why = format!(
            "the table has {size:.1} GB, more than {most:.0} (--export-above): an export takes nothing of its capacity and is \
             of one moment, for {:.2} US dollars",
            export.dollars
        );
        return Recommended { way: Way::Export, why };
    }
    if scan.hours > RETENTION_HOURS && export.hours < scan.hours {
        let why = format!(
            "a scan would take {:.1} h, longer than the {RETENTION_HOURS:.0} h for which a stream keeps changes; an export \
             and its load take about {:.1} h",
            scan.hours, export.hours
        );
        return Recommended { way: Way::Export, why };
    }
    let why = format!(
        "the table has {size:.1} GB: a scan takes about {} and {:.2} US dollars of read units, and needs no bucket and no \
         point-in-time recovery",
        duration(scan.hours),
        scan.dollars
    );
    Recommended { way: Way::Scan, why }
}

/// Hours as people say them.
#[must_use]
pub fn duration(hours: f64) -> String {
    match hours * 60.0 {
        minutes if minutes < 1.0 => "less than a minute".to_owned(),
        minutes if minutes < 120.0 => format!("{minutes:.0} min"),
        minutes => format!("{:.1} h", minutes / 60.0),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size; what is beyond is no size")]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::rate::Rate;

    const GIB: u64 = 1 << 30;

    fn reading(rate: f64, consistent: bool) -> Reading {
        let allowance = Allowance { rate: Rate::per_second(rate), why: "as given".into() };
        Reading { allowance, consistent, segments: 64 }
    }

    fn subject(bytes: u64) -> Subject {
        let rows = bytes / 400;
        let tables = vec![TableSize { table: "t".into(), rows, value_bytes: 400, ..TableSize::default() }];
        Subject { items: rows, bytes, json_bytes: bytes * 2, tables, ..Subject::default() }
    }

    #[test]
    fn a_gib_is_half_of_a_quarter_million_units_and_twice_that_when_consistent() {
        let scan = |consistent| {
            estimate(&subject(GIB), Some(&reading(f64::INFINITY, consistent)), &Terms::default()).scan.unwrap()
        };
        let (eventual, strong) = (scan(false), scan(true));
        assert!((eventual.units / 131_072.0 - 1.0).abs() < 0.01, "{eventual:?}");
        assert!((strong.units / 262_144.0 - 1.0).abs() < 0.01, "{strong:?}");
        assert!((eventual.dollars - 0.0164).abs() < 0.001);
    }

    #[test]
    fn the_slowest_resource_is_named() {
        let limited = |rate, hottest_share, rows| {
            let subject = Subject { hottest_share, ..subject(10 * GIB) };
            let terms = Terms { rows_per_second: Some(rows), ..Terms::default() };
            estimate(&subject, Some(&reading(rate, false)), &terms).scan.unwrap()
        };
        let table = limited(100.0, 0.0, 1e6);
        assert!(table.limited_by.contains("the table's capacity"), "{table:?}");
        assert!((table.hours - 3.7).abs() < 0.2, "1.3 million units at 100 a second: {table:?}");
        assert!(limited(1e6, 0.9, 1e6).limited_by.contains("90 %"));
        assert!(limited(1e6, 0.0, 100.0).limited_by.contains("the target: 100 rows"));
    }

    #[test]
    fn small_pages_cost_more() {
        let units = |rate| units(GIB, &reading(rate, false));
        assert!(units(2.0) > units(1000.0) * 1.1, "{} {}", units(2.0), units(1000.0));
    }

    #[test]
    fn large_tables_are_exported_and_slow_ones_too() {
        let way = |bytes, rate, above| {
            let terms = Terms { export_above: above, ..Terms::default() };
            estimate(&subject(bytes), Some(&reading(rate, false)), &terms).recommended.unwrap()
        };
        assert_eq!(way(80 * GIB, 1e5, EXPORT_ABOVE).way, Way::Scan);
        let exported = way(81 * GIB, 1e5, EXPORT_ABOVE);
        assert!(exported.way == Way::Export && exported.why.contains("--export-above"), "{exported:?}");
        assert_eq!(way(2 * GIB, 1e5, GIB).way, Way::Export);
        let slow = way(40 * GIB, 20.0, EXPORT_ABOVE);
        assert!(slow.way == Way::Export && slow.why.contains("24 h"), "{slow:?}");
    }

    #[test]
    fn an_export_is_billed_for_what_storage_is() {
        let whole = Subject { items: 10_000_000, bytes: 10 * GIB, local_index_bytes: GIB, ..Subject::default() };
        let export = estimate(&whole, Some(&reading(1e4, false)), &Terms::default()).export.unwrap();
        assert!((export.dollars - 0.1 * (11.0 + 1e9 / GB)).abs() < 1e-6, "{export:?}");
        assert!(export.minutes > export.minutes_least);
        assert_eq!(export.needs.len(), 3);
    }

    #[test]
    fn of_an_export_only_the_load_is_left() {
        let estimate = estimate(&subject(GIB), None, &Terms::default());
        assert!(estimate.scan.is_none() && estimate.export.is_none() && estimate.recommended.is_none());
        assert!(estimate.load.basis.contains("assumed"));
        assert_eq!(estimate.spill_bytes, GIB);
    }
}
