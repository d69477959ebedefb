//! Document mode: one table, the key attributes as VARBINARY columns, and the whole item as lossless DynamoDB JSON.
//! Needs nothing but the key, and takes every item that DynamoDB can hold.

use super::convert::Conversion;
use super::path::Path;
use super::plan::{AttributePlan, ColumnPlan, Place, Plan, TablePlan};
use super::shape::Slots;
use super::spec::Fallback;
use super::{Column, ColumnType, KeyAttribute, KeyType, Mapping, Table, compile, names};
use crate::error::{Error, Result};
use crate::model::number::MAX_KEY_BYTES;

/// The column that holds the item.
const ITEM: &str = "item";

/// Longest partition key and sort key in bytes [developer guide, ServiceQuotas]; together they fill InnoDB's 3072.
const MAX_BYTES: [u32; 2] = [2048, 1024];

impl Mapping {
    /// Compiles document mode for the DynamoDB key `key`, into a table called `table`. `renames` gives key attributes
    /// another column name: pairs of attribute and column.
    ///
    /// Key columns hold UTF-8 bytes (S), the bytes themselves (B), or
    /// [order-preserving number bytes](crate::model::number) (N), so that rows are unique and sorted as in DynamoDB.
    ///
    /// # Errors
    /// `Config` when a database would not take a name; it says which flag gives another.
    pub fn document(key: &[KeyAttribute], table: &str, renames: &[(String, String)]) -> Result<Self> {
        if key.is_empty() || key.len() > MAX_BYTES.len() {
            return Err(Error::config("a DynamoDB key has one or two attributes: name them with --key NAME:TYPE,…"));
        }
        names::check_table(table).map_err(|why| {
            Error::config(format!("table {table} cannot be created: {why}; name another with --table NAME"))
        })?;
        let names = column_names(key, renames)?;
        let mut slots = Slots::default();
        let (mut columns, mut plans) = (Vec::new(), Vec::new());
        for (place, (attribute, name)) in key.iter().zip(names).enumerate() {
            let path = Path { root: attribute.name.clone(), steps: Vec::new() };
            let plan = key_plan(&path, attribute.ty, place, &mut slots);
            columns.push(Column { name, ty: plan.ty, nullable: false });
            plans.push(ColumnPlan::Attribute(plan));
        }
        columns.push(Column { name: ITEM.into(), ty: ColumnType::Json, nullable: false });
        plans.push(ColumnPlan::Whole);
        let table = Table { name: table.into(), columns, key: (0..key.len()).collect(), indexes: Vec::new() };
        let column_names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let identity = compile::identity(&("document", key, &table.name, column_names))?;
        let table_plan = TablePlan { checks: Vec::new(), columns: plans, has_rest: false, named: None };
        let plan = Plan { slots, tables: vec![table_plan], skip_unmatched: false };
        Ok(Mapping { key: key.to_vec(), target_key: Vec::new(), tables: vec![table], plan, identity })
    }
}

/// How the key's attribute number `place`, of type `ty`, is filled from what lies at `path`.
pub(super) fn key_plan(path: &Path, ty: KeyType, place: usize, slots: &mut Slots) -> AttributePlan {
    let limit = MAX_BYTES.get(place).copied().unwrap_or(MAX_BYTES[1]);
    let limit = if ty == KeyType::N { u32::try_from(MAX_KEY_BYTES).unwrap_or(limit) } else { limit };
    let conversion = match ty {
        KeyType::S | KeyType::B => Conversion::Varbinary(limit),
        KeyType::N => Conversion::NumberKey(limit),
    };
    AttributePlan {
        place: Place::new(slots, path),
        ty: ColumnType::Varbinary(limit),
        conversion,
        source_key: Some(ty),
        strip_prefix: None,
        missing: Fallback::Reject,
        null: Some(Fallback::Reject),
        mismatch: Fallback::Reject,
        default: None,
    }
}

/// The key columns' names, renamed and checked.
fn column_names(key: &[KeyAttribute], renames: &[(String, String)]) -> Result<Vec<String>> {
    for (index, (from, _)) in renames.iter().enumerate() {
        if !key.iter().any(|attribute| attribute.name == *from) {
            return Err(Error::config(format!("--rename {from}: the key has no attribute of this name")));
        }
        if renames[..index].iter().any(|(earlier, _)| earlier == from) {
            return Err(Error::config(format!("--rename {from} is given twice")));
        }
    }
    let mut taken = vec![names::fold(ITEM)];
    let mut columns = Vec::new();
    for attribute in key {
        let renamed = renames.iter().find(|(from, _)| *from == attribute.name);
        let name = renamed.map_or(&attribute.name, |(_, to)| to);
        let advice = format!("give it another with --rename {}=COLUMN", attribute.name);
        names::check(name).map_err(|why| {
            Error::config(format!(
                "key attribute {} cannot be a column called {name:?}: {why}; {advice}",
                attribute.name
            ))
        })?;
        if taken.contains(&names::fold(name)) {
            let message = format!(
                "key attribute {} cannot be a column called {name}: another column has this name; {advice}",
                attribute.name
            );
            return Err(Error::config(message));
        }
        taken.push(names::fold(name));
        columns.push(name.clone());
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Mapped, parse_key};
    use crate::model::decode::Decoder;
    use crate::model::rows::{CellRef, Rows};
    use proptest::prelude::*;

    fn document(key: &str) -> Mapping {
        Mapping::document(&parse_key(key).unwrap(), "orders", &[]).unwrap()
    }

    fn map(mapping: &Mapping, line: &str) -> (Mapped, Rows) {
        let mut rows = [Rows::new(mapping.tables()[0].columns.len())];
        let mut mapper = mapping.mapper();
        let mapped = Decoder::default().decode(line.as_bytes(), |item| mapper.map(item, line.as_bytes(), 7, &mut rows));
        let [rows] = rows;
        (mapped.unwrap(), rows)
    }

    fn refusal(key: &str, renames: &[(&str, &str)]) -> String {
        let renames: Vec<_> = renames.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
        Mapping::document(&parse_key(key).unwrap(), "orders", &renames).unwrap_err().to_string()
    }

    #[test]
    fn an_item_is_its_keys_and_its_line() {
        let mapping = document("pk:S,sk:N");
        let (mapped, rows) = map(&mapping, r#"{"Item":{"a":{"S":"\u00e9"}, "sk":{"N":"1.0"},"pk":{"S":"é "}}}"#);
        assert_eq!(mapped, Mapped::Row(0));
        assert_eq!(rows.position(0), 7);
        assert_eq!(rows.cell(0, 0), CellRef::Bytes("é ".as_bytes()));
        assert_eq!(rows.cell(0, 1), CellRef::Bytes(&[0x81, 130, 11]));
        let item = r#"{"a":{"S":"\u00e9"}, "sk":{"N":"1.0"},"pk":{"S":"é "}}"#;
        assert_eq!(rows.cell(0, 2), CellRef::Text(item.as_bytes()));
    }

    #[test]
    fn spaces_around_the_item_do_not_reach_the_column() {
        let mapping = document("pk:B");
        for line in [
            r#"{"Item":{"pk":{"B":"/w=="}}}"#,
            r#" {"Item":{"pk":{"B":"/w=="}}}"#,
            r#"{ "Item" : {"pk":{"B":"/w=="}} }"#,
            r#"{"Item": {"pk":{"B":"/w=="}}}"#,
            r#"{"Item":{"pk":{"B":"/w=="}} }"#,
            r#"{"\u0049tem":{"pk":{"B":"/w=="}}}"#,
        ] {
            let (mapped, rows) = map(&mapping, line);
            assert_eq!(mapped, Mapped::Row(0), "{line}");
            assert_eq!(rows.cell(0, 0), CellRef::Bytes(&[0xff]));
            assert_eq!(rows.cell(0, 1), CellRef::Text(br#"{"pk":{"B":"/w=="}}"#), "{line}");
        }
    }

    #[test]
    fn a_line_with_more_than_an_item_never_reaches_the_mapping() {
        for line in [r#"{"Item":{"pk":{"S":"a"}}}{"x":{}}"#, "{\"Item\":{\"pk\":{\"S\":\"a\tb\"}}}"] {
            assert!(Decoder::default().decode(line.as_bytes(), |_| ()).is_err(), "{line}");
        }
    }

    #[test]
    fn a_key_that_dynamodb_would_not_hold_is_rejected() {
        let mapping = document("pk:S,sk:B");
        for (line, column, said) in [
            (r#"{"Item":{"sk":{"B":"AQ=="}}}"#.to_owned(), "pk", "missing"),
            (r#"{"Item":{"pk":{"S":"a"}}}"#.to_owned(), "sk", "missing"),
            (r#"{"Item":{"pk":{"NULL":true},"sk":{"B":"AQ=="}}}"#.to_owned(), "pk", "NULL"),
            (r#"{"Item":{"pk":{"B":"AQ=="},"sk":{"B":"AQ=="}}}"#.to_owned(), "pk", "of type B"),
            (r#"{"Item":{"pk":{"S":""},"sk":{"B":"AQ=="}}}"#.to_owned(), "pk", "empty"),
            (r#"{"Item":{"pk":{"S":"a"},"sk":{"B":""}}}"#.to_owned(), "sk", "empty"),
            (format!(r#"{{"Item":{{"pk":{{"S":"{}"}},"sk":{{"B":"AQ=="}}}}}}"#, "x".repeat(2049)), "pk", "too long"),
            (format!(r#"{{"Item":{{"pk":{{"S":"a"}},"sk":{{"B":"{}"}}}}}}"#, "AAAA".repeat(342)), "sk", "too long"),
        ] {
            let (mapped, rows) = map(&mapping, &line);
            let Mapped::Rejected(reject) = mapped else { panic!("{line} was taken") };
            assert_eq!((reject.position, reject.table, reject.column.as_deref()), (7, Some(0), Some(column)));
            assert!(reject.reason.contains(said), "{}", reject.reason);
            assert!(rows.is_empty());
        }
        let longest =
            format!(r#"{{"Item":{{"pk":{{"S":"{}"}},"sk":{{"B":"{}"}}}}}}"#, "x".repeat(2048), "AAAA".repeat(341));
        assert_eq!(map(&mapping, &longest).0, Mapped::Row(0));
    }

    #[test]
    fn names_that_mysql_cannot_take_are_refused_until_renamed() {
        for key in ["Item:S", "pk:S,PK:S", "pk\0:S", &format!("{}:S", "n".repeat(65))] {
            assert!(refusal(key, &[]).contains("--rename"), "{key}");
        }
        let key = [KeyAttribute { name: "pk ".into(), ty: KeyType::S }];
        assert!(Mapping::document(&key, "t", &[]).unwrap_err().to_string().contains("--rename"));
        let mapping = Mapping::document(&key, "t", &[("pk ".into(), "pk".into())]).unwrap();
        assert_eq!(mapping.tables()[0].columns[0].name, "pk");
        assert!(refusal("pk:S", &[("sk", "x")]).contains("no attribute"));
        assert!(refusal("pk:S", &[("pk", "ITEM")]).contains("another column"));
        assert!(refusal("pk:S", &[("pk", "a"), ("pk", "b")]).contains("twice"));
    }

    #[test]
    fn identity_follows_what_is_compiled() {
        assert_eq!(document("pk:S").identity(), document("pk:S").identity());
        assert_eq!(document("pk:S").identity().len(), 64);
        assert_ne!(document("pk:S").identity(), document("pk:B").identity());
    }

    fn key_value() -> impl Strategy<Value = String> {
        // few letters and lengths, so that near twins are common
        "[aA bé]{1,3}|[0-9]{1,2}(\\.0|\\.5|e1)?"
    }

    proptest! {
        #[test]
        fn distinct_keys_are_distinct_rows(left in (key_value(), "[0-9]{1,2}(\\.[05])?"), right in (key_value(), "[0-9]{1,2}(\\.[05])?")) {
            let mapping = document("pk:S,sk:N");
            let cells = |(pk, sk): &(String, String)| {
                let (mapped, rows) = map(&mapping, &format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"sk":{{"N":"{sk}"}}}}}}"#));
                assert_eq!(mapped, Mapped::Row(0));
                format!("{:?}{:?}", rows.cell(0, 0), rows.cell(0, 1))
            };
            let same = left.0 == right.0 && left.1.parse::<f64>().unwrap() == right.1.parse::<f64>().unwrap();
            prop_assert_eq!(cells(&left) == cells(&right), same);
        }
    }
}
