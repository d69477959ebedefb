//! The budget that was typed (`500`, `40%`, `headroom:60%`, `unlimited`), turned into a rate by what the table has.
//!
//! There is no magic constant: without a budget half of what the table has is used, and where nobody knows what it has,
//! that is an error that says what to type. The capacity is read again while the run goes on, and so is the rate.

use super::rate::Rate;
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// How much of a table's or an index's capacity a run may use, in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many units per second.
    Units(f64),
    /// A share of the capacity, 0 to 1.
    Share(f64),
    /// A share, 0 to 1, of what the foreground leaves of the capacity. Where the foreground's use is not measured, a
    /// share of the capacity: throttles then teach how much of it is really left.
    Headroom(f64),
    /// As fast as the server allows: throttles alone decide.
    Unlimited,
}

/// Of the capacity, when nothing was typed.
pub const DEFAULT: Budget = Budget::Share(0.5);
/// What a run may use at least, as a share of its share: it must end some day, however busy the foreground is.
const HEADROOM_LEAST: f64 = 0.02;

/// What DescribeTable tells of one direction of a table or an index, in units per second. On demand nothing is
/// provisioned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capacity {
    /// Provisioned.
    pub provisioned: Option<f64>,
    /// The on-demand maximum, where somebody set one.
    pub on_demand_max: Option<f64>,
    /// What the table serves at once without growing first.
    pub warm: Option<f64>,
}

/// A rate, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// The rate.
    pub rate: Rate,
    /// For the log: `50 % of 4000 provisioned read units/s`.
    pub why: String,
}

/// What a capacity is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `--read-capacity`.
    Read,
    /// `--write-capacity`.
    Write,
}

impl Capacity {
    /// What there is, and its name.
    fn known(&self) -> Option<(f64, &'static str)> {
        let above_zero = |units: &f64| units.is_finite() && *units > 0.0;
        let named = |units: Option<f64>, name| units.filter(above_zero).map(|units| (units, name));
        named(self.provisioned, "provisioned")
            .or_else(|| named(self.on_demand_max, "on-demand maximum"))
            .or_else(|| named(self.warm, "warm"))
    }
}

impl Budget {
    /// The rate that this budget allows. `foreground` is what others use now in units per second, where it is measured.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::error::ErrorKind::Config) when it needs a capacity that is not known.
    pub fn allow(self, capacity: &Capacity, foreground: Option<f64>, direction: Direction) -> Result<Allowance> {
        let has = || capacity.known().ok_or_else(|| unknown(direction));
        let of = |share: f64, units: f64, name: &str| {
            let percent = share * 100.0;
            format!("{percent:.0} % of {units:.0} {name} {direction} units/s")
        };
        let (units, why) = match self {
            Budget::Units(units) => (units, format!("{units} {direction} units/s as given")),
            Budget::Share(share) => {
                let (units, name) = has()?;
                (share * units, of(share, units, name))
            }
            Budget::Headroom(share) => {
                let (units, name) = has()?;
                let used = foreground.unwrap_or(0.0).max(0.0);
                let left = (units - used).max(units * HEADROOM_LEAST);
                let why = of(share, left, name);
                let note = if foreground.is_some() { "left by others" } else { "less what throttles ask for" };
                (share * left, format!("{why}, {note}"))
            }
            Budget::Unlimited => {
                return Ok(Allowance { rate: Rate::UNLIMITED, why: "unlimited: throttles alone decide".to_string() });
            }
        };
        Ok(Allowance { rate: Rate::per_second(units), why })
    }
}

fn unknown(direction: Direction) -> Error {
    let message = format!("the table does not say what {direction} capacity it has: give --{direction}-capacity in");
    Error::config(format!("{message} units per second, for instance --{direction}-capacity 500"))
}

impl FromStr for Budget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let forms = "say units per second (500), a share (40%), headroom:60%, or unlimited";
            Error::config(format!("`{text}` is no capacity: {forms}"))
        };
        let share = |text: &str| {
            let percent = text.strip_suffix('%').and_then(|digits| digits.trim().parse::<f64>().ok());
            percent.filter(|percent| *percent > 0.0 && *percent <= 100.0).map(|percent| percent / 100.0)
        };
        let trimmed = text.trim();
        if trimmed == "unlimited" {
            return Ok(Budget::Unlimited);
        }
        if let Some(rest) = trimmed.strip_prefix("headroom:") {
            return share(rest).map(Budget::Headroom).ok_or_else(refuse);
        }
        if trimmed.ends_with('%') {
            return share(trimmed).map(Budget::Share).ok_or_else(refuse);
        }
        let units = trimmed.parse::<f64>().ok().filter(|units| units.is_finite() && *units > 0.0);
        units.map(Budget::Units).ok_or_else(refuse)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Read => "read",
            Direction::Write => "write",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(text: &str, capacity: Capacity, foreground: Option<f64>) -> (f64, String) {
        let budget: Budget = text.parse().unwrap();
        let allowance = budget.allow(&capacity, foreground, Direction::Read).unwrap();
        (allowance.rate.units(), allowance.why)
    }

    #[test]
    fn each_form_is_a_rate_with_its_reason() {
        let provisioned = Capacity { provisioned: Some(4000.0), ..Capacity::default() };
        assert_eq!(allow("500", Capacity::default(), None).0, 500.0);
        assert_eq!(allow("50%", provisioned, None), (2000.0, "50 % of 4000 provisioned read units/s".to_string()));
        assert_eq!(allow("headroom:60%", provisioned, Some(3000.0)).0, 600.0);
        assert_eq!(allow("headroom:60%", provisioned, None).0, 2400.0);
        assert!(allow("unlimited", Capacity::default(), None).0.is_infinite());
    }

    #[test]
    fn on_demand_tables_go_by_their_maximum_or_else_by_their_warm_throughput() {
        let both = Capacity { provisioned: Some(0.0), on_demand_max: Some(1000.0), warm: Some(12_000.0) };
        assert_eq!(allow("50%", both, None).0, 500.0);
        let warm = Capacity { warm: Some(12_000.0), ..Capacity::default() };
        assert_eq!(allow("50%", warm, None), (6000.0, "50 % of 12000 warm read units/s".to_string()));
    }

    #[test]
    fn an_unknown_capacity_is_an_error_that_says_what_to_type() {
        let error = DEFAULT.allow(&Capacity::default(), None, Direction::Write).unwrap_err();
        assert!(error.to_string().contains("--write-capacity 500"), "{error}");
    }

    #[test]
    fn headroom_never_falls_to_nothing() {
        let provisioned = Capacity { provisioned: Some(1000.0), ..Capacity::default() };
        assert!(allow("headroom:50%", provisioned, Some(5000.0)).0 >= 10.0);
    }

    #[test]
    fn what_is_no_budget_is_refused() {
        for text in ["", "0", "-5", "0%", "101%", "NaN", "inf", "headroom:", "headroom:5", "fast", "5 %%"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
        assert_eq!("40 %".parse::<Budget>().unwrap(), Budget::Share(0.4));
    }
}
