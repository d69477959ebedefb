//! What a mapping file says, read but not yet proved: names, types and rules with every default filled in, and the
//! lines they stand on. [`compile`](super::compile) turns it into a plan. Its serialised form is the mapping's identity.

use super::path::Path;
use super::predicate::Condition;
use super::{ColumnType, KeyAttribute};
use serde::Serialize;

/// A mapping file.
#[derive(Debug, Serialize)]
pub(super) struct Spec {
    /// The DynamoDB table's key.
    pub(super) key: Vec<KeyAttribute>,
    /// Whether items that no table takes are skipped; otherwise they are rejected.
    pub(super) skip_unmatched: bool,
    /// The tables, in the order in which they are asked.
    pub(super) tables: Vec<TableSpec>,
}

/// One `[[table]]`.
#[derive(Debug, Serialize)]
pub(super) struct TableSpec {
    /// Where it begins, from one.
    #[serde(skip)]
    pub(super) line: usize,
    /// The target table's name.
    pub(super) name: String,
    /// All must hold for an item to be taken.
    pub(super) conditions: Vec<Condition>,
    /// The columns, without `rest`.
    pub(super) columns: Vec<ColumnSpec>,
    /// The name of the column for everything that no column took.
    pub(super) rest: Option<String>,
    /// Attributes that may be left out knowingly; `*` for all.
    pub(super) ignore: Vec<String>,
    /// Its secondary indexes. Not part of what the mapping is: rows are the same with and without.
    #[serde(skip)]
    pub(super) indexes: Vec<IndexSpec>,
}

/// One `[[table.index]]`.
#[derive(Debug)]
pub(super) struct IndexSpec {
    /// Its name.
    pub(super) name: String,
    /// Its columns, in order.
    pub(super) columns: Vec<String>,
}

/// One `[[table.column]]`.
#[derive(Debug, Serialize)]
pub(super) struct ColumnSpec {
    /// Where it begins, from one.
    #[serde(skip)]
    pub(super) line: usize,
    /// The target column's name.
    pub(super) name: String,
    /// Where its value comes from.
    pub(super) from: Path,
    /// Cut off the front of the text.
    pub(super) strip_prefix: Option<String>,
    /// The target column's type.
    pub(super) ty: ColumnType,
    /// Part of the target's primary key.
    pub(super) key: bool,
    /// What to do when the attribute is absent.
    pub(super) missing: Fallback,
    /// What to do when the attribute is NULL; none means that NULL is a value like any other (JSON columns).
    pub(super) null: Option<Fallback>,
    /// What to do when the attribute is of another type.
    pub(super) mismatch: Fallback,
    /// The value of `default`.
    pub(super) default: Option<Constant>,
    /// How date and time are written.
    pub(super) clock: Clock,
    /// How JSON is written.
    pub(super) json: JsonForm,
}

/// What a column gets instead of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Fallback {
    /// The item is rejected.
    Reject,
    /// NULL.
    Null,
    /// The column's default.
    Default,
}

/// How a date or a moment is written in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Clock {
    /// ISO-8601 text.
    Iso,
    /// A number of seconds since 1970 UTC.
    Seconds,
    /// A number of milliseconds since 1970 UTC.
    Milliseconds,
}

/// How a value is written into a JSON column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum JsonForm {
    /// With DynamoDB's type tags: lossless.
    DynamoDb,
    /// As plain JSON.
    Plain,
}

/// A constant of the mapping file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Constant {
    /// Text.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// A boolean.
    Bool(bool),
}

impl ColumnSpec {
    /// Whether any rule gives NULL.
    pub(super) fn nullable(&self) -> bool {
        self.rules().contains(&Some(Fallback::Null))
    }

    /// Whether any rule gives the default.
    pub(super) fn uses_default(&self) -> bool {
        self.rules().contains(&Some(Fallback::Default))
    }

    /// Whether nothing but a value gets in.
    pub(super) fn only_values(&self) -> bool {
        self.rules().iter().flatten().all(|rule| *rule == Fallback::Reject)
    }

    fn rules(&self) -> [Option<Fallback>; 3] {
        [Some(self.missing), self.null, Some(self.mismatch)]
    }
}
