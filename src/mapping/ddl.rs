//! The CREATE TABLE statement of a target table, in each dialect. Text that could be a key is always in a collation that
//! keeps distinct texts distinct, spelled out, since every server's default merges some.

use super::{Column, ColumnType, Index, Table};
use crate::model::dialect::Dialect;
use std::fmt::Write as _;

/// The statement that creates `table`, without a semicolon. Fails on the server if the table exists.
#[must_use]
pub fn create_table(table: &Table, dialect: Dialect) -> String {
    let mut lines: Vec<String> = table.columns.iter().map(|column| format!("  {}", define(column, dialect))).collect();
    if !table.key.is_empty() {
        let key: Vec<_> = table.key.iter().map(|index| quote(&table.columns[*index].name, dialect)).collect();
        lines.push(format!("  PRIMARY KEY ({})", key.join(", ")));
    }
    let mut statement = format!("CREATE TABLE {} (\n{}\n)", quote(&table.name, dialect), lines.join(",\n"));
    let options = match dialect {
        Dialect::MySql | Dialect::MariaDb => {
            format!(" ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT {}", collation(dialect))
        }
        // With rowids: rows arrive in hash order, and only the narrow key index should be touched at random.
        Dialect::Sqlite => " STRICT".into(),
    };
    statement.push_str(&options);
    statement
}

/// The statements that add the table's secondary indexes but for those `there`: on a server one, which builds all of them
/// in one pass over the table.
#[must_use]
pub fn add_indexes(table: &Table, there: &[String], dialect: Dialect) -> Vec<String> {
    let missing: Vec<&Index> = table.indexes.iter().filter(|index| !there.contains(&index.name)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let columns = |index: &Index| {
        let names: Vec<_> = index.columns.iter().map(|column| quote(&table.columns[*column].name, dialect)).collect();
        names.join(", ")
    };
    let (name, one) = (quote(&table.name, dialect), |index: &Index| quote(&index.name, dialect));
    if dialect == Dialect::Sqlite {
        return missing
            .iter()
            .map(|index| format!("CREATE INDEX {} ON {name} ({})", one(index), columns(index)))
            .collect();
    }
    let added: Vec<_> = missing.iter().map(|index| format!("ADD INDEX {} ({})", one(index), columns(index))).collect();
    vec![format!("ALTER TABLE {name} {}", added.join(", "))]
}

/// `name` as an identifier that the dialect reads back as exactly this name.
#[must_use]
pub fn quote(name: &str, dialect: Dialect) -> String {
    let mark = if dialect == Dialect::Sqlite { '"' } else { '`' };
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push(mark);
    for character in name.chars() {
        if character == mark {
            quoted.push(mark);
        }
        quoted.push(character);
    }
    quoted.push(mark);
    quoted
}

/// The one collation of a server that is made of code points and does not pad: it merges nothing.
#[must_use]
pub(super) fn binary_collation(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "utf8mb4_0900_bin",
        Dialect::MariaDb => "utf8mb4_nopad_bin",
        Dialect::Sqlite => "BINARY",
    }
}

fn collation(dialect: Dialect) -> String {
    format!("CHARACTER SET utf8mb4 COLLATE {}", binary_collation(dialect))
}

fn define(column: &Column, dialect: Dialect) -> String {
    let mut text = format!("{} {}", quote(&column.name, dialect), type_name(column.ty, dialect));
    if !column.nullable {
        // writing to a string does not fail
        let _ok = write!(text, " NOT NULL");
    }
    text
}

fn type_name(ty: ColumnType, dialect: Dialect) -> String {
    if dialect == Dialect::Sqlite {
        return sqlite_type(ty).to_owned();
    }
    match ty {
        ColumnType::Varchar(length) => format!("VARCHAR({length}) {}", collation(dialect)),
        ColumnType::Varbinary(length) => format!("VARBINARY({length})"),
        ColumnType::Text => format!("LONGTEXT {}", collation(dialect)),
        ColumnType::Blob => "LONGBLOB".into(),
        ColumnType::BigInt => "BIGINT".into(),
        ColumnType::Int => "INT".into(),
        ColumnType::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
        ColumnType::Double => "DOUBLE".into(),
        ColumnType::Boolean => "BOOLEAN".into(),
        ColumnType::Date => "DATE".into(),
        ColumnType::DateTime => "DATETIME(6)".into(),
        ColumnType::Json if dialect == Dialect::MySql => "JSON".into(),
        // MariaDB's JSON is this with a check, whose parser stops at 32 levels; DynamoDB JSON goes to 66
        ColumnType::Json => format!("LONGTEXT {}", collation(dialect)),
    }
}

/// The type of a STRICT table that stores such cells unchanged.
pub(super) fn sqlite_type(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Varbinary(_) | ColumnType::Blob => "BLOB",
        ColumnType::BigInt | ColumnType::Int | ColumnType::Boolean => "INTEGER",
        ColumnType::Double => "REAL",
        ColumnType::Varchar(_)
        | ColumnType::Text
        | ColumnType::Decimal { .. }
        | ColumnType::Date
        | ColumnType::DateTime
        | ColumnType::Json => "TEXT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |name: &str, ty, nullable| Column { name: name.into(), ty, nullable };
        let columns = vec![
            column("id", ColumnType::Varchar(64), false),
            column("n", ColumnType::Varbinary(22), false),
            column("total", ColumnType::Decimal { precision: 12, scale: 2 }, true),
            column("at", ColumnType::DateTime, true),
            column("paid", ColumnType::Boolean, false),
            column("rate", ColumnType::Double, true),
            column("item", ColumnType::Json, false),
        ];
        Table {
            name: "or`d\"ers".into(),
            columns,
            key: vec![0, 1],
            indexes: vec![Index { name: "by`at".into(), columns: vec![3, 0] }],
        }
    }

    #[test]
    fn mysql_spells_out_its_collation() {
        let expected = "CREATE TABLE `or``d\"ers` (
  `id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
  `n` VARBINARY(22) NOT NULL,
  `total` DECIMAL(12,2),
  `at` DATETIME(6),
  `paid` BOOLEAN NOT NULL,
  `rate` DOUBLE,
  `item` JSON NOT NULL,
  PRIMARY KEY (`id`, `n`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin";
        assert_eq!(create_table(&table(), Dialect::MySql), expected);
    }

    #[test]
    fn indexes_are_added_by_one_statement_and_only_where_they_are_missing() {
        let mut table = table();
        table.indexes.push(Index { name: "by_total".into(), columns: vec![2] });
        assert_eq!(
            add_indexes(&table, &[], Dialect::MySql),
            ["ALTER TABLE `or``d\"ers` ADD INDEX `by``at` (`at`, `id`), ADD INDEX `by_total` (`total`)"]
        );
        assert_eq!(
            add_indexes(&table, &["by`at".into()], Dialect::Sqlite),
            ["CREATE INDEX \"by_total\" ON \"or`d\"\"ers\" (\"total\")"]
        );
        assert!(add_indexes(&table, &["by_total".into(), "by`at".into()], Dialect::MariaDb).is_empty());
    }

    #[test]
    fn mariadb_keeps_json_without_its_check() {
        let statement = create_table(&table(), Dialect::MariaDb);
        assert!(statement.contains("`item` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL"));
        assert!(statement.contains("`id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL"));
        assert!(!statement.contains("JSON") && !statement.contains("0900"));
    }

    #[test]
    fn sqlite_is_strict_and_keeps_decimals_as_text() {
        let expected = "CREATE TABLE \"or`d\"\"ers\" (
  \"id\" TEXT NOT NULL,
  \"n\" BLOB NOT NULL,
  \"total\" TEXT,
  \"at\" TEXT,
  \"paid\" INTEGER NOT NULL,
  \"rate\" REAL,
  \"item\" TEXT NOT NULL,
  PRIMARY KEY (\"id\", \"n\")
) STRICT";
        assert_eq!(create_table(&table(), Dialect::Sqlite), expected);
    }
}
