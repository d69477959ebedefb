//! SQLite through sqlx: the embedded target, for trying things and for looking at an export.

use super::fault::{Fault, FaultKind, FaultResult};
use super::session::{Appended, Done, Fetched, Statement};
use crate::model::rows::{CellRef, Rows};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Arguments, Column, ConnectOptions, Connection, Row, SqliteConnection, TypeInfo, ValueRef};
use std::future::poll_fn;
use std::path::Path;
use std::time::Duration;

/// Writers queue here: one file has one writer at a time.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// A busy file is opened anew so often, half a minute in all.
const CONNECTS_MAX: u32 = 600;
/// And so soon.
const CONNECT_AGAIN: Duration = Duration::from_millis(50);

/// Rows of one page of ours lie all over the table, as DynamoDB's hash order has it. With the default cache of 2 MB each
/// is a read, and with the default log of 4 MB each transaction is a checkpoint.
const CACHE_KIB: &str = "-65536";
/// Pages of 4 KiB: 64 MiB of log.
const CHECKPOINT_PAGES: &str = "16384";

pub(super) async fn connect(path: &Path) -> FaultResult<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", CACHE_KIB)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .disable_statement_logging();
    // Switching a new file to WAL does not wait for another process that does the same: "busy" comes at once.
    let mut attempts = 0;
    loop {
        match SqliteConnection::connect_with(&options).await.map_err(|error| fault(&error)) {
            Err(fault) if fault.kind == FaultKind::Retry && attempts < CONNECTS_MAX => attempts += 1,
            other => return other,
        }
        tokio::time::sleep(CONNECT_AGAIN).await;
    }
}

fn bind<'c>(cells: impl Iterator<Item = CellRef<'c>>) -> FaultResult<SqliteArguments> {
    let broken = |error: &dyn std::fmt::Display| Fault::new(FaultKind::Other, "bind", error.to_string());
    let mut arguments = SqliteArguments::default();
    for cell in cells {
        let added = match cell {
            CellRef::Null => arguments.add(None::<i64>),
            CellRef::Int(value) => arguments.add(value),
            CellRef::Double(value) => arguments.add(value),
            CellRef::Text(bytes) => {
                let text = String::from_utf8(bytes.to_vec()).map_err(|error| broken(&error))?;
                arguments.add(text)
            }
            CellRef::Bytes(bytes) => arguments.add(bytes.to_vec()),
        };
        added.map_err(|error| broken(&error))?;
    }
    Ok(arguments)
}

pub(super) async fn execute<'c>(
    connection: &mut SqliteConnection,
    statement: &Statement,
    cells: impl Iterator<Item = CellRef<'c>>,
) -> FaultResult<Done> {
    let query = sqlx::query_with(statement.0.clone(), bind(cells)?);
    let done = query.execute(connection).await.map_err(|error| fault(&error))?;
    Ok(Done { affected: done.rows_affected(), insert_id: 0 })
}

pub(super) async fn run(connection: &mut SqliteConnection, statement: &Statement) -> FaultResult<()> {
    sqlx::raw_sql(statement.0.clone()).execute(connection).await.map_err(|error| fault(&error))?;
    Ok(())
}

pub(super) async fn fetch(
    connection: &mut SqliteConnection,
    statement: &Statement,
    cells: &[CellRef<'_>],
) -> FaultResult<Vec<Vec<Fetched>>> {
    let query = sqlx::query_with(statement.0.clone(), bind(cells.iter().copied())?);
    let rows = query.fetch_all(connection).await.map_err(|error| fault(&error))?;
    Ok(rows.iter().map(|row| (0..row.len()).map(|column| value(row, column)).collect()).collect())
}

pub(super) async fn fetch_into(
    connection: &mut SqliteConnection,
    statement: &Statement,
    cells: &[CellRef<'_>],
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
            for column in 0..rows.columns() {
                append(&row, column, rows).map_err(|error| fault(&error))?;
            }
            rows.end_row(0);
            bytes += rows.row_bytes(rows.len() - 1);
            done.appended += 1;
        }
    }
    Ok(done)
}

/// Appends a cell of the kind that the value is stored in, whatever its column was declared as.
fn append(row: &SqliteRow, column: usize, rows: &mut Rows) -> Result<(), sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        rows.null();
        return Ok(());
    }
    let copy = |bytes: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(bytes);
        Ok::<(), sqlx::Error>(())
    };
    match raw.type_info().name() {
        "INTEGER" => rows.int(row.try_get_unchecked(column)?),
        "REAL" => rows.double(row.try_get_unchecked(column)?),
        "TEXT" => {
            let text: &str = row.try_get_unchecked(column)?;
            rows.text(|out| copy(text.as_bytes(), out))?;
        }
        _ => {
            let bytes: &[u8] = row.try_get_unchecked(column)?;
            rows.binary(|out| copy(bytes, out))?;
        }
    }
    Ok(())
}

fn value(row: &SqliteRow, column: usize) -> Fetched {
    let Some(raw) = row.try_get_raw(column).ok().filter(|raw| !raw.is_null()) else { return Fetched::Null };
    let kind = raw.type_info().name().to_owned();
    let declared = row.column(column).type_info().name().to_owned();
    match kind.as_str() {
        "INTEGER" => row.try_get_unchecked(column).map_or(Fetched::Null, Fetched::Int),
        "REAL" => row
            .try_get_unchecked::<f64, _>(column)
            .map_or(Fetched::Null, |value| Fetched::Bytes(value.to_string().into_bytes())),
        _ if declared == "BLOB" || kind == "BLOB" => {
            row.try_get_unchecked(column).map_or(Fetched::Null, Fetched::Bytes)
        }
        _ => {
            row.try_get_unchecked::<String, _>(column).map_or(Fetched::Null, |value| Fetched::Bytes(value.into_bytes()))
        }
    }
}

fn fault(error: &sqlx::Error) -> Fault {
    let sqlx::Error::Database(database) = error else {
        return Fault::new(FaultKind::Lost, "sqlite", error.to_string());
    };
    let code: i32 = database.code().and_then(|code| code.parse().ok()).unwrap_or(1);
    // Primary result codes are the low byte [sqlite.org/rescode.html].
    let kind = match (code & 0xff, code) {
        (_, 1555 | 2067) => FaultKind::Duplicate,
        (5 | 6, _) => FaultKind::Retry,
        (18..=20, _) => FaultKind::Value,
        (13 | 8 | 3 | 10 | 23, _) => FaultKind::Blocked,
        (14 | 26, _) => FaultKind::Denied,
        _ => FaultKind::Other,
    };
    Fault::new(kind, code.to_string(), database.message())
}
