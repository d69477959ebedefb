//! Data folders to copy: made once for each server version, cleanly stopped, with certificates and users inside.
//!
//! Initialising a server takes seconds, copying a stopped one tenths. The template lives in `target/test-servers/` and
//! outlives the test run; a file lock lets concurrent tests and processes make it once. Its name carries the server's
//! version and [`REVISION`], so a new version or recipe makes a new one.

use super::watchdog::Watched;
use super::{Kind, PASSWORD, free_port, target_dir, wait_until_it_greets};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Raised whenever the recipe below changes.
const REVISION: u32 = 1;

/// A folder with `data/` (cleanly stopped), and `ca.pem`, `server.pem`, `server-key.pem` beside it.
pub(crate) fn template(kind: Kind) -> PathBuf {
    let home = servers_dir();
    fs::create_dir_all(&home).expect("target/ is writable");
    let version = version(kind);
    let name: String = version.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let folder = home.join(format!("template-{REVISION}-{name}"));
    let lock = File::create(home.join(format!("{kind:?}.lock"))).expect("the lock file can be made");
    lock.lock().expect("the lock file can be locked");
    if !folder.join("ready").exists() {
        sweep_dead_runs(&home);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(folder.join("tmp")).expect("the template's folder can be made");
        make_certificates(&folder);
        make_data(kind, &folder);
        fs::write(folder.join("ready"), version).expect("the template can be marked");
    }
    folder
}

/// Where templates and the folders of running servers are.
pub(crate) fn servers_dir() -> PathBuf {
    target_dir().join("test-servers")
}

/// The start of the server's command line: program, and what does not depend on the test.
pub(crate) fn program(kind: Kind) -> Vec<String> {
    let mut line = match kind {
        Kind::MySql => {
            let home = target_dir().join("mysql");
            let at = |path: &str| home.join(path).display().to_string();
            vec![
                at("lib/ld-linux-x86-64.so.2"),
                "--library-path".into(),
                at("lib"),
                at("bin/mysqld"),
                "--no-defaults".into(),
                format!("--lc-messages-dir={}", at("share")),
                format!("--character-sets-dir={}", at("share/charsets")),
                format!("--plugin-dir={}", at("plugin")),
                "--mysqlx=OFF".into(),
                "--secure-file-priv=NULL".into(),
                "--skip-log-bin".into(),
            ]
        }
        Kind::MariaDb => vec![find("mariadbd"), "--no-defaults".into()],
    };
    if fs::metadata("/proc/self").expect("Linux").uid() == 0 {
        // servers refuse to run as root unless told so
        line.push("--user=root".into());
    }
    line
}

/// The server's version, as it tells itself; a missing server is a failure that says what to run.
pub(crate) fn version(kind: Kind) -> String {
    match kind {
        Kind::MySql => fs::read_to_string(target_dir().join("mysql/VERSION"))
            .expect("MySQL is missing: run tests/support/fetch-mysql (tests/run does)")
            .trim()
            .to_string(),
        Kind::MariaDb => {
            let output = Command::new(find("mariadbd")).arg("--version").output().expect("mariadbd runs");
            let line = String::from_utf8_lossy(&output.stdout);
            let version = line.split_whitespace().find(|word| word.contains("MariaDB"));
            format!("MariaDB {}", version.expect("mariadbd tells its version"))
        }
    }
}

/// A program of MariaDB's, which on some systems lies outside a user's search path.
fn find(program: &str) -> String {
    let search = std::env::var("PATH").unwrap_or_default();
    search
        .split(':')
        .chain(["/usr/sbin", "/usr/bin"])
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{program} is missing: apt-get install --no-install-recommends mariadb-server-core mariadb-client-core \
                 (tests/run does)"
            )
        })
        .display()
        .to_string()
}

/// A private authority and a server certificate for 127.0.0.1, so that clients can verify the server's identity.
/// MySQL's own automatic certificates name no host, and MariaDB 10.11 makes none.
fn make_certificates(folder: &Path) {
    let script = r#"
set -e
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=transvase test authority' \
    -addext 'basicConstraints=critical,CA:TRUE' -keyout ca-key.pem -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout server-key.pem -out server.csr
printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' >server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -set_serial 2 -days 3650 -extfile server.ext -out server.pem
"#;
    run(Command::new("sh").args(["-c", script]).current_dir(folder), "openssl (apt-get install openssl)");
}

fn make_data(kind: Kind, folder: &Path) {
    let data = folder.join("data");
    let data_option = format!("--datadir={}", data.display());
    match kind {
        Kind::MySql => {
            let line = program(kind);
            let small_redo = "--innodb-redo-log-capacity=16M";
            run(
                Command::new(&line[0]).args(&line[1..]).args(["--initialize-insecure", small_redo, &data_option]),
                "mysqld --initialize-insecure",
            );
        }
        Kind::MariaDb => {
            let mut install = Command::new(find("mariadb-install-db"));
            install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
            install.args(["--innodb-log-file-size=16M", &data_option]);
            if fs::metadata("/proc/self").expect("Linux").uid() == 0 {
                install.arg("--user=root");
            }
            run(&mut install, "mariadb-install-db (apt-get install mariadb-server-core mariadb-client-core)");
        }
    }
    add_users(kind, folder, &data_option);
    // a copied server must not share its identity with its siblings
    drop(fs::remove_file(data.join("auto.cnf")));
}

/// One start that runs the users' statements, then a clean stop.
/// `transvase` is what an operator would give the engine: everything on its own databases, nothing of the server's.
fn add_users(kind: Kind, folder: &Path, data_option: &str) {
    let statements = folder.join("users.sql");
    let text = format!(
        "CREATE USER transvase@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL PRIVILEGES ON `test\\_%`.* TO transvase@'%';\n\
         CREATE USER admin@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION;\n\
         DROP USER IF EXISTS ''@'localhost';\n"
    );
    fs::write(&statements, text).expect("the statements can be written");
    let port = free_port();
    let mut line = program(kind);
    let error_log = folder.join("error.log");
    line.extend([
        data_option.to_string(),
        format!("--tmpdir={}", folder.join("tmp").display()),
        format!("--log-error={}", error_log.display()),
        format!("--init-file={}", statements.display()),
        format!("--port={port}"),
        "--socket=s".into(),
        format!("--pid-file={}", folder.join("pid").display()),
        "--bind-address=127.0.0.1".into(),
    ]);
    line.push(match kind {
        Kind::MySql => "--innodb-redo-log-capacity=16M".into(),
        Kind::MariaDb => "--innodb-log-file-size=16M".into(),
    });
    let mut server = Watched::spawn(folder, &line);
    if let Err(why) = wait_until_it_greets(&mut server, port) {
        panic!("the template of {kind:?} does not start: {why}\n{}", super::logs(folder));
    }
    server.stop(Duration::from_secs(60));
}

/// Folders whose test process is gone and whose helper could not remove them (a machine that lost power, say).
fn sweep_dead_runs(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix("run-").and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn run(command: &mut Command, what: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{what} does not run: {error}"));
    assert!(
        output.status.success(),
        "{what} failed with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
