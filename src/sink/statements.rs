//! The insert statements of one table: a few fixed sizes, so that a server prepares each once.

use crate::driver::session::Statement;
use crate::mapping::Table;
use crate::mapping::ddl::quote;
use crate::model::dialect::Dialect;
use crate::model::rows::Rows;

/// Rows in a statement, largest first. 1000 rows is where throughput peaks (5000 halve it); the rest fill up tails.
const SIZES: [usize; 6] = [1000, 250, 64, 16, 4, 1];

/// Placeholders in a statement: MySQL's protocol has 65,535, SQLite 32,766.
const MYSQL_PLACEHOLDERS: usize = 65_535;
const SQLITE_PLACEHOLDERS: usize = 32_766;

/// A statement larger than this gains nothing, however large the server's max_allowed_packet.
const STATEMENT_BYTES: usize = 8 << 20;

/// Statement id, parameter types, null bitmap: what a packet holds beside the values, a row.
const ROW_OVERHEAD: usize = 16;

/// The inserts of one table on one server.
pub(super) struct Inserts {
    columns: usize,
    sizes: Vec<(usize, Statement)>,
    bytes_max: usize,
}

/// A run of rows for one statement.
pub(super) struct Piece<'a> {
    pub(super) statement: &'a Statement,
    pub(super) rows: &'a [u32],
}

impl Inserts {
    pub(super) fn new(table: &Table, replaces: bool, dialect: Dialect, max_packet: usize) -> Self {
        let placeholders = match dialect {
            Dialect::Sqlite => SQLITE_PLACEHOLDERS,
            Dialect::MySql | Dialect::MariaDb => MYSQL_PLACEHOLDERS,
        };
        let rows_max = (placeholders / table.columns.len().max(1)).max(1);
        let sizes = SIZES
            .iter()
            .filter(|size| **size <= rows_max)
            .map(|size| (*size, Statement::new(insert(table, replaces, dialect, *size))))
            .collect();
        let bytes_max = STATEMENT_BYTES.min(max_packet.saturating_sub(1024));
        Inserts { columns: table.columns.len(), sizes, bytes_max }
    }

    /// The first rows of `order` that make one statement: the largest size that fits the packet. A single row is
    /// always taken; whether it fits is asked by [`Inserts::too_big`].
    pub(super) fn first_piece<'a>(&'a self, rows: &Rows, order: &'a [u32]) -> Option<Piece<'a>> {
        let mut bytes = 0;
        let fitting = order
            .iter()
            .take_while(|row| {
                bytes += self.bytes(rows, **row);
                bytes <= self.bytes_max
            })
            .count()
            .max(1);
        let (size, statement) =
            self.sizes.iter().find(|(size, _)| *size <= fitting.min(order.len())).or(self.sizes.last())?;
        order.get(..*size).map(|rows| Piece { statement, rows })
    }

    /// The row's size in a packet, when no packet the server takes can hold it.
    pub(super) fn too_big(&self, rows: &Rows, row: u32, max_packet: usize) -> Option<usize> {
        let bytes = self.bytes(rows, row);
        (bytes > max_packet.saturating_sub(1024)).then_some(bytes)
    }

    fn bytes(&self, rows: &Rows, row: u32) -> usize {
        rows.row_bytes(row as usize) + self.columns * (ROW_OVERHEAD - 5) + ROW_OVERHEAD
    }
}

fn insert(table: &Table, replaces: bool, dialect: Dialect, rows: usize) -> String {
    let name = quote(&table.name, dialect);
    let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name, dialect)).collect();
    let row = format!("({})", vec!["?"; columns.len()].join(","));
    let values = vec![row.as_str(); rows].join(",");
    let head = format!("INSERT INTO {name} ({}) VALUES {values}", columns.join(","));
    let others: Vec<&String> =
        columns.iter().enumerate().filter(|(index, _)| !table.key.contains(index)).map(|(_, name)| name).collect();
    let keys: Vec<&str> = table.key.iter().map(|index| columns[*index].as_str()).collect();
    let set = |value: &dyn Fn(&str) -> String| {
        others.iter().map(|column| format!("{column}={}", value(column))).collect::<Vec<_>>().join(",")
    };
    let replace = replaces && !others.is_empty();
    match (dialect, replace) {
        (Dialect::Sqlite, false) => format!("{head} ON CONFLICT DO NOTHING"),
        (Dialect::Sqlite, true) => {
            format!("{head} ON CONFLICT ({}) DO UPDATE SET {}", keys.join(","), set(&|c| format!("excluded.{c}")))
        }
        (Dialect::MySql, true) => format!("{head} AS new ON DUPLICATE KEY UPDATE {}", set(&|c| format!("new.{c}"))),
        (Dialect::MariaDb, true) => format!("{head} ON DUPLICATE KEY UPDATE {}", set(&|c| format!("VALUES({c})"))),
        // The no-op update adds one to LAST_INSERT_ID() for each row that is there: affected rows cannot tell.
        (Dialect::MySql | Dialect::MariaDb, false) => {
            let key = keys.first().copied().unwrap_or_default();
            format!(
                "{head} ON DUPLICATE KEY UPDATE {key}=IF(LAST_INSERT_ID(LAST_INSERT_ID()+1)>0,{name}.{key},{name}.{key})"
            )
        }
    }
}
