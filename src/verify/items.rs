//! Where the items of candidates come from: a live table by their keys, or an export by their places in it.

use super::sides::{Items, Line};
use crate::driver::session::BoxFuture;
use crate::error::{Error, Result};
use crate::mapping::SourceKeys;
use crate::model::difference::Candidate;
use crate::model::page::UnitId;
use crate::source::Source;
use crate::source::lines::Lines;
use crate::source::lookup::{KEYS_MAX, Looked, Lookup, Turn};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// A live table's items, looked up by the keys that the target's keys follow from.
pub(super) struct LiveItems {
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) keys: Arc<SourceKeys>,
}

impl LiveItems {
    /// Reads the items of candidates, after whatever waits `turn` stands for.
    pub(super) async fn read(&self, turn: Option<Turn<'_>>, candidates: &[&Candidate]) -> Result<Vec<Line>> {
        // Two target keys may follow from one source key, which must not be asked for twice.
        let mut asked: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (place, candidate) in candidates.iter().enumerate() {
            if let Some(key) = self.keys.of(candidate.table, &candidate.key) {
                asked.entry(key).or_default().push(place);
            }
        }
        let keys: Vec<&[u8]> = asked.keys().map(Vec::as_slice).collect();
        let mut lines: Vec<Line> = candidates.iter().map(|_| Line::Absent).collect();
        let mut turn = turn;
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(KEYS_MAX) {
            let turn = match turn.take() {
                Some(turn) => turn,
                None => self.lookup.turn(chunk.len()).await?,
            };
            found.extend(self.lookup.read(turn, chunk).await?);
        }
        for (places, looked) in asked.values().zip(found) {
            for place in places {
                lines[*place] = match &looked {
                    Looked::Item(item) => Line::Item([b"{\"Item\":", item.as_slice(), b"}"].concat()),
                    Looked::Absent => Line::Absent,
                    Looked::HeldBack => Line::HeldBack,
                };
            }
        }
        Ok(lines)
    }
}

impl Items for LiveItems {
    fn expect(&self, _: &[&Candidate]) {}

    fn lines<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Line>>> {
        Box::pin(self.read(None, candidates))
    }
}

/// An export's items, read again where they lie. What had no item when the whole export was read has none now.
pub(super) struct ExportItems {
    source: Arc<dyn Source>,
    state: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    /// Positions that are still to be read, by unit, ascending.
    expected: BTreeMap<UnitId, Vec<u64>>,
    /// The unit that is open, with the positions that its reader will give.
    open: Option<(UnitId, VecDeque<u64>, Lines)>,
}

impl ExportItems {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        ExportItems { source, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Reading> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, places: Vec<Option<(UnitId, u64)>>) -> Result<Vec<Line>> {
        let mut reading = std::mem::take(&mut *self.state());
        let source = Arc::clone(&self.source);
        let work = tokio::task::spawn_blocking(move || {
            let line = |place: Option<(UnitId, u64)>| match place {
                Some((unit, position)) => reading.line(&*source, unit, position).map(Line::Item),
                None => Ok(Line::Absent),
            };
            let lines = places.into_iter().map(line).collect::<Result<Vec<_>>>();
            (lines, reading)
        });
        let (lines, reading) = work.await.map_err(|_| Error::internal("reading items again died"))?;
        *self.state() = reading;
        lines
    }
}

impl Reading {
    fn line(&mut self, source: &dyn Source, unit: UnitId, position: u64) -> Result<Vec<u8>> {
        loop {
            if let Some((open, left, lines)) = &mut self.open
                && *open == unit
                && left.front().is_some_and(|first| *first <= position)
            {
                // Passed over: it was expected, and then not asked for.
                let skipped = left.iter().take_while(|at| **at < position).count();
                if left.get(skipped) == Some(&position) {
                    left.drain(..=skipped);
                    let mut read = lines.next(skipped + 1)?;
                    return read.pop().map(|(_, line)| line).ok_or_else(|| Error::internal("a line was lost"));
                }
            }
            let mut positions = self.expected.remove(&unit).unwrap_or_default();
            positions.retain(|at| *at >= position);
            if positions.first() != Some(&position) {
                positions = vec![position];
            }
            let lines = Lines::open(source, unit, &positions)?;
            self.open = Some((unit, positions.into(), lines));
        }
    }
}

impl Items for ExportItems {
    fn expect(&self, candidates: &[&Candidate]) {
        let mut expected: BTreeMap<UnitId, Vec<u64>> = BTreeMap::new();
        for (unit, position) in candidates.iter().filter_map(|candidate| candidate.origin) {
            expected.entry(unit).or_default().push(position);
        }
        for positions in expected.values_mut() {
            positions.sort_unstable();
            positions.dedup();
        }
        *self.state() = Reading { expected, open: None };
    }

    fn lines<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Line>>> {
        Box::pin(self.read(candidates.iter().map(|candidate| candidate.origin).collect()))
    }
}
