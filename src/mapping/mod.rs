//! Item to row, pure: which table takes an item, and what its columns get. Knows no store and no wire.

use crate::model::reject::Reject;
use crate::model::rows::Rows;
use crate::model::value::Item;

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

/// One attribute of the DynamoDB table's primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    /// The attribute's name.
    pub name: String,
    /// Its type.
    pub ty: KeyType,
}

/// The SQL dialect that decides type names and quoting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Oracle MySQL 8.0 and later.
    MySql,
    /// MariaDB 10.6 and later.
    MariaDb,
    /// SQLite with STRICT tables.
    Sqlite,
}

/// The type of a target column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Debug)]
pub struct Mapping {
    tables: Vec<Table>,
}

impl Mapping {
    /// The target tables.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }
}

/// Maps items, one worker's worth: holds the worker's scratch space.
pub struct Mapper<'m> {
    _mapping: &'m Mapping,
}

impl Mapper<'_> {
    /// Maps `item`, decoded from `line`, appending to the rows of the table that takes it.
    pub fn map(&mut self, _item: Item<'_>, _line: &[u8], _position: u64, _rows: &mut [Rows]) -> Mapped {
        Mapped::Skipped
    }
}
