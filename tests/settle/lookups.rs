//! Items looked up through a service that throttles, fails, holds keys back and damages answers: what is told is true, and
//! a key that was not told is never taken for one without an item.

use super::live::{TABLE, scan_of};
use super::world::item;
use crate::scan::start;
use crate::support::dynamo_proxy::{DynamoProxy, Faults};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use transvase::error::ErrorKind;
use transvase::source::Source;
use transvase::source::lookup::{KEYS_MAX, Looked};

const KEYS: u64 = 260;

fn key(number: u64) -> Vec<u8> {
    json!({"pk": {"S": format!("key-{number}")}}).to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_through_trouble_tells_every_key_and_nothing_false() {
    let server = start();
    server.create(TABLE, "pk:S");
    server.load(TABLE, (0..KEYS).filter(|number| number % 3 > 0).map(|number| item(&format!("key-{number}"), number)));
    let faults =
        Faults { seed: 5, throttle: 0.15, hold: 0.3, fail: 0.1, lose: 0.05, damage: 0.05, ..Faults::default() };
    // on a thread of its own, since it waits for its runtime
    let address = server.address;
    let proxy = std::thread::spawn(move || DynamoProxy::start(address, faults)).join().unwrap();
    let scan = scan_of(&proxy.url(), None).await;
    let lookup = scan.lookup().unwrap();
    let mut open: Vec<u64> = (0..KEYS).collect();
    let mut told = BTreeMap::new();
    let mut rounds = 0;
    while !open.is_empty() {
        rounds += 1;
        let asked: Vec<u64> = open.drain(..open.len().min(KEYS_MAX)).collect();
        let keys: Vec<Vec<u8>> = asked.iter().map(|number| key(*number)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let turn = lookup.turn(keys.len()).await.unwrap();
        for (number, looked) in asked.into_iter().zip(lookup.read(turn, &keys).await.unwrap()) {
            match looked {
                Looked::HeldBack => open.push(number),
                other => drop(told.insert(number, other)),
            }
        }
    }
    for number in 0..KEYS {
        match &told[&number] {
            Looked::Item(found) => {
                let found: Value = serde_json::from_slice(found).unwrap();
                assert_eq!((number % 3 > 0, found), (true, item(&format!("key-{number}"), number)));
            }
            other => assert_eq!((number % 3, other), (0, &Looked::Absent)),
        }
    }
    let injected = proxy.injected();
    assert!(rounds > 3 && injected.count(|injected| &injected.held) > 20, "{rounds} rounds, {injected:?}");
    let usage = scan.usage();
    assert!(usage.read_units >= KEYS as f64, "a consistent read of a small item, or of none, is a unit: {usage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_stop_before_they_cost_more_than_they_may() {
    let server = start();
    server.create(TABLE, "pk:S");
    // a millionth of this many dollars a unit
    let scan = scan_of(&server.url(), Some(0.125e-6 * 250.0)).await;
    let lookup = scan.lookup().unwrap();
    let keys: Vec<Vec<u8>> = (0..100).map(key).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let mut reads = 0;
    let stopped = loop {
        match lookup.turn(keys.len()).await {
            Ok(turn) => drop(lookup.read(turn, &keys).await.unwrap()),
            Err(error) => break error,
        }
        reads += 1;
    };
    assert_eq!((reads, stopped.kind()), (2, ErrorKind::Blocked), "{stopped}");
    assert!(stopped.to_string().contains("--max-cost"), "{stopped}");
}
