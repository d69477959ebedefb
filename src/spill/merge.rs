//! The rows of a key range from all runs, in key order.
//!
//! A tree of losers: its leaves are the runs' cursors, an inner node has the cursor that lost there, the top has the one
//! with the smallest key. After a step only the matches on one leaf's way up are played again. Most are decided by eight
//! bytes of the key, taken after what all keys of the range begin with.

use super::cursor::Cursor;
use super::pieces::KeyRange;
use super::run::Run;
use super::{Fault, key, sort};
use crate::error::Result;
use crate::model::rows::Rows;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

/// A merge that is under way. Holds about one block of each run in memory.
#[derive(Debug)]
pub struct Merge {
    table: usize,
    end: Bound<Vec<u8>>,
    cursors: Vec<Cursor>,
    /// The eight bytes of each cursor's key, or [`DONE`].
    heads: Vec<u128>,
    /// How many bytes all keys of the range begin with.
    skip: usize,
    /// The losers; the first is the winner.
    tree: Vec<usize>,
    /// Two cursors that stand on one key.
    twins: Option<(usize, usize)>,
    stored: Vec<u8>,
}

/// The head of a cursor that has no row left: greater than any of eight bytes.
const DONE: u128 = u128::MAX;

impl Merge {
    /// Begins at the start of `range` of the keys of `table`.
    ///
    /// # Errors
    /// `Corrupt`, naming the file, when a block is damaged; `Twins`.
    pub fn new(runs: &[Arc<Run>], table: usize, range: KeyRange<'_>) -> Result<Merge, Fault> {
        let mut stored = Vec::new();
        let cursors = runs.iter().filter_map(|run| Cursor::new(run, table, range, &mut stored).transpose());
        let cursors = cursors.collect::<Result<Vec<_>>>()?;
        let skip = skip(&cursors, range.1);
        let mut merge = Merge {
            table,
            end: range.1.map(<[u8]>::to_vec),
            heads: cursors.iter().map(|cursor| u128::from(key::head(cursor.key(), skip))).collect(),
            skip,
            tree: Vec::new(),
            twins: None,
            stored,
            cursors,
        };
        merge.plant();
        merge.no_twins()?;
        Ok(merge)
    }

    /// Appends rows in key order to `rows`, with their origins, until there are `rows_max` more or they pass `bytes_max`
    /// bytes: at least one, unless none is left. Gives their number, 0 at the end; the sort key of the last is put into
    /// `last`, which is left alone when there is none.
    ///
    /// # Errors
    /// `Corrupt`, naming the file, when a block is damaged; `Twins` when two rows have one key. Then `rows` may have some
    /// rows of the merge, all true, and the merge is to be dropped.
    pub fn next(
        &mut self,
        rows: &mut Rows,
        rows_max: usize,
        bytes_max: usize,
        last: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        let (mut count, mut bytes) = (0, 0);
        while count < rows_max && (count == 0 || bytes < bytes_max) {
            let Some(&winner) = self.tree.first().filter(|winner| self.heads[**winner] != DONE) else { break };
            let cursor = &mut self.cursors[winner];
            let record = cursor.record()?;
            record.append_to(rows).ok_or_else(|| cursor.nonsense())?;
            count += 1;
            bytes += record.bytes.len();
            last.clear();
            last.extend_from_slice(record.key);
            let end = self.end.as_ref().map(Vec::as_slice);
            self.heads[winner] = match cursor.advance(end, &mut self.stored)? {
                true => u128::from(key::head(cursor.key(), self.skip)),
                false => DONE,
            };
            self.replay(winner);
            self.no_twins()?;
        }
        Ok(count)
    }

    /// Plays all matches.
    fn plant(&mut self) {
        let leaves = self.cursors.len();
        let mut open: Vec<Option<usize>> = vec![None; leaves];
        for leaf in 0..leaves {
            let (mut winner, mut node) = (leaf, (leaf + leaves) / 2);
            // who comes to a match first waits for the other
            while node > 0
                && let Some(other) = open[node]
            {
                if self.beats(other, winner) {
                    open[node] = Some(winner);
                    winner = other;
                }
                node /= 2;
            }
            open[node] = Some(winner);
        }
        self.tree = open.into_iter().flatten().collect();
    }

    /// Plays the matches on the way up from `leaf`, whose row is a new one.
    #[inline]
    fn replay(&mut self, leaf: usize) {
        let (mut winner, mut node) = (leaf, (leaf + self.tree.len()) / 2);
        while node > 0 {
            let other = self.tree[node];
            if self.beats(other, winner) {
                self.tree[node] = winner;
                winner = other;
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }

    #[inline]
    fn beats(&mut self, left: usize, right: usize) -> bool {
        let (a, b) = (self.heads[left], self.heads[right]);
        if a != b || a == DONE {
            return a < b;
        }
        match self.cursors[left].key().cmp(self.cursors[right].key()) {
            Ordering::Less => true,
            Ordering::Greater => false,
            // the two smallest of all meet before one of them wins, so no twins pass unseen
            Ordering::Equal => {
                self.twins = Some((left, right));
                false
            }
        }
    }

    fn no_twins(&self) -> Result<(), Fault> {
        match self.twins {
            None => Ok(()),
            Some((a, b)) => Err(sort::twins(self.table, self.cursors[a].record()?, self.cursors[b].record()?)),
        }
    }
}

/// How many bytes all keys from the cursors' on to the end of the range begin with.
fn skip(cursors: &[Cursor], end: Bound<&[u8]>) -> usize {
    let first = cursors.iter().map(Cursor::key).min();
    let last = cursors.iter().map(Cursor::last_key).max();
    let (Some(first), Some(last)) = (first, last) else { return 0 };
    let last = match end {
        Bound::Included(end) | Bound::Excluded(end) => last.min(end),
        Bound::Unbounded => last,
    };
    key::common(first, last)
}
