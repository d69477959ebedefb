//! The bytes of a fetched object, already proved, as a reader.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::time::SystemTime;

/// An object's bytes, from the first one on.
#[derive(Debug)]
pub struct Fetched {
    name: String,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Cursor<Vec<u8>>),
    /// A file that only this process can reach.
    Unnamed(File),
    /// A file that others can alter while it is read, and how it looked before it was proved.
    Shared(File, Stamp),
}

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) len: u64,
    modified: SystemTime,
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Stamp> {
        let metadata = file.metadata()?;
        Ok(Stamp { len: metadata.len(), modified: metadata.modified()? })
    }
}

impl Fetched {
    pub(super) fn memory(name: String, bytes: Vec<u8>) -> Fetched {
        Fetched { name, store: Store::Memory(Cursor::new(bytes)) }
    }

    pub(super) fn unnamed(name: String, file: File) -> Fetched {
        Fetched { name, store: Store::Unnamed(file) }
    }

    pub(super) fn shared(name: String, file: File, stamp: Stamp) -> Fetched {
        Fetched { name, store: Store::Shared(file, stamp) }
    }

    /// What a person finds the object by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// To be asked after the last read: whether what was read is what was proved.
    ///
    /// # Errors
    /// `Corrupt` when someone wrote to the file since.
    pub fn check_unchanged(&self) -> Result<()> {
        let Store::Shared(file, before) = &self.store else { return Ok(()) };
        let now = Stamp::of(file).map_err(|error| super::folder::read_error(&self.name, error))?;
        if now == *before {
            return Ok(());
        }
        Err(Error::corrupt(format!("file {} was written to while it was read: restore it, then run again", self.name)))
    }
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.store {
            Store::Memory(bytes) => bytes.read(buffer),
            Store::Unnamed(file) | Store::Shared(file, _) => file.read(buffer),
        }
    }
}
