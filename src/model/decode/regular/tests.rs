//! The reference is the judge: of generated lines, of the awkward ones, and of lines with something changed.

use super::super::{Decoder, item};
use super::*;
use proptest::prelude::*;
use simd_json::{Buffers, Tape};

/// What the reference makes of a line: its nodes, as text.
fn reference(line: &[u8]) -> Option<String> {
    let mut scratch = line.to_vec();
    let mut tape = Tape(Vec::new());
    simd_json::fill_tape(&mut scratch, &mut Buffers::new(64), &mut tape).ok()?;
    item(&tape.0).ok()?;
    Some(format!("{:?}", tape.0))
}

fn regular(line: &[u8]) -> Option<String> {
    let mut unescaped = vec![0xff; line.len()];
    let mut nodes = Vec::new();
    parse(line, &mut unescaped, &mut nodes)?;
    Some(format!("{nodes:?}"))
}

/// Accepted by both or by the reference alone; by both, with the same nodes.
fn agrees(line: &[u8]) -> bool {
    regular(line).is_none_or(|nodes| reference(line).as_ref() == Some(&nodes))
}

fn accepted(line: &str) -> bool {
    assert!(agrees(line.as_bytes()), "{line}");
    regular(line.as_bytes()).is_some()
}

#[test]
fn a_line_as_dynamodb_writes_it_needs_no_reference() {
    for item in [
        r#"{}"#,
        r#"{"customer_id":{"S":"cust-00000001"},"total":{"N":"-12.50"},"gift":{"BOOL":false},"paid":{"BOOL":true}}"#,
        r#"{"address":{"M":{"street":{"S":"1 \"Mill\" Row\\\/\n\t\r"},"geo":{"L":[{"N":"1"},{"NULL":true},{"M":{}}]}}}}"#,
        r#"{"s":{"SS":["a","é😀"]},"n":{"NS":["1","2e5"]},"b":{"BS":["AQ==",""]},"x":{"B":"AQI="},"l":{"L":[]},"":{"S":""}}"#,
    ] {
        assert!(accepted(&format!("{{\"Item\":{item}}}")), "{item}");
    }
}

#[test]
fn what_is_unusual_is_left_to_the_reference() {
    for line in [
        "",
        r#"{"Item":{"a":{"S":"x"}} }"#,
        r#"{"Item":{"a": {"S":"x"}}}"#,
        r#"{"Item":{"a":{"S":"\u0041"}}}"#,
        r#"{"Item":{"a":{"S":"\b\f"}}}"#,
        r#"{"Item":{"a":{"S":"x"}}"#,
        r#"{"Item":{"a":{"S":"x"}}}}"#,
        r#"{"Item":{"a":{"S":"x"},}}"#,
        r#"{"Item":{"a":{"S":"x","N":"1"}}}"#,
        r#"{"Item":{"a":{"S":"1"},"a":{"S":"2"}}}"#,
        r#"{"Item":{"a":{"S":1}}}"#,
        r#"{"Item":{"a":{"N":"one"}}}"#,
        r#"{"Item":{"a":{"B":"AR=="}}}"#,
        r#"{"Item":{"a":{"NULL":false}}}"#,
        r#"{"Item":{"a":{"BOOL":null}}}"#,
        r#"{"Item":{"a":{"SS":[]}}}"#,
        r#"{"Item":{"a":{"NS":["x"]}}}"#,
        r#"{"Item":{"a":{"BS":["x"]}}}"#,
        r#"{"Item":{"a":{"X":"x"}}}"#,
        r#"{"Keys":{"a":{"S":"x"}}}"#,
        "{\"Item\":{\"a\":{\"S\":\"\u{1}\"}}}",
        "{\"Item\":{\"a\":{\"S\":\"q\\\"\u{1}\"}}}",
    ] {
        assert!(!accepted(line), "{line}");
    }
    assert!(!accepted(&format!(
        "{{\"Item\":{{\"a\":{}{{\"NULL\":true}}{}}}}}",
        "{\"L\":[".repeat(33),
        "]}".repeat(33)
    )));
    assert!(accepted(&format!("{{\"Item\":{{\"a\":{}{{\"NULL\":true}}{}}}}}", "{\"L\":[".repeat(32), "]}".repeat(32))));
    assert!(regular(b"{\"Item\":{\"a\":{\"S\":\"\xff\"}}}").is_none());
}

#[test]
fn both_ways_give_the_caller_the_same_item() {
    let line = br#"{"Item":{"a":{"S":"q\"\\"},"m":{"M":{"l":{"L":[{"N":"1.5"},{"SS":["p"]}]}}}}}"#;
    let mut decoder = Decoder::default();
    let regular = decoder.decode(line, |item| format!("{item:?}")).unwrap();
    assert_eq!(decoder.decode_any(line, |item| format!("{item:?}")).unwrap(), regular);
    // after a line that only the reference accepts, too
    assert!(decoder.decode(br#"{"Item" : {"a":{"S":"\u0041"}}}"#, |_| ()).is_ok());
    assert_eq!(decoder.decode(line, |item| format!("{item:?}")).unwrap(), regular);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{0,12}",
        prop::collection::vec(
            prop_oneof![
                "[a-z]{1,9}",
                Just("\\\"".to_owned()),
                Just("\\\\".into()),
                Just("\\n".into()),
                Just("\\/".into()),
                Just("é".into()),
                Just("😀".into())
            ],
            0..6
        )
        .prop_map(|parts| parts.concat()),
        Just("\\u00e9".to_owned()),
    ]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof!["-?[0-9]{1,6}(\\.[0-9]{1,4})?", "[0-9]{1,3}[eE][+-]?[0-9]{1,3}", "[0-9.]{0,4}"]
}

/// A value; rarely one that is none.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => text().prop_map(|text| format!("{{\"S\":\"{text}\"}}")),
        4 => number().prop_map(|number| format!("{{\"N\":\"{number}\"}}")),
        1 => "[A-Za-z0-9+/]{4}|[A-Za-z0-9+/][AQgw]==|[A-Z]{3}".prop_map(|base64| format!("{{\"B\":\"{base64}\"}}")),
        1 => any::<bool>().prop_map(|value| format!("{{\"BOOL\":{value}}}")),
        1 => Just("{\"NULL\":true}".to_owned()),
        1 => prop::collection::vec(text(), 0..4).prop_map(|members| set("SS", &members)),
        1 => prop::collection::vec(number(), 0..4).prop_map(|members| set("NS", &members)),
        1 => prop::collection::vec("[A-Z]{4}", 0..3).prop_map(|members| set("BS", &members)),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|list| format!("{{\"L\":[{}]}}", list.join(","))),
            prop::collection::vec((text(), inner), 0..5).prop_map(|members| format!("{{\"M\":{}}}", map(&members))),
        ]
    })
}

fn set(tag: &str, members: &[String]) -> String {
    let members: Vec<_> = members.iter().map(|member| format!("\"{member}\"")).collect();
    format!("{{\"{tag}\":[{}]}}", members.join(","))
}

fn map(members: &[(String, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_line_is_read_as_the_reference_reads_it(members in prop::collection::vec((text(), value()), 0..40)) {
        let line = format!("{{\"Item\":{}}}", map(&members));
        prop_assert!(agrees(line.as_bytes()), "{}", line);
        // and what it leaves alone is unusual, or no item
        if regular(line.as_bytes()).is_none() {
            prop_assert!(line.contains("\\u") || reference(line.as_bytes()).is_none(), "{}", line);
        }
    }

    #[test]
    fn a_changed_line_is_read_as_the_reference_reads_it(
        members in prop::collection::vec((text(), value()), 1..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4, prop::sample::select(b" \"\\{}[]:,0S\n\x01\xc3\xffe".to_vec())), 1..3)
    ) {
        let mut line = format!("{{\"Item\":{}}}", map(&members)).into_bytes();
        for (at, how, byte) in changes {
            let at = at.index(line.len());
            match how {
                0 => line[at] = byte,
                1 => line.insert(at, byte),
                2 => drop(line.remove(at)),
                _ => line.truncate(at + 1),
            }
        }
        prop_assert!(agrees(&line), "{}", String::from_utf8_lossy(&line));
    }
}
