//! The rows that a key finds are those that the mapper gives items with that key, and no table is missed.

use super::*;
use crate::mapping::{Mapped, parse_key};
use crate::model::decode::Decoder;
use crate::model::rows::CellRef;

const SHOP: &str = r#"
key = "pk:S,sk:N"
unmatched = "skip"
[[table]]
name = "orders"
where = [{ attribute = "pk", begins_with = "ORDER#" }]
ignore = "*"
[[table.column]]
name = "id"
from = "pk"
key = true
strip_prefix = "ORDER#"
type = "varchar(20)"
[[table.column]]
name = "line"
from = "sk"
key = true
type = "bigint"
[[table]]
name = "users"
where = [{ attribute = "kind", equals = "user" }, { attribute = "sk", equals = 0 }]
ignore = "*"
[[table.column]]
name = "id"
from = "pk"
key = true
type = "varchar(20)"
[[table]]
name = "logs"
where = [{ attribute = "kind", equals = "log" }]
ignore = "*"
[[table.column]]
name = "at"
from = "sk"
key = true
type = "decimal(20,4)"
[[table.column]]
name = "of"
from = "pk"
key = true
type = "varbinary(40)"
"#;

fn text_of(cell: CellRef<'_>) -> String {
    match cell {
        CellRef::Int(value) => value.to_string(),
        CellRef::Text(bytes) | CellRef::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

/// By table, the cells of the key's rows.
fn rows_of(mapping: &Mapping, keys: &str, kept: Option<usize>) -> Vec<Vec<String>> {
    let mut mapper = mapping.key_mapper().unwrap();
    let mut rows: Vec<Rows> = (0..mapping.tables().len()).map(|table| Rows::new(mapper.columns(table))).collect();
    let line = format!(r#"{{"Keys":{keys}}}"#);
    let map = |change: crate::model::decode::Change<'_>| mapper.map(change.keys, 3, kept, &mut rows);
    Decoder::default().decode_change(line.as_bytes(), map).unwrap();
    rows.iter().map(|rows| (0..rows.len()).flat_map(|row| rows.row(row).map(text_of)).collect()).collect()
}

fn none() -> Vec<String> {
    Vec::new()
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

#[test]
fn a_key_finds_its_rows_in_every_table_that_can_hold_it() {
    let shop = Mapping::parse(SHOP, "m").unwrap();
    let user = r#"{"pk":{"S":"u"},"sk":{"N":"0.0"}}"#;
    assert_eq!(rows_of(&shop, user, None), [none(), texts(["u"]), texts(["0", "u"])]);
    assert_eq!(rows_of(&shop, user, Some(1))[1], none());
    // another sort key cannot be a user's
    assert_eq!(rows_of(&shop, r#"{"pk":{"S":"u"},"sk":{"N":"7"}}"#, None)[1], none());
    // the key alone says that it is an order, so no other table is asked; a line that is no integer has no row
    assert_eq!(rows_of(&shop, r#"{"sk":{"N":"3"},"pk":{"S":"ORDER#9"}}"#, None), [texts(["9", "3"]), none(), none()]);
    assert_eq!(rows_of(&shop, r#"{"pk":{"S":"ORDER#9"},"sk":{"N":"0.5"}}"#, None), [none(), none(), none()]);
    assert_eq!(rows_of(&shop, r#"{"pk":{"S":"ORDER#9"},"sk":{"N":"0"}}"#, Some(0)), [none(), none(), none()]);
}

#[test]
fn the_rows_that_a_key_finds_are_those_of_its_items() {
    let shop = Mapping::parse(SHOP, "m").unwrap();
    let document = Mapping::document(&parse_key("pk:S,sk:N").unwrap(), "t", &[]).unwrap();
    for mapping in [&shop, &document] {
        for pk in ["u", "ORDER#9", "ORDER#", "é ", "a long one, longer than twenty characters"] {
            for sk in ["0", "-0", "1", "1.0", "12e2", "0.0001", "0.00001", "99999999999999999999"] {
                for kind in ["user", "log", "other"] {
                    let keys = format!(r#""pk":{{"S":"{pk}"}},"sk":{{"N":"{sk}"}}"#);
                    let line = format!(r#"{{"Item":{{"kind":{{"S":"{kind}"}},{keys}}}}}"#);
                    let mut rows: Vec<Rows> =
                        mapping.tables().iter().map(|table| Rows::new(table.columns.len())).collect();
                    let mut mapper = mapping.mapper();
                    let mapped = Decoder::default()
                        .decode(line.as_bytes(), |item| mapper.map(item, line.as_bytes(), 0, &mut rows));
                    let Mapped::Row(table) = mapped.unwrap() else { continue };
                    let cells = mapping.tables()[table].key.iter().map(|column| rows[table].cell(0, *column));
                    let cells: Vec<String> = cells.map(text_of).collect();
                    assert_eq!(rows_of(mapping, &format!("{{{keys}}}"), None)[table], cells, "{line}");
                }
            }
        }
    }
}

#[test]
fn items_that_stay_items_are_found_by_their_key_as_the_target_names_it() {
    let key = parse_key("pk:S,sk:N").unwrap();
    let keys = r#"{"sk":{"N":"1.50"},"pk":{"S":"a\"b"}}"#;
    let as_they_are = rows_of(&Mapping::items(&key, "t").unwrap(), keys, None);
    assert_eq!(as_they_are[0][2], r#"{"pk":{"S":"a\"b"},"sk":{"N":"1.50"}}"#);
    let renamed = "key = \"pk:S,sk:N\"\n[item]\nattribute = [{ name = \"customer\", from = \"pk\" }]";
    let renamed = Mapping::parse_items(renamed, "m", "t").unwrap();
    assert_eq!(rows_of(&renamed, keys, None)[0][2], r#"{"customer":{"S":"a\"b"},"sk":{"N":"1.50"}}"#);
}

#[test]
fn keys_are_one_by_value_and_two_whatever_their_bytes() {
    let identity = |key: &str, keys: &str| {
        let mapping = Mapping::document(&parse_key(key).unwrap(), "t", &[]).unwrap();
        let line = format!(r#"{{"Keys":{keys}}}"#);
        let mapper = mapping.key_mapper().unwrap();
        Decoder::default().decode_change(line.as_bytes(), |change| mapper.identity(change.keys)).unwrap()
    };
    let number = |text: &str| identity("n:N", &format!(r#"{{"n":{{"N":"{text}"}}}}"#)).unwrap();
    assert!(number("1") == number("1.0") && number("1") == number("10e-1") && number("0") == number("-0"));
    assert_ne!(number("1"), number("10"));
    let pair =
        |pk: &str, sk: &str| identity("p:S,s:S", &format!(r#"{{"s":{{"S":"{sk}"}},"p":{{"S":"{pk}"}}}}"#)).unwrap();
    assert_ne!(pair("ab", "c"), pair("a", "bc"));
    for wrong in [r#"{"n":{"S":"1"}}"#, r#"{"m":{"N":"1"}}"#, r#"{"n":{"N":"1"},"m":{"N":"1"}}"#, "{}"] {
        let reason = identity("n:N", wrong).unwrap_err();
        assert!(reason.contains("n:N"), "{reason}");
    }
}

#[test]
fn a_target_key_of_more_than_the_item_s_key_is_refused() {
    let text = "key = \"pk:S\"\n[[table]]\nname = \"t\"\nignore = \"*\"\n[[table.column]]\nname = \"pk\"\nkey = true\n\
                type = \"varchar(9)\"\n[[table.column]]\nname = \"tenant\"\nkey = true\ntype = \"varchar(9)\"\n";
    let error = Mapping::parse(text, "m").unwrap().key_mapper().unwrap_err().to_string();
    assert!(error.contains("table t: column tenant"), "{error}");
    let text = "key = \"pk:S\"\n[item]\ntarget_key = \"pk:S,zip:S\"";
    assert!(Mapping::parse_items(text, "m", "t").unwrap().key_mapper().is_err());
}
