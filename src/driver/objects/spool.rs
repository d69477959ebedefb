//! Where a download lies until it has been proved: memory when small, else a file that has no name.

use super::fetched::Fetched;
use crate::error::{Error, ErrorKind, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Downloads up to this size stay in memory: a reader holds one object at a time.
pub(super) const MEMORY_BYTES: u64 = 8 * 1024 * 1024;

/// A download as far as it has come.
#[derive(Debug)]
pub(super) enum Spool {
    Memory(Vec<u8>),
    File(File),
}

impl Spool {
    /// A place for `len` bytes.
    pub(super) fn new(len: u64, folder: &Path) -> Result<Spool> {
        match usize::try_from(len) {
            Ok(bytes) if len <= MEMORY_BYTES => Ok(Spool::Memory(Vec::with_capacity(bytes))),
            _ => unnamed(folder).map(Spool::File).map_err(|error| spill_error(folder, error)),
        }
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8], folder: &Path) -> Result<()> {
        match self {
            Spool::Memory(memory) => memory.extend_from_slice(bytes),
            Spool::File(file) => file.write_all(bytes).map_err(|error| spill_error(folder, error))?,
        }
        Ok(())
    }

    /// The bytes, from the first one on.
    pub(super) fn finish(self, name: String, folder: &Path) -> Result<Fetched> {
        match self {
            Spool::Memory(bytes) => Ok(Fetched::memory(name, bytes)),
            Spool::File(mut file) => {
                file.rewind().map_err(|error| spill_error(folder, error))?;
                Ok(Fetched::unnamed(name, file))
            }
        }
    }
}

/// A new file that loses its name at once, so that nothing is left behind even by a killed process.
fn unnamed(folder: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".transvase-spill-{}-{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn spill_error(folder: &Path, error: io::Error) -> Error {
    let folder = folder.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(
            ErrorKind::Blocked,
            format!("spill folder {folder} is full: free space there or name another one, then run again"),
        ),
        _ => Error::config(format!("spill folder {folder} cannot be used: name another one, then run again")),
    }
    .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn small_and_large_downloads_come_back_whole_and_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for len in [0, 10, MEMORY_BYTES, MEMORY_BYTES + 1] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251).try_into().unwrap()).collect();
            let mut spool = Spool::new(len, folder.path()).unwrap();
            for part in bytes.chunks(1 << 20) {
                spool.write(part, folder.path()).unwrap();
            }
            assert_eq!(matches!(spool, Spool::File(_)), len > MEMORY_BYTES);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            let mut read = Vec::new();
            spool.finish("a".into(), folder.path()).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes);
        }
    }

    #[test]
    fn a_spill_folder_that_is_not_there_is_named() {
        let error = Spool::new(MEMORY_BYTES + 1, Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
