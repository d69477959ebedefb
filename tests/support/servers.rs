//! Real SQL servers for the tests: MySQL and MariaDB on loopback, over TLS, with a password, one start in tenths of a second.
//!
//! A [`Server`] has its own data folder, copied from a template, and a port on 127.0.0.1. It is stopped and its files are
//! removed when it is dropped or when the test process ends in any way. Tests that do not hurt a server share one for
//! each kind ([`shared`]) and take a fresh [`Database`] each; tests that kill, fill or configure one start their own.

mod template;
mod watchdog;

pub(crate) use watchdog::signal;

use super::target_dir;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use watchdog::Watched;

/// Of every user that the templates hold.
const PASSWORD: &str = "correct horse/battery@staple:%41";
/// A server that has not answered by then never will; a loaded machine needs several seconds for a recovery.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Which server. Tests run against both, because they differ where it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Oracle MySQL 9.
    MySql,
    /// MariaDB 10.6 or newer.
    MariaDb,
}

/// Both kinds, for tests that loop.
pub(crate) const BOTH: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// What a test may want of its own server.
#[derive(Debug, Clone)]
pub(crate) struct ServerOptions {
    /// InnoDB's buffer pool, in MiB.
    pub(crate) buffer_pool_mib: u32,
    /// Room in the redo log, in MiB: the servers' defaults stall a load.
    pub(crate) redo_mib: u32,
    /// `innodb_flush_log_at_trx_commit`: 1 flushes at each commit, 2 hands over to the system, 0 loses commits at a kill.
    pub(crate) flush_log_at_trx_commit: u8,
    /// More options as on the server's command line, such as `--max-allowed-packet=1M`.
    pub(crate) extra: Vec<String>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions { buffer_pool_mib: 128, redo_mib: 256, flush_log_at_trx_commit: 2, extra: Vec::new() }
    }
}

/// A running (or, between [`kill`](Server::kill) and [`restart`](Server::restart), a dead) server.
pub(crate) struct Server {
    kind: Kind,
    port: u16,
    folder: PathBuf,
    options: ServerOptions,
    process: Option<Watched>,
}

impl Server {
    /// Starts a server of its own from the template.
    pub(crate) fn start(kind: Kind, options: &ServerOptions) -> Server {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let template = template::template(kind);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = template::servers_dir().join(format!("run-{}-{number}", std::process::id()));
        fs::create_dir_all(folder.join("tmp")).expect("target/ is writable");
        for part in ["data", "ca.pem", "server.pem", "server-key.pem"] {
            let status = Command::new("cp").arg("-R").arg(template.join(part)).arg(&folder).status();
            assert!(status.expect("cp is there").success(), "{part} of the template could not be copied");
        }
        let mut server = Server { kind, port: 0, folder, options: options.clone(), process: None };
        // another process may take the port between its choice and its use
        for attempt in 1.. {
            server.port = free_port();
            match server.launch() {
                Ok(()) => break,
                Err(why) => assert!(attempt < 3, "{why}"),
            }
        }
        server
    }

    /// SIGKILL to the server itself, as a power cut would; returns when it is gone.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    /// A clean stop; returns when the server is gone.
    pub(crate) fn stop(&mut self) {
        self.process.take().expect("the server runs").stop(START_LIMIT);
    }

    /// Starts a killed or stopped server again: same port, same data.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "kill or stop the server first");
        let began = Instant::now();
        // somebody's connection may have the port for a while
        while let Err(why) = self.launch() {
            assert!(began.elapsed() < START_LIMIT, "{why}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The server's process id, to stop and wake it by [`signal`].
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().expect("the server runs").id()
    }

    /// Which server it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What it listens on, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority that signed the server's certificate (for 127.0.0.1 and localhost).
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The end of the server's error log.
    pub(crate) fn error_log(&self) -> String {
        logs(&self.folder)
    }

    /// A fresh, empty database of the server's default character set. Nobody drops it: it goes with the server.
    pub(crate) async fn database(&self) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = open(self.login("transvase")).await;
        execute(&mut connection, &format!("CREATE DATABASE {name}")).await;
        Database { name, login: self.login("transvase"), kind: self.kind, port: self.port, ca_file: self.ca_file() }
    }

    /// A connection that may do everything (`SET GLOBAL`, `GRANT`, the server's own tables).
    pub(crate) async fn admin(&self) -> MySqlConnection {
        open(self.login("admin")).await
    }

    fn login(&self, user: &str) -> MySqlConnectOptions {
        MySqlConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username(user)
            .password(PASSWORD)
            .ssl_mode(MySqlSslMode::VerifyIdentity)
            .ssl_ca(self.ca_file())
    }

    fn launch(&mut self) -> Result<(), String> {
        let mut process = Watched::spawn(&self.folder, &self.command_line());
        let began = Instant::now();
        match wait_until_it_greets(&mut process, self.port) {
            Ok(()) => {
                self.process = Some(process);
                Ok(())
            }
            Err(why) => {
                let text =
                    format!("{:?} does not start: {why} after {:?}\n{}", self.kind, began.elapsed(), self.error_log());
                // the folder is needed for the next attempt, and for whoever looks
                process.kill();
                Err(text)
            }
        }
    }

    fn command_line(&self) -> Vec<String> {
        let options = &self.options;
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut line = template::program(self.kind);
        line.extend([
            format!("--datadir={}", at("data")),
            format!("--tmpdir={}", at("tmp")),
            format!("--log-error={}", at("error.log")),
            format!("--pid-file={}", at("pid")),
            format!("--port={}", self.port),
            // relative to the data folder: an absolute path may exceed the 107 bytes of a socket's name
            "--socket=s".into(),
            "--bind-address=127.0.0.1".into(),
            "--skip-name-resolve".into(),
            "--local-infile=1".into(),
            format!("--ssl-ca={}", at("ca.pem")),
            format!("--ssl-cert={}", at("server.pem")),
            format!("--ssl-key={}", at("server-key.pem")),
            format!("--innodb-buffer-pool-size={}M", options.buffer_pool_mib),
            format!("--innodb-flush-log-at-trx-commit={}", options.flush_log_at_trx_commit),
            // what a server has written outlives its death without fsync; only the machine's is another matter
            "--innodb-flush-method=nosync".into(),
        ]);
        match self.kind {
            Kind::MySql => {
                line.push(format!("--innodb-redo-log-capacity={}M", options.redo_mib));
                // costs a third of the start and 100 MB; a test that needs it asks for it
                line.push("--performance-schema=OFF".into());
            }
            Kind::MariaDb => {
                line.push(format!("--innodb-log-file-size={}M", options.redo_mib));
                line.push("--skip-sync-frm".into());
            }
        }
        line.extend(options.extra.iter().cloned());
        line
    }
}

/// One test's own database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    /// Its name.
    pub(crate) name: String,
    /// Which server it is on.
    pub(crate) kind: Kind,
    /// That server's port on 127.0.0.1.
    pub(crate) port: u16,
    /// That server's certificate authority.
    pub(crate) ca_file: PathBuf,
    login: MySqlConnectOptions,
}

impl Database {
    /// As the engine's `--to` takes it: without the password.
    pub(crate) fn url(&self) -> String {
        format!("mysql://transvase@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// The password of [`url`](Self::url)'s user, with every character that an URL would mangle.
    pub(crate) fn password(&self) -> &'static str {
        PASSWORD
    }

    /// How sqlx logs in: the plain user, its password, TLS with the server's identity verified.
    pub(crate) fn login(&self) -> MySqlConnectOptions {
        self.login.clone().database(&self.name)
    }

    /// A connection of the plain user, for looking at what the engine did.
    pub(crate) async fn connect(&self) -> MySqlConnection {
        open(self.login()).await
    }
}

/// The one server of a kind that all tests of this process share; started when first asked for.
pub(crate) fn shared(kind: Kind) -> &'static Server {
    static MYSQL: OnceLock<Server> = OnceLock::new();
    static MARIADB: OnceLock<Server> = OnceLock::new();
    match kind {
        Kind::MySql => &MYSQL,
        Kind::MariaDb => &MARIADB,
    }
    .get_or_init(|| Server::start(kind, &ServerOptions::default()))
}

/// Runs statements that must succeed (text protocol, several separated by semicolons).
pub(crate) async fn execute(connection: &mut MySqlConnection, statements: &str) {
    let outcome = connection.execute(sqlx::raw_sql(AssertSqlSafe(statements.to_string()))).await;
    outcome.unwrap_or_else(|error| panic!("{error}\nin: {statements:.300}"));
}

async fn open(login: MySqlConnectOptions) -> MySqlConnection {
    MySqlConnection::connect_with(&login).await.expect("the server takes the login")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Waits for the handshake that a server sends only once it takes logins (byte 4 is the protocol's version, 10).
fn wait_until_it_greets(process: &mut Watched, port: u16) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < START_LIMIT {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            drop(stream.set_read_timeout(Some(START_LIMIT)));
            let mut head = [0; 5];
            if stream.read_exact(&mut head).is_ok() && head[4] == 10 {
                return Ok(());
            }
        }
        if !process.is_running() {
            return Err("it ended".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("it does not answer".into())
}

/// The ends of what a server in `folder` wrote: to its output before it had a log, and to its log.
fn logs(folder: &Path) -> String {
    let tail = |name: &str| {
        let log = folder.join(name);
        let text = fs::read(&log).map_or_else(|error| error.to_string(), |b| String::from_utf8_lossy(&b).into_owned());
        let lines: Vec<&str> = text.lines().collect();
        format!("{}:\n{}\n", log.display(), lines[lines.len().saturating_sub(30)..].join("\n"))
    };
    tail("stdout") + &tail("error.log")
}
