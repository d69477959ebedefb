//! From a row's key back to the item's: the inverse that the injectivity proof of a mapping promises.
//!
//! Every key attribute of the source is either fixed by `where` or held whole by a key column whose conversion keeps
//! distinct values distinct. So it can be read back: a stripped prefix is put in front again, number bytes are decoded, a
//! moment becomes its epoch number. A row whose key no item can have (an empty text, 50 digits) has no source key.

use super::convert::{Conversion, fixed_by};
use super::plan::{AttributePlan, ColumnPlan, TablePlan};
use super::predicate::Test;
use super::spec::Clock;
use super::{KeyAttribute, KeyType, Mapping, time};
use crate::error::{Error, Result};
use crate::model::counts::KeyCell;
use crate::model::json::write_string;
use crate::model::number::Number;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest partition key and sort key in bytes [developer guide, ServiceQuotas].
const MAX_BYTES: [usize; 2] = [2048, 1024];

/// Reads source keys back from target keys.
#[derive(Debug)]
pub struct SourceKeys {
    /// By table: where each key attribute comes from, in the key's order.
    tables: Vec<Vec<Origin>>,
    key: Vec<KeyAttribute>,
}

/// Where one key attribute's value is.
#[derive(Debug)]
enum Origin {
    /// Fixed by the mapping: the value's text, as DynamoDB JSON has it.
    Fixed(String),
    /// In a cell of the target's key.
    Cell { at: usize, conversion: Conversion, prefix: String },
}

impl Mapping {
    /// The way back from rows to items.
    ///
    /// # Errors
    /// `Config` naming the key attribute that cannot be read back.
    pub fn source_keys(&self) -> Result<SourceKeys> {
        let tables = self.tables.iter().zip(&self.plan.tables);
        let of_table = |(table, plan): (&super::Table, &TablePlan)| {
            let origin = |attribute: &KeyAttribute| {
                origin(attribute, &table.key, plan).ok_or_else(|| {
                    Error::config(format!(
                        "table {}: key attribute {} cannot be read back from its rows: take it whole in a key column",
                        table.name, attribute.name
                    ))
                })
            };
            self.key.iter().map(origin).collect::<Result<Vec<_>>>()
        };
        Ok(SourceKeys { tables: tables.map(of_table).collect::<Result<_>>()?, key: self.key.clone() })
    }
}

impl Mapping {
    /// By table, the column that holds the whole item, as DynamoDB JSON.
    ///
    /// # Errors
    /// `Config` naming a table without one: an item cannot be read back from its rows.
    pub fn item_columns(&self) -> Result<Vec<usize>> {
        let column = |(table, plan): (&super::Table, &TablePlan)| {
            let whole = plan.columns.iter().position(|column| matches!(column, ColumnPlan::Whole));
            whole.ok_or_else(|| {
                Error::config(format!(
                    "table {}: no column holds the whole item, so it cannot be read back from its row: a migration with dual \
                     writes keeps items as documents (--key, without --mapping)",
                    table.name
                ))
            })
        };
        self.tables.iter().zip(&self.plan.tables).map(column).collect()
    }
}

fn origin(attribute: &KeyAttribute, key: &[usize], plan: &TablePlan) -> Option<Origin> {
    let whole = plan.checks.iter().filter(|check| check.place.is_whole(&attribute.name));
    let mut fixed = whole.filter_map(|check| match (&check.test, attribute.ty) {
        (Test::EqualsText(text), KeyType::S)
        | (Test::EqualsNumber(text), KeyType::N)
        | (Test::EqualsBinary(text), KeyType::B) => Some(text.clone()),
        _ => None,
    });
    if let Some(text) = fixed.next() {
        return Some(Origin::Fixed(text));
    }
    key.iter().enumerate().find_map(|(at, column)| match plan.columns.get(*column)? {
        ColumnPlan::Attribute(AttributePlan { place, conversion, strip_prefix, .. })
            if place.is_whole(&attribute.name) && fixed_by(*conversion).is_ok() =>
        {
            let prefix = strip_prefix.clone().unwrap_or_default();
            Some(Origin::Cell { at, conversion: *conversion, prefix })
        }
        _ => None,
    })
}

impl SourceKeys {
    /// The key of the item that alone can give a row of `table` with this key: a JSON object in DynamoDB's notation.
    /// None when no item can.
    #[must_use]
    pub fn of(&self, table: usize, cells: &[KeyCell]) -> Option<Vec<u8>> {
        let mut out = b"{".to_vec();
        for (place, (attribute, origin)) in self.key.iter().zip(self.tables.get(table)?).enumerate() {
            let text = match origin {
                Origin::Fixed(text) => text.clone(),
                Origin::Cell { at, conversion, prefix } => value(attribute.ty, *conversion, prefix, cells.get(*at)?)?,
            };
            if !can_be_key(attribute.ty, &text, place) {
                return None;
            }
            if place > 0 {
                out.push(b',');
            }
            write_string(&attribute.name, &mut out);
            out.extend_from_slice(format!(":{{\"{}\":", attribute.ty.tag()).as_bytes());
            write_string(&text, &mut out);
            out.push(b'}');
        }
        out.push(b'}');
        Some(out)
    }
}

/// The value's text, as DynamoDB JSON has it.
fn value(ty: KeyType, conversion: Conversion, prefix: &str, cell: &KeyCell) -> Option<String> {
    let plain = |number: Number| {
        let mut out = Vec::new();
        number.write_plain(&mut out);
        String::from_utf8(out).ok()
    };
    match (ty, conversion, cell) {
        (KeyType::S, Conversion::Varchar(_), KeyCell::Text(text)) => Some(format!("{prefix}{text}")),
        (KeyType::S, Conversion::Varbinary(_), KeyCell::Bytes(bytes)) => {
            Some(format!("{prefix}{}", std::str::from_utf8(bytes).ok()?))
        }
        (KeyType::B, Conversion::Varbinary(_), KeyCell::Bytes(bytes)) => Some(STANDARD.encode(bytes)),
        (KeyType::N, Conversion::NumberKey(_), KeyCell::Bytes(bytes)) => plain(Number::from_key(bytes)?),
        (KeyType::N, Conversion::BigInt | Conversion::Int, KeyCell::Int(value)) => Some(value.to_string()),
        (KeyType::N, Conversion::Decimal { .. }, KeyCell::Text(text)) => plain(Number::parse(text).ok()?),
        // only the plain spelling of a number becomes such a text
        (KeyType::N, Conversion::Varchar(_), KeyCell::Text(text)) => {
            plain(Number::parse(text).ok()?).filter(|plain| plain == text)
        }
        (KeyType::N, Conversion::DateTime(clock), KeyCell::Text(text)) => epoch(time::iso_micros(text).ok()?, clock),
        _ => None,
    }
}

/// The number that counts `micros` in the clock's units.
fn epoch(micros: i64, clock: Clock) -> Option<String> {
    let decimals = match clock {
        Clock::Seconds => 6,
        Clock::Milliseconds => 3,
        Clock::Iso => return None,
    };
    let mut out = Vec::new();
    Number::parse(&format!("{micros}e-{decimals}")).ok()?.write_plain(&mut out);
    String::from_utf8(out).ok()
}

/// Whether DynamoDB takes the text as the key attribute number `place`.
fn can_be_key(ty: KeyType, text: &str, place: usize) -> bool {
    let most = MAX_BYTES.get(place).copied().unwrap_or(MAX_BYTES[1]);
    match ty {
        KeyType::S => (1..=most).contains(&text.len()),
        KeyType::B => (1..=most).contains(&(text.trim_end_matches('=').len() * 3 / 4)),
        KeyType::N => Number::parse(text).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Mapped, parse_key};
    use crate::model::decode::Decoder;
    use crate::model::rows::{CellRef, Rows};
    use proptest::prelude::*;
    use serde_json::Value;

    fn cells(mapping: &Mapping, line: &str) -> Option<(usize, Vec<KeyCell>)> {
        let mut rows: Vec<Rows> = mapping.tables().iter().map(|table| Rows::new(table.columns.len())).collect();
        let mut mapper = mapping.mapper();
        let mapped = Decoder::default().decode(line.as_bytes(), |item| mapper.map(item, line.as_bytes(), 0, &mut rows));
        let Mapped::Row(table) = mapped.unwrap() else { return None };
        let cell = |column: &usize| match rows[table].cell(0, *column) {
            CellRef::Int(value) => KeyCell::Int(value),
            CellRef::Text(text) => KeyCell::Text(String::from_utf8(text.to_vec()).unwrap()),
            CellRef::Bytes(bytes) => KeyCell::Bytes(bytes.to_vec()),
            other => panic!("{other:?} in a key"),
        };
        Some((table, mapping.tables()[table].key.iter().map(cell).collect()))
    }

    /// The key comes back, and the row it came from is its own again.
    fn assert_comes_back(mapping: &Mapping, key: &str) {
        let line = format!("{{\"Item\":{key}}}");
        let Some((table, found)) = cells(mapping, &line) else { panic!("{key} is no row") };
        let back =
            mapping.source_keys().unwrap().of(table, &found).unwrap_or_else(|| panic!("{key} does not come back"));
        let again = format!("{{\"Item\":{}}}", String::from_utf8(back).unwrap());
        let canonical = |line: &str| {
            let item: Value = serde_json::from_str::<Value>(line).unwrap()["Item"].take();
            crate::model::canonical::canonical(&mut Decoder::default(), item.to_string().as_bytes()).unwrap()
        };
        assert_eq!(canonical(&again), canonical(&line));
        assert_eq!(cells(mapping, &again), Some((table, found)));
    }

    fn typed(key: &str, columns: &str) -> Mapping {
        Mapping::parse(&format!("key = \"{key}\"\n[[table]]\nname = \"t\"\nignore = \"*\"\n{columns}"), "m").unwrap()
    }

    fn column(name: &str, rest: &str) -> String {
        format!("[[table.column]]\nname = \"{name}\"\nkey = true\n{rest}\n")
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?[0-9]{1,9}(\\.[0-9]{1,9})?",
            "-?[1-9][0-9]{0,37}",
            "-?[1-9](\\.[0-9]{0,37})?[eE]-?[0-9]{1,2}",
            Just("-0".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn every_key_comes_back_from_a_document(pk in "\\PC{1,20}", sk in number(), binary in prop::collection::vec(any::<u8>(), 1..30)) {
            let pk = Value::from(pk);
            let document = |key: &str| Mapping::document(&parse_key(key).unwrap(), "t", &[]).unwrap();
            assert_comes_back(&document("pk:S,sk:N"), &format!(r#"{{"pk":{{"S":{pk}}},"sk":{{"N":"{sk}"}}}}"#));
            let binary = STANDARD.encode(binary);
            assert_comes_back(&document("pk:B"), &format!(r#"{{"pk":{{"B":"{binary}"}}}}"#));
        }

        #[test]
        fn every_key_comes_back_from_typed_columns(text in "[^\\x00-\\x1f\"\\\\]{0,12}", n in -1_000_000_000_000_i64..1_000_000_000_000, cents in 0..100_u8) {
            let prefixed = typed("pk:S", &column("pk", "strip_prefix = \"ORDER#\"\ntype = \"varchar(40)\""));
            assert_comes_back(&prefixed, &format!(r#"{{"pk":{{"S":"ORDER#{text}"}}}}"#));
            let bytes = typed("pk:S", &column("pk", "strip_prefix = \"ORDER#\"\ntype = \"varbinary(90)\""));
            assert_comes_back(&bytes, &format!(r#"{{"pk":{{"S":"ORDER#{text}"}}}}"#));
            for ty in ["bigint", "decimal(30,4)", "varchar(40)", "varbinary(22)"] {
                assert_comes_back(&typed("pk:N", &column("pk", &format!("type = \"{ty}\""))), &format!(r#"{{"pk":{{"N":"{n}"}}}}"#));
            }
            assert_comes_back(&typed("pk:N", &column("pk", "type = \"decimal(30,4)\"")), &format!(r#"{{"pk":{{"N":"{n}.{cents:02}"}}}}"#));
            for epoch in ["s", "ms"] {
                let moment = typed("pk:N", &column("pk", &format!("type = \"datetime\"\nepoch = \"{epoch}\"")));
                assert_comes_back(&moment, &format!(r#"{{"pk":{{"N":"{}.{cents:03}"}}}}"#, n / 1000));
            }
        }
    }

    #[test]
    fn what_where_fixes_comes_back() {
        let mapping = typed(
            "pk:S,sk:N",
            &format!("where = [{{ attribute = \"sk\", equals = 7 }}]\n{}", column("pk", "type = \"varchar(9)\"")),
        );
        assert_comes_back(&mapping, r#"{"pk":{"S":"a"},"sk":{"N":"7.0"}}"#);
    }

    #[test]
    fn a_row_that_no_item_can_give_has_no_source_key() {
        let document =
            |key: &str| Mapping::document(&parse_key(key).unwrap(), "t", &[]).unwrap().source_keys().unwrap();
        assert_eq!(document("pk:S").of(0, &[KeyCell::Bytes(Vec::new())]), None);
        assert_eq!(document("pk:S").of(0, &[KeyCell::Bytes(vec![0xff])]), None);
        assert_eq!(document("pk:N").of(0, &[KeyCell::Bytes(vec![0x55])]), None);
        assert!(document("pk:B").of(0, &[KeyCell::Bytes(vec![7; 2048])]).is_some());
        assert_eq!(document("pk:B").of(0, &[KeyCell::Bytes(vec![7; 2049])]), None);
        let number = typed("pk:N", &column("pk", "type = \"varchar(60)\"")).source_keys().unwrap();
        assert_eq!(number.of(0, &[KeyCell::Text("1.50".into())]), None);
        assert_eq!(number.of(0, &[KeyCell::Text("1".repeat(39))]), None);
        assert!(number.of(0, &[KeyCell::Text("1.5".into())]).is_some());
    }
}
