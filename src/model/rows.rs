//! The rows that one page gives for one target table: cells in a flat arena, no allocation per row or per cell.
//!
//! The mapping appends rows; a sink sorts them by key and binds or prints them. Cells are already what the column
//! takes: checked for range, length and scale. A sink never converts and never sees an item.

use super::page::UnitId;
use std::cmp::Ordering;

/// One value of a row, as the target column takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CellRef<'a> {
    /// NULL.
    Null,
    /// An integer, also for booleans (0, 1).
    Int(i64),
    /// A double: only for columns that ask for one by name.
    Double(f64),
    /// Text: strings, decimals (plain digits), dates, JSON. Valid UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Int(i64),
    Double(f64),
    Text { start: u32, end: u32 },
    Bytes { start: u32, end: u32 },
}

/// Rows of one table. Each row remembers the position of its item in the unit, and the unit too where they are mixed.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    columns: usize,
    cells: Vec<Cell>,
    bytes: Vec<u8>,
    positions: Vec<u64>,
    /// The unit of each row, or nothing when all are of their page's unit: so rows of a page pay nothing for it.
    units: Vec<UnitId>,
}

impl Rows {
    /// Room for rows of `columns` cells.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Rows { columns, ..Rows::default() }
    }

    /// The same, with memory for so many rows that take so many bytes.
    #[must_use]
    pub fn with_capacity(columns: usize, rows: usize, bytes: usize) -> Self {
        let mut empty = Rows::new(columns);
        empty.cells.reserve_exact(columns * rows);
        empty.bytes.reserve_exact(bytes);
        empty.positions.reserve_exact(rows);
        empty
    }

    /// How many whole rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Cells in a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes of memory the rows hold.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
            + self.cells.capacity() * size_of::<Cell>()
            + self.positions.capacity() * size_of::<u64>()
            + self.units.capacity() * size_of::<UnitId>()
    }

    /// Forgets all rows and keeps their memory for the next.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.bytes.clear();
        self.positions.clear();
        self.units.clear();
    }

    /// Appends a NULL to the row that is being built.
    pub fn null(&mut self) {
        self.cells.push(Cell::Null);
    }

    /// Appends an integer.
    pub fn int(&mut self, value: i64) {
        self.cells.push(Cell::Int(value));
    }

    /// Appends a double.
    pub fn double(&mut self, value: f64) {
        self.cells.push(Cell::Double(value));
    }

    /// Appends text that `write` puts into the arena; it must append only, and write valid UTF-8.
    /// When `write` fails nothing is appended.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn text<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let (start, end) = self.append(write)?;
        self.cells.push(Cell::Text { start, end });
        Ok(())
    }

    /// Appends bytes that `write` puts into the arena; it must append only. When it fails nothing is appended.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn binary<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let (start, end) = self.append(write)?;
        self.cells.push(Cell::Bytes { start, end });
        Ok(())
    }

    fn append<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(u32, u32), E> {
        let start = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        Ok((offset(start), offset(self.bytes.len())))
    }

    /// Appends a copy of a cell.
    pub fn cell_of(&mut self, cell: CellRef<'_>) {
        match cell {
            CellRef::Null => self.null(),
            CellRef::Int(value) => self.int(value),
            CellRef::Double(value) => self.double(value),
            CellRef::Text(bytes) => {
                let (start, end) = self.copy(bytes);
                self.cells.push(Cell::Text { start, end });
            }
            CellRef::Bytes(bytes) => {
                let (start, end) = self.copy(bytes);
                self.cells.push(Cell::Bytes { start, end });
            }
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        (offset(start), offset(self.bytes.len()))
    }

    /// Appends copies of all rows of `others`, which have as many columns.
    pub fn append_rows(&mut self, others: &Rows) {
        for row in 0..others.len() {
            others.row(row).for_each(|cell| self.cell_of(cell));
            self.end_row(others.position(row));
        }
    }

    /// Ends the row that is being built; it belongs to the item at `position` of the unit.
    pub fn end_row(&mut self, position: u64) {
        debug_assert_eq!(self.cells.len(), self.columns * (self.positions.len() + 1), "a row has a cell per column");
        debug_assert!(self.units.is_empty(), "rows are all of one unit, or all say which");
        self.positions.push(position);
    }

    /// Ends the row that is being built; it belongs to the item at `position` of `unit`. For rows of many units: such
    /// rows all end this way.
    pub fn end_row_of(&mut self, unit: UnitId, position: u64) {
        debug_assert_eq!(self.cells.len(), self.columns * (self.positions.len() + 1), "a row has a cell per column");
        debug_assert_eq!(self.units.len(), self.positions.len(), "rows are all of one unit, or all say which");
        self.positions.push(position);
        self.units.push(unit);
    }

    /// Forgets the cells of the row that is being built: its item was rejected.
    pub fn abandon_row(&mut self) {
        self.cells.truncate(self.columns * self.positions.len());
    }

    /// The position in the unit of the item that gave this row.
    #[must_use]
    pub fn position(&self, row: usize) -> u64 {
        self.positions[row]
    }

    /// The unit of the item that gave this row: `own`, the page's, unless the rows were merged from many units.
    #[must_use]
    pub fn unit(&self, row: usize, own: UnitId) -> UnitId {
        self.units.get(row).copied().unwrap_or(own)
    }

    /// One cell.
    #[must_use]
    #[inline]
    pub fn cell(&self, row: usize, column: usize) -> CellRef<'_> {
        self.view(self.cells[row * self.columns + column])
    }

    /// The cells of a row, in column order.
    pub fn row(&self, row: usize) -> impl Iterator<Item = CellRef<'_>> {
        self.cells[row * self.columns..(row + 1) * self.columns].iter().map(|cell| self.view(*cell))
    }

    #[inline]
    fn view(&self, cell: Cell) -> CellRef<'_> {
        match cell {
            Cell::Null => CellRef::Null,
            Cell::Int(value) => CellRef::Int(value),
            Cell::Double(value) => CellRef::Double(value),
            Cell::Text { start, end } => CellRef::Text(&self.bytes[start as usize..end as usize]),
            Cell::Bytes { start, end } => CellRef::Bytes(&self.bytes[start as usize..end as usize]),
        }
    }

    /// Bytes that the row's values take, without any wire's framing.
    #[must_use]
    pub fn row_bytes(&self, row: usize) -> usize {
        self.row(row)
            .map(|cell| match cell {
                CellRef::Null => 0,
                CellRef::Int(_) | CellRef::Double(_) => 8,
                CellRef::Text(bytes) | CellRef::Bytes(bytes) => bytes.len(),
            })
            .sum()
    }

    /// The row numbers in the order of [`Rows::compare`].
    #[must_use]
    pub fn sorted(&self, key: &[usize]) -> Vec<u32> {
        let Some(first) = key.first() else { return (0..row_number(self.len())).collect() };
        // Nearly every pair of rows differs in the beginning of its first key cell, and comparing integers that lie side
        // by side is several times cheaper than looking up cells.
        let mut order: Vec<(u128, u32)> =
            (0..row_number(self.len())).map(|row| (beginning(self.cell(row as usize, *first)), row)).collect();
        order.sort_unstable_by(|left, right| {
            left.0.cmp(&right.0).then_with(|| self.compare(left.1 as usize, right.1 as usize, key))
        });
        order.into_iter().map(|(_, row)| row).collect()
    }

    /// Orders two rows by the columns `key`, as bytes and integers: the order in which the table stores them.
    #[must_use]
    pub fn compare(&self, left: usize, right: usize, key: &[usize]) -> Ordering {
        key.iter()
            .map(|column| compare_cells(self.cell(left, *column), self.cell(right, *column)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

fn compare_cells(left: CellRef<'_>, right: CellRef<'_>) -> Ordering {
    match (left, right) {
        (CellRef::Null, CellRef::Null) => Ordering::Equal,
        (CellRef::Null, _) => Ordering::Less,
        (_, CellRef::Null) => Ordering::Greater,
        (CellRef::Int(a), CellRef::Int(b)) => a.cmp(&b),
        (CellRef::Double(a), CellRef::Double(b)) => a.total_cmp(&b),
        (CellRef::Text(a) | CellRef::Bytes(a), CellRef::Text(b) | CellRef::Bytes(b)) => a.cmp(b),
        (left, right) => rank(left).cmp(&rank(right)),
    }
}

/// Orders cells as [`compare_cells`] does, or calls them equal.
fn beginning(cell: CellRef<'_>) -> u128 {
    const BYTES: usize = 15;
    let value = match cell {
        // a double's order is not worth the code: it is no key
        CellRef::Null | CellRef::Double(_) => 0,
        CellRef::Int(value) => u128::from(value.cast_unsigned() ^ 1 << 63),
        CellRef::Text(bytes) | CellRef::Bytes(bytes) => {
            let mut padded = [0; BYTES + 1];
            let length = bytes.len().min(BYTES);
            padded[1..=length].copy_from_slice(&bytes[..length]);
            u128::from_be_bytes(padded)
        }
    };
    u128::from(rank(cell)) << (8 * BYTES) | value
}

fn rank(cell: CellRef<'_>) -> u8 {
    match cell {
        CellRef::Null => 0,
        CellRef::Int(_) => 1,
        CellRef::Double(_) => 2,
        CellRef::Text(_) | CellRef::Bytes(_) => 3,
    }
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

/// A page is about 1 MB and an item at most a few, so an arena never nears 4 GiB; if it did, stopping beats wrapping.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or_else(|_| panic!("the rows of one page exceed 4 GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(keys: &[(Option<i64>, Vec<u8>)]) -> Rows {
        let mut rows = Rows::new(2);
        for (position, (number, text)) in keys.iter().enumerate() {
            match number {
                Some(number) => rows.int(*number),
                None => rows.null(),
            }
            let append = |out: &mut Vec<u8>| -> Result<(), ()> {
                out.extend_from_slice(text);
                Ok(())
            };
            rows.binary(append).unwrap();
            rows.end_row(position as u64);
        }
        rows
    }

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0), Just(b'a'), Just(255)];
        prop_oneof![prop::collection::vec(byte, 0..4), prop::collection::vec(prop_oneof![Just(0), Just(b'a')], 13..18)]
    }

    proptest! {
        #[test]
        fn sorting_agrees_with_comparing(
            keys in prop::collection::vec((prop::option::of(prop_oneof![-2i64..3, any::<i64>()]), texts()), 0..40)
        ) {
            let rows = rows(&keys);
            for key in [&[0, 1][..], &[1, 0], &[1], &[0]] {
                let order = rows.sorted(key);
                let mut numbers = order.clone();
                numbers.sort_unstable();
                prop_assert!(numbers.into_iter().eq(0..u32::try_from(keys.len()).unwrap()));
                let ascends = |pair: &[u32]| rows.compare(pair[0] as usize, pair[1] as usize, key).is_le();
                prop_assert!(order.windows(2).all(ascends));
            }
        }
    }

    #[test]
    fn copies_are_what_they_were_copied_from() {
        let cells = [CellRef::Null, CellRef::Int(-1), CellRef::Double(0.5), CellRef::Text(b"a"), CellRef::Bytes(b"")];
        let mut rows = Rows::new(5);
        cells.iter().for_each(|cell| rows.cell_of(*cell));
        rows.end_row(3);
        let mut more = Rows::new(5);
        more.append_rows(&rows);
        more.append_rows(&rows);
        assert!(more.len() == 2 && more.row(1).eq(cells) && more.position(1) == 3);
    }

    #[test]
    fn merged_rows_know_their_unit_and_a_pages_rows_have_their_pages() {
        let mut rows = Rows::new(1);
        rows.int(1);
        rows.end_row(7);
        assert_eq!((rows.unit(0, 3), rows.position(0)), (3, 7));

        rows.clear();
        assert!(rows.is_empty());
        for (unit, position) in [(5, 8), (4, 9)] {
            rows.int(2);
            rows.end_row_of(unit, position);
        }
        assert_eq!([0, 1].map(|row| (rows.unit(row, 3), rows.position(row))), [(5, 8), (4, 9)]);
        assert_eq!(rows.cell(1, 0), CellRef::Int(2));
    }
}
