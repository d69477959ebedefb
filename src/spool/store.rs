//! Where the segments of a spool are: what a folder and a bucket have in common. Calls block.

use crate::error::Result;
use crate::model::page::UnitId;
use std::io;

/// A segment: some frames of a unit, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The first item of its first frame: what it is called.
    pub first: u64,
    /// Bytes of its frames.
    pub bytes: u64,
}

/// A place for segments. One process has it open.
pub trait Store: Send + Sync {
    /// What a person finds it by.
    fn name(&self) -> String;

    /// What a person finds the segment of `unit` by that begins with item `first`.
    fn segment_name(&self, unit: UnitId, first: u64) -> String;

    /// What the spool belongs to; none in a new one.
    ///
    /// # Errors
    /// Of the store.
    fn label(&self) -> Result<Option<String>>;

    /// Keeps what the spool belongs to, durably.
    ///
    /// # Errors
    /// `Refused` when there is a label; else of the store.
    fn set_label(&self, label: &str) -> Result<()>;

    /// The segments of a unit, in their order.
    ///
    /// # Errors
    /// Of the store.
    fn segments(&self, unit: UnitId) -> Result<Vec<Segment>>;

    /// Bytes from which on another segment is begun; 0 where a segment cannot be appended to.
    fn segment_bytes(&self) -> u64;

    /// Makes `frame` durable at the end of `segment`; one of no bytes is made.
    ///
    /// # Errors
    /// `Blocked` when there is no room, `Transient` when it may succeed later: nothing counts as written then. `Refused`
    /// when another process has written it.
    fn append(&self, unit: UnitId, segment: Segment, frame: &[u8]) -> Result<()>;

    /// Opens a segment to read it.
    ///
    /// # Errors
    /// `Corrupt` when it is not there; else of the store.
    fn open(&self, unit: UnitId, first: u64) -> Result<Box<dyn Stored>>;

    /// Cuts a segment off after `segment.bytes`, durably.
    ///
    /// # Errors
    /// Of the store.
    fn cut(&self, unit: UnitId, segment: Segment) -> Result<()>;

    /// Removes a segment.
    ///
    /// # Errors
    /// Of the store.
    fn remove(&self, unit: UnitId, first: u64) -> Result<()>;
}

/// An open segment, which may grow meanwhile.
pub trait Stored: Send {
    /// Fills `into` with what is at byte `at`.
    ///
    /// # Errors
    /// When there is less.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}
