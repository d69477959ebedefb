//! The frames of one unit: a log that one task appends to and another reads, a frame at a time.

use super::frame::{self, Frame, HEAD_BYTES, Head};
use super::store::{Segment, Store, Stored};
use crate::error::{Error, Result};
use crate::model::page::UnitId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The log of a unit.
pub struct Log {
    store: Arc<dyn Store>,
    unit: UnitId,
    state: Mutex<State>,
    /// Held by whoever changes segments.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    segments: VecDeque<Segment>,
    /// The item after the last.
    end: u64,
    /// What the source had reached there; none at its beginning.
    reached: Option<String>,
    /// The item after the last that was handed out.
    handed: u64,
    /// Items appended by this process.
    appended: u64,
}

impl Log {
    /// Finds what an earlier process left, and cuts off what it did not finish.
    pub(super) fn recover(store: Arc<dyn Store>, unit: UnitId) -> Result<Log> {
        let mut state = State { segments: store.segments(unit)?.into(), ..State::default() };
        while let Some(Segment { first, bytes }) = state.segments.pop_back() {
            let whole = usize::try_from(bytes).map_err(|_| Error::internal("a segment exceeds memory"))?;
            let mut found = vec![0; whole];
            let stored = store.open(unit, first)?.read_at(0, &mut found);
            stored.map_err(|error| damaged(&*store, unit, first, 0, "cannot be read").because(error))?;
            let scan = frame::scan(&found, unit, first);
            if scan.is_damaged {
                return Err(damaged(&*store, unit, first, scan.whole as u64, "is no frame, and frames follow"));
            }
            let Some((end, reached)) = scan.last else {
                store.remove(unit, first)?;
                continue;
            };
            let segment = Segment { first, bytes: scan.whole as u64 };
            if segment.bytes < bytes {
                store.cut(unit, segment)?;
            }
            (state.end, state.reached) = (end, Some(reached));
            state.segments.push_back(segment);
            break;
        }
        Ok(Log { store, unit, state: Mutex::new(state), writing: Mutex::default() })
    }

    /// Has the log begin no later than item `from`, up to which all was applied, and where the source had reached `after`. A
    /// log that ends before it holds nothing more of use and begins there anew. Where the log ends, and what the source
    /// had reached there.
    ///
    /// # Errors
    /// `Corrupt` when it begins later: what lies between is not in it.
    pub fn begin(&self, from: u64, after: Option<&str>) -> Result<(u64, Option<String>)> {
        let _alone = self.alone();
        let mut state = self.state();
        if let Some(segment) = state.segments.front().filter(|segment| segment.first > from && state.end > from) {
            return Err(damaged(
                &*self.store,
                self.unit,
                segment.first,
                0,
                &format!("is not change {from}, as wanted"),
            ));
        }
        if state.end < from || state.segments.is_empty() {
            for segment in std::mem::take(&mut state.segments) {
                self.store.remove(self.unit, segment.first)?;
            }
            (state.end, state.reached) = (from, after.map(str::to_owned));
        }
        state.handed = from;
        Ok((state.end, state.reached.clone()))
    }

    /// Makes a frame durable, the next after the log's end. Blocks.
    ///
    /// # Errors
    /// Of the store; then nothing was appended.
    pub fn append(&self, frame: &Frame) -> Result<()> {
        let bytes = frame::encode(frame)?;
        let _alone = self.alone();
        let (end, last) = {
            let state = self.state();
            (state.end, state.segments.back().copied())
        };
        if frame.span.unit != self.unit || frame.span.from != end {
            return Err(Error::internal("a frame does not join on to the spool"));
        }
        let room = self.store.segment_bytes();
        let goes_on = last.filter(|last| last.bytes < room);
        let mut segment = goes_on.unwrap_or(Segment { first: end, bytes: 0 });
        self.store.append(self.unit, segment, &bytes)?;
        segment.bytes += bytes.len() as u64;
        let mut state = self.state();
        match (goes_on, state.segments.back_mut()) {
            (Some(_), Some(last)) => *last = segment,
            _ => state.segments.push_back(segment),
        }
        (state.end, state.reached) = (frame.span.to, Some(frame.reached.clone()));
        state.appended += frame.span.items();
        Ok(())
    }

    /// Removes the segments that hold nothing from item `applied` on. Blocks.
    ///
    /// # Errors
    /// Of the store.
    pub fn release(&self, applied: u64) -> Result<()> {
        let _alone = self.alone();
        loop {
            let segment = {
                let state = self.state();
                let ends = state.segments.get(1).map_or(state.end, |next| next.first);
                state.segments.front().copied().filter(|_| ends <= applied)
            };
            let Some(segment) = segment else { return Ok(()) };
            self.store.remove(self.unit, segment.first)?;
            self.state().segments.pop_front();
        }
    }

    /// Reads from item `from` on.
    #[must_use]
    pub fn read(self: &Arc<Self>, from: u64) -> LogReader {
        self.state().handed = from;
        LogReader { log: Arc::clone(self), next: from, open: None }
    }

    /// The item after the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.state().end
    }

    /// How many changes this process has appended.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.state().appended
    }

    /// How many changes are in it that were not handed out.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        let state = self.state();
        state.end.saturating_sub(state.handed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a log, frame by frame, while it grows.
pub struct LogReader {
    log: Arc<Log>,
    /// The item that comes next.
    next: u64,
    open: Option<Open>,
}

/// A segment that is being read.
struct Open {
    first: u64,
    stored: Box<dyn Stored>,
    at: u64,
}

impl LogReader {
    /// How many changes of the log were not handed out.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.log.backlog()
    }

    /// Whether there is a frame to read.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.log.end() > self.next
    }

    /// The next frame; none at the log's end, which may move. Blocks.
    ///
    /// # Errors
    /// `Corrupt`, naming the segment, when it is not what was written; else of the store.
    pub fn frame(&mut self) -> Result<Option<Frame>> {
        let (log, next) = (Arc::clone(&self.log), self.next);
        let found = {
            let state = log.state();
            if state.end <= next {
                return Ok(None);
            }
            let after = state.segments.partition_point(|segment| segment.first <= next);
            after.checked_sub(1).and_then(|at| state.segments.get(at).copied())
        };
        let Some(Segment { first, bytes }) = found else {
            return Err(damaged(&*log.store, log.unit, next, 0, "is not there"));
        };
        let open = match self.open.take() {
            Some(open) if open.first == first => open,
            _ => Open { first, stored: log.store.open(log.unit, first)?, at: 0 },
        };
        let open = self.open.insert(open);
        loop {
            let wrong = |what: &str| damaged(&*log.store, log.unit, first, open.at, what);
            if open.at >= bytes {
                return Err(wrong("is its end, and changes are missing"));
            }
            let mut head = [0; HEAD_BYTES];
            open.stored.read_at(open.at, &mut head).map_err(|error| wrong("cannot be read").because(error))?;
            let head = Head::decode(&head).ok_or_else(|| wrong("is no frame"))?;
            let (body, length) = (open.at + HEAD_BYTES as u64, head.body_bytes());
            if head.span.unit != log.unit || head.span.from > next || body + length as u64 > bytes {
                return Err(wrong("is another frame"));
            }
            if head.span.from < next {
                open.at = body + length as u64;
                continue;
            }
            let mut stored = vec![0; length];
            open.stored.read_at(body, &mut stored).map_err(|error| wrong("cannot be read").because(error))?;
            let frame = frame::decode(&head, &stored).ok_or_else(|| wrong("does not match its checksum"))?;
            open.at = body + length as u64;
            self.next = frame.span.to;
            log.state().handed = frame.span.to;
            return Ok(Some(frame));
        }
    }
}

/// The error about what is not what was written, at a byte of a segment.
fn damaged(store: &dyn Store, unit: UnitId, first: u64, at: u64, what: &str) -> Error {
    Error::corrupt(format!(
        "spool file {} is not what was written: what lies at byte {at} {what}; remove it and all of its folder that comes \
         after it by name, then run the same command: these changes are captured again, if the stream still keeps them (24 \
         hours), else it says so; nothing was skipped",
        store.segment_name(unit, first)
    ))
}
