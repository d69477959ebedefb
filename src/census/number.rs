//! What the numbers of an attribute look like, as decimals: never a float.

use crate::model::number::Number;
use serde::{Serialize, Serializer};

/// 2000-01-01 and 2100-01-01, in seconds since 1970: what a number that is a time most likely lies between.
const PLAUSIBLE: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// The numbers of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// How many.
    pub count: u64,
    /// The most digits before the point.
    pub integer_digits: u64,
    /// The fewest digits after the point.
    pub least_scale: u64,
    /// The most digits after the point.
    pub scale: u64,
    /// Those below zero.
    pub negative: u64,
    /// Integers of 64 bits.
    pub integers: u64,
    /// Those that are a plausible number of seconds since 1970.
    pub epoch_seconds: u64,
    /// Those that are a plausible number of milliseconds since 1970.
    pub epoch_millis: u64,
    /// The smallest and the largest.
    pub range: Option<(Extreme, Extreme)>,
}

/// The smallest or the largest number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extreme {
    /// Sorts as the numbers do.
    key: Vec<u8>,
}

impl Extreme {
    /// Plain decimal text.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut plain = Vec::new();
        if let Some(number) = Number::from_key(&self.key) {
            number.write_plain(&mut plain);
        }
        String::from_utf8_lossy(&plain).into_owned()
    }
}

impl Serialize for Extreme {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.plain())
    }
}

impl Numbers {
    /// Counts one. What is no number is none.
    pub(super) fn add(&mut self, text: &str) {
        let Ok(number) = Number::parse(text) else { return };
        let (digits, scale) = (number.integer_digits() as u64, number.scale() as u64);
        self.least_scale = if self.count == 0 { scale } else { self.least_scale.min(scale) };
        self.count += 1;
        self.integer_digits = self.integer_digits.max(digits);
        self.scale = self.scale.max(scale);
        self.negative += u64::from(text.starts_with('-') && !number.is_zero());
        if let Some(integer) = number.to_i64() {
            self.integers += 1;
            self.epoch_seconds += u64::from(PLAUSIBLE.contains(&integer));
            self.epoch_millis += u64::from(PLAUSIBLE.contains(&(integer / 1000)));
        }
        let mut key = Vec::new();
        number.write_key(&mut key);
        self.stretch(&Extreme { key: key.clone() }, &Extreme { key });
    }

    fn stretch(&mut self, low: &Extreme, high: &Extreme) {
        match &mut self.range {
            None => self.range = Some((low.clone(), high.clone())),
            Some((least, most)) => {
                if low < least {
                    least.clone_from(low);
                }
                if high > most {
                    most.clone_from(high);
                }
            }
        }
    }

    /// Adds others.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.least_scale = if self.count == 0 { other.least_scale } else { self.least_scale.min(other.least_scale) };
        self.count += other.count;
        self.integer_digits = self.integer_digits.max(other.integer_digits);
        self.scale = self.scale.max(other.scale);
        self.negative += other.negative;
        self.integers += other.integers;
        self.epoch_seconds += other.epoch_seconds;
        self.epoch_millis += other.epoch_millis;
        if let Some((low, high)) = &other.range {
            self.stretch(low, high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_range_are_those_of_the_decimals() {
        let mut numbers = Numbers::default();
        for text in ["1.50", "-2", "1e2", "0.0012", "12345678901234567890123456789012345678", "1700000000"] {
            numbers.add(text);
        }
        assert_eq!((numbers.count, numbers.integers, numbers.negative), (6, 3, 1));
        assert_eq!((numbers.integer_digits, numbers.least_scale, numbers.scale), (38, 0, 4));
        assert_eq!((numbers.epoch_seconds, numbers.epoch_millis), (1, 0));
        let (low, high) = numbers.range.unwrap();
        assert_eq!((low.plain().as_str(), high.plain().as_str()), ("-2", "12345678901234567890123456789012345678"));
    }
}
