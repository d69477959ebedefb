//! The binary reads an export from an S3-compatible server, whatever the network does, and the table equals the truth.

use crate::support::engine::Engine;
use crate::support::orders::{KEY, Orders, Place};
use crate::support::proxy::{Faults, Proxy};
use crate::support::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The export's folder is a bucket of the server: its parent is the server's root.
struct World {
    orders: Orders,
    server: S3Server,
    folder: tempfile::TempDir,
}

impl World {
    fn new(items: u64) -> World {
        let orders = Orders::new(items, 5, 17);
        let server = S3Server::start(orders.folder().parent().unwrap());
        World { orders, server, folder: tempfile::tempdir().unwrap() }
    }

    fn bucket(&self) -> String {
        self.orders.folder().file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn url(&self, bucket: &str) -> String {
        let exports = std::fs::read_dir(self.orders.folder().join("AWSDynamoDB")).unwrap();
        let id = exports.map(|entry| entry.unwrap().file_name()).next().unwrap();
        format!("s3://{bucket}/AWSDynamoDB/{}", id.to_str().unwrap())
    }

    fn place(&self, name: &str) -> Place {
        Place::File(self.folder.path().join(name))
    }

    /// With nothing of this machine's own AWS settings.
    fn engine(&self, bucket: &str, place: &Place, endpoint: Option<SocketAddr>) -> Engine {
        let engine = Engine::new(&["backfill", "--from", &self.url(bucket), "--key", KEY, "--to", &place.url()]);
        let mut engine = engine
            .report()
            .without_env("AWS_PROFILE")
            .without_env("AWS_DEFAULT_REGION")
            .without_env("AWS_ENDPOINT_URL")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", "us-east-1");
        if let Some(endpoint) = endpoint {
            engine = engine.env("TRANSVASE_S3_ENDPOINT", &format!("http://{endpoint}"));
        }
        engine
    }
}

/// One plain line that holds all of `words`.
#[track_caller]
fn assert_one_sentence(stderr: &str, words: &[&str]) {
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is not in: {stderr}");
    }
}

#[test]
fn an_export_in_s3_arrives_whole() {
    let world = World::new(20_000);
    let place = world.place("plain.db");
    let outcome = world.engine(&world.bucket(), &place, Some(world.server.address)).run();
    world.orders.assert_complete(&place, outcome);
}

#[test]
fn cut_and_refused_requests_cost_nothing() {
    let world = World::new(20_000);
    for (name, faults) in [
        ("cuts", Faults { cut: 0.8, ..Faults::default() }),
        ("refusals", Faults { refuse: 0.3, ..Faults::default() }),
        ("both", Faults { cut: 0.6, refuse: 0.2, ..Faults::default() }),
    ] {
        let faults = Faults { seed: 3, after: 0..300_000, ..faults };
        let proxy = Proxy::start(world.server.address, faults.clone());
        let place = world.place(name);
        let outcome = world.engine(&world.bucket(), &place, Some(proxy.address)).run();
        world.orders.assert_complete(&place, outcome);
        let injected = proxy.injected();
        assert_eq!(faults.cut > 0.0, injected.cuts.load(Ordering::Relaxed) > 0, "{name}: {injected:?}");
        assert_eq!(faults.refuse > 0.0, injected.refusals.load(Ordering::Relaxed) > 0, "{name}: {injected:?}");
    }
}

#[test]
fn a_stalled_answer_is_given_up_and_asked_for_again() {
    let world = World::new(20_000);
    // Past the manifests, in the midst of a data file.
    let proxy = Proxy::start(world.server.address, Faults { stall: 1.0, after: 50_000..50_001, ..Faults::default() });
    let place = world.place("stalled.db");
    let running = world.engine(&world.bucket(), &place, Some(proxy.address)).spawn();
    let mut running = running;
    while proxy.injected().stalls.load(Ordering::Relaxed) == 0 {
        assert!(!running.has_ended(), "nothing stalled: {}", running.said());
        std::thread::sleep(Duration::from_millis(5));
    }
    proxy.set(Faults::default());
    let outcome = running.wait(Duration::from_secs(120));
    world.orders.assert_complete(&place, outcome);
}

#[test]
fn a_killed_run_from_s3_is_resumed() {
    let world = World::new(20_000);
    let place = world.place("killed.db");
    let engine = || world.engine(&world.bucket(), &place, Some(world.server.address));
    assert_eq!(engine().env("TRANSVASE_ABORT_AT", "committed:4").run().signal(), Some(6));
    world.orders.assert_complete(&place, engine().run());
}

#[test]
fn what_an_operator_got_wrong_is_said_in_one_sentence_with_the_next_step() {
    let world = World::new(100);
    let endpoint = Some(world.server.address);
    let place = world.place("none.db");
    let outcome = world.engine("no-such-bucket-anywhere", &place, endpoint).run().expect(2);
    assert_one_sentence(&outcome.stderr, &["no-such-bucket-anywhere", "give the folder of one complete export"]);
    let outcome = world.engine(&world.bucket(), &place, endpoint).env("AWS_ACCESS_KEY_ID", "AKIAOTHER").run().expect(2);
    assert_one_sentence(&outcome.stderr, &["manifest-summary.json"]);
    assert!(outcome.stderr.contains("credentials") || outcome.stderr.contains("access denied"), "{}", outcome.stderr);
    let wrong = "wrong-secret-of-nobody";
    let outcome = world.engine(&world.bucket(), &place, endpoint).env("AWS_SECRET_ACCESS_KEY", wrong).run().expect(2);
    assert_one_sentence(&outcome.stderr, &["credentials are not accepted", "check"]);
    assert!(!outcome.stderr.contains(wrong));
    let outcome = world.engine(&world.bucket(), &place, None).without_env("AWS_REGION").run().expect(2);
    assert_one_sentence(&outcome.stderr, &["no AWS region", "set AWS_REGION"]);
    let without = world.engine(&world.bucket(), &place, endpoint);
    let outcome = without.without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY").run().expect(2);
    // Below it, where they were looked for.
    assert_one_sentence(outcome.stderr.lines().next().unwrap(), &["no AWS credentials", "set AWS_PROFILE or"]);
    assert!(std::fs::read_dir(world.folder.path()).unwrap().next().is_none(), "nothing was begun");
}
