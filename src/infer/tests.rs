//! Kinds are found, names are kept, and whatever the items are, the text loads.

use super::kind::{Condition, kinds, refined};
use super::*;
use crate::census::Census;
use crate::mapping::{KeyAttribute, Mapping, parse_key};
use crate::model::decode::Decoder;
use std::collections::BTreeSet;

fn key() -> Vec<KeyAttribute> {
    parse_key("pk:S,sk:S").unwrap()
}

fn census<'l>(lines: impl IntoIterator<Item = &'l String>) -> Census {
    let mut census = Census::new(&key(), &BTreeSet::new());
    let mut decoder = Decoder::default();
    for line in lines {
        decoder.decode(line.as_bytes(), |item| census.add(item, line.len() as u64)).unwrap();
    }
    census
}

/// The text of the mapping of these items, with the kinds' conditions.
fn inferred(lines: &[String], complete: bool) -> (String, Vec<Vec<Condition>>) {
    let whole = census(lines);
    let split = |kinds: &[kind::Kind]| -> Vec<Census> {
        let mut groups: Vec<Vec<&String>> = vec![Vec::new(); kinds.len() + 1];
        let mut decoder = Decoder::default();
        for line in lines {
            let at = decoder.decode(line.as_bytes(), |item| kinds.iter().position(|kind| kind.takes(item))).unwrap();
            groups[at.unwrap_or(kinds.len())].push(line);
        }
        groups.into_iter().map(census).collect()
    };
    let found = kinds(&whole, complete);
    let found = refined(found.clone(), &split(&found)[..found.len()]);
    let key = key();
    let facts = Facts { table: "shop", key: &key, complete, items: whole.items, clustered: false };
    let text = Draft::new(&facts, &found, &split(&found)).text();
    Mapping::parse(&text, "inferred").unwrap_or_else(|error| panic!("{error}\n{text}"));
    (text, found.into_iter().map(|kind| kind.conditions).collect())
}

fn line(pk: &str, sk: &str, more: &str) -> String {
    format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"sk":{{"S":"{sk}"}}{more}}}}}"#)
}

#[test]
fn kinds_are_told_by_how_keys_begin_and_keys_lose_what_is_constant() {
    let lines: Vec<String> = (0..60)
        .flat_map(|n| {
            [
                line(&format!("CUST#{n}"), "PROFILE", r#","name":{"S":"x"}"#),
                line(&format!("CUST#{n}"), &format!("ORDER#{n}"), r#","total":{"N":"1.5"}"#),
            ]
        })
        .collect();
    let (text, conditions) = inferred(&lines, false);
    let begins = |name: &str, prefix: &str| Condition::Begins(name.into(), prefix.into());
    assert_eq!(conditions.len(), 2, "{text}");
    assert!(conditions.contains(&vec![begins("pk", "CUST#"), begins("sk", "ORDER#")]));
    assert!(conditions.contains(&vec![begins("pk", "CUST#"), Condition::Equals("sk".into(), "PROFILE".into())]));
    for part in
        ["name = \"cust_order\"", "name = \"cust_profile\"", "name = \"shop_other\"", "strip_prefix = \"ORDER#\""]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn what_an_attribute_says_is_a_kind_only_if_items_differ() {
    let kinds_of = |one: &str, other: &str| {
        let lines: Vec<String> = (0..60)
            .map(|n| {
                let (kind, more) = if n % 2 == 0 { ("home", one) } else { ("work", other) };
                line(&format!("{n:08}"), &format!("{n}"), &format!(r#","type":{{"S":"{kind}"}},{more}"#))
            })
            .collect();
        inferred(&lines, false).1
    };
    assert_eq!(kinds_of(r#""zip":{"S":"1"}"#, r#""zip":{"S":"1"}"#), Vec::<Vec<Condition>>::new());
    let differ = kinds_of(r#""zip":{"S":"1"},"a":{"S":"1"}"#, r#""phone":{"S":"1"},"b":{"N":"1"}"#);
    assert_eq!(differ.len(), 2);
    assert!(differ.contains(&vec![Condition::Equals("type".into(), "home".into())]));
}

#[test]
fn words_that_are_values_and_rare_beginnings_are_no_kinds() {
    let users: Vec<String> = (0..400_u32)
        .map(|n| {
            let word: String = (0..4).map(|place| char::from(b'a' + ((n >> (place * 4)) & 15) as u8)).collect();
            line(&word, &format!("{n}"), "")
        })
        .collect();
    assert!(inferred(&users, true).1.is_empty());
    let mut lines: Vec<String> = (0..100).map(|n| line(&format!("A#{n}"), "x1", "")).collect();
    lines.extend((0..5).map(|n| line(&format!("B#{n}"), "x1", "")));
    assert_eq!(inferred(&lines, false).1, [vec![Condition::Begins("pk".into(), "A#".into())]]);
    assert_eq!(inferred(&lines, true).1.len(), 2, "all are known");
}

#[test]
fn names_that_sql_or_toml_cannot_take_are_given_others() {
    let names = r#","Total":{"N":"1"},"total":{"N":"2"},"a.b[0]":{"S":"x"},"q\"uo\\te":{"S":"x"},"new\nline\u0000":{"S":"x"},"😀":{"BOOL":true},"extra":{"S":"x"},"DB_TRX_ID":{"S":"x"}"#;
    let lines: Vec<String> = (0..30).map(|n| line(&n.to_string(), "1", names)).collect();
    let (text, _) = inferred(&lines, true);
    let mapping = Mapping::parse(&text, "inferred").unwrap();
    let columns: Vec<&str> = mapping.tables()[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns.len(), 11, "{columns:?}");
    assert!(
        columns.contains(&"a.b[0]") && columns.contains(&"q\"uo\\te") && columns.contains(&"extra_2"),
        "{columns:?}"
    );
}

#[test]
fn a_wide_table_keeps_within_what_one_row_can_be() {
    let many: String = (0..700).map(|n| format!(r#","column{n}":{{"S":"{}"}}"#, "x".repeat(60))).collect();
    let lines: Vec<String> = (0..30).map(|n| line(&n.to_string(), "1", &many)).collect();
    let (text, _) = inferred(&lines, false);
    let mapping = Mapping::parse(&text, "inferred").unwrap();
    let columns = mapping.tables()[0].columns.len();
    assert!((150..190).contains(&columns), "{columns}");
    assert!(text.contains("no room in one row"));
}
