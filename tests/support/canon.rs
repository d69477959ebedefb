//! Items compared by meaning, independently of the engine: `serde_json` trees in one canonical form.
//!
//! Names are sorted (by `serde_json`'s map), sets are sorted, numbers are spelled in one way; nothing else is touched, so
//! that whatever else differs is found.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// A DynamoDB item in canonical form.
pub(crate) fn item(item: &Value) -> Value {
    Value::Object(members(item.as_object().expect("an item is an object")))
}

/// The item of an export's line, in canonical form.
pub(crate) fn line(line: &[u8]) -> Value {
    let line: Value = serde_json::from_slice(line).expect("a line is JSON");
    item(&line["Item"])
}

/// Canonical items in one order.
pub(crate) fn sorted_items(mut items: Vec<Value>) -> Vec<Value> {
    items.sort_by_cached_key(Value::to_string);
    items
}

fn members(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(value: &Value) -> Value {
    let object = value.as_object().expect("a value has a type tag");
    assert_eq!(object.len(), 1, "one type tag in {value}");
    let (tag, inner) = object.iter().next().unwrap();
    let inner = match (tag.as_str(), inner) {
        ("N", Value::String(text)) => json!(number(text)),
        ("NS", Value::Array(members)) => sorted(members.iter().map(|member| number(text(member))).collect()),
        ("SS" | "BS", Value::Array(members)) => sorted(members.iter().map(|member| text(member).to_owned()).collect()),
        ("M", Value::Object(map)) => Value::Object(members(map)),
        ("L", Value::Array(list)) => list.iter().map(attribute).collect(),
        ("S" | "B", Value::String(_)) | ("BOOL", Value::Bool(_)) | ("NULL", Value::Bool(true)) => inner.clone(),
        _ => panic!("no DynamoDB value: {value}"),
    };
    json!({ tag: inner })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn sorted(mut members: Vec<String>) -> Value {
    members.sort();
    json!(members)
}

/// A number's one spelling: sign, significant digits, power of ten.
pub(crate) fn number(text: &str) -> String {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    assert!(!all.is_empty() && all.bytes().all(|byte| byte.is_ascii_digit()), "no number: {text}");
    let significant = all.trim_end_matches('0');
    let dropped = all.len() - significant.len();
    let power = exponent.parse::<i64>().expect("an exponent") - fraction.len() as i64 + dropped as i64;
    match significant.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => format!("{sign}{digits}e{power}"),
    }
}

/// What the key column of a key attribute holds in document mode, as text to compare: the attribute's own value.
pub(crate) fn key(attribute: &Value) -> String {
    match attribute.as_object().and_then(|object| object.iter().next()) {
        Some((tag, Value::String(text))) => match tag.as_str() {
            "S" => hex(text.as_bytes()),
            "B" => hex(&STANDARD.decode(text).expect("base64")),
            "N" => number(text),
            other => panic!("no key is of type {other}"),
        },
        _ => panic!("no key: {attribute}"),
    }
}

/// The same of what the column holds: bytes as they are, a number decoded from its order-preserving bytes.
pub(crate) fn key_column(tag: &str, bytes: &[u8]) -> String {
    if tag == "N" { number_of_key(bytes) } else { hex(bytes) }
}

/// Decodes a number key by its documented format: `80`, or `81`, exponent + 129, pairs + 1; or `7f` and complements.
fn number_of_key(key: &[u8]) -> String {
    let (sign, exponent, pairs): (&str, i64, Vec<u8>) = match key {
        [0x80] => return "0".to_owned(),
        [0x81, exponent, pairs @ ..] => ("", i64::from(*exponent), pairs.iter().map(|pair| pair - 1).collect()),
        [0x7f, exponent, pairs @ .., 0xff] => {
            ("-", 255 - i64::from(*exponent), pairs.iter().map(|pair| 254 - pair).collect())
        }
        _ => panic!("no number key: {key:?}"),
    };
    let digits: String = pairs.iter().map(|pair| format!("{pair:02}")).collect();
    // the value is 0.digits · 10^(exponent - 129)
    number(&format!("{sign}{digits}e{}", exponent - 129 - digits.len() as i64))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn numbers_have_one_spelling() {
    for (text, expected) in [
        ("0", "0"),
        ("-0.00", "0"),
        ("0e9", "0"),
        ("100", "1e2"),
        ("1E2", "1e2"),
        ("0.10", "1e-1"),
        ("-12.50", "-125e-1"),
        ("007", "7e0"),
    ] {
        assert_eq!(number(text), expected, "{text}");
    }
    assert_eq!(number_of_key(&[0x81, 130, 11]), "1e0");
    assert_eq!(number_of_key(&[0x7f, 125, 254 - 12, 254 - 50, 0xff]), "-125e-2");
}

#[test]
fn what_differs_stays_different() {
    let differ = [
        (r#"{"a":{"S":"1"}}"#, r#"{"a":{"N":"1"}}"#),
        (r#"{"a":{"S":"x "}}"#, r#"{"a":{"S":"x"}}"#),
        (r#"{"a":{"L":[{"N":"1"},{"N":"2"}]}}"#, r#"{"a":{"L":[{"N":"2"},{"N":"1"}]}}"#),
        (r#"{"a":{"SS":["a","b"]}}"#, r#"{"a":{"SS":["a"]}}"#),
        (r#"{"a":{"N":"1.0000000000000000000000000000000000001"}}"#, r#"{"a":{"N":"1"}}"#),
    ];
    let canonical = |text: &str| item(&serde_json::from_str(text).unwrap());
    for (one, other) in differ {
        assert_ne!(canonical(one), canonical(other));
    }
    let same = [
        (r#"{"a":{"N":"1.0"},"b":{"NS":["2","1"]}}"#, r#"{"b":{"NS":["1.0","2e0"]},"a":{"N":"1"}}"#),
        (r#"{"a":{"SS":["b","\u0061"]}}"#, r#"{"a":{"SS":["a","b"]}}"#),
    ];
    for (one, other) in same {
        assert_eq!(canonical(one), canonical(other));
    }
}
