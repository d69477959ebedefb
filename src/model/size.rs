//! How large an item is by DynamoDB's account, and what writing it costs: from its JSON text, without a tree.
//!
//! The size that DynamoDB charges is not the JSON's length [developer guide, CapacityUnitCalculations]: names and
//! strings count their UTF-8 bytes, binaries their decoded bytes, a number about a byte for two digits and one more,
//! BOOL and NULL one, a map or a list three and one more for each element. The formula is good to a few bytes; what
//! a response says was consumed is the truth. Callers hand in text that [`decode`](super::decode) has accepted.

use super::value::Value;

/// Bytes that one write unit covers.
const UNIT_BYTES: u64 = 1024;

/// Bytes of a map or a list beside its contents.
const CONTAINER_BYTES: u64 = 3;

/// The size in bytes of an item given as a DynamoDB JSON object, `{"name":{"S":"…"},…}`. Of text that is none, the
/// size of what could be read.
#[must_use]
pub fn item_bytes(json: &[u8]) -> u64 {
    Text { bytes: json, at: 0 }.members().0
}

/// The size in bytes of a value, without its name.
#[must_use]
pub fn value_bytes(value: Value<'_>) -> u64 {
    match value {
        Value::S(text) => text.len() as u64,
        Value::N(text) => number(text.as_bytes()),
        Value::B(base64) => binary(base64.as_bytes()),
        Value::Bool(_) | Value::Null => 1,
        Value::M(map) => {
            let members = map.iter().map(|(name, value)| name.len() as u64 + value_bytes(value) + 1);
            CONTAINER_BYTES + members.sum::<u64>()
        }
        Value::L(list) => CONTAINER_BYTES + list.iter().map(|value| value_bytes(value) + 1).sum::<u64>(),
        Value::Ss(members) => members.iter().map(|text| text.len() as u64).sum(),
        Value::Ns(members) => members.iter().map(|text| number(text.as_bytes())).sum(),
        Value::Bs(members) => members.iter().map(|base64| binary(base64.as_bytes())).sum(),
    }
}

/// Write units that a put of an item of so many bytes takes, in a table without indexes: at least one.
#[must_use]
pub fn write_units(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT_BYTES).max(1)
}

/// JSON text, and how far it was read.
struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
    /// The next byte that is no space; it is passed over when it is `wanted`.
    fn eat(&mut self, wanted: u8) -> bool {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        let found = self.bytes.get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    /// The text between two quotes, escapes and all.
    fn string(&mut self) -> Option<&'a [u8]> {
        if !self.eat(b'"') {
            return None;
        }
        let start = self.at;
        loop {
            let rest = self.bytes.get(self.at..)?;
            let found = memchr::memchr2(b'"', b'\\', rest)?;
            self.at += found + 1;
            if rest.get(found) == Some(&b'"') {
                return self.bytes.get(start..self.at - 1);
            }
            self.at += 1;
        }
    }

    /// The size of the names and values of an object, and how many there are.
    fn members(&mut self) -> (u64, u64) {
        let (mut size, mut count) = (0, 0);
        if !self.eat(b'{') || self.eat(b'}') {
            return (size, count);
        }
        while let Some(name) = self.string() {
            self.eat(b':');
            size += unescaped(name) + self.value();
            count += 1;
            if !self.eat(b',') {
                break;
            }
        }
        self.eat(b'}');
        (size, count)
    }

    /// The size of the elements of an array, and how many there are.
    fn elements(&mut self, size_of: impl Fn(&mut Self) -> u64) -> (u64, u64) {
        let (mut size, mut count) = (0, 0);
        if !self.eat(b'[') || self.eat(b']') {
            return (size, count);
        }
        loop {
            let before = self.at;
            size += size_of(self);
            count += 1;
            if !self.eat(b',') || self.at == before {
                break;
            }
        }
        self.eat(b']');
        (size, count)
    }

    /// The size of a `{"TAG":payload}`.
    fn value(&mut self) -> u64 {
        self.eat(b'{');
        let tag = self.string().unwrap_or_default();
        self.eat(b':');
        let container = |(size, count): (u64, u64)| CONTAINER_BYTES + size + count;
        let size = match tag {
            b"S" => self.string().map_or(0, unescaped),
            b"N" => self.string().map_or(0, number),
            b"B" => self.string().map_or(0, binary),
            b"M" => container(self.members()),
            b"L" => container(self.elements(Text::value)),
            b"SS" => self.elements(|text| text.string().map_or(0, unescaped)).0,
            b"NS" => self.elements(|text| text.string().map_or(0, number)).0,
            b"BS" => self.elements(|text| text.string().map_or(0, binary)).0,
            _ => {
                // true or false
                self.at += self.bytes.get(self.at..).map_or(0, |rest| memchr::memchr(b'}', rest).unwrap_or(0));
                1
            }
        };
        self.eat(b'}');
        size
    }
}

/// UTF-8 bytes of a JSON string whose text between the quotes is `raw`.
fn unescaped(raw: &[u8]) -> u64 {
    let (mut size, mut at) = (0, 0);
    while let Some(found) = raw.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        size += found as u64;
        at += found;
        let unit = match raw.get(at + 1) {
            Some(b'u') => raw.get(at + 2..at + 6).and_then(|hex| std::str::from_utf8(hex).ok()),
            _ => None,
        };
        let code = unit.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        at += if code.is_some() { 6 } else { 2 };
        size += match code {
            None | Some(..0x80) => 1,
            // each half of a surrogate pair stands for two of the character's four bytes
            Some(0x80..0x800 | 0xd800..=0xdfff) => 2,
            Some(_) => 3,
        };
    }
    size + raw.len().saturating_sub(at) as u64
}

/// About a byte for two significant digits, one more, and one for a minus sign.
fn number(raw: &[u8]) -> u64 {
    let mantissa = raw.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let digits = || mantissa.iter().filter(|byte| byte.is_ascii_digit());
    let leading = digits().take_while(|digit| **digit == b'0').count();
    let trailing = digits().rev().take_while(|digit| **digit == b'0').count();
    let significant = digits().count().saturating_sub(leading + trailing) as u64;
    significant.div_ceil(2) + 1 + u64::from(raw.starts_with(b"-"))
}

/// Bytes that the base64 text stands for.
fn binary(raw: &[u8]) -> u64 {
    let padding = raw.iter().rev().take_while(|byte| **byte == b'=').count();
    (raw.len() / 4 * 3).saturating_sub(padding) as u64
}

#[cfg(test)]
mod tests {
    use super::super::decode::Decoder;
    use super::*;

    #[test]
    fn every_type_counts_as_the_guide_says() {
        for (item, size) in [
            (r#"{}"#, 0),
            (r#"{"pk":{"S":"abc"}}"#, 5),
            (r#" { "pk" : { "S" : "abc" } , "é" : { "NULL" : true } } "#, 8),
            (r#"{"n":{"N":"0"}}"#, 2),
            (r#"{"n":{"N":"-12300"}}"#, 5),
            (r#"{"n":{"N":"0.00123"}}"#, 4),
            (r#"{"n":{"N":"12345678901234567890123456789012345678"}}"#, 21),
            (r#"{"b":{"B":"AQIDBA=="}}"#, 5),
            (r#"{"t":{"BOOL":false},"u":{"BOOL":true}}"#, 4),
            (r#"{"m":{"M":{}}}"#, 4),
            (r#"{"m":{"M":{"a":{"S":"x"}}}}"#, 7),
            (r#"{"l":{"L":[{"S":"x"},{"NULL":true}]},"e":{"L":[]}}"#, 12),
            (r#"{"s":{"SS":["a","bc"]},"n":{"NS":["1","23"]},"b":{"BS":["AQ==","AQI="]}}"#, 13),
        ] {
            assert_eq!(item_bytes(item.as_bytes()), size, "{item}");
            let line = format!("{{\"Item\":{item}}}");
            let by_value = Decoder::default().decode(line.as_bytes(), |item| {
                let attributes = item.attributes().iter();
                attributes.map(|(name, value)| name.len() as u64 + value_bytes(value)).sum::<u64>()
            });
            assert_eq!(by_value, Ok(size), "{item}");
        }
    }

    #[test]
    fn escapes_count_the_bytes_they_stand_for() {
        for text in ["q\"\\/\n\t\u{1}", "é", "€uro", "😀", "a\u{0}b", ""] {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let short = serde_json::to_string(text).unwrap();
            for json in [format!("\"{escaped}\""), short] {
                let item = format!("{{\"a\":{{\"S\":{json}}}}}");
                assert_eq!(item_bytes(item.as_bytes()), 1 + text.len() as u64, "{item}");
            }
        }
    }

    #[test]
    fn a_unit_is_a_started_kilobyte() {
        assert_eq!([0, 1, 1024, 1025, 409_600].map(write_units), [1, 1, 1, 2, 400]);
    }

    #[test]
    fn text_that_is_no_item_ends() {
        for text in ["", "{", "{\"a\"", "{\"a\":{\"L\":[", "{\"a\":{\"SS\":[1,2]}}", "[]", "{\"a\":{\"S\":\"x\\"] {
            let _size = item_bytes(text.as_bytes());
        }
    }
}
