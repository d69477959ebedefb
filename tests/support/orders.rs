//! Generated orders, as an export or as a live table; their truth, and the places that they are copied to.
//!
//! The comparison is made here, from the generator's lines and what the database gives back, by `serde_json`: none of
//! the engine's code takes part.

use super::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use super::dynamo_proxy::remembered;
use super::engine::{Engine, Outcome};
use super::http::HttpServer;
use super::servers::{BOTH, Database, Server, execute, shared};
use crate::generator::export::{self, Options};
use crate::generator::items::{Items, Shape};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The key of the orders, as `--key` takes it.
pub(crate) const KEY: &str = "customer_id:S,order_id:S";

/// An export of orders, some pages of 1 MiB in each of its files; or a table that holds them.
pub(crate) struct Orders {
    folder: TempDir,
    /// The live table's server, and what stands in front of it: nobody writes to the table.
    server: Option<(DynamoServer, HttpServer)>,
    /// How many.
    pub(crate) items: u64,
    truth: BTreeMap<Key, String>,
    /// Texts of items that were found to be the truth, each with the key whose truth it is: the same databases give the
    /// same texts again and again, and to bring one into its canonical form takes longer than the engine needs for it.
    proven: Mutex<HashMap<Vec<u8>, Key>>,
}

/// The customer's id, the order's.
type Key = (String, String);

impl Orders {
    /// Writes one.
    pub(crate) fn new(items: u64, files: usize, seed: u64) -> Orders {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("exports");
        export::write(&Options { out, items, files, seed, level: 1, ..Options::default() }).unwrap();
        Orders { folder, server: None, items, truth: truth(items, seed), proven: Mutex::default() }
    }

    /// A live table of orders.
    pub(crate) fn live(items: u64, seed: u64) -> Orders {
        let server = DynamoServer::start();
        server.create("orders", KEY);
        let generator = Items::new(Shape::Orders, seed);
        let mut lines = Vec::new();
        (0..items).for_each(|index| generator.write_line(index, &mut lines).unwrap());
        server.load_lines("orders", &lines);
        let folder = tempfile::tempdir().unwrap();
        let front = remembered(server.address);
        Orders { folder, server: Some((server, front)), items, truth: truth(items, seed), proven: Mutex::default() }
    }

    /// The one that most tests share, as an export and as a live table.
    pub(crate) fn both() -> [&'static Orders; 2] {
        static LIVE: OnceLock<Orders> = OnceLock::new();
        [Orders::shared(), LIVE.get_or_init(|| Orders::live(if is_soak() { 60_000 } else { 30_000 }, 7))]
    }

    /// What it is, for a test's messages.
    pub(crate) fn kind(&self) -> &'static str {
        if self.server.is_some() { "live table" } else { "export" }
    }

    /// The one that most tests share: about 16 pages in 6 files; four times that in a soak.
    pub(crate) fn shared() -> &'static Orders {
        static SHARED: OnceLock<Orders> = OnceLock::new();
        SHARED.get_or_init(|| Orders::new(if is_soak() { 120_000 } else { 30_000 }, 6, 7))
    }

    /// The folder that stands for the bucket, alone in its own.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("exports")
    }

    /// Some keys, spread over the files.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.truth.keys()
    }

    /// The backfill of this export to `place`.
    pub(crate) fn engine(&self, place: &Place) -> Engine {
        self.engine_to(place, &place.url())
    }

    /// The same by another way: through a proxy, say.
    pub(crate) fn engine_to(&self, place: &Place, url: &str) -> Engine {
        self.verb("backfill", place, url)
    }

    /// The verification of `place`, its state in the file `state`.
    pub(crate) fn verify(&self, place: &Place, state: &Path) -> Engine {
        self.verb("verify", place, &place.url()).args(&["--state", &format!("sqlite:{}", state.display())])
    }

    fn verb(&self, verb: &str, place: &Place, url: &str) -> Engine {
        let folder = self.folder();
        let from = folder.to_str().unwrap();
        let engine = match &self.server {
            None => Engine::new(&[verb, "--from", from, "--key", KEY, "--to", url]),
            // few segments, so that each has some pages
            Some((_, front)) => AWS_ENVIRONMENT.into_iter().fold(
                Engine::new(&[verb, "--from", "dynamodb://orders", "--to", url]).args(&[
                    "--endpoint-url",
                    &front.url(),
                    "--segments",
                    "5",
                    "--read-capacity",
                    "unlimited",
                ]),
                |engine, (name, value)| engine.env(name, value),
            ),
        };
        // keys and digests take little room: several sorted runs of them want a small one
        let memory = if verb == "verify" { "4MiB" } else { "16MiB" };
        let engine = engine.report().args(&["--memory", memory]);
        match place {
            Place::Server(database) => engine.env("MYSQL_PWD", database.password()),
            Place::File(_) => engine,
        }
    }

    /// The table equals the truth: every item once, none else.
    #[track_caller]
    pub(crate) fn assert_equal(&self, place: &Place) {
        let mut left: HashSet<&Key> = self.truth.keys().collect();
        let rows = place.rows();
        // what another test put in before it failed was proven all the same
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, item) in rows {
            assert!(left.remove(&key), "{key:?} is there twice, or never was");
            if proven.get(&item) != Some(&key) {
                assert_eq!(canonical(&serde_json::from_slice(&item).unwrap()), self.truth[&key]);
                proven.insert(item, key);
            }
        }
        assert!(left.is_empty(), "{} of {} items are missing: {:?}", left.len(), self.items, left.iter().next());
    }

    /// The run is complete by its exit code, its report and its table; all rows were written by it.
    #[track_caller]
    pub(crate) fn assert_complete(&self, place: &Place, outcome: Outcome) -> Outcome {
        let outcome = outcome.expect(0);
        if self.server.is_none() {
            assert_eq!(outcome.number("/items"), self.items, "{}", outcome.report);
        }
        assert_eq!(outcome.number("/read"), self.items, "{}", outcome.report);
        assert_eq!(outcome.number("/outcomes/written"), self.items, "{}", outcome.report);
        for none in ["/outcomes/present", "/outcomes/rejected", "/outcomes/tombstoned", "/skipped"] {
            assert_eq!(outcome.number(none), 0, "{}", outcome.report);
        }
        self.assert_equal(place);
        outcome
    }
}

/// The canonical items by their keys.
fn truth(items: u64, seed: u64) -> BTreeMap<Key, String> {
    let generator = Items::new(Shape::Orders, seed);
    let truth = (0..items).map(|index| {
        let mut line = Vec::new();
        generator.write_line(index, &mut line).unwrap();
        let item = serde_json::from_slice::<Value>(&line).unwrap()["Item"].take();
        let key = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
        ((key("customer_id"), key("order_id")), canonical(&item))
    });
    truth.collect()
}

/// A target.
#[expect(clippy::large_enum_variant, reason = "a test has a handful of them")]
#[derive(Clone)]
pub(crate) enum Place {
    Server(Database),
    File(PathBuf),
}

impl Place {
    /// A fresh one on the shared server of each kind, and a file in `folder`.
    pub(crate) fn all(folder: &Path) -> Vec<Place> {
        let mut places = Place::servers();
        places.push(Place::File(folder.join("target.db")));
        places
    }

    /// A fresh one on the shared server of each kind.
    pub(crate) fn servers() -> Vec<Place> {
        BOTH.into_iter().map(|kind| Place::on(shared(kind))).collect()
    }

    /// A fresh one on a server.
    pub(crate) fn on(server: &Server) -> Place {
        Place::Server(block_on(server.database()))
    }

    /// A fresh one beside it: on the shared server of its kind, or in its folder.
    pub(crate) fn another(&self) -> Place {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        match self {
            Place::Server(database) => Place::on(shared(database.kind)),
            Place::File(path) => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                Place::File(path.with_file_name(format!("another-{number}.db")))
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Place::Server(database) => database.url(),
            Place::File(path) => format!("sqlite:{}", path.display()),
        }
    }

    /// Runs statements that must succeed.
    pub(crate) fn execute(&self, statements: &str) {
        block_on(async {
            match self {
                Place::Server(database) => execute(&mut database.connect().await, statements).await,
                Place::File(path) => {
                    let text = AssertSqlSafe(statements.to_owned());
                    open(path).await.execute(sqlx::raw_sql(text)).await.unwrap();
                }
            }
        });
    }

    /// Every row of a query, each column as text; none of a table that is not there yet.
    pub(crate) fn query(&self, sql: &str) -> Vec<Vec<Option<Vec<u8>>>> {
        let text = AssertSqlSafe(sql.to_owned());
        block_on(async {
            match self {
                Place::Server(database) => {
                    let found = sqlx::query(text).fetch_all(&mut database.connect().await).await;
                    let rows = found.unwrap_or_else(|error| no_rows(sql, &error));
                    let cell = |row: &sqlx::mysql::MySqlRow, at| row.get_unchecked::<Option<Vec<u8>>, _>(at);
                    rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect()
                }
                Place::File(path) if !path.exists() => Vec::new(),
                Place::File(path) => {
                    let found = sqlx::query(text).fetch_all(&mut open(path).await).await;
                    let rows = found.unwrap_or_else(|error| no_rows(sql, &error));
                    let cell = |row: &sqlx::sqlite::SqliteRow, at| row.get_unchecked::<Option<Vec<u8>>, _>(at);
                    rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect()
                }
            }
        })
    }

    /// What a query counts; nothing where it finds nothing.
    pub(crate) fn count(&self, sql: &str) -> u64 {
        let text = match self {
            Place::Server(_) => format!("SELECT CAST(({sql}) AS CHAR)"),
            Place::File(_) => format!("SELECT CAST(({sql}) AS TEXT)"),
        };
        let rows = self.query(&text);
        let cell = rows.first().and_then(|row| row[0].clone());
        cell.map_or(0, |cell| String::from_utf8(cell).unwrap().parse().unwrap())
    }

    fn rows(&self) -> impl Iterator<Item = (Key, Vec<u8>)> {
        let cast = if matches!(self, Place::File(_)) { "item" } else { "CAST(item AS CHAR)" };
        let rows = self.query(&format!("SELECT customer_id, order_id, {cast} FROM orders"));
        let text = |cell: Option<Vec<u8>>| String::from_utf8(cell.unwrap()).unwrap();
        rows.into_iter().map(move |row| {
            let [customer, order, item] = <[Option<Vec<u8>>; 3]>::try_from(row).unwrap();
            ((text(customer), text(order)), item.unwrap())
        })
    }

    /// Waits until somebody in this database waits for a lock.
    pub(crate) async fn until_someone_waits(&self) {
        let Place::Server(database) = self else { panic!("a file tells nothing of who waits for it") };
        let mut admin = shared(database.kind).admin().await;
        let waits = format!(
            "SELECT COUNT(*) FROM information_schema.innodb_trx JOIN information_schema.processlist ON id = trx_mysql_thread_id \
             WHERE trx_state = 'LOCK WAIT' AND db = '{}'",
            database.name
        );
        let (began, mut waiting) = (Instant::now(), 0_i64);
        while waiting == 0 {
            assert!(began.elapsed() < Duration::from_secs(120), "nobody waits within two minutes");
            // the server looks anew only when nobody has asked for a tenth of a second
            tokio::time::sleep(Duration::from_millis(500)).await;
            waiting = sqlx::query_scalar(AssertSqlSafe(waits.clone())).fetch_one(&mut admin).await.unwrap();
        }
    }

    /// Everything durable that a process may change: rows, ledger, fences, units, run. Not who owns what.
    pub(crate) fn snapshot(&self) -> Vec<Vec<Vec<Option<Vec<u8>>>>> {
        let char = if matches!(self, Place::File(_)) { "TEXT" } else { "CHAR" };
        [
            format!("SELECT run, state, settings, CAST(incarnation AS {char}) FROM _transvase_runs ORDER BY run"),
            format!("SELECT CAST(unit AS {char}), state, CAST(watermark AS {char}), counts FROM _transvase_units ORDER BY unit"),
            format!("SELECT CAST(unit AS {char}), CAST(epoch AS {char}) FROM _transvase_fences ORDER BY unit"),
            format!("SELECT CAST(unit AS {char}), CAST(span_from AS {char}), counts FROM _transvase_ledger ORDER BY 1, 2"),
            "SELECT customer_id, order_id FROM orders ORDER BY 1, 2".to_owned(),
        ]
        .iter()
        .map(|sql| self.query(sql))
        .collect()
    }
}

/// Those of a table that is not there; any other error is the test's.
fn no_rows<T>(sql: &str, error: &sqlx::Error) -> Vec<T> {
    let database = error.as_database_error().unwrap_or_else(|| panic!("{error}\nin: {sql}"));
    let number = database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(|error| error.number());
    let is_missing = number.map_or(database.message().starts_with("no such table"), |number| number == 1146);
    assert!(is_missing, "{error}\nin: {sql}");
    Vec::new()
}

async fn open(path: &Path) -> SqliteConnection {
    let wait = Duration::from_secs(60);
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path).busy_timeout(wait)).await.unwrap()
}

/// Runs a future to its end, on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Whether the long variants were asked for.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("TRANSVASE_SOAK").is_some_and(|value| value == "1")
}

/// An item as text that equal items share: attributes in order, sets in order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut parts: Vec<String> = map
                .iter()
                .map(|(name, value)| match (name.as_str(), value) {
                    ("SS" | "NS" | "BS", Value::Array(members)) => {
                        let mut members: Vec<String> = members.iter().map(canonical).collect();
                        members.sort();
                        format!("{name:?}:{members:?}")
                    }
                    _ => format!("{name:?}:{}", canonical(value)),
                })
                .collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
