//! Each way in which an existing table does not fit, and tables that do.

use super::*;
use crate::mapping::ColumnType;

fn wanted(ty: ColumnType) -> Table {
    let columns = vec![
        Column { name: "id".into(), ty: ColumnType::Varchar(64), nullable: false },
        Column { name: "v".into(), ty, nullable: false },
    ];
    Table { name: "t".into(), columns, key: vec![0], indexes: Vec::new() }
}

fn text(name: &str, data_type: &str, length: u64, collation: &str) -> FoundColumn {
    FoundColumn {
        name: name.into(),
        data_type: data_type.into(),
        column_type: format!("{data_type}({length})"),
        char_length: Some(length),
        charset: collation.split('_').next().map(str::to_owned),
        collation: Some(collation.into()),
        ..FoundColumn::default()
    }
}

fn plain(data_type: &str, column_type: &str) -> FoundColumn {
    FoundColumn {
        name: "v".into(),
        data_type: data_type.into(),
        column_type: column_type.into(),
        ..FoundColumn::default()
    }
}

/// A table keyed by a sound `id`, with `v`.
fn found(v: FoundColumn) -> FoundTable {
    FoundTable {
        columns: vec![text("ID", "varchar", 64, "utf8mb4_0900_bin"), v],
        primary_key: vec![KeyPart { column: "ID".into(), prefix: None }],
        engine: Some("InnoDB".into()),
        ..FoundTable::default()
    }
}

fn messages(ty: ColumnType, found: &FoundTable) -> Vec<String> {
    check(&wanted(ty), found, Dialect::MySql).into_iter().map(|finding| finding.message).collect()
}

/// The only finding, which must have this severity.
fn only(found: &FoundTable, dialect: Dialect, severity: Severity) -> String {
    let findings = check(&wanted(ColumnType::Int), found, dialect);
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(finding.severity, severity, "{finding:?}");
    finding.message.clone()
}

fn int() -> FoundColumn {
    plain("int", "int")
}

fn decimal(precision: u64, scale: u64) -> FoundColumn {
    FoundColumn {
        numeric_precision: Some(precision),
        numeric_scale: Some(scale),
        ..plain("decimal", &format!("decimal({precision},{scale})"))
    }
}

fn datetime(precision: u64) -> FoundColumn {
    FoundColumn { datetime_precision: Some(precision), ..plain("datetime", "datetime") }
}

fn bytes(data_type: &str, length: u64) -> FoundColumn {
    FoundColumn { char_length: Some(length), ..plain(data_type, data_type) }
}

#[test]
fn columns_that_hold_every_cell_pass() {
    let decimal_12_2 = ColumnType::Decimal { precision: 12, scale: 2 };
    for (ty, v) in [
        (ColumnType::Varchar(9), text("v", "varchar", 9, "utf8mb4_0900_ai_ci")),
        (ColumnType::Varchar(9), text("v", "text", 65_535, "utf8mb4_bin")),
        (ColumnType::Text, text("v", "mediumtext", 16_777_215, "utf8mb4_bin")),
        (ColumnType::Json, text("v", "longtext", 4_294_967_295, "utf8mb4_bin")),
        (ColumnType::Json, plain("json", "json")),
        (ColumnType::Varbinary(9), bytes("varbinary", 9)),
        (ColumnType::Varbinary(9), bytes("blob", 65_535)),
        (ColumnType::Blob, bytes("longblob", 4_294_967_295)),
        (ColumnType::BigInt, plain("bigint", "bigint(20)")),
        (ColumnType::Int, plain("bigint", "bigint")),
        (decimal_12_2, decimal(12, 2)),
        (decimal_12_2, decimal(20, 10)),
        (ColumnType::Double, plain("double", "double")),
        (ColumnType::Boolean, plain("tinyint", "tinyint(1)")),
        (ColumnType::Date, plain("date", "date")),
        (ColumnType::DateTime, datetime(6)),
    ] {
        assert_eq!(messages(ty, &found(v.clone())), [""; 0], "{ty} into {v:?}");
    }
}

#[test]
fn columns_that_would_cut_round_or_convert_are_refused() {
    let decimal_12_2 = ColumnType::Decimal { precision: 12, scale: 2 };
    for (ty, v, said) in [
        (ColumnType::Varchar(9), text("v", "varchar", 8, "utf8mb4_bin"), "needs varchar(9)"),
        (ColumnType::Varchar(9), text("v", "char", 9, "utf8mb4_bin"), "needs varchar(9)"),
        (ColumnType::Varchar(9), text("v", "varchar", 9, "utf8mb3_bin"), "utf8mb3"),
        (ColumnType::Varchar(9), text("v", "varchar", 9, "latin1_bin"), "latin1"),
        (ColumnType::Varchar(100), text("v", "tinytext", 255, "utf8mb4_bin"), "needs varchar(100)"),
        (ColumnType::Text, text("v", "text", 65_535, "utf8mb4_bin"), "needs text"),
        (ColumnType::Json, text("v", "longtext", 4_294_967_295, "latin1_bin"), "latin1"),
        (ColumnType::Json, text("v", "text", 65_535, "utf8mb4_bin"), "needs json"),
        (ColumnType::Json, bytes("longblob", 4_294_967_295), "needs json"),
        (ColumnType::Varbinary(9), bytes("varbinary", 8), "needs varbinary(9)"),
        (ColumnType::Varbinary(9), bytes("binary", 9), "needs varbinary(9)"),
        (ColumnType::Blob, bytes("blob", 65_535), "needs blob"),
        (ColumnType::BigInt, plain("int", "int"), "needs bigint"),
        (ColumnType::BigInt, plain("bigint", "bigint unsigned"), "needs bigint"),
        (ColumnType::Int, plain("mediumint", "mediumint"), "needs int"),
        (ColumnType::Int, plain("int", "int unsigned zerofill"), "needs int"),
        (decimal_12_2, decimal(12, 3), "needs decimal(12,2)"),
        (decimal_12_2, decimal(12, 1), "needs decimal(12,2)"),
        (decimal_12_2, plain("double", "double"), "needs decimal(12,2)"),
        (ColumnType::Double, plain("float", "float"), "needs double"),
        (ColumnType::Double, FoundColumn { numeric_scale: Some(2), ..plain("double", "double(9,2)") }, "needs double"),
        (ColumnType::Boolean, plain("bit", "bit(1)"), "needs boolean"),
        (ColumnType::Date, datetime(6), "needs date"),
        (ColumnType::DateTime, datetime(0), "needs datetime"),
        (
            ColumnType::DateTime,
            FoundColumn { datetime_precision: Some(6), ..plain("timestamp", "timestamp(6)") },
            "datetime",
        ),
    ] {
        let said_there = messages(ty, &found(v.clone()));
        assert!(matches!(said_there.as_slice(), [one] if one.contains(said)), "{ty} into {v:?}: {said_there:?}");
    }
}

#[test]
fn key_collations_that_merge_are_refused() {
    for merging in [
        "utf8mb4_0900_ai_ci",
        "utf8mb4_0900_as_cs",
        "utf8mb4_general_ci",
        "utf8mb4_unicode_ci",
        "utf8mb4_bin",
        "utf8mb4_uca1400_ai_ci",
        "utf8mb4_uca1400_as_cs",
        "utf8mb4_uca1400_nopad_as_cs",
    ] {
        let mut table = found(int());
        table.columns[0].collation = Some(merging.into());
        let message = only(&table, Dialect::MySql, Severity::Refuse);
        assert!(message.contains(merging) && message.contains("merged"), "{message}");
    }
    let mut table = found(int());
    table.columns[0].collation = Some("utf8mb4_nopad_bin".into());
    assert_eq!(check(&wanted(ColumnType::Int), &table, Dialect::MariaDb), []);
}

#[test]
fn the_primary_key_is_the_mappings_key() {
    let mut table = found(int());
    table.primary_key = Vec::new();
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("no primary key"));
    table.primary_key = vec![KeyPart { column: "v".into(), prefix: None }];
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("is (v), the mapping needs (id)"));
    table.primary_key = vec![KeyPart { column: "id".into(), prefix: Some(10) }];
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("first 10 of column id"));
}

#[test]
fn missing_generated_and_null_columns_are_refused() {
    let mut table = found(int());
    table.columns.pop();
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("column v is missing"));
    let table = found(FoundColumn { generated: true, ..int() });
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("generated"));
    let mut nullable = wanted(ColumnType::Int);
    nullable.columns[1].nullable = true;
    assert!(check(&nullable, &found(int()), Dialect::MySql)[0].message.contains("NOT NULL"));
    assert_eq!(check(&nullable, &found(FoundColumn { nullable: true, ..int() }), Dialect::MySql), []);
}

#[test]
fn a_foreign_column_must_fill_itself() {
    let mut table = found(int());
    table.columns.push(FoundColumn { name: "more".into(), ..int() });
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("column more is NOT NULL without a default"));
    for fills_itself in [
        FoundColumn { nullable: true, ..int() },
        FoundColumn { has_default: true, ..int() },
        FoundColumn { generated: true, ..int() },
    ] {
        *table.columns.last_mut().unwrap() = FoundColumn { name: "more".into(), ..fills_itself };
        assert_eq!(check(&wanted(ColumnType::Int), &table, Dialect::MySql), []);
    }
}

#[test]
fn rules_of_the_table_are_named() {
    let table = FoundTable { unique_indexes: vec![("u".into(), vec!["v".into()])], ..found(int()) };
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("unique index u on (v)"));
    let table = FoundTable { unique_indexes: vec![("u".into(), vec!["v".into(), "id".into()])], ..found(int()) };
    assert_eq!(check(&wanted(ColumnType::Int), &table, Dialect::MySql), []);
    let table = FoundTable { triggers: vec!["trg".into()], ..found(int()) };
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("trigger trg"));
    let table = FoundTable { foreign_keys: vec!["fk".into()], ..found(int()) };
    assert!(only(&table, Dialect::MySql, Severity::Warn).contains("foreign key fk"));
    let table = FoundTable { engine: Some("MyISAM".into()), ..found(int()) };
    assert!(only(&table, Dialect::MySql, Severity::Refuse).contains("MyISAM"));
    let table = FoundTable { checks: vec![("c".into(), "json_valid(`v`)".into())], ..found(int()) };
    assert!(only(&table, Dialect::MariaDb, Severity::Refuse).contains("json_valid"));
    assert!(only(&table, Dialect::MySql, Severity::Warn).contains("json_valid"));
}

#[test]
fn sqlite_columns_must_not_convert() {
    let sqlite = |id: (&str, Option<&str>), v: &str| {
        let column =
            |name: &str, ty: &str| FoundColumn { name: name.into(), data_type: ty.into(), ..FoundColumn::default() };
        let key = FoundColumn { collation: id.1.map(str::to_owned), ..column("id", id.0) };
        FoundTable { engine: None, columns: vec![key, column("v", v)], ..found(int()) }
    };
    for v in ["INTEGER", "bigint", "ANY", ""] {
        assert_eq!(check(&wanted(ColumnType::Int), &sqlite(("TEXT", Some("BINARY")), v), Dialect::Sqlite), [], "{v}");
    }
    for v in ["TEXT", "REAL", "DECIMAL(10,2)", "BLOB"] {
        let message = only(&sqlite(("TEXT", None), v), Dialect::Sqlite, Severity::Refuse);
        assert!(message.contains("needs INTEGER"), "{message}");
    }
    for collation in ["NOCASE", "RTRIM"] {
        let message = only(&sqlite(("VARCHAR(64)", Some(collation)), "INT"), Dialect::Sqlite, Severity::Refuse);
        assert!(message.contains(collation), "{message}");
    }
    assert!(only(&sqlite(("NUMERIC", None), "INT"), Dialect::Sqlite, Severity::Refuse).contains("needs TEXT"));
}
