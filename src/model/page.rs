//! A unit of work and its pages: bounded runs of the unit's lines, with the span that says which.

use std::ops::Range;

/// One unit of work, by its position in the run's list of units.
pub type UnitId = u32;

/// One unit of a source: the smallest piece of work that is claimed and resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its position in the source's list.
    pub id: UnitId,
    /// What an operator finds it by: the data file's key, say.
    pub name: String,
    /// How many items it holds, where the source knows: an export declares it, a scan finds out at the end.
    pub items: Option<u64>,
}

/// What of a unit is to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The items: ascending, disjoint, not empty. None at all when only the unit's end is still to be checked.
    pub items: Vec<Range<u64>>,
    /// What the last durable page before the first of them had [`reached`](Page::reached).
    pub after: Option<String>,
}

/// Items `from..to` of a unit, counted from zero: half open, so that spans join without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The unit.
    pub unit: UnitId,
    /// The first item.
    pub from: u64,
    /// The item after the last.
    pub to: u64,
}

impl Span {
    /// How many items the span holds.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.to - self.from
    }
}

/// Of a source of changes: a line that changes nothing and is counted as skipped. The source left a change away by rule, or
/// has got somewhere without one.
pub const ONLY_COUNTED: &[u8] = b"{}";

/// Raw DynamoDB JSON lines, each ended by a newline.
#[derive(Debug)]
pub struct Page {
    /// Which items these are.
    pub span: Span,
    /// The lines.
    pub bytes: Vec<u8>,
    /// Where the source goes on after this page, in its own words. None where an item's number is enough, because the
    /// same number is the same item at every reading. A unit whose pages have it is *live*: it cannot be read twice alike,
    /// so its pages become durable in order, and it is resumed where the last of them ended.
    pub reached: Option<String>,
    /// What the source charged for it, in halves of a read unit: the smallest that DynamoDB charges.
    pub half_units: u64,
}

impl Page {
    /// Whether this is a page of a live unit.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.reached.is_some()
    }

    /// The lines with their positions in the unit, without the newline.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.bytes.as_slice();
        let mut position = self.span.from;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            position += 1;
            Some((position - 1, line))
        })
    }
}
