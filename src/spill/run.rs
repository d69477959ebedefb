//! A run file that is there, opened or proved.

use super::RunInfo;
use super::index::{self, Block, MAGIC, TRAILER_BYTES, TableIndex};
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What is wrong with a run: its spans are to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There is no such file.
    Missing,
    /// It is not what was written; says where.
    Damaged(String),
}

/// A run file: its index is in memory and proved, its blocks are proved as they are read.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    file: File,
    tables: Vec<TableIndex>,
}

/// Reads the whole file of `info` in the folder `dir` and proves every byte of it. None when it is sound.
///
/// # Errors
/// `Config` when the file is there but may not be read, `Transient` when it cannot be opened for now.
pub fn verify(dir: &Path, info: &RunInfo) -> Result<Option<Damage>> {
    let run = match open(dir, info)? {
        Ok(run) => run,
        Err(damage) => return Ok(Some(damage)),
    };
    let mut stored = Vec::new();
    for block in run.tables.iter().flat_map(TableIndex::blocks) {
        if let Err(damage) = run.read_stored(block, &mut stored) {
            return Ok(Some(damage));
        }
    }
    Ok(None)
}

impl Run {
    /// Opens the file of `info` in the folder `dir` and proves its index.
    ///
    /// # Errors
    /// `Corrupt` when it is missing or not what was written, else those of [`verify`].
    pub fn open(dir: &Path, info: &RunInfo) -> Result<Run> {
        open(dir, info)?.map_err(|damage| corrupt(&dir.join(&info.name), &damage))
    }

    /// How many rows of `table` it has.
    #[must_use]
    pub fn rows(&self, table: usize) -> u64 {
        self.tables.get(table).map_or(0, TableIndex::rows)
    }

    /// The blocks of a table, unless it has none.
    pub(super) fn index(&self, table: usize) -> Option<&TableIndex> {
        self.tables.get(table).filter(|index| !index.blocks().is_empty())
    }

    /// Reads a block into `raw`, proved and inflated; `stored` is room to work in.
    ///
    /// # Errors
    /// `Corrupt`, naming the file.
    pub(super) fn read(&self, block: &Block, stored: &mut Vec<u8>, raw: &mut Vec<u8>) -> Result<()> {
        if block.stored == block.raw {
            return self.read_stored(block, raw).map_err(|damage| corrupt(&self.path, &damage));
        }
        self.read_stored(block, stored).map_err(|damage| corrupt(&self.path, &damage))?;
        raw.resize(block.raw as usize, 0);
        match lz4_flex::block::decompress_into(stored, raw) {
            Ok(length) if length == raw.len() => Ok(()),
            _ => Err(self.nonsense()),
        }
    }

    /// The error of a block whose checksum holds, and which is not what a writer writes.
    pub(super) fn nonsense(&self) -> Error {
        corrupt(&self.path, &Damage::Damaged("a block is none although its checksum holds".into()))
    }

    fn read_stored(&self, block: &Block, stored: &mut Vec<u8>) -> Result<(), Damage> {
        stored.resize(block.stored as usize, 0);
        let at = block.offset;
        self.file.read_exact_at(stored, at).map_err(|error| unread(&error))?;
        if crc32fast::hash(stored) != block.crc {
            return Err(Damage::Damaged(format!("the block at byte {at} does not match its checksum")));
        }
        Ok(())
    }
}

fn open(dir: &Path, info: &RunInfo) -> Result<Result<Run, Damage>> {
    let path = dir.join(&info.name);
    match File::open(&path) {
        Ok(file) => Ok(match read_index(&file, info) {
            Ok(tables) => Ok(Run { path, file, tables }),
            Err(damage) => Err(damage),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(Damage::Missing)),
        Err(error) => {
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Config,
                _ => ErrorKind::Transient,
            };
            Err(Error::new(kind, format!("sorted run {} cannot be opened", path.display())).because(error))
        }
    }
}

fn read_index(file: &File, info: &RunInfo) -> Result<Vec<TableIndex>, Damage> {
    let damaged = |what: &str| Damage::Damaged(what.to_owned());
    let read = |at: u64, bytes: &mut [u8]| file.read_exact_at(bytes, at).map_err(|error| unread(&error));
    let found = file.metadata().map_err(|error| unread(&error))?.len();
    if found != info.bytes {
        return Err(Damage::Damaged(format!("it has {found} bytes, not {}", info.bytes)));
    }
    let end = info.bytes.checked_sub(TRAILER_BYTES).ok_or_else(|| damaged("it is too short"))?;
    let (mut length, mut crc, mut magic) = ([0; 8], [0; 4], [[0; 8]; 2]);
    read(end, &mut length)?;
    read(end + 8, &mut crc)?;
    read(end + 12, &mut magic[0])?;
    read(0, &mut magic[1])?;
    if magic != [*MAGIC; 2] {
        return Err(damaged("it does not begin and end as a sorted run of this version"));
    }
    let start = end.checked_sub(u64::from_le_bytes(length)).ok_or_else(|| damaged("its index is too long"))?;
    let mut index = vec![0; usize::try_from(end + 8 - start).map_err(|_| damaged("its index is too long"))?];
    read(start, &mut index)?;
    let checksum = crc32fast::hash(&index);
    if checksum != u32::from_le_bytes(crc) || checksum != info.checksum {
        return Err(damaged("its index does not match its checksum"));
    }
    index.truncate(index.len() - 8);
    index::decode(&index, start).ok_or_else(|| damaged("its index is none although its checksum holds"))
}

fn unread(error: &io::Error) -> Damage {
    Damage::Damaged(format!("it cannot be read: {error}"))
}

fn corrupt(path: &Path, damage: &Damage) -> Error {
    Error::corrupt(format!("sorted run {} is not what was written: {damage}", path.display()))
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Missing => f.write_str("there is no such file"),
            Damage::Damaged(what) => f.write_str(what),
        }
    }
}
