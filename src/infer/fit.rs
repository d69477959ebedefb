//! Which columns one table can have: MySQL bounds the bytes of a row's definition, InnoDB what of a row must lie in its
//! page. The attributes in the fewest items go without a column.

use super::draft::Column;
use crate::mapping::ColumnType;

/// Bytes of a row by MySQL's account, 65,535, with some left for what an engineer adds.
const ROW_BYTES: u64 = 60_000;

/// From here on text goes elsewhere, so that there is room for all columns that the page takes.
const ROW_BYTES_LONG: u64 = 56_000;

/// Bytes that InnoDB wants in a page of 16 KB for one row at most, 8126, with some left.
const PAGE_BYTES: u64 = 7600;

/// What a column that can lie elsewhere keeps in the page, its length included [measured: MySQL takes 196 of them].
const POINTER_BYTES: u64 = 42;

/// Columns of fewer bytes cannot, on MariaDB [measured].
const MOVABLE_BYTES: u64 = 256;

/// What a key takes of the page at most, by the servers' account [measured: 3072 bytes cost 12 columns].
const KEY_BYTES: u64 = 512;

/// InnoDB's 1017 columns, with some left.
const COLUMNS: usize = 1000;

/// How many of the columns, in their order, fit one table. Long texts that would not fit the row become `text`.
pub(super) fn fit(columns: &mut [Column]) -> usize {
    let (mut row, mut page) = (0, POINTER_BYTES);
    let mut fitting = 0;
    for column in columns.iter_mut() {
        if !column.key && row + row_bytes(column.ty) > ROW_BYTES_LONG {
            column.ty = off_page(column.ty);
        }
        row += row_bytes(column.ty);
        page += page_bytes(column);
        if row > ROW_BYTES || page > PAGE_BYTES || fitting == COLUMNS {
            break;
        }
        fitting += 1;
    }
    fitting
}

fn off_page(ty: ColumnType) -> ColumnType {
    match ty {
        ColumnType::Varchar(_) => ColumnType::Text,
        ColumnType::Varbinary(_) => ColumnType::Blob,
        other => other,
    }
}

/// Bytes by MySQL's account, the length and the bit for NULL included.
fn row_bytes(ty: ColumnType) -> u64 {
    let bytes = match ty {
        ColumnType::Varchar(length) => u64::from(length) * 4,
        ColumnType::Varbinary(length) => u64::from(length),
        ColumnType::Text | ColumnType::Blob | ColumnType::Json => 12,
        ColumnType::Decimal { precision, scale } => decimal_bytes(precision, scale),
        ColumnType::BigInt | ColumnType::Double | ColumnType::DateTime => 8,
        ColumnType::Int => 4,
        ColumnType::Date => 3,
        ColumnType::Boolean => 1,
    };
    bytes + 3
}

fn page_bytes(column: &Column) -> u64 {
    let bytes = row_bytes(column.ty);
    match column.ty {
        ColumnType::Text | ColumnType::Blob | ColumnType::Json => POINTER_BYTES,
        ColumnType::Varchar(_) | ColumnType::Varbinary(_) if column.key => bytes.min(KEY_BYTES),
        ColumnType::Varchar(_) | ColumnType::Varbinary(_) if bytes >= MOVABLE_BYTES => POINTER_BYTES,
        _ => bytes,
    }
}

/// Nine digits are four bytes, on each side of the point.
fn decimal_bytes(precision: u8, scale: u8) -> u64 {
    (u64::from(precision - scale).div_ceil(9) + u64::from(scale).div_ceil(9)) * 4
}
