//! A unit of work and its pages: bounded runs of the unit's lines, with the span that says which.

/// One unit of work, by its position in the run's list of units.
pub type UnitId = u32;

/// One unit of a source: the smallest piece of work that is claimed and resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its position in the source's list.
    pub id: UnitId,
    /// What an operator finds it by: the data file's key, say.
    pub name: String,
    /// How many items it holds, as the source declares.
    pub items: u64,
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

/// Raw DynamoDB JSON lines, each ended by a newline.
#[derive(Debug)]
pub struct Page {
    /// Which items these are.
    pub span: Span,
    /// The lines.
    pub bytes: Vec<u8>,
}

impl Page {
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
