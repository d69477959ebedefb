//! What the texts of an attribute look like.

use super::capped::Capped;
use crate::mapping::{TimeText, time_text};
use crate::model::number::Number;
use serde::{Serialize, Serializer};

/// Most distinct texts of an attribute that are told apart.
const CONSTANTS: usize = 32;

/// Longest text that may be one of few, in bytes.
const CONSTANT_MAX: usize = 64;

/// The texts of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Texts {
    /// How many.
    pub count: u64,
    /// Those that are empty.
    pub empty: u64,
    /// Characters of the shortest.
    pub shortest: u64,
    /// Characters of the longest.
    pub longest: u64,
    /// Bytes of the longest in bytes.
    pub longest_bytes: u64,
    /// Those with a NUL character.
    pub nul: u64,
    /// ISO-8601 days.
    pub days: u64,
    /// ISO-8601 moments with a `Z`, not finer than a microsecond.
    pub moments: u64,
    /// Those that are spelled like numbers.
    pub numeric: u64,
    /// The distinct ones, when there are few.
    #[serde(rename = "distinct", serialize_with = "distinct")]
    pub constants: Capped<String>,
}

impl Default for Texts {
    fn default() -> Self {
        Texts {
            count: 0,
            empty: 0,
            shortest: u64::MAX,
            longest: 0,
            longest_bytes: 0,
            nul: 0,
            days: 0,
            moments: 0,
            numeric: 0,
            constants: Capped::new(CONSTANTS),
        }
    }
}

impl Texts {
    /// Counts one.
    pub(super) fn add(&mut self, text: &str) {
        let characters = text.chars().count() as u64;
        self.count += 1;
        self.empty += u64::from(text.is_empty());
        self.shortest = self.shortest.min(characters);
        self.longest = self.longest.max(characters);
        self.longest_bytes = self.longest_bytes.max(text.len() as u64);
        self.nul += u64::from(memchr::memchr(0, text.as_bytes()).is_some());
        match time_text(text) {
            Some(TimeText::Day) => self.days += 1,
            Some(TimeText::Moment) => self.moments += 1,
            None => self.numeric += u64::from(is_numeric(text)),
        }
        if text.len() <= CONSTANT_MAX {
            self.constants.add(text);
        } else {
            self.constants.give_up();
        }
    }

    /// Adds others.
    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.empty += other.empty;
        self.shortest = self.shortest.min(other.shortest);
        self.longest = self.longest.max(other.longest);
        self.longest_bytes = self.longest_bytes.max(other.longest_bytes);
        self.nul += other.nul;
        self.days += other.days;
        self.moments += other.moments;
        self.numeric += other.numeric;
        self.constants.merge(&other.constants);
    }
}

fn is_numeric(text: &str) -> bool {
    text.len() <= 40 && text.bytes().any(|byte| byte.is_ascii_digit()) && Number::parse(text).is_ok()
}

/// How many there are, never which.
fn distinct<S: Serializer>(constants: &Capped<String>, serializer: S) -> Result<S::Ok, S::Error> {
    constants.counts().map(|counts| counts.len()).serialize(serializer)
}
