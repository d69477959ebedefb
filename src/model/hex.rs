//! Bytes in hexadecimal, and back: the one place that writes it.

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Two lower digits for each byte.
#[must_use]
pub fn lower(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| digits(*byte, LOWER)).map(char::from).collect()
}

/// Appends two upper digits for each byte, as SQL's HEX prints them.
pub fn push_upper(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 * bytes.len());
    bytes.iter().for_each(|byte| out.extend_from_slice(&digits(*byte, UPPER)));
}

/// The bytes that `text` spells, in digits of either case. None when it is not whole bytes of such digits.
#[must_use]
pub fn read(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn digits(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_back_from_either_case() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut upper = Vec::new();
        push_upper(&bytes, &mut upper);
        assert!(upper.starts_with(b"000102") && upper.ends_with(b"FDFEFF"));
        assert!(lower(&bytes).ends_with("fdfeff"));
        for text in [lower(&bytes), String::from_utf8(upper).unwrap()] {
            assert_eq!(read(&text).as_deref(), Some(bytes.as_slice()));
        }
        for broken in ["abc", "zz", "é", "+1"] {
            assert_eq!(read(broken), None);
        }
    }
}
