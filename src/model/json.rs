//! Values written back as JSON: DynamoDB JSON, as read or in canonical order. Numbers stay inside strings.

use super::number::Number;
use super::value::{Item, Map, Strings, Value};

/// The whole item as one DynamoDB JSON object, attributes in the order of the line.
pub fn write_item(item: Item<'_>, out: &mut Vec<u8>) {
    write_map(item.attributes(), out);
}

/// A map of attributes as DynamoDB JSON: `{"name":{"S":"…"},…}`.
pub fn write_map(map: Map<'_>, out: &mut Vec<u8>) {
    write_object(map.iter(), out, write_value);
}

/// Members as a JSON object, each value as `write` has it.
pub fn write_object<'a>(
    members: impl Iterator<Item = (&'a str, Value<'a>)>,
    out: &mut Vec<u8>,
    write: impl Fn(Value<'a>, &mut Vec<u8>),
) {
    out.push(b'{');
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write(value, out);
    }
    out.push(b'}');
}

/// One value as DynamoDB JSON: `{"N":"1"}`.
pub fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(value.tag().as_bytes());
    out.extend_from_slice(b"\":");
    match value {
        Value::S(text) | Value::N(text) | Value::B(text) => write_string(text, out),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Null => out.extend_from_slice(b"true"),
        Value::M(map) => write_map(map, out),
        Value::L(list) => write_array(list.iter(), out, write_value),
        Value::Ss(members) | Value::Ns(members) | Value::Bs(members) => {
            write_array(members.iter(), out, write_string);
        }
    }
    out.push(b'}');
}

/// Elements between brackets, each written by `write`.
pub fn write_array<T>(elements: impl Iterator<Item = T>, out: &mut Vec<u8>, write: impl Fn(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, element) in elements.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(element, out);
    }
    out.push(b']');
}

/// The members of a set in canonical order: texts by bytes, binaries by their base64 text.
#[must_use]
pub fn sorted<'a>(members: Strings<'a>) -> Vec<&'a str> {
    let mut sorted: Vec<&str> = members.iter().collect();
    sorted.sort_unstable();
    sorted
}

/// The members of a number set as plain decimal text, in numeric order.
#[must_use]
pub fn sorted_numbers(members: Strings<'_>) -> Vec<String> {
    let mut sorted: Vec<(Vec<u8>, String)> = members
        .iter()
        .filter_map(|text| Number::parse(text).ok())
        .map(|number| {
            let (mut key, mut plain) = (Vec::new(), Vec::new());
            number.write_key(&mut key);
            number.write_plain(&mut plain);
            (key, String::from_utf8_lossy(&plain).into_owned())
        })
        .collect();
    sorted.sort_unstable();
    sorted.into_iter().map(|(_, plain)| plain).collect()
}

/// A JSON string with its quotes. Only what JSON demands is escaped.
#[inline]
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((clean, [byte, after @ ..])) = to_be_escaped(rest).map(|at| rest.split_at(at)) {
        out.extend_from_slice(clean);
        write_escaped(*byte, out);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first byte is that a JSON string cannot hold as it is: a quote, a backslash, or less than a space. Looks at
/// eight bytes at once.
#[inline]
pub(super) fn to_be_escaped(bytes: &[u8]) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = escaped_in(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let found = tail.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'))?;
    Some(words.len() * 8 + found)
}

/// Sets the high bit of each of eight bytes that is to be escaped. Of those above the lowest it may set some by mistake.
#[inline]
fn escaped_in(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // a byte borrows from the one above only when it is below the limit itself
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (is(b'"') | is(b'\\') | below(word, b' ')) & HIGH
}

fn write_escaped(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::super::decode::Decoder;
    use super::*;

    #[test]
    fn an_item_is_written_as_it_was_read() {
        let item = r#"{"a":{"S":"q\"\\\n\u0001\u0000é😀"},"n":{"N":"1.50"},"m":{"M":{"l":{"L":[{"NULL":true},{"BOOL":false}]}}},"s":{"NS":["2","1"]},"b":{"B":""}}"#;
        let line = format!("{{\"Item\":{item}}}");
        let mut out = Vec::new();
        Decoder::default().decode(line.as_bytes(), |item| write_item(item, &mut out)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), item);
    }

    #[test]
    fn every_byte_is_escaped_or_not_wherever_it_stands() {
        for length in 0..20 {
            for (at, byte) in (0..length).flat_map(|at| (0..=127).map(move |byte| (at, byte))) {
                let mut text = vec![b'~'; length];
                text[at] = byte;
                let escaped = byte < b' ' || byte == b'"' || byte == b'\\';
                assert_eq!(to_be_escaped(&text), escaped.then_some(at), "{byte} at {at} of {length}");
                let text = String::from_utf8(text).unwrap();
                let mut out = Vec::new();
                write_string(&text, &mut out);
                assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
                assert_eq!(out.len(), if escaped { out.len().max(length + 3) } else { length + 2 });
            }
        }
        for byte in 0x7f..=0xff {
            assert_eq!(to_be_escaped(&[byte; 9]), None, "{byte}");
            assert_eq!(to_be_escaped(&[byte, b'"', byte, b'\n', byte, 0, byte, byte, 1]), Some(1), "{byte}");
        }
    }

    #[test]
    fn sets_have_one_canonical_order() {
        let line = br#"{"Item":{"n":{"NS":["10","-1","9","1e0"]},"s":{"SS":["b","a"]}}}"#;
        Decoder::default()
            .decode(line, |item| {
                let Some(Value::Ns(numbers)) = item.get("n") else { panic!("no set") };
                assert_eq!(sorted_numbers(numbers), ["-1", "1", "9", "10"]);
                let Some(Value::Ss(texts)) = item.get("s") else { panic!("no set") };
                assert_eq!(sorted(texts), ["a", "b"]);
            })
            .unwrap();
    }
}
