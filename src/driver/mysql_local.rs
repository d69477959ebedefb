//! MySQL and MariaDB through mysql_async, for the one thing that sqlx cannot do: LOAD DATA LOCAL. Data transactions go
//! here when the server takes such loads, and all of such a transaction does: fence, rows, rejects, ledger.
//!
//! Promises the same settings, TLS rules and faults as `mysql.rs`. Knows how rows are sent, not what a load must prove.

mod encode;
mod stream;

use super::fault::{Fault, FaultKind, FaultResult};
use super::mysql::{self, Facts};
use super::session::{Done, Fetched, Loaded, Statement, Warned};
use super::target::{MySqlTarget, Tls};
use crate::model::rows::{CellRef, Rows};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, IoError, Opts, OptsBuilder, Params, Row, SslOpts, Value};
use std::path::Path;
use stream::{Spares, pipe};

/// Bytes of text that travel as one packet; a server that takes only smaller packets is sent smaller ones.
const CHUNK: usize = 128 << 10;

/// The control tables' statements of a transaction, and some room.
const STATEMENT_CACHE: usize = 32;

/// As many warnings as the protocol can count; sessions list 64 (MariaDB) or 1024 of them unless told otherwise.
const WARNINGS_MAX: u32 = 65_535;

/// A connection that can load.
pub(super) struct Local {
    connection: Conn,
    /// Buffers of past loads.
    spares: Spares,
    chunk: usize,
    /// Warnings that SHOW WARNINGS lists at most.
    pub(super) warnings_max: usize,
}

pub(super) async fn connect(target: &MySqlTarget) -> FaultResult<(Local, Facts)> {
    let connecting = async {
        match open(target, tls(target)).await {
            // On loopback TLS is used when it is offered.
            Err(Error::Driver(DriverError::NoClientSslFlagFromServer)) if prefers_tls(target) => {
                open(target, None).await
            }
            other => other,
        }
    };
    let opened = tokio::time::timeout(mysql::CONNECT_TIMEOUT, connecting).await;
    let connection = opened
        .map_err(|_| Fault::new(FaultKind::Lost, "timeout", "no answer while connecting"))?
        .map_err(|error| fault(&error))?;
    let mut local = Local { connection, spares: Spares::default(), chunk: CHUNK, warnings_max: 0 };
    for text in mysql::settings(target) {
        run(&mut local, &Statement::new(text)).await?;
    }
    // What a load did is told by its info line and its warnings: all of them, notes too, in one language.
    // And who falls silent inside a load is let go of as one who falls silent between statements.
    let idle = target.idle_max.as_secs().max(1);
    let told = format!("SET SESSION sql_notes = 1, lc_messages = 'en_US', net_read_timeout = {idle}");
    run(&mut local, &Statement::new(told)).await?;
    local.warnings_max = warnings_max(&mut local).await?;
    let row = fetch(&mut local, &Statement::new(mysql::FACTS.to_owned()), &[]).await?;
    let facts = mysql::facts(row.first().map(Vec::as_slice).unwrap_or_default());
    local.chunk = CHUNK.min(facts.max_packet / 2).max(1);
    Ok((local, facts))
}

/// Has the server list as many warnings as it lets us: on MySQL a plain user may not choose.
async fn warnings_max(local: &mut Local) -> FaultResult<usize> {
    match run(local, &Statement::new(format!("SET SESSION max_error_count = {WARNINGS_MAX}"))).await {
        Err(fault) if fault.kind != FaultKind::Blocked => return Err(fault),
        _ => {}
    }
    let rows = fetch(local, &Statement::new("SELECT @@max_error_count".to_owned()), &[]).await?;
    let count = rows.first().and_then(|row| row.first()).and_then(Fetched::int);
    Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0))
}

async fn open(target: &MySqlTarget, tls: Option<SslOpts>) -> Result<Conn, Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname(target.host.clone())
        .tcp_port(target.port)
        .user(Some(target.user.clone()))
        .pass(target.password.clone())
        .db_name(Some(target.database.clone()))
        .stmt_cache_size(STATEMENT_CACHE)
        // As sqlx counts: rows found, changed or not.
        .client_found_rows(true)
        // What was typed is an address; a socket beside it could lead elsewhere.
        .prefer_socket(false)
        .ssl_opts(tls);
    Box::pin(Conn::new(Opts::from(options))).await
}

fn prefers_tls(target: &MySqlTarget) -> bool {
    target.tls == Tls::Auto { ca: None } && target.is_loopback()
}

/// The same rules as for sqlx.
fn tls(target: &MySqlTarget) -> Option<SslOpts> {
    let trusting =
        |ca: &Path| SslOpts::default().with_root_certs(vec![ca.to_path_buf().into()]).with_disable_built_in_roots(true);
    match (&target.tls, target.is_loopback()) {
        (Tls::Off, _) => None,
        (Tls::VerifyCa { ca }, _) | (Tls::Auto { ca: Some(ca) }, true) => {
            Some(trusting(ca).with_danger_skip_domain_validation(true))
        }
        (Tls::Auto { ca: Some(ca) }, false) => Some(trusting(ca)),
        (Tls::Auto { ca: None }, false) => Some(SslOpts::default()),
        (Tls::Auto { ca: None }, true) => Some(SslOpts::default().with_danger_accept_invalid_certs(true)),
    }
}

pub(super) async fn execute(local: &mut Local, statement: &Statement, cells: Vec<Value>) -> FaultResult<Done> {
    let connection = &mut local.connection;
    connection.exec_drop(statement.0.as_str(), parameters(cells)).await.map_err(|error| fault(&error))?;
    Ok(Done { affected: connection.affected_rows(), insert_id: connection.last_insert_id().unwrap_or(0) })
}

pub(super) async fn run(local: &mut Local, statement: &Statement) -> FaultResult<()> {
    local.connection.query_drop(statement.0.as_str()).await.map_err(|error| fault(&error))
}

pub(super) async fn fetch(
    local: &mut Local,
    statement: &Statement,
    cells: &[CellRef<'_>],
) -> FaultResult<Vec<Vec<Fetched>>> {
    let cells = parameters(cells.iter().copied().map(value).collect());
    let rows: Vec<Row> = local.connection.exec(statement.0.as_str(), cells).await.map_err(|error| fault(&error))?;
    Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(fetched).collect()).collect())
}

pub(super) async fn fetch_named(local: &mut Local, statement: &Statement) -> FaultResult<Vec<Vec<(String, Fetched)>>> {
    let rows: Vec<Row> = local.connection.query(statement.0.as_str()).await.map_err(|error| fault(&error))?;
    let named = |row: Row| {
        let columns = row.columns();
        let names = columns.iter().map(|column| column.name_str().into_owned());
        names.zip(row.unwrap().into_iter().map(fetched)).collect()
    };
    Ok(rows.into_iter().map(named).collect())
}

/// Runs a LOAD DATA LOCAL with the rows of `order` as its file. Cells are encoded from the arena while earlier ones
/// travel; columns marked in `hex` go as hex digits.
pub(super) async fn load(
    local: &mut Local,
    statement: &Statement,
    rows: &Rows,
    order: &[u32],
    hex: &[bool],
) -> FaultResult<Loaded> {
    let (mut sender, receiver) = pipe(local.spares.clone(), local.chunk);
    local.connection.set_infile_handler(async move { Ok(receiver.boxed()) });
    let ended = {
        let answer = local.connection.query_drop(statement.0.as_str());
        let sending = async {
            for row in order {
                encode::row(rows.row(*row as usize), hex, sender.buffer());
                // Nobody receives any more: the answer tells why.
                if !sender.send_full().await {
                    return;
                }
            }
            sender.finish().await;
        };
        tokio::pin!(answer, sending);
        let mut sent = false;
        // The server may answer before it has read all: then there is nobody to send the rest to.
        loop {
            tokio::select! {
                biased;
                ended = &mut answer => break ended,
                () = &mut sending, if !sent => sent = true,
            }
        }
    };
    ended.map_err(|error| fault(&error))?;
    told(local).await
}

/// What the server told of the load that just succeeded.
async fn told(local: &mut Local) -> FaultResult<Loaded> {
    let affected = local.connection.affected_rows();
    let warnings = local.connection.get_warnings();
    let [records, deleted, skipped, counted] = numbers(&local.connection.info())
        .ok_or_else(|| Fault::new(FaultKind::Other, "load", "the server does not tell how many rows it loaded"))?;
    let mut loaded = Loaded { records, written: affected, deleted, skipped, warnings: Vec::new() };
    if skipped == 0 && counted == 0 && warnings == 0 {
        return Ok(loaded);
    }
    for row in fetch_named(local, &Statement::new("SHOW WARNINGS".to_owned())).await? {
        let cell = |at: usize| row.get(at).map(|(_, cell)| cell);
        let code = cell(1).and_then(Fetched::int).and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
        loaded.warnings.push(Warned { code, message: cell(2).and_then(Fetched::text).unwrap_or_default() });
    }
    Ok(loaded)
}

/// The numbers of `Records: 3  Deleted: 0  Skipped: 1  Warnings: 1`.
fn numbers(info: &str) -> Option<[u64; 4]> {
    let runs = info.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
    let found: Vec<u64> = runs.map(|run| run.parse().ok()).collect::<Option<_>>()?;
    found.try_into().ok()
}

fn parameters(cells: Vec<Value>) -> Params {
    if cells.is_empty() { Params::Empty } else { Params::Positional(cells) }
}

/// A cell as a parameter.
pub(super) fn value(cell: CellRef<'_>) -> Value {
    match cell {
        CellRef::Null => Value::NULL,
        CellRef::Int(value) => Value::Int(value),
        CellRef::Double(value) => Value::Double(value),
        CellRef::Text(bytes) | CellRef::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

fn fetched(value: Value) -> Fetched {
    match value {
        Value::NULL => Fetched::Null,
        Value::Int(value) => Fetched::Int(value),
        Value::UInt(value) => i64::try_from(value).map_or(Fetched::Null, Fetched::Int),
        Value::Bytes(bytes) => Fetched::Bytes(bytes),
        other => Fetched::Bytes(other.as_sql(true).into_bytes()),
    }
}

fn fault(error: &Error) -> Fault {
    if let Error::Server(server) = error {
        return Fault::new(mysql::classify(server.code), server.code.to_string(), server.message.clone());
    }
    let denied = match error {
        Error::Io(IoError::Tls(_)) | Error::Url(_) => true,
        // A certificate that cannot be verified arrives as an I/O error; trying again would not help.
        Error::Io(IoError::Io(error)) => error.to_string().contains("certificate"),
        Error::Driver(error) => matches!(
            error,
            DriverError::NoClientSslFlagFromServer
                | DriverError::UnknownAuthPlugin { .. }
                | DriverError::MysqlOldPasswordDisabled
                | DriverError::CleartextPluginDisabled
        ),
        _ => false,
    };
    let kind = if denied { FaultKind::Denied } else { FaultKind::Lost };
    Fault::new(kind, "connection", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_info_line_is_four_numbers() {
        assert_eq!(numbers("Records: 3  Deleted: 0  Skipped: 1  Warnings: 12"), Some([3, 0, 1, 12]));
        assert_eq!(numbers("Records: 3"), None);
        assert_eq!(numbers(""), None);
    }
}
