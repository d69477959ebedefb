//! A live table copied and its stream followed, as its users run it: what the target holds in the end is what the table
//! holds, every change is counted once whatever dies on the way, and a gap is told and never stepped over.

use crate::support::canon;
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::block_on;
use crate::support::project_dir;
use crate::support::servers::{BOTH, execute, shared};
use crate::support::streams_server::{BEGAN, Plot, StreamFaults, StreamsServer, TABLE, World};
use crate::support::transvase::{Target, soak, sqlite, targets, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use transvase::mapping::moment_micros;

fn plot(seed: u64) -> Plot {
    Plot { seed, keys: 60, before: 300, during: 900, closes: 6, late: 2 }
}

/// Faults that cost little time, and a change or two at each request.
fn faults(seed: u64) -> StreamFaults {
    StreamFaults {
        seed,
        throttle: 0.01,
        fail: 0.003,
        lose: 0.003,
        damage: 0.003,
        empty: 0.05,
        life: 60,
        most: 25,
        acts: 9,
        start_is_no_place: false,
    }
}

/// `transvase VERB` between the server at `url` and the target.
pub(crate) fn engine(verb: &str, from: &str, url: &str, target: &Target, args: &[&str]) -> Engine {
    engine_to(verb, from, url, (target, &target.url()), args)
}

/// The same as another user of the target's.
fn engine_to(verb: &str, from: &str, url: &str, (target, to): (&Target, &str), args: &[&str]) -> Engine {
    let mut engine =
        Engine::new(&[verb, "--from", from, "--to", to, "--endpoint-url", url]).env("TRANSVASE_LEASE_SECONDS", "2");
    if let Target::Server(database) = target {
        let ca = database.ca_file.display().to_string();
        engine = engine.args(&["--tls-ca", &ca]).env("MYSQL_PWD", database.password());
    }
    AWS_ENVIRONMENT.into_iter().fold(engine.args(args), |engine, (name, value)| engine.env(name, value)).report()
}

pub(crate) fn backfill(url: &str, target: &Target, args: &[&str]) -> Engine {
    let from = format!("dynamodb://{TABLE}");
    engine("backfill", &from, url, target, &["--read-capacity", "unlimited", "--segments", "4"]).args(args)
}

pub(crate) fn follow(url: &str, target: &Target, args: &[&str]) -> Engine {
    engine("follow", &format!("streams://{TABLE}"), url, target, args)
}

/// Follows until the application has nothing more to do and follow says that it is caught up.
fn catch_up(server: &StreamsServer, target: &Target, args: &[&str]) -> Outcome {
    loop {
        let is_settled = server.world(|world| world.is_settled());
        let outcome = follow(&server.url(), target, &[&["--until", "caught-up"], args].concat()).run().expect(0);
        assert!(outcome.stdout.contains("caught up"), "{}", outcome.stdout);
        if is_settled {
            return outcome;
        }
    }
}

/// The version of each key in the target.
pub(crate) async fn held(target: &Target, table: &str) -> BTreeMap<String, u64> {
    let rows = target.rows(&format!("SELECT id, item FROM {table}")).await;
    let version = |row: &Vec<Option<Vec<u8>>>| {
        let item: Value = serde_json::from_slice(row[1].as_ref().unwrap()).unwrap();
        assert_eq!(item["id"]["S"], text(&row[0]));
        (text(&row[0]).to_owned(), item["version"]["N"].as_str().unwrap().parse().unwrap())
    };
    rows.iter().map(version).collect()
}

/// An export may be of an earlier moment than the last change that was followed.
#[tokio::test]
async fn an_export_copied_anew_is_not_followed_from_where_an_earlier_copy_stood() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    let export = project_dir().join("fixtures/export/full").display().to_string();
    let copy = |args: &[&str]| {
        let args = [&["--key", "customer_id:S,order_id:S"], args].concat();
        engine("backfill", &export, "http://127.0.0.1:1", &target, &args).run().expect(0)
    };
    copy(&[]);
    // a follower stands somewhere
    target
        .execute(
            "INSERT INTO _transvase_runs (run, incarnation, state, settings) \
             SELECT run || '.stream', 7, 'open', settings FROM _transvase_runs",
        )
        .await;
    let followers = "SELECT COUNT(*) FROM _transvase_runs WHERE run LIKE '%.stream'";
    copy(&[]);
    assert_eq!(target.number(followers).await, 1, "it follows this copy");
    copy(&["--restart", "--on-conflict", "replace"]);
    assert_eq!(target.number(followers).await, 0);
}

/// Changes that the follower's ledger holds.
async fn durable(target: &Target) -> u64 {
    let folded = "SELECT COALESCE(SUM(watermark), 0) FROM _transvase_units WHERE run = 'changing.stream'";
    let spans = "SELECT COALESCE(SUM(span_to - span_from), 0) FROM _transvase_ledger WHERE run = 'changing.stream'";
    target.number(folded).await + target.number(spans).await
}

/// Records of the shards that were read: all of them were, from the first.
fn records(server: &StreamsServer) -> u64 {
    server.world(|world| world.shards.iter().filter(|shard| shard.read).map(|shard| shard.records.len() as u64).sum())
}

/// Fails unless the report accounts for every record once.
pub(crate) fn assert_counted(server: &StreamsServer, outcome: &Outcome, what: &str) {
    let count = |name: &str| outcome.number(&format!("/{name}"));
    let (read, skipped) = (count("read"), count("skipped"));
    assert_eq!(read - skipped, records(server), "{what}: {}", outcome.stdout);
    let ends = ["outcomes/written", "removed", "superseded", "outcomes/rejected", "skipped"];
    assert_eq!(read, ends.into_iter().map(count).sum::<u64>(), "{what}: {}", outcome.stdout);
}

#[tokio::test]
async fn a_table_that_changes_all_through_copy_and_follow_is_what_every_target_holds() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..if soak() { 10 } else { 1 } {
        for (number, target) in (round * 3..).zip(targets(folder.path()).await) {
            let server = StreamsServer::start(World::new(plot(number)), faults(number));
            let copied = backfill(&server.url(), &target, &["--capture"]).run().expect(0);
            assert!(copied.stderr.contains("captured the stream"), "{}", copied.stderr);
            let followed = catch_up(&server, &target, &[]);
            let truth = server.world(|world| world.items.clone());
            assert_eq!(held(&target, TABLE).await, truth, "{target}, seed {number}");
            assert_counted(&server, &followed, &target.to_string());
            assert_eq!(server.violations(), Vec::<String>::new());
            assert_eq!(followed.report["status"], "caught-up");
            assert_eq!(followed.number("/process/source/stream/lag_seconds"), 0);
        }
    }
}

#[tokio::test]
async fn a_follower_killed_anywhere_goes_on_and_does_every_change_once() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    let story = Plot { during: 1200, ..plot(40) };
    let server = StreamsServer::start(World::new(story), StreamFaults { acts: 5, ..faults(40) });
    backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    let dies_at = |point: &str| {
        let died = follow(&server.url(), &target, &[]).env("TRANSVASE_ABORT_AT", point).run();
        assert!(died.signal().is_some(), "{point}: {}", died.stderr);
        server.forget_readers();
    };
    for point in ["unit-claimed:1", "page-read:5", "rows-written:3", "ledger-written:4", "committed:6"] {
        dies_at(point);
    }
    for pages in [2, 4] {
        let mut running =
            follow(&server.url(), &target, &[]).env("TRANSVASE_STOP_AT", &format!("committed:{pages}")).spawn();
        running.wait_to_sleep();
        assert!(!running.has_ended(), "{}", running.said());
        assert_eq!(running.kill().signal(), Some(9));
        server.forget_readers();
    }
    dies_at("page-empty:9");
    let followed = catch_up(&server, &target, &[]);
    assert_eq!(held(&target, TABLE).await, server.world(|world| world.items.clone()));
    assert_counted(&server, &followed, "killed");
    assert_eq!(server.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_follower_goes_on_until_it_is_told_to_stop_and_then_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    let server =
        StreamsServer::start(World::new(plot(50)), StreamFaults { acts: 9, most: 9, ..StreamFaults::default() });
    backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    let running = follow(&server.url(), &target, &[]).spawn();
    while durable(&target).await < 40 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.signal("TERM");
    let stopped = running.wait(Duration::from_secs(60)).expect(4);
    assert_eq!(stopped.report["status"], "interrupted");
    let followed = catch_up(&server, &target, &[]);
    assert_eq!(held(&target, TABLE).await, server.world(|world| world.items.clone()));
    assert_counted(&server, &followed, "stopped");
}

#[tokio::test]
async fn what_was_trimmed_since_the_capture_stops_the_follower_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    let server = StreamsServer::start(World::new(plot(60)), StreamFaults::default());
    backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    server.world(|world| {
        world.play(usize::MAX);
        world.shards.iter_mut().for_each(|shard| shard.trimmed = shard.records.len());
    });
    let before = held(&target, TABLE).await;
    for _ in 0..2 {
        let ended = follow(&server.url(), &target, &["--until", "caught-up"]).run().expect(1);
        for part in ["shard shardId-", "no longer holds what comes next", "24 hours", "backfill --capture --restart"] {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
        assert_eq!(held(&target, TABLE).await, before);
    }
    // the way out
    backfill(&server.url(), &target, &["--capture", "--restart", "--on-conflict", "replace"]).run().expect(0);
    server.world(|world| world.shards.iter_mut().for_each(|shard| shard.trimmed = 0));
    follow(&server.url(), &target, &["--until", "caught-up"]).run().expect(0);
}

#[tokio::test]
async fn nothing_is_followed_that_was_not_captured_before_it_was_copied_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let server = StreamsServer::start(World::new(plot(70)), StreamFaults::default());
    let refused = |outcome: Outcome, code: i32, part: &str| {
        let outcome = outcome.expect(code);
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    };
    let target = sqlite(folder.path());
    refused(follow(&server.url(), &target, &[]).run(), 6, "backfill");
    // captured, and not copied to its end
    let died = backfill(&server.url(), &target, &["--capture"]).env("TRANSVASE_ABORT_AT", "committed:1").run();
    assert!(died.signal().is_some());
    refused(follow(&server.url(), &target, &[]).run(), 6, "is not complete");
    backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    server.world(|world| world.play(usize::MAX));
    catch_up(&server, &target, &[]);
    // copied, and not captured
    let target = sqlite(folder.path());
    backfill(&server.url(), &target, &[]).run().expect(0);
    server.world(|world| world.switched_on = Some(4_000_000_000));
    refused(follow(&server.url(), &target, &[]).run(), 6, "nothing was captured before run changing");
    refused(backfill(&server.url(), &target, &["--capture"]).run(), 6, "has begun without a capture");
    let from = crate::support::project_dir().join("fixtures/export/full").display().to_string();
    let args = ["--key", "customer_id:S,order_id:S", "--capture"];
    refused(engine("backfill", &from, &server.url(), &target, &args).run(), 2, "only a live table");
    refused(engine("follow", &from, &server.url(), &target, &["--until", "caught-up"]).run(), 2, "are for a stream");
}

#[tokio::test]
async fn a_user_who_may_not_delete_is_told_so_before_anything_is_captured_or_followed() {
    let server = StreamsServer::start(World::new(plot(75)), StreamFaults::default());
    for kind in BOTH {
        let database = shared(kind).database().await;
        let (name, password) = (database.name.clone(), database.password());
        let poor = format!("poor_{name}");
        let grants = format!(
            "CREATE USER {poor}@'%' IDENTIFIED BY '{password}'; \
             GRANT SELECT, INSERT, UPDATE, CREATE ON {name}.* TO {poor}@'%'"
        );
        execute(&mut shared(kind).admin().await, &grants).await;
        let target = Target::server(database);
        let to = target.url().replacen("transvase@", &format!("{poor}@"), 1);
        let refused = |outcome: Outcome| {
            let outcome = outcome.expect(2);
            let parts = ["table changing: changes replace and delete rows", "DELETE command denied"];
            assert!(parts.iter().all(|part| outcome.stderr.contains(part)), "{}", outcome.stderr);
        };
        let table = format!("dynamodb://{TABLE}");
        let args = ["--read-capacity", "unlimited", "--capture"];
        refused(engine_to("backfill", &table, &server.url(), (&target, &to), &args).run());
        backfill(&server.url(), &target, &["--capture"]).run().expect(0);
        // it may do all that a backfill does
        let control = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
                       AND table_name LIKE '\\_transvase%'";
        for row in target.rows(control).await {
            let grant = format!("GRANT DELETE ON {name}.{} TO {poor}@'%'", text(&row[0]));
            execute(&mut shared(kind).admin().await, &grant).await;
        }
        let stream = format!("streams://{TABLE}");
        let args = ["--until", "caught-up"];
        refused(engine_to("follow", &stream, &server.url(), (&target, &to), &args).run());
        let grant = format!("GRANT DELETE ON {name}.changing TO {poor}@'%'");
        execute(&mut shared(kind).admin().await, &grant).await;
        engine_to("follow", &stream, &server.url(), (&target, &to), &args).run().expect(0);
    }
}

#[tokio::test]
async fn deletes_of_what_has_expired_leave_their_rows_when_they_are_to_be_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    let server = StreamsServer::start(World::new(Plot { before: 0, ..plot(80) }), StreamFaults::default());
    backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    server.world(|world| world.play(usize::MAX));
    let followed = catch_up(&server, &target, &["--ttl-deletes", "skip"]);
    let (truth, expired) = server.world(|world| {
        let records = world.shards.iter().flat_map(|shard| &shard.records);
        (world.unexpired.clone(), records.filter(|record| record.expiry).count() as u64)
    });
    assert_eq!(held(&target, TABLE).await, truth);
    assert!(expired > 10 && followed.number("/skipped") >= expired, "{expired} {}", followed.stdout);
}

#[tokio::test]
async fn a_stream_is_followed_up_to_a_time_though_it_never_ends() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    // two changes at each request: nobody catches up with it
    let story = Plot { before: 0, during: 30_000, ..plot(90) };
    let server = StreamsServer::start(World::new(story), StreamFaults { acts: 2, most: 9, ..StreamFaults::default() });
    backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    let time = "2026-05-28T20:26:45.5Z";
    let reached = follow(&server.url(), &target, &["--until", time]).run().expect(0);
    assert!(
        reached.stdout.contains(&format!("all that was made before {time} is in the target")),
        "{}",
        reached.stdout
    );
    assert_eq!(reached.report["status"], "caught-up");
    let before = server.world(|world| {
        assert!(!world.is_settled(), "the application has ended: this shows nothing");
        let records = world.shards.iter().flat_map(|shard| &shard.records);
        records.filter(|record| world.created(record) < BEGAN + 6).count() as u64
    });
    let durable = durable(&target).await;
    assert!(before > 100 && durable >= before, "{before} {durable}");
    // what is durable says that it was there before
    let again = follow(&server.url(), &target, &["--until", time]).run().expect(0);
    assert!(again.number("/read") >= durable, "{}", again.stdout);
}

const HOUR: u64 = 3600;

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// How long the report says that the stream keeps what the target lacks.
fn kept(outcome: &Outcome) -> u64 {
    let until = outcome.report["kept_until"].as_str().unwrap();
    u64::try_from(moment_micros(until).unwrap()).unwrap() / 1_000_000 - now()
}

#[tokio::test]
async fn who_follows_far_behind_is_warned_before_what_it_lacks_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    let mut world = World::new(Plot { before: 0, during: 30_000, closes: 0, ..plot(100) });
    world.began = now() - 19 * HOUR;
    let server = StreamsServer::start(world, StreamFaults { acts: 1, most: 2, ..StreamFaults::default() });
    backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    // its records are met while it runs
    let mut running = follow(&server.url(), &target, &[]).spawn();
    running.wait_to_say("until the stream drops what this target lacks");
    running.signal("TERM");
    let stopped = running.wait(Duration::from_secs(60)).expect(4);
    // some minutes may have passed since the world began
    let left = ["5.0 h until", "4.9 h until", "4.8 h until"];
    assert!(left.iter().any(|left| stopped.stderr.contains(left)), "{}", stopped.stderr);
    let is_behind = |said: &str| said.contains("19.0 h behind") || said.contains("19.1 h behind");
    assert!(is_behind(&stopped.stderr), "{}", stopped.stderr);
    for part in ["shard shardId-", "--writers", "copied anew"] {
        assert!(stopped.stderr.contains(part), "{part}: {}", stopped.stderr);
    }
    assert!(stopped.stdout.contains("run the same command again before"), "{}", stopped.stdout);
    assert!((4 * HOUR..=5 * HOUR).contains(&kept(&stopped)), "{}", stopped.report);
    // what is durable tells it before anything is read
    let died = follow(&server.url(), &target, &[]).env("TRANSVASE_ABORT_AT", "unit-claimed:1").run();
    assert_eq!(died.stderr.matches("warning: ").count(), 1, "{}", died.stderr);
    assert!(is_behind(&died.stderr), "{}", died.stderr);
}

#[tokio::test]
async fn who_copies_is_told_until_when_the_captured_changes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let target = sqlite(folder.path());
    let server = StreamsServer::start(World::new(plot(110)), StreamFaults::default());
    let died = backfill(&server.url(), &target, &["--capture"]).env("TRANSVASE_ABORT_AT", "committed:1").run();
    assert!(died.signal().is_some() && !died.stderr.contains("warning: "), "{}", died.stderr);
    // as if it had been captured fifteen hours ago
    let settings = target.rows("SELECT settings FROM _transvase_runs WHERE run = 'changing.stream'").await;
    let settings: Value = serde_json::from_str(text(&settings[0][0])).unwrap();
    let capture: Value = serde_json::from_str(settings["derived"].as_str().unwrap()).unwrap();
    let taken = capture["taken"].as_u64().unwrap();
    let older = format!("settings = replace(settings, '{taken}', '{}')", taken - 15 * HOUR);
    target.execute(&format!("UPDATE _transvase_runs SET {older} WHERE run = 'changing.stream'")).await;
    let copied = backfill(&server.url(), &target, &["--capture"]).run().expect(0);
    for part in ["warning: what changes while table changing is copied is kept for", "--spool DIR", "--live-target"] {
        assert!(copied.stderr.contains(part), "{part}: {}", copied.stderr);
    }
    assert!(copied.stdout.contains("what changed since the capture is to be followed before"), "{}", copied.stdout);
    assert!((4 * HOUR..=5 * HOUR).contains(&kept(&copied)), "{}", copied.report);
    // in time
    server.world(|world| {
        world.began = now();
        world.play(usize::MAX);
    });
    assert!(kept(&catch_up(&server, &target, &[])) > 23 * HOUR);
}

/// An application that puts, deletes and puts again the same few keys, until it is told to end.
fn application(server: &DynamoServer, over: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let database = server.database.clone();
    std::thread::spawn(move || {
        let mut version = 0_u64;
        while !over.load(Ordering::SeqCst) || version < 400 {
            version += 1;
            let key = json!({"id": {"S": format!("key-{}", version % 47)}});
            if version.is_multiple_of(5) {
                let request = json!({"TableName": TABLE, "Key": key});
                database.delete_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
            } else {
                let item = json!({"id": key["id"], "version": {"N": version.to_string()}});
                let request = json!({"TableName": TABLE, "Item": item});
                database.put_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

#[test]
fn the_emulators_table_is_copied_and_followed_while_an_application_writes_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = DynamoServer::start();
    server.create_streamed(TABLE, "id:S");
    server.create("copied", "id:S");
    let over = Arc::new(AtomicBool::new(false));
    let application = application(&server, Arc::clone(&over));
    let (url, state) = (server.url(), format!("sqlite:{}", folder.path().join("state.db").display()));
    let target = sqlite(folder.path());
    let into_table = |verb: &str, from: &str, args: &[&str]| {
        let ends = ["--from", from, "--to", "dynamodb://copied", "--endpoint-url", &url, "--state", &state];
        let engine = Engine::new(&[&[verb], ends.as_slice(), &["--write-capacity", "unlimited"], args].concat());
        AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value)).report().run()
    };
    let table = format!("dynamodb://{TABLE}");
    backfill(&url, &target, &["--capture"]).run().expect(0);
    into_table("backfill", &table, &["--capture", "--read-capacity", "unlimited", "--segments", "4"]).expect(0);
    let running = follow(&url, &target, &[]).spawn();
    while block_on(durable(&target)) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal("TERM");
    running.wait(Duration::from_secs(60)).expect(4);
    over.store(true, Ordering::SeqCst);
    application.join().unwrap();
    follow(&url, &target, &["--until", "caught-up"]).run().expect(0);
    into_table("follow", &format!("streams://{TABLE}"), &["--until", "caught-up"]).expect(0);
    let truth = server.items(TABLE);
    let spelled = |(key, version): (String, u64)| json!({"id": {"S": key}, "version": {"N": version.to_string()}});
    let rows = block_on(held(&target, TABLE)).into_iter().map(|row| canon::item(&spelled(row))).collect();
    assert_eq!(canon::sorted_items(rows), truth);
    assert_eq!(server.items("copied"), truth);
}
