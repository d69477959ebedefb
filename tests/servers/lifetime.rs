//! Logins, kills and restarts: what a client and a crash may expect of a server, and of the test bench itself.

use super::{databases, error_number, number};
use crate::support::servers::{BOTH, Kind, Server, ServerOptions, execute, signal};
use sqlx::Connection;
use sqlx::mysql::{MySqlConnection, MySqlSslMode};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_password_login_over_tls_works_and_the_identity_is_verified() {
    let databases = databases().await;
    for (database, other) in databases.iter().zip(databases.iter().rev()) {
        let mut connection = database.connect().await;
        let (_, version): (String, String) =
            sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_version'").fetch_one(&mut connection).await.expect("a row");
        assert!(version.starts_with("TLSv1."), "{version:?}");

        let wrong = MySqlConnection::connect_with(&database.login().password("wrong")).await;
        assert_eq!(wrong.err().map(|error| error_number(&error)), Some(1045));

        let stranger = MySqlConnection::connect_with(&database.login().ssl_ca(&other.ca_file)).await;
        // not as an error of TLS, as one would think
        assert!(
            matches!(&stranger, Err(sqlx::Error::Io(error)) if error.to_string().contains("certificate")),
            "{stranger:?}"
        );

        let mut plain = MySqlConnection::connect_with(&database.login().ssl_mode(MySqlSslMode::Disabled))
            .await
            .expect("without TLS the password travels encrypted or hashed");
        assert_eq!(number(&mut plain, "SELECT 1").await, 1);
        assert!(!database.url().contains(database.password()));
    }
}

#[tokio::test]
async fn a_killed_server_keeps_what_it_flushed_at_commit() {
    for kind in BOTH {
        let options = ServerOptions { flush_log_at_trx_commit: 1, ..ServerOptions::default() };
        let mut server = Server::start(kind, &options);
        let database = server.database().await;
        let mut connection = database.connect().await;
        execute(&mut connection, "CREATE TABLE t (n INT PRIMARY KEY)").await;
        for n in 0..200 {
            sqlx::query("INSERT INTO t VALUES (?)").bind(n).execute(&mut connection).await.expect("a commit");
        }
        execute(&mut connection, "BEGIN; INSERT INTO t VALUES (1000)").await;
        server.kill();
        assert!(sqlx::query("SELECT 1").execute(&mut connection).await.is_err(), "the connection is gone");
        server.restart();
        let mut connection = database.connect().await;
        assert_eq!(number(&mut connection, "SELECT COUNT(*) FROM t").await, 200);
    }
}

#[tokio::test]
async fn a_server_of_its_own_takes_options_and_a_clean_restart() {
    let extra = vec!["--max-allowed-packet=2M".to_string()];
    for kind in BOTH {
        let options = ServerOptions { buffer_pool_mib: 64, redo_mib: 64, extra: extra.clone(), ..Default::default() };
        let mut server = Server::start(kind, &options);
        let (database, port) = (server.database().await, server.port());
        let mut connection = database.connect().await;
        assert_eq!(number(&mut connection, "SELECT CAST(@@max_allowed_packet AS SIGNED)").await, 2 << 20);
        assert_eq!(number(&mut connection, "SELECT CAST(@@innodb_buffer_pool_size AS SIGNED)").await, 64 << 20);
        assert_eq!(number(&mut connection, "SELECT CAST(@@local_infile AS SIGNED)").await, 1);
        execute(&mut connection, "CREATE TABLE t (n INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
        server.stop();
        server.restart();
        assert_eq!((server.port(), server.kind()), (port, kind));
        let mut connection = database.connect().await;
        assert_eq!(number(&mut connection, "SELECT COUNT(*) FROM t").await, 1);
        assert!(server.error_log().contains("ready for connections"), "{}", server.error_log());
    }
}

/// Set in a child that runs the second test below: where it writes the id of its server, to be killed with it.
const HOLD: &str = "TRANSVASE_TEST_HOLD";

#[test]
fn a_dropped_server_is_gone_with_its_files() {
    let server = Server::start(Kind::MariaDb, &ServerOptions::default());
    let (process, files) = (PathBuf::from(format!("/proc/{}", server.id())), server.ca_file());
    assert!(process.exists() && files.exists());
    if let Some(note) = std::env::var_os(HOLD) {
        std::fs::write(note, format!("{} {}", server.id(), files.display())).expect("the note can be written");
        std::thread::sleep(Duration::from_secs(60));
    }
    drop(server);
    assert!(!process.exists() && !files.exists());
}

#[test]
fn a_killed_test_process_takes_its_servers_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let note = folder.path().join("note");
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "servers::lifetime::a_dropped_server_is_gone_with_its_files"])
        .env(HOLD, &note)
        .stdout(Stdio::null())
        .spawn()
        .expect("the test binary runs");
    wait_for("the child's note", || note.metadata().is_ok_and(|note| note.len() > 0));
    let text = std::fs::read_to_string(&note).expect("a note");
    let (server, files) = text.split_once(' ').expect("two words");
    let server = Path::new("/proc").join(server);
    assert!(server.exists());
    signal(child.id(), "KILL");
    child.wait().expect("it ends");
    wait_for("the server's end", || !server.exists());
    wait_for("the removal of its files", || !Path::new(files).exists());
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(50), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
