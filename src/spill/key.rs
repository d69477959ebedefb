//! The sort key of a row: bytes that compare, from the first to the last, as its key cells do.
//!
//! A cell is its rank (NULL, integer, double, text or bytes) and then: an integer in eight bytes, big end first, its sign
//! flipped; a double likewise, in its total order; text and bytes as they are in the last column of the key, elsewhere
//! with each zero byte as `00 FF` and `00 00` at the end, so that `a` comes before `a` and a zero. Cells that differ give
//! keys that differ.

use crate::model::counts::KeyCell;
use crate::model::number::{MAX_KEY_BYTES, Number};
use crate::model::rows::CellRef;

/// How the cells of a key column compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// As [`Rows::compare`](crate::model::rows::Rows::compare) has it: integers as numbers, text and bytes as bytes.
    AsIs,
    /// Text that is a decimal number, for a numeric column: as numbers. Two spellings of one number are one key.
    Decimal,
}

const NULL: u8 = 0;
const INT: u8 = 1;
const DOUBLE: u8 = 2;
const BYTES: u8 = 3;
/// Text of a decimal column that is no number DynamoDB can hold; no mapping gives such a cell.
const ODD: u8 = 4;

const SIGN: u64 = 1 << 63;

/// Appends the sort key of one row: its key cells in the order of the key, with a kind for each.
pub fn encode<'a>(cells: impl Iterator<Item = CellRef<'a>>, kinds: &[KeyKind], out: &mut Vec<u8>) {
    encode_noting(cells, kinds, out, |_, _| {});
}

/// As [`encode`], into `out` that is empty; tells `note` which cells lie in the key as they are, and where they begin.
pub(super) fn encode_noting<'a>(
    cells: impl Iterator<Item = CellRef<'a>>,
    kinds: &[KeyKind],
    out: &mut Vec<u8>,
    mut note: impl FnMut(usize, usize),
) {
    for (at, (cell, kind)) in cells.zip(kinds).enumerate() {
        let is_last = at + 1 == kinds.len();
        match (cell, kind) {
            (CellRef::Null, _) => out.push(NULL),
            (CellRef::Int(value), _) => {
                out.push(INT);
                out.extend_from_slice(&(value.cast_unsigned() ^ SIGN).to_be_bytes());
            }
            (CellRef::Double(value), _) => {
                out.push(DOUBLE);
                let bits = value.to_bits();
                // the order of f64::total_cmp: all bits of a negative one turn round
                out.extend_from_slice(&if bits & SIGN == 0 { bits | SIGN } else { !bits }.to_be_bytes());
            }
            (CellRef::Text(text) | CellRef::Bytes(text), KeyKind::AsIs) => {
                let start = out.len() + 1;
                if put_bytes(BYTES, text, is_last, out) {
                    note(at, start);
                }
            }
            (CellRef::Text(text) | CellRef::Bytes(text), KeyKind::Decimal) => put_decimal(text, is_last, out),
        }
    }
}

fn put_decimal(text: &[u8], is_last: bool, out: &mut Vec<u8>) {
    match std::str::from_utf8(text).ok().and_then(|text| Number::parse(text).ok()) {
        Some(decimal) => {
            let mut number = Vec::with_capacity(MAX_KEY_BYTES);
            decimal.write_key(&mut number);
            put_bytes(BYTES, &number, is_last, out);
        }
        None => {
            put_bytes(ODD, text, is_last, out);
        }
    }
}

/// Appends bytes behind their rank; tells whether they stand there as they are.
fn put_bytes(rank: u8, bytes: &[u8], is_last: bool, out: &mut Vec<u8>) -> bool {
    out.push(rank);
    if is_last {
        out.extend_from_slice(bytes);
        return true;
    }
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[0, 0xff]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 0]);
    rest.len() == bytes.len()
}

/// The cells that a sort key was made of; `texts` says which of its columns hold text rather than bytes. A decimal comes in
/// its plain spelling. None when it is no key of such columns, or has a cell that no primary key has.
#[must_use]
pub fn decode(mut key: &[u8], kinds: &[KeyKind], texts: &[bool]) -> Option<Vec<KeyCell>> {
    let mut cells = Vec::with_capacity(kinds.len());
    for (at, (kind, is_text)) in kinds.iter().zip(texts).enumerate() {
        let (rank, rest) = key.split_first()?;
        key = rest;
        let is_last = at + 1 == kinds.len();
        cells.push(match (*rank, kind) {
            (INT, _) => {
                let (bytes, rest) = key.split_first_chunk()?;
                key = rest;
                KeyCell::Int((u64::from_be_bytes(*bytes) ^ SIGN).cast_signed())
            }
            (BYTES, KeyKind::Decimal) => {
                let mut plain = Vec::new();
                Number::from_key(&take_bytes(&mut key, is_last)?)?.write_plain(&mut plain);
                KeyCell::Text(String::from_utf8(plain).ok()?)
            }
            (BYTES, KeyKind::AsIs) if !is_text => KeyCell::Bytes(take_bytes(&mut key, is_last)?),
            (BYTES | ODD, _) => KeyCell::Text(String::from_utf8(take_bytes(&mut key, is_last)?).ok()?),
            _ => return None,
        });
    }
    key.is_empty().then_some(cells)
}

/// Takes off the front what [`put_bytes`] has put behind the rank.
fn take_bytes(key: &mut &[u8], is_last: bool) -> Option<Vec<u8>> {
    if is_last {
        return Some(std::mem::take(key).to_vec());
    }
    let mut bytes = Vec::new();
    loop {
        let at = memchr::memchr(0, key)?;
        let (clean, rest) = key.split_at(at);
        bytes.extend_from_slice(clean);
        *key = rest.get(2..)?;
        match rest[1] {
            0xff => bytes.push(0),
            0 => return Some(bytes),
            _ => return None,
        }
    }
}

/// How many bytes two keys have in common at their beginning.
pub(super) fn common(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(a, b)| a == b).count()
}

/// The eight bytes of a key after its first `skip`, as an integer that compares as they do, short ones filled up with
/// zeros: keys that agree in the first `skip` bytes and differ here differ alike; others are to be compared whole.
#[inline]
pub(super) fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rows::Rows;
    use proptest::prelude::*;
    use std::convert::Infallible;

    #[derive(Clone, Debug)]
    enum Cell {
        Null,
        Int(i64),
        Double(f64),
        Text(String),
        Bytes(Vec<u8>),
    }

    fn any_cell() -> impl Strategy<Value = Cell> {
        prop_oneof![
            1 => Just(Cell::Null),
            3 => prop_oneof![any::<i64>(), -2i64..3].prop_map(Cell::Int),
            1 => any::<f64>().prop_map(Cell::Double),
            3 => "[\\x00ab]{0,4}".prop_map(Cell::Text),
            3 => prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..4).prop_map(Cell::Bytes),
        ]
    }

    fn push(rows: &mut Rows, row: &[Cell]) {
        for cell in row {
            match cell {
                Cell::Null => rows.null(),
                Cell::Int(value) => rows.int(*value),
                Cell::Double(value) => rows.double(*value),
                Cell::Text(text) => rows.text(|out| put(out, text.as_bytes())).unwrap(),
                Cell::Bytes(bytes) => rows.binary(|out| put(out, bytes)).unwrap(),
            }
        }
        rows.end_row(0);
    }

    fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Infallible> {
        out.extend_from_slice(bytes);
        Ok(())
    }

    fn key(rows: &Rows, row: usize, kinds: &[KeyKind]) -> Vec<u8> {
        let mut key = Vec::new();
        encode(rows.row(row), kinds, &mut key);
        key
    }

    proptest! {
        #[test]
        fn keys_compare_as_rows_do(left in prop::array::uniform3(any_cell()), right in prop::array::uniform3(any_cell()), same in 0usize..4) {
            let mut rows = Rows::new(3);
            push(&mut rows, &left);
            // rows that agree in their first columns are where an encoding that runs on would show
            let right: Vec<Cell> = left[..same].iter().chain(&right[same..]).cloned().collect();
            push(&mut rows, &right);
            let kinds = [KeyKind::AsIs; 3];
            let (a, b) = (key(&rows, 0, &kinds), key(&rows, 1, &kinds));
            prop_assert_eq!(a.cmp(&b), rows.compare(0, 1, &[0, 1, 2]));
            let skip = common(&a, &b);
            for skip in skip.saturating_sub(9)..=skip {
                let heads = head(&a, skip).cmp(&head(&b, skip));
                prop_assert!(heads.is_eq() || heads == a.cmp(&b));
            }
        }

        #[test]
        fn decimals_compare_as_numbers(a in -100_000i64..100_000, b in -100_000i64..100_000, scale in 0u32..4, then in any::<[bool; 2]>()) {
            let text = |value: i64| {
                let number = Number::parse(&format!("{value}e-{scale}")).unwrap();
                let mut text = Vec::new();
                number.write_plain(&mut text);
                Cell::Text(String::from_utf8(text).unwrap())
            };
            let mut rows = Rows::new(2);
            push(&mut rows, &[text(a), Cell::Int(i64::from(then[0]))]);
            push(&mut rows, &[text(b), Cell::Int(i64::from(then[1]))]);
            let kinds = [KeyKind::Decimal, KeyKind::AsIs];
            prop_assert_eq!(key(&rows, 0, &kinds).cmp(&key(&rows, 1, &kinds)), (a, then[0]).cmp(&(b, then[1])));
        }
    }

    fn any_key_cell() -> impl Strategy<Value = (Cell, KeyKind)> {
        prop_oneof![
            any::<i64>().prop_map(|value| (Cell::Int(value), KeyKind::AsIs)),
            "[\\x00ab]{0,4}".prop_map(|text| (Cell::Text(text), KeyKind::AsIs)),
            prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..4)
                .prop_map(|bytes| (Cell::Bytes(bytes), KeyKind::AsIs)),
            "-?[1-9][0-9]{0,20}(\\.[0-9]{0,15}[1-9])?".prop_map(|text| (Cell::Text(text), KeyKind::Decimal)),
            "[a-z]{1,3}".prop_map(|text| (Cell::Text(text), KeyKind::Decimal)),
        ]
    }

    proptest! {
        #[test]
        fn a_key_tells_its_cells(cells in prop::collection::vec(any_key_cell(), 1..4), cut in any::<usize>()) {
            let mut rows = Rows::new(cells.len());
            let (row, kinds): (Vec<Cell>, Vec<KeyKind>) = cells.into_iter().unzip();
            push(&mut rows, &row);
            let texts: Vec<bool> = row.iter().map(|cell| matches!(cell, Cell::Text(_))).collect();
            let key = key(&rows, 0, &kinds);
            let decoded = decode(&key, &kinds, &texts).unwrap();
            prop_assert!(decoded.iter().map(KeyCell::cell).eq(rows.row(0)));
            // a key that was cut off is another key or none
            let cut = cut % key.len();
            prop_assert_ne!(decode(&key[..cut], &kinds, &texts), Some(decoded));
        }
    }

    #[test]
    fn decimals_of_any_size_are_in_order() {
        let numbers =
            ["-1e125", "-10", "-9.5", "-9", "-1E-130", "0", "1e-130", "0.1", "0.12", "0.9", "2", "10", "1e125"];
        let kinds = [KeyKind::Decimal];
        let keys = numbers.map(|number| {
            let mut key = Vec::new();
            encode([CellRef::Text(number.as_bytes())].into_iter(), &kinds, &mut key);
            key
        });
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    }

    #[test]
    fn two_spellings_of_a_number_are_one_key_and_odd_text_still_has_one() {
        let key = |text: &str| {
            let mut key = Vec::new();
            encode([CellRef::Text(text.as_bytes())].into_iter(), &[KeyKind::Decimal], &mut key);
            key
        };
        assert_eq!(key("1.50"), key("1.5"));
        assert_ne!(key("one"), key("two"));
        assert_ne!(key("one"), key("1"));
    }
}
