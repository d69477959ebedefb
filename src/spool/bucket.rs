//! A spool in a bucket: an object a frame, called by its unit and its first item, so that each can be put once only.
//!
//! There is no lock: two processes that capture at the same time both put the frame that comes next, and one is refused.

use super::store::{Segment, Store, Stored};
use crate::driver::objects::S3Bucket;
use crate::error::{Error, Result};
use crate::model::page::UnitId;
use std::io;

/// More than any frame or label has.
const OBJECT_BYTES_MAX: u64 = 1 << 30;

const LABEL: &str = "spool.json";

/// Objects below a prefix.
#[derive(Debug)]
pub struct BucketStore {
    bucket: S3Bucket,
    /// Empty, or with a `/` at its end.
    prefix: String,
}

impl BucketStore {
    /// The objects of `bucket` below `prefix`.
    #[must_use]
    pub fn new(bucket: S3Bucket, prefix: &str) -> BucketStore {
        let prefix = prefix.trim_matches('/');
        BucketStore { bucket, prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") } }
    }

    fn unit(&self, unit: UnitId) -> String {
        format!("{}{unit:05}/", self.prefix)
    }

    fn key(&self, unit: UnitId, first: u64) -> String {
        format!("{}{first:020}.frames", self.unit(unit))
    }

    /// Puts an object that is to be ours. False when another's is there: one that was put by a request of ours whose
    /// answer was lost has our bytes.
    fn put(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        if self.bucket.put_new(key, bytes)? {
            return Ok(true);
        }
        Ok(self.bucket.read(key, OBJECT_BYTES_MAX)?.is_some_and(|found| found == bytes))
    }
}

impl Store for BucketStore {
    fn name(&self) -> String {
        self.bucket.name(&self.prefix)
    }

    fn segment_name(&self, unit: UnitId, first: u64) -> String {
        self.bucket.name(&self.key(unit, first))
    }

    fn label(&self) -> Result<Option<String>> {
        let found = self.bucket.read(&format!("{}{LABEL}", self.prefix), OBJECT_BYTES_MAX)?;
        Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn set_label(&self, label: &str) -> Result<()> {
        match self.put(&format!("{}{LABEL}", self.prefix), label.as_bytes())? {
            true => Ok(()),
            false => Err(Error::refused(format!("spool {}: another process has begun it just now", self.name()))),
        }
    }

    fn segments(&self, unit: UnitId) -> Result<Vec<Segment>> {
        let prefix = self.unit(unit);
        let segment = |(key, bytes): (String, u64)| {
            let first = key.strip_prefix(&prefix)?.strip_suffix(".frames")?.parse().ok()?;
            Some(Segment { first, bytes })
        };
        Ok(self.bucket.list(&prefix)?.into_iter().filter_map(segment).collect())
    }

    fn segment_bytes(&self) -> u64 {
        0
    }

    fn append(&self, unit: UnitId, segment: Segment, frame: &[u8]) -> Result<()> {
        let key = self.key(unit, segment.first);
        match self.put(&key, frame)? {
            true => Ok(()),
            false => Err(Error::refused(format!(
                "spool object {}: another process has put it; one at a time may capture into a spool",
                self.bucket.name(&key)
            ))),
        }
    }

    fn open(&self, unit: UnitId, first: u64) -> Result<Box<dyn Stored>> {
        let key = self.key(unit, first);
        let found = self.bucket.read(&key, OBJECT_BYTES_MAX)?;
        let missing = || Error::corrupt(format!("spool object {} is missing", self.bucket.name(&key)));
        Ok(Box::new(found.ok_or_else(missing)?))
    }

    fn cut(&self, _: UnitId, _: Segment) -> Result<()> {
        // an object is there whole or not at all: what follows its frame is never looked at
        Ok(())
    }

    fn remove(&self, unit: UnitId, first: u64) -> Result<()> {
        self.bucket.remove(&self.key(unit, first))
    }
}

impl Stored for Vec<u8> {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..into.len()));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
