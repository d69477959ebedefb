//! The mapping file: which items go to which table, and what each column gets. This page is its reference.
//!
//! ```toml
//! key = "pk:S,sk:S"            # the DynamoDB table's key: partition key, sort key
//! unmatched = "reject"         # items that no table takes: "reject" (default) or "skip", counted as skipped by rule
//!
//! [[table]]
//! name = "orders"
//! where = [
//!     { attribute = "pk", begins_with = "CUST#" },
//!     { attribute = "sk", begins_with = "ORDER#" },
//! ]
//! rest = "extra"               # a JSON column for every attribute that no column took; or: ignore = ["ttl"]
//!
//! [[table.column]]
//! name = "customer_id"
//! from = "pk"
//! strip_prefix = "CUST#"
//! type = "varchar(64)"
//! key = true
//!
//! [[table.column]]
//! name = "order_id"
//! from = "sk"
//! strip_prefix = "ORDER#"
//! type = "varchar(64)"
//! key = true
//!
//! [[table.column]]
//! name = "total"
//! type = "decimal(12,2)"
//!
//! [[table.column]]
//! name = "zip"
//! from = "address.zip"
//! type = "varchar(16)"
//! missing = "null"
//!
//! [[table.column]]
//! name = "placed_at"
//! type = "datetime"
//! epoch = "ms"
//! ```
//!
//! # Tables
//!
//! An item goes to the first table all of whose `where` conditions hold; a table without `where` takes every item, so
//! it must be the last. A condition names an `attribute` (a path, see below) and one or more of:
//!
//! | condition | holds when the value |
//! |---|---|
//! | `equals = "order"`, `= 5`, `= true` | is this S, N (compared as a number) or BOOL |
//! | `equals = "12.5", type = "N"` | is this number, written as text; with `type = "B"` this binary, as base64 |
//! | `begins_with = "ORDER#"` | is an S that begins so |
//! | `type = "N"` | is of this type: S, N, B, BOOL, NULL, M, L, SS, NS, BS |
//! | `exists = true` | is there (NULL counts); `false`: is not there |
//!
//! # Columns
//!
//! | field | meaning | when left out |
//! |---|---|---|
//! | `name` | the column | required |
//! | `from` | the attribute: `total`, `address.zip`, `tags[0]`, `"name.with.dots".x` | the attribute called `name` |
//! | `type` | see below | required |
//! | `key` | part of the target's primary key, in the order of the file | `false` |
//! | `strip_prefix` | cut off the front of an S; a text without it counts as a mismatch | nothing is cut |
//! | `missing` | when the attribute is absent: `reject` the item, store `null`, or the `default` | `reject` |
//! | `null` | when the attribute is NULL: the same three | as `missing` says |
//! | `mismatch` | when it is of another type, or text that is no date: the same three | `reject` |
//! | `default` | text, number or boolean that the column can hold | |
//! | `epoch` | for date and datetime: the attribute is an N of seconds (`s`) or milliseconds (`ms`) | ISO-8601 S |
//! | `json` | for json: `dynamodb`, with type tags and lossless, or `plain` | `dynamodb` |
//!
//! A column takes NULL only if one of its rules says `null`. A path through NULL leads to nothing: its value is missing.
//!
//! | type | takes | notes |
//! |---|---|---|
//! | `varchar(n)`, `text` | S; N as plain decimal text | n counts characters; spaces at the end stay |
//! | `varbinary(n)`, `blob` | B decoded; S as UTF-8 | also a key attribute of type N, as bytes that sort as numbers do (n = 22 holds all) |
//! | `bigint`, `int` | N, whole numbers | 64 and 32 bits |
//! | `decimal(p,s)` | N | at most 65 digits, 30 of them after the point; never rounded |
//! | `double` | N | rounds: the one type that does |
//! | `boolean` | BOOL | stored as 0 or 1 |
//! | `date`, `datetime` | S in ISO-8601 or N | UTC (an offset is applied, none means UTC), microseconds, years 1000 to 9999; a date has no time of day |
//! | `json` | anything | sets in canonical order when plain; NULL is stored as JSON unless `null` is given |
//!
//! Plain JSON writes a number as a JSON number when it is an integer that fits 64 bits, signed or unsigned, and as a
//! string otherwise, since MySQL would round it; B is base64 text.
//!
//! **What does not fit is always rejected**, whatever the rules say: text or bytes that are too long, a number out of
//! range or with more digits after the point, a time finer than a microsecond, a leap second.
//!
//! `rest` gives the table a last column, of type json, with every top-level attribute that no column of the row holds
//! whole, as DynamoDB JSON: also one of which a column took only a part, or for which NULL or a default stands in.
//! Without `rest`, an item with an attribute that no column and no condition of the table names is rejected, so that
//! nothing is dropped unseen. `ignore = ["note", "ttl"]` names what may be dropped; `ignore = "*"` drops it all.
//!
//! # Indexes
//!
//! ```toml
//! [[table.index]]
//! name = "by_status"
//! columns = ["status", "placed_at"]
//! ```
//!
//! A secondary index, never a unique one. It is created with the table, or with `--defer-indexes` when all rows are
//! there, which is faster. Its columns are the table's, but for `text`, `blob` and `json`.
//!
//! # Keys
//!
//! Two different items must never meet in one row, so a mapping is refused unless each attribute of `key` follows from
//! the target's key: a column with `key = true` takes it whole as `varchar`, `varbinary`, `bigint`, `int`, `decimal` or
//! `datetime` with `epoch` (with or without `strip_prefix`), or `where` fixes it with `equals`. Key columns reject what
//! is missing or of another type, and together take at most 3072 bytes, four for each character of `varchar`. Further
//! columns may be part of the key; let them be ones that never change in an item. Names of tables and columns are at
//! most 64 characters and must differ by more than case.

use super::fields::{Fields, Place};
use super::path::Path;
use super::predicate::{Condition, Test};
use super::spec::{Clock, ColumnSpec, Constant, Fallback, IndexSpec, JsonForm, Spec, TableSpec};
use super::{ColumnType, Mapping, compile, parse_key};
use crate::error::Result;
use crate::model::number::Number;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use toml::de::DeValue;

/// Something read, or what is wrong with it; the caller says where.
type Read<T> = std::result::Result<T, String>;

/// Longest VARCHAR and VARBINARY that fit MySQL's row of 65535 bytes.
const MAX_VARCHAR: u32 = 16_383;
const MAX_VARBINARY: u32 = 65_532;
/// MySQL's limits of DECIMAL.
const MAX_PRECISION: u32 = 65;
const MAX_SCALE: u32 = 30;

/// The type tags of DynamoDB JSON.
const TAGS: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"];

const FALLBACKS: [(&str, Fallback); 3] =
    [("reject", Fallback::Reject), ("null", Fallback::Null), ("default", Fallback::Default)];

impl Mapping {
    /// Compiles the text of a mapping file; `file_name` is for messages. [The module](self) is the reference.
    ///
    /// # Errors
    /// `Config`, naming the file, the line, the table and the column.
    pub fn parse(text: &str, file_name: &str) -> Result<Self> {
        let mut fields = Place { file: file_name, text }.parse()?;
        let key = fields.read("key", |text| parse_key(text).map_err(|error| error.to_string()))?;
        let key =
            key.ok_or_else(|| fields.error("key is missing: write key = \"NAME:TYPE\", the DynamoDB table's key"))?;
        if fields.take("item").is_some() {
            return Err(fields.error("[item] is for a DynamoDB target: for SQL tables write [[table]]"));
        }
        let unmatched = fields.choice("unmatched", &[("reject", false), ("skip", true)])?;
        let tables = fields.tables("table")?.into_iter().map(table).collect::<Result<Vec<_>>>()?;
        if tables.is_empty() {
            return Err(fields.error("it has no [[table]]"));
        }
        fields.finish()?;
        compile::compile(&Spec { key, skip_unmatched: unmatched.unwrap_or(false), tables }, file_name)
    }
}

fn table(mut fields: Fields<'_>) -> Result<TableSpec> {
    let name = fields.required("name")?;
    fields.name_table(&name);
    let mut conditions = Vec::new();
    for condition in fields.tables("where")? {
        conditions.extend(read_conditions(condition)?);
    }
    let columns = fields.tables("column")?.into_iter().map(column).collect::<Result<_>>()?;
    let indexes = fields.tables("index")?.into_iter().map(index).collect::<Result<_>>()?;
    let (rest, ignore) = (fields.text("rest")?, fields.texts("ignore")?);
    if rest.is_some() && !ignore.is_empty() {
        return Err(fields.error("rest takes what no column took, so there is nothing to ignore: drop one of them"));
    }
    let spec = TableSpec { line: fields.line(), name, conditions, columns, rest, ignore, indexes };
    fields.finish()?;
    Ok(spec)
}

fn index(mut fields: Fields<'_>) -> Result<IndexSpec> {
    let spec = IndexSpec { name: fields.required("name")?, columns: fields.texts("columns")? };
    if spec.columns.is_empty() {
        return Err(fields.error(format!("index {} has no columns: write columns = [\"…\"]", spec.name)));
    }
    fields.finish()?;
    Ok(spec)
}

fn column(mut fields: Fields<'_>) -> Result<ColumnSpec> {
    let name = fields.required("name")?;
    fields.name_column(&name);
    let from = fields.read("from", Path::parse)?;
    let ty = fields.read("type", column_type)?.ok_or_else(|| fields.error("type is missing"))?;
    let missing = fields.choice("missing", &FALLBACKS)?.unwrap_or(Fallback::Reject);
    let null = fields.choice("null", &FALLBACKS)?;
    let clock = fields.choice("epoch", &[("s", Clock::Seconds), ("ms", Clock::Milliseconds)])?;
    if clock.is_some() && !matches!(ty, ColumnType::Date | ColumnType::DateTime) {
        return Err(fields.error("epoch is for columns of type date and datetime"));
    }
    let json = fields.choice("json", &[("dynamodb", JsonForm::DynamoDb), ("plain", JsonForm::Plain)])?;
    if json.is_some() && ty != ColumnType::Json {
        return Err(fields.error("json is for columns of type json"));
    }
    let spec = ColumnSpec {
        line: fields.line(),
        from: from.unwrap_or_else(|| Path { root: name.clone(), steps: Vec::new() }),
        name,
        strip_prefix: fields.text("strip_prefix")?,
        ty,
        key: fields.boolean("key")?.unwrap_or(false),
        missing,
        null: if ty == ColumnType::Json { null } else { Some(null.unwrap_or(missing)) },
        mismatch: fields.choice("mismatch", &FALLBACKS)?.unwrap_or(Fallback::Reject),
        default: constant(&mut fields, "default")?,
        clock: clock.unwrap_or(Clock::Iso),
        json: json.unwrap_or(JsonForm::DynamoDb),
    };
    fields.finish()?;
    Ok(spec)
}

/// The conditions of one entry of `where`.
fn read_conditions(mut fields: Fields<'_>) -> Result<Vec<Condition>> {
    let attribute = fields.read("attribute", Path::parse)?.ok_or_else(|| fields.error("attribute is missing"))?;
    let tag = fields.read("type", |text| {
        let tag = TAGS.iter().find(|tag| **tag == text);
        tag.copied().ok_or_else(|| format!("type must be one of {}", TAGS.join(", ")))
    })?;
    let mut tests = Vec::new();
    match (constant(&mut fields, "equals")?, tag) {
        (Some(constant), tag) => tests.push(equality(&constant, tag).map_err(|why| fields.error(why))?),
        (None, Some(tag)) => tests.push(Test::Type(tag)),
        (None, None) => {}
    }
    tests.extend(fields.boolean("exists")?.map(Test::Exists));
    tests.extend(fields.text("begins_with")?.map(Test::BeginsWith));
    if tests.is_empty() {
        return Err(fields.error("a condition needs equals, begins_with, type or exists"));
    }
    fields.finish()?;
    Ok(tests.into_iter().map(|test| Condition { attribute: attribute.clone(), test }).collect())
}

fn equality(constant: &Constant, tag: Option<&str>) -> Read<Test> {
    match (constant, tag) {
        (Constant::Text(text), None | Some("S")) => Ok(Test::EqualsText(text.clone())),
        (Constant::Text(text), Some("N")) | (Constant::Number(text), None | Some("N")) => {
            let number = Number::parse(text).map_err(|_| "equals is not a number that DynamoDB can hold")?;
            let mut plain = Vec::new();
            number.write_plain(&mut plain);
            Ok(Test::EqualsNumber(String::from_utf8_lossy(&plain).into_owned()))
        }
        (Constant::Text(text), Some("B")) => {
            let bytes = STANDARD.decode(text).map_err(|_| "equals is not base64")?;
            Ok(Test::EqualsBinary(STANDARD.encode(bytes)))
        }
        (Constant::Bool(value), None | Some("BOOL")) => Ok(Test::EqualsBool(*value)),
        (_, Some(tag)) => Err(format!("equals is not a value of type {tag}")),
    }
}

/// Takes a text, a number or a boolean.
fn constant(fields: &mut Fields<'_>, name: &str) -> Result<Option<Constant>> {
    let Some(value) = fields.take(name) else { return Ok(None) };
    Ok(Some(match value.get_ref() {
        DeValue::String(text) => Constant::Text(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Constant::Number(number.as_str().to_owned()),
        DeValue::Float(number) => Constant::Number(number.as_str().to_owned()),
        DeValue::Boolean(value) => Constant::Bool(*value),
        _ => return Err(fields.error(format!("{name} must be text, a decimal number, true or false"))),
    }))
}

/// Reads a column type: `varchar(64)`, `decimal(12, 2)`, `bigint`.
fn column_type(text: &str) -> Read<ColumnType> {
    let lower = text.to_ascii_lowercase();
    let (name, arguments) = match lower.split_once('(') {
        Some((name, rest)) => {
            (name.trim(), Some(rest.strip_suffix(')').ok_or_else(|| format!("type {text} has an open ("))?))
        }
        None => (lower.trim(), None),
    };
    let numbers =
        arguments.map(|list| list.split(',').map(|number| number.trim().parse::<u32>().ok()).collect::<Vec<_>>());
    match (name, numbers.as_deref()) {
        ("varchar", Some([Some(length @ 1..=MAX_VARCHAR)])) => Ok(ColumnType::Varchar(*length)),
        ("varchar", _) => Err(format!("write varchar(n), n from 1 to {MAX_VARCHAR} characters; text has no limit")),
        ("varbinary", Some([Some(length @ 1..=MAX_VARBINARY)])) => Ok(ColumnType::Varbinary(*length)),
        ("varbinary", _) => Err(format!("write varbinary(n), n from 1 to {MAX_VARBINARY} bytes; blob has no limit")),
        ("decimal", Some([Some(precision)])) => decimal(*precision, 0),
        ("decimal", Some([Some(precision), Some(scale)])) => decimal(*precision, *scale),
        ("decimal", _) => Err("write decimal(p,s): p digits, s of them after the point".into()),
        ("text", None) => Ok(ColumnType::Text),
        ("blob", None) => Ok(ColumnType::Blob),
        ("bigint", None) => Ok(ColumnType::BigInt),
        ("int", None) => Ok(ColumnType::Int),
        ("double", None) => Ok(ColumnType::Double),
        ("boolean", None) => Ok(ColumnType::Boolean),
        ("date", None) => Ok(ColumnType::Date),
        ("datetime", None | Some([Some(6)])) => Ok(ColumnType::DateTime),
        ("json", None) => Ok(ColumnType::Json),
        _ => Err(format!(
            "type {text} is not one of varchar(n), varbinary(n), text, blob, bigint, int, decimal(p,s), double, boolean, \
             date, datetime, json"
        )),
    }
}

fn decimal(precision: u32, scale: u32) -> Read<ColumnType> {
    let bad =
        || format!("decimal({precision},{scale}) needs 1 to {MAX_PRECISION} digits, 0 to {MAX_SCALE} after the point");
    if precision == 0 || precision > MAX_PRECISION || scale > MAX_SCALE || scale > precision {
        return Err(bad());
    }
    Ok(ColumnType::Decimal {
        precision: u8::try_from(precision).map_err(|_| bad())?,
        scale: u8::try_from(scale).map_err(|_| bad())?,
    })
}

#[cfg(test)]
mod tests;
