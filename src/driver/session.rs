//! One connection to an SQL database, MySQL's kind or SQLite: the same few verbs, cells in, values out.
//!
//! Knows how to speak, not what to say: statements are built by `sink` and `checkpoint`.

use super::fault::{Fault, FaultKind, FaultResult};
use super::rehearsal::{Rehearsal, is_of_no_table};
use super::target::Target;
use super::{mysql, mysql_local, sqlite};
use crate::error::Result;
use crate::model::dialect::Dialect;
use crate::model::rows::{CellRef, Rows};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A future that a closure or a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A statement's text, shared cheaply: big inserts are built once and used for every page.
#[derive(Clone)]
pub struct Statement(pub(super) SqlStr);

impl Statement {
    /// The statement `text`. Values are bound, never spliced; identifiers in it were quoted by the caller.
    #[must_use]
    pub fn new(text: String) -> Self {
        Statement(AssertSqlSafe(Arc::<str>::from(text)).into_sql_str())
    }
}

/// What a write statement reported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Rows touched; on MySQL those found, changed or not.
    pub affected: u64,
    /// The OK packet's insert id; zero on SQLite.
    pub insert_id: u64,
}

/// What a server told of a load.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Lines read.
    pub records: u64,
    /// Rows written.
    pub written: u64,
    /// Rows that made room for others.
    pub deleted: u64,
    /// Lines that became no row.
    pub skipped: u64,
    /// Its warnings and notes, as far as it lists them.
    pub warnings: Vec<Warned>,
}

/// A warning or a note. The message may quote values: it is compared, and never told.
#[derive(Clone, Debug)]
pub struct Warned {
    /// The server's number.
    pub code: u16,
    /// The server's message.
    pub message: String,
}

/// A fetched value.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetched {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// Anything else, as its bytes.
    Bytes(Vec<u8>),
}

impl Fetched {
    /// The integer; text of digits counts.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Fetched::Int(value) => Some(*value),
            Fetched::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            Fetched::Null => None,
        }
    }

    /// The text; none for NULL.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Fetched::Int(value) => Some(value.to_string()),
            Fetched::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Fetched::Null => None,
        }
    }

    /// The bytes, none for NULL and integers.
    #[must_use]
    pub fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Fetched::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// What a column's values become when they are fetched into rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// An integer.
    Int,
    /// A double.
    Double,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

/// How fetching into rows went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Rows that the server gave.
    pub given: usize,
    /// Rows of them that were appended: the first, and no more than fit.
    pub appended: usize,
}

enum Wire {
    MySql(Box<sqlx::MySqlConnection>),
    Local(Box<mysql_local::Local>),
    Sqlite(Box<sqlx::SqliteConnection>),
}

/// One open connection.
pub struct Session {
    wire: Wire,
    dialect: Dialect,
    max_packet: usize,
    /// How long an answer may take: for ever from SQLite, which is in this process.
    answer_max: Duration,
    /// Where statements are kept rather than sent.
    rehearsal: Option<Arc<Rehearsal>>,
}

impl Session {
    /// Connects, and sets what the engine relies on: strict SQL mode, READ COMMITTED, UTC, utf8mb4.
    ///
    /// # Errors
    /// The fault of connecting; `Denied` for a refused login.
    pub async fn connect(target: &Target) -> FaultResult<Self> {
        match target {
            Target::MySql(mysql) if mysql.loads => {
                let (connection, facts) = mysql_local::connect(mysql).await?;
                let wire = Wire::Local(Box::new(connection));
                let (dialect, max_packet) = (facts.dialect, facts.max_packet);
                Ok(Session { wire, dialect, max_packet, answer_max: mysql.answer_max, rehearsal: None })
            }
            Target::MySql(mysql) => {
                let (connection, facts) = mysql::connect(mysql).await?;
                let wire = Wire::MySql(Box::new(connection));
                let (dialect, max_packet) = (facts.dialect, facts.max_packet);
                Ok(Session { wire, dialect, max_packet, answer_max: mysql.answer_max, rehearsal: None })
            }
            Target::Sqlite(path) => {
                let wire = Wire::Sqlite(Box::new(sqlite::connect(path).await?));
                Ok(Session::of_file(wire))
            }
            Target::Null => Err(Fault::new(FaultKind::Other, "0", "null: is no database")),
        }
    }

    /// Connects or explains.
    ///
    /// # Errors
    /// `Config` or `Transient` with the target's name.
    pub async fn open(target: &Target) -> Result<Self> {
        Session::connect(target).await.map_err(|fault| fault.into_error(&format!("connecting to {target}")))
    }

    /// Connects to look at what is there, and to change nothing: not even a file's journal mode.
    ///
    /// # Errors
    /// `Config` or `Transient` with the target's name.
    pub async fn look(target: &Target) -> Result<Self> {
        let Target::Sqlite(path) = target else { return Session::open(target).await };
        let connection = sqlite::look(path).await.map_err(|fault| fault.into_error(&format!("opening {target}")))?;
        Ok(Session::of_file(Wire::Sqlite(Box::new(connection))))
    }

    /// Connects to change nothing: queries are sent, all other statements are kept in `rehearsal`, and said to have touched
    /// one row.
    ///
    /// # Errors
    /// The fault of connecting.
    pub async fn rehearse(target: &Target, rehearsal: Arc<Rehearsal>) -> FaultResult<Self> {
        let session = match target {
            Target::Sqlite(path) => Session::of_file(Wire::Sqlite(Box::new(sqlite::look(path).await?))),
            Target::MySql(_) | Target::Null => Session::connect(target).await?,
        };
        Ok(Session { rehearsal: Some(rehearsal), ..session })
    }

    fn of_file(wire: Wire) -> Self {
        let (dialect, max_packet, answer_max) = (Dialect::Sqlite, usize::MAX, Duration::MAX);
        Session { wire, dialect, max_packet, answer_max, rehearsal: None }
    }

    /// The server's dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The largest statement the server takes, in bytes.
    #[must_use]
    pub fn max_packet(&self) -> usize {
        self.max_packet
    }

    /// Runs a prepared statement that returns no rows; its text is kept prepared for the next time.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn execute<'c>(
        &mut self,
        statement: &Statement,
        cells: impl Iterator<Item = CellRef<'c>>,
    ) -> FaultResult<Done> {
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.note(statement, cells, self.dialect);
            return Ok(Done { affected: 1, insert_id: 0 });
        }
        match &mut self.wire {
            Wire::MySql(connection) => within(self.answer_max, mysql::execute(connection, statement, cells)).await,
            Wire::Local(connection) => {
                let cells = cells.map(mysql_local::value).collect();
                within(self.answer_max, mysql_local::execute(connection, statement, cells)).await
            }
            Wire::Sqlite(connection) => sqlite::execute(connection, statement, cells).await,
        }
    }

    /// Runs one statement without parameters by the text protocol: transaction control, DDL, settings.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn run(&mut self, text: &str) -> FaultResult<()> {
        let text = Statement::new(text.to_owned());
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.note(&text, std::iter::empty(), self.dialect);
            return Ok(());
        }
        match &mut self.wire {
            Wire::MySql(connection) => within(self.answer_max, mysql::run(connection, &text)).await,
            Wire::Local(connection) => within(self.answer_max, mysql_local::run(connection, &text)).await,
            Wire::Sqlite(connection) => sqlite::run(connection, &text).await,
        }
    }

    /// Runs a query and returns all its rows: only for few and small ones.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn fetch(&mut self, text: &str, cells: &[CellRef<'_>]) -> FaultResult<Vec<Vec<Fetched>>> {
        let text = Statement::new(text.to_owned());
        let found = match &mut self.wire {
            Wire::MySql(connection) => within(self.answer_max, mysql::fetch(connection, &text, cells)).await,
            Wire::Local(connection) => within(self.answer_max, mysql_local::fetch(connection, &text, cells)).await,
            Wire::Sqlite(connection) => sqlite::fetch(connection, &text, cells).await,
        };
        match found {
            Err(fault) if self.rehearsal.is_some() && is_of_no_table(&fault) => Ok(Vec::new()),
            found => found,
        }
    }

    /// Runs a prepared query and appends its rows to `rows`, each column as `kinds` says, until they have `bytes_max`
    /// bytes: at least one row, and those that follow are dropped as they come. SQLite's values are of the kind that they
    /// are stored in.
    ///
    /// # Errors
    /// The server's fault; then some rows may have been appended.
    pub async fn fetch_into(
        &mut self,
        statement: &Statement,
        cells: &[CellRef<'_>],
        kinds: &[CellKind],
        rows: &mut Rows,
        bytes_max: usize,
    ) -> FaultResult<Appended> {
        match &mut self.wire {
            Wire::MySql(connection) => {
                within(self.answer_max, mysql::fetch_into(connection, statement, cells, kinds, rows, bytes_max)).await
            }
            Wire::Sqlite(connection) => sqlite::fetch_into(connection, statement, cells, rows, bytes_max).await,
            Wire::Local(_) => Err(Fault::new(FaultKind::Other, "fetch", "a session that loads fetches no rows")),
        }
    }

    /// Runs a query without parameters by the text protocol and returns its rows with the names of their columns: for
    /// what a server tells of itself.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn fetch_named(&mut self, text: &str) -> FaultResult<Vec<Vec<(String, Fetched)>>> {
        let text = Statement::new(text.to_owned());
        match &mut self.wire {
            Wire::MySql(connection) => within(self.answer_max, mysql::fetch_named(connection, &text)).await,
            Wire::Local(connection) => within(self.answer_max, mysql_local::fetch_named(connection, &text)).await,
            Wire::Sqlite(_) => Err(Fault::new(FaultKind::Other, "sqlite", "tells nothing of itself")),
        }
    }

    /// Whether [`Session::load`] is there.
    #[must_use]
    pub fn loads(&self) -> bool {
        matches!(self.wire, Wire::Local(_))
    }

    /// How many of a load's warnings the server lists at most.
    #[must_use]
    pub fn warnings_max(&self) -> usize {
        match &self.wire {
            Wire::Local(connection) => connection.warnings_max,
            Wire::MySql(_) | Wire::Sqlite(_) => 0,
        }
    }

    /// Runs a LOAD DATA LOCAL statement with the rows of `order` as its file: cells between tabs, escaped by backslashes,
    /// lines ended by newlines, UTF-8; the columns marked in `hex` as hex digits.
    ///
    /// # Errors
    /// The server's fault; `Other` when the session cannot load.
    pub async fn load(
        &mut self,
        statement: &Statement,
        rows: &Rows,
        order: &[u32],
        hex: &[bool],
    ) -> FaultResult<Loaded> {
        match &mut self.wire {
            Wire::Local(connection) => {
                within(self.answer_max, mysql_local::load(connection, statement, rows, order, hex)).await
            }
            Wire::MySql(_) | Wire::Sqlite(_) => Err(Fault::new(FaultKind::Other, "load", "the session cannot load")),
        }
    }

    /// Begins a transaction that will write.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn begin(&mut self) -> FaultResult<()> {
        let text = match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::MySql | Dialect::MariaDb => "START TRANSACTION",
        };
        self.run(text).await
    }

    /// Commits.
    ///
    /// # Errors
    /// The server's fault; after a lost connection the outcome is unknown.
    pub async fn commit(&mut self) -> FaultResult<()> {
        self.run("COMMIT").await
    }

    /// Rolls back.
    ///
    /// # Errors
    /// The server's fault.
    pub async fn rollback(&mut self) -> FaultResult<()> {
        self.run("ROLLBACK").await
    }
}

/// The answer, or a lost connection: a network that swallows packets reports nothing by itself. What the server made of
/// the statement is then unknown.
async fn within<T>(limit: Duration, answer: impl Future<Output = FaultResult<T>>) -> FaultResult<T> {
    let silent = |_| Fault::new(FaultKind::Lost, "timeout", format!("no answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, answer).await.map_err(silent)?
}
