//! A table that answers 5xx and nothing else: waited out, and after minutes said in one sentence with the next step.
//!
//! A quick run ends the trouble after some failures. The soak waits until the engine gives up, some five minutes.

use super::{assert_copied, copy, server};
use crate::support::dynamo::AWS_ENVIRONMENT;
use crate::support::dynamo_proxy::{DynamoProxy, Faults};
use crate::support::engine::{Engine, Outcome};
use crate::support::transvase::soak;
use std::time::{Duration, Instant};

const ITEMS: u64 = 600;
/// Failures of a quick run: several for each segment or worker.
const FAILURES: u64 = 24;
const PATIENCE: Duration = Duration::from_secs(560);

/// Runs the engine against a proxy that fails; in a quick run until it has failed often enough.
fn ended(engine: Engine, proxy: &DynamoProxy) -> Outcome {
    let began = Instant::now();
    let mut running = engine.spawn();
    if !soak() {
        while proxy.injected().count(|injected| &injected.failed) < FAILURES && !running.has_ended() {
            std::thread::sleep(Duration::from_millis(5));
        }
        proxy.set(Faults::default());
    }
    let outcome = running.wait(PATIENCE);
    println!("ended after {:?}: {}", began.elapsed(), outcome.stderr.lines().last().unwrap_or_default());
    outcome
}

/// Fails unless the engine gave up and said so in one sentence.
#[track_caller]
fn assert_said(outcome: Outcome, parts: &[&str]) {
    let outcome = outcome.expect(1);
    let said: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains("status 50")).collect();
    let [sentence] = said[..] else { panic!("not one sentence: {}", outcome.stderr) };
    for part in parts {
        assert!(sentence.contains(part), "{part} is missing in: {sentence}");
    }
}

#[test]
fn a_scan_that_meets_nothing_but_5xx_waits_and_then_says_so() {
    let (server, _) = server(ITEMS);
    let proxy = DynamoProxy::start(server.address, Faults { fail: 1.0, ..Faults::default() });
    let engine = Engine::new(&["backfill", "--from", "dynamodb://orders", "--to", "sqlite:orders.db"])
        .args(&["--endpoint-url", &proxy.url(), "--read-capacity", "unlimited", "--segments", "4"])
        .report();
    let outcome =
        ended(AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value)), &proxy);
    if soak() {
        return assert_said(outcome, &["reading table orders", "Scan", "times in a row", "the same command"]);
    }
    assert_eq!(outcome.expect(0).number("/outcomes/written"), ITEMS);
}

#[test]
fn a_copy_whose_writes_meet_nothing_but_5xx_waits_and_then_says_so() {
    for on_conflict in ["keep", "replace"] {
        let (server, _) = server(ITEMS);
        let proxy = DynamoProxy::start(server.address, Faults { fail_writes: 1.0, ..Faults::default() });
        let folder = tempfile::tempdir().unwrap();
        let outcome = ended(copy(&proxy.url(), folder.path(), on_conflict), &proxy);
        if soak() {
            assert_said(outcome, &["writing table copies", "Item", "for minutes", "the same command"]);
            continue;
        }
        assert_copied(&server, &outcome.expect(0), ITEMS);
    }
}
