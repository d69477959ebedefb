//! Where rows go. A sink writes one batch as one transaction: proves the fence, writes rows, rejects and the span.

use crate::driver::session::BoxFuture;
use crate::error::Error;
use crate::model::batch::{Batch, Commit};
use crate::model::counts::Counts;

pub mod advice;
pub mod compare;
pub mod destination;
pub mod dynamodb;
pub mod health;
pub mod inspect;
mod load;
pub mod load_method;
mod removal;
pub mod replay;
pub mod scan;
pub mod single;
pub mod sql;
mod statements;
pub mod stored;
pub mod tombstones;
mod transaction;

/// What to do about a row whose key is in the table already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Leave it: what is there came from a live write, and is newer than any export.
    Keep,
    /// Overwrite it.
    Replace,
}

impl OnConflict {
    /// As typed, printed and stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OnConflict::Keep => "keep",
            OnConflict::Replace => "replace",
        }
    }
}

/// Why a batch is not durable.
#[derive(Debug)]
pub enum WriteError {
    /// The claim is not what the transaction should have proved: nothing was written. The epoch found is told, since
    /// a server may also have forgotten the claim in a crash.
    Fenced {
        /// The epoch in the fence row; none when the row is gone.
        found: Option<u64>,
    },
    /// The unit's ledger does not end where the batch's span begins: nothing was written. The server has forgotten an
    /// earlier page, or another process has gone on.
    OutOfTurn,
    /// Nothing was written, and trying again would not help.
    Failed(Error),
}

/// Writes batches, several at a time.
///
/// The contract: `write` returns when the batch is durable, and is safe to repeat: the same span twice is written
/// once, and counted once. Deadlocks, lost connections and full disks are waited out inside. Rows the server refuses
/// for their values become rejects of the same transaction; nothing else does.
pub trait Sink: Send + Sync {
    /// Writes one batch in one transaction. The counts are what became durable, by this attempt or an earlier one.
    fn write<'a>(&'a self, batch: &'a Batch, commit: Commit) -> BoxFuture<'a, Result<Counts, WriteError>>;

    /// Looks after the target: called every second while the run goes on.
    fn tend(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// So many processes write to the target, this one included: what may be used of it is for all of them.
    fn share_among(&self, _processes: u32) {}

    /// What holds the writers back right now, in plain words; none when nothing of its own does.
    fn limited_by(&self) -> Option<String> {
        None
    }
}
