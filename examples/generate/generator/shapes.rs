//! Tables of very different shapes, for what must cope with any of them: the inference of a mapping above all.
//!
//! | shape          | key            | items |
//! |----------------|----------------|---|
//! | wide           | `pk:S`         | 300 attributes each, of four types |
//! | sparse         | `pk:S,sk:S`    | five attributes in all, and eight of 3000 others |
//! | six kinds      | `PK:S,SK:S`    | users, addresses, orders, lines, products, settings: told by their keys alone |
//! | huge           | `id:S,part:N`  | 40 to 380 KB: texts, binaries, lists |
//! | number keys    | `device:N,at:N`| readings, some keys negative or with decimals |
//! | binary keys    | `hash:B,at:B`  | blobs |

use super::orders::write_moment;
use super::random::number;
use super::rng::Rng;
use super::value::{Attributes, Value, n, s};
use std::io;

/// Attributes of a wide item, its key aside.
const WIDE: u64 = 300;

/// Names that sparse items choose from.
const SPARSE_NAMES: u64 = 3000;

fn named(attributes: Vec<(&str, Value)>) -> Attributes {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn moment(rng: &mut Rng) -> Value {
    let mut text = Vec::new();
    let written: io::Result<()> = write_moment(rng.below(60_000_000), &mut text);
    Value::S(written.map(|()| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default())
}

fn cents(rng: &mut Rng, below: u64) -> Value {
    Value::N(format!("{}.{:02}", rng.below(below), 1 + 10 * rng.below(9)))
}

fn words(rng: &mut Rng, most: u64) -> String {
    let word = |rng: &mut Rng| rng.pick(&["lamp", "Ångström", "of", "a", "teapot", "李", "blue"]).to_owned();
    (0..=rng.below(most)).map(|_| word(rng)).collect::<Vec<_>>().join(" ")
}

fn bytes(rng: &mut Rng, length: u64) -> Vec<u8> {
    (0..length).map(|_| rng.byte()).collect()
}

/// 300 attributes.
pub(crate) fn wide(seed: u64, index: u64) -> Attributes {
    let rng = &mut Rng::new(seed, index);
    let mut item = named(vec![("pk", Value::S(format!("row-{index:09}")))]);
    for place in 0..WIDE {
        let value = match place % 4 {
            0 => Value::S(words(rng, 4)),
            1 => n(&rng.below(100_000).to_string()),
            2 => cents(rng, 10_000),
            _ => Value::Bool(rng.below(2) == 0),
        };
        item.push((format!("field_{place:03}"), value));
    }
    item
}

/// A few attributes that all have, and some of very many.
pub(crate) fn sparse(seed: u64, index: u64) -> Attributes {
    let rng = &mut Rng::new(seed, index);
    let mut item = named(vec![
        ("pk", Value::S(format!("{:016x}", rng.next()))),
        ("sk", Value::S(format!("{index:08}"))),
        ("created", moment(rng)),
        ("owner", Value::S(words(rng, 2))),
        ("score", cents(rng, 100)),
    ]);
    if rng.below(3) > 0 {
        item.push(("note".to_owned(), if rng.below(4) == 0 { Value::Null } else { Value::S(words(rng, 12)) }));
    }
    for _ in 0..8 {
        let number = rng.below(SPARSE_NAMES);
        let name = format!("tag.{number}");
        let value = if number.is_multiple_of(2) { n(&rng.below(9).to_string()) } else { s("on") };
        if !item.iter().any(|(taken, _)| *taken == name) {
            item.push((name, value));
        }
    }
    item
}

/// Six kinds of entities, told by their keys alone.
pub(crate) fn six_kinds(seed: u64, index: u64) -> Attributes {
    let rng = &mut Rng::new(seed, index);
    let (block, place) = (index / 12, index % 12);
    let key = |pk: String, sk: String| vec![("PK", Value::S(pk)), ("SK", Value::S(sk))];
    let user = format!("USER#{block:07}");
    let (mut item, more) = match place {
        0 => (
            key(user, "PROFILE".into()),
            vec![
                ("name", Value::S(words(rng, 2))),
                ("joined", moment(rng)),
                ("points", n(&rng.below(9999).to_string())),
            ],
        ),
        1 | 2 => {
            let street = Value::M(named(vec![
                ("street", s("Mill Lane")),
                ("zip", Value::S(format!("{:05}", rng.below(99_999)))),
            ]));
            (key(user, format!("ADDR#{place}")), vec![("address", street), ("usual", Value::Bool(place == 1))])
        }
        3 | 4 => (
            key(user, format!("ORDER#{:09}", block * 2 + place)),
            vec![
                ("status", s(rng.pick(&["OPEN", "PAID", "SENT"]))),
                ("total", cents(rng, 5000)),
                ("placed_at", moment(rng)),
            ],
        ),
        5..=8 => (
            key(format!("ORDER#{:09}", block * 2 + 3 + place % 2), format!("LINE#{place}")),
            vec![
                ("sku", Value::S(format!("SKU-{:05}", rng.below(99_999)))),
                ("quantity", n(&(1 + rng.below(9)).to_string())),
                ("price", cents(rng, 300)),
            ],
        ),
        9 | 10 => {
            let id = format!("PRODUCT#{:08}", block * 2 + place % 2);
            (
                key(id.clone(), id),
                vec![
                    ("title", Value::S(words(rng, 5))),
                    ("tags", Value::Ss(vec!["a".into(), format!("t{}", rng.below(9))])),
                ],
            )
        }
        _ => (
            key(format!("SETTING#{block:07}"), "VALUE".into()),
            vec![
                ("value", if rng.below(2) == 0 { s("on") } else { n("1") }),
                ("changed", n(&(1_700_000_000 + rng.below(9_000_000)).to_string())),
            ],
        ),
    };
    item.extend(more);
    named(item)
}

/// Items up to near DynamoDB's limit of 400 KB.
pub(crate) fn huge(seed: u64, index: u64) -> Attributes {
    let rng = &mut Rng::new(seed, index);
    let kilobytes = 40 + rng.below(340);
    let text = "0123456789abcdef \"quoted\" é ü\n".repeat(usize::try_from(kilobytes * 15).unwrap_or(1));
    let list =
        (0..rng.below(40)).map(|place| Value::L(vec![n(&place.to_string()), Value::B(bytes(rng, 64))])).collect();
    named(vec![
        ("id", Value::S(format!("{:012x}", rng.next() >> 16))),
        ("part", n(&index.to_string())),
        ("body", Value::S(text)),
        ("raw", Value::B(bytes(rng, kilobytes * 500))),
        ("pieces", Value::L(list)),
        ("sum", Value::N(number(rng))),
    ])
}

/// Readings under keys that are numbers: integers, decimals, below zero.
pub(crate) fn number_keys(seed: u64, index: u64) -> Attributes {
    let rng = &mut Rng::new(seed, index);
    let device = 1 + rng.below(900);
    let at = match index % 3 {
        0 => format!("{}", 1_700_000_000 + index),
        1 => format!("-{index}"),
        _ => format!("{index}.5"),
    };
    named(vec![
        ("device", n(&device.to_string())),
        ("at", Value::N(at)),
        ("celsius", Value::N(format!("{}{}.{}", rng.pick(&["", "-"]), 1 + rng.below(40), 1 + rng.below(9)))),
        ("ok", Value::Bool(rng.below(50) > 0)),
        ("unit", s("C")),
    ])
}

/// Blobs under keys that are binaries, zeros and all.
pub(crate) fn binary_keys(seed: u64, index: u64) -> Attributes {
    let rng = &mut Rng::new(seed, index);
    let (length, most) = (1 + rng.below(3), 1 + rng.below(300));
    let at = [index.to_be_bytes().to_vec(), vec![0; usize::try_from(length).unwrap_or(1)]].concat();
    named(vec![
        ("hash", Value::B(bytes(rng, 20))),
        ("at", Value::B(at)),
        ("data", Value::B(bytes(rng, most))),
        ("size", n(&rng.below(1 << 40).to_string())),
        ("parts", Value::Bs(vec![vec![0], bytes(rng, 6)])),
    ])
}
