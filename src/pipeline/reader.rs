//! A reader: a thread that claims units and pushes their pages, until nothing is left to read.
//!
//! A data file that cannot be read (missing, damaged, of the wrong length) fails alone: the run goes on with the others
//! and is not complete at the end. What a live table refuses, it refuses for all of its units: that ends the run.

use super::Flow;
use super::queue::Queued;
use super::work::Assignment;
use crate::error::{ErrorKind, Result};
use crate::monitor::Event;
use crate::source::Read;
use tokio::runtime::Handle;

/// What a page takes of the budget before it is read: the page and about as much again for its rows.
const SHARE_OF_PAGE: usize = 2;

/// Reads until nothing is left, a stop is requested, or the run fails.
pub fn run(flow: &Flow, handle: &Handle) {
    while let Some(assignment) = handle.block_on(flow.work.next()) {
        let unit = assignment.unit;
        let alone = |kind| matches!(kind, ErrorKind::Corrupt | ErrorKind::Transient | ErrorKind::Config);
        match read(flow, &assignment) {
            Ok(Some(end)) => handle.block_on(flow.work.verified(unit, assignment.reading, end)),
            Ok(None) => {}
            Err(error) if alone(error.kind()) && !flow.work.is_live(unit) => flow.work.unit_failed(unit, &error),
            Err(error) => flow.work.fail(error),
        }
    }
}

/// Pushes the pages of one assignment. Returns the item after the last; none when it was cut short.
fn read(flow: &Flow, assignment: &Assignment) -> Result<Option<u64>> {
    let Assignment { unit, reading, wanted } = assignment;
    let halted = || flow.work.halt().is_cancelled() || !flow.work.is_current(*unit, *reading);
    let mut reader = flow.source.open(*unit, wanted)?;
    let mut end = wanted.items.first().map_or(0, |range| range.start);
    loop {
        let share = flow.options.page_bytes * SHARE_OF_PAGE;
        let Some(mut permit) = flow.budget.take(share, &halted) else { return Ok(None) };
        if halted() {
            return Ok(None);
        }
        let page = match reader.next(flow.work.halt())? {
            Read::Page(page) => page,
            Read::Empty => {
                flow.monitor.event(&Event::PageEmpty { unit: *unit });
                continue;
            }
            Read::End => return Ok(Some(end)),
            Read::Halted => return Ok(None),
        };
        permit.settle(share.max(page.bytes.capacity() * SHARE_OF_PAGE));
        flow.monitor.event(&Event::PageRead { span: page.span, bytes: page.bytes.len() });
        end = page.span.to;
        flow.queue.push(Queued { page, reading: *reading, permit });
    }
}
