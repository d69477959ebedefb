//! Following up to a moment: all that was made before it is read, whatever the shards do, and then it ends.

use super::{Durable, End, QUICK, follow, open, plot, runtime};
use crate::support::orders::is_soak;
use crate::support::streams_server::{BEGAN, Plot, StreamFaults, StreamsServer, TABLE, World, sequence_text};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use transvase::source::dynamodb_streams::{Begin, StreamOptions};
use transvase::source::{Read, Source};

/// Numbers of the records that were made before `moment`, and of all.
fn made_before(server: &StreamsServer, moment: u64) -> (BTreeSet<String>, usize) {
    server.world(|world| {
        let records = || world.shards.iter().flat_map(|shard| &shard.records);
        let before = records().filter(|record| world.created(record) < moment);
        (before.map(|record| sequence_text(record.sequence)).collect(), records().count())
    })
}

#[test]
fn up_to_a_moment_all_is_read_that_was_made_before_and_not_all_that_there_is() {
    for seed in 0..if is_soak() { 60 } else { 3 } {
        let story = Plot { before: 0, during: 1600, ..plot(seed) };
        let faults = StreamFaults { seed, empty: 0.1, life: 25, most: 3, throttle: 0.02, ..StreamFaults::default() };
        let server = StreamsServer::start(World::new(story), faults);
        let runtime = runtime();
        let moment = BEGAN + 6;
        let how = StreamOptions { until: Some(moment), until_caught_up: false, ..QUICK };
        let source = open(&runtime, &server.url(), TABLE, how).unwrap();
        server.world(|world| world.play(usize::MAX));
        let mut durable = Durable::default();
        assert_eq!(follow(&source, &mut durable, |_| false).unwrap(), End::CaughtUp);
        let (before, all) = made_before(&server, moment);
        let done: BTreeSet<String> = durable.done.values().flatten().cloned().collect();
        assert!(before.len() > 100 && before.is_subset(&done), "seed {seed}: {} {}", before.len(), done.len());
        assert!(done.len() + 100 < all, "seed {seed}: {} of {all}", done.len());
        assert!(source.usage().stream.unwrap().caught_up);
    }
}

/// The clock of the test below.
static NOW: AtomicU64 = AtomicU64::new(BEGAN);

#[test]
fn a_quiet_stream_has_passed_a_moment_when_its_shards_are_empty_after_it_was_over() {
    let runtime = runtime();
    let moment = BEGAN + 1000;
    let how = StreamOptions {
        begin: Begin::Horizon,
        until: Some(moment),
        until_caught_up: false,
        clock: || NOW.load(Ordering::SeqCst),
        poll: Duration::ZERO,
        relist: Duration::ZERO,
        ..QUICK
    };
    for seed in 12..16 {
        let story = Plot { before: 0, during: 60, closes: 0, late: 0, ..plot(seed) };
        let server = StreamsServer::start(World::new(story), StreamFaults::default());
        // many shards in a lineage, and every step lists anew
        server.world(|world| (0..2).for_each(|shard| world.close_shard(shard, 6)));
        NOW.store(moment + 5, Ordering::SeqCst);
        let source = open(&runtime, &server.url(), TABLE, how).unwrap();
        let (mut durable, halt) = (Durable::default(), CancellationToken::new());
        let mut readers = durable.readers(&source);
        let mut round = |durable: &mut Durable| {
            let mut stops = false;
            for reader in &mut readers {
                match reader.next(&halt).unwrap() {
                    Read::Page(page) => durable.commit(&page),
                    read => stops |= matches!(read, Read::Stop(_)),
                }
            }
            stops
        };
        for _ in 0..120 {
            assert!(!round(&mut durable), "clocks differ: more may come that was made before the moment");
        }
        // in one shard of many a change that is younger than its last empty answer
        while made_before(&server, moment).1 == 0 {
            server.world(|world| world.play(1));
        }
        NOW.store(moment + 10, Ordering::SeqCst);
        let rounds = (0..1000).find(|_| round(&mut durable));
        let (before, all) = made_before(&server, moment);
        let done: BTreeSet<String> = durable.done.values().flatten().cloned().collect();
        assert!(rounds.is_some() && all == 1 && before == done, "seed {seed}, {rounds:?}: {} of {all}", done.len());
    }
}
