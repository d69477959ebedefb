//! Cuts the body of a Scan answer into DynamoDB JSON lines, and finds the few members of an answer that are not items.
//!
//! Promises: an item's bytes are copied as they came, never parsed and printed again, so that a number of 38 digits stays
//! what the server wrote. The body is read by JSON's grammar (RFC 8259) to its last byte, and the number of items must be
//! the answer's `Count`: a body that is cut short, doubled or otherwise not what it should be is an error, never a
//! shorter page. Must not know: what the values mean, nor who asked.

use super::json::{Malformed, Members, skip_space, skip_value};
use memchr::memchr2;

/// What a Scan answer holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScanBody<'a> {
    /// `{"Item":{…}}` and a newline for each item.
    pub lines: Vec<u8>,
    /// How many lines.
    pub items: u64,
    /// `LastEvaluatedKey` as it came; none at the segment's end.
    pub next: Option<&'a [u8]>,
    /// `ConsumedCapacity` as it came.
    pub consumed: Option<&'a [u8]>,
}

/// What stands around an item in a line.
const OPEN: &[u8] = b"{\"Item\":";
const CLOSE: &[u8] = b"}\n";

/// Cuts the body of a Scan answer.
///
/// # Errors
/// `Malformed`, which names the place and what was expected there, never a value.
pub fn cut_scan(body: &[u8]) -> Result<ScanBody<'_>, Malformed> {
    if std::str::from_utf8(body).is_err() {
        return Err(Malformed::new(0, "UTF-8"));
    }
    let mut cut = ScanBody::default();
    let (mut count, mut items_seen) = (None, false);
    let mut members = Members::open(body)?;
    while let Some((name, at)) = members.next_member()? {
        let end = match name {
            b"Items" if items_seen => return Err(Malformed::new(at, "one list of items")),
            b"Items" => {
                items_seen = true;
                // lines are longer than what they are cut from by 9 bytes an item
                cut.lines.reserve(body.len() + body.len() / 8);
                cut_items(body, at, &mut cut)?
            }
            _ => skip_value(body, at)?,
        };
        let value = body.get(at..end).unwrap_or_default();
        match name {
            b"Count" => count = Some(number(value).ok_or(Malformed::new(at, "a count"))?),
            b"LastEvaluatedKey" => cut.next = object(value, at)?,
            b"ConsumedCapacity" => cut.consumed = object(value, at)?,
            _ => {}
        }
        members.resume(end);
    }
    if !items_seen {
        return Err(Malformed::new(body.len(), "a list of items"));
    }
    if count != Some(cut.items) {
        return Err(Malformed::new(body.len(), "as many items as Count says"));
    }
    Ok(cut)
}

/// Copies the items of the list at `at` into lines; gives the place after it.
fn cut_items(body: &[u8], at: usize, cut: &mut ScanBody<'_>) -> Result<usize, Malformed> {
    if body.get(at) != Some(&b'[') {
        return Err(Malformed::new(at, "a list of items"));
    }
    let mut at = skip_space(body, at + 1);
    if body.get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    loop {
        if body.get(at) != Some(&b'{') {
            return Err(Malformed::new(at, "an item"));
        }
        let end = skip_value(body, at)?;
        cut.lines.extend_from_slice(OPEN);
        push_on_one_line(&mut cut.lines, body.get(at..end).unwrap_or_default());
        cut.lines.extend_from_slice(CLOSE);
        cut.items += 1;
        at = skip_space(body, end);
        match body.get(at) {
            Some(b',') => at = skip_space(body, at + 1),
            Some(b']') => return Ok(at + 1),
            _ => return Err(Malformed::new(at, "`,` or `]`")),
        }
    }
}

/// Appends valid JSON without its line ends: those can only stand between its tokens, for in a string they are escaped.
pub fn push_on_one_line(lines: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(end) = memchr2(b'\n', b'\r', rest) {
        let (line, tail) = rest.split_at(end);
        lines.extend_from_slice(line);
        rest = tail.get(1..).unwrap_or_default();
    }
    lines.extend_from_slice(rest);
}

/// A member that is an object, or absent, which `null` says as well.
fn object(value: &[u8], at: usize) -> Result<Option<&[u8]>, Malformed> {
    match value {
        [b'{', inner @ .., b'}'] if inner.iter().any(|byte| !byte.is_ascii_whitespace()) => Ok(Some(value)),
        b"null" => Ok(None),
        _ => Err(Malformed::new(at, "an object with members")),
    }
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cut(text: &str) -> Result<ScanBody<'_>, Malformed> {
        cut_scan(text.as_bytes())
    }

    #[test]
    fn items_are_copied_byte_by_byte() {
        let item = r#"{"n":{"N":"-0.10e5"},"s":{"S":"\"]}\\ é \u00e9"},"e":{"L":[]},"m":{"M":{}}}"#;
        for body in [
            format!(r#"{{"Count":2,"Items":[{item},{{}}],"LastEvaluatedKey":{{"k":{{"S":"}}"}}}},"ScannedCount":9}}"#),
            format!(
                " {{ \"LastEvaluatedKey\" : {{\"k\":{{\"S\":\"}}\"}}}},\n\t\"Items\" : [ {item} , {{}} ] , \"x\":null, \"Count\":2 }}\r\n"
            ),
        ] {
            let cut = cut(&body).unwrap();
            assert_eq!(String::from_utf8(cut.lines).unwrap(), format!("{{\"Item\":{item}}}\n{{\"Item\":{{}}}}\n"));
            assert_eq!((cut.items, cut.next), (2, Some(r#"{"k":{"S":"}"}}"#.as_bytes())));
        }
        let spread = cut("{\"Items\":[{\"a\":\r\n{\"S\":\"\\n\"}\n}],\"Count\":1,\"LastEvaluatedKey\":null}").unwrap();
        assert_eq!((spread.lines, spread.next), (b"{\"Item\":{\"a\":{\"S\":\"\\n\"}}}\n".to_vec(), None));
    }

    #[test]
    fn a_body_that_is_not_whole_is_refused() {
        let whole = r#"{"Items":[{"a":{"S":"x"}},{"b":{"N":"1"}}],"Count":2,"LastEvaluatedKey":{"a":{"S":"y"}}}"#;
        assert!(cut(whole).is_ok());
        for end in 0..whole.len() {
            let part = whole.get(..end).unwrap();
            assert!(cut(part).is_err(), "{part}");
        }
        for wrong in [
            r#"{"Items":[{}],"Count":2}"#,
            r#"{"Items":[{}]}"#,
            r#"{"Count":0}"#,
            r#"{"Items":[{}],"Items":[],"Count":1}"#,
            r#"{"Items":[1],"Count":1}"#,
            r#"{"Items":[],"Count":0,"LastEvaluatedKey":{}}"#,
            r#"{"Items":[],"Count":0,"LastEvaluatedKey":"k"}"#,
            r#"{"Items":[],"Count":0} {}"#,
            r#"{"Items":[],"Count":0,}"#,
            r#"{"Items":[{},],"Count":1}"#,
            "{\"Items\":[{\"a\":{\"S\":\"\n\"}}],\"Count\":1}",
        ] {
            assert!(cut(wrong).is_err(), "{wrong}");
        }
        assert!(cut_scan(b"{\"Items\":[{\"a\":{\"S\":\"\xff\"}}],\"Count\":1}").is_err());
    }

    fn value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            ".*".prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(".*", inner, 0..5).prop_map(|map| json!(map))
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn what_serde_json_reads_is_cut_alike_and_what_it_refuses_is_refused(
            values in proptest::collection::vec(proptest::collection::hash_map(".*", value(), 0..4), 0..5),
            pretty: bool,
            at: proptest::sample::Index,
            byte in "[\\[\\]{}\",:\\\\ 0-9a-z\n-]",
        ) {
            let body = json!({"Items": values, "Count": values.len(), "LastEvaluatedKey": {"k": 1}});
            let text = if pretty { serde_json::to_string_pretty(&body).unwrap() } else { body.to_string() };
            let cut = cut_scan(text.as_bytes()).unwrap();
            let lines: Vec<Value> = cut.lines.split_inclusive(|byte| *byte == b'\n')
                .map(|line| serde_json::from_slice::<Value>(line).unwrap()["Item"].take()).collect();
            proptest::prop_assert_eq!(json!(lines), body["Items"].clone());
            // one byte another: refused wherever the other parser refuses; that a number is too large for a float is none
            // of the grammar's business, so the other one is not to read numbers either
            let mut damaged = text.into_bytes();
            let at = at.index(damaged.len());
            damaged[at] = byte.as_bytes()[0];
            if serde_json::from_slice::<serde::de::IgnoredAny>(&damaged).is_err() && !damaged.windows(3).any(|part| part == b"\\ud") {
                proptest::prop_assert!(cut_scan(&damaged).is_err());
            }
        }
    }
}
