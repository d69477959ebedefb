//! Whether one column stores a type's cells exactly: its type, width, character set and collation.

use super::FoundColumn;
use crate::mapping::ColumnType;
use crate::mapping::ddl::binary_collation;
use crate::model::dialect::Dialect;

/// An item is 400 KB, so this many bytes hold any attribute, and any item as DynamoDB JSON (at most seven bytes a byte).
const ITEM_BYTES: u64 = 16_777_215;

/// What is wrong with the column's type.
pub(super) fn type_problem(wanted: ColumnType, found: &FoundColumn, dialect: Dialect) -> Option<String> {
    if dialect == Dialect::Sqlite {
        return sqlite_problem(wanted, found);
    }
    let need = |fits: bool| (!fits).then(|| format!("it is {}, the mapping needs {wanted}", found.column_type));
    let ty = found.data_type.to_ascii_lowercase();
    let ty = ty.as_str();
    let length = found.char_length.unwrap_or(0);
    let signed = !found.column_type.to_ascii_lowercase().contains("unsigned");
    match wanted {
        ColumnType::Varchar(wanted) => match ty {
            "varchar" => need(length >= u64::from(wanted)),
            _ => need(is_text(ty) && length >= u64::from(wanted) * 4),
        }
        .or_else(|| charset_problem(found)),
        ColumnType::Text => need(is_text(ty) && length >= ITEM_BYTES).or_else(|| charset_problem(found)),
        ColumnType::Json if ty == "json" => None,
        ColumnType::Json => need(is_text(ty) && length >= ITEM_BYTES).or_else(|| charset_problem(found)),
        ColumnType::Varbinary(wanted) => need((ty == "varbinary" || is_blob(ty)) && length >= u64::from(wanted)),
        ColumnType::Blob => need(is_blob(ty) && length >= ITEM_BYTES),
        ColumnType::BigInt => need(ty == "bigint" && signed),
        ColumnType::Int => need(matches!(ty, "int" | "bigint") && signed),
        ColumnType::Decimal { precision, scale } => {
            let (found_precision, found_scale) =
                (found.numeric_precision.unwrap_or(0), found.numeric_scale.unwrap_or(0));
            let integer = found_precision.saturating_sub(found_scale);
            need(
                ty == "decimal" && signed && found_scale >= u64::from(scale) && integer >= u64::from(precision - scale),
            )
        }
        // a scale rounds, FLOAT has 24 bits
        ColumnType::Double => need(ty == "double" && signed && found.numeric_scale.is_none()),
        ColumnType::Boolean => need(matches!(ty, "tinyint" | "smallint" | "mediumint" | "int" | "bigint")),
        ColumnType::Date => need(ty == "date"),
        // TIMESTAMP ends in 2038 and follows the session's time zone
        ColumnType::DateTime => need(ty == "datetime" && found.datetime_precision == Some(6)),
    }
}

/// What is wrong with the collation of a key column: one that merges distinct texts loses items without an error.
pub(super) fn collation_problem(found: &FoundColumn, dialect: Dialect) -> Option<String> {
    let collation = found.collation.as_deref()?;
    let kept = match dialect {
        Dialect::MySql | Dialect::MariaDb => ["binary", "utf8mb4_0900_bin", "utf8mb4_nopad_bin"].as_slice(),
        Dialect::Sqlite => ["binary"].as_slice(),
    };
    if kept.iter().any(|kept| kept.eq_ignore_ascii_case(collation)) {
        return None;
    }
    let lower = collation.to_ascii_lowercase();
    let merges = match lower.as_str() {
        "utf8mb4_bin" | "rtrim" => "texts that differ by spaces at the end",
        lower if lower.contains("_ai_ci") => "texts that differ by case, accents or spelling",
        lower if lower.ends_with("_ci") || lower == "nocase" => "texts that differ by case, and more",
        _ => "distinct texts, such as composed and decomposed accents",
    };
    Some(format!(
        "collation {collation} takes as equal {merges}, so items would be merged: use {} or VARBINARY",
        binary_collation(dialect)
    ))
}

fn is_text(ty: &str) -> bool {
    matches!(ty, "tinytext" | "text" | "mediumtext" | "longtext")
}

fn is_blob(ty: &str) -> bool {
    matches!(ty, "tinyblob" | "blob" | "mediumblob" | "longblob")
}

fn charset_problem(found: &FoundColumn) -> Option<String> {
    let charset = found.charset.as_deref().unwrap_or("unknown");
    (!charset.eq_ignore_ascii_case("utf8mb4"))
        .then(|| format!("its character set is {charset}, which does not hold all of Unicode: use utf8mb4"))
}

/// SQLite converts by the affinity of the declared type, unless the column is BLOB or ANY [datatype3, section 3.1].
fn sqlite_problem(wanted: ColumnType, found: &FoundColumn) -> Option<String> {
    let declared = found.data_type.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    let affinity = if has(&["INT"]) {
        "INTEGER"
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        "TEXT"
    } else if has(&["BLOB"]) || declared.is_empty() || declared == "ANY" {
        "BLOB"
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        "REAL"
    } else {
        "NUMERIC"
    };
    let needed = crate::mapping::ddl::sqlite_type(wanted);
    // bytes are never converted, but a STRICT table refuses them elsewhere
    let fits = affinity == needed || (affinity == "BLOB" && (declared.is_empty() || declared == "ANY"));
    (!fits).then(|| format!("it is declared {:?}, the mapping needs {needed}", found.data_type))
}
