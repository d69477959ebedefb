//! MySQL and MariaDB through sqlx: connect, bind cells, fetch values, classify errors [domain: MySQL for bulk load].

use super::fault::{Fault, FaultKind, FaultResult};
use super::session::{Appended, CellKind, Done, Fetched, Statement};
use super::target::{MySqlTarget, Tls};
use crate::model::dialect::Dialect;
use crate::model::rows::{CellRef, Rows};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlDatabaseError, MySqlRow, MySqlSslMode, MySqlTypeInfo};
use sqlx::{Arguments, Column, ConnectOptions, Connection, MySql, MySqlConnection, Row, Type, TypeInfo};
use std::future::poll_fn;
use std::time::Duration;

/// Longer than any sane handshake; a hanging one must not hang the run.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The servers' own default for rows.
const LOCK_WAIT_SECONDS_MAX: u64 = 50;

/// Statements of a data connection: a few sizes for each table, and the control tables' own.
const STATEMENT_CACHE: usize = 256;

/// What a server said of itself.
pub(super) struct Facts {
    pub(super) dialect: Dialect,
    pub(super) max_packet: usize,
}

pub(super) async fn connect(target: &MySqlTarget) -> FaultResult<(MySqlConnection, Facts)> {
    let options = options(target);
    let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, MySqlConnection::connect_with(&options))
        .await
        .map_err(|_| Fault::new(FaultKind::Lost, "timeout", "no answer while connecting"))?
        .map_err(|error| fault(&error))?;
    for text in settings(target) {
        run(&mut connection, &Statement::new(text)).await?;
    }
    let row = fetch(&mut connection, &Statement::new(FACTS.to_owned()), &[]).await?;
    Ok((connection, facts(row.first().map(Vec::as_slice).unwrap_or_default())))
}

/// What every session is told, whatever the server's defaults: a value that does not fit is an error, and a reader's
/// locks are its own rows'. The server tells of locks before we would take it for dead, and lets go of a process that is.
pub(super) fn settings(target: &MySqlTarget) -> [String; 5] {
    let lock_wait = (target.answer_max.as_secs() / 2).clamp(1, LOCK_WAIT_SECONDS_MAX);
    [
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'".to_owned(),
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        "SET SESSION time_zone = '+00:00'".to_owned(),
        format!("SET SESSION innodb_lock_wait_timeout = {lock_wait}, lock_wait_timeout = {lock_wait}"),
        format!("SET SESSION wait_timeout = {}", target.idle_max.as_secs().max(1)),
    ]
}

/// Asks a server for [`Facts`].
pub(super) const FACTS: &str = "SELECT VERSION(), @@version_comment, @@max_allowed_packet";

/// The answer's row, read.
pub(super) fn facts(row: &[Fetched]) -> Facts {
    let text = |index: usize| row.get(index).and_then(Fetched::text).unwrap_or_default();
    let is_maria = (text(0) + &text(1)).to_lowercase().contains("mariadb");
    let max_packet = row.get(2).and_then(Fetched::int).and_then(|bytes| usize::try_from(bytes).ok());
    let dialect = if is_maria { Dialect::MariaDb } else { Dialect::MySql };
    Facts { dialect, max_packet: max_packet.unwrap_or(1 << 20) }
}

fn options(target: &MySqlTarget) -> MySqlConnectOptions {
    let mut options = MySqlConnectOptions::new()
        .host(&target.host)
        .port(target.port)
        .username(&target.user)
        .database(&target.database)
        .charset("utf8mb4")
        .statement_cache_capacity(STATEMENT_CACHE)
        .disable_statement_logging();
    if let Some(password) = &target.password {
        options = options.password(password);
    }
    match (&target.tls, target.is_loopback()) {
        (Tls::Off, _) => options.ssl_mode(MySqlSslMode::Disabled),
        (Tls::VerifyCa { ca }, _) | (Tls::Auto { ca: Some(ca) }, true) => {
            options.ssl_mode(MySqlSslMode::VerifyCa).ssl_ca(ca)
        }
        (Tls::Auto { ca: Some(ca) }, false) => options.ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca(ca),
        (Tls::Auto { ca: None }, false) => options.ssl_mode(MySqlSslMode::VerifyIdentity),
        (Tls::Auto { ca: None }, true) => options.ssl_mode(MySqlSslMode::Preferred),
    }
}

/// A cell as the binary protocol takes it, encoded straight from the arena.
struct Bound<'a>(CellRef<'a>);

impl Type<MySql> for Bound<'_> {
    fn type_info() -> MySqlTypeInfo {
        <str as Type<MySql>>::type_info()
    }
}

impl<'q> Encode<'q, MySql> for Bound<'_> {
    fn encode_by_ref(&self, out: &mut Vec<u8>) -> Result<IsNull, BoxDynError> {
        match self.0 {
            CellRef::Null => return Ok(IsNull::Yes),
            CellRef::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
            CellRef::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
            CellRef::Text(bytes) | CellRef::Bytes(bytes) => {
                put_length(bytes.len(), out);
                out.extend_from_slice(bytes);
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<MySqlTypeInfo> {
        Some(match self.0 {
            CellRef::Null | CellRef::Text(_) => <str as Type<MySql>>::type_info(),
            CellRef::Int(_) => <i64 as Type<MySql>>::type_info(),
            CellRef::Double(_) => <f64 as Type<MySql>>::type_info(),
            CellRef::Bytes(_) => <[u8] as Type<MySql>>::type_info(),
        })
    }
}

/// A length-encoded integer of MySQL's protocol.
fn put_length(length: usize, out: &mut Vec<u8>) {
    let bytes = (length as u64).to_le_bytes();
    match length {
        0..=250 => out.push(bytes[0]),
        251..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&bytes);
        }
    }
}

fn bind<'c>(cells: impl Iterator<Item = CellRef<'c>>) -> FaultResult<MySqlArguments> {
    let mut arguments = MySqlArguments::default();
    for cell in cells {
        arguments.add(Bound(cell)).map_err(|error| Fault::new(FaultKind::Other, "bind", error.to_string()))?;
    }
    Ok(arguments)
}

pub(super) async fn execute<'c>(
    connection: &mut MySqlConnection,
    statement: &Statement,
    cells: impl Iterator<Item = CellRef<'c>>,
) -> FaultResult<Done> {
    let query = sqlx::query_with(statement.0.clone(), bind(cells)?);
    let done = query.execute(connection).await.map_err(|error| fault(&error))?;
    Ok(Done { affected: done.rows_affected(), insert_id: done.last_insert_id() })
}

pub(super) async fn run(connection: &mut MySqlConnection, statement: &Statement) -> FaultResult<()> {
    sqlx::raw_sql(statement.0.clone()).execute(connection).await.map_err(|error| fault(&error))?;
    Ok(())
}

pub(super) async fn fetch(
    connection: &mut MySqlConnection,
    statement: &Statement,
    cells: &[CellRef<'_>],
) -> FaultResult<Vec<Vec<Fetched>>> {
    let query = sqlx::query_with(statement.0.clone(), bind(cells.iter().copied())?);
    let rows = query.fetch_all(connection).await.map_err(|error| fault(&error))?;
    Ok(rows.iter().map(|row| (0..row.len()).map(|column| value(row, column)).collect()).collect())
}

pub(super) async fn fetch_into(
    connection: &mut MySqlConnection,
    statement: &Statement,
    cells: &[CellRef<'_>],
    kinds: &[CellKind],
    rows: &mut Rows,
    bytes_max: usize,
) -> FaultResult<Appended> {
    let query = sqlx::query_with(statement.0.clone(), bind(cells.iter().copied())?);
    let mut stream = query.fetch(connection);
    let (mut done, mut bytes) = (Appended { given: 0, appended: 0 }, 0);
    while let Some(row) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        let row = row.map_err(|error| fault(&error))?;
        done.given += 1;
        if bytes < bytes_max {
            for (column, kind) in kinds.iter().enumerate() {
                append(&row, column, *kind, rows).map_err(|error| fault(&error))?;
            }
            rows.end_row(0);
            bytes += rows.row_bytes(rows.len() - 1);
            done.appended += 1;
        }
    }
    Ok(done)
}

fn append(row: &MySqlRow, column: usize, kind: CellKind, rows: &mut Rows) -> Result<(), sqlx::Error> {
    let copy = |bytes: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(bytes);
        Ok::<(), sqlx::Error>(())
    };
    match kind {
        CellKind::Int => match row.try_get_unchecked::<Option<i64>, _>(column)? {
            Some(value) => rows.int(value),
            None => rows.null(),
        },
        CellKind::Double => match row.try_get_unchecked::<Option<f64>, _>(column)? {
            Some(value) => rows.double(value),
            None => rows.null(),
        },
        CellKind::Text => match row.try_get_unchecked::<Option<&[u8]>, _>(column)? {
            Some(bytes) => rows.text(|out| copy(bytes, out))?,
            None => rows.null(),
        },
        CellKind::Bytes => match row.try_get_unchecked::<Option<&[u8]>, _>(column)? {
            Some(bytes) => rows.binary(|out| copy(bytes, out))?,
            None => rows.null(),
        },
    }
    Ok(())
}

pub(super) async fn fetch_named(
    connection: &mut MySqlConnection,
    statement: &Statement,
) -> FaultResult<Vec<Vec<(String, Fetched)>>> {
    let rows = sqlx::raw_sql(statement.0.clone()).fetch_all(connection).await.map_err(|error| fault(&error))?;
    // The text protocol: every value but NULL is text, whatever its type.
    let cell = |row: &MySqlRow, column| {
        let bytes: Option<Vec<u8>> = row.try_get_unchecked(column).unwrap_or_default();
        bytes.map_or(Fetched::Null, Fetched::Bytes)
    };
    let named = |row: &MySqlRow| {
        (0..row.len()).map(|column| (row.column(column).name().to_owned(), cell(row, column))).collect()
    };
    Ok(rows.iter().map(named).collect())
}

fn value(row: &MySqlRow, column: usize) -> Fetched {
    let name = row.column(column).type_info().name();
    if name.contains("INT") && name.contains("UNSIGNED") {
        let value: Option<u64> = row.try_get_unchecked(column).unwrap_or_default();
        return value.and_then(|value| i64::try_from(value).ok()).map_or(Fetched::Null, Fetched::Int);
    }
    if name.contains("INT") || name == "BOOLEAN" {
        let value: Option<i64> = row.try_get_unchecked(column).unwrap_or_default();
        return value.map_or(Fetched::Null, Fetched::Int);
    }
    let bytes: Option<Vec<u8>> = row.try_get_unchecked(column).unwrap_or_default();
    bytes.map_or(Fetched::Null, Fetched::Bytes)
}

fn fault(error: &sqlx::Error) -> Fault {
    let sqlx::Error::Database(database) = error else {
        // TLS, I/O and protocol errors all mean that this connection is of no more use.
        let is_untrusted = |error: &std::io::Error| error.to_string().contains("certificate");
        let denied = match error {
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => true,
            // A certificate that cannot be verified arrives as an I/O error; trying again would not help.
            sqlx::Error::Io(error) => is_untrusted(error),
            _ => false,
        };
        let kind = if denied { FaultKind::Denied } else { FaultKind::Lost };
        return Fault::new(kind, "connection", error.to_string());
    };
    let number = database.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
    Fault::new(classify(number), number.to_string(), database.message())
}

/// The one table of MySQL's and MariaDB's error numbers.
pub(super) fn classify(number: u16) -> FaultKind {
    match number {
        // deadlock, lock wait timeout, MariaDB's "record has changed since last read", a statement killed or timed out (one
        // number each), a table altered in between (two spellings), too many transactions, undone by a group's certification
        1213 | 1205 | 1020 | 1317 | 1969 | 3024 | 1412 | 1615 | 1637 | 3101 => FaultKind::Retry,
        // server shutdown, connection killed, too many connections (of all, of a user: two numbers), gone away, lost, idle timeout
        1053 | 1927 | 1040 | 1203 | 1226 | 1077 | 1079 | 2006 | 2013 | 3169 | 4031 | 1158..=1161 => FaultKind::Lost,
        1062 | 1022 | 1586 => FaultKind::Duplicate,
        // cannot be null, truncated, out of range, wrong value, invalid datetime, too long, bad JSON, check violated,
        // illegal value for the type, row too large, JSON whose stored form is larger than a packet (two spellings)
        1048 | 1264 | 1265 | 1292 | 1366 | 1367 | 1406 | 3140 | 3141 | 3157 | 3819 | 4025 | 1411 | 1118 | 1300
        | 1301 | 3150 => FaultKind::Value,
        // disk full, table full, read only (server, transaction, table), privileges, quota, tablespace missing
        1021 | 1114 | 1290 | 1792 | 1836 | 1036 | 1142 | 1143 | 1227 | 1044 | 1026 | 3 | 28 | 1030 | 3100 => {
            FaultKind::Blocked
        }
        1045 | 1049 | 1130 | 1251 | 1524 | 1698 | 3118 | 1820 => FaultKind::Denied,
        _ => FaultKind::Other,
    }
}
