//! A lane: takes one page at a time from the queue to its commit.
#![expect(clippy::disallowed_methods, reason = "measures latencies; decides nothing by the clock")]

use super::queue::Queued;
use super::work::{RESTORES_MAX, Work};
use super::{Flow, Outlet};
use crate::error::{Error, Result};
use crate::model::batch::{Batch, Commit};
use crate::model::counts::Counts;
use crate::monitor::Event;
use crate::sink::{Sink, WriteError};
use std::sync::Arc;
use std::time::Instant;

/// Carries pages until the queue is closed and empty. After a fatal error, or once a stop is requested, pages that wait
/// are dropped: they are not durable, so the next run reads them again. A full queue before a slow target would
/// otherwise take longer to drain than whoever asked for the stop is ready to wait.
pub async fn run(flow: Arc<Flow>) {
    while let Some(queued) = flow.queue.pop().await {
        if flow.work.has_failed() || flow.stop.is_cancelled() {
            continue;
        }
        if let Err(error) = carry(&flow, queued).await {
            flow.work.fail(error);
        }
    }
}

async fn carry(flow: &Flow, queued: Queued) -> Result<()> {
    let Queued { page, reading, mut permit } = queued;
    let span = page.span;
    let started = Instant::now();
    let batch = flow.transform.run(page, &flow.work.unit_name(span.unit)).await?;
    permit.settle(batch.memory());
    flow.monitor.event(&Event::PageEncoded { span, took: started.elapsed() });
    match &flow.outlet {
        Outlet::Target(sink) => {
            let started = Instant::now();
            let Some(counts) = write(&**sink, &flow.work, &batch, reading).await? else { return Ok(()) };
            flow.monitor.event(&Event::Committed { span, counts: &counts, took: started.elapsed() });
            flow.source.take_back(batch.page.bytes);
            drop(permit);
            flow.work.committed(span, &counts, flow.options.max_rejects).await
        }
        Outlet::Runs(sorter) => {
            let full = sorter.add(flow, &batch, reading, permit);
            flow.source.take_back(batch.page.bytes);
            match full {
                None => Ok(()),
                Some(full) => sorter.write(flow, full).await,
            }
        }
    }
}

/// Writes the batch; none when it is void: its unit failed, or is being read anew.
///
/// # Errors
/// Of the target, and of a claim that is another's.
pub async fn write(sink: &dyn Sink, work: &Work, batch: &Batch, reading: u32) -> Result<Option<Counts>> {
    let (span, in_order) = (batch.page.span, batch.page.is_live());
    for _ in 0..RESTORES_MAX {
        if in_order && !work.turn(span, reading).await {
            return Ok(None);
        }
        let Some(fence) = work.fence(span.unit, reading) else { return Ok(None) };
        match sink.write(batch, Commit { fence, span, in_order }).await {
            Ok(counts) if counts.add_up() => return Ok(Some(counts)),
            Ok(_) => {
                let place = format!("unit {} items {} to {}", span.unit, span.from, span.to);
                return Err(Error::internal(format!("{place}: the counts do not add up")));
            }
            Err(WriteError::Failed(error)) => return Err(error),
            // Either another process owns the unit, or the server forgot our claim: the audit tells, or puts it back.
            Err(WriteError::Fenced { .. } | WriteError::OutOfTurn) => work.audit().await?,
        }
    }
    Err(Error::refused("the claim of a unit is lost again and again; is the database being restored?"))
}
