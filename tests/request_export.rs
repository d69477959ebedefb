//! An export is asked for once, whatever dies, and handed over to the backfill when it is complete.

use crate::support::control_plane::{Answers, ControlPlane};
use crate::support::dynamo::AWS_ENVIRONMENT;
use crate::support::orders::block_on;
use crate::support::s3::S3Server;
use crate::support::small_export::{ID, SmallExport};
use crate::support::transvase::{Target, sqlite};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FILE: &str = "orders.transvase-export.json";

/// `transvase backfill --request-export` in a folder of its own, where it remembers what it asked for.
fn command(folder: &Path, plane: &ControlPlane, to: &str, s3: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transvase"));
    command.current_dir(folder).stdin(Stdio::null()).envs(AWS_ENVIRONMENT);
    command.args(["backfill", "--from", "dynamodb://orders", "--request-export", "s3://backups", "--to", to]);
    command.args(["--endpoint-url", &plane.url(), "--export-poll-seconds", "0.01"]);
    if let Some(s3) = s3 {
        command.args(["--s3-endpoint", s3]);
    }
    command
}

/// Runs it to its end: exit code and all that it said.
fn run(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it was not killed"), String::from_utf8_lossy(&said).into_owned())
}

/// A bucket with the export that the service will tell of.
fn bucket(root: &Path) -> S3Server {
    let export = SmallExport::new(3, 40, 64);
    export.write(&root.join("backups"));
    S3Server::start(root)
}

fn remembered(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(FILE)).unwrap()).unwrap()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_export_is_asked_for_waited_for_and_loaded() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = bucket(root.path());
    // more often than the SDK tries by itself
    let plane = ControlPlane::start(Answers { polls: 3, limited: 4, ..Answers::default() });
    assert_eq!(Answers::default().export_id, ID);
    let target = sqlite(folder.path());
    let s3 = format!("http://{}", server.address);
    // no --key: the table tells it
    let (code, said) = run(command(folder.path(), &plane, &target.url(), Some(&s3)));
    assert_eq!(code, 0, "{said}");
    for part in
        ["as many exports under way", "has begun", "goes on", "s3://backups/AWSDynamoDB/", "run orders: complete"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert_eq!(block_on(target.number("SELECT COUNT(*) FROM orders")), 120);
    // the same again finds both the export and the run complete
    let (code, said) = run(command(folder.path(), &plane, &target.url(), Some(&s3)));
    assert!(code == 0 && said.contains("was complete already"), "{said}");
    assert_eq!(plane.exports().len(), 1);
    assert_eq!(plane.exports()[0].bucket, "backups");
}

/// Starts it and kills it once the service has begun an export.
fn killed_once_asked(folder: &Path, plane: &ControlPlane, to: &str) {
    let mut child: Child =
        command(folder, plane, to, None).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the export is asked for", || !plane.exports().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_process_that_dies_before_it_hears_of_its_export_asks_for_no_other() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = bucket(root.path());
    let plane = ControlPlane::start(Answers { swallows: true, ..Answers::default() });
    let target = sqlite(folder.path());
    killed_once_asked(folder.path(), &plane, &target.url());
    let asked = remembered(folder.path());
    assert_eq!(asked["token"], plane.exports()[0].token.as_str());
    assert!(asked["export_arn"].is_null(), "{asked}");
    plane.change(|answers| answers.swallows = false);
    let s3 = format!("http://{}", server.address);
    let (code, said) = run(command(folder.path(), &plane, &target.url(), Some(&s3)));
    assert_eq!(code, 0, "{said}");
    assert_eq!(plane.exports().len(), 1, "the same token is the same export");
    assert_eq!(plane.calls("ListExports"), 0);
    assert_eq!(block_on(target.number("SELECT COUNT(*) FROM orders")), 120);
}

#[test]
fn an_export_whose_token_has_lapsed_is_found_by_it() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = bucket(root.path());
    let plane = ControlPlane::start(Answers { swallows: true, ..Answers::default() });
    let target = sqlite(folder.path());
    killed_once_asked(folder.path(), &plane, &target.url());
    plane.change(|answers| answers.swallows = false);
    let mut asked = remembered(folder.path());
    asked["asked"] = Value::from(asked["asked"].as_u64().unwrap() - 9 * 3600);
    std::fs::write(folder.path().join(FILE), asked.to_string()).unwrap();
    let requests = plane.calls("ExportTableToPointInTime");
    let s3 = format!("http://{}", server.address);
    let (code, said) = run(command(folder.path(), &plane, &target.url(), Some(&s3)));
    assert_eq!(code, 0, "{said}");
    assert_eq!((plane.exports().len(), plane.calls("ExportTableToPointInTime")), (1, requests));
}

#[test]
fn a_signal_ends_the_waiting_and_the_same_command_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let plane = ControlPlane::start(Answers { polls: u32::MAX, ..Answers::default() });
    let Target::Sqlite(path) = sqlite(folder.path()) else { unreachable!() };
    let to = format!("sqlite:{}", path.display());
    for round in 1..=2 {
        let mut waiting = command(folder.path(), &plane, &to, None);
        let child = waiting.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let before = plane.calls("DescribeExport");
        wait_for("it waits", || plane.calls("DescribeExport") > before + 2);
        crate::support::servers::signal(child.id(), "INT");
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("the same command waits"), "{said}");
        assert_eq!(plane.exports().len(), 1, "round {round}");
    }
    assert!(!path.exists(), "nothing is written before the export is there");
}

#[test]
fn refusals_and_failures_say_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let plane = ControlPlane::start(Answers { recovery: false, ..Answers::default() });
    let to = sqlite(folder.path()).url();
    let run = || run(command(folder.path(), &plane, &to, None));
    let (code, said) = run();
    assert!(code == 2 && said.contains("update-continuous-backups --table-name orders"), "{code} {said}");
    plane.change(|answers| {
        answers.recovery = true;
        let denied = "User is not authorized to perform: s3:PutObject on bucket backups";
        answers.errors.insert("ExportTableToPointInTime", ("AccessDeniedException", denied));
    });
    let (code, said) = run();
    assert!(code == 2 && said.contains("see that bucket backups is there"), "{code} {said}");
    plane.change(|answers| {
        answers.errors.clear();
        answers.failure = Some(("S3AccessDenied", "Access denied to bucket"));
    });
    let (code, said) = run();
    assert!(code == 1 && said.contains("the export failed") && said.contains("s3:PutObjectAcl"), "{code} {said}");
    assert!(!folder.path().join(FILE).exists(), "a failed export is forgotten");
    // and the next time another one is asked for
    let (_, said) = run();
    assert_eq!(plane.exports().len(), 2, "{said}");
    // a live table only, and one wish at a time
    let mut other = Command::new(env!("CARGO_BIN_EXE_transvase"));
    other.args(["backfill", "--from", "/tmp", "--key", "pk:S", "--to", &to, "--request-export", "s3://backups"]);
    let output = other.current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("for a live table"), "{said}");
    let memory = r#"{"table_arn":"arn:x","bucket":"c","prefix":"","token":"t","asked":1,"export_arn":null}"#;
    std::fs::write(folder.path().join(FILE), memory).unwrap();
    let (code, said) = run();
    assert!(code == 2 && said.contains("remove the file"), "{code} {said}");
}

#[test]
fn a_plan_looks_at_the_export_and_says_how_to_load_it() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = bucket(root.path());
    let plane = ControlPlane::start(Answers::default());
    let mut plan = Command::new(env!("CARGO_BIN_EXE_transvase"));
    plan.current_dir(folder.path()).stdin(Stdio::null()).envs(AWS_ENVIRONMENT);
    plan.args([
        "plan",
        "--from",
        "dynamodb://orders",
        "--request-export",
        "s3://backups",
        "--endpoint-url",
        &plane.url(),
    ]);
    plan.args(["--export-poll-seconds", "0.01", "--s3-endpoint", &format!("http://{}", server.address)]);
    let (code, said) = run(plan);
    assert_eq!(code, 0, "{said}");
    let next = format!("transvase backfill --from s3://backups/AWSDynamoDB/{ID} --s3-endpoint");
    assert!(said.contains(&next) && said.contains("--mapping orders.toml"), "{said}");
    assert!(!plane.operations().contains(&"Scan".to_owned()), "the table itself is not read");
    assert!(folder.path().join("orders.toml").exists());
}
