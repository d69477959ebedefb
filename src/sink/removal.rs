//! The delete statements of one table: a few fixed sizes, by key, so that a server prepares each once.
//!
//! A key without a row is nothing to delete and costs a look at the primary key. Only a table with fewer rows than the list
//! has keys is read from end to end instead [measured on both servers], which waits for rows that others hold: two that
//! meet there may have to begin again.

use super::scan::parameter;
use crate::driver::fault::FaultResult;
use crate::driver::session::{Session, Statement};
use crate::mapping::Table;
use crate::mapping::ddl::quote;
use crate::model::batch::TableRows;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;

/// Keys in a statement, largest first. MariaDB makes a join of a list of more than a thousand values.
const SIZES: [usize; 4] = [250, 64, 16, 4];

/// The longest key that InnoDB takes, and what a packet holds beside it.
const KEY_BYTES: usize = 3072 + 256;

/// The deletes of one table on one server.
pub(super) struct Removal {
    columns: usize,
    sizes: Vec<(usize, Statement)>,
    one: Statement,
}

impl Removal {
    pub(super) fn new(table: &Table, dialect: Dialect, max_packet: usize) -> Self {
        let fits = |size: &&usize| dialect != Dialect::Sqlite && **size * KEY_BYTES < max_packet;
        let statement = |size: &usize| (*size, Statement::new(many(table, dialect, *size)));
        Removal {
            columns: table.key.len(),
            sizes: SIZES.iter().filter(fits).map(statement).collect(),
            one: Statement::new(one(table, dialect)),
        }
    }

    /// Deletes the rows of these keys, in this order; each row of `removals` begins with the key's cells.
    pub(super) async fn delete(&self, session: &mut Session, removals: &TableRows) -> FaultResult<()> {
        let mut left = removals.order.as_slice();
        while !left.is_empty() {
            let fitting = self.sizes.iter().find(|(size, _)| *size <= left.len());
            let (size, statement) = fitting.map_or((1, &self.one), |(size, statement)| (*size, statement));
            let (now, later) = left.split_at(size);
            let cells = now.iter().flat_map(|row| removals.rows.row(*row as usize).take(self.columns));
            session.execute(statement, cells).await?;
            left = later;
        }
        Ok(())
    }

    /// Deletes the row of one key.
    pub(super) async fn delete_one<'c>(
        &self,
        session: &mut Session,
        key: impl Iterator<Item = CellRef<'c>>,
    ) -> FaultResult<()> {
        session.execute(&self.one, key).await.map(drop)
    }
}

/// The key's columns, quoted, and their parameters.
fn key_of(table: &Table, dialect: Dialect) -> (Vec<String>, Vec<String>) {
    let columns = table.key.iter().map(|column| &table.columns[*column]);
    columns.map(|column| (quote(&column.name, dialect), parameter(column.ty, dialect))).unzip()
}

fn one(table: &Table, dialect: Dialect) -> String {
    let (names, parameters) = key_of(table, dialect);
    let is_key: Vec<String> = names.iter().zip(parameters).map(|(name, value)| format!("{name} = {value}")).collect();
    format!("DELETE FROM {} WHERE {}", quote(&table.name, dialect), is_key.join(" AND "))
}

/// For MySQL's kind.
fn many(table: &Table, dialect: Dialect, keys: usize) -> String {
    let (names, parameters) = key_of(table, dialect);
    let name = quote(&table.name, dialect);
    let key = vec![format!("({})", parameters.join(",")); keys].join(",");
    format!("DELETE FROM {name} WHERE ({}) IN ({key})", names.join(","))
}
