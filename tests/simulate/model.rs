//! The model of capacity does what its documentation says.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "milliseconds of a test, above zero and few"
)]

use crate::simulation::capacity::{Direction, Mode, Table, Touch};
use std::time::Duration;

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn read(position: f64, units: f64) -> Touch {
    Touch { direction: Direction::Read, position, units, indexes: Vec::new() }
}

fn provisioned(rate: f64, gigabytes: f64) -> Table {
    Table::new("t", gigabytes, Mode::Provisioned(rate), Mode::Provisioned(rate))
}

/// Units that pass in `seconds` from `from` on, asked for one by one, at more than any table gives.
fn passed(table: &mut Table, positions: &[f64], from: f64, seconds: f64) -> f64 {
    let mut units = 0.0;
    for millisecond in 0..(seconds * 1000.0) as u32 {
        let now = at(from + f64::from(millisecond) / 1000.0);
        for position in positions {
            if table.ask(&read(*position, 5.0), now).is_ok() {
                units += 5.0;
            }
        }
    }
    units
}

#[test]
fn five_minutes_of_unused_capacity_are_saved_and_no_more() {
    let mut table = provisioned(100.0, 1.0);
    let units = passed(&mut table, &[0.5], 3600.0, 60.0);
    assert!((units - 36_000.0).abs() < 100.0, "300 s saved and 60 s new: {units}");
}

#[test]
fn a_partition_gives_3000_units_however_much_the_table_has() {
    let mut table = provisioned(20_000.0, 100.0);
    let units = passed(&mut table, &[0.05], 0.0, 10.0);
    assert!((units - 33_000.0).abs() < 100.0, "{units}");
    let reasons = table.ask(&read(0.05, 1.0), at(10.0)).unwrap_err();
    assert_eq!(reasons[0].reason, "TableReadKeyRangeThroughputExceeded");
    assert!(table.ask(&read(0.95, 1.0), at(10.0)).is_ok(), "the other partitions are not hot");
}

#[test]
fn a_large_page_passes_on_a_little_capacity_and_the_debt_is_worked_off() {
    let mut table = provisioned(10.0, 1.0);
    table.ask(&read(0.5, 3000.5), at(0.0)).unwrap();
    let reasons = table.ask(&read(0.5, 0.5), at(0.0)).unwrap_err();
    assert_eq!(reasons[0].reason, "TableReadProvisionedThroughputExceeded");
    assert!(table.ask(&read(0.5, 0.5), at(0.2)).is_ok());
}

#[test]
fn a_starved_index_refuses_the_write_and_is_named() {
    let mut table = provisioned(1000.0, 1.0);
    table.add_index("by-date", 1.0, Mode::Provisioned(10.0));
    let write =
        |units| Touch { direction: Direction::Write, position: 0.5, units: 1.0, indexes: vec![(0, 0.5, units)] };
    table.ask(&write(3001.0), at(0.0)).unwrap();
    let reasons = table.ask(&write(1.0), at(0.0)).unwrap_err();
    assert!(reasons.iter().any(|reason| reason.reason == "IndexWriteProvisionedThroughputExceeded"));
    assert!(reasons.iter().all(|reason| reason.resource.ends_with("table/t/index/by-date")));
}

#[test]
fn an_on_demand_table_grows_to_twice_its_peak_within_half_an_hour() {
    let mode = Mode::OnDemand { warm: 12_000.0, max: None };
    let mut table = Table::new("t", 1.0, mode, mode);
    assert_eq!(table.read.partitions(), 4);
    passed(&mut table, &[0.1, 0.3, 0.6, 0.9], 0.0, 130.0);
    table.ask(&read(0.5, 1.0), at(1801.0)).unwrap();
    assert_eq!(table.read.partitions(), 8);
}

#[test]
fn a_smaller_capacity_cuts_what_is_saved() {
    let mut table = provisioned(1000.0, 1.0);
    table.read.set_mode(Mode::Provisioned(10.0), at(0.0));
    let units = passed(&mut table, &[0.5], 0.0, 10.0);
    assert!((units - 3100.0).abs() < 50.0, "{units}");
}
