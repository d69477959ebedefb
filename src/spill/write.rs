//! Writes a run file. It has its name only once it is whole and durable.

use super::RunInfo;
use super::index::{self, Block, MAGIC, TableIndex};
use super::record::Record;
use crate::error::{Error, ErrorKind, Result};
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Records of a block together: a piece reads its first and its last block of each run for a part of their rows only, so
/// they are small; much smaller ones compress badly. A longer record is a block of its own.
const BLOCK_BYTES: usize = 32 * 1024;

/// What the blocks of a run are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Records as they are: orders take half of what their DynamoDB JSON does, and by far the least processor time.
    None,
    /// By LZ4, where that makes them smaller: orders take 0.3 of their JSON, and half a second a million rows.
    Lz4,
}

/// A run file that is being written. Dropped before [`RunWriter::finish`], it takes its file with it.
pub(super) struct RunWriter<'d> {
    dir: &'d Path,
    name: &'d str,
    part: PathBuf,
    file: File,
    /// Bytes written.
    bytes: u64,
    compression: Compression,
    room: Option<u64>,
    tables: Vec<TableIndex>,
    /// The table that is being written.
    table: TableIndex,
    /// Its last block so far, its first and its last key, and its rows.
    raw: Vec<u8>,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    rows: u32,
    stored: Vec<u8>,
    matches: CompressTable,
    is_finished: bool,
}

impl<'d> RunWriter<'d> {
    /// Begins the run `name` in the folder `dir`.
    pub(super) fn create(dir: &'d Path, name: &'d str, compression: Compression, room: Option<u64>) -> Result<Self> {
        let part = dir.join(format!("{name}.part"));
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let mut writer = RunWriter {
            dir,
            name,
            file: options.map_err(|error| folder_error(dir, error))?,
            part,
            bytes: 0,
            compression,
            room,
            tables: Vec::new(),
            table: TableIndex::default(),
            raw: Vec::with_capacity(BLOCK_BYTES),
            first_key: Vec::new(),
            last_key: Vec::new(),
            rows: 0,
            stored: Vec::new(),
            matches: CompressTable::small(),
            is_finished: false,
        };
        writer.write(MAGIC)?;
        Ok(writer)
    }

    /// Appends the next record of the table, in key order.
    pub(super) fn push(&mut self, record: &Record<'_>) -> Result<()> {
        if !self.raw.is_empty() && self.raw.len() + record.bytes.len() > BLOCK_BYTES {
            self.end_block()?;
        }
        if self.raw.is_empty() {
            self.first_key.clear();
            self.first_key.extend_from_slice(record.key);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(record.key);
        self.raw.extend_from_slice(record.bytes);
        self.rows += 1;
        Ok(())
    }

    /// The next record is of the next table.
    pub(super) fn end_table(&mut self) -> Result<()> {
        if !self.raw.is_empty() {
            self.end_block()?;
            self.table.set_last_key(&self.last_key);
        }
        self.tables.push(std::mem::take(&mut self.table));
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        let too_large = || Error::internal("a block of a spilled run exceeds 4 GiB");
        let (mut raw, mut room) = (std::mem::take(&mut self.raw), std::mem::take(&mut self.stored));
        let stored = match self.compression {
            Compression::None => &raw,
            Compression::Lz4 => compressed(&raw, &mut room, &mut self.matches)?,
        };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| too_large());
        let block = Block::new(self.rows, self.bytes, length(stored)?, length(&raw)?, crc32fast::hash(stored));
        self.table.push(&self.first_key, block).ok_or_else(too_large)?;
        self.write(stored)?;
        raw.clear();
        (self.raw, self.stored, self.rows) = (raw, room, 0);
        Ok(())
    }

    /// Writes the index, and gives the file its name once all of it is on the disk.
    pub(super) fn finish(mut self) -> Result<RunInfo> {
        let mut end = Vec::new();
        index::encode(&self.tables, &mut end);
        end.extend_from_slice(&(end.len() as u64).to_le_bytes());
        let checksum = crc32fast::hash(&end);
        end.extend_from_slice(&checksum.to_le_bytes());
        end.extend_from_slice(MAGIC);
        self.write(&end)?;
        self.publish().map_err(|error| folder_error(self.dir, error))?;
        self.is_finished = true;
        let rows = self.tables.iter().map(TableIndex::rows).collect();
        Ok(RunInfo { name: self.name.to_owned(), bytes: self.bytes, checksum, rows })
    }

    fn publish(&self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.part, self.dir.join(self.name))?;
        File::open(self.dir)?.sync_all()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let after = self.bytes + bytes.len() as u64;
        if let Some(room) = self.room.filter(|room| after > *room) {
            return Err(Error::new(
                ErrorKind::Blocked,
                format!(
                    "folder for sorted runs {}: the disk, or --spill-limit, leaves {room} bytes for the next sorted run, which \
                     needs more; make room or raise --spill-limit, then run the same command again",
                    self.dir.display()
                ),
            ));
        }
        self.file.write_all(bytes).map_err(|error| folder_error(self.dir, error))?;
        self.bytes = after;
        Ok(())
    }
}

/// `raw` made smaller, in `room`; or `raw` itself, when it would not be.
fn compressed<'b>(raw: &'b [u8], room: &'b mut Vec<u8>, matches: &mut CompressTable) -> Result<&'b [u8]> {
    let most = get_maximum_output_size(raw.len());
    if room.len() < most {
        room.resize(most, 0);
    }
    let length = compress_into_with_table(raw, room, matches)
        .map_err(|error| Error::internal("a block cannot be compressed").because(error))?;
    Ok(if length < raw.len() { &room[..length] } else { raw })
}

impl Drop for RunWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // what is left of an error is a nuisance at most: the next attempt begins with an empty file
            drop(fs::remove_file(&self.part));
        }
    }
}

fn folder_error(dir: &Path, error: io::Error) -> Error {
    let dir = dir.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(
            ErrorKind::Blocked,
            format!(
                "the disk of the spill folder {dir} is full: free space there, or name another one with --spill-dir, then \
                 run the same command again"
            ),
        ),
        _ => Error::config(format!(
            "spill folder {dir} cannot be written: name another one with --spill-dir, then run the same command again"
        )),
    }
    .because(error)
}
