//! Readers: threads that keep units open and push their pages, one page at a time, of whichever open unit needs it most.
//!
//! A reader owns no unit. Of a data file that makes no difference; of a live table it does: the segment that has most
//! ahead of it is read first, one whose key range rests is passed over, and the last long one has everybody's share.
//!
//! A data file that cannot be read (missing, damaged, of the wrong length) fails alone: the run goes on with the others
//! and is not complete at the end. What a live table refuses, it refuses for all of its units: that ends the run.
#![expect(clippy::disallowed_methods, reason = "when to look for units again: by the real clock")]

use super::Flow;
use super::queue::Queued;
use super::work::{Assignment, POLL};
use crate::error::{ErrorKind, Result};
use crate::monitor::Event;
use crate::source::{Read, UnitReader};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// What a page takes of the budget before it is read: the page and about as much again for its rows.
const SHARE_OF_PAGE: usize = 2;

/// The units that this process has open.
pub struct Reading {
    state: Mutex<State>,
    changed: Condvar,
    /// Units open at once.
    most: usize,
}

#[derive(Default)]
struct State {
    idle: Vec<Open>,
    /// Open units, those that are being read or opened included.
    open: usize,
    /// When there was nothing to claim.
    dry: Option<Instant>,
}

/// An open unit.
struct Open {
    assignment: Assignment,
    reader: Box<dyn UnitReader>,
    /// The item after the last that was read.
    end: u64,
}

/// What a reader does next.
enum Turn {
    Claim,
    Read(Open),
    /// Nothing is open: waits for whatever may still come.
    Await,
    /// All that is open is being read, or rests for so long.
    Rest(Duration),
}

impl Reading {
    /// With at most `most` units open.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Reading { state: Mutex::default(), changed: Condvar::new(), most: most.max(1) }
    }

    /// Whether nothing is open and there was nothing to claim: no page will come unless the server forgets one.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        let state = self.lock();
        state.open == 0 && state.dry.is_some()
    }

    fn turn(&self, flow: &Flow) -> Turn {
        let mut state = self.lock();
        let dry = state.dry.is_some_and(|since| since.elapsed() < POLL) && !flow.work.has_lost_units();
        if state.open < self.most && !dry {
            state.open += 1;
            return Turn::Claim;
        }
        let mut best: Option<(u64, usize)> = None;
        let mut rest = POLL;
        for (at, open) in state.idle.iter().enumerate() {
            let urgency = open.reader.urgency();
            if !urgency.ready_in.is_zero() {
                rest = rest.min(urgency.ready_in);
            } else if best.is_none_or(|(need, _)| urgency.need > need) {
                best = Some((urgency.need, at));
            }
        }
        match best {
            Some((_, at)) => Turn::Read(state.idle.remove(at)),
            None if state.open == 0 => Turn::Await,
            None => Turn::Rest(rest),
        }
    }

    /// What was claimed is open, or there was nothing to claim.
    fn claimed(&self, something: bool) {
        if !something {
            let mut state = self.lock();
            state.open -= 1;
            state.dry = Some(Instant::now());
            // Whoever rests because this might have become an open unit has nothing to wait for.
            self.changed.notify_all();
        }
    }

    fn put_back(&self, open: Open) {
        self.lock().idle.push(open);
        self.changed.notify_one();
    }

    fn ended(&self) {
        let mut state = self.lock();
        state.open -= 1;
        state.dry = None;
        self.changed.notify_all();
    }

    fn rest(&self, longest: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout(state, longest).unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until nothing is left, a stop is requested, or the run fails.
pub fn run(flow: &Flow, reading: &Reading, handle: &Handle) {
    while !flow.work.halt().is_cancelled() {
        let open = match reading.turn(flow) {
            Turn::Read(open) => open,
            Turn::Rest(longest) => {
                reading.rest(longest);
                continue;
            }
            Turn::Claim => {
                let assignment = handle.block_on(flow.work.try_next());
                reading.claimed(assignment.is_some());
                let Some(open) = assignment.and_then(|assignment| open(flow, reading, assignment)) else { continue };
                open
            }
            Turn::Await => {
                let Some(assignment) = handle.block_on(flow.work.next()) else { return };
                reading.lock().open += 1;
                let Some(open) = open(flow, reading, assignment) else { continue };
                open
            }
        };
        read(flow, reading, handle, open);
    }
}

/// Opens a unit; none when it cannot be read.
fn open(flow: &Flow, reading: &Reading, assignment: Assignment) -> Option<Open> {
    let end = assignment.wanted.items.first().map_or(0, |range| range.start);
    match flow.source.open(assignment.unit, &assignment.wanted) {
        Ok(reader) => Some(Open { assignment, reader, end }),
        Err(error) => {
            failed(flow, &assignment, error);
            reading.ended();
            None
        }
    }
}

/// Reads one page, and puts the unit back unless that was its end.
fn read(flow: &Flow, reading: &Reading, handle: &Handle, mut open: Open) {
    let unit = open.assignment.unit;
    match page(flow, &mut open) {
        Ok(Step::More) => return reading.put_back(open),
        Ok(Step::End) => handle.block_on(flow.work.verified(unit, open.assignment.reading, open.end)),
        Ok(Step::Cut) => {}
        Err(error) => failed(flow, &open.assignment, error),
    }
    reading.ended();
}

fn failed(flow: &Flow, assignment: &Assignment, error: crate::error::Error) {
    let alone = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Transient | ErrorKind::Config);
    if alone && !flow.work.is_live(assignment.unit) {
        flow.work.unit_failed(assignment.unit, &error);
    } else {
        flow.work.fail(error);
    }
}

/// How reading a page went.
enum Step {
    More,
    /// The unit is read to its end.
    End,
    /// Nobody waits for more of it.
    Cut,
}

/// Pushes the next page of a unit.
fn page(flow: &Flow, open: &mut Open) -> Result<Step> {
    let Open { assignment, reader, end } = open;
    let (unit, reading) = (assignment.unit, assignment.reading);
    let halted = || flow.work.halt().is_cancelled() || !flow.work.is_current(unit, reading);
    let share = flow.options.page_bytes * SHARE_OF_PAGE;
    let Some(mut permit) = flow.budget.take(share, &halted) else { return Ok(Step::Cut) };
    if halted() {
        return Ok(Step::Cut);
    }
    let page = match reader.next(flow.work.halt())? {
        Read::Page(page) => page,
        Read::Empty => {
            flow.monitor.event(&Event::PageEmpty { unit });
            return Ok(Step::More);
        }
        Read::End => return Ok(Step::End),
        Read::Halted => return Ok(Step::Cut),
        Read::Stop(reason) => {
            if !flow.work.halt().is_cancelled() {
                flow.monitor.event(&Event::Stopping { reason: &reason });
                flow.work.read_no_more();
            }
            return Ok(Step::Cut);
        }
    };
    permit.settle(share.max(page.bytes.capacity() * SHARE_OF_PAGE));
    flow.monitor.event(&Event::PageRead { span: page.span, bytes: page.bytes.len() });
    *end = page.span.to;
    flow.queue.push(Queued { page, reading, permit });
    Ok(Step::More)
}
