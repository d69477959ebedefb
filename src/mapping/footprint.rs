//! How much room rows take in the target: what a storage engine makes of each cell, its bookkeeping for a row, and how full it
//! leaves its pages. Pure: rows of a sample in, bytes of the whole out.
//!
//! The arithmetic is InnoDB's for DYNAMIC rows on pages of 16 KB, and SQLite's for pages of 4 KB. Measured loads are within
//! a tenth or two of it: pages of small tables are allotted by the megabyte, and how full a page stays is a matter of luck.

use super::jsonb;
use super::{ColumnType, Table};
use crate::model::dialect::Dialect;
use crate::model::rows::{CellRef, Rows};
use serde::{Deserialize, Serialize};

/// What a 16 KB page of InnoDB has for rows, and what it hands to each row that is too long for half of it.
const PAGE: f64 = 16_384.0;
const PAGE_FOR_ROWS: f64 = 16_252.0;
/// A row takes at most half a page; what is longer has its longest cells on pages of their own.
const ROW_IN_PAGE_MAX: usize = 8_126;
/// What stays in the row of such a cell.
const POINTER: usize = 20;
/// How full InnoDB's pages are, those counted that are reserved and not used yet: written in key order, where a sixteenth
/// is left free; and at random, where each page is split once it is full [measured with 60,000 and 300,000 orders].
const FILL_CLUSTERED: f64 = 0.88;
const FILL_ARRIVAL: f64 = 0.62;
/// The same of SQLite, whose rows always lie in the order of their arrival, and of its index of the key.
const FILL_SQLITE: f64 = 0.94;
const FILL_SQLITE_KEY: f64 = 0.7;
/// Header, transaction and undo pointer of a row; header and page number of an index entry's.
const ROW_HEADER: usize = 5 + 6 + 7;
const ENTRY_HEADER: usize = 5;
/// The slots of the page directory, shared by some rows each, and the inner nodes of the tree.
const SLOT: f64 = 0.5;
const INNER_NODES: f64 = 1.01;

/// Of a target table, extrapolated from a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableSize {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Bytes of a row's values, on average, as they are sent.
    pub value_bytes: u64,
    /// Bytes of a row as it is stored, on average, with its index entries and the room that pages leave.
    pub stored_bytes: u64,
    /// Bytes of the table on disk, its indexes included.
    pub bytes: u64,
    /// The largest row that the sample saw, as it is sent.
    pub largest_row: u64,
}

/// Adds up the rows of a sample.
#[derive(Debug)]
pub struct Footprint<'t> {
    tables: &'t [Table],
    dialect: Dialect,
    tallies: Vec<Tally>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    rows: u64,
    values: u64,
    /// In the tree's leaves.
    leaves: u64,
    /// On pages of their own.
    aside: u64,
    /// In the secondary indexes; SQLite's index of the primary key is one.
    indexes: u64,
    largest: u64,
}

impl<'t> Footprint<'t> {
    /// Of rows of `tables` on a server of `dialect`.
    #[must_use]
    pub fn new(tables: &'t [Table], dialect: Dialect) -> Self {
        Footprint { tables, dialect, tallies: vec![Tally::default(); tables.len()] }
    }

    /// Takes the rows of a sample, those of one table in each element, in the order of the tables.
    pub fn add(&mut self, rows: &[Rows]) {
        for ((table, tally), rows) in self.tables.iter().zip(&mut self.tallies).zip(rows) {
            for row in 0..rows.len() {
                let row_bytes = rows.row_bytes(row) as u64;
                tally.rows += 1;
                tally.values += row_bytes;
                tally.largest = tally.largest.max(row_bytes);
                let cells: Vec<usize> = table
                    .columns
                    .iter()
                    .zip(rows.row(row))
                    .map(|(column, cell)| stored(column.ty, cell, self.dialect))
                    .collect();
                let (leaf, aside) = placed(table, &cells, self.dialect);
                tally.leaves += leaf as u64;
                tally.aside += aside as u64;
                tally.indexes += index_entries(table, &cells, self.dialect) as u64;
            }
        }
    }

    /// Adds those of another part of the sample, of the same tables.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.tallies.iter_mut().zip(&other.tallies) {
            ours.rows += theirs.rows;
            ours.values += theirs.values;
            ours.leaves += theirs.leaves;
            ours.aside += theirs.aside;
            ours.indexes += theirs.indexes;
            ours.largest = ours.largest.max(theirs.largest);
        }
    }

    /// The sizes when the sample is one in `scale` of the whole. `clustered` says that rows are written in key order.
    #[must_use]
    pub fn sizes(&self, scale: f64, clustered: bool) -> Vec<TableSize> {
        let size = |(table, tally): (&Table, &Tally)| {
            let rows = whole(tally.rows as f64 * scale);
            let bytes = whole(self.disk_bytes(tally, clustered) * scale);
            let mean = |bytes: u64, of: u64| if of == 0 { 0 } else { bytes.div_ceil(of) };
            TableSize {
                table: table.name.clone(),
                rows,
                value_bytes: mean(tally.values, tally.rows),
                stored_bytes: mean(bytes, rows),
                bytes,
                largest_row: tally.largest,
            }
        };
        self.tables.iter().zip(&self.tallies).map(size).collect()
    }

    fn disk_bytes(&self, tally: &Tally, clustered: bool) -> f64 {
        let rows = tally.rows as f64;
        let (fill, entries_fill) = match (self.dialect, clustered) {
            (Dialect::Sqlite, true) => (FILL_SQLITE, FILL_SQLITE),
            (Dialect::Sqlite, false) => (FILL_SQLITE, FILL_SQLITE_KEY),
            (_, true) => (FILL_CLUSTERED, FILL_ARRIVAL),
            (_, false) => (FILL_ARRIVAL, FILL_ARRIVAL),
        };
        let leaves = (tally.leaves as f64 + rows * SLOT) / fill * (PAGE / PAGE_FOR_ROWS);
        let indexes = tally.indexes as f64 / entries_fill * (PAGE / PAGE_FOR_ROWS);
        (leaves + indexes) * INNER_NODES + tally.aside as f64
    }
}

/// Bytes of a row in its leaf, and on pages of its own.
fn placed(table: &Table, cells: &[usize], dialect: Dialect) -> (usize, usize) {
    if dialect == Dialect::Sqlite {
        // a byte or two for each cell's type, the record's and the cell's own headers; long rows go on over whole pages
        let row = cells.iter().sum::<usize>() + cells.len() + 6;
        return if row <= 4061 { (row, 0) } else { (4061, (row - 489).div_ceil(4092) * 4096) };
    }
    let nullable = table.columns.iter().filter(|column| column.nullable).count();
    let mut leaf = cells.iter().sum::<usize>() + ROW_HEADER + nullable.div_ceil(8);
    let mut aside = 0;
    let mut longest: Vec<usize> = cells.to_vec();
    longest.sort_unstable();
    while leaf > ROW_IN_PAGE_MAX
        && let Some(cell) = longest.pop()
        && cell > 2 * POINTER
    {
        leaf -= cell - POINTER;
        aside += cell.div_ceil(16_327) * 16_384;
    }
    (leaf, aside)
}

/// Bytes of a row's entries in secondary indexes: their columns, and the primary key.
fn index_entries(table: &Table, cells: &[usize], dialect: Dialect) -> usize {
    let of = |columns: &[usize]| columns.iter().filter_map(|column| cells.get(*column)).sum::<usize>();
    let key = of(&table.key);
    let entry = |columns: &[usize]| match dialect {
        Dialect::Sqlite => of(columns) + columns.len() + 8,
        Dialect::MySql | Dialect::MariaDb => of(columns) + key + ENTRY_HEADER,
    };
    let own: usize = table.indexes.iter().map(|index| entry(&index.columns)).sum();
    own + if dialect == Dialect::Sqlite { entry(&table.key) } else { 0 }
}

/// Bytes of a cell, its length included.
fn stored(ty: ColumnType, cell: CellRef<'_>, dialect: Dialect) -> usize {
    let length = match cell {
        CellRef::Null => return 0,
        CellRef::Int(value) if dialect == Dialect::Sqlite => return sqlite_integer(value),
        CellRef::Int(_) | CellRef::Double(_) => 8,
        CellRef::Text(bytes) | CellRef::Bytes(bytes) => match ty {
            ColumnType::Json if dialect == Dialect::MySql => jsonb::bytes(bytes),
            _ => bytes.len(),
        },
    };
    if dialect == Dialect::Sqlite {
        return length + usize::from(length > 57);
    }
    let with_length = |most: usize| length + if most > 255 && length > 127 { 2 } else { 1 };
    match ty {
        ColumnType::Varchar(characters) => with_length(characters as usize * 4),
        ColumnType::Varbinary(bytes) => with_length(bytes as usize),
        ColumnType::Text | ColumnType::Blob | ColumnType::Json => with_length(usize::MAX),
        ColumnType::BigInt | ColumnType::Double | ColumnType::DateTime => 8,
        ColumnType::Int => 4,
        ColumnType::Boolean => 1,
        ColumnType::Date => 3,
        ColumnType::Decimal { precision, scale } => {
            decimal(usize::from(precision - scale)) + decimal(usize::from(scale))
        }
    }
}

/// Nine digits are four bytes, fewer are fewer.
fn decimal(digits: usize) -> usize {
    digits / 9 * 4 + (digits % 9).div_ceil(2)
}

fn sqlite_integer(value: i64) -> usize {
    match value.unsigned_abs() {
        0 | 1 => 0,
        2..=127 => 1,
        128..=32_767 => 2,
        32_768..=8_388_607 => 3,
        8_388_608..=2_147_483_647 => 4,
        _ => 8,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size; what is beyond is no size")]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Column;

    fn table(types: &[ColumnType]) -> Table {
        let column = |(index, ty): (usize, &ColumnType)| Column { name: format!("c{index}"), ty: *ty, nullable: false };
        let columns = types.iter().enumerate().map(column).collect();
        Table { name: "t".into(), columns, key: vec![0], indexes: Vec::new() }
    }

    fn row(cells: &[&str]) -> Rows {
        let mut rows = Rows::new(cells.len());
        for cell in cells {
            let copied: Result<(), ()> = rows.text(|out| {
                out.extend_from_slice(cell.as_bytes());
                Ok(())
            });
            copied.unwrap();
        }
        rows.end_row(0);
        rows
    }

    #[test]
    fn cells_take_what_the_servers_say_they_take() {
        let text = CellRef::Text(b"12345678.90");
        assert_eq!(stored(ColumnType::Decimal { precision: 12, scale: 2 }, text, Dialect::MySql), 6);
        assert_eq!(stored(ColumnType::Decimal { precision: 38, scale: 10 }, text, Dialect::MySql), 18);
        assert_eq!(stored(ColumnType::Varchar(20), text, Dialect::MariaDb), 12);
        assert_eq!(stored(ColumnType::DateTime, text, Dialect::MySql), 8);
        assert_eq!(stored(ColumnType::Text, CellRef::Text(&[b'x'; 1000]), Dialect::MySql), 1002);
        assert_eq!(stored(ColumnType::Int, CellRef::Int(5), Dialect::MySql), 4);
        assert_eq!(stored(ColumnType::Int, CellRef::Null, Dialect::MySql), 0);
    }

    #[test]
    fn a_long_cell_lies_on_pages_of_its_own() {
        let table = table(&[ColumnType::Varbinary(64), ColumnType::Text]);
        let (leaf, aside) = placed(&table, &[20, 100_000], Dialect::MySql);
        assert_eq!(leaf, 20 + POINTER + ROW_HEADER);
        assert_eq!(aside, 7 * 16_384);
    }

    #[test]
    fn a_sample_stands_for_the_whole() {
        let tables = [table(&[ColumnType::Varbinary(64), ColumnType::Text])];
        let mut footprint = Footprint::new(&tables, Dialect::MySql);
        let rows = row(&["key", &"v".repeat(297)]);
        footprint.add(std::slice::from_ref(&rows));
        footprint.add(&[rows]);
        let [size] = <[TableSize; 1]>::try_from(footprint.sizes(50.0, true)).unwrap();
        assert_eq!((size.rows, size.value_bytes, size.largest_row), (100, 300, 300));
        assert!(size.stored_bytes > 340 && size.stored_bytes < 400, "{size:?}");
        let [arrival] = <[TableSize; 1]>::try_from(footprint.sizes(50.0, false)).unwrap();
        assert!(arrival.bytes > size.bytes * 5 / 4, "pages that were split are not full");
    }
}
