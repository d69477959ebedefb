//! One data file, read page by page: lines cut at their ends, counted to the last one.

use super::inflate::Inflate;
use super::manifest::DataFile;
use super::spare::Spare;
use crate::driver::objects::Fetched;
use crate::error::{Error, ErrorKind, Result};
use crate::model::page::{Page, Span, UnitId};
use crate::source::{Read, UnitReader};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// No item comes near it (400 KB, and DynamoDB JSON is at most some ten times as long): a longer line is damage, and
/// memory is bounded.
const LINE_CAP_BYTES: usize = 64 * 1024 * 1024;

/// Reads one data file, already proved.
pub(super) struct FileReader {
    unit: UnitId,
    key: String,
    items: u64,
    /// What is still wanted, the next range last.
    wanted: Vec<Range<u64>>,
    page_bytes: usize,
    spare: Arc<Spare>,
    inflate: Inflate<Fetched>,
    /// Its first `filled` bytes are inflated, and not yet handed out: they start with the line at `position`.
    buffer: Vec<u8>,
    filled: usize,
    position: u64,
    ended: bool,
}

impl FileReader {
    pub(super) fn new(
        unit: UnitId,
        file: &DataFile,
        fetched: Fetched,
        wanted: &[Range<u64>],
        page_bytes: usize,
        spare: Arc<Spare>,
    ) -> Result<FileReader> {
        let ascending = wanted.windows(2).all(|pair| pair[0].end <= pair[1].start);
        if !ascending || wanted.iter().any(Range::is_empty) {
            return Err(Error::internal(format!("data file {}: the wanted ranges are not in order", file.key)));
        }
        if let Some(last) = wanted.last().filter(|last| last.end > file.items) {
            let message = format!("data file {}: item {} is wanted of {}", file.key, last.end, file.items);
            return Err(Error::internal(message));
        }
        Ok(FileReader {
            unit,
            key: file.key.clone(),
            items: file.items,
            wanted: wanted.iter().rev().cloned().collect(),
            page_bytes,
            inflate: Inflate::new(fetched),
            buffer: spare.take(),
            filled: 0,
            spare,
            position: 0,
            ended: false,
        })
    }

    /// Makes sure that the buffer starts with a whole line; false at the end of the file.
    fn load(&mut self) -> Result<bool> {
        self.fill()?;
        while memchr::memrchr(b'\n', self.lines()).is_none() {
            if self.ended {
                if self.filled == 0 {
                    return Ok(false);
                }
                self.buffer.truncate(self.filled);
                self.buffer.push(b'\n');
                self.filled += 1;
                return Ok(true);
            }
            if self.filled > LINE_CAP_BYTES {
                return Err(self.damaged(format!("a line is longer than {LINE_CAP_BYTES} bytes")));
            }
            let longer = (self.filled + self.filled.max(self.page_bytes)).min(LINE_CAP_BYTES + 1);
            self.buffer.reserve_exact(longer.saturating_sub(self.buffer.len()));
            self.buffer.resize(longer, 0);
            self.fill()?;
        }
        Ok(true)
    }

    /// Inflates into what room the buffer has.
    fn fill(&mut self) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        match self.inflate.fill(&mut self.buffer[self.filled..]) {
            Ok((written, more)) => {
                self.filled += written;
                self.ended = !more;
            }
            Err(error) => {
                let corrupt = matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
                let failed = if corrupt {
                    self.damaged("it is not whole gzip data".into())
                } else {
                    let message = format!("data file {}, after item {}: cannot be read", self.key, self.position);
                    Error::new(ErrorKind::Transient, message)
                };
                return Err(failed.because(error));
            }
        }
        if self.ended { self.inflate.input().check_unchanged() } else { Ok(()) }
    }

    /// What is inflated and not yet handed out.
    fn lines(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Where the whole lines of the buffer end, at most `limit` of them, and how many these are.
    fn whole_lines(&self, limit: u64) -> (usize, u64) {
        let lines = memchr::memchr_iter(b'\n', self.lines()).count() as u64;
        if lines <= limit {
            return (memchr::memrchr(b'\n', self.lines()).map_or(0, |last| last + 1), lines);
        }
        let nth = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
        (memchr::memchr_iter(b'\n', self.lines()).nth(nth).map_or(0, |last| last + 1), limit)
    }

    /// Passes over at most `limit` lines that are in the buffer.
    fn skip(&mut self, limit: u64) {
        let (end, lines) = self.whole_lines(limit);
        self.buffer.copy_within(end..self.filled, 0);
        self.filled -= end;
        self.position += lines;
    }

    /// Hands out at most `limit` lines that are in the buffer.
    fn page(&mut self, limit: u64) -> Page {
        let (end, lines) = self.whole_lines(limit);
        let tail = &self.buffer[end..self.filled];
        let mut next = self.spare.take();
        if next.len() < tail.len() {
            next.resize(tail.len(), 0);
        }
        next[..tail.len()].copy_from_slice(tail);
        self.filled = tail.len();
        let mut bytes = std::mem::replace(&mut self.buffer, next);
        bytes.truncate(end);
        if end < bytes.capacity() / 2 {
            // The last page of a file, or of a range: what it holds is what the pipeline's budget is charged.
            bytes.shrink_to_fit();
        }
        let span = Span { unit: self.unit, from: self.position, to: self.position + lines };
        self.position += lines;
        Page { span, bytes, reached: None, half_units: 0 }
    }

    /// Reads on to the end and holds the count of lines against the manifest.
    fn finish(&mut self) -> Result<()> {
        while self.load()? {
            self.skip(u64::MAX);
        }
        if self.position == self.items {
            return Ok(());
        }
        Err(self.damaged(format!("it holds {} lines, the manifest says {} items", self.position, self.items)))
    }

    fn damaged(&self, what: String) -> Error {
        let (key, position) = (&self.key, self.position);
        Error::corrupt(format!("data file {key}, after item {position}: {what}; copy it again from the export"))
    }
}

impl UnitReader for FileReader {
    fn next(&mut self, _: &CancellationToken) -> Result<Read> {
        while let Some(range) = self.wanted.last().cloned() {
            if !self.load()? {
                self.finish()?;
                return Err(self.damaged("it ends before what is wanted of it".into()));
            }
            if self.position < range.start {
                self.skip(range.start - self.position);
                continue;
            }
            let page = self.page(range.end - self.position);
            if self.position == range.end {
                self.wanted.pop();
            }
            return Ok(Read::Page(page));
        }
        self.finish()?;
        Ok(Read::End)
    }
}
