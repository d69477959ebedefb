//! Lines of a repeatable unit read again: those at given positions, in one pass over the unit.
//!
//! Blocks, as every reader does. Promises: the unit is opened once, and no more lines are held than were asked for.

use super::{Read, Source, UnitReader};
use crate::error::{Error, Result};
use crate::model::page::{UnitId, Wanted};
use std::collections::VecDeque;
use tokio_util::sync::CancellationToken;

/// The lines at ascending positions of one unit, some at a time.
pub struct Lines {
    unit: UnitId,
    reader: Box<dyn UnitReader>,
    /// Read, and not yet handed out.
    ready: VecDeque<(u64, Vec<u8>)>,
}

impl Lines {
    /// Opens the unit. `positions` are ascending and distinct.
    ///
    /// # Errors
    /// Of the source.
    pub fn open(source: &dyn Source, unit: UnitId, positions: &[u64]) -> Result<Lines> {
        let wanted = Wanted { items: positions.iter().map(|at| *at..at + 1).collect(), after: None };
        Ok(Lines { unit, reader: source.open(unit, &wanted)?, ready: VecDeque::new() })
    }

    /// The next `count` lines with their positions.
    ///
    /// # Errors
    /// Of the source; `Corrupt` when the unit has ended before them.
    pub fn next(&mut self, count: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let halt = CancellationToken::new();
        while self.ready.len() < count {
            match self.reader.next(&halt)? {
                Read::Page(page) => self.ready.extend(page.lines().map(|(at, line)| (at, line.to_vec()))),
                Read::Empty => {}
                Read::End | Read::Halted | Read::Stop(_) => {
                    let unit = self.unit;
                    return Err(Error::corrupt(format!("unit {unit} has fewer items than when it was read before")));
                }
            }
        }
        Ok(self.ready.drain(..count).collect())
    }
}

/// The lines at ascending `positions` of a unit.
///
/// # Errors
/// Of the source.
pub fn at(source: &dyn Source, unit: UnitId, positions: &[u64]) -> Result<Vec<(u64, Vec<u8>)>> {
    Lines::open(source, unit, positions)?.next(positions.len())
}
