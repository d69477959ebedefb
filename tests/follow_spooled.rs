//! A stream captured into a spool while its table is copied, and applied from there: what the stream has forgotten in the
//! meantime is not missed, whatever dies on the way, and every change is done once.

use crate::support::canon;
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::{Engine, Outcome, Running};
use crate::support::orders::block_on;
use crate::support::project_dir;
use crate::support::s3::{self, S3Server};
use crate::support::servers::Kind;
use crate::support::streams_server::{Plot, StreamFaults, StreamsServer, TABLE, World};
use crate::support::transvase::{Target, soak, sqlite, targets, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transvase::driver::objects::{S3Bucket, S3Options};
use transvase::error::ErrorKind;
use transvase::model::page::Span;
use transvase::source::dynamodb_streams::capture::Capture;
use transvase::source::dynamodb_streams::lineage::Lineage;
use transvase::spool::bucket::BucketStore;
use transvase::spool::folder::FolderStore;
use transvase::spool::frame::{Frame, HEAD_BYTES, Head, decode};
use transvase::spool::{Label, Spool};

/// Children are listed at once: who goes on capturing looks for late ones once a minute.
fn plot(seed: u64) -> Plot {
    Plot { seed, keys: 60, before: 300, during: 900, closes: 6, late: 0 }
}

fn faults(seed: u64) -> StreamFaults {
    StreamFaults {
        seed,
        throttle: 0.01,
        fail: 0.003,
        lose: 0.003,
        empty: 0.05,
        life: 60,
        most: 25,
        acts: 9,
        ..StreamFaults::default()
    }
}

/// `transvase VERB` between the server at `url` and the target.
fn engine(verb: &str, from: &str, url: &str, target: &Target, args: &[&str]) -> Engine {
    let to = target.url();
    let mut engine = Engine::new(&[verb, "--from", from, "--to", &to, "--endpoint-url", url, "--lease-seconds", "2"]);
    if let Target::Server(database) = target {
        let ca = database.ca_file.display().to_string();
        engine = engine.args(&["--tls-ca", &ca]).env("MYSQL_PWD", database.password());
    }
    AWS_ENVIRONMENT.into_iter().fold(engine.args(args), |engine, (name, value)| engine.env(name, value)).report()
}

fn backfill(url: &str, target: &Target) -> Engine {
    let args = ["--capture", "--read-capacity", "unlimited", "--segments", "4"];
    engine("backfill", &format!("dynamodb://{TABLE}"), url, target, &args)
}

/// Follows by way of the spool in `place`.
fn follow(url: &str, target: &Target, place: &str, args: &[&str]) -> Engine {
    engine("follow", &format!("streams://{TABLE}"), url, target, &["--spool", place]).args(args)
}

/// A copy that has begun and does not go on: asleep until it is killed.
fn sleeping_copy(url: &str, target: &Target) -> Running {
    let mut copy = backfill(url, target).env("TRANSVASE_STOP_AT", "committed:1").spawn();
    copy.wait_to_sleep();
    assert!(!copy.has_ended(), "{}", copy.said());
    copy
}

/// Files of a spool.
fn segments(place: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(place).into_iter().flatten().map(|entry| entry.unwrap().path());
    let files = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|it| it == "frames")).collect();
    files.sort();
    files
}

/// Changes that a spool holds, without the lines that are only counted.
fn spooled(place: &Path) -> u64 {
    let mut changes = 0;
    for path in segments(place) {
        let bytes = fs::read(path).unwrap_or_default();
        let mut rest = bytes.as_slice();
        while let Some(head) = Head::decode(rest) {
            let Some(body) = rest.get(HEAD_BYTES..HEAD_BYTES + head.body_bytes()) else { break };
            let Some(frame) = decode(&head, body) else { break };
            changes += frame.lines.split(|byte| *byte == b'\n').filter(|line| line.len() > 2).count() as u64;
            rest = &rest[HEAD_BYTES + body.len()..];
        }
    }
    changes
}

/// Records of the shards that were read: all of them were, from the first.
fn records(server: &StreamsServer) -> u64 {
    server.world(|world| world.shards.iter().filter(|shard| shard.read).map(|shard| shard.records.len() as u64).sum())
}

/// Has the application do all that it has to, and waits until all of it is in the spool.
fn wait_until_all_is_spooled(server: &StreamsServer, place: &Path, running: &mut Running) {
    server.world(|world| world.play(usize::MAX));
    let is_over = || {
        let last = server.world(|world| {
            let leaves = world.shards.iter().filter(|shard| !shard.closed);
            world.is_settled() && leaves.into_iter().all(|shard| shard.read)
        });
        last && spooled(place) == records(server)
    };
    while !is_over() {
        assert!(!running.has_ended(), "{}", running.said());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The stream keeps nothing of what was written so far.
fn trim(server: &StreamsServer) {
    server.world(|world| world.shards.iter_mut().for_each(|shard| shard.trimmed = shard.records.len()));
}

/// The version of each key in the target.
async fn held(target: &Target) -> BTreeMap<String, u64> {
    let rows = target.rows(&format!("SELECT id, item FROM {TABLE}")).await;
    let version = |row: &Vec<Option<Vec<u8>>>| {
        let item: Value = serde_json::from_slice(row[1].as_ref().unwrap()).unwrap();
        (text(&row[0]).to_owned(), item["version"]["N"].as_str().unwrap().parse().unwrap())
    };
    rows.iter().map(version).collect()
}

/// Fails unless the report accounts for every record once.
fn assert_counted(server: &StreamsServer, outcome: &Outcome, what: &str) {
    let count = |name: &str| outcome.number(&format!("/{name}"));
    let (read, skipped) = (count("read"), count("skipped"));
    assert_eq!(read - skipped, records(server), "{what}: {}", outcome.stdout);
    let ends = ["outcomes/written", "removed", "superseded", "outcomes/rejected", "skipped"];
    assert_eq!(read, ends.into_iter().map(count).sum::<u64>(), "{what}: {}", outcome.stdout);
}

#[tokio::test]
async fn what_the_stream_forgot_while_the_table_was_copied_is_applied_from_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    // it waits for listings, a minute each; a spool is applied as a stream is, which has tests on every target
    let some = |(_, target): &(u64, Target)| soak() || target.kind() == Some(Kind::MySql);
    for (seed, target) in (100..).zip(targets(folder.path()).await).filter(some) {
        let place = folder.path().join(format!("spool-{seed}"));
        let name = place.display().to_string();
        let server = StreamsServer::start(World::new(plot(seed)), faults(seed));
        // begun before there is anything to follow
        let mut following = follow(&server.url(), &target, &name, &["--until", "caught-up"]).spawn();
        following.wait_to_say("nothing is captured yet");
        let copy = sleeping_copy(&server.url(), &target);
        wait_until_all_is_spooled(&server, &place, &mut following);
        trim(&server);
        copy.kill();
        assert!(!following.has_ended() && held(&target).await != server.world(|world| world.items.clone()));
        backfill(&server.url(), &target).run().expect(0);
        let followed = following.wait(Duration::from_secs(300)).expect(0);
        assert_eq!(held(&target).await, server.world(|world| world.items.clone()), "{target}, seed {seed}");
        assert_counted(&server, &followed, &target.to_string());
        assert_eq!(server.violations(), Vec::<String>::new());
        assert_eq!(followed.report["status"], "caught-up");
        let spool = &followed.report["process"]["source"]["spool"];
        assert_eq!((&spool["backlog"], &spool["place"]), (&json!(0), &json!(name)), "{spool}");
        assert_eq!(spool["captured"], followed.report["read"], "{spool}");
        assert!(followed.stderr.contains("captured ") && followed.stderr.contains("copy at "), "{}", followed.stderr);
        // and without the spool from there
        server.world(|world| world.shards.iter_mut().for_each(|shard| shard.trimmed = 0));
        let url = server.url();
        engine("follow", &format!("streams://{TABLE}"), &url, &target, &["--until", "caught-up"]).run().expect(0);
    }
}

#[tokio::test]
async fn killed_while_it_captures_and_while_it_applies_it_does_every_change_once() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 200..if soak() { 230 } else { 201 } {
        let (target, place) = (sqlite(folder.path()), folder.path().join(format!("spool-{seed}")));
        let name = place.display().to_string();
        let story = Plot { during: 1200, ..plot(seed) };
        let server = StreamsServer::start(World::new(story), StreamFaults { acts: 5, ..faults(seed) });
        let copy = sleeping_copy(&server.url(), &target);
        for changes in [1, 200, 350] {
            let mut running = follow(&server.url(), &target, &name, &[]).spawn();
            while spooled(&place) < changes {
                assert!(!running.has_ended(), "{}", running.said());
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(running.kill().signal(), Some(9));
            server.forget_readers();
            // what a crash may leave of a frame
            let last = segments(&place).pop().unwrap();
            let whole = fs::read(&last).unwrap();
            fs::write(&last, [whole.as_slice(), &whole[..whole.len().min(60)]].concat()).unwrap();
        }
        let mut running = follow(&server.url(), &target, &name, &["--until", "caught-up"]).spawn();
        wait_until_all_is_spooled(&server, &place, &mut running);
        running.signal("TERM");
        let stopped = running.wait(Duration::from_secs(60)).expect(4);
        assert_eq!(stopped.report["status"], "interrupted");
        assert_eq!(stopped.number("/spool/backlog"), stopped.number("/spool/backlog").max(records(&server)));
        trim(&server);
        copy.kill();
        backfill(&server.url(), &target).run().expect(0);
        for point in ["unit-claimed:1", "page-read:2", "rows-written:2", "ledger-written:3", "committed:4"] {
            let died = follow(&server.url(), &target, &name, &[]).env("TRANSVASE_ABORT_AT", point).run();
            assert!(died.signal().is_some(), "{point}: {}", died.stderr);
            server.forget_readers();
        }
        let followed = follow(&server.url(), &target, &name, &["--until", "caught-up"]).run().expect(0);
        assert_eq!(held(&target).await, server.world(|world| world.items.clone()), "seed {seed}");
        assert_counted(&server, &followed, "killed");
        assert_eq!(server.violations(), Vec::<String>::new());
    }
}

#[test]
fn a_bucket_holds_a_spool_as_a_folder_does() {
    let folder = tempfile::tempdir().unwrap();
    let (target, buckets) = (sqlite(folder.path()), folder.path().join("buckets"));
    let place = buckets.join("kept/spools/one");
    fs::create_dir_all(buckets.join("kept")).unwrap();
    let s3 = S3Server::start(&buckets);
    let endpoint = format!("http://{}", s3.address);
    let bucket = |args: &[&str]| {
        [&["--s3-endpoint", &endpoint], args].concat().iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()
    };
    let story = Plot { during: 300, closes: 3, ..plot(300) };
    let server = StreamsServer::start(World::new(story), faults(300));
    let following = |args: &[&str]| {
        let args = bucket(args);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        follow(&server.url(), &target, "s3://kept/spools/one", &args)
    };
    let copy = sleeping_copy(&server.url(), &target);
    let mut running = following(&[]).spawn();
    while spooled(&place) == 0 {
        assert!(!running.has_ended(), "{}", running.said());
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill();
    server.forget_readers();
    let mut running = following(&["--until", "caught-up"]).spawn();
    wait_until_all_is_spooled(&server, &place, &mut running);
    trim(&server);
    copy.kill();
    backfill(&server.url(), &target).run().expect(0);
    let followed = running.wait(Duration::from_secs(300)).expect(0);
    assert_eq!(block_on(held(&target)), server.world(|world| world.items.clone()));
    assert_counted(&server, &followed, "a bucket");
    assert_eq!(server.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_spool_is_refused_to_another_capture_another_process_and_a_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (target, place) = (sqlite(folder.path()), folder.path().join("spool"));
    let name = place.display().to_string();
    let server = StreamsServer::start(World::new(plot(400)), StreamFaults::default());
    let copy = sleeping_copy(&server.url(), &target);
    let mut first = follow(&server.url(), &target, &name, &[]).spawn();
    while spooled(&place) == 0 {
        assert!(!first.has_ended(), "{}", first.said());
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = follow(&server.url(), &target, &name, &[]).run().expect(6);
    assert!(second.stderr.contains("another process captures into it"), "{}", second.stderr);
    // begun anew: what was captured for the copy before is of no use
    copy.kill();
    backfill(&server.url(), &target).args(&["--restart", "--on-conflict", "replace"]).run().expect(0);
    let ended = first.wait(Duration::from_secs(60)).expect(6);
    assert!(ended.stderr.contains("was begun anew, with another capture"), "{}", ended.stderr);
    let refused = follow(&server.url(), &target, &name, &[]).run().expect(6);
    assert!(refused.stderr.contains("begun by another capture"), "{}", refused.stderr);
    fs::remove_dir_all(&place).unwrap();
    follow(&server.url(), &target, &name, &["--until", "caught-up"]).run().expect(0);
    let chain = project_dir().join("fixtures/export/incremental").display().to_string();
    let chained = engine("follow", &chain, &server.url(), &target, &["--spool", &name, "--key", "a:S"]).run().expect(2);
    assert!(chained.stderr.contains("--spool is for a stream"), "{}", chained.stderr);
}

#[tokio::test]
async fn what_was_trimmed_before_it_was_captured_stops_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let (target, place) = (sqlite(folder.path()), folder.path().join("spool"));
    let server = StreamsServer::start(World::new(plot(500)), StreamFaults::default());
    let _copy = sleeping_copy(&server.url(), &target);
    server.world(|world| world.play(usize::MAX));
    trim(&server);
    let ended = follow(&server.url(), &target, &place.display().to_string(), &[]).run().expect(1);
    for part in ["shard shardId-", "no longer holds what comes next", "24 hours", "backfill --capture --restart"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn into_a_dynamodb_table_changes_wait_in_the_spool_until_the_copy_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (place, state) = (folder.path().join("spool"), folder.path().join("state.db"));
    let server = DynamoServer::start();
    let stream = json!({"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"});
    let table = json!({"TableName": TABLE, "BillingMode": "PAY_PER_REQUEST", "StreamSpecification": stream});
    server.create_from(table, "id:S");
    server.create("copied", "id:S");
    let put = |version: u64| {
        let item = json!({"id": {"S": format!("key-{}", version % 47)}, "version": {"N": version.to_string()}});
        let request = json!({"TableName": TABLE, "Item": item});
        server.database.put_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
    };
    let delete = |key: u64| {
        let request = json!({"TableName": TABLE, "Key": {"id": {"S": format!("key-{key}")}}});
        server.database.delete_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
    };
    let (url, state) = (server.url(), format!("sqlite:{}", state.display()));
    let into_table = |verb: &str, from: String, args: &[&str]| {
        let ends = ["--from", &from, "--to", "dynamodb://copied", "--endpoint-url", &url, "--state", &state];
        let engine = Engine::new(&[&[verb], ends.as_slice(), &["--write-capacity", "unlimited"], args].concat());
        AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value)).report()
    };
    let copying =
        || into_table("backfill", format!("dynamodb://{TABLE}"), &["--capture", "--read-capacity", "unlimited"]);
    (0..200).for_each(put);
    let mut copy = copying().env("TRANSVASE_STOP_AT", "committed:1").spawn();
    copy.wait_to_sleep();
    let name = place.display().to_string();
    let follow =
        |args: &[&str]| into_table("follow", format!("streams://{TABLE}"), &[&["--spool", &name], args].concat());
    let mut following = follow(&["--until", "caught-up"]).spawn();
    (200..400).for_each(put);
    (0..20).for_each(delete);
    while spooled(&place) < 420 {
        assert!(!following.has_ended(), "{}", following.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    following.kill();
    copy.kill();
    let following = follow(&["--until", "caught-up"]).spawn();
    (30..40).for_each(delete);
    copying().run().expect(0);
    following.wait(Duration::from_secs(120)).expect(0);
    let followed = follow(&["--until", "caught-up"]).run().expect(0);
    assert_eq!(server.items("copied"), server.items(TABLE));
    let count = |name: &str| followed.number(&format!("/{name}"));
    assert_eq!(count("read"), 430, "{}", followed.stdout);
    assert_eq!(canon::sorted_items(server.items("copied")).len(), 47 - 30);
}

/// Changes of few keys, as many as are wanted, after the run's capture: in its spool, as if they had been captured.
async fn fill(place: &Path, target: &Target, changes: u64) {
    let sql = "SELECT settings, incarnation FROM _transvase_runs WHERE run = 'changing.stream'";
    let row = target.rows(sql).await.remove(0);
    let settings: Value = serde_json::from_str(text(&row[0])).unwrap();
    let derived = settings["derived"].as_str().unwrap().to_owned();
    let capture = Capture::parse(&derived).unwrap();
    let (source, incarnation) = (settings["source"].as_str().unwrap().to_owned(), text(&row[1]).parse().unwrap());
    let label = Label { source, run: "changing.stream".into(), incarnation, derived };
    let store = Arc::new(FolderStore::open(place).unwrap());
    let spool = Spool::open(store, label, u32::try_from(capture.lineages.len()).unwrap()).unwrap();
    let log = spool.log(0).unwrap();
    log.begin(0, None).unwrap();
    // from where the stream is read when all of them are applied
    let reached = Lineage::begin(&capture, 0).unwrap().text().unwrap();
    let padding = "x".repeat(100);
    let mut from = 0;
    while from < changes {
        let to = changes.min(from + 5000);
        let line = |at: u64| {
            let key = json!({"S": format!("spooled-{}", at % 1000)});
            let image = json!({"id": key, "version": {"N": at.to_string()}, "padding": {"S": padding}});
            json!({"Keys": {"id": key}, "NewImage": image}).to_string() + "\n"
        };
        let lines: String = (from..to).map(line).collect();
        let span = Span { unit: 0, from, to };
        log.append(&Frame { span, lines: lines.into_bytes(), reached: reached.clone() }).unwrap();
        from = to;
    }
}

#[tokio::test]
async fn a_spool_of_many_changes_is_applied_in_little_memory_and_leaves_little_behind() {
    let changes = if soak() { 10_000_000 } else { 30_000 };
    let folder = tempfile::tempdir().unwrap();
    let (target, place) = (sqlite(folder.path()), folder.path().join("spool"));
    let server = StreamsServer::start(World::new(Plot { during: 0, ..plot(600) }), StreamFaults::default());
    backfill(&server.url(), &target).run().expect(0);
    fill(&place, &target, changes).await;
    let spooled: u64 = segments(&place).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    let started = Instant::now();
    let args = ["--until", "caught-up"];
    let applied = follow(&server.url(), &target, &place.display().to_string(), &args).spawn();
    let applied = applied.wait(Duration::from_secs(7200)).expect(0);
    let count = |name: &str| applied.number(&format!("/{name}"));
    assert_eq!(count("read") - count("skipped"), changes + records(&server), "{}", applied.stdout);
    let rows = target.number(&format!("SELECT COUNT(*) FROM {TABLE} WHERE id LIKE 'spooled-%'")).await;
    assert_eq!(rows, 1000);
    let peak = count("process/peak_memory_bytes");
    println!(
        "{changes} changes, {spooled} bytes of spool, peak {peak} bytes, {:.0} s",
        started.elapsed().as_secs_f64()
    );
    assert!(peak < 300 << 20, "{peak}");
}

#[test]
fn of_two_that_put_the_same_object_of_a_spool_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("kept")).unwrap();
    let server = S3Server::start(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options =
        S3Options { endpoint: Some(format!("http://{}", server.address)), ..S3Options::new(folder.path().into()) };
    let config = s3::config(s3::ACCESS_KEY, s3::SECRET_KEY);
    let label = || Label { source: "s".into(), run: "r".into(), incarnation: 1, derived: "d".into() };
    let open = |label: Label| {
        let bucket = S3Bucket::with_config(runtime.handle().clone(), &config, "kept", options.clone());
        Spool::open(Arc::new(BucketStore::new(bucket, "spools/one/")), label, 1)
    };
    let frame = |to: u64| {
        let lines = "{}\n".repeat(usize::try_from(to).unwrap()).into_bytes();
        Frame { span: Span { unit: 0, from: 0, to }, lines, reached: format!("{to}") }
    };
    let spools = [open(label()).unwrap(), open(label()).unwrap(), open(label()).unwrap()];
    let logs = spools.each_ref().map(|spool| spool.log(0).unwrap());
    logs.iter().for_each(|log| drop(log.begin(0, None).unwrap()));
    logs[0].append(&frame(2)).unwrap();
    let refused = logs[1].append(&frame(3)).unwrap_err();
    assert!(
        refused.kind() == ErrorKind::Refused && refused.to_string().contains("another process has put it"),
        "{refused}"
    );
    assert_eq!(logs[1].end(), 0);
    // as when the answer to a put is lost
    logs[2].append(&frame(2)).unwrap();
    let refused = open(Label { incarnation: 2, ..label() }).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    let after = open(label()).unwrap();
    let log = after.log(0).unwrap();
    assert_eq!(log.begin(0, None).unwrap(), (2, Some("2".into())));
    assert_eq!(log.read(0).frame().unwrap(), Some(frame(2)));
    log.release(2).unwrap();
    assert_eq!(segments(&folder.path().join("kept/spools/one")), Vec::<PathBuf>::new());
}
