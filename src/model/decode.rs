//! One line of an export to a borrowed [`Item`]: the only door through which item bytes enter the engine.
//!
//! Every value must be DynamoDB JSON with the limits DynamoDB itself sets (32 levels, 38 digits, no empty sets, no
//! attribute named twice). What passes cannot fail later; what does not is a [`DecodeError`], which becomes a reject that
//! quotes the untouched line.
//!
//! The reference is simd-json: the line is copied into a reused scratch buffer (simd-json alters its input, even when it
//! fails), parsed to a reused tape, and the tape is walked once. A line as DynamoDB writes it is read to the same tape in
//! one pass instead ([`regular`]); whatever is unusual about a line, errors included, is the reference's to judge.

mod change;
mod names;
mod regular;

use super::number::{MAX_DIGITS, Number};
use super::value::{Item, after};
pub use change::Change;
use names::Seen;
use simd_json::{Buffers, Node, StaticNode, Tape};

/// DynamoDB's own limit on nesting [developer guide, ServiceQuotas].
pub const MAX_DEPTH: usize = 32;

/// Why a line is not an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The line is not JSON, or not UTF-8.
    #[error("the line is not valid JSON")]
    Json,
    /// JSON, but not `{"Item":{…}}`.
    #[error("the line has no Item")]
    NoItem,
    /// JSON, but no object with `Keys`, which a change has.
    #[error("the line has no Keys")]
    NoKeys,
    /// The `Keys` of a change are not those of its `NewImage`.
    #[error("the change's Keys are not those of its NewImage")]
    OtherKeys,
    /// A value is not one type tag with the payload this type has.
    #[error("a value is not DynamoDB JSON")]
    NotDynamoDbJson,
    /// A number is not one DynamoDB can hold.
    #[error("a number is not one that DynamoDB can hold")]
    Number,
    /// A binary is not base64.
    #[error("a binary value is not base64")]
    Base64,
    /// A set without members.
    #[error("a set is empty")]
    EmptySet,
    /// Deeper than [`MAX_DEPTH`].
    #[error("the item is nested deeper than 32 levels")]
    TooDeep,
    /// Two attributes of one map have the same name.
    #[error("an attribute is named twice")]
    NamedTwice,
}

/// Reused buffers of one worker.
pub struct Decoder {
    scratch: Vec<u8>,
    /// Room for the strings of a regular line that have escapes.
    unescaped: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            scratch: Vec::new(),
            unescaped: Vec::new(),
            buffers: Buffers::new(4096),
            tape: Some(Tape(Vec::new())),
        }
    }
}

impl Decoder {
    /// Decodes one `{"Item":{…}}` line and hands the item to `use_item`. The line itself is not changed.
    ///
    /// # Errors
    /// Says why the line is not an item; see [`DecodeError`].
    #[inline]
    pub fn decode<T>(&mut self, line: &[u8], use_item: impl FnOnce(Item<'_>) -> T) -> Result<T, DecodeError> {
        if self.unescaped.len() < line.len() {
            self.unescaped.resize(line.len(), 0);
        }
        let mut tape = self.tape.take().unwrap_or(Tape(Vec::new())).reset();
        if regular::parse(line, &mut self.unescaped, &mut tape.0).is_some() {
            let result = use_item(Item::new(&tape.0, ITEM_AT));
            self.tape = Some(tape.reset());
            return Ok(result);
        }
        self.tape = Some(tape.reset());
        self.decode_any(line, use_item)
    }

    /// As [`Decoder::decode`], for whatever line there is: this is the reference.
    fn decode_any<T>(&mut self, line: &[u8], use_item: impl FnOnce(Item<'_>) -> T) -> Result<T, DecodeError> {
        self.with_tape(line, |nodes| item(nodes).map(use_item))
    }

    /// Parses any line of JSON and hands its nodes on.
    fn with_tape<T>(
        &mut self,
        line: &[u8],
        use_nodes: impl for<'n> FnOnce(&'n [Node<'n>]) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        self.scratch.clear();
        self.scratch.extend_from_slice(line);
        let mut tape = self.tape.take().unwrap_or(Tape(Vec::new())).reset();
        let result = simd_json::fill_tape(&mut self.scratch, &mut self.buffers, &mut tape)
            .map_err(|_| DecodeError::Json)
            .and_then(|()| use_nodes(&tape.0));
        self.tape = Some(tape.reset());
        result
    }
}

/// Where the item's map is on the tape: after the outer object and its only name.
const ITEM_AT: usize = 2;

/// Finds and validates the item of a parsed line.
fn item<'a>(nodes: &'a [Node<'a>]) -> Result<Item<'a>, DecodeError> {
    let (Some(Node::Object { len: 1, .. }), Some(Node::String("Item"))) = (nodes.first(), nodes.get(1)) else {
        return Err(DecodeError::NoItem);
    };
    let Some(Node::Object { .. }) = nodes.get(ITEM_AT) else { return Err(DecodeError::NoItem) };
    check_map(nodes, ITEM_AT, 0)?;
    Ok(Item::new(nodes, ITEM_AT))
}

/// Checks the map at `at`: names are unique, values are valid. Returns the index after it.
fn check_map(nodes: &[Node<'_>], at: usize, depth: usize) -> Result<usize, DecodeError> {
    let Some(Node::Object { len, .. }) = nodes.get(at) else { return Err(DecodeError::NotDynamoDbJson) };
    let mut seen = Seen::default();
    let mut next = at + 1;
    for before in 0..*len {
        let Some(Node::String(name)) = nodes.get(next) else { return Err(DecodeError::NotDynamoDbJson) };
        if seen.add(name, nodes, at, before) {
            return Err(DecodeError::NamedTwice);
        }
        next = check_value(nodes, next + 1, depth)?;
    }
    if seen.finds_twice(nodes, at, *len) { Err(DecodeError::NamedTwice) } else { Ok(next) }
}

/// Checks the `{"TAG":payload}` at `at`. Returns the index after it.
#[inline]
fn check_value(nodes: &[Node<'_>], at: usize, depth: usize) -> Result<usize, DecodeError> {
    let [Node::Object { len: 1, .. }, Node::String(tag), payload, ..] = nodes.get(at..).unwrap_or_default() else {
        return Err(DecodeError::NotDynamoDbJson);
    };
    let inside = at + 2;
    match (*tag, payload) {
        ("S", Node::String(_)) => Ok(inside + 1),
        ("N", Node::String(text)) => check_number(text).map(|()| inside + 1),
        ("B", Node::String(text)) => check_base64(text).map(|()| inside + 1),
        ("BOOL", Node::Static(StaticNode::Bool(_))) => Ok(inside + 1),
        ("NULL", Node::Static(StaticNode::Bool(true))) => Ok(inside + 1),
        ("M", Node::Object { .. }) => check_map(nodes, inside, deeper(depth)?),
        ("L", Node::Array { len, .. }) => {
            let depth = deeper(depth)?;
            let mut next = inside + 1;
            for _ in 0..*len {
                next = check_value(nodes, next, depth)?;
            }
            Ok(next)
        }
        ("SS", Node::Array { len, .. }) => check_set(nodes, inside, *len, |_| Ok(())),
        ("NS", Node::Array { len, .. }) => check_set(nodes, inside, *len, check_number),
        ("BS", Node::Array { len, .. }) => check_set(nodes, inside, *len, check_base64),
        _ => Err(DecodeError::NotDynamoDbJson),
    }
}

fn deeper(depth: usize) -> Result<usize, DecodeError> {
    if depth >= MAX_DEPTH { Err(DecodeError::TooDeep) } else { Ok(depth + 1) }
}

fn check_set(
    nodes: &[Node<'_>],
    at: usize,
    len: usize,
    check: impl Fn(&str) -> Result<(), DecodeError>,
) -> Result<usize, DecodeError> {
    if len == 0 {
        return Err(DecodeError::EmptySet);
    }
    for node in nodes.get(at + 1..at + 1 + len).unwrap_or_default() {
        let Node::String(member) = node else { return Err(DecodeError::NotDynamoDbJson) };
        check(member)?;
    }
    Ok(after(nodes, at))
}

#[inline]
fn check_number(text: &str) -> Result<(), DecodeError> {
    if is_short_plain(text.as_bytes()) { Ok(()) } else { check_long_number(text) }
}

/// Whether the text is digits, at most one point among them, and perhaps a minus sign: with at most as many characters
/// as DynamoDB keeps digits, its range holds any such number.
#[inline]
fn is_short_plain(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut points = 0;
    for byte in text {
        match byte {
            b'0'..=b'9' => {}
            b'.' => points += 1,
            _ => return false,
        }
    }
    points <= 1 && text.len() > points && text.len() <= MAX_DIGITS
}

fn check_long_number(text: &str) -> Result<(), DecodeError> {
    Number::parse(text).map(|_| ()).map_err(|_| DecodeError::Number)
}

/// Standard alphabet, padded, unused bits zero: the only spelling that decodes and encodes back to itself.
fn check_base64(text: &str) -> Result<(), DecodeError> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return Err(DecodeError::Base64);
    }
    let padding = bytes.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let (digits, _) = bytes.split_at(bytes.len() - padding);
    let mut last = 0;
    for byte in digits {
        last = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(DecodeError::Base64),
        };
    }
    let unused = match padding {
        0 => 0,
        1 => last & 0b11,
        _ => last & 0b1111,
    };
    if unused == 0 { Ok(()) } else { Err(DecodeError::Base64) }
}

#[cfg(test)]
mod tests {
    use super::super::value::Value;
    use super::*;

    fn error(line: &str) -> DecodeError {
        Decoder::default().decode(line.as_bytes(), |_| ()).unwrap_err()
    }

    #[test]
    fn every_type_is_reached_in_order() {
        let line = br#"{"Item":{"s":{"S":"a\"b"},"n":{"N":"1.5"},"b":{"B":"AQI="},"t":{"BOOL":true},"z":{"NULL":true},"m":{"M":{"x":{"L":[{"N":"1"},{"SS":["p","q"]}]}}},"l":{"L":[]},"ns":{"NS":["1","2"]},"bs":{"BS":["AQ=="]},"e":{"M":{}}}}"#;
        let mut decoder = Decoder::default();
        for _ in 0..2 {
            let tags = decoder
                .decode(line, |item| {
                    let Some(Value::M(map)) = item.get("m") else { panic!("no map") };
                    let Some(Value::L(list)) = map.get("x") else { panic!("no list") };
                    let inner: Vec<_> = list.iter().map(|value| value.tag()).collect();
                    assert_eq!(inner, ["N", "SS"]);
                    assert!(matches!(item.get("s"), Some(Value::S("a\"b"))));
                    item.attributes().iter().map(|(_, value)| value.tag()).collect::<Vec<_>>()
                })
                .unwrap();
            assert_eq!(tags, ["S", "N", "B", "BOOL", "NULL", "M", "L", "NS", "BS", "M"]);
        }
    }

    #[test]
    fn what_dynamodb_cannot_hold_is_refused_with_its_reason() {
        assert_eq!(error(r#"{"Item":{"a":{"S":"x"}}"#), DecodeError::Json);
        assert_eq!(error(r#"{"Item":{"a":{"S":"\ud800"}}}"#), DecodeError::Json);
        assert_eq!(error(r#"{"Keys":{"a":{"S":"x"}}}"#), DecodeError::NoItem);
        assert_eq!(error(r#"{"Item":{"a":{"S":"x"}},"More":1}"#), DecodeError::NoItem);
        assert_eq!(error(r#"{"Item":{"a":{"S":1}}}"#), DecodeError::NotDynamoDbJson);
        assert_eq!(error(r#"{"Item":{"a":{"NULL":false}}}"#), DecodeError::NotDynamoDbJson);
        assert_eq!(error(r#"{"Item":{"a":{"S":"x","N":"1"}}}"#), DecodeError::NotDynamoDbJson);
        assert_eq!(error(r#"{"Item":{"a":{"SS":[]}}}"#), DecodeError::EmptySet);
        assert_eq!(error(r#"{"Item":{"a":{"N":"1e999"}}}"#), DecodeError::Number);
        assert_eq!(error(r#"{"Item":{"a":{"B":"AQI"}}}"#), DecodeError::Base64);
        assert_eq!(error(r#"{"Item":{"a":{"B":"AR=="}}}"#), DecodeError::Base64);
        assert_eq!(error(r#"{"Item":{"a":{"S":"1"},"a":{"S":"2"}}}"#), DecodeError::NamedTwice);
        assert_eq!(error(r#"{"Item":{"m":{"M":{"a":{"S":"1"},"a":{"S":"2"}}}}}"#), DecodeError::NamedTwice);
    }

    #[test]
    fn a_name_is_found_twice_in_narrow_and_in_wide_maps() {
        for width in [2, names::NARROW, names::NARROW + 1, 2000] {
            for stem in ["", "a", "abcd", "attribute_", "same_beginning_and_the_same_ending_"] {
                let mut names: Vec<String> = (0..width).map(|number| format!("{stem}{number}{stem}")).collect();
                let line = |names: &[String]| {
                    let all: Vec<_> = names.iter().map(|name| format!("\"{name}\":{{\"NULL\":true}}")).collect();
                    format!("{{\"Item\":{{{}}}}}", all.join(","))
                };
                assert!(Decoder::default().decode(line(&names).as_bytes(), |_| ()).is_ok(), "{stem} {width}");
                names[width / 2 - 1] = names[width - 1].clone();
                assert_eq!(error(&line(&names)), DecodeError::NamedTwice, "{stem} {width}");
            }
        }
    }

    #[test]
    fn the_short_way_to_check_a_number_agrees_with_the_long() {
        let alphabet = b"-+.0019eE ";
        for mut code in 0..100_000_usize {
            let mut text = String::new();
            for _ in 0..5 {
                text.push(char::from(alphabet[code % alphabet.len()]));
                code /= alphabet.len();
            }
            for text in [text.as_str(), text.trim_end()] {
                assert_eq!(check_number(text), check_long_number(text), "{text}");
            }
        }
        for length in [37, 38, 39, 40] {
            for text in ["9".repeat(length), format!("-{}", "9".repeat(length)), format!("0.{}", "1".repeat(length))] {
                assert_eq!(check_number(&text), check_long_number(&text), "{text}");
            }
        }
    }

    #[test]
    fn nesting_ends_at_dynamodbs_limit() {
        let nested = |levels: usize| {
            format!("{{\"Item\":{{\"a\":{}{{\"NULL\":true}}{}}}}}", "{\"L\":[".repeat(levels), "]}".repeat(levels))
        };
        assert!(Decoder::default().decode(nested(MAX_DEPTH).as_bytes(), |_| ()).is_ok());
        assert_eq!(error(&nested(MAX_DEPTH + 1)), DecodeError::TooDeep);
    }
}
