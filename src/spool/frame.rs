//! A frame: a page of changes as bytes. Pure.
//!
//! A head of 44 bytes, then what the source had reached, then the lines, by LZ4 where that makes them smaller. Numbers
//! have their small end first. The head: four bytes that tell it from others, the unit, the first item and the one after
//! the last, the lengths of what was reached, of the lines and of the lines as they are stored, the CRC-32 of all that
//! follows the head, and that of the head. So no byte is without a checksum, and a head is known for one wherever it lies.

use crate::error::{Error, Result};
use crate::model::page::{Span, UnitId};

const MAGIC: [u8; 4] = *b"TVf1";

/// Bytes of a head.
pub const HEAD_BYTES: usize = 44;

/// A page of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which changes these are.
    pub span: Span,
    /// DynamoDB JSON lines, each ended by a newline.
    pub lines: Vec<u8>,
    /// Where the source goes on after them, in its own words.
    pub reached: String,
}

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which changes the frame holds.
    pub span: Span,
    reached: u32,
    raw: u32,
    stored: u32,
    crc: u32,
}

impl Head {
    /// Reads a head. None when the bytes do not begin with one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Head> {
        let bytes: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        let small = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let large = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let end = HEAD_BYTES - 4;
        if !bytes.starts_with(&MAGIC) || small(end)? != crc32fast::hash(&bytes[..end]) {
            return None;
        }
        let span = Span { unit: small(4)?, from: large(8)?, to: large(16)? };
        Some(Head { span, reached: small(24)?, raw: small(28)?, stored: small(32)?, crc: small(36)? })
    }

    /// Bytes of the frame after the head.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.reached as usize + self.stored as usize
    }
}

/// The bytes of a frame.
///
/// # Errors
/// `Internal` for one of 4 GiB.
pub fn encode(frame: &Frame) -> Result<Vec<u8>> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| Error::internal("a frame exceeds 4 GiB"));
    let packed = lz4_flex::block::compress(&frame.lines);
    let lines = if packed.len() < frame.lines.len() { &packed } else { &frame.lines };
    let reached = frame.reached.as_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(reached);
    crc.update(lines);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + reached.len() + lines.len());
    bytes.extend(MAGIC);
    bytes.extend(frame.span.unit.to_le_bytes());
    bytes.extend(frame.span.from.to_le_bytes());
    bytes.extend(frame.span.to.to_le_bytes());
    for number in [length(reached)?, length(&frame.lines)?, length(lines)?, crc.finalize()] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(reached);
    bytes.extend_from_slice(lines);
    Ok(bytes)
}

/// The frame of a head and what follows it. None when that is not what was written.
#[must_use]
pub fn decode(head: &Head, body: &[u8]) -> Option<Frame> {
    if body.len() != head.body_bytes() || crc32fast::hash(body) != head.crc {
        return None;
    }
    let (reached, stored) = body.split_at(head.reached as usize);
    let lines = match head.stored == head.raw {
        true => stored.to_vec(),
        false => lz4_flex::block::decompress(stored, head.raw as usize).ok()?,
    };
    (lines.len() == head.raw as usize).then_some(())?;
    Some(Frame { span: head.span, lines, reached: String::from_utf8(reached.to_vec()).ok()? })
}

/// What the bytes of a segment hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Bytes of the whole frames at its beginning.
    pub whole: usize,
    /// The item after the last of them, and what their source had reached.
    pub last: Option<(u64, String)>,
    /// Whether another whole frame comes after the first that is none: then it was damaged. Else it is the one that was
    /// being written when something died, or as good as that.
    pub is_damaged: bool,
}

/// Looks through a segment of `unit` whose first frame begins with item `first`.
#[must_use]
pub fn scan(bytes: &[u8], unit: UnitId, first: u64) -> Scan {
    let mut scan = Scan::default();
    let mut next = first;
    while let Some((frame, length)) = frame_at(bytes, scan.whole) {
        if frame.span.unit != unit || frame.span.from != next {
            break;
        }
        next = frame.span.to;
        scan.whole += length;
        scan.last = Some((next, frame.reached));
    }
    let rest = bytes.get(scan.whole..).unwrap_or_default();
    scan.is_damaged = memchr::memmem::find_iter(rest, &MAGIC).any(|at| frame_at(rest, at).is_some());
    scan
}

/// The whole frame at a place, and its length.
fn frame_at(bytes: &[u8], at: usize) -> Option<(Frame, usize)> {
    let rest = bytes.get(at..)?;
    let head = Head::decode(rest)?;
    let length = HEAD_BYTES + head.body_bytes();
    Some((decode(&head, rest.get(HEAD_BYTES..length)?)?, length))
}
