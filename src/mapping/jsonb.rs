//! How many bytes MySQL's binary JSON takes for a text: more than the text for many short members, less for long strings.
//! For estimates, so a text that is no JSON is counted as far as it looks like it.

/// Object or array: count and size. A key: offset and length. A value: type and offset.
const CONTAINER: usize = 4;
const KEY_ENTRY: usize = 4;
const VALUE_ENTRY: usize = 3;
/// Offsets of a document beyond 64 KB have four bytes rather than two.
const SMALL_MAX: usize = 65_535;

/// Bytes of the JSON text `text` as MySQL stores it.
#[must_use]
pub(super) fn bytes(text: &[u8]) -> usize {
    let (mut containers, mut members, mut elements, mut payload) = (0, 0, 0, 0);
    // what is open: objects hold members, arrays elements
    let mut open: Vec<u8> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                elements += usize::from(open.last() == Some(&b'['));
                containers += 1;
                open.push(*byte);
            }
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let end = end_of_string(text, at);
                let length = end - at;
                at = end + 1;
                let is_key = text.get(at) == Some(&b':');
                elements += usize::from(!is_key && open.last() == Some(&b'['));
                members += usize::from(is_key);
                // a key's length is in its entry
                payload += length + if is_key { 0 } else { 1 + usize::from(length > 127) };
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let rest = text.get(at..).unwrap_or_default();
                let more = rest.iter().take_while(|byte| !matches!(byte, b',' | b'}' | b']' | b' ')).count();
                elements += usize::from(open.last() == Some(&b'['));
                payload += if byte.is_ascii_alphabetic() || more < 4 { 0 } else { 8 };
                at += more;
            }
            _ => {}
        }
    }
    let small = 1 + containers * CONTAINER + members * (KEY_ENTRY + VALUE_ENTRY) + elements * VALUE_ENTRY + payload;
    if small <= SMALL_MAX { small } else { small + containers * 4 + members * 4 + elements * 2 }
}

/// Where the string ends that begins at `from`.
fn end_of_string(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::bytes;

    /// What JSON_STORAGE_SIZE of MySQL 9 says.
    #[test]
    fn documents_take_what_mysql_says() {
        for (text, stored) in [
            (r#"{}"#, 5),
            (r#"{"a":"b"}"#, 15),
            (r#"{"a":{"S":"b"}}"#, 27),
            (r#"["x","yy"]"#, 16),
            (r#"{"a":1,"b":true}"#, 21),
        ] {
            assert_eq!(bytes(text.as_bytes()), stored, "{text}");
        }
    }

    #[test]
    fn a_broken_text_does_no_harm() {
        for text in ["", "\"", "{\"a\\", "]]}}", "{\"a\":"] {
            assert!(bytes(text.as_bytes()) < 40, "{text}");
        }
    }
}
