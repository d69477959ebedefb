//! Units per second: read or write capacity units, as DynamoDB charges them.

use std::fmt;

/// A rate of capacity units, above zero, or no limit at all.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// The slowest rate there is: a rate of zero would never end.
const SLOWEST: f64 = 0.01;

impl Rate {
    /// No limit but what the server says.
    pub const UNLIMITED: Rate = Rate(f64::INFINITY);

    /// So many units a second; what is too small to ever end (or no number) becomes a unit in a hundred seconds.
    #[must_use]
    pub fn per_second(units: f64) -> Rate {
        Rate(units.max(SLOWEST))
    }

    /// Units per second; infinite when unlimited.
    #[must_use]
    pub fn units(self) -> f64 {
        self.0
    }

    /// One of `parts` equal parts.
    #[must_use]
    pub fn part_of(self, parts: u32) -> Rate {
        Rate::per_second(self.0 / f64::from(parts.max(1)))
    }

    /// Whether there is a limit.
    #[must_use]
    pub fn is_limited(self) -> bool {
        self.0.is_finite()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            units if units.is_infinite() => f.write_str("unlimited"),
            units if units < 10.0 => write!(f, "{units:.1} units/s"),
            units => write!(f, "{units:.0} units/s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_zero_and_never_no_number() {
        assert_eq!(Rate::per_second(0.0).units(), SLOWEST);
        assert_eq!(Rate::per_second(-4.0).units(), SLOWEST);
        assert_eq!(Rate::per_second(f64::NAN).units(), SLOWEST);
        assert!(!Rate::UNLIMITED.is_limited() && Rate::per_second(5.0).is_limited());
        assert_eq!(Rate::per_second(2.5).to_string(), "2.5 units/s");
        assert_eq!(Rate::per_second(9.0).part_of(3).units(), 3.0);
        assert!(!Rate::UNLIMITED.part_of(3).is_limited());
    }
}
