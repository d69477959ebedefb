//! A row as bytes: its sort key, its origin, its cells.
//!
//! A record is its length (four bytes, small end first, without themselves), the key (its length as a varint before it),
//! unit and position (varints) and the cells. A cell is a varint, kind in the lowest three bits and length above, and as
//! many bytes. An integer has as few bytes as it needs, its sign in the lowest bit. Text and bytes that lie in the key as
//! they are have a varint instead of them: where they begin there. A varint has seven bits a byte.

use super::Origin;
use crate::model::rows::{CellRef, Rows};
use std::convert::Infallible;
use std::ops::Range;

const NULL: u64 = 0;
const INT: u64 = 1;
const DOUBLE: u64 = 2;
const TEXT: u64 = 3;
const BYTES: u64 = 4;
const TEXT_IN_KEY: u64 = 5;
const BYTES_IN_KEY: u64 = 6;

const KIND_BITS: u32 = 3;

/// Bytes of the length that a record begins with.
pub(super) const LENGTH_BYTES: usize = 4;

/// One record among others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// All of it, its length included.
    pub(super) bytes: &'a [u8],
    /// The sort key.
    pub(super) key: &'a [u8],
    /// Origin and cells.
    rest: &'a [u8],
}

/// Appends the record of a row: its cells, each with the place in `key` where its bytes are found, if they are.
pub(super) fn append<'a>(
    key: &[u8],
    origin: Origin,
    cells: impl Iterator<Item = (CellRef<'a>, Option<usize>)>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    put_varint(key.len() as u64, out);
    out.extend_from_slice(key);
    put_varint(u64::from(origin.unit), out);
    put_varint(origin.position, out);
    for (cell, place) in cells {
        match (cell, place) {
            (CellRef::Text(text), Some(start)) => put_place(TEXT_IN_KEY, text.len(), start, out),
            (CellRef::Bytes(bytes), Some(start)) => put_place(BYTES_IN_KEY, bytes.len(), start, out),
            (cell, _) => put_cell(cell, out),
        }
    }
    let length = out.len() - start - LENGTH_BYTES;
    // an item is 400 KB at most, and rows in memory are below 4 GiB
    let length = u32::try_from(length).unwrap_or_else(|_| panic!("a row exceeds 4 GiB"));
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

fn put_cell(cell: CellRef<'_>, out: &mut Vec<u8>) {
    match cell {
        CellRef::Null => put_varint(NULL, out),
        CellRef::Int(value) => {
            let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
            put(INT, &zigzag.to_le_bytes()[..8 - zigzag.leading_zeros() as usize / 8], out);
        }
        CellRef::Double(value) => put(DOUBLE, &value.to_bits().to_le_bytes(), out),
        CellRef::Text(text) => put(TEXT, text, out),
        CellRef::Bytes(bytes) => put(BYTES, bytes, out),
    }
}

fn put(kind: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint((bytes.len() as u64) << KIND_BITS | kind, out);
    out.extend_from_slice(bytes);
}

fn put_place(kind: u64, length: usize, start: usize, out: &mut Vec<u8>) {
    put_varint((length as u64) << KIND_BITS | kind, out);
    put_varint(start as u64, out);
}

/// Appends a varint.
#[inline]
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Takes a varint off the front of `bytes`. None when it does not end there, or exceeds 64 bits.
#[inline]
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes `length` bytes off the front of `bytes`.
#[inline]
pub(super) fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

impl<'a> Record<'a> {
    /// The first record of `bytes`. None when they do not begin with a whole one.
    #[inline]
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let length = u32::from_le_bytes(*bytes.first_chunk()?);
        let mut rest = bytes.get(LENGTH_BYTES..)?;
        let mut body = take(&mut rest, u64::from(length))?;
        let whole = &bytes[..LENGTH_BYTES + body.len()];
        let length = take_varint(&mut body)?;
        let key = take(&mut body, length)?;
        Some(Record { bytes: whole, key, rest: body })
    }

    /// Where the key lies in the record.
    pub(super) fn key_range(&self) -> Range<usize> {
        let end = self.bytes.len() - self.rest.len();
        end - self.key.len()..end
    }

    /// The item that gave the row. None when the record is not what [`append`] wrote.
    pub(super) fn origin(&self) -> Option<Origin> {
        take_origin(&mut &*self.rest)
    }

    /// Appends the row to `rows`. None when the record is not a row of so many cells: then nothing is appended.
    pub(super) fn append_to(&self, rows: &mut Rows) -> Option<()> {
        let mut rest = self.rest;
        let origin = take_origin(&mut rest)?;
        for _ in 0..rows.columns() {
            if take_cell(&mut rest, self.key, rows).is_none() {
                rows.abandon_row();
                return None;
            }
        }
        if !rest.is_empty() {
            rows.abandon_row();
            return None;
        }
        rows.end_row_of(origin.unit, origin.position);
        Some(())
    }
}

fn take_origin(rest: &mut &[u8]) -> Option<Origin> {
    let unit = u32::try_from(take_varint(rest)?).ok()?;
    Some(Origin { unit, position: take_varint(rest)? })
}

#[inline]
fn take_cell(rest: &mut &[u8], key: &[u8], rows: &mut Rows) -> Option<()> {
    let head = take_varint(rest)?;
    let (kind, length) = (head & ((1 << KIND_BITS) - 1), head >> KIND_BITS);
    let bytes = match kind {
        TEXT_IN_KEY | BYTES_IN_KEY => {
            let start = usize::try_from(take_varint(rest)?).ok()?;
            take(&mut key.get(start..)?, length)?
        }
        _ => take(rest, length)?,
    };
    let copy = |out: &mut Vec<u8>| {
        out.extend_from_slice(bytes);
        Ok::<(), Infallible>(())
    };
    match kind {
        NULL => rows.null(),
        INT => {
            let mut zigzag = [0; 8];
            zigzag.get_mut(..bytes.len())?.copy_from_slice(bytes);
            let zigzag = u64::from_le_bytes(zigzag);
            rows.int((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
        DOUBLE => rows.double(f64::from_bits(u64::from_le_bytes(*bytes.first_chunk()?))),
        TEXT | TEXT_IN_KEY => rows.text(copy).ok()?,
        BYTES | BYTES_IN_KEY => rows.binary(copy).ok()?,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { unit: u32::MAX, position: u64::MAX };

    #[test]
    fn a_row_comes_back_with_its_key_and_origin() {
        let long = vec![b'x'; 400_000];
        let cells = [
            CellRef::Null,
            CellRef::Int(0),
            CellRef::Int(-1),
            CellRef::Int(i64::MIN),
            CellRef::Int(i64::MAX),
            CellRef::Double(-0.0),
            CellRef::Text(b""),
            CellRef::Bytes(b""),
            CellRef::Bytes(&[0, 255]),
            CellRef::Text(&long),
        ];
        let mut bytes = Vec::new();
        let places = [None; 10];
        append(b"key", ORIGIN, cells.into_iter().zip(places), &mut bytes);
        append(b"", Origin { unit: 0, position: 0 }, std::iter::empty(), &mut bytes);

        let record = Record::first(&bytes).unwrap();
        assert_eq!((record.key, record.origin()), (b"key".as_slice(), Some(ORIGIN)));
        let mut rows = Rows::new(cells.len());
        record.append_to(&mut rows).unwrap();
        assert!(rows.row(0).eq(cells));
        assert_eq!((rows.unit(0, 5), rows.position(0)), (ORIGIN.unit, ORIGIN.position));
        let second = Record::first(&bytes[record.bytes.len()..]).unwrap();
        assert_eq!((second.key, second.bytes.len()), (b"".as_slice(), bytes.len() - record.bytes.len()));
    }

    #[test]
    fn what_lies_in_the_key_is_not_kept_twice() {
        let key = [b'x'; 100];
        let (mut bytes, mut rows) = (Vec::new(), Rows::new(3));
        let cells =
            [(CellRef::Text(&key[..90]), Some(10)), (CellRef::Bytes(&key), Some(0)), (CellRef::Text(b""), Some(100))];
        append(&key, ORIGIN, cells.into_iter(), &mut bytes);
        assert!(bytes.len() < 140);
        Record::first(&bytes).unwrap().append_to(&mut rows).unwrap();
        assert!(rows.row(0).eq(cells.map(|(cell, _)| cell)));

        bytes.clear();
        append(&key, ORIGIN, [(CellRef::Text(&key[..90]), Some(11))].into_iter(), &mut bytes);
        assert!(Record::first(&bytes).unwrap().append_to(&mut Rows::new(1)).is_none());
    }

    #[test]
    fn what_is_no_whole_row_is_none_and_leaves_nothing() {
        let mut bytes = Vec::new();
        append(b"key", ORIGIN, [(CellRef::Int(7), None), (CellRef::Text(b"ey"), Some(1))].into_iter(), &mut bytes);
        for end in 0..bytes.len() {
            assert!(Record::first(&bytes[..end]).is_none(), "{end}");
        }
        for columns in [1, 3] {
            let mut rows = Rows::new(columns);
            assert!(Record::first(&bytes).unwrap().append_to(&mut rows).is_none());
            assert_eq!(rows.len(), 0);
            rows.null();
            rows.abandon_row();
        }
    }

    #[test]
    fn varints_hold_64_bits_and_no_more() {
        for value in [0, 127, 128, 1 << 32, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!((take_varint(&mut rest), rest.len()), (Some(value), 0));
        }
        assert_eq!(take_varint(&mut [0xff; 10].as_slice()), None);
        assert_eq!(take_varint(&mut [0x80; 3].as_slice()), None);
    }
}
