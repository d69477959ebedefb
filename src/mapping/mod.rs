//! Item to row, pure: which table takes an item, and what its columns get. Knows no store and no wire.
//!
//! A mapping is compiled once, either from a key alone ([`Mapping::document`]) or from a mapping file
//! ([`Mapping::parse`]; [`mod@file`] is its reference), into a plan that a [`Mapper`] follows for each item. For a
//! DynamoDB target, where items stay items, [`Mapping::items`] and [`Mapping::parse_items`] are these two
//! ([`mod@items`] is the reference). The room promises:
//! - Distinct source keys give distinct target keys. This is proved when the mapping is compiled, or it is refused.
//! - A value is stored exactly or its item is rejected: nothing is cut, clamped, rounded or merged on the way. Length,
//!   range, scale and encoding are checked here, before a server sees the row.
//! - The same mapping has the same [`Mapping::identity`], and maps the same item to the same row.

use crate::model::reject::Reject;
use serde::Serialize;
use std::fmt;

mod compile;
mod convert;
pub mod ddl;
mod document;
mod fields;
pub mod file;
pub mod fit;
pub mod footprint;
mod inverse;
pub mod items;
mod json;
mod json_text;
mod jsonb;
pub mod key;
mod mapper;
pub mod names;
mod path;
mod plan;
mod predicate;
mod removal;
mod reshape;
mod shape;
mod spec;
mod spelled;
mod time;

pub use inverse::SourceKeys;
pub use json_text::JsonText;
pub use key::parse_key;
pub use mapper::Mapper;
pub use removal::KeyMapper;
pub use time::{TimeText, moment_micros, moment_text, time_text};

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum KeyType {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

/// One attribute of the DynamoDB table's primary key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyAttribute {
    /// The attribute's name.
    pub name: String,
    /// Its type.
    pub ty: KeyType,
}

/// As `--key` spells it.
impl fmt::Display for KeyAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.name, self.ty)
    }
}

/// The type of a target column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ColumnType {
    /// Characters, in a collation that keeps distinct texts distinct.
    Varchar(u32),
    /// Bytes.
    Varbinary(u32),
    /// Long text.
    Text,
    /// Long bytes.
    Blob,
    /// 64 bits.
    BigInt,
    /// 32 bits.
    Int,
    /// Exact decimal.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// A float: only when asked for by name.
    Double,
    /// 0 or 1.
    Boolean,
    /// A day.
    Date,
    /// A moment, UTC, microseconds.
    DateTime,
    /// JSON, as the dialect stores it without loss.
    Json,
}

/// A target column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Whether it takes NULL.
    pub nullable: bool,
}

/// A target table: rows have a cell for each column, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The primary key, as indexes into `columns`.
    pub key: Vec<usize>,
    /// Its secondary indexes, none of them unique.
    pub indexes: Vec<Index>,
}

/// A secondary index of a target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its columns, as indexes into those of the table.
    pub columns: Vec<usize>,
}

/// What became of one item.
#[derive(Debug, PartialEq, Eq)]
pub enum Mapped {
    /// A row was appended to the table of this index.
    Row(usize),
    /// No table takes it, and the mapping says to skip such items.
    Skipped,
    /// It cannot be stored as it is.
    Rejected(Reject),
}

/// A compiled mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    key: Vec<KeyAttribute>,
    target_key: Vec<KeyAttribute>,
    tables: Vec<Table>,
    plan: plan::Plan,
    identity: String,
}

impl Mapping {
    /// The target tables.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The primary key of the DynamoDB table: the partition key, then the sort key if there is one.
    #[must_use]
    pub fn key(&self) -> &[KeyAttribute] {
        &self.key
    }

    /// The primary key that a DynamoDB table must have which takes the items; empty when the target is an SQL database.
    #[must_use]
    pub fn target_key(&self) -> &[KeyAttribute] {
        &self.target_key
    }

    /// SHA-256 in hex of what was compiled: mappings that map alike, whatever the layout of their files, have the same.
    #[must_use]
    pub fn identity(&self) -> String {
        self.identity.clone()
    }

    /// A mapper for one worker.
    #[must_use]
    pub fn mapper(&self) -> Mapper<'_> {
        Mapper::new(self)
    }
}

impl KeyType {
    /// Its tag in DynamoDB JSON.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            KeyType::S => "S",
            KeyType::N => "N",
            KeyType::B => "B",
        }
    }
}

/// As a mapping file spells it.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Varchar(length) => write!(f, "varchar({length})"),
            ColumnType::Varbinary(length) => write!(f, "varbinary({length})"),
            ColumnType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            ColumnType::Text => f.write_str("text"),
            ColumnType::Blob => f.write_str("blob"),
            ColumnType::BigInt => f.write_str("bigint"),
            ColumnType::Int => f.write_str("int"),
            ColumnType::Double => f.write_str("double"),
            ColumnType::Boolean => f.write_str("boolean"),
            ColumnType::Date => f.write_str("date"),
            ColumnType::DateTime => f.write_str("datetime"),
            ColumnType::Json => f.write_str("json"),
        }
    }
}
