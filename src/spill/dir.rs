//! The folder of a run's sorted runs: one process at a time, never more than it may hold, nothing in it that is not
//! recorded.

use super::gather::Sorted;
use super::run::{Damage, Run, verify};
use super::{Compression, Fault, RunInfo};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is left free on the disk: others write there too.
const RESERVE_BYTES: u64 = 64 << 20;

/// A run's folder, locked while it is in use.
#[derive(Debug)]
pub struct SpillDir {
    path: PathBuf,
    limit: Option<u64>,
    compression: Compression,
    /// Bytes of all runs, and what those that are being written may become: two together take no more than there is.
    used: Mutex<u64>,
    _lock: File,
}

impl SpillDir {
    /// Opens, or makes, the folder of the run that `incarnation` tells from all others, below `parent`; runs in it may
    /// take `limit` bytes. They are compressed unless there is room for four times the `size` that the items are billed for: as JSON
    /// they take about twice that.
    ///
    /// # Errors
    /// `Config` when it cannot be made; `Refused` when another process uses it.
    pub fn open(parent: &Path, incarnation: u64, limit: Option<u64>, size: Option<u64>) -> Result<SpillDir> {
        let path = folder(parent, incarnation);
        let failed = |error: io::Error| {
            Error::config(format!("folder for sorted runs {}: cannot be used; see --spill-dir", path.display()))
                .because(error)
        };
        fs::create_dir_all(&path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        let room = free_bytes(&path)?.min(limit.unwrap_or(u64::MAX));
        let is_ample = size.is_some_and(|size| room / 4 > size);
        let compression = if is_ample { Compression::None } else { Compression::Lz4 };
        match lock.try_lock() {
            Ok(()) => Ok(SpillDir { limit, compression, used: Mutex::new(0), _lock: lock, path }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::refused(format!("{}: another process is sorting or loading this run", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes every file that is none of `known`: a run that was written and never recorded was never read.
    ///
    /// # Errors
    /// Of the folder.
    pub fn tidy(&self, known: &[RunInfo]) -> Result<()> {
        let names: BTreeSet<&str> = known.iter().map(|info| info.name.as_str()).chain(["lock"]).collect();
        let failed = |error| Error::config(format!("listing {}", self.path.display())).because(error);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        *self.used() = known.iter().map(|info| info.bytes).sum();
        Ok(())
    }

    /// Bytes of all runs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        *self.used()
    }

    /// Writes sorted rows, of `size` bytes before they are compressed, as one run under a new name.
    ///
    /// # Errors
    /// `Blocked` before the limit or the disk is exceeded.
    pub fn write(&self, rows: &Sorted, size: u64) -> Result<RunInfo, Fault> {
        let used = {
            let mut used = self.used();
            *used += size;
            *used - size
        };
        let written = self.write_into(rows, self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(used)));
        let mut used = self.used();
        *used = *used - size + written.as_ref().map_or(0, |info| info.bytes);
        written
    }

    fn write_into(&self, rows: &Sorted, allowed: u64) -> Result<RunInfo, Fault> {
        let free = free_bytes(&self.path)?.saturating_sub(RESERVE_BYTES);
        let name = format!("run-{:016x}", rand::random::<u64>());
        Ok(rows.write(&self.path, &name, self.compression, Some(allowed.min(free)))?)
    }

    fn used(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with a run, if anything is.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn verify(&self, info: &RunInfo) -> Result<Option<Damage>> {
        verify(&self.path, info)
    }

    /// Opens a run to be merged.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was written.
    pub fn run(&self, info: &RunInfo) -> Result<Run> {
        Run::open(&self.path, info)
    }

    /// Removes a run that nobody needs; should that fail, it is tidied away later.
    pub fn remove(&self, info: &RunInfo) {
        if fs::remove_file(self.path.join(&info.name)).is_ok() {
            let mut used = self.used();
            *used = used.saturating_sub(info.bytes);
        }
    }

    /// Removes a run's folder with all that is in it. A folder that is not there, or not ours, is left.
    pub fn clear(parent: &Path, incarnation: u64) {
        drop(fs::remove_dir_all(folder(parent, incarnation)));
    }
}

fn folder(parent: &Path, incarnation: u64) -> PathBuf {
    parent.join(format!("transvase-spill-{incarnation}"))
}

/// Bytes that the disk under a folder, or under the folder it is to be made in, has free for us.
///
/// # Errors
/// `Config` when the folder cannot be asked.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(there)
        .map_err(|error| Error::config(format!("asking for the room on {}", there.display())).because(error))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
