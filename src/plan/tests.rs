//! Whatever the items are: the mapping that is inferred from them loads, and rejects none of them.

use super::propose::{census, mapping, possible_keys};
use super::take::Packed;
use crate::infer::Facts;
use crate::mapping::parse_key;
use crate::model::dialect::Dialect;
use proptest::prelude::*;

fn pages(lines: &[String], page: usize) -> Vec<Packed> {
    lines.chunks(page.max(1)).map(|lines| Packed::new((lines.join("\n") + "\n").as_bytes())).collect()
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9 é\u{1f600}]{0,40}".prop_map(|text| format!(r#"{{"S":"{text}"}}"#)),
        Just(r#"{"S":"\u0000"}"#.to_owned()),
        "20[0-9]{2}-0[1-9]-1[0-9]".prop_map(|day| format!(r#"{{"S":"{day}"}}"#)),
        "20[0-9]{2}-0[1-9]-1[0-9]T1[0-9]:00:0[0-9](\\.[0-9]{1,9})?(Z|[+]01:00|)"
            .prop_map(|at| format!(r#"{{"S":"{at}"}}"#)),
        any::<i64>().prop_map(|number| format!(r#"{{"N":"{number}"}}"#)),
        "[1-9][0-9]{0,18}\\.[0-9]{0,17}[1-9]".prop_map(|number| format!(r#"{{"N":"{number}"}}"#)),
        (-130_i32..=125).prop_map(|exponent| format!(r#"{{"N":"-9e{exponent}"}}"#)),
        any::<bool>().prop_map(|value| format!(r#"{{"BOOL":{value}}}"#)),
        Just(r#"{"NULL":true}"#.to_owned()),
        Just(r#"{"B":"AQIDBA=="}"#.to_owned()),
        Just(r#"{"NS":["1","2"]}"#.to_owned()),
        Just(r#"{"M":{"a.b":{"L":[{"NULL":true}]}}}"#.to_owned()),
    ]
}

/// Each attribute is mostly of one kind of value, as in life; so columns of every type are made.
fn items() -> impl Strategy<Value = Vec<String>> {
    let attribute = proptest::collection::vec(scalar(), 1..4);
    let key = prop_oneof!["[A-B]#[0-9]{1,4}", "[a-z]{1,3}", "[0-9]{1,300}", Just("WORD".to_owned())];
    let name = prop_oneof!["[a-eA-E]", Just("type".to_owned()), Just("extra".to_owned()), "[.\\[\\]😀 ]{1,3}"];
    (
        proptest::collection::btree_map(name, attribute, 0..7),
        proptest::collection::vec((key, 0_u32..100_000, any::<u32>()), 1..60),
    )
        .prop_map(|(attributes, keys)| {
            let line = |(pk, sk, dice): &(String, u32, u32)| {
                let chosen = attributes.iter().enumerate().filter(|(place, _)| dice >> place & 3 != 0);
                let more: String = chosen
                    .map(|(place, (name, values))| {
                        let value = &values[(dice >> (place + 8)) as usize % values.len()];
                        format!(r#","{name}":{value}"#)
                    })
                    .collect();
                format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"sk":{{"N":"{sk}"}}{more}}}}}"#)
            };
            keys.iter().map(line).collect()
        })
}

proptest! {
    #[test]
    fn every_sampled_item_maps_to_a_row(lines in items(), page in 1_usize..30, complete: bool, key_alone: bool) {
        let key = parse_key(if key_alone { "pk:S" } else { "pk:S,sk:N" }).unwrap();
        let pages = pages(&lines, page);
        let census = census(&pages, &key).unwrap();
        let facts = Facts { table: "things", key: &key, complete, items: 1000, clustered: false };
        let proposal = mapping(&pages, &census, &facts, Dialect::MySql).unwrap();
        let inferred = &proposal.inferred;
        prop_assert_eq!(inferred.rejected, 0, "{:?}\n{}", inferred.notes, inferred.text);
        prop_assert_eq!(inferred.proved, lines.len() as u64);
        prop_assert_eq!(inferred.tables.iter().map(|table| table.items).sum::<u64>(), lines.len() as u64);
        prop_assert!(inferred.tables.iter().zip(&proposal.sizes).all(|(table, size)| table.name == size.table));
    }
}

#[test]
fn attributes_that_are_data_do_not_push_out_those_that_all_items_have() {
    let line = |n: u32| {
        let days: String = (0..40).map(|m| format!(r#","day {n} {m}":{{"N":"1"}}"#)).collect();
        format!(r#"{{"Item":{{"pk":{{"S":"{n}"}},"name":{{"S":"x"}},"total":{{"N":"1.5"}}{days}}}}}"#)
    };
    let lines: Vec<String> = (0..400).map(line).collect();
    let (pages, key) = (pages(&lines, 50), parse_key("pk:S").unwrap());
    let census = census(&pages, &key).unwrap();
    assert!(census.attributes.overflowed());
    let facts = Facts { table: "things", key: &key, complete: false, items: 10_000, clustered: false };
    let proposal = mapping(&pages, &census, &facts, Dialect::MySql).unwrap();
    let columns: Vec<&str> = proposal.mapping.tables()[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["pk", "name", "total", "extra"]);
    assert_eq!(proposal.inferred.rejected, 0);
}

#[test]
fn what_could_be_the_key_is_what_every_item_has() {
    let lines: Vec<String> = (0..100)
        .map(|n| {
            let maybe = if n == 7 { "" } else { r#","often":{"S":"x"}"# };
            format!(
                r#"{{"Item":{{"order_id":{{"S":"o{n}"}},"colour":{{"S":"red"}},"PK":{{"N":"{n}"}},"flag":{{"BOOL":true}}{maybe}}}}}"#
            )
        })
        .collect();
    let census = census(&pages(&lines, 30), &[]).unwrap();
    assert_eq!(possible_keys(&census), ["PK:N", "order_id:S", "colour:S"]);
}
