//! A reader: a thread that claims units and pushes their pages, until nothing is left to read.
//!
//! A unit that cannot be read (missing, damaged, of the wrong length) fails alone: the run goes on with the others and
//! is not complete at the end.

use super::Flow;
use super::queue::Queued;
use super::work::Assignment;
use crate::error::{ErrorKind, Result};
use crate::monitor::Event;
use tokio::runtime::Handle;

/// What a page takes of the budget before it is read: the page and about as much again for its rows.
const SHARE_OF_PAGE: usize = 2;

/// Reads until nothing is left, a stop is requested, or the run fails.
pub fn run(flow: &Flow, handle: &Handle) {
    while let Some(assignment) = handle.block_on(flow.work.next(&flow.stop)) {
        let unit = assignment.unit;
        match read(flow, &assignment) {
            Ok(true) => handle.block_on(flow.work.verified(unit)),
            Ok(false) => return,
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Transient | ErrorKind::Config) => {
                flow.work.unit_failed(unit, &error);
            }
            Err(error) => flow.work.fail(error),
        }
    }
}

/// Pushes the pages of one assignment. False when it was cut short.
fn read(flow: &Flow, assignment: &Assignment) -> Result<bool> {
    let stopped = || flow.stop.is_cancelled() || flow.work.has_failed();
    let mut reader = flow.source.open(assignment.unit, &assignment.wanted)?;
    loop {
        let share = flow.options.page_bytes * SHARE_OF_PAGE;
        let Some(mut permit) = flow.budget.take(share, &stopped) else { return Ok(false) };
        if stopped() {
            return Ok(false);
        }
        let Some(page) = reader.next()? else { return Ok(true) };
        permit.settle(share.max(page.bytes.capacity() * SHARE_OF_PAGE));
        flow.monitor.event(&Event::PageRead { span: page.span, bytes: page.bytes.len() });
        flow.queue.push(Queued { page, permit });
    }
}
