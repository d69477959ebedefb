//! Items to items: what each rule does, what is refused, and an independent implementation to agree with.

use super::*;
use crate::mapping::Mapped;
use crate::model::decode::Decoder;
use crate::model::rows::{CellRef, Rows};
use proptest::prelude::*;
use serde_json::{Map as JsonMap, Value as Json, json};

const KEY: &str = "key = \"pk:S,sk:N\"\n";

fn mapping(section: &str) -> Mapping {
    Mapping::parse_items(&format!("{KEY}{section}"), "m.toml", "t").unwrap()
}

fn refusal(section: &str) -> String {
    Mapping::parse_items(&format!("{KEY}{section}"), "m.toml", "t").unwrap_err().to_string()
}

/// The target item and its key cells, or the reason of the reject.
fn map(mapping: &Mapping, item: &str) -> Result<(Json, Vec<Vec<u8>>), String> {
    let line = format!("{{\"Item\":{item}}}");
    let columns = mapping.tables()[0].columns.len();
    let mut rows = [Rows::new(columns)];
    let mut mapper = mapping.mapper();
    let mapped =
        Decoder::default().decode(line.as_bytes(), |item| mapper.map(item, line.as_bytes(), 0, &mut rows)).unwrap();
    match mapped {
        Mapped::Rejected(reject) => Err(reject.reason),
        Mapped::Skipped => panic!("nothing is skipped"),
        Mapped::Row(_) => {
            let cells: Vec<Vec<u8>> = rows[0]
                .row(0)
                .map(|cell| match cell {
                    CellRef::Text(bytes) | CellRef::Bytes(bytes) => bytes.to_vec(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let (item, key) = cells.split_last().unwrap();
            Ok((serde_json::from_slice(item).unwrap(), key.to_vec()))
        }
    }
}

#[test]
fn without_rules_the_bytes_stay() {
    let key = parse_key("pk:S,sk:N").unwrap();
    let mapping = Mapping::items(&key, "t").unwrap();
    assert_eq!(mapping.target_key(), key);
    // an attribute called as our own column, and one that MySQL would not take for a column
    let item = r#"{"item":{"S":"x"}, "sk":{"N":"1.0"},"pk":{"S":"a"},"":{"NULL":true}}"#;
    let line = format!("{{\"Item\":{item}}}");
    let mut rows = [Rows::new(3)];
    let mapped = Decoder::default()
        .decode(line.as_bytes(), |item| mapping.mapper().map(item, line.as_bytes(), 0, &mut rows))
        .unwrap();
    assert_eq!(mapped, Mapped::Row(0));
    assert_eq!(rows[0].cell(0, 2), CellRef::Text(item.as_bytes()));
}

#[test]
fn rules_rename_raise_drop_and_retype() {
    let mapping = mapping(
        r#"[item]
drop = ["legacy", "address.old"]
attribute = [
    { name = "customer", from = "pk" },
    { name = "zip", from = "address.zip" },
    { name = "first", from = "tags[0]", copy = true },
    { name = "total", type = "N" },
    { name = "code", type = "S" },
]"#,
    );
    assert_eq!(mapping.target_key(), parse_key("customer:S,sk:N").unwrap());
    let item = r#"{"pk":{"S":"c"},"sk":{"N":"7"},"address":{"M":{"zip":{"S":"1"},"old":{"N":"2"},"city":{"S":"B"}}},
        "legacy":{"NULL":true},"tags":{"L":[{"S":"x"},{"S":"y"}]},"total":{"S":"1.50"},"code":{"N":"12e1"}}"#;
    let (target, key) = map(&mapping, &item.replace('\n', "")).unwrap();
    let expected = json!({
        "customer": {"S": "c"}, "sk": {"N": "7"}, "zip": {"S": "1"}, "first": {"S": "x"},
        "address": {"M": {"city": {"S": "B"}}}, "tags": {"L": [{"S": "x"}, {"S": "y"}]},
        "total": {"N": "1.5"}, "code": {"S": "120"},
    });
    assert_eq!(target, expected);
    assert_eq!(key[0], b"c");
    // what an item does not have is not missed
    let (target, _) = map(&mapping, r#"{"pk":{"S":"c"},"sk":{"N":"7"},"address":{"NULL":true}}"#).unwrap();
    assert_eq!(target, json!({"customer": {"S": "c"}, "sk": {"N": "7"}, "address": {"NULL": true}}));
}

#[test]
fn what_a_rule_cannot_do_rejects_the_item() {
    let mapping = mapping(
        r#"[item]
attribute = [
    { name = "zip", from = "address.zip" },
    { name = "total", type = "N" },
    { name = "must", from = "may", missing = "reject" },
]"#,
    );
    for (rest, said) in [
        (r#""may":{"S":""},"address":{"S":"x"}"#, "leads into type S"),
        (r#""may":{"S":""},"address":{"M":{"zip":{"S":"1"}}},"zip":{"S":"2"}"#, "of this name already"),
        (r#""may":{"S":""},"total":{"S":"1,5"}"#, "no number"),
        (r#""may":{"S":""},"total":{"NULL":true}"#, "only a text or a number"),
        (r#""total":{"N":"1"}"#, "missing"),
    ] {
        let reason = map(&mapping, &format!("{{\"pk\":{{\"S\":\"c\"}},\"sk\":{{\"N\":\"7\"}},{rest}}}")).unwrap_err();
        assert!(reason.contains(said), "{rest}: {reason}");
    }
}

#[test]
fn further_attributes_may_be_part_of_the_key_and_must_then_be_there() {
    let text = "key = \"id:S\"\n[item]\ntarget_key = \"zone:S,id:S\"\n\
                attribute = { name = \"zone\", from = \"place.zone\" }\n";
    let mapping = Mapping::parse_items(text, "m.toml", "t").unwrap();
    assert_eq!(mapping.target_key(), parse_key("zone:S,id:S").unwrap());
    let (_, key) = map(&mapping, r#"{"id":{"S":"a"},"place":{"M":{"zone":{"S":"z"}}}}"#).unwrap();
    assert_eq!(key, [b"z".to_vec(), b"a".to_vec()]);
    for item in [r#"{"id":{"S":"a"}}"#, r#"{"id":{"S":"a"},"place":{"M":{"zone":{"N":"1"}}}}"#] {
        assert!(map(&mapping, item).is_err(), "{item}");
    }
}

#[test]
fn a_key_that_could_merge_items_is_refused() {
    for (section, said) in [
        ("[item]\ntarget_key = \"pk:S\"", "lacks sk"),
        ("[item]\ntarget_key = \"pk:S,zip:S\"", "lacks sk"),
        ("[item]\ntarget_key = \"pk:S,sk:S\"", "type S and has the values of sk"),
        ("[item]\nattribute = { name = \"sk\", type = \"S\" }", "keeps its type"),
        ("[item]\nattribute = { name = \"n\", from = \"sk\", type = \"S\" }", "keeps its type"),
        ("[item]\ndrop = \"pk\"", "part of the key"),
        ("[item]\ntarget_key = \"pk:S,sk:N\"\nattribute = { name = \"other\", from = \"pk\" }", "moved away"),
        ("[item]\nattribute = [{ name = \"pk\", from = \"a\" }]", "lacks pk"),
    ] {
        let message = refusal(section);
        assert!(message.contains(said) && message.contains("m.toml, line"), "{section}: {message}");
    }
}

#[test]
fn a_section_that_cannot_be_followed_names_line_and_attribute() {
    for (section, said) in [
        ("", "no [item] section"),
        ("[[table]]\nname = \"x\"", "[[table]] is for SQL"),
        ("[item]\nfoo = 1", "foo is not a field"),
        ("[item]\n[[item.attribute]]\nname = \"a\"\nfrom = \"b[\"", "line 5: attribute a"),
        ("[item]\n[[item.attribute]]\nname = \"a\"\ntype = \"B\"", "must be one of S, N"),
        ("[item]\n[[item.attribute]]\nname = \"a\"\nfrom = \"l[0]\"", "element of a list"),
        ("[item]\ndrop = [\"l[0]\"]", "element of a list"),
        ("[item]\nattribute = [{ name = \"a\", from = \"x\" }, { name = \"a\", from = \"y\" }]", "another rule"),
        ("[item]\nattribute = [{ name = \"a\", from = \"x\" }, { name = \"b\", from = \"x\" }]", "moves x already"),
        ("[item]\nattribute = { name = \"a\", copy = true }", "drop copy"),
    ] {
        let message = refusal(section);
        assert!(message.contains(said), "{section}: {message}");
    }
    let sql = Mapping::parse(&format!("{KEY}[item]\n"), "m.toml").unwrap_err().to_string();
    assert!(sql.contains("DynamoDB target"), "{sql}");
}

#[test]
fn identity_follows_the_rules() {
    let first = mapping("[item]\nattribute = { name = \"a\", from = \"b\" }");
    assert_eq!(first.identity(), mapping("\n[item]\n[[item.attribute]]\nfrom = \"b\"\nname = \"a\"").identity());
    assert_ne!(first.identity(), mapping("[item]\nattribute = { name = \"a\", from = \"c\" }").identity());
    assert_ne!(first.identity(), Mapping::items(&parse_key("pk:S,sk:N").unwrap(), "t").unwrap().identity());
}

/// A rule as the independent implementation has it: name, path, type, copy.
type PlainRule = (&'static str, &'static [&'static str], Option<&'static str>, bool);

const PLAIN_RULES: [PlainRule; 5] = [
    ("raised", &["a", "b"], None, false),
    ("renamed", &["c"], None, false),
    ("b", &["b"], Some("N"), false),
    ("text", &["d"], Some("S"), true),
    ("copied", &["a", "c", "0"], None, true),
];
const PLAIN_DROPS: [&[&str]; 2] = [&["e"], &["a", "d"]];
const SECTION: &str = r#"[item]
drop = ["e", "a.d"]
attribute = [
    { name = "raised", from = "a.b" },
    { name = "renamed", from = "c" },
    { name = "b", type = "N" },
    { name = "text", from = "d", type = "S", copy = true },
    { name = "copied", from = "a.c[0]", copy = true },
]"#;

/// What lies at the path: an error when it is blocked.
fn look_up<'v>(item: &'v JsonMap<String, Json>, path: &[&str]) -> Result<Option<&'v Json>, ()> {
    let (first, rest) = path.split_first().unwrap();
    let Some(mut value) = item.get(*first) else { return Ok(None) };
    for step in rest {
        let (tag, payload) = value.as_object().unwrap().iter().next().unwrap();
        let next = match (tag.as_str(), step.parse::<usize>()) {
            ("M", Err(_)) => payload.get(step),
            ("L", Ok(index)) => payload.get(index),
            ("NULL", _) => None,
            _ => return Err(()),
        };
        let Some(next) = next else { return Ok(None) };
        value = next;
    }
    Ok(Some(value))
}

fn remove(members: &mut JsonMap<String, Json>, path: &[&str]) {
    match path {
        [last] => drop(members.remove(*last)),
        [first, rest @ ..] => {
            if let Some(inner) = members.get_mut(*first).and_then(|value| value.get_mut("M")?.as_object_mut()) {
                remove(inner, rest);
            }
        }
        [] => {}
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The rules, followed on a tree; none when the item is rejected.
fn reference(item: &Json) -> Option<Json> {
    let source = item.as_object().unwrap();
    let mut target = source.clone();
    for path in PLAIN_DROPS.iter().chain(PLAIN_RULES.iter().filter(|rule| !rule.3).map(|rule| &rule.1)) {
        remove(&mut target, path);
    }
    for (name, path, ty, _) in PLAIN_RULES {
        let Some(value) = look_up(source, path).ok()? else { continue };
        let (tag, payload) = value.as_object().unwrap().iter().next().unwrap();
        let value = match (ty, tag.as_str()) {
            (None, _) => value.clone(),
            (Some(ty), tag) if ty == tag => value.clone(),
            (Some("S"), "N") => json!({ "S": payload }),
            (Some("N"), "S") if is_number(payload.as_str()?) => {
                json!({ "N": payload.as_str()?.parse::<u64>().unwrap().to_string() })
            }
            _ => return None,
        };
        if target.insert(name.to_owned(), value).is_some() {
            return None;
        }
    }
    Some(Json::Object(target))
}

fn any_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        "[0-9a-c\"\\\\é]{0,3}".prop_map(|text| json!({ "S": text })),
        (0..99_999_u32).prop_map(|number| json!({ "N": number.to_string() })),
        any::<bool>().prop_map(|value| json!({ "BOOL": value })),
        Just(json!({ "NULL": true })),
        Just(json!({ "B": "AQ==" })),
        Just(json!({ "SS": ["x", "y"] })),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|list| json!({ "L": list })),
            prop::collection::hash_map("[a-e]", inner, 0..4).prop_map(|map| json!({ "M": map })),
        ]
    })
}

proptest! {
    #[test]
    fn any_item_becomes_what_an_independent_implementation_makes_of_it(
        mut members in prop::collection::hash_map("[a-e]|raised|copied", any_value(), 0..7),
        pk in "[a-z]{1,5}",
        sk in 0..1000_u32,
    ) {
        members.insert("pk".into(), json!({ "S": pk }));
        members.insert("sk".into(), json!({ "N": sk.to_string() }));
        let item = json!(members);
        let mapped = map(&mapping(SECTION), &item.to_string());
        match reference(&item) {
            None => prop_assert!(mapped.is_err(), "{item} was taken"),
            Some(expected) => {
                let (target, key) = mapped.unwrap();
                prop_assert_eq!(target, expected);
                prop_assert_eq!(&key[0], pk.as_bytes());
            }
        }
    }
}
