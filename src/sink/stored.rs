//! Rows of a target table, read back by their keys as the cells that the mapping would give: to compare, and to mend.
//!
//! A moment, a day and a double are asked for as text, so that what is compared is what the server holds and not what a
//! wire makes of it. Decimals come as the server prints them, padded; comparing is not this room's.

use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::session::{Fetched, Session, Statement};
use crate::mapping::ddl::quote;
use crate::mapping::{ColumnType, Table};
use crate::model::counts::KeyCell;
use crate::model::dialect::Dialect;
use crate::model::rows::{CellRef, Rows};

/// Keys in one query: each is a lookup of its own in the primary key.
pub const KEYS_PER_QUERY: usize = 100;

/// The statements that read and mend single rows of one table.
pub struct Stored {
    columns: Vec<ColumnType>,
    /// The columns that the key fixes, as indexes.
    key: Vec<usize>,
    select: String,
    from_key: String,
    lock: String,
    insert: Statement,
    /// None for a table that is all key.
    update: Option<Statement>,
    delete: Statement,
}

impl Stored {
    /// For a table on a server of `dialect`.
    #[must_use]
    pub fn new(table: &Table, dialect: Dialect) -> Self {
        let name = quote(&table.name, dialect);
        let quoted: Vec<String> = table.columns.iter().map(|column| quote(&column.name, dialect)).collect();
        let read = table.columns.iter().zip(&quoted).map(|(column, name)| as_read(column.ty, name, dialect));
        let select = read.collect::<Vec<_>>().join(", ");
        let is_key =
            |column: &usize| format!("{} = {}", quoted[*column], parameter(table.columns[*column].ty, dialect));
        let from_key = format!(" FROM {name} WHERE {}", table.key.iter().map(is_key).collect::<Vec<_>>().join(" AND "));
        let lock = match dialect {
            Dialect::Sqlite => "",
            Dialect::MySql | Dialect::MariaDb => " FOR UPDATE",
        };
        let values = vec!["?"; quoted.len()].join(", ");
        let insert = format!("INSERT INTO {name} ({}) VALUES ({values})", quoted.join(", "));
        let others = (0..quoted.len()).filter(|column| !table.key.contains(column));
        let set: Vec<String> = others.map(|column| format!("{} = ?", quoted[column])).collect();
        let condition = from_key.split_once(" WHERE ").map_or("", |(_, condition)| condition);
        let update = (!set.is_empty())
            .then(|| Statement::new(format!("UPDATE {name} SET {} WHERE {condition}", set.join(", "))));
        Stored {
            columns: table.columns.iter().map(|column| column.ty).collect(),
            key: table.key.clone(),
            lock: format!("SELECT {select}{from_key}{lock}"),
            insert: Statement::new(insert),
            update,
            delete: Statement::new(format!("DELETE{from_key}")),
            select,
            from_key,
        }
    }

    /// The rows of `keys`, each by its number among [the rows](Found::rows); none where there is no row.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn find(&self, session: &mut Session, keys: &[&[KeyCell]]) -> FaultResult<Found> {
        let mut found = Found { rows: Rows::new(self.columns.len()), places: vec![None; keys.len()] };
        for (chunk, from) in keys.chunks(KEYS_PER_QUERY).zip((0..).step_by(KEYS_PER_QUERY)) {
            // The server says which key a row is of: its spelling of a key need not be ours.
            let one = |at: usize| format!("SELECT {at}, {}{}", self.select, self.from_key);
            let sql = (0..chunk.len()).map(one).collect::<Vec<_>>().join(" UNION ALL ");
            let cells: Vec<CellRef<'_>> = chunk.iter().flat_map(|key| key.iter().map(cell)).collect();
            for row in session.fetch(&sql, &cells).await? {
                let mut values = row.into_iter();
                let at = values.next().and_then(|at| at.int()).and_then(|at| usize::try_from(at).ok());
                let place = at.and_then(|at| found.places.get_mut(from + at)).ok_or_else(odd)?;
                *place = Some(found.rows.len());
                self.append(values, &mut found.rows);
            }
        }
        Ok(found)
    }

    /// The row of a key, locked against every writer until the transaction ends; on SQLite the whole file is. A key
    /// without a row is not locked.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn lock(&self, session: &mut Session, key: &[KeyCell]) -> FaultResult<Option<Rows>> {
        let cells: Vec<CellRef<'_>> = key.iter().map(cell).collect();
        let Some(row) = session.fetch(&self.lock, &cells).await?.into_iter().next() else { return Ok(None) };
        let mut rows = Rows::new(self.columns.len());
        self.append(row.into_iter(), &mut rows);
        Ok(Some(rows))
    }

    /// Inserts a row. From then on it is locked.
    ///
    /// # Errors
    /// `Duplicate` when its key is there; the server's fault.
    pub async fn insert(&self, session: &mut Session, rows: &Rows, row: usize) -> FaultResult<()> {
        session.execute(&self.insert, rows.row(row)).await.map(drop)
    }

    /// Gives the row of this row's key all its other cells.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn update(&self, session: &mut Session, rows: &Rows, row: usize) -> FaultResult<()> {
        let Some(update) = &self.update else { return Ok(()) };
        let others = (0..self.columns.len()).filter(|column| !self.key.contains(column));
        let cells = others.chain(self.key.iter().copied()).map(|column| rows.cell(row, column));
        session.execute(update, cells).await.map(drop)
    }

    /// Deletes the row of a key.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn delete(&self, session: &mut Session, key: &[KeyCell]) -> FaultResult<()> {
        session.execute(&self.delete, key.iter().map(cell)).await.map(drop)
    }

    fn append(&self, values: impl Iterator<Item = Fetched>, rows: &mut Rows) {
        for (value, ty) in values.zip(&self.columns) {
            append(value, *ty, rows);
        }
        rows.end_row(0);
    }
}

/// Rows that were looked for.
pub struct Found {
    /// Those that are there.
    pub rows: Rows,
    /// For each key: its row's number.
    pub places: Vec<Option<usize>>,
}

/// A key's cell as a parameter.
fn cell(cell: &KeyCell) -> CellRef<'_> {
    match cell {
        KeyCell::Int(value) => CellRef::Int(*value),
        KeyCell::Text(text) => CellRef::Text(text.as_bytes()),
        KeyCell::Bytes(bytes) => CellRef::Bytes(bytes),
    }
}

fn odd() -> Fault {
    Fault::new(FaultKind::Other, "rows", "the server returns rows that were not asked for")
}

/// A column in the list of what is selected.
fn as_read(ty: ColumnType, name: &str, dialect: Dialect) -> String {
    match (ty, dialect) {
        (_, Dialect::Sqlite) => name.to_owned(),
        (ColumnType::Date | ColumnType::DateTime | ColumnType::Double, _) => format!("CAST({name} AS CHAR)"),
        _ => name.to_owned(),
    }
}

/// A key column's parameter. A server that compares a decimal with a text does so as doubles, in which neighbours are one.
fn parameter(ty: ColumnType, dialect: Dialect) -> String {
    match (ty, dialect) {
        (_, Dialect::Sqlite) => "?".to_owned(),
        (ColumnType::Decimal { precision, scale }, _) => format!("CAST(? AS DECIMAL({precision},{scale}))"),
        (ColumnType::DateTime, _) => "CAST(? AS DATETIME(6))".to_owned(),
        (ColumnType::Date, _) => "CAST(? AS DATE)".to_owned(),
        _ => "?".to_owned(),
    }
}

/// Appends a fetched value as the mapping's cell for its column. One that is not of the column's kind stays what it is,
/// and so differs.
fn append(value: Fetched, ty: ColumnType, rows: &mut Rows) {
    let bytes = match value {
        Fetched::Null => return rows.null(),
        Fetched::Int(value) => return rows.int(value),
        Fetched::Bytes(bytes) => bytes,
    };
    let text = std::str::from_utf8(&bytes).ok();
    match ty {
        ColumnType::Double => match text.and_then(|text| text.parse().ok()) {
            Some(value) => rows.double(value),
            None => put(&bytes, false, rows),
        },
        ColumnType::BigInt | ColumnType::Int | ColumnType::Boolean => match text.and_then(|text| text.parse().ok()) {
            Some(value) => rows.int(value),
            None => put(&bytes, text.is_some(), rows),
        },
        ColumnType::Varbinary(_) | ColumnType::Blob => put(&bytes, false, rows),
        _ => put(&bytes, text.is_some(), rows),
    }
}

fn put(bytes: &[u8], is_text: bool, rows: &mut Rows) {
    let copy = |out: &mut Vec<u8>| -> Result<(), std::convert::Infallible> {
        out.extend_from_slice(bytes);
        Ok(())
    };
    let done = if is_text { rows.text(copy) } else { rows.binary(copy) };
    match done {
        Ok(()) => {}
    }
}
