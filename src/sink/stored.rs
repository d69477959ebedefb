//! Single rows of a target table by their keys: read back as the cells that the mapping would give, locked, and mended.
//!
//! Knows the statements, not when to use them.

use super::scan::{fetched, kind, parameter};
use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::session::{CellKind, Session, Statement};
use crate::mapping::Table;
use crate::mapping::ddl::quote;
use crate::model::counts::KeyCell;
use crate::model::dialect::Dialect;
use crate::model::rows::{CellRef, Rows};

/// Keys in one query: each is a lookup of its own in the primary key.
pub const KEYS_PER_QUERY: usize = 100;

/// The statements that read and mend single rows of one table.
pub struct Stored {
    kinds: Vec<CellKind>,
    /// The columns of the key, as indexes.
    key: Vec<usize>,
    select: String,
    from_key: String,
    lock: Statement,
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
        let read = table.columns.iter().zip(&quoted).map(|(column, name)| fetched(name, column.ty, dialect));
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
            kinds: table.columns.iter().map(|column| kind(column.ty)).collect(),
            key: table.key.clone(),
            lock: Statement::new(format!("SELECT {select}{from_key}{lock}")),
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
        // The last cell says which key a row is of: the server's spelling of a key need not be ours.
        let kinds: Vec<CellKind> = self.kinds.iter().copied().chain([CellKind::Int]).collect();
        let mut rows = Rows::new(kinds.len());
        for (chunk, from) in keys.chunks(KEYS_PER_QUERY).zip((0..).step_by(KEYS_PER_QUERY)) {
            let one = |at: usize| format!("SELECT {}, {}{}", self.select, from + at, self.from_key);
            let sql = Statement::new((0..chunk.len()).map(one).collect::<Vec<_>>().join(" UNION ALL "));
            let cells: Vec<CellRef<'_>> = chunk.iter().flat_map(|key| key.iter().map(KeyCell::cell)).collect();
            session.fetch_into(&sql, &cells, &kinds, &mut rows, usize::MAX).await?;
        }
        let mut places = vec![None; keys.len()];
        for row in 0..rows.len() {
            let CellRef::Int(at) = rows.cell(row, self.kinds.len()) else { return Err(odd()) };
            let place = usize::try_from(at).ok().and_then(|at| places.get_mut(at)).ok_or_else(odd)?;
            *place = Some(row);
        }
        Ok(Found { rows, places })
    }

    /// The row of a key, locked against every writer until the transaction ends; on SQLite the whole file is. A key
    /// without a row is not locked.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn lock(&self, session: &mut Session, key: &[KeyCell]) -> FaultResult<Option<Rows>> {
        let cells: Vec<CellRef<'_>> = key.iter().map(KeyCell::cell).collect();
        let mut rows = Rows::new(self.kinds.len());
        session.fetch_into(&self.lock, &cells, &self.kinds, &mut rows, usize::MAX).await?;
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }

    /// Inserts a row. From then on it is locked.
    ///
    /// # Errors
    /// `Duplicate` when its key is there; the server's fault.
    pub async fn insert(&self, session: &mut Session, rows: &Rows, row: usize) -> FaultResult<()> {
        session.execute(&self.insert, rows.row(row).take(self.kinds.len())).await.map(drop)
    }

    /// Gives the row of this row's key all its other cells.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn update(&self, session: &mut Session, rows: &Rows, row: usize) -> FaultResult<()> {
        let Some(update) = &self.update else { return Ok(()) };
        let others = (0..self.kinds.len()).filter(|column| !self.key.contains(column));
        let cells = others.chain(self.key.iter().copied()).map(|column| rows.cell(row, column));
        session.execute(update, cells).await.map(drop)
    }

    /// Deletes the row of a key.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn delete(&self, session: &mut Session, key: &[KeyCell]) -> FaultResult<()> {
        session.execute(&self.delete, key.iter().map(KeyCell::cell)).await.map(drop)
    }
}

/// Rows that were looked for.
pub struct Found {
    /// Those that are there; each has one cell more than the table has columns.
    pub rows: Rows,
    /// For each key: its row's number.
    pub places: Vec<Option<usize>>,
}

fn odd() -> Fault {
    Fault::new(FaultKind::Other, "rows", "the server returns rows that were not asked for")
}
