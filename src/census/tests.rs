//! A census of parts is the census of the whole; its memory does not grow with what it is fed.

use super::*;
use crate::mapping::parse_key;
use crate::model::decode::Decoder;
use proptest::prelude::*;

fn counted(lines: &[String], pinned: &BTreeSet<String>) -> Census {
    let mut census = Census::new(&parse_key("pk:S,sk:N").unwrap(), pinned);
    let mut decoder = Decoder::default();
    for line in lines {
        if decoder.decode(line.as_bytes(), |item| census.add(item, line.len() as u64)).is_err() {
            census.add_broken();
        }
    }
    census
}

fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "[a-zA-Z#:0-9é]{0,9}".prop_map(|text| format!(r#"{{"S":"{text}"}}"#)),
        Just(r#"{"S":"2024-05-06T07:08:09Z"}"#.to_owned()),
        Just(r#"{"S":"2024-05-06"}"#.to_owned()),
        (-2_000_000_000_000_i64..2_000_000_000_000).prop_map(|number| format!(r#"{{"N":"{number}"}}"#)),
        (0_u32..9999, 0_u32..9999).prop_map(|(whole, part)| format!(r#"{{"N":"{whole}.{part}"}}"#)),
        any::<bool>().prop_map(|value| format!(r#"{{"BOOL":{value}}}"#)),
        Just(r#"{"NULL":true}"#.to_owned()),
        Just(r#"{"B":"AQID"}"#.to_owned()),
        Just(r#"{"SS":["a","b"]}"#.to_owned()),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|all| format!(r#"{{"L":[{}]}}"#, all.join(","))),
            proptest::collection::vec(inner, 0..4).prop_map(|all| {
                let members: Vec<_> =
                    all.iter().zip('a'..).map(|(value, name)| format!(r#""{name}":{value}"#)).collect();
                format!(r#"{{"M":{{{}}}}}"#, members.join(","))
            }),
        ]
    })
}

prop_compose! {
    fn line()(
        pk in "[A-C]#[0-9]{1,3}|[a-c]{2}",
        sk in 0_u32..500,
        attributes in proptest::collection::btree_map("[a-h]|type|kind", value(), 0..6),
        broken in 0_u8..30,
    ) -> String {
        if broken == 0 {
            return r#"{"Item":{"pk":{"S":1}}}"#.into();
        }
        let more: String = attributes.iter().map(|(name, value)| format!(r#","{name}":{value}"#)).collect();
        format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"sk":{{"N":"{sk}"}}{more}}}}}"#)
    }
}

proptest! {
    #[test]
    fn censuses_of_parts_merge_to_the_census_of_the_whole(
        lines in proptest::collection::vec(line(), 0..80),
        cuts in (0_usize..80, 0_usize..80),
    ) {
        let pinned = BTreeSet::from(["a".to_owned()]);
        let whole = counted(&lines, &pinned);
        let (first, rest) = lines.split_at(cuts.0.min(lines.len()));
        let (second, third) = rest.split_at(cuts.1.min(rest.len()));
        let [mut a, b, mut c] = [first, second, third].map(|part| counted(part, &pinned));
        c.merge(b);
        a.merge(c);
        prop_assert_eq!(&a, &whole);
        prop_assert_eq!(whole.items + whole.broken, lines.len() as u64);
    }
}

/// Lines in which no two names and no two values are the same.
fn adversarial(from: u64, to: u64) -> Vec<String> {
    let line = |n: u64| {
        let wild: Vec<_> = (0..20).map(|m| format!(r#""n{n}x{m}":{{"S":"value {n} {m}"}}"#)).collect();
        let members: Vec<_> = (0..20).map(|m| format!(r#""m{n}x{m}":{{"NULL":true}}"#)).collect();
        let (wild, members) = (wild.join(","), members.join(","));
        let long = "x".repeat(300);
        format!(
            r#"{{"Item":{{"pk":{{"S":"P{n}#{n}"}},"sk":{{"N":"{n}"}},"type":{{"S":"t{n}"}},"map":{{"M":{{{members}}}}},"{long}{n}":{{"NULL":true}},{wild}}}}}"#
        )
    };
    (from..to).map(line).collect()
}

#[test]
fn memory_is_bounded_whatever_the_names_and_values() {
    let none = BTreeSet::new();
    let mut whole = counted(&adversarial(0, 2000), &none);
    let held = |census: &Census| {
        let attributes = census.attributes.sorted();
        let members: usize = attributes.iter().map(|(_, attribute)| attribute.members.len()).sum();
        let texts: usize = attributes
            .iter()
            .map(|(_, attribute)| attribute.texts.constants.counts().map_or(0, std::collections::BTreeMap::len))
            .sum();
        (attributes.len(), members, texts)
    };
    let (attributes, members, texts) = held(&whole);
    assert!(attributes <= ATTRIBUTES + 2 && members <= 64 && texts <= attributes * 2, "{attributes} {members} {texts}");
    assert!(whole.attributes.overflowed());
    assert!(whole.signatures.by_kind().is_none() && whole.signatures.by_key(9).is_none());
    for name in ["pk", "sk"] {
        assert_eq!(whole.attributes.get(name).unwrap().items, 2000, "the key is always counted");
    }
    // a merge of parts that overflowed is the whole, but for the heavy hitters, who are none here
    let mut merged = counted(&adversarial(0, 700), &none);
    merged.merge(counted(&adversarial(700, 2000), &none));
    whole.partitions = merged.partitions.clone();
    assert!(merged == whole);
}

#[test]
fn what_an_item_holds_is_not_in_a_redacted_census() {
    let lines: Vec<String> = (0..50)
        .map(|n| {
            format!(
                r#"{{"Item":{{"pk":{{"S":"USER#secret-{}"}},"sk":{{"N":"{}"}},"x":{{"S":"secret"}}}}}}"#,
                n % 2,
                7_777_000 + n
            )
        })
        .collect();
    let mut census = counted(&lines, &BTreeSet::new());
    assert!(serde_json::to_string(&census).unwrap().contains("secret-1"));
    census.redact();
    let json = serde_json::to_string(&census).unwrap();
    assert!(!json.contains("secret") && !json.contains("7777"), "{json}");
    assert!(json.contains("USER#…"), "{json}");
}
