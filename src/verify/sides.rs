//! Both sides of a key as they are now: the source's item, mapped again, and the target's row.
//!
//! Promises: an item is read consistently, or at the very place of an export where it was found; what the mapping
//! rejects, skips or sends to another key is no row; nothing is remembered from look to look. Must not know what is made of it.

use super::case::Sight;
use super::held::{Held, Theirs};
use crate::compare::Comparison;
use crate::driver::fault::{Fault, FaultKind};
use crate::driver::pool::Pool;
use crate::driver::session::BoxFuture;
use crate::error::Result;
use crate::limit::retry::Backoff;
use crate::mapping::{ColumnType, Mapped, Mapping, Table};
use crate::model::counts::{Digest, KeyCell};
use crate::model::decode::Decoder;
use crate::model::difference::{Candidate, Kind};
use crate::model::number::Number;
use crate::model::rows::{CellRef, Rows};
use std::sync::Arc;

/// Candidates looked at together.
pub const LOOKED_AT_ONCE: usize = 100;

/// A row and its digest.
#[derive(Clone, Debug)]
pub struct Row {
    /// The rows that it is among.
    pub rows: Arc<Rows>,
    /// Its number.
    pub at: usize,
    /// Of its canonical cells.
    pub digest: Digest,
}

/// Both sides of a key.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The row that the source's item maps to.
    pub source: Option<Row>,
    /// The target's row.
    pub target: Option<Row>,
    /// The columns in which they differ, where there are both.
    pub differing: Vec<usize>,
}

/// What came of looking at a key.
#[derive(Clone, Debug)]
pub enum Look {
    /// Both sides.
    Seen(Seen),
    /// One of the sides did not tell: to be asked again.
    HeldBack,
}

impl Seen {
    /// For the decision.
    #[must_use]
    pub fn sight(&self) -> Sight {
        let digest = |row: &Option<Row>| row.as_ref().map(|row| row.digest);
        Sight { source: digest(&self.source), target: digest(&self.target), agree: self.kind().is_none() }
    }

    /// How the sides disagree; none when they agree.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match (&self.source, &self.target) {
            (Some(_), None) => Some(Kind::Missing),
            (None, Some(_)) => Some(Kind::Extra),
            (Some(_), Some(_)) if !self.differing.is_empty() => Some(Kind::Different),
            _ => None,
        }
    }
}

/// Looks at keys.
pub trait Sides: Send + Sync {
    /// Says which candidates will be looked at next, in this order, so that a file is read once for all that lie in it.
    fn expect(&self, candidates: &[&Candidate]);

    /// Both sides of at most [`LOOKED_AT_ONCE`] candidates.
    ///
    /// # Errors
    /// Of either side, when trying again is of no use.
    fn look<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Look>>>;
}

/// What the source has for some candidates.
pub(super) enum Line {
    /// Its item, as a line `{"Item":{…}}`.
    Item(Vec<u8>),
    /// No item.
    Absent,
    /// It did not tell.
    HeldBack,
}

/// Gives the lines of candidates.
pub(super) trait Items: Send + Sync {
    fn expect(&self, candidates: &[&Candidate]);
    fn lines<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Line>>>;
}

/// A source, and the target's rows.
pub struct Ends {
    items: Box<dyn Items>,
    held: Box<dyn Held>,
    mapping: Arc<Mapping>,
}

impl Ends {
    pub(super) fn new(items: Box<dyn Items>, held: Box<dyn Held>, mapping: Arc<Mapping>) -> Self {
        Ends { items, held, mapping }
    }

    async fn look_at(&self, candidates: &[&Candidate]) -> Result<Vec<Look>> {
        let targets = self.held.find(candidates).await?;
        let lines = self.items.lines(candidates).await?;
        let sources = mapped(&self.mapping, candidates, &lines);
        let mut comparison = Comparison::new(&self.mapping);
        let all = candidates.iter().zip(lines).zip(sources.into_iter().zip(targets));
        let look = |((candidate, line), (source, target)): ((&&Candidate, Line), _)| match (line, target) {
            (Line::HeldBack, _) | (_, Theirs::HeldBack) => Look::HeldBack,
            (_, Theirs::Row(rows, at)) => Look::Seen(seen(&mut comparison, candidate.table, source, Some((rows, at)))),
            (_, Theirs::Absent) => Look::Seen(seen(&mut comparison, candidate.table, source, None)),
        };
        Ok(all.map(look).collect())
    }
}

impl Sides for Ends {
    fn expect(&self, candidates: &[&Candidate]) {
        self.items.expect(candidates);
    }

    fn look<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Look>>> {
        Box::pin(self.look_at(candidates))
    }
}

/// Both sides as one, with what is compared.
pub(super) fn seen(
    comparison: &mut Comparison,
    table: usize,
    source: Option<(Arc<Rows>, usize)>,
    target: Option<(Arc<Rows>, usize)>,
) -> Seen {
    let differing = match (&source, &target) {
        (Some(source), Some(target)) => comparison.differing(table, (&source.0, source.1), (&target.0, target.1)),
        _ => Vec::new(),
    };
    let mut row = |side: Option<(Arc<Rows>, usize)>| {
        side.map(|(rows, at)| Row { digest: comparison.digest(table, &rows, at), rows, at })
    };
    Seen { source: row(source), target: row(target), differing }
}

/// The rows that the items of candidates map to: none where an item is absent, rejected, skipped, or maps to another key.
pub(super) fn mapped(mapping: &Mapping, candidates: &[&Candidate], lines: &[Line]) -> Vec<Option<(Arc<Rows>, usize)>> {
    let mut rows: Vec<Rows> = mapping.tables().iter().map(|table| Rows::new(table.columns.len())).collect();
    let (mut mapper, mut decoder) = (mapping.mapper(), Decoder::default());
    let mut places = Vec::with_capacity(candidates.len());
    for (candidate, line) in candidates.iter().zip(lines) {
        let Line::Item(line) = line else {
            places.push(None);
            continue;
        };
        let made = decoder.decode(line, |item| mapper.map(item, line, 0, &mut rows));
        places.push(match made {
            Ok(Mapped::Row(table)) if table == candidate.table => {
                let at = rows[table].len() - 1;
                same_key(&mapping.tables()[table], &candidate.key, &rows[table], at).then_some((table, at))
            }
            _ => None,
        });
    }
    let rows: Vec<Arc<Rows>> = rows.into_iter().map(Arc::new).collect();
    places.into_iter().map(|place| place.map(|(table, at)| (Arc::clone(&rows[table]), at))).collect()
}

/// Whether a row has this key.
fn same_key(table: &Table, key: &[KeyCell], rows: &Rows, at: usize) -> bool {
    let cells = table.key.iter().zip(key);
    cells.clone().count() == table.key.len()
        && cells.into_iter().all(|(column, cell)| match (cell, rows.cell(at, *column)) {
            (KeyCell::Int(left), CellRef::Int(right)) => *left == right,
            (KeyCell::Bytes(left), CellRef::Bytes(right)) => left == right,
            (KeyCell::Text(left), CellRef::Text(right)) => {
                let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| Number::parse(text).ok());
                let is_decimal = matches!(table.columns[*column].ty, ColumnType::Decimal { .. });
                left.as_bytes() == right
                    || (is_decimal && number(right).is_some() && number(left.as_bytes()) == number(right))
            }
            _ => false,
        })
}

/// Waits as a fault demands, or gives up.
pub(super) async fn pause(
    fault: Fault,
    pool: &Pool,
    contention: &mut Backoff,
    reconnect: &mut Backoff,
    what: &str,
) -> Result<()> {
    let wait = match fault.kind {
        FaultKind::Retry => contention.wait(),
        FaultKind::Lost => {
            pool.lost();
            reconnect.wait()
        }
        _ => None,
    };
    match wait {
        Some(wait) => {
            tokio::time::sleep(wait).await;
            Ok(())
        }
        None => Err(fault.into_error(what)),
    }
}
