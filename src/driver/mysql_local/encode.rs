//! A row as a line of LOAD DATA: cells between tabs, `\N` for NULL, a backslash before what would end a cell or a line.
//!
//! Text goes as its UTF-8 bytes; so do bytes, unless their column goes as hex digits. The empty text stays apart from
//! NULL, and a text that reads `\N` from NULL, since its backslash is doubled.

use crate::model::hex;
use crate::model::rows::CellRef;
use std::io::Write as _;

/// Looked at together: one pass without a branch.
const BLOCK: usize = 64;

/// Appends one line. Columns marked in `hex` (none when it is shorter) go as digits.
pub(super) fn row<'c>(cells: impl Iterator<Item = CellRef<'c>>, hex: &[bool], out: &mut Vec<u8>) {
    for (column, cell) in cells.enumerate() {
        if column > 0 {
            out.push(b'\t');
        }
        // writing to a vector does not fail
        match cell {
            CellRef::Null => out.extend_from_slice(b"\\N"),
            CellRef::Int(value) => drop(write!(out, "{value}")),
            // the shortest text that reads back as this very number
            CellRef::Double(value) => drop(write!(out, "{value:e}")),
            CellRef::Text(bytes) | CellRef::Bytes(bytes) if hex.get(column) == Some(&true) => {
                hex::push_upper(bytes, out)
            }
            CellRef::Text(bytes) | CellRef::Bytes(bytes) => escaped(bytes, out),
        }
    }
    out.push(b'\n');
}

fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for block in bytes.chunks(BLOCK) {
        let is_plain = !block.iter().fold(false, |found, byte| found | (*byte <= b'\n') | (*byte == b'\\'));
        if is_plain {
            out.extend_from_slice(block);
            continue;
        }
        for byte in block {
            match byte {
                0 => out.extend_from_slice(b"\\0"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\\' => out.extend_from_slice(b"\\\\"),
                other => out.push(*other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cells: &[CellRef<'_>], hex: &[bool]) -> String {
        let mut out = Vec::new();
        row(cells.iter().copied(), hex, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cells_stay_apart_whatever_they_hold() {
        let cells = [CellRef::Null, CellRef::Text(b""), CellRef::Text(b"\\N"), CellRef::Int(i64::MIN)];
        assert_eq!(line(&cells, &[]), "\\N\t\t\\\\N\t-9223372036854775808\n");
        let awkward = b"tab\there\nline\\back\0nul\r\x08\x1a'\"";
        assert_eq!(line(&[CellRef::Text(awkward)], &[]), "tab\\there\\nline\\\\back\\0nul\r\x08\x1a'\"\n");
        assert_eq!(line(&[CellRef::Text("\u{1f600}é".as_bytes())], &[]), "\u{1f600}é\n");
    }

    #[test]
    fn a_long_text_is_escaped_wherever_it_needs_it() {
        for at in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let mut text = vec![b'x'; 3 * BLOCK + 1];
            text[at] = b'\t';
            let expected = format!("{}\\t{}\n", "x".repeat(at), "x".repeat(3 * BLOCK - at));
            assert_eq!(line(&[CellRef::Text(&text)], &[]), expected);
        }
    }

    #[test]
    fn bytes_go_as_hex_where_that_is_asked_for() {
        let cells = [CellRef::Bytes(&[0, 0xff, 0x5c]), CellRef::Bytes(b"ab"), CellRef::Null];
        assert_eq!(line(&cells, &[true, false, true]), "00FF5C\tab\t\\N\n");
    }

    #[test]
    fn a_double_is_read_back_as_it_was() {
        for value in [0.0, -0.0, 0.1, 1.0 / 3.0, 5e-324, f64::MAX, 1e125, -123_456_789.125] {
            let text = line(&[CellRef::Double(value)], &[]);
            assert_eq!(text.trim_end().parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
        }
    }
}
