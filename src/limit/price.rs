//! `--max-cost`: what units cost, and a meter that says when to stop.
//!
//! On-demand prices are used for provisioned tables too: there the units are paid for already, so the meter tells what
//! the copy takes away rather than what it adds, and errs to the safe side.

/// US dollars per million request units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// A million read units.
    pub read: f64,
    /// A million write units.
    pub write: f64,
}

/// On demand, standard table class, us-east-1. Other regions cost up to twice as much: give `--price`.
pub const DEFAULT: Prices = Prices { read: 0.125, write: 0.625 };
/// When [`DEFAULT`] was in force: the price cut of November 2024.
pub const DEFAULT_AS_OF: &str = "2024-11-01";

impl Prices {
    /// US dollars for so many units.
    #[must_use]
    pub fn cost(&self, read: f64, write: f64) -> f64 {
        (read * self.read + write * self.write) / 1e6
    }
}

/// Money that may be spent.
#[derive(Clone, Debug)]
pub struct Purse {
    prices: Prices,
    most: f64,
    spent: f64,
    reserved: f64,
}

impl Purse {
    /// One that holds `most` dollars, of which earlier runs have `spent` some.
    #[must_use]
    pub fn new(prices: Prices, most: f64, spent: f64) -> Self {
        Purse { prices, most, spent, reserved: 0.0 }
    }

    /// Sets aside what a request will cost at most. False when there is not enough left for it: stop.
    #[must_use]
    pub fn reserve(&mut self, read: f64, write: f64) -> bool {
        let cost = self.prices.cost(read, write);
        let enough = self.spent + self.reserved + cost <= self.most;
        if enough {
            self.reserved += cost;
        }
        enough
    }

    /// Pays `actual` units for a request for which `reserved` were set aside; both as (read, write).
    pub fn pay(&mut self, reserved: (f64, f64), actual: (f64, f64)) {
        self.reserved = (self.reserved - self.prices.cost(reserved.0, reserved.1)).max(0.0);
        self.spent += self.prices.cost(actual.0, actual.1);
    }

    /// Dollars paid so far.
    #[must_use]
    pub fn spent(&self) -> f64 {
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gibibyte_read_eventually_costs_under_two_cents() {
        assert!((DEFAULT.cost(131_072.0, 0.0) - 0.016_384).abs() < 1e-9);
        assert!((DEFAULT.cost(0.0, 1e6) - 0.625).abs() < 1e-9);
    }

    #[test]
    fn it_stops_before_the_money_is_spent_whatever_is_under_way() {
        let mut purse = Purse::new(Prices { read: 1e6, write: 1e6 }, 10.0, 4.0);
        assert!(purse.reserve(3.0, 0.0));
        assert!(purse.reserve(0.0, 3.0));
        assert!(!purse.reserve(0.1, 0.0), "all is set aside");
        purse.pay((3.0, 0.0), (1.0, 0.0));
        assert!((purse.spent() - 5.0).abs() < 1e-9);
        assert!(purse.reserve(2.0, 0.0), "what was not used is there again");
        assert!(!purse.reserve(0.1, 0.0));
    }
}
