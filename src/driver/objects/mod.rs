//! Objects: named runs of bytes in a folder or in an S3 bucket, behind one blocking API.
//!
//! Promises: [`Objects::fetch`] hands out no byte before all bytes have been proved against their MD5, and what was
//! proved is what is read. It knows nothing of exports, manifests or lines.
//!
//! Calls block: they are made from plain threads, never from a task.

mod download;
mod fetched;
mod folder;
mod keep;
mod list;
mod retry;
mod s3;
mod s3_error;
mod spool;

pub use fetched::Fetched;
pub use s3::{S3Bucket, S3Options};

use crate::error::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use folder::Folder;
use md5::Digest;
use std::fmt;
use std::path::PathBuf;

/// Where objects are.
#[derive(Debug)]
pub enum Objects {
    /// A folder: a key is a path below it.
    Folder(Folder),
    /// A bucket.
    S3(S3Bucket),
}

impl Objects {
    /// The objects below `root`.
    pub fn folder(root: impl Into<PathBuf>) -> Objects {
        Objects::Folder(Folder::new(root.into()))
    }

    /// What a person finds the object by: its path, or its URL.
    #[must_use]
    pub fn name(&self, key: &str) -> String {
        match self {
            Objects::Folder(folder) => folder.name(key),
            Objects::S3(bucket) => bucket.name(key),
        }
    }

    /// A small object, whole; none when there is no such object.
    ///
    /// # Errors
    /// `Corrupt` when it holds more than `cap` bytes; `Config` when it may not be read; `Transient` when it could not
    /// be read after retries.
    pub fn read(&self, key: &str, cap: u64) -> Result<Option<Vec<u8>>> {
        match self {
            Objects::Folder(folder) => folder.read(key, cap),
            Objects::S3(bucket) => bucket.read(key, cap),
        }
    }

    /// The names of the folders directly below `below`, which is empty for the root; what lies in them is not listed.
    ///
    /// # Errors
    /// `Config` when it may not be listed; `Transient` when it could not be after retries.
    pub fn folders(&self, below: &str) -> Result<Vec<String>> {
        match self {
            Objects::Folder(folder) => folder.folders(below),
            Objects::S3(bucket) => bucket.folders(below),
        }
    }

    /// An object whose bytes have been proved to have this MD5; none when there is no such object.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are others; `Config`, `Blocked` and `Transient` as the store or the spill folder has it.
    pub fn fetch(&self, key: &str, md5: Md5) -> Result<Option<Fetched>> {
        match self {
            Objects::Folder(folder) => folder.fetch(key, md5),
            Objects::S3(bucket) => bucket.fetch(key, md5),
        }
    }

    /// Requests that had to be made again so far.
    #[must_use]
    pub fn retries(&self) -> u64 {
        match self {
            Objects::Folder(_) => 0,
            Objects::S3(bucket) => bucket.retries(),
        }
    }
}

/// An MD5 digest; written in base64, as manifests do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Md5([u8; 16]);

impl Md5 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Md5 {
        Md5(md5::Md5::digest(bytes).into())
    }

    /// Reads 24 characters of base64; none when they are not a digest.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Md5> {
        BASE64_STANDARD.decode(text).ok()?.try_into().ok().map(Md5)
    }

    fn finish(hasher: md5::Md5) -> Md5 {
        Md5(hasher.finalize().into())
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Md5({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_manifests_write_it() {
        let empty = Md5::of(b"");
        assert_eq!(empty.to_string(), "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(Md5::from_base64("1B2M2Y8AsgTpgAmY7PhCfg=="), Some(empty));
        for wrong in ["", "1B2M2Y8AsgTpgAmY7PhCfg", "d41d8cd98f00b204e9800998ecf8427e", "1B2M2Y8AsgTpgAmY7PhCfg== "] {
            assert_eq!(Md5::from_base64(wrong), None, "{wrong}");
        }
    }
}
