//! From what a mapping file says to a plan, or the reason why not. The proof that two items never meet in one row is
//! here: every key attribute of the source must follow from the target's key columns, or be fixed by `where`.

use super::convert::{Conversion, accepts, append, fixed_by};
use super::fields::located;
use super::plan::{AttributePlan, Check, ColumnPlan, Place, Plan, TablePlan};
use super::shape::Slots;
use super::spec::{Clock, ColumnSpec, Constant, IndexSpec, Spec, TableSpec};
use super::{Column, ColumnType, Index, KeyAttribute, KeyType, Mapping, Table, names};
use crate::error::{Error, Result};
use crate::model::hex;
use crate::model::number::Number;
use crate::model::rows::Rows;
use crate::model::value::Value;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// InnoDB's longest key in bytes, for the default page size [MySQL reference manual, InnoDB limits].
const MAX_KEY_BYTES: u32 = 3072;
/// Columns in an InnoDB key (same page).
const MAX_KEY_COLUMNS: usize = 16;
/// Columns in an InnoDB table (same page).
const MAX_COLUMNS: usize = 1017;
/// Bytes in a row of MySQL, long text and blobs apart [MySQL reference manual, column count and row size].
const MAX_ROW_BYTES: u32 = 65_535;

/// Compiles `spec`, read from `file`.
pub(super) fn compile(spec: &Spec, file: &str) -> Result<Mapping> {
    let mut slots = Slots::default();
    let (mut tables, mut plans) = (Vec::new(), Vec::new());
    for (index, table) in spec.tables.iter().enumerate() {
        let compiler = Compiler { file, key: &spec.key, table };
        compiler.check_table(spec.tables.get(index + 1..).unwrap_or_default())?;
        compiler.check_injective()?;
        let (target, plan) = compiler.plan(&mut slots)?;
        compiler.check_sizes(&target)?;
        tables.push(target);
        plans.push(plan);
    }
    if let Some(name) = names::repeated(tables.iter().map(|table| table.name.as_str())) {
        let line = spec.tables.iter().rev().find(|table| table.name == name).map_or(0, |table| table.line);
        return Err(located(file, line, Some(name), None, "another table has this name; two could meet in one row"));
    }
    let plan = Plan { slots, tables: plans, skip_unmatched: spec.skip_unmatched };
    Ok(Mapping { key: spec.key.clone(), target_key: Vec::new(), tables, plan, identity: identity(spec)? })
}

/// SHA-256 of the serialised form.
pub(super) fn identity(of: &impl Serialize) -> Result<String> {
    let text = serde_json::to_vec(&("mapping", 1, of))
        .map_err(|error| Error::internal("the mapping has no serialised form").because(error))?;
    Ok(hex::lower(&Sha256::digest(text)))
}

/// How `column`, whose source may be a key attribute of type `source_key`, is converted.
fn conversion(column: &ColumnSpec, source_key: Option<KeyType>) -> Conversion {
    match column.ty {
        ColumnType::Varchar(length) => Conversion::Varchar(length),
        ColumnType::Varbinary(length) if source_key == Some(KeyType::N) => Conversion::NumberKey(length),
        ColumnType::Varbinary(length) => Conversion::Varbinary(length),
        ColumnType::Text => Conversion::Text,
        ColumnType::Blob => Conversion::Blob,
        ColumnType::BigInt => Conversion::BigInt,
        ColumnType::Int => Conversion::Int,
        ColumnType::Decimal { precision, scale } => {
            Conversion::Decimal { integer: usize::from(precision - scale), scale: usize::from(scale) }
        }
        ColumnType::Double => Conversion::Double,
        ColumnType::Boolean => Conversion::Boolean,
        ColumnType::Date => Conversion::Date(column.clock),
        ColumnType::DateTime => Conversion::DateTime(column.clock),
        ColumnType::Json => Conversion::Json(column.json),
    }
}

/// One table on its way.
struct Compiler<'s> {
    file: &'s str,
    key: &'s [KeyAttribute],
    table: &'s TableSpec,
}

impl Compiler<'_> {
    fn table_error(&self, message: impl AsRef<str>) -> Error {
        located(self.file, self.table.line, Some(&self.table.name), None, message.as_ref())
    }

    fn column_error(&self, column: &ColumnSpec, message: impl AsRef<str>) -> Error {
        located(self.file, column.line, Some(&self.table.name), Some(&column.name), message.as_ref())
    }

    /// The type of the key attribute that the column takes whole, if it does.
    fn source_key(&self, column: &ColumnSpec) -> Option<KeyType> {
        self.key.iter().find(|attribute| column.from.is_whole(&attribute.name)).map(|attribute| attribute.ty)
    }

    fn check_table(&self, later: &[TableSpec]) -> Result<()> {
        names::check_table(&self.table.name).map_err(|why| self.table_error(why))?;
        for column in &self.table.columns {
            names::check(&column.name).map_err(|why| self.column_error(column, why))?;
            self.check_column(column)?;
        }
        if let Some(rest) = &self.table.rest {
            names::check(rest).map_err(|why| self.table_error(format!("rest column {rest}: {why}")))?;
        }
        let columns = self.table.columns.iter().map(|column| column.name.as_str()).chain(self.table.rest.as_deref());
        if let Some(name) = names::repeated(columns) {
            return Err(self.table_error(format!("column {name} is named twice (case does not count)")));
        }
        if let Some(next) = later.first().filter(|_| self.table.conditions.is_empty()) {
            let message =
                format!("it takes every item, so table {} never gets one: add a where, or move it last", next.name);
            return Err(self.table_error(message));
        }
        Ok(())
    }

    fn check_column(&self, column: &ColumnSpec) -> Result<()> {
        let source_key = self.source_key(column);
        if let Some(ty) = source_key
            && !accepts(conversion(column, source_key), ty)
        {
            let message =
                format!("key attribute {} is of type {}, which {} does not take", column.from, ty.tag(), column.ty);
            return Err(self.column_error(column, message));
        }
        if column.strip_prefix.is_some() && !strips(column, source_key) {
            return Err(self.column_error(column, "strip_prefix needs text from an attribute of type S"));
        }
        if !column.key {
            return Ok(());
        }
        if !column.only_values() {
            return Err(self.column_error(column, "a key column must reject what is missing, NULL or of another type"));
        }
        if matches!(column.ty, ColumnType::Text | ColumnType::Blob | ColumnType::Json | ColumnType::Double) {
            return Err(self.column_error(column, format!("a column of type {} cannot be part of a key", column.ty)));
        }
        Ok(())
    }

    /// Every key attribute of the source must follow from the target key.
    fn check_injective(&self) -> Result<()> {
        if !self.table.columns.iter().any(|column| column.key) {
            return Err(self.table_error("it has no key: mark the columns made from the DynamoDB key with key = true"));
        }
        for attribute in self.key {
            let conditions = self.table.conditions.iter();
            let mut fixed = conditions.filter(|condition| condition.attribute.is_whole(&attribute.name));
            if fixed.any(|condition| condition.test.fixes()) {
                continue;
            }
            let mut lossy = None;
            let mut proved = false;
            for column in self.table.columns.iter().filter(|column| column.key && column.from.is_whole(&attribute.name))
            {
                match fixed_by(conversion(column, Some(attribute.ty))) {
                    Ok(()) => proved = true,
                    Err(why) => lossy = Some((column, why)),
                }
            }
            match lossy {
                _ if proved => {}
                Some((column, why)) => {
                    let message = format!(
                        "two items could meet in one row: {why}; take {attribute} as another type",
                        attribute = attribute.name
                    );
                    return Err(self.column_error(column, message));
                }
                None => {
                    let message = format!(
                        "two items could meet in one row: its key columns leave key attribute {name} open; add a column \
                         with from = \"{name}\" and key = true, or fix it with where … equals",
                        name = attribute.name
                    );
                    return Err(self.table_error(message));
                }
            }
        }
        Ok(())
    }

    fn plan(&self, slots: &mut Slots) -> Result<(Table, TablePlan)> {
        let conditions = self.table.conditions.iter();
        let checks = conditions
            .map(|condition| Check { place: Place::new(slots, &condition.attribute), test: condition.test.clone() })
            .collect();
        let (mut columns, mut plans, mut key) = (Vec::new(), Vec::new(), Vec::new());
        for (index, column) in self.table.columns.iter().enumerate() {
            if column.key {
                key.push(index);
            }
            columns.push(Column { name: column.name.clone(), ty: column.ty, nullable: column.nullable() });
            plans.push(ColumnPlan::Attribute(self.plan_column(column, slots)?));
        }
        if let Some(rest) = &self.table.rest {
            columns.push(Column { name: rest.clone(), ty: ColumnType::Json, nullable: false });
            plans.push(ColumnPlan::Rest);
        }
        let indexes = self.indexes(&columns)?;
        let table = Table { name: self.table.name.clone(), columns, key, indexes };
        let named = self.named(slots);
        Ok((table, TablePlan { checks, columns: plans, has_rest: self.table.rest.is_some(), named }))
    }

    fn indexes(&self, columns: &[Column]) -> Result<Vec<Index>> {
        let specs = &self.table.indexes;
        if let Some(name) = names::repeated(specs.iter().map(|index| index.name.as_str())) {
            return Err(self.table_error(format!("index {name} is named twice (case does not count)")));
        }
        let refuse = |index: &IndexSpec, why: &str| self.table_error(format!("index {}: {why}", index.name));
        let index = |index: &IndexSpec| {
            names::check(&index.name).map_err(|why| refuse(index, &why))?;
            let place = |name: &String| {
                let found = columns.iter().position(|column| column.name == *name);
                let found = found.ok_or_else(|| refuse(index, &format!("there is no column {name}")))?;
                match columns[found].ty {
                    ColumnType::Text | ColumnType::Blob | ColumnType::Json => {
                        Err(refuse(index, &format!("column {name} is of a type without a length")))
                    }
                    _ => Ok(found),
                }
            };
            let places = index.columns.iter().map(place).collect::<Result<Vec<_>>>()?;
            let bytes: u32 = places.iter().map(|place| stored_bytes(columns[*place].ty)).sum();
            if bytes > MAX_KEY_BYTES {
                return Err(refuse(index, &format!("it can take {bytes} bytes and InnoDB's limit is {MAX_KEY_BYTES}")));
            }
            Ok(Index { name: index.name.clone(), columns: places })
        };
        specs.iter().map(index).collect()
    }

    /// The slots of every attribute that the table names; none when it need not know the others.
    fn named(&self, slots: &mut Slots) -> Option<Vec<usize>> {
        if self.table.rest.is_some() || self.table.ignore.iter().any(|name| name == "*") {
            return None;
        }
        let columns = self.table.columns.iter().map(|column| column.from.root.as_str());
        let conditions = self.table.conditions.iter().map(|condition| condition.attribute.root.as_str());
        let ignored = self.table.ignore.iter().map(String::as_str);
        let mut named: Vec<usize> = columns.chain(conditions).chain(ignored).map(|name| slots.slot(name)).collect();
        named.sort_unstable();
        named.dedup();
        Some(named)
    }

    fn plan_column(&self, column: &ColumnSpec, slots: &mut Slots) -> Result<AttributePlan> {
        let source_key = self.source_key(column);
        Ok(AttributePlan {
            place: Place::new(slots, &column.from),
            ty: column.ty,
            conversion: conversion(column, source_key),
            source_key,
            strip_prefix: column.strip_prefix.clone(),
            missing: column.missing,
            null: column.null,
            mismatch: column.mismatch,
            default: self.default(column)?,
        })
    }

    /// The default as the cell that it gives, made by the same conversion as any value.
    fn default(&self, column: &ColumnSpec) -> Result<Option<Rows>> {
        let default = match (&column.default, column.uses_default()) {
            (Some(default), true) => default,
            (None, false) => return Ok(None),
            (Some(_), false) => {
                let message = "it has a default that nothing uses: say missing, null or mismatch = \"default\"";
                return Err(self.column_error(column, message));
            }
            (None, true) => return Err(self.column_error(column, "a rule says default, and there is no default")),
        };
        let mut rows = Rows::new(1);
        if !append_default(column, default, &mut rows) {
            return Err(self.column_error(column, format!("its default is not a {}, or does not fit", column.ty)));
        }
        rows.end_row(0);
        Ok(Some(rows))
    }

    fn check_sizes(&self, table: &Table) -> Result<()> {
        if table.columns.len() > MAX_COLUMNS {
            return Err(self.table_error(format!("it has {} columns, InnoDB takes {MAX_COLUMNS}", table.columns.len())));
        }
        if table.key.len() > MAX_KEY_COLUMNS {
            return Err(
                self.table_error(format!("its key has {} columns, MySQL takes {MAX_KEY_COLUMNS}", table.key.len()))
            );
        }
        let key: u32 = table.key.iter().map(|index| stored_bytes(table.columns[*index].ty)).sum();
        if key > MAX_KEY_BYTES {
            let message = format!(
                "its key can take {key} bytes and InnoDB's limit is {MAX_KEY_BYTES}: shorten its columns (a character of \
                 varchar counts four bytes, one of varbinary one)"
            );
            return Err(self.table_error(message));
        }
        let row = table.columns.iter().map(|column| u64::from(stored_bytes(column.ty)) + 2).sum::<u64>();
        if row > u64::from(MAX_ROW_BYTES) {
            let message =
                format!("its row can take {row} bytes and MySQL's limit is {MAX_ROW_BYTES}: use text or blob");
            return Err(self.table_error(message));
        }
        Ok(())
    }
}

/// Whether the column gets text that a prefix can be cut off.
fn strips(column: &ColumnSpec, source_key: Option<KeyType>) -> bool {
    let text = match column.ty {
        ColumnType::Varchar(_) | ColumnType::Varbinary(_) | ColumnType::Text | ColumnType::Blob => true,
        ColumnType::Date | ColumnType::DateTime => column.clock == Clock::Iso,
        _ => false,
    };
    text && source_key.is_none_or(|ty| ty == KeyType::S)
}

/// Appends the default's cell; says whether it is one.
fn append_default(column: &ColumnSpec, default: &Constant, rows: &mut Rows) -> bool {
    let plain = conversion(column, None);
    let iso = match plain {
        Conversion::Date(_) => Conversion::Date(Clock::Iso),
        Conversion::DateTime(_) => Conversion::DateTime(Clock::Iso),
        other => other,
    };
    let result = match (column.ty, default) {
        (ColumnType::Json, Constant::Text(text)) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            append(Conversion::Text, Value::S(text), rows)
        }
        (ColumnType::Json, _) => return false,
        (
            ColumnType::BigInt | ColumnType::Int | ColumnType::Decimal { .. } | ColumnType::Double,
            Constant::Text(number) | Constant::Number(number),
        )
        | (_, Constant::Number(number)) => {
            if Number::parse(number).is_err() {
                return false;
            }
            append(plain, Value::N(number), rows)
        }
        (_, Constant::Text(text)) => append(iso, Value::S(text), rows),
        (_, Constant::Bool(value)) => append(plain, Value::Bool(*value), rows),
    };
    result.is_ok()
}

/// Bytes that a value takes in a key or a row at most; long texts and blobs are stored apart.
fn stored_bytes(ty: ColumnType) -> u32 {
    match ty {
        ColumnType::Varchar(length) => length * 4,
        ColumnType::Varbinary(length) => length,
        ColumnType::Text | ColumnType::Blob | ColumnType::Json => 12,
        // nine digits are four bytes, on each side of the point
        ColumnType::Decimal { precision, scale } => {
            (u32::from(precision - scale).div_ceil(9) + u32::from(scale).div_ceil(9)) * 4
        }
        ColumnType::BigInt | ColumnType::Double | ColumnType::DateTime => 8,
        ColumnType::Int => 4,
        ColumnType::Date => 3,
        ColumnType::Boolean => 1,
    }
}
