//! A stream followed by the source alone: whatever its shards do and whatever goes wrong on the way, every change comes
//! once, after those of the same key that came before it; and what is no longer there is never stepped over.

mod until;

use crate::support::dynamo::{DynamoServer, config_of};
use crate::support::orders::is_soak;
use crate::support::streams_server::{BEGAN, Plot, StreamFaults, StreamsServer, TABLE, World};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use transvase::driver::dynamodb::{DynamoDb, Patience};
use transvase::driver::streams::{Place, StreamRefusalKind, Streams};
use transvase::error::{Error, ErrorKind, Result};
use transvase::model::counts::Counts;
use transvase::model::page::{Page, Wanted};
use transvase::source::dynamodb_streams::{Begin, DynamoDbStreams, StreamOptions};
use transvase::source::{Read, Source, UnitReader};

/// When the stories are over.
fn after_the_story() -> u64 {
    BEGAN + 3600
}

/// Short pauses: the tests wait for what is said, not for a time.
const QUICK: StreamOptions = StreamOptions {
    begin: Begin::Now,
    skip_expired: false,
    until_caught_up: true,
    until: None,
    clock: after_the_story,
    poll: Duration::from_millis(1),
    relist: Duration::from_millis(20),
};

const PATIENCE: Patience = Patience { connect: Duration::from_secs(5), attempt: Duration::from_secs(20) };

/// Long enough for any busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A story with everything in it.
fn plot(seed: u64) -> Plot {
    Plot { seed, keys: 24, before: 150, during: 400, closes: 7, late: 3 }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Opens the source of the table at `url`.
fn open(runtime: &Runtime, url: &str, table: &str, options: StreamOptions) -> Result<DynamoDbStreams> {
    let config = config_of(url);
    runtime.block_on(async {
        let described = DynamoDb::with_config(&config, PATIENCE).describe(table).await?;
        let driver = Streams::with_config(&config, PATIENCE);
        DynamoDbStreams::open(driver, runtime.handle().clone(), &described, options).await
    })
}

/// What a follower has made durable: items, and for each unit where it is.
#[derive(Clone, Debug, Default)]
struct Durable {
    items: BTreeMap<String, u64>,
    units: BTreeMap<u32, (u64, String)>,
    /// Sequence numbers of each key, in the order in which they were done.
    done: BTreeMap<String, Vec<String>>,
    skipped: usize,
}

impl Durable {
    /// One transaction.
    fn commit(&mut self, page: &Page) {
        let (unit, span) = (page.span.unit, page.span);
        assert_eq!(self.units.get(&unit).map_or(0, |(to, _)| *to), span.from, "pages of a unit join");
        assert_eq!(page.lines().count() as u64, span.items());
        for (_, line) in page.lines() {
            let line: Value = serde_json::from_slice(line).unwrap();
            let Some(key) = line["Keys"]["id"]["S"].as_str() else {
                assert_eq!(line, json!({}));
                self.skipped += 1;
                continue;
            };
            match line.get("NewImage") {
                Some(image) => {
                    assert_eq!(image["id"]["S"], key);
                    self.items.insert(key.to_owned(), image["version"]["N"].as_str().unwrap().parse().unwrap());
                }
                None => drop(self.items.remove(key)),
            }
            self.done.entry(key.to_owned()).or_default().push(line["SequenceNumber"].as_str().unwrap().to_owned());
        }
        self.units.insert(unit, (span.to, page.reached.clone().unwrap()));
    }

    fn wanted(&self, unit: u32) -> Wanted {
        let (from, after) = self.units.get(&unit).map_or((0, None), |(to, reached)| (*to, Some(reached.clone())));
        Wanted { items: std::iter::once(from..u64::MAX).collect(), after }
    }

    fn readers(&self, source: &dyn Source) -> Vec<Box<dyn UnitReader>> {
        source.description().units.iter().map(|unit| source.open(unit.id, &self.wanted(unit.id)).unwrap()).collect()
    }
}

/// How a follower ended.
#[derive(Debug, PartialEq)]
enum End {
    CaughtUp,
    /// Every unit is at its end.
    Ended,
    Died,
}

/// Reads whichever reader is ready until all are caught up or at their end; dies when `dies` says so of a page, which is
/// then lost.
fn follow(source: &dyn Source, durable: &mut Durable, mut dies: impl FnMut(&Page) -> bool) -> Result<End> {
    let mut readers = durable.readers(source);
    let (halt, began) = (CancellationToken::new(), Instant::now());
    while !readers.is_empty() {
        assert!(began.elapsed() < LIMIT, "it never ends: {:?}", source.usage());
        let mut rest = Duration::from_millis(50);
        for at in (0..readers.len()).rev() {
            let ready_in = readers[at].urgency().ready_in;
            if !ready_in.is_zero() {
                rest = rest.min(ready_in);
                continue;
            }
            rest = Duration::ZERO;
            match readers[at].next(&halt)? {
                Read::Page(page) if dies(&page) => return Ok(End::Died),
                Read::Page(page) => durable.commit(&page),
                Read::Empty => {}
                Read::End => drop(readers.remove(at)),
                Read::Stop(_) => return Ok(End::CaughtUp),
                Read::Halted => panic!("nobody halted"),
            }
        }
        std::thread::sleep(rest);
    }
    Ok(End::Ended)
}

/// The error of a reader that goes on from what is durable.
fn failure(source: &dyn Source, durable: &mut Durable) -> Error {
    follow(source, durable, |_| false).expect_err("it must not go on")
}

/// Sequence numbers as numbers: all of one length are ordered as their texts.
fn rises(numbers: &[String]) -> bool {
    numbers.windows(2).all(|pair| (pair[0].len(), &pair[0]) < (pair[1].len(), &pair[1]))
}

#[test]
fn every_change_is_done_once_and_after_those_of_its_key_that_came_before() {
    let mut met = BTreeMap::<&str, u64>::new();
    for seed in 0..if is_soak() { 120 } else { 4 } {
        let mut draw = StdRng::seed_from_u64(seed);
        let faults = StreamFaults {
            seed,
            throttle: 0.02,
            fail: 0.01,
            lose: 0.01,
            damage: 0.01,
            empty: 0.1,
            life: 25,
            most: 9,
            acts: 2,
            start_is_no_place: seed % 3 == 2,
        };
        let server = StreamsServer::start(World::new(plot(seed)), faults);
        let runtime = runtime();
        let first = open(&runtime, &server.url(), TABLE, QUICK).unwrap();
        let captured = first.description().derived.clone().unwrap();
        // the copy: read after the capture, while the table changes
        let mut durable = Durable { items: server.world(|world| world.items.clone()), ..Durable::default() };
        let mut source: Box<dyn Source> = Box::new(first);
        loop {
            let is_settled = server.world(|world| world.is_settled());
            let end = follow(&*source, &mut durable, |_| draw.random_bool(0.02)).unwrap();
            if end == End::CaughtUp && is_settled {
                break;
            }
            if end == End::Died {
                // another process goes on with what is kept of the run
                let mut next = open(&runtime, &server.url(), TABLE, QUICK).unwrap();
                next.adopt(&captured, &Counts::default()).unwrap();
                source = Box::new(next);
            }
        }
        assert_eq!(durable.items, server.world(|world| world.items.clone()), "seed {seed}");
        assert!(durable.done.values().all(|numbers| rises(numbers)), "seed {seed}");
        assert_eq!(server.violations(), Vec::<String>::new(), "seed {seed}");
        for (what, times) in server.met() {
            *met.entry(what).or_default() += times;
        }
    }
    println!("met: {met:?}");
    for what in ["throttle", "fail", "lose", "damage", "empty", "expired", "late"] {
        assert!(met.contains_key(what), "no {what}");
    }
}

#[test]
fn from_the_horizon_the_table_is_built_from_nothing() {
    let server = StreamsServer::start(World::new(plot(77)), StreamFaults { acts: 1, ..StreamFaults::default() });
    let runtime = runtime();
    let source = open(&runtime, &server.url(), TABLE, StreamOptions { begin: Begin::Horizon, ..QUICK }).unwrap();
    let mut durable = Durable::default();
    let mut is_settled = false;
    while !is_settled {
        is_settled = server.world(|world| world.is_settled());
        assert_eq!(follow(&source, &mut durable, |_| false).unwrap(), End::CaughtUp);
    }
    assert_eq!(durable.items, server.world(|world| world.items.clone()));
    let records = server.world(|world| world.shards.iter().map(|shard| shard.records.len()).sum::<usize>());
    assert_eq!(durable.done.values().map(Vec::len).sum::<usize>(), records);
    let usage = source.usage().stream.unwrap();
    assert!(usage.records == records as u64 && usage.caught_up && usage.lag_seconds == 0, "{usage:?}");
}

#[test]
fn a_child_read_before_its_parents_end_would_spoil_a_key_and_the_bench_tells() {
    let server = StreamsServer::start(World::new(plot(3)), StreamFaults { most: 1, ..StreamFaults::default() });
    server.world(|world| {
        world.play(usize::MAX);
        let mut spoiled = 0;
        for (child, parent) in (0..world.shards.len()).filter_map(|at| Some((at, world.shards[at].parent?))) {
            let keys: BTreeSet<String> = world.keys_across(child).into_iter().map(str::to_owned).collect();
            let (right, wrong) = (world.applied(&[parent, child]), world.applied(&[child, parent]));
            spoiled += u32::from(keys.iter().any(|key| right.get(key) != wrong.get(key)));
        }
        assert!(spoiled > 5, "{spoiled}");
    });
    let (arn, parent, child) = server.world(|world| {
        let child = (0..world.shards.len())
            .find(|at| world.shards[*at].parent.is_some_and(|parent| world.shards[parent].records.len() > 1));
        let child = &world.shards[child.unwrap()];
        (world.arn(), world.shards[child.parent.unwrap()].id.clone(), child.id.clone())
    });
    let driver = Streams::with_config(&config_of(&server.url()), PATIENCE);
    runtime().block_on(async {
        for shard in [&parent, &child] {
            assert_eq!(server.violations(), Vec::<String>::new());
            let iterator = driver.iterator(&arn, shard, Place::Horizon).await.unwrap();
            driver.records(&arn, &iterator).await.unwrap();
        }
    });
    assert_eq!(server.violations(), [format!("shard {child} is read before the end of {parent}")]);
}

#[test]
fn what_is_trimmed_stops_with_the_shard_and_is_never_stepped_over() {
    let server = StreamsServer::start(World::new(plot(5)), StreamFaults { most: 3, ..StreamFaults::default() });
    let runtime = runtime();
    let first = open(&runtime, &server.url(), TABLE, QUICK).unwrap();
    server.world(|world| world.play(usize::MAX));
    let mut durable = Durable::default();
    let mut pages = 0;
    let tenth = |_: &Page| {
        pages += 1;
        pages == 10
    };
    let died = follow(&first, &mut durable, tenth).unwrap();
    assert_eq!(died, End::Died);
    // all that is being read loses what comes next
    server.world(|world| world.shards.iter_mut().for_each(|shard| shard.trimmed = shard.records.len()));
    let before = durable.items.clone();
    let mut next = open(&runtime, &server.url(), TABLE, QUICK).unwrap();
    next.adopt(&first.description().derived.clone().unwrap(), &Counts::default()).unwrap();
    let error = failure(&next, &mut durable);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let said = error.to_string();
    let named = server.world(|world| world.shards.iter().any(|shard| said.contains(&format!("shard {}", shard.id))));
    assert!(named && said.contains("24 hours") && said.contains("backfill --capture --restart"), "{said}");
    assert_eq!(durable.items, before);
}

#[test]
fn a_shard_that_is_no_longer_listed_stops_with_the_sentence() {
    let server = StreamsServer::start(World::new(plot(6)), StreamFaults::default());
    let runtime = runtime();
    let source = open(&runtime, &server.url(), TABLE, QUICK).unwrap();
    server.world(|world| {
        let open: Vec<usize> = (0..world.shards.len()).filter(|at| !world.shards[*at].closed).collect();
        for at in open {
            world.close_shard(at, 1);
            world.shards[at].forgotten = true;
        }
    });
    // until it lists anew, it takes the shard for a new one
    let error = failure(&source, &mut Durable::default());
    assert!(error.to_string().contains("no longer holds what comes next"), "{error}");
}

#[test]
fn each_way_in_which_a_request_can_fail_is_told_apart() {
    let kind_of = |faults: StreamFaults, ask: &str| {
        let server = StreamsServer::start(World::new(plot(10)), faults);
        let (arn, shard) = server.world(|world| {
            world.shards[0].trimmed = world.shards[0].records.len();
            (world.arn(), world.shards[0].id.clone())
        });
        let driver = Streams::with_config(&config_of(&server.url()), PATIENCE);
        let asked = runtime().block_on(async {
            match ask {
                "stream" => driver.describe("arn:aws:dynamodb:us-east-1:1:table/other/stream/1", None).await.map(drop),
                "shard" => driver.iterator(&arn, "none", Place::Horizon).await.map(drop),
                "trimmed" => driver.iterator(&arn, &shard, Place::At("100000000000000000001")).await.map(drop),
                "invalid" => driver.records(&arn, "nonsense").await.map(drop),
                _ => driver.describe(&arn, None).await.map(drop),
            }
        });
        asked.unwrap_err().kind
    };
    let none = StreamFaults::default();
    assert_eq!(kind_of(none, "stream"), StreamRefusalKind::NotFound);
    assert_eq!(kind_of(none, "shard"), StreamRefusalKind::NotFound);
    assert_eq!(kind_of(none, "trimmed"), StreamRefusalKind::Trimmed);
    assert_eq!(kind_of(none, "invalid"), StreamRefusalKind::Invalid);
    assert!(matches!(kind_of(StreamFaults { throttle: 1.0, ..none }, ""), StreamRefusalKind::Throttled(_)));
    for faults in
        [StreamFaults { fail: 1.0, ..none }, StreamFaults { lose: 1.0, ..none }, StreamFaults { damage: 1.0, ..none }]
    {
        assert_eq!(kind_of(faults, ""), StreamRefusalKind::Unknown, "{faults:?}");
    }
}

#[test]
fn streams_without_new_images_are_refused_and_records_that_contradict_themselves_too() {
    let server = StreamsServer::start(World::new(plot(8)), StreamFaults::default());
    let runtime = runtime();
    for view in ["KEYS_ONLY", "OLD_IMAGE"] {
        server.world(|world| world.view = view.into());
        let error = open(&runtime, &server.url(), TABLE, QUICK).map(drop).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(view), "{error}");
    }
    server.world(|world| (world.view, world.lies) = ("NEW_IMAGE".into(), true));
    let source = open(&runtime, &server.url(), TABLE, StreamOptions { begin: Begin::Horizon, ..QUICK }).unwrap();
    let mut durable = Durable::default();
    let error = failure(&source, &mut durable);
    assert!(
        error.kind() == ErrorKind::Corrupt && error.to_string().contains("is a REMOVE, and has a new image"),
        "{error}"
    );
    let dynamo = DynamoServer::start();
    dynamo.create("still", "id:S");
    let error = open(&runtime, &dynamo.url(), "still", QUICK).map(drop).unwrap_err();
    assert!(error.to_string().contains("has no stream"), "{error}");
}

#[test]
fn deletes_of_what_has_expired_are_counted_and_not_done_when_they_are_to_be_skipped() {
    let story = Plot { before: 0, ..plot(9) };
    let server = StreamsServer::start(World::new(story), StreamFaults { most: 9, ..StreamFaults::default() });
    let runtime = runtime();
    let source = open(&runtime, &server.url(), TABLE, StreamOptions { skip_expired: true, ..QUICK }).unwrap();
    server.world(|world| world.play(usize::MAX));
    let mut durable = Durable::default();
    let mut is_settled = false;
    while !is_settled {
        is_settled = server.world(|world| world.is_settled());
        assert_eq!(follow(&source, &mut durable, |_| false).unwrap(), End::CaughtUp);
    }
    let (truth, expired, closed) = server.world(|world| {
        let records = world.shards.iter().flat_map(|shard| &shard.records);
        let closed = world.shards.iter().filter(|shard| shard.closed).count();
        (world.unexpired.clone(), records.filter(|record| record.expiry).count(), closed)
    });
    assert_eq!(durable.items, truth);
    // a shard whose end comes without a record makes it durable by a line of its own
    assert!(expired > 10 && (expired..=expired + closed).contains(&durable.skipped), "{expired} {closed}");
}

#[test]
fn a_stream_that_was_switched_off_is_read_to_its_end_and_another_one_is_not_taken_for_it() {
    let server = StreamsServer::start(World::new(plot(11)), StreamFaults::default());
    let runtime = runtime();
    let source = open(&runtime, &server.url(), TABLE, QUICK).unwrap();
    let captured = source.description().derived.clone().unwrap();
    let mut durable = Durable { items: server.world(|world| world.items.clone()), ..Durable::default() };
    server.world(|world| {
        world.play(usize::MAX);
        world.switched_off = true;
        world.shards.iter_mut().for_each(|shard| (shard.closed, shard.late) = (true, 0));
    });
    assert_eq!(follow(&source, &mut durable, |_| false).unwrap(), End::Ended);
    assert_eq!(durable.items, server.world(|world| world.items.clone()));
    server.world(|world| (world.stream, world.switched_off) = (2, false));
    let mut other = open(&runtime, &server.url(), TABLE, QUICK).unwrap();
    let error = other.adopt(&captured, &Counts::default()).unwrap_err();
    assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("switched off in between"), "{error}");
}

#[test]
fn the_emulators_stream_is_followed_from_the_capture_on() {
    let dynamo = DynamoServer::start();
    let stream = json!({"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"});
    dynamo.create_from(
        json!({"TableName": "changing", "BillingMode": "PAY_PER_REQUEST", "StreamSpecification": stream}),
        "id:S",
    );
    let runtime = runtime();
    let client = DynamoDb::with_config(&config_of(&dynamo.url()), PATIENCE);
    let put = |key: u64, version: u64| {
        let item = json!({"id": {"S": format!("key-{key}")}, "version": {"N": version.to_string()}}).to_string();
        runtime.block_on(client.put(TABLE, item.as_bytes(), None)).map(drop).unwrap();
    };
    let source = open(&runtime, &dynamo.url(), TABLE, QUICK).unwrap();
    (0..1200).for_each(|version| put(version % 40, version));
    let mut durable = Durable::default();
    assert_eq!(follow(&source, &mut durable, |_| false).unwrap(), End::CaughtUp);
    let truth: BTreeMap<String, u64> = (1160..1200).map(|version| (format!("key-{}", version % 40), version)).collect();
    assert_eq!(durable.items, truth);
    assert_eq!(durable.done.values().map(Vec::len).sum::<usize>(), 1200);
    // a capture of a stream that has records already, and resumption from what is kept
    let mut later = open(&runtime, &dynamo.url(), TABLE, QUICK).unwrap();
    later.adopt(&source.description().derived.clone().unwrap(), &Counts::default()).unwrap();
    put(7, 9999);
    assert_eq!(follow(&later, &mut durable, |_| false).unwrap(), End::CaughtUp);
    assert_eq!((durable.items["key-7"], later.usage().stream.unwrap().records), (9999, 1));
}
