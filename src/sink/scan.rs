//! Rows that are stored in a target table, read back: a range of keys page by page, or some keys at once, or what the
//! server makes of a range. Short reads only, each of them a statement of its own: nobody waits for a long snapshot.
//!
//! Knows how to ask, not what for. Pages are in the order of the primary key.

use crate::driver::fault::FaultResult;
use crate::driver::session::{Appended, CellKind, Fetched, Session, Statement};
use crate::mapping::ddl::quote;
use crate::mapping::{ColumnType, Table};
use crate::model::counts::KeyCell;
use crate::model::dialect::Dialect;
use crate::model::rows::{CellRef, Rows};
use crate::spill::key::KeyKind;
use std::ops::Bound;

/// Keys in one lookup; fewer are filled up with the last, so that a server prepares few statements.
pub const LOOKUP_MAX: usize = 128;
const LOOKUP_SIZES: [usize; 3] = [1, 16, LOOKUP_MAX];

/// A range of a table's keys.
pub type KeyBounds = (Bound<Vec<KeyCell>>, Bound<Vec<KeyCell>>);

/// Which columns a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// All of the mapping's, in its order.
    All,
    /// Those of the key, in its order.
    Key,
}

/// A target table that is read.
pub struct ScannedTable {
    name: String,
    dialect: Dialect,
    columns: Vec<Selected>,
    /// The key's columns, as indexes into `columns`.
    key: Vec<usize>,
}

/// A column in a query.
struct Selected {
    name: String,
    /// As it is fetched.
    sql: String,
    kind: CellKind,
    /// What a parameter is compared as.
    parameter: String,
}

impl ScannedTable {
    /// `table`, on a server of `dialect`.
    #[must_use]
    pub fn new(table: &Table, dialect: Dialect) -> Self {
        let columns = table.columns.iter().map(|column| {
            let name = quote(&column.name, dialect);
            Selected {
                sql: fetched(&name, column.ty, dialect),
                kind: kind(column.ty),
                parameter: parameter(column.ty, dialect),
                name,
            }
        });
        ScannedTable { name: quote(&table.name, dialect), dialect, columns: columns.collect(), key: table.key.clone() }
    }

    /// Cells of a row of `columns`.
    #[must_use]
    pub fn width(&self, columns: Columns) -> usize {
        match columns {
            Columns::All => self.columns.len(),
            Columns::Key => self.key.len(),
        }
    }

    /// Appends to `rows` at most `limit` rows of `range` in the order of the key, from its beginning on, as far as they fit
    /// into `bytes_max`: at least one. Fewer given than `limit` means that these were all.
    ///
    /// # Errors
    /// The server's fault; `rows` may have some of the rows then.
    pub async fn page(
        &self,
        session: &mut Session,
        columns: Columns,
        range: &KeyBounds,
        limit: usize,
        (rows, bytes_max): (&mut Rows, usize),
    ) -> FaultResult<Appended> {
        let (conditions, mut cells) = self.conditions(range);
        let order: Vec<&str> = self.key_columns().map(|column| column.name.as_str()).collect();
        let selected = self.selected(columns);
        let list: Vec<&str> = selected.iter().map(|column| column.sql.as_str()).collect();
        let sql =
            format!("SELECT {} FROM {}{conditions} ORDER BY {} LIMIT ?", list.join(", "), self.name, order.join(", "));
        cells.push(CellRef::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        let kinds: Vec<CellKind> = selected.iter().map(|column| column.kind).collect();
        session.fetch_into(&Statement::new(sql), &cells, &kinds, rows, bytes_max).await
    }

    /// Appends to `rows` those with one of `keys`, at most [`LOOKUP_MAX`], each once and in no order, as far as they fit into
    /// `bytes_max`: at least one.
    ///
    /// # Errors
    /// The server's fault; `rows` may have some of the rows then.
    pub async fn lookup(
        &self,
        session: &mut Session,
        columns: Columns,
        keys: &[Vec<KeyCell>],
        (rows, bytes_max): (&mut Rows, usize),
    ) -> FaultResult<Appended> {
        let Some(last) = keys.last() else { return Ok(Appended { given: 0, appended: 0 }) };
        let size = LOOKUP_SIZES.into_iter().find(|size| *size >= keys.len()).unwrap_or(keys.len());
        let one: Vec<String> =
            self.key_columns().map(|column| format!("{} = {}", column.name, column.parameter)).collect();
        let one = format!("({})", one.join(" AND "));
        let selected = self.selected(columns);
        let list: Vec<&str> = selected.iter().map(|column| column.sql.as_str()).collect();
        let sql =
            format!("SELECT {} FROM {} WHERE {}", list.join(", "), self.name, vec![one.as_str(); size].join(" OR "));
        let padded = keys.iter().chain(std::iter::repeat_n(last, size - keys.len()));
        let cells: Vec<CellRef<'_>> = padded.flatten().map(KeyCell::cell).collect();
        let kinds: Vec<CellKind> = selected.iter().map(|column| column.kind).collect();
        session.fetch_into(&Statement::new(sql), &cells, &kinds, rows, bytes_max).await
    }

    /// What the server makes of a range: the row of the query that `query` makes of the table and its conditions, its first
    /// cell a number and its second, if it has one, text.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn aggregate(
        &self,
        session: &mut Session,
        query: &(dyn Fn(&str) -> String + Send + Sync),
        range: &KeyBounds,
    ) -> FaultResult<(u64, Option<Vec<u8>>)> {
        let (conditions, cells) = self.conditions(range);
        let sql = query(&format!("{}{conditions}", self.name));
        let rows = session.fetch(&sql, &cells).await?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
        let count = row.next().and_then(|count| count.int()).and_then(|count| u64::try_from(count).ok());
        Ok((count.unwrap_or(0), row.next().and_then(Fetched::bytes)))
    }

    fn selected(&self, columns: Columns) -> Vec<&Selected> {
        match columns {
            Columns::All => self.columns.iter().collect(),
            Columns::Key => self.key_columns().collect(),
        }
    }

    fn key_columns(&self) -> impl Iterator<Item = &Selected> {
        self.key.iter().map(|column| &self.columns[*column])
    }

    /// The WHERE clause of a range, and its parameters.
    fn conditions<'k>(&self, range: &'k KeyBounds) -> (String, Vec<CellRef<'k>>) {
        let (mut parts, mut cells) = (Vec::new(), Vec::new());
        let ends = [(&range.0, ['>'; 2], ">="), (&range.1, ['<'; 2], "<=")];
        for (bound, [strict, _], or_equal) in ends {
            let (key, last) = match bound {
                Bound::Unbounded => continue,
                Bound::Included(key) => (key, or_equal.to_owned()),
                Bound::Excluded(key) => (key, strict.to_string()),
            };
            parts.push(match self.dialect {
                Dialect::Sqlite => self.row_condition(key, &last, &mut cells),
                _ => self.prefix_conditions(key, strict, &last, &mut cells),
            });
        }
        if parts.is_empty() { (String::new(), cells) } else { (format!(" WHERE {}", parts.join(" AND ")), cells) }
    }

    /// As SQLite reads it from an index: it compares rows.
    fn row_condition<'k>(&self, key: &'k [KeyCell], compare: &str, cells: &mut Vec<CellRef<'k>>) -> String {
        let names: Vec<&str> = self.key_columns().map(|column| column.name.as_str()).collect();
        cells.extend(key.iter().map(KeyCell::cell));
        format!("({}) {compare} ({})", names.join(", "), vec!["?"; names.len()].join(", "))
    }

    /// As MySQL and MariaDB read it from an index: a range for each column, those before it being equal.
    fn prefix_conditions<'k>(
        &self,
        key: &'k [KeyCell],
        strict: char,
        last: &str,
        cells: &mut Vec<CellRef<'k>>,
    ) -> String {
        let columns: Vec<&Selected> = self.key_columns().collect();
        let mut ranges = Vec::new();
        for at in 0..columns.len() {
            let mut range: Vec<String> =
                columns[..at].iter().map(|column| format!("{} = {}", column.name, column.parameter)).collect();
            let compare = if at + 1 == columns.len() { last.to_owned() } else { strict.to_string() };
            range.push(format!("{} {compare} {}", columns[at].name, columns[at].parameter));
            cells.extend(key.iter().take(at + 1).map(KeyCell::cell));
            ranges.push(format!("({})", range.join(" AND ")));
        }
        format!("({})", ranges.join(" OR "))
    }
}

/// By table, how its key's columns compare on a server of `dialect`, in the key's order. A decimal is text in a row and a
/// number to a server, but for SQLite, which has none.
#[must_use]
pub fn key_kinds(tables: &[Table], dialect: Dialect) -> Vec<Vec<KeyKind>> {
    let kind = |ty: ColumnType| match ty {
        ColumnType::Decimal { .. } if dialect != Dialect::Sqlite => KeyKind::Decimal,
        _ => KeyKind::AsIs,
    };
    let of_table = |table: &Table| table.key.iter().map(|column| kind(table.columns[*column].ty)).collect();
    tables.iter().map(of_table).collect()
}

/// Which of a table's key columns hold text.
#[must_use]
pub fn key_texts(table: &Table) -> Vec<bool> {
    table.key.iter().map(|column| kind(table.columns[*column].ty) == CellKind::Text).collect()
}

/// A column as it is fetched: what has no text of its own in the protocol is printed by the server.
pub(super) fn fetched(name: &str, ty: ColumnType, dialect: Dialect) -> String {
    match (ty, dialect) {
        (ColumnType::Date | ColumnType::DateTime, Dialect::MySql | Dialect::MariaDb) => format!("CAST({name} AS CHAR)"),
        _ => name.to_owned(),
    }
}

pub(super) fn kind(ty: ColumnType) -> CellKind {
    match ty {
        ColumnType::BigInt | ColumnType::Int | ColumnType::Boolean => CellKind::Int,
        ColumnType::Double => CellKind::Double,
        ColumnType::Varbinary(_) | ColumnType::Blob => CellKind::Bytes,
        ColumnType::Varchar(_)
        | ColumnType::Text
        | ColumnType::Decimal { .. }
        | ColumnType::Date
        | ColumnType::DateTime
        | ColumnType::Json => CellKind::Text,
    }
}

/// A parameter for a key column. A decimal must not be compared as text, which a server does by way of a float.
pub(super) fn parameter(ty: ColumnType, dialect: Dialect) -> String {
    match (ty, dialect) {
        (ColumnType::Decimal { precision, scale }, Dialect::MySql | Dialect::MariaDb) => {
            let integer = precision.saturating_sub(scale);
            format!("CAST(? AS DECIMAL(65,{}))", 30.min(65 - integer))
        }
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Mapping, parse_key};

    fn table(dialect: Dialect) -> ScannedTable {
        let key = parse_key("pk:S,sk:N").unwrap();
        ScannedTable::new(&Mapping::document(&key, "t", &[]).unwrap().tables()[0], dialect)
    }

    #[test]
    fn a_range_is_what_each_database_reads_from_its_index() {
        let key = |pk: u8, sk: u8| vec![KeyCell::Bytes(vec![pk]), KeyCell::Bytes(vec![sk])];
        let range = (Bound::Excluded(key(1, 2)), Bound::Included(key(3, 4)));
        let mysql = table(Dialect::MySql);
        let (sql, cells) = mysql.conditions(&range);
        assert_eq!(sql, " WHERE ((`pk` > ?) OR (`pk` = ? AND `sk` > ?)) AND ((`pk` < ?) OR (`pk` = ? AND `sk` <= ?))");
        let bytes: Vec<&[u8]> =
            cells.iter().map(|cell| if let CellRef::Bytes(bytes) = cell { bytes } else { panic!() }).copied().collect();
        assert_eq!(bytes, [[1], [1], [2], [3], [3], [4]]);
        let sqlite = table(Dialect::Sqlite);
        let (sql, cells) = sqlite.conditions(&range);
        assert_eq!(sql, " WHERE (\"pk\", \"sk\") > (?, ?) AND (\"pk\", \"sk\") <= (?, ?)");
        assert_eq!(cells.len(), 4);
        assert_eq!(mysql.conditions(&(Bound::Unbounded, Bound::Unbounded)), (String::new(), Vec::new()));
    }
}
