//! What is typed and what is shown: passwords, TLS, help, exit codes, the README's commands.

use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{KEY, Orders, Place, block_on};
use crate::support::project_dir;
use crate::support::servers::{BOTH, Database, Kind, execute, shared};
use std::collections::BTreeSet;

fn fixture() -> String {
    project_dir().join("fixtures/export/full").display().to_string()
}

/// The backfill of the committed orders.
fn backfill(to: &str) -> Engine {
    Engine::new(&["backfill", "--from", &fixture(), "--key", KEY, "--to", to]).report()
}

fn databases() -> impl Iterator<Item = Database> {
    BOTH.into_iter().map(|kind| block_on(shared(kind).database()))
}

/// The URL with the password in it, escaped as an URL needs it.
fn with_password(database: &Database) -> String {
    let escaped: String = database.password().bytes().map(|byte| format!("%{byte:02X}")).collect();
    database.url().replace("transvase@", &format!("transvase:{escaped}@"))
}

#[track_caller]
fn assert_silent_about(secrets: &[&str], outcome: &Outcome) {
    let report = outcome.report.to_string();
    for (name, text) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr), ("report", &report)] {
        for secret in secrets {
            assert!(!text.contains(secret), "the password is in {name}: {text}");
        }
    }
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    for database in databases() {
        let url = with_password(&database);
        let escaped = url.split_once("transvase:").unwrap().1.split_once('@').unwrap().0;
        for verb in ["backfill", "schema"] {
            let outcome = match verb {
                "backfill" => backfill(&url),
                _ => Engine::new(&["schema", "--key", KEY, "--to", &url]),
            };
            let outcome = outcome.args(&["--log", "trace"]).run().expect(2);
            assert_silent_about(&[database.password(), escaped], &outcome);
            assert!(outcome.stderr.contains("MYSQL_PWD") && outcome.stderr.contains("--password-file"));
        }
    }
}

#[test]
fn a_password_is_taken_from_the_environment_or_a_file_and_kept_nowhere() {
    for database in databases() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, format!("{}\n", database.password())).unwrap();
        let url = with_password(&database);
        let escaped = url.split_once("transvase:").unwrap().1.split_once('@').unwrap().0;
        let ways = [
            Engine::new(&["backfill", "--from", &fixture(), "--key", KEY, "--run", "a"]).env("TRANSVASE_TO", &url),
            backfill(&database.url()).env("MYSQL_PWD", database.password()).args(&["--run", "b", "--live-target"]),
            backfill(&database.url()).args(&["--password-file", file.to_str().unwrap(), "--run", "c", "--live-target"]),
        ];
        for way in ways {
            let outcome = way.args(&["--log", "trace"]).run().expect(0);
            assert!(outcome.stdout.contains("read 400 = "), "{}", outcome.stdout);
            assert_silent_about(&[database.password(), escaped], &outcome);
        }
        let place = Place::Server(database.clone());
        let stored = format!("{:?}", place.query("SELECT CONCAT_WS(' ', run, state, settings) FROM _transvase_runs"));
        let owners = format!("{:?}", place.query("SELECT CONCAT_WS(' ', owner, counts) FROM _transvase_units"));
        assert!(!stored.contains(database.password()) && !owners.contains(database.password()));
        assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_runs"), 3);
    }
}

#[test]
fn a_wrong_login_is_said_plainly() {
    for database in databases() {
        let outcome = backfill(&database.url()).env("MYSQL_PWD", "wrong-and-secret").run().expect(2);
        assert_silent_about(&["wrong-and-secret"], &outcome);
        assert!(outcome.stderr.contains("check the user, the password"), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        let nowhere = database.url().replace(&database.name, "test_that_is_not_there");
        let outcome = backfill(&nowhere).env("MYSQL_PWD", database.password()).run().expect(2);
        assert!(outcome.stderr.contains("test_that_is_not_there"), "{}", outcome.stderr);
    }
}

#[test]
fn tls_is_used_when_offered_verified_when_asked_for_and_off_by_name_only() {
    let cas: Vec<_> = databases().map(|database| database.ca_file).collect();
    for (index, database) in databases().enumerate() {
        let user = format!("tls_only_{}", database.name);
        block_on(async {
            let mut admin = shared(database.kind).admin().await;
            let password = database.password();
            let text = format!(
                "CREATE USER {user}@'%' IDENTIFIED BY '{password}' REQUIRE SSL; \
                 GRANT ALL PRIVILEGES ON {}.* TO {user}@'%'",
                database.name
            );
            execute(&mut admin, &text).await;
        });
        let (plain, tls_only) = (database.url(), database.url().replace("transvase@", &format!("{user}@")));
        let run = |url: &str, name: &str, more: &[&str]| {
            let engine = backfill(url).env("MYSQL_PWD", database.password()).args(&["--live-target", "--run", name]);
            engine.args(more).run()
        };
        // The server itself refuses this user without TLS.
        run(&tls_only, "auto", &[]).expect(0);
        run(&tls_only, "off refused", &["--tls", "off"]).expect(2);
        run(&plain, "off", &["--tls", "off"]).expect(0);
        let (right, wrong) = (cas[index].to_str().unwrap(), cas[1 - index].to_str().unwrap());
        run(&tls_only, "right", &["--tls", "verify-ca", "--tls-ca", right]).expect(0);
        run(&tls_only, "right, auto", &["--tls-ca", right]).expect(0);
        for (name, more) in
            [("wrong", &["--tls", "verify-ca", "--tls-ca", wrong][..]), ("wrong, auto", &["--tls-ca", wrong])]
        {
            let outcome = run(&plain, name, more).expect(2);
            assert!(outcome.stderr.to_lowercase().contains("tls"), "{}", outcome.stderr);
        }
        let outcome = run(&plain, "none", &["--tls", "verify-ca"]).expect(2);
        assert!(outcome.stderr.contains("--tls-ca"), "{}", outcome.stderr);
    }
}

#[test]
fn help_names_the_environment_variable_of_every_flag() {
    let verbs = ["backfill", "schema", "plan", "rejects list", "rejects export", "rejects retry", "rejects sign-off"];
    for verb in verbs {
        let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let help = Engine::new(&words).run().expect(0).stdout;
        let options = help.split_once("\nOptions:").unwrap().1;
        let options = options.split_once("\nExamples:").map_or(options, |(options, _)| options);
        let flags = options
            .lines()
            .filter_map(|line| line.trim_start().split("--").nth(1).filter(|_| line.trim_start().starts_with('-')));
        let flags: BTreeSet<String> =
            flags.map(|flag| flag.split([' ', '=', '[']).next().unwrap().to_owned()).collect();
        assert!(flags.len() > 7, "{verb}: {flags:?}");
        for flag in flags.iter().filter(|flag| !["help", "version"].contains(&flag.as_str())) {
            let name = format!("[env: TRANSVASE_{}=", flag.to_uppercase().replace('-', "_"));
            let hidden = name.replace('=', "]");
            assert!(
                options.contains(&name) || options.contains(&hidden),
                "{verb} --{flag}: {name} is not in\n{options}"
            );
        }
    }
    let help = Engine::new(&["backfill", "--help"]).run().expect(0).stdout;
    assert!(
        help.contains("--from fixtures/export/full --key customer_id:S,order_id:S --to sqlite:orders.db"),
        "{help}"
    );
}

#[test]
fn usage_mistakes_exit_2() {
    let from = fixture();
    for arguments in [
        &["backfill"][..],
        &["backfill", "--from", &from, "--to", "null:"],
        &["backfill", "--from", &from, "--key", KEY, "--to", "postgres://u@h/d"],
        &["backfill", "--from", "/nowhere/at/all", "--key", KEY, "--to", "null:"],
        &["backfill", "--from", &from, "--key", KEY, "--to", "null:", "--memory", "1KiB"],
        &["backfill", "--from", &from, "--key", KEY, "--to", "null:", "--lease-seconds", "0"],
        &["backfill", "--from", &from, "--key", KEY, "--to", "null:", "--max-rejects", "x"],
        &["backfill", "--from", &from, "--mapping", "/nowhere.toml", "--to", "null:"],
        &["fly"],
    ] {
        let outcome = Engine::new(arguments).run().expect(2);
        assert!(!outcome.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_readme_command_fills_a_database_and_null_only_counts() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("orders.db"));
    let outcome = backfill(&place.url()).run().expect(0);
    assert!(outcome.stdout.contains("run orders: complete"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("read 400 = written 400 + present 0"), "{}", outcome.stdout);
    assert_eq!(place.count("SELECT COUNT(*) FROM orders"), 400);
    let outcome = backfill("null:").run().expect(0);
    assert_eq!((outcome.number("/read"), outcome.number("/outcomes/written")), (400, 400));
    assert_eq!(outcome.report["target"], "null:");
    // Rows stay when the run is forgotten, and are found present.
    let outcome = backfill(&place.url()).args(&["--restart"]).run().expect(0);
    assert_eq!((outcome.number("/outcomes/written"), outcome.number("/outcomes/present")), (0, 400));
}

#[test]
fn rejects_exit_3_and_stop_the_run_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("rejects.db"));
    // The orders' keys are text: as numbers none of them can be stored.
    let engine =
        || Engine::new(&["backfill", "--from", &fixture(), "--key", "customer_id:N", "--to", &place.url()]).report();
    let outcome = engine().run().expect(1);
    assert!(outcome.stderr.contains("--max-rejects"), "{}", outcome.stderr);
    let rejects = folder.path().join("rejects.jsonl");
    let outcome = engine().args(&["--max-rejects", "400", "--rejects", rejects.to_str().unwrap()]).run().expect(3);
    assert_eq!(outcome.number("/outcomes/rejected"), 400);
    let text = std::fs::read_to_string(rejects).unwrap();
    assert_eq!(text.lines().count(), 400);
}

#[test]
fn schema_prints_what_the_servers_accept() {
    let mapping = project_dir().join("fixtures/mapping/orders.toml").display().to_string();
    for database in databases() {
        let schema = |arguments: &[&str]| {
            let engine = Engine::new(&["schema", "--to", &database.url()]).env("MYSQL_PWD", database.password());
            engine.args(arguments).run().expect(0).stdout
        };
        let place = Place::Server(database.clone());
        place.execute(&schema(&["--key", KEY, "--table", "documents"]));
        place.execute(&schema(&["--mapping", &mapping]));
        // Into the tables made by hand, in typed columns.
        let engine = Engine::new(&["backfill", "--from", &fixture(), "--mapping", &mapping, "--to", &database.url()]);
        let outcome = engine.report().env("MYSQL_PWD", database.password()).run().expect(0);
        assert_eq!(outcome.number("/outcomes/written"), 400);
    }
    let printed = Engine::new(&["schema", "--key", KEY, "--to", "sqlite:none.db"]).run().expect(0).stdout;
    assert!(printed.contains("CREATE TABLE"), "{printed}");
}

#[test]
fn a_server_that_is_not_there_is_said_plainly() {
    let database = block_on(shared(Kind::MySql).database());
    let url = database.url().replace(&format!(":{}/", database.port), ":9/");
    let outcome = backfill(&url).env("MYSQL_PWD", "x").run().expect(1);
    assert!(outcome.stderr.contains("127.0.0.1:9"), "{}", outcome.stderr);
    assert_eq!(Orders::new(4, 1, 1).items, 4);
}
