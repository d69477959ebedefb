//! Several kinds of entity in one table, the single-table design: what a mapping file is for.
//!
//! | `kind`     | `pk`        | `sk`             | other attributes |
//! |------------|-------------|------------------|------------------|
//! | `customer` | `CUST#c`    | `PROFILE`        | name, email (absent for some), loyalty_points |
//! | `order`    | `CUST#c`    | `ORDER#o`        | status, total, placed_at (epoch seconds) |
//! | `item`     | `ORDER#o`   | `ITEM#n`         | sku, quantity, price, discount (NULL for some) |
//! | `product`  | `PRODUCT#p` | `PRODUCT#p`      | title, price, attributes M, pictures L |
//! | `audit`    | `AUDIT#a`   | `EVENT#t`        | actor, expires_at: nobody's table, a mapping skips it or rejects it |

use super::orders::write_moment;
use super::rng::Rng;
use super::value::{Attributes, Value, n, s};
use std::io;

/// Entities of one customer: a profile, two orders, two items of each, a product, an audit event.
const BLOCK: u64 = 9;

const NAMES: [&str; 6] =
    ["Ada Lovelace", "José Álvarez", "Zoë O'Neill", "李小龍", "Ingrid Ångström", "Bob \"Bobby\" Tables"];
const WORDS: [&str; 6] = ["lamp", "teapot", "folding chair", "notebook", "crème brûlée torch", "umbrella"];

/// Entity `index`.
pub(crate) fn item(seed: u64, index: u64) -> Attributes {
    let rng = &mut Rng::new(seed, index);
    let customer = index / BLOCK;
    match index % BLOCK {
        0 => profile(customer, rng),
        place @ (1 | 4) => order(customer, customer * 2 + place / 4, rng),
        place @ (2 | 3) => order_item(customer * 2, place - 1, rng),
        place @ (5 | 6) => order_item(customer * 2 + 1, place - 4, rng),
        7 => product(customer, rng),
        _ => audit(customer, rng),
    }
}

fn entity(kind: &str, pk: String, sk: String, rest: Vec<(&str, Value)>) -> Attributes {
    let keys = [("pk", Value::S(pk)), ("sk", Value::S(sk)), ("kind", s(kind))];
    keys.into_iter().chain(rest).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn profile(customer: u64, rng: &mut Rng) -> Attributes {
    let mut rest = vec![("name", s(rng.pick(&NAMES))), ("loyalty_points", n(&rng.below(10_000).to_string()))];
    if rng.below(4) > 0 {
        rest.push(("email", Value::S(format!("customer{customer}@example.org"))));
    }
    entity("customer", format!("CUST#{customer:06}"), String::from("PROFILE"), rest)
}

fn order(customer: u64, order: u64, rng: &mut Rng) -> Attributes {
    let rest = vec![
        ("status", s(rng.pick(&["OPEN", "PAID", "SENT"]))),
        ("total", Value::N(format!("{}.{}", rng.below(2000), 1 + rng.below(9)))),
        ("placed_at", Value::N((1_704_067_200 + rng.below(60_000_000)).to_string())),
    ];
    entity("order", format!("CUST#{customer:06}"), format!("ORDER#{order:08}"), rest)
}

fn order_item(order: u64, number: u64, rng: &mut Rng) -> Attributes {
    let discount = if rng.below(2) == 0 { Value::Null } else { Value::N(format!("0.{}", 1 + rng.below(9))) };
    let rest = vec![
        ("sku", Value::S(format!("SKU-{:05}", rng.below(100_000)))),
        ("quantity", n(&(1 + rng.below(9)).to_string())),
        ("price", Value::N(format!("{}.{:02}", rng.below(300), 1 + rng.below(9)))),
        ("discount", discount),
    ];
    entity("item", format!("ORDER#{order:08}"), format!("ITEM#{number}"), rest)
}

fn product(product: u64, rng: &mut Rng) -> Attributes {
    let attributes = vec![
        (String::from("colour"), s(rng.pick(&["red", "green", "ultramarine"]))),
        (String::from("weight_g"), n(&rng.below(5000).to_string())),
    ];
    let pictures = (0..rng.below(3)).map(|number| Value::S(format!("p{product}-{number}.jpg"))).collect();
    let rest = vec![
        ("title", s(rng.pick(&WORDS))),
        ("price", Value::N(format!("{}.5", rng.below(300)))),
        ("attributes", Value::M(attributes)),
        ("pictures", Value::L(pictures)),
    ];
    entity("product", format!("PRODUCT#{product:05}"), format!("PRODUCT#{product:05}"), rest)
}

fn audit(event: u64, rng: &mut Rng) -> Attributes {
    let mut moment = Vec::new();
    let written: io::Result<()> = write_moment(rng.below(60_000_000), &mut moment);
    let at = written.map(|()| String::from_utf8_lossy(&moment).into_owned()).unwrap_or_default();
    let rest =
        vec![("actor", s("import")), ("expires_at", Value::N((1_800_000_000 + rng.below(1_000_000)).to_string()))];
    entity("audit", format!("AUDIT#{event:06}"), format!("EVENT#{at}"), rest)
}
