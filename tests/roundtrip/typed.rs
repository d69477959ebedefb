//! Typed mappings: every column of every row is what the test itself makes of the item.

use super::{Path, Shape, export};
use crate::generator::items::Items;
use crate::support::canon;
use crate::support::project_dir;
use crate::support::transvase::{Backfill, Cell, Target, soak, targets};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A column's value, as it is to be compared.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Null,
    Text(String),
    /// Digits and scale: a server pads to the scale, SQLite keeps the text.
    Decimal(String, usize),
    Json(Value),
    /// An item of which canonical spelling is compared.
    Item(Value),
}

/// The rows of a table: the first columns are its key.
type Rows = BTreeMap<String, Vec<Expected>>;

fn items(shape: Shape, seed: u64, count: u64) -> Vec<Value> {
    let made = Items::new(shape, seed);
    let line = |index| {
        let mut line = Vec::new();
        made.write_line(index, &mut line).unwrap();
        serde_json::from_slice::<Value>(&line).unwrap()["Item"].take()
    };
    (0..count).map(line).collect()
}

fn text(item: &Value, name: &str) -> String {
    item[name]["S"].as_str().unwrap().to_owned()
}

fn number(item: &Value, name: &str) -> String {
    item[name]["N"].as_str().unwrap().to_owned()
}

fn stripped(item: &Value, name: &str, prefix: &str) -> Expected {
    Expected::Text(text(item, name).strip_prefix(prefix).unwrap().to_owned())
}

/// Plain JSON: integers of 64 bits stay numbers, other numbers are text, sets are sorted arrays.
fn plain(value: &Value) -> Value {
    let (tag, inner) = value.as_object().unwrap().iter().next().unwrap();
    match tag.as_str() {
        "N" => match inner.as_str().unwrap().parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => inner.clone(),
        },
        "NULL" => Value::Null,
        "M" => inner.as_object().unwrap().iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        "L" => inner.as_array().unwrap().iter().map(plain).collect(),
        "SS" => {
            let mut members: Vec<&str> = inner.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
            members.sort_unstable();
            json!(members)
        }
        _ => inner.clone(),
    }
}

/// `YYYY-MM-DD HH:MM:SS.000000` of seconds since 1970.
fn moment(seconds: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}.000000", days + 1)
}

/// Fails unless the table holds exactly these rows; `key` columns come first.
async fn assert_rows(target: &Target, table: &str, columns: &str, key: usize, mut expected: Rows) {
    for row in target.rows(&format!("SELECT {columns} FROM {table}")).await {
        let name = row[..key].iter().map(|cell| String::from_utf8(cell.clone().unwrap()).unwrap());
        let name = name.collect::<Vec<_>>().join("|");
        let expected = expected.remove(&name).unwrap_or_else(|| panic!("{target} {table}: row {name} is too many"));
        for ((cell, expected), column) in row.iter().zip(&expected).zip(columns.split(", ")) {
            assert!(same(target, cell, expected), "{target} {table} {name} {column}: {cell:?} is not {expected:?}");
        }
        assert_eq!(row.len(), expected.len());
    }
    assert!(expected.is_empty(), "{target} {table}: {} rows are missing", expected.len());
}

fn same(target: &Target, cell: &Cell, expected: &Expected) -> bool {
    let found = cell.as_ref().map(|bytes| std::str::from_utf8(bytes).unwrap());
    match (found, expected) {
        (None, Expected::Null) => true,
        (Some(found), Expected::Text(text)) => found == text,
        (Some(found), Expected::Decimal(digits, scale)) => {
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let padded = format!("{whole}.{fraction:0<scale$}");
            if target.kind().is_some() { found == padded } else { canon::number(found) == canon::number(digits) }
        }
        (Some(found), Expected::Json(value)) => serde_json::from_str::<Value>(found).unwrap() == *value,
        (Some(found), Expected::Item(value)) => canon::item(&serde_json::from_str(found).unwrap()) == *value,
        _ => false,
    }
}

fn insert(rows: &mut Rows, key: usize, row: Vec<Expected>) {
    let name = row[..key].iter().map(|cell| match cell {
        Expected::Text(text) => text.as_str(),
        other => panic!("{other:?} is no key"),
    });
    let name = name.collect::<Vec<_>>().join("|");
    assert!(rows.insert(name, row).is_none());
}

fn load(folder: &Path, target: &Target, shape: Shape, file: &str, seed: u64, count: u64) -> [u64; 5] {
    let from = export(folder, shape, seed, count, 4);
    let mapping = project_dir().join("fixtures/mapping").join(file);
    let args = ["--mapping", mapping.to_str().unwrap(), "--create-tables"];
    let ended = Backfill::new(folder, &from, target, &args).run().expect(0);
    std::fs::remove_dir_all(folder.join(format!("{shape:?}-{seed}-{count}"))).unwrap();
    ["read", "written", "present", "skipped", "rejected"].map(|name| ended.count(name))
}

#[tokio::test]
async fn typed_orders_hold_every_value_exactly() {
    let count = if soak() { 50_000 } else { 3000 };
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Rows::new();
    for item in items(Shape::Orders, 11, count) {
        let created = text(&item, "created_at").replace('T', " ").replace('Z', ".000000");
        let row = vec![
            Expected::Text(text(&item, "customer_id")),
            Expected::Text(text(&item, "order_id")),
            Expected::Text(text(&item, "status")),
            Expected::Decimal(number(&item, "total"), 2),
            Expected::Text(number(&item, "quantity")),
            Expected::Text(created),
            Expected::Text(if item["gift"]["BOOL"] == json!(true) { "1" } else { "0" }.to_owned()),
            Expected::Json(plain(&item["tags"])),
            Expected::Json(plain(&item["address"])),
            Expected::Null,
        ];
        insert(&mut rows, 2, row);
    }
    for target in targets(folder.path()).await {
        let counts = load(folder.path(), &target, Shape::Orders, "orders.toml", 11, count);
        assert_eq!(counts, [count, count, 0, 0, 0], "{target}");
        let columns = "customer_id, order_id, status, total, quantity, created_at, gift, tags, address, note";
        assert_rows(&target, "orders", columns, 2, rows.clone()).await;
    }
}

#[tokio::test]
async fn one_table_of_several_kinds_becomes_a_typed_table_for_each() {
    let count = if soak() { 45_000 } else { 2700 };
    let folder = tempfile::tempdir().unwrap();
    let items = items(Shape::SingleTable, 12, count);
    let of = |kind: &'static str| items.iter().filter(move |item| item["kind"]["S"] == kind);
    let [mut customers, mut orders, mut lines, mut products] = [const { Rows::new() }; 4];
    for item in of("customer") {
        let email = item.get("email").map_or(Expected::Null, |_| Expected::Text(text(item, "email")));
        let points = Expected::Text(number(item, "loyalty_points"));
        insert(
            &mut customers,
            1,
            vec![stripped(item, "pk", "CUST#"), Expected::Text(text(item, "name")), email, points],
        );
    }
    for item in of("order") {
        let placed = Expected::Text(moment(number(item, "placed_at").parse().unwrap()));
        let (status, total) = (Expected::Text(text(item, "status")), Expected::Decimal(number(item, "total"), 2));
        let key = [stripped(item, "pk", "CUST#"), stripped(item, "sk", "ORDER#")];
        insert(&mut orders, 2, [&key[..], &[status, total, placed]].concat());
    }
    for item in of("item") {
        let discount = item["discount"].get("N");
        let discount = discount.map_or(Expected::Null, |_| Expected::Decimal(number(item, "discount"), 2));
        let key = [stripped(item, "pk", "ORDER#"), stripped(item, "sk", "ITEM#")];
        let (sku, quantity) = (Expected::Text(text(item, "sku")), Expected::Text(number(item, "quantity")));
        let price = Expected::Decimal(number(item, "price"), 2);
        insert(&mut lines, 2, [&key[..], &[sku, quantity, price, discount]].concat());
    }
    for item in of("product") {
        let key = [stripped(item, "pk", "PRODUCT#"), Expected::Text(text(item, "sk"))];
        let colour = Expected::Text(text(&item["attributes"]["M"], "colour"));
        let picture = item["pictures"]["L"].get(0).map(|first| first["S"].as_str().unwrap().to_owned());
        let mut rest = item.as_object().unwrap().clone();
        rest.retain(|name, _| name != "pk" && name != "sk");
        let rest = Expected::Item(canon::item(&Value::Object(rest)));
        let picture = picture.map_or(Expected::Null, Expected::Text);
        insert(&mut products, 2, [&key[..], &[colour, picture, rest]].concat());
    }
    let audits = of("audit").count() as u64;
    assert_eq!((audits * 9, lines.len() as u64 * 9), (count, count * 4));
    for target in targets(folder.path()).await {
        let counts = load(folder.path(), &target, Shape::SingleTable, "single-table.toml", 12, count);
        assert_eq!(counts, [count, count - audits, 0, audits, 0], "{target}");
        assert_rows(&target, "customers", "customer_id, name, email, loyalty_points", 1, customers.clone()).await;
        assert_rows(&target, "orders", "customer_id, order_id, status, total, placed_at", 2, orders.clone()).await;
        let columns = "order_id, item_number, sku, quantity, price, discount";
        assert_rows(&target, "order_items", columns, 2, lines.clone()).await;
        assert_rows(&target, "products", "product_id, sort_key, colour, first_picture, more", 2, products.clone())
            .await;
    }
}
