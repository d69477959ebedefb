//! The one seam to whoever watches: the screen, the report's figures, tests and crash points all receive every event.
//!
//! Events carry positions, sizes and durations; never an item's value.

use crate::model::counts::Counts;
use crate::model::page::{Span, UnitId};
use std::sync::Arc;
use std::time::Duration;

/// Something that happened. The first ten are the named points of a page's life, in order.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are named after their types")]
pub enum Event<'a> {
    /// This process owns the unit now.
    UnitClaimed { unit: UnitId },
    /// A page of so many bytes was read.
    PageRead { span: Span, bytes: usize },
    /// It became rows.
    PageEncoded { span: Span, took: Duration },
    /// Its transaction has proved its fence.
    TransactionBegun { span: Span },
    /// Its rows are written, not yet durable.
    RowsWritten { span: Span },
    /// Its ledger row is written, not yet durable.
    LedgerWritten { span: Span },
    /// It is durable.
    Committed { span: Span, counts: &'a Counts, took: Duration },
    /// The unit's ledger was folded up to an item.
    Folded { unit: UnitId, to: u64 },
    /// All of the unit is durable and its end was checked.
    UnitDone { unit: UnitId },
    /// A sorted run of so many bytes is on disk, not yet recorded.
    RunWritten { bytes: u64 },
    /// All is sorted; so many rows are to be loaded, of which some are already.
    LoadBegun { rows: u64, loaded: u64 },
    /// All is compared; so many keys that seemed to differ are to be looked at again.
    LookBegun { keys: u64 },
    /// Of so many of these keys it is known, and stored, what became of them.
    Judged { keys: u64 },
    /// The run was marked complete.
    RunComplete,
    /// The source answered without an item, as a live table does where many were deleted; the unit goes on.
    PageEmpty { unit: UnitId },
    /// The source asked for an orderly stop.
    Stopping { reason: &'a str },
    /// The unit cannot be read; the rest of the run goes on.
    UnitFailed { unit: UnitId, reason: &'a str },
    /// A transaction is done again.
    Retried { code: &'a str },
    /// What a load made of the page could not be proved, so it is inserted.
    Unloadable { span: Span, reason: &'a str },
    /// A connection was lost.
    ConnectionLost { code: &'a str },
    /// The server lost items that it had acknowledged; they are queued again.
    CommitsLost { unit: UnitId, items: u64 },
    /// The target cannot take writes for now.
    Paused { reason: &'a str },
    /// What holds the sink back, said every second; none when nothing of its own does.
    TargetLimited { by: Option<&'a str> },
    /// So many processes work on the run, this one included.
    Shared { processes: u32 },
    /// Another process holds the units that are left.
    Waiting { units: u64 },
}

impl Event<'_> {
    /// The event's name, as crash points and logs spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::UnitClaimed { .. } => "unit-claimed",
            Event::PageRead { .. } => "page-read",
            Event::PageEncoded { .. } => "page-encoded",
            Event::TransactionBegun { .. } => "transaction-begun",
            Event::RowsWritten { .. } => "rows-written",
            Event::LedgerWritten { .. } => "ledger-written",
            Event::Committed { .. } => "committed",
            Event::Folded { .. } => "folded",
            Event::UnitDone { .. } => "unit-done",
            Event::RunWritten { .. } => "run-written",
            Event::LoadBegun { .. } => "load-begun",
            Event::LookBegun { .. } => "look-begun",
            Event::Judged { .. } => "judged",
            Event::RunComplete => "run-complete",
            Event::PageEmpty { .. } => "page-empty",
            Event::Stopping { .. } => "stopping",
            Event::UnitFailed { .. } => "unit-failed",
            Event::Retried { .. } => "retried",
            Event::Unloadable { .. } => "unloadable",
            Event::ConnectionLost { .. } => "connection-lost",
            Event::CommitsLost { .. } => "commits-lost",
            Event::Paused { .. } => "paused",
            Event::TargetLimited { .. } => "target-limited",
            Event::Shared { .. } => "shared",
            Event::Waiting { .. } => "waiting",
        }
    }
}

/// Receives every event, on whatever thread it happens: must be quick.
pub trait Monitor: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// Several monitors as one.
#[derive(Default)]
pub struct Monitors(pub Vec<Arc<dyn Monitor>>);

impl Monitor for Monitors {
    fn event(&self, event: &Event<'_>) {
        for monitor in &self.0 {
            monitor.event(event);
        }
    }
}
