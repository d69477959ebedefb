//! Whether an existing table can take the rows of a mapping without merging, cutting or altering any. Pure: a driver
//! fills in the [`FoundTable`], from `information_schema` or SQLite's pragmas.

use super::names::fold;
use super::{Column, Table};
use crate::model::dialect::Dialect;
use std::collections::BTreeSet;

mod columns;

/// A table as the server describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTable {
    /// Its columns.
    pub columns: Vec<FoundColumn>,
    /// The primary key's columns; empty when there is none.
    pub primary_key: Vec<KeyPart>,
    /// Unique indexes besides the primary key: name and columns. An indexed expression counts as a column of no name.
    pub unique_indexes: Vec<(String, Vec<String>)>,
    /// Names of triggers.
    pub triggers: Vec<String>,
    /// Names of foreign keys of this table to others.
    pub foreign_keys: Vec<String>,
    /// CHECK constraints: name and clause.
    pub checks: Vec<(String, String)>,
    /// The storage engine; none for SQLite.
    pub engine: Option<String>,
}

/// A column of a primary key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPart {
    /// The column.
    pub column: String,
    /// Set when only so many characters or bytes of the column are in the key.
    pub prefix: Option<u64>,
}

/// A column as the server describes it: the fields of `information_schema.COLUMNS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundColumn {
    /// COLUMN_NAME.
    pub name: String,
    /// DATA_TYPE, as `varchar`; for SQLite the declared type.
    pub data_type: String,
    /// COLUMN_TYPE, as `varchar(64)` or `int unsigned`.
    pub column_type: String,
    /// CHARACTER_MAXIMUM_LENGTH: characters of CHAR and VARCHAR, bytes of all others.
    pub char_length: Option<u64>,
    /// NUMERIC_PRECISION.
    pub numeric_precision: Option<u64>,
    /// NUMERIC_SCALE.
    pub numeric_scale: Option<u64>,
    /// DATETIME_PRECISION.
    pub datetime_precision: Option<u64>,
    /// CHARACTER_SET_NAME.
    pub charset: Option<String>,
    /// COLLATION_NAME; for SQLite the collation of the column in the primary key.
    pub collation: Option<String>,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Whether a row may leave it out: it has a default, or counts by itself.
    pub has_default: bool,
    /// Whether it is computed.
    pub generated: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Rows would be merged, altered or refused: do not start.
    Refuse,
    /// Rows may be refused by the server one by one; nothing can get lost unseen.
    Warn,
}

/// What is wrong with a table, named so that it can be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, and the next step.
    pub message: String,
}

/// Everything that is wrong with `found` as a target for `wanted`; nothing when the table fits.
#[must_use]
pub fn check(wanted: &Table, found: &FoundTable, dialect: Dialect) -> Vec<Finding> {
    let mut check = Check { wanted, found, dialect, findings: Vec::new() };
    check.engine();
    check.columns();
    check.others();
    check.primary_key();
    check.unique_indexes();
    check.rules();
    check.findings
}

struct Check<'c> {
    wanted: &'c Table,
    found: &'c FoundTable,
    dialect: Dialect,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn refuse(&mut self, message: &str) {
        let message = format!("table {}: {message}", self.wanted.name);
        self.findings.push(Finding { severity: Severity::Refuse, message });
    }

    fn warn(&mut self, message: &str) {
        let message = format!("table {}: {message}", self.wanted.name);
        self.findings.push(Finding { severity: Severity::Warn, message });
    }

    fn engine(&mut self) {
        if let Some(engine) = self.found.engine.as_deref().filter(|engine| !engine.eq_ignore_ascii_case("innodb")) {
            let message = format!("engine {engine} has no transactions: ALTER TABLE … ENGINE=InnoDB");
            self.refuse(&message);
        }
    }

    /// The columns that the mapping fills.
    fn columns(&mut self) {
        for (index, column) in self.wanted.columns.iter().enumerate() {
            let name = fold(&column.name);
            let Some(found) = self.found.columns.iter().find(|found| fold(&found.name) == name) else {
                self.refuse(&format!("column {} is missing: add it as {}", column.name, column.ty));
                continue;
            };
            for problem in problems(column, self.wanted.key.contains(&index), found, self.dialect) {
                self.refuse(&format!("column {}: {problem}", column.name));
            }
        }
    }

    /// The columns that it does not fill.
    fn others(&mut self) {
        for found in &self.found.columns {
            let ours = self.wanted.columns.iter().any(|column| fold(&column.name) == fold(&found.name));
            if !ours && !found.nullable && !found.has_default && !found.generated {
                self.refuse(&format!(
                    "column {} is NOT NULL without a default and the mapping does not fill it: map it, or give it a default",
                    found.name
                ));
            }
        }
    }

    fn primary_key(&mut self) {
        let wanted_names: Vec<_> =
            self.wanted.key.iter().map(|index| self.wanted.columns[*index].name.as_str()).collect();
        let wanted: BTreeSet<_> = wanted_names.iter().map(|name| fold(name)).collect();
        let found: BTreeSet<_> = self.found.primary_key.iter().map(|part| fold(&part.column)).collect();
        let found_names: Vec<_> = self.found.primary_key.iter().map(|part| part.column.as_str()).collect();
        if found.is_empty() {
            self.refuse(&format!("it has no primary key: the mapping needs ({})", wanted_names.join(", ")));
        } else if wanted != found {
            let names = (found_names.join(", "), wanted_names.join(", "));
            self.refuse(&format!("its primary key is ({}), the mapping needs ({})", names.0, names.1));
        }
        for part in &self.found.primary_key {
            if let Some(length) = part.prefix {
                self.refuse(&format!(
                    "its primary key holds only the first {length} of column {}: distinct keys would meet",
                    part.column
                ));
            }
        }
    }

    /// A unique index over all of the primary key adds nothing; any other refuses rows that the mapping keeps apart.
    fn unique_indexes(&mut self) {
        let key: BTreeSet<_> = self.found.primary_key.iter().map(|part| fold(&part.column)).collect();
        for (name, columns) in &self.found.unique_indexes {
            let indexed: BTreeSet<_> = columns.iter().map(|column| fold(column)).collect();
            if !key.is_subset(&indexed) || key.is_empty() {
                self.refuse(&format!(
                    "unique index {name} on ({}) could take two items for one: drop it, or make it a plain index",
                    columns.join(", ")
                ));
            }
        }
    }

    fn rules(&mut self) {
        for trigger in &self.found.triggers {
            self.refuse(&format!("trigger {trigger} could alter rows on their way in: drop it for the backfill"));
        }
        for foreign_key in &self.found.foreign_keys {
            self.warn(&format!("foreign key {foreign_key}: rows whose parent is not there yet are rejected"));
        }
        for (name, clause) in &self.found.checks {
            let json = fold(clause).contains("json_valid");
            if json && self.dialect == Dialect::MariaDb {
                self.refuse(&format!(
                    "check {name} ({clause}) fails for JSON deeper than 32 levels, an item may have 66: use LONGTEXT \
                     without a check"
                ));
            } else {
                self.warn(&format!("check {name} ({clause}): rows that break it are rejected"));
            }
        }
    }
}

/// What is wrong with one column.
fn problems(wanted: &Column, is_key: bool, found: &FoundColumn, dialect: Dialect) -> Vec<String> {
    let mut problems = Vec::new();
    if found.generated {
        problems.push("it is generated: the mapping cannot fill it".to_owned());
    }
    if wanted.nullable && !found.nullable {
        problems
            .push("it is NOT NULL and the mapping gives NULL: allow NULL, or change the mapping's rules".to_owned());
    }
    problems.extend(columns::type_problem(wanted.ty, found, dialect));
    if is_key {
        problems.extend(columns::collation_problem(found, dialect));
    }
    problems
}

#[cfg(test)]
mod tests;
