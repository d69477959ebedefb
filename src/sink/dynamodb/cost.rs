//! What a write costs before it is sent, and what of a response counts against the budget. Pure.
//!
//! A table and each of its indexes have a capacity of their own, and a write that an index throttles is throttled
//! altogether. One bucket is enough for all of them when everything is charged in units of the table: a unit of an index
//! with a tenth of the table's capacity counts as ten, and a request counts as much as whatever it strains most.

use crate::driver::dynamodb::{Charged, TableDescription};
use std::sync::{Mutex, PoisonError};

/// How fast the learned factor follows: a tenth of each new observation.
const FOLLOW: f64 = 0.1;

/// Estimates and charges of one table.
#[derive(Debug)]
pub struct Cost {
    /// By index: table units that one of its units counts as.
    weights: Vec<(String, f64)>,
    /// Charge by estimate, as observed: indexes, and old items that were larger.
    factor: Mutex<f64>,
}

impl Cost {
    /// For a table whose capacities are known, from [`capacity`]; an index without a capacity counts like the table.
    #[must_use]
    pub fn new(table: &TableDescription) -> Self {
        let own = capacity(&table.write);
        let weight = |index| match (own, index) {
            (Some(own), Some(index)) if index > 0.0 => own / index,
            _ => 1.0,
        };
        let weights =
            table.indexes.iter().map(|index| (index.name.clone(), weight(capacity(&index.write)))).collect();
        Cost { weights, factor: Mutex::new(1.0) }
    }

    /// What a request will be charged whose items take `units` write units by their own size.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "units of one request")]
    pub fn estimate(&self, units: u64) -> f64 {
        units as f64 * *self.factor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts of a response to a request of `units`; remembered for the next estimates.
    pub fn charge(&self, units: u64, charged: &Charged) -> f64 {
        let indexes: f64 = charged.indexes.iter().map(|(_, units)| units).sum();
        let weighted = charged.indexes.iter().map(|(name, units)| units * self.weight(name));
        let charge = weighted.fold(charged.units - indexes, f64::max);
        self.learn(units, charge);
        charge
    }

    /// What a put counts that failed its condition, for which a response tells nothing: its own size, at least a unit.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "units of one item")]
    pub fn of_failed_condition(units: u64) -> f64 {
        units.max(1) as f64
    }

    fn weight(&self, index: &str) -> f64 {
        self.weights.iter().find(|(name, _)| name == index).map_or(1.0, |(_, weight)| *weight)
    }

    #[expect(clippy::cast_precision_loss, reason = "units of one request")]
    fn learn(&self, units: u64, charge: f64) {
        if units > 0 && charge > 0.0 {
            let mut factor = self.factor.lock().unwrap_or_else(PoisonError::into_inner);
            *factor += (charge / units as f64 - *factor) * FOLLOW;
        }
    }
}

/// Write units per second that something has for certain; none when nobody says.
#[must_use]
pub fn capacity(capacity: &crate::driver::dynamodb::Capacity) -> Option<f64> {
    capacity.provisioned.or(capacity.on_demand_max).or(capacity.warm)
}
