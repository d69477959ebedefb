//! Single items of a live source, as they are at that moment.
//!
//! Leave to read is asked for before the read, so that whoever reads with a lock in hand has not to wait for capacity
//! while others wait for the lock.

use crate::driver::session::BoxFuture;
use crate::error::Result;
use crate::limit::gate::Admission;

/// Keys in one read [API reference, BatchGetItem].
pub const KEYS_MAX: usize = 100;

/// Leave to read once. Dropped without a read, nothing is charged.
#[must_use]
#[derive(Default)]
pub struct Turn<'a> {
    /// None where nothing limits.
    pub(super) admission: Option<Admission<'a>>,
    /// Units that it stands for.
    pub(super) estimate: f64,
}

/// What one key gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// The item, a JSON object in DynamoDB's notation.
    Item(Vec<u8>),
    /// There is none.
    Absent,
    /// It was not told: to be asked again.
    HeldBack,
}

/// Looks items up by their keys.
pub trait Lookup: Send + Sync {
    /// Waits for leave to read so many items.
    ///
    /// # Errors
    /// `Blocked` when no more may be spent on reading.
    fn turn(&self, items: usize) -> BoxFuture<'_, Result<Turn<'_>>>;

    /// The items of at most [`KEYS_MAX`] distinct keys, each a JSON object, as they are now.
    ///
    /// # Errors
    /// Of the source, when asking again is of no use.
    fn read<'a>(&'a self, turn: Turn<'a>, keys: &'a [&'a [u8]]) -> BoxFuture<'a, Result<Vec<Looked>>>;
}
