//! What a sample says of the whole.

use super::take::{Taken, TakenUnit};
use crate::census::Census;
use crate::source::Source;
use serde::Serialize;

/// What was read, and what it says of the whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// The DynamoDB table.
    pub table: String,
    /// Whether it was a live table, rather than an export.
    pub live: bool,
    /// Data files or segments that something was read of.
    pub units: u64,
    /// Those that were read to their end.
    pub units_ended: u64,
    /// Data files that hold items, or segments.
    pub units_in_all: u64,
    /// Items read.
    pub items: u64,
    /// Bytes of them as DynamoDB counts (names and values, without the 100 bytes that storage bills).
    pub item_bytes: u64,
    /// Bytes of their DynamoDB JSON lines.
    pub line_bytes: u64,
    /// Read units that it took.
    pub read_units: f64,
    /// What decided which units were read.
    pub seed: u64,
    /// What it says of the whole.
    pub whole: Whole,
    /// How unevenly items lie in units.
    pub skew: Skew,
}

/// What the sample says of all of the source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Whole {
    /// Items.
    pub items: u64,
    /// Whether that is counted, rather than estimated.
    pub items_exact: bool,
    /// Whether every item of a source that stands still was in the sample.
    pub complete: bool,
    /// Bytes as DynamoDB counts.
    pub item_bytes: u64,
    /// Bytes of DynamoDB JSON lines.
    pub line_bytes: u64,
    /// What they were estimated from, in words.
    pub basis: String,
}

/// How unevenly items lie in units: of an export in all, of a live table in those that were read to their end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Skew {
    /// Units whose items are known.
    pub units: u64,
    /// Items of the largest.
    pub largest: u64,
    /// Items of the middle one.
    pub median: u64,
    /// The name of the largest.
    pub largest_name: String,
}

impl Sample {
    /// What was `taken` of `source`, whose items the `census` has counted.
    #[must_use]
    pub fn new(source: &dyn Source, taken: &Taken, census: &Census) -> Sample {
        let description = source.description();
        let live = !description.exact;
        let items: u64 = taken.units.iter().map(|unit| unit.items).sum();
        let in_all = description.units.len() as u64;
        let (whole_items, items_exact, basis) = match live {
            false => (description.items, true, "counted by the export's manifest; sizes from the sample".to_owned()),
            true => live_items(&taken.units, in_all, description.items),
        };
        let (item_bytes, line_bytes) = (census.sizes.sum(), census.lines.sum());
        // a line that is no item has no size by DynamoDB's account
        let share = |bytes: u64, of: u64| scaled(bytes, whole_items, of.max(1));
        let whole = Whole {
            items: whole_items,
            items_exact,
            complete: !live && items == description.items,
            item_bytes: share(item_bytes, census.items),
            line_bytes: share(line_bytes, census.items),
            basis,
        };
        Sample {
            table: description.table.clone(),
            live,
            units: taken.units.len() as u64,
            units_ended: taken.units.iter().filter(|unit| unit.ended).count() as u64,
            units_in_all: in_all,
            items,
            item_bytes,
            line_bytes,
            read_units: source.usage().read_units,
            seed: taken.seed,
            whole,
            skew: if live { skew_of_segments(&taken.units) } else { skew_of_files(source) },
        }
    }

    /// The sample's share of the items, in percent.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.whole.items == 0 { 100.0 } else { (self.items as f64 / self.whole.items as f64 * 100.0).min(100.0) }
    }
}

/// How many items a live table holds, whether that is counted, and how it is known. `told` is DescribeTable's count.
fn live_items(units: &[TakenUnit], in_all: u64, told: u64) -> (u64, bool, String) {
    let items: u64 = units.iter().map(|unit| unit.items).sum();
    let read = units.len() as u64;
    if units.iter().any(|unit| !unit.ended) || read == 0 {
        let basis = "DescribeTable, up to six hours old: some segments were too long to be read to their end";
        return (told.max(items), false, basis.into());
    }
    if read == in_all {
        return (items, true, format!("all {in_all} segments were read"));
    }
    let mean = items as f64 / read as f64;
    let variance = units.iter().map(|unit| (unit.items as f64 - mean).powi(2)).sum::<f64>() / read.max(2) as f64;
    // two standard errors of the mean of a sample without replacement
    let left = 1.0 - read as f64 / in_all as f64;
    let error = if mean > 0.0 { 2.0 * (variance / read as f64 * left).sqrt() / mean * 100.0 } else { 0.0 };
    let basis = format!("{read} of {in_all} segments, each read to its end; give or take {error:.1} %");
    (scaled(items, in_all, read), false, basis)
}

/// `value * factor / of`, rounded down.
fn scaled(value: u64, factor: u64, of: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(factor) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

fn skew_of_files(source: &dyn Source) -> Skew {
    let units = source.description().units.iter();
    skew(units.filter_map(|unit| unit.items.map(|items| (items, unit.name.as_str()))).collect())
}

fn skew_of_segments(units: &[TakenUnit]) -> Skew {
    skew(units.iter().filter(|unit| unit.ended).map(|unit| (unit.items, unit.name.as_str())).collect())
}

fn skew(mut units: Vec<(u64, &str)>) -> Skew {
    units.sort_unstable();
    let Some((largest, name)) = units.last() else { return Skew::default() };
    Skew {
        units: units.len() as u64,
        largest: *largest,
        median: units.get(units.len() / 2).map_or(0, |(items, _)| *items),
        largest_name: (*name).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(items: u64, ended: bool) -> TakenUnit {
        TakenUnit { name: format!("segment {items}"), items, ended }
    }

    #[test]
    fn a_live_tables_items_are_those_of_segments_that_were_read_to_their_end() {
        let units: Vec<TakenUnit> = [90, 110, 100, 100].map(|items| unit(items, true)).into();
        assert_eq!(live_items(&units, 4, 7).0, 400);
        let (items, exact, basis) = live_items(&units, 1000, 7);
        assert_eq!((items, exact), (100_000, false));
        assert!(basis.contains("4 of 1000 segments"), "{basis}");
        let (items, _, basis) = live_items(&[unit(90, true), unit(5, false)], 1000, 7777);
        assert_eq!(items, 7777);
        assert!(basis.contains("DescribeTable"), "{basis}");
        assert_eq!(scaled(u64::MAX, 10, 20), u64::MAX / 2);
    }

    #[test]
    fn skew_is_the_largest_beside_the_middle_one() {
        let found = skew(vec![(5, "b"), (900, "a"), (7, "c")]);
        assert_eq!((found.units, found.largest, found.median, found.largest_name.as_str()), (3, 900, 7, "a"));
    }
}
