//! Neither end is written to: files stay as they are, byte by byte; a server's database, a table, an export too.

use super::{command, export, run};
use crate::generator::items::Shape;
use crate::scan::{lines, start};
use crate::support::dynamo::AWS_ENVIRONMENT;
use crate::support::servers::{BOTH, execute, shared};
use crate::support::transvase::{Backfill, Target, sqlite};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Every file below a folder that holds something: its bytes, and when it was written. But for `-shm`, in which SQLite's
/// readers share what they know of the log.
fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.metadata().unwrap().len() > 0 && !path.to_string_lossy().ends_with("-shm") {
            let changed = path.metadata().unwrap().modified().unwrap();
            files.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    files
}

const KEY: &str = "customer_id:S,order_id:S";

#[tokio::test]
async fn files_stay_as_they_are_and_none_is_made() {
    let (folder, ends) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, _) = export(ends.path(), Shape::Orders, 300);
    let target = sqlite(ends.path());
    let plan = |target: &Target| {
        run(command(folder.path(), from.to_str().unwrap(), Some(target), &["--key", KEY]), folder.path())
    };
    let before = files(ends.path());
    plan(&target).expect(0);
    assert!(files(ends.path()) == before, "the target was not there, and is not");
    Backfill::new(folder.path(), &from, &target, &["--key", KEY]).run().expect(0);
    let before = files(ends.path());
    let planned = plan(&target);
    assert!(planned.code <= 1, "{}", planned.said);
    assert!(files(ends.path()) == before, "{}", planned.said);
}

#[tokio::test]
async fn a_server_is_looked_at_with_no_right_but_to_select() {
    let (folder, ends) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, _) = export(ends.path(), Shape::Orders, 300);
    for kind in BOTH {
        let server = shared(kind);
        let database = server.database().await;
        let mut admin = server.admin().await;
        let (name, user) = (database.name.clone(), format!("looker_{}", database.name));
        execute(
            &mut admin,
            &format!("CREATE TABLE {name}.things (a INT PRIMARY KEY); INSERT INTO {name}.things VALUES (1)"),
        )
        .await;
        execute(
            &mut admin,
            &format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'look'; GRANT SELECT ON {name}.* TO '{user}'@'%'"),
        )
        .await;
        let target = Target::server(database);
        let tables =
            format!("SELECT table_name, create_time FROM information_schema.tables WHERE table_schema = '{name}'");
        let before = target.rows(&tables).await;
        let mut command = command(folder.path(), from.to_str().unwrap(), Some(&target), &["--key", KEY]);
        // the last of the environment counts, and the URL of the command line is given there
        let url = target.url();
        let rest = url.split_once('@').unwrap().1;
        command.env("MYSQL_PWD", "look").arg("--to").arg(format!("mysql://{user}@{rest}"));
        let planned = run(override_to(command), folder.path());
        planned.expect(1).says(&["FAIL", "table things", "saved inferred.toml"]);
        assert_eq!(target.rows(&tables).await, before, "{kind:?}");
        assert_eq!(target.number("SELECT COUNT(*) FROM things").await, 1);
        execute(&mut admin, &format!("DROP USER '{user}'@'%'")).await;
    }
}

/// The same command with the last `--to` alone.
fn override_to(command: std::process::Command) -> std::process::Command {
    let all: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let last = all.iter().rposition(|arg| arg == "--to").unwrap();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < all.len() {
        if all[at] == "--to" && at != last {
            at += 2;
            continue;
        }
        kept.push(all[at].clone());
        at += 1;
    }
    let mut new = std::process::Command::new(command.get_program());
    new.current_dir(command.get_current_dir().unwrap()).stdin(std::process::Stdio::null()).args(kept);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => new.env(name, value),
            None => new.env_remove(name),
        };
    }
    new
}

#[test]
fn a_live_table_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("things", "pk:S,sk:S");
    server.create("others", "pk:S,sk:S");
    server.load_lines("things", &lines(Shape::SingleTable, 3, 500));
    let (before, url) = (server.items("things"), server.url());
    let args = ["--endpoint-url", url.as_str(), "--read-capacity", "500", "--to", "dynamodb://others"];
    let mut command = command(folder.path(), "dynamodb://things", None, &args);
    command.envs(AWS_ENVIRONMENT);
    let planned = run(command, folder.path());
    assert!(planned.code <= 1, "{}", planned.said);
    assert_eq!(server.items("things"), before);
    assert!(server.items("others").is_empty());
    assert!(!planned.mapping.exists(), "items stay items: there is nothing to map");
}
