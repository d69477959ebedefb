//! The engine as its users meet it: the binary, run as a child process, and the rows it left, read back.
//!
//! Rows come as the bytes that the server prints, so that nothing of the engine takes part in looking at them.

use super::engine::is_asleep;
use super::servers::{Database, Kind, shared, signal};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Column, Connection, Row, SqliteConnection, TypeInfo, ValueRef};
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A cell as the server prints it; none for NULL.
pub(crate) type Cell = Option<Vec<u8>>;

/// Whether the long variants were asked for.
pub(crate) fn soak() -> bool {
    std::env::var_os("TRANSVASE_SOAK").is_some_and(|value| value == "1")
}

/// Where a test's rows go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A file of its own.
    Sqlite(PathBuf),
    /// A database of its own.
    Server(Box<Database>),
}

/// A fresh target of every kind; SQLite's file lies in `folder`.
pub(crate) async fn targets(folder: &Path) -> Vec<Target> {
    let mut targets = vec![sqlite(folder)];
    for kind in super::servers::BOTH {
        targets.push(Target::server(shared(kind).database().await));
    }
    targets
}

/// A fresh SQLite file in `folder`.
pub(crate) fn sqlite(folder: &Path) -> Target {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    Target::Sqlite(folder.join(format!("{}.db", NUMBER.fetch_add(1, Ordering::Relaxed))))
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            None => out.write_str("SQLite"),
            Some(Kind::MySql) => out.write_str("MySQL"),
            Some(Kind::MariaDb) => out.write_str("MariaDB"),
        }
    }
}

impl Target {
    /// A database on a server.
    pub(crate) fn server(database: Database) -> Self {
        Target::Server(Box::new(database))
    }

    /// Which server; none for SQLite.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Target::Sqlite(_) => None,
            Target::Server(database) => Some(database.kind),
        }
    }

    /// As `--to` takes it.
    pub(crate) fn url(&self) -> String {
        match self {
            Target::Sqlite(path) => format!("sqlite:{}", path.display()),
            Target::Server(database) => database.url(),
        }
    }

    /// The rows of a query.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Vec<Cell>> {
        let text = sqlx::raw_sql(AssertSqlSafe(query.to_owned()));
        match self {
            Target::Sqlite(path) => {
                let mut connection = open(path).await;
                let rows = text.fetch_all(&mut connection).await.unwrap_or_else(|error| panic!("{error}\nin: {query}"));
                rows.iter().map(|row| (0..row.len()).map(|column| sqlite_cell(row, column)).collect()).collect()
            }
            Target::Server(database) => {
                let mut connection = database.connect().await;
                let rows = text.fetch_all(&mut connection).await.unwrap_or_else(|error| panic!("{error}\nin: {query}"));
                let cell = |row: &sqlx::mysql::MySqlRow, column| row.try_get_unchecked(column).unwrap();
                rows.iter().map(|row| (0..row.len()).map(|column| cell(row, column)).collect()).collect()
            }
        }
    }

    /// The number that a query yields.
    pub(crate) async fn number(&self, query: &str) -> u64 {
        text(&self.rows(query).await[0][0]).parse().unwrap()
    }

    /// Runs statements that must succeed.
    pub(crate) async fn execute(&self, statements: &str) {
        match self {
            Target::Sqlite(path) => {
                let mut connection = open(path).await;
                let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await;
                done.unwrap_or_else(|error| panic!("{error}\nin: {statements:.300}"));
            }
            Target::Server(database) => super::servers::execute(&mut database.connect().await, statements).await,
        }
    }
}

async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn sqlite_cell(row: &sqlx::sqlite::SqliteRow, column: usize) -> Cell {
    let raw = row.try_get_raw(column).unwrap();
    if raw.is_null() {
        return None;
    }
    let kind = raw.type_info().name().to_owned();
    Some(match kind.as_str() {
        "INTEGER" => row.try_get_unchecked::<i64, _>(column).unwrap().to_string().into_bytes(),
        "REAL" => row.try_get_unchecked::<f64, _>(column).unwrap().to_string().into_bytes(),
        "TEXT" => row.try_get_unchecked::<String, _>(column).unwrap().into_bytes(),
        "BLOB" => row.try_get_unchecked(column).unwrap(),
        other => panic!("{} is {other}", row.column(column).name()),
    })
}

/// A cell that holds text.
pub(crate) fn text(cell: &Cell) -> &str {
    std::str::from_utf8(cell.as_ref().expect("not NULL")).expect("UTF-8")
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output and standard error.
    pub(crate) said: String,
    /// `--report`, when it was written.
    pub(crate) report: Value,
    /// `--rejects`, line by line.
    pub(crate) rejects: Vec<Value>,
}

impl Ended {
    /// Fails unless it ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.said);
        self
    }

    /// Fails unless each of `parts` was said.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.said.contains(part), "nothing is said of {part:?} in:\n{}", self.said);
        }
    }

    /// A count of the report: `written`, `present`, `rejected`; `read` and `skipped`.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let found = self.report["outcomes"].get(name).or_else(|| self.report.get(name));
        found.and_then(Value::as_u64).unwrap_or_else(|| panic!("no {name} in {}\n{}", self.report, self.said))
    }

    /// Fails unless the report's counts are these (read, written, present, skipped, rejected) and add up.
    #[track_caller]
    pub(crate) fn counts(&self, expected: [u64; 5]) {
        let found = ["read", "written", "present", "skipped", "rejected"].map(|name| self.count(name));
        assert_eq!(found, expected, "{}", self.said);
        assert_eq!(found[0], found[1..].iter().sum::<u64>() + self.count("tombstoned"), "{}", self.said);
    }
}

/// `transvase backfill` in a folder of its own, where its report and its rejects go.
pub(crate) struct Backfill<'t> {
    command: Command,
    folder: &'t Path,
}

impl<'t> Backfill<'t> {
    /// From the export at `from`, into `target`, with what `args` say.
    pub(crate) fn new<A: AsRef<OsStr>>(folder: &'t Path, from: &Path, target: &Target, args: &[A]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transvase"));
        command.current_dir(folder).env_remove("MYSQL_PWD").stdin(Stdio::null());
        command.args(["backfill", "--report", "report.json", "--rejects", "rejects.jsonl", "--seed", "7"]);
        command.arg("--from").arg(from).arg("--to").arg(target.url()).args(args);
        if let Target::Server(database) = target {
            command.env("MYSQL_PWD", database.password()).arg("--tls-ca").arg(&database.ca_file);
        }
        Backfill { command, folder }
    }

    /// With an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Ended {
        let _gone = std::fs::remove_file(self.folder.join("report.json"));
        let output = self.command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        ended(self.folder, output.status, String::from_utf8_lossy(&said).into_owned())
    }

    /// Starts it; what it says goes to a pipe.
    pub(crate) fn start(mut self) -> Running<'t> {
        let _gone = std::fs::remove_file(self.folder.join("report.json"));
        let mut child = self.command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        Running { child, stderr, said: String::new(), folder: self.folder }
    }
}

/// A started backfill; killed when dropped.
pub(crate) struct Running<'t> {
    child: Child,
    stderr: ChildStderr,
    said: String,
    folder: &'t Path,
}

impl Running<'_> {
    /// Waits until it says `part`; false when it ended without.
    pub(crate) fn waits_to_say(&mut self, part: &str) -> bool {
        let mut buffer = [0; 4096];
        while !self.said.contains(part) {
            match self.stderr.read(&mut buffer).unwrap() {
                0 => return false,
                read => self.said.push_str(&String::from_utf8_lossy(&buffer[..read])),
            }
        }
        true
    }

    /// Waits until it sleeps, as it was told to by `TRANSVASE_STOP_AT`.
    pub(crate) fn waits_to_sleep(&mut self) {
        while !is_asleep(self.child.id()) {
            assert!(self.is_running(), "it ended without sleeping");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Wakes it.
    pub(crate) fn wake(&self) {
        signal(self.child.id(), "CONT");
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        ended(self.folder, status, std::mem::take(&mut self.said) + &rest)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // it has ended, unless the test failed
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn ended(folder: &Path, status: std::process::ExitStatus, said: String) -> Ended {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let report = serde_json::from_str(&read("report.json")).unwrap_or_default();
    let rejects = read("rejects.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Ended { code: status.code().expect("it was not killed"), said, report, rejects }
}
