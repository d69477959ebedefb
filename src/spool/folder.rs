//! A spool in a folder: a subfolder a unit, a file a segment. Locked while it is open.

use super::store::{Segment, Store, Stored};
use crate::error::{Error, ErrorKind, Result};
use crate::model::page::UnitId;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A segment ends after so many bytes: the last one of each unit is read when a spool is opened, and what was applied is
/// removed by the segment.
const SEGMENT_BYTES: u64 = 16 << 20;

const LABEL: &str = "spool.json";

/// A folder.
#[derive(Debug)]
pub struct FolderStore {
    path: PathBuf,
    segment_bytes: u64,
    _lock: File,
}

impl FolderStore {
    /// Opens, or makes, the folder at `path`.
    ///
    /// # Errors
    /// `Config` when it cannot be made; `Refused` when another process has it open.
    pub fn open(path: &Path) -> Result<FolderStore> {
        FolderStore::of_segments(path, SEGMENT_BYTES)
    }

    /// The same, with segments of about so many bytes.
    pub(super) fn of_segments(path: &Path, segment_bytes: u64) -> Result<FolderStore> {
        let failed = |error: io::Error| {
            Error::config(format!("spool folder {} cannot be used: give --spool another", path.display()))
                .because(error)
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(FolderStore { path: path.to_owned(), segment_bytes, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::refused(format!("spool folder {}: another process captures into it", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn unit(&self, unit: UnitId) -> PathBuf {
        self.path.join(format!("{unit:05}"))
    }

    fn segment(&self, unit: UnitId, first: u64) -> PathBuf {
        self.unit(unit).join(format!("{first:020}.frames"))
    }

    fn append_to(&self, unit: UnitId, segment: Segment, frame: &[u8]) -> io::Result<()> {
        if segment.bytes == 0 {
            fs::create_dir_all(self.unit(unit))?;
            sync(&self.path)?;
        }
        let file = private().write(true).create(true).truncate(false).open(self.segment(unit, segment.first))?;
        if let Err(error) = file.write_all_at(frame, segment.bytes) {
            // what is there of it takes room that somebody is waiting for
            drop(file.set_len(segment.bytes));
            return Err(error);
        }
        file.sync_data()?;
        if segment.bytes == 0 { sync(&self.unit(unit)) } else { Ok(()) }
    }
}

impl Store for FolderStore {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn segment_name(&self, unit: UnitId, first: u64) -> String {
        self.segment(unit, first).display().to_string()
    }

    fn label(&self) -> Result<Option<String>> {
        let path = self.path.join(LABEL);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    fn set_label(&self, label: &str) -> Result<()> {
        let (path, part) = (self.path.join(LABEL), self.path.join("spool.json.part"));
        let write = || {
            let mut file = private().write(true).create(true).truncate(true).open(&part)?;
            file.write_all(label.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            sync(&self.path)
        };
        write().map_err(|error| failed(&path, error))
    }

    fn segments(&self, unit: UnitId) -> Result<Vec<Segment>> {
        let path = self.unit(unit);
        let list = || -> io::Result<Vec<Segment>> {
            let mut segments = Vec::new();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let name = entry.file_name();
                let first = name.to_str().and_then(|name| name.strip_suffix(".frames")?.parse().ok());
                if let Some(first) = first {
                    segments.push(Segment { first, bytes: entry.metadata()?.len() });
                }
            }
            segments.sort_by_key(|segment| segment.first);
            Ok(segments)
        };
        match list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| failed(&path, error)),
        }
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    fn append(&self, unit: UnitId, segment: Segment, frame: &[u8]) -> Result<()> {
        self.append_to(unit, segment, frame).map_err(|error| failed(&self.segment(unit, segment.first), error))
    }

    fn open(&self, unit: UnitId, first: u64) -> Result<Box<dyn Stored>> {
        let path = self.segment(unit, first);
        Ok(Box::new(File::open(&path).map_err(|error| failed(&path, error))?))
    }

    fn cut(&self, unit: UnitId, segment: Segment) -> Result<()> {
        let path = self.segment(unit, segment.first);
        let cut = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(segment.bytes)?;
            file.sync_all()
        };
        cut().map_err(|error| failed(&path, error))
    }

    fn remove(&self, unit: UnitId, first: u64) -> Result<()> {
        let path = self.segment(unit, first);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| sync(&self.unit(unit))).map_err(|error| failed(&path, error)),
        }
    }
}

impl Stored for File {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }
}

/// Files of items are for their owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// A file that was made or removed is durably so once its folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::new(ErrorKind::Blocked, format!("spool file {path}: there is no room"))
        }
        io::ErrorKind::NotFound => Error::corrupt(format!("spool file {path} is missing")),
        _ => Error::config(format!("spool file {path} cannot be used")),
    }
    .because(error)
}
