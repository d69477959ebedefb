//! Which SQL is spoken: everybody below the pipeline who makes statements asks.

/// The SQL dialect that decides type names, quoting and locking clauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Oracle MySQL 8.0 and later.
    MySql,
    /// MariaDB 10.6 and later.
    MariaDb,
    /// SQLite with STRICT tables.
    Sqlite,
}
