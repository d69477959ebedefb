//! A DynamoDB Streams service by protocol, in this process and on loopback: a [`World`] with faults, and an eye on its readers.
//!
//! Promises: which fault a request meets follows from the seed and the request's number alone; iterators expire by a count
//! of requests, never by a clock. It notes what a reader must not do: read a shard before it was told that the parent,
//! which it reads too, has ended; read a shard twice at once. Must not know: the engine.

mod world;

pub(crate) use world::{BEGAN, Plot, Record, TABLE, World, sequence_text};

use super::http::HttpServer;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use world::sequence_of;

/// Answers in a row that hold a record back.
const HELD_BACK_MAX: u32 = 2;

/// How often what goes wrong: shares of requests, drawn independently.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamFaults {
    pub(crate) seed: u64,
    /// Throttled, by one of four exceptions in turn.
    pub(crate) throttle: f64,
    /// Answered 500, not executed.
    pub(crate) fail: f64,
    /// Executed, and the connection cut in the place of an answer.
    pub(crate) lose: f64,
    /// Executed, and a byte of the answer changed, which its CRC-32 tells.
    pub(crate) damage: f64,
    /// Answers to GetRecords without a record though there is one.
    pub(crate) empty: f64,
    /// Iterators live for so many requests; 0 for ever.
    pub(crate) life: u64,
    /// Records in an answer, at most; 0 for 1000.
    pub(crate) most: usize,
    /// Acts of the script before each request.
    pub(crate) acts: usize,
    /// A shard's first sequence number is refused as a place.
    pub(crate) start_is_no_place: bool,
}

/// The service, until it is dropped.
pub(crate) struct StreamsServer {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

struct State {
    world: World,
    faults: StreamFaults,
    requests: u64,
    reading: BTreeSet<usize>,
    violations: Vec<String>,
    met: BTreeMap<&'static str, u64>,
}

/// What becomes of a request.
enum Fate {
    Answer(u16, Value, bool),
    Cut,
}

impl StreamsServer {
    /// Serves a world.
    pub(crate) fn start(world: World, faults: StreamFaults) -> StreamsServer {
        let (requests, reading, violations, met) = (0, BTreeSet::new(), Vec::new(), BTreeMap::new());
        let state = Arc::new(Mutex::new(State { world, faults, requests, reading, violations, met }));
        let shared = Arc::clone(&state);
        let server = HttpServer::start(service_fn(move |request| answer(Arc::clone(&shared), request)));
        StreamsServer { server, state }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Looks at the world, or changes it.
    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.lock().world)
    }

    /// What readers did that they must not.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// How often each fault was met.
    pub(crate) fn met(&self) -> BTreeMap<&'static str, u64> {
        self.lock().met.clone()
    }

    /// A reader died: what it was told counts no more.
    pub(crate) fn forget_readers(&self) {
        self.lock().reading.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let cut = || std::io::Error::other("cut");
    let body = request.into_body().collect().await.map_err(|_| cut())?.to_bytes();
    let body: Value = serde_json::from_slice(&body).map_err(|_| cut())?;
    let shard = (operation == "GetRecords").then(|| state.lock().unwrap().shard_of(&body)).flatten();
    if let Some(shard) = shard {
        let mut state = state.lock().unwrap();
        if !state.reading.insert(shard) {
            let id = state.world.shards[shard].id.clone();
            state.violations.push(format!("shard {id} is read twice at once"));
        }
    }
    // so that a second reader could come in between
    tokio::task::yield_now().await;
    let mut state = state.lock().unwrap();
    let fate = state.fate(&operation, &body);
    if let Some(shard) = shard {
        state.reading.remove(&shard);
    }
    let Fate::Answer(status, json, damaged) = fate else { return Err(cut()) };
    let mut bytes = json.to_string().into_bytes();
    let crc = crc32fast::hash(&bytes);
    if damaged && let Some(byte) = bytes.iter_mut().rev().find(|byte| byte.is_ascii_alphanumeric()) {
        *byte = if *byte == b'1' { b'2' } else { b'1' };
    }
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    Ok(response.header("x-amz-crc32", crc.to_string()).body(Full::new(Bytes::from(bytes))).unwrap())
}

fn refusal(name: &str) -> Value {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "no"})
}

impl State {
    fn note(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    fn fate(&mut self, operation: &str, body: &Value) -> Fate {
        match operation {
            "DescribeTable" => return Fate::Answer(200, self.table(), false),
            "Scan" => {
                self.world.play(self.faults.acts);
                return Fate::Answer(200, self.scan(body), false);
            }
            _ => {}
        }
        self.requests += 1;
        let acts = self.faults.acts;
        self.world.play(acts);
        let faults = self.faults;
        let mut draw = StdRng::seed_from_u64(faults.seed.wrapping_mul(0x9e37_79b9) ^ self.requests);
        let mut meets = |share: f64| draw.random_bool(share);
        let (throttle, fail, lose, damage) =
            (meets(faults.throttle), meets(faults.fail), meets(faults.lose), meets(faults.damage));
        let (empty, chance) = (meets(faults.empty), draw.random::<u32>());
        if throttle {
            self.note("throttle");
            let names = [
                "LimitExceededException",
                "ThrottlingException",
                "ProvisionedThroughputExceededException",
                "RequestLimitExceeded",
            ];
            return Fate::Answer(400, refusal(names[usize::try_from(self.requests % 4).unwrap()]), false);
        }
        if fail {
            self.note("fail");
            return Fate::Answer(500, refusal("InternalServerError"), false);
        }
        let (status, json) = match operation {
            "DescribeStream" => self.describe(body),
            "GetShardIterator" => self.iterator(body),
            "GetRecords" => self.records(body, empty, chance),
            _ => (400, refusal("UnknownOperationException")),
        };
        if lose {
            self.note("lose");
            return Fate::Cut;
        }
        if damage {
            self.note("damage");
        }
        Fate::Answer(status, json, damage)
    }

    fn table(&self) -> Value {
        json!({"Table": {"TableName": TABLE, "TableStatus": "ACTIVE", "ItemCount": 0, "TableSizeBytes": 0,
            "TableArn": format!("arn:aws:dynamodb:us-east-1:123456789012:table/{TABLE}"),
            "TableId": "11111111-1111-1111-1111-111111111111",
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "LatestStreamArn": self.world.arn(),
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": self.world.view}}})
    }

    /// What a segment of the table holds now.
    fn scan(&self, body: &Value) -> Value {
        let (segment, of) = (body["Segment"].as_u64().unwrap_or(0), body["TotalSegments"].as_u64().unwrap_or(1));
        let is_there = |key: &&String| u64::from(crc32fast::hash(key.as_bytes())) % of == segment;
        let items: Vec<Value> = (self.world.items.keys().filter(is_there))
            .map(|key| (self.world.dress)(key, self.world.items[key]))
            .collect();
        json!({"Count": items.len(), "ScannedCount": items.len(), "Items": items,
            "ConsumedCapacity": {"TableName": TABLE, "CapacityUnits": 0.5}})
    }

    /// A page of at most three shards.
    fn describe(&mut self, body: &Value) -> (u16, Value) {
        if body["StreamArn"] != json!(self.world.arn()) {
            return (400, refusal("ResourceNotFoundException"));
        }
        let after = body["ExclusiveStartShardId"].as_str().map(str::to_owned);
        let from = after.map_or(0, |id| self.world.shards.iter().position(|shard| shard.id == id).unwrap() + 1);
        let (mut shards, mut last) = (Vec::new(), None);
        for at in from..self.world.shards.len() {
            if shards.len() == 3 {
                break;
            }
            let parent = self.world.shards[at].parent.map(|parent| self.world.shards[parent].id.clone());
            // no listing shows a shard before its parent
            let is_listed = |parent: usize| self.world.shards[parent].listed || self.world.shards[parent].forgotten;
            let waits = self.world.shards[at].parent.is_some_and(|parent| !is_listed(parent));
            let shard = &mut self.world.shards[at];
            if waits {
                shard.late = shard.late.max(1);
                continue;
            }
            if shard.late > 0 {
                shard.late -= 1;
                *self.met.entry("late").or_default() += 1;
                continue;
            }
            last = Some((at, shard.id.clone()));
            if shard.forgotten {
                continue;
            }
            shard.listed = true;
            let mut range = json!({"StartingSequenceNumber": sequence_text(shard.start)});
            if let (true, last) = (shard.closed, shard.records.last()) {
                range["EndingSequenceNumber"] =
                    json!(sequence_text(last.map_or(shard.start, |record| record.sequence)));
            }
            let mut json = json!({"ShardId": shard.id, "SequenceNumberRange": range});
            if let Some(parent) = parent {
                json["ParentShardId"] = json!(parent);
            }
            shards.push(json);
        }
        let mut json = json!({"StreamDescription": {"StreamArn": self.world.arn(), "TableName": TABLE,
            "StreamStatus": if self.world.switched_off { "DISABLED" } else { "ENABLED" },
            "StreamViewType": self.world.view, "Shards": shards}});
        if let Some(created) = self.world.switched_on {
            json["StreamDescription"]["CreationRequestDateTime"] = json!(created);
        }
        if let Some((at, id)) = last
            && at + 1 < self.world.shards.len()
        {
            json["StreamDescription"]["LastEvaluatedShardId"] = json!(id);
        }
        (200, json)
    }

    fn iterator(&mut self, body: &Value) -> (u16, Value) {
        let found = self.world.shards.iter().position(|shard| body["ShardId"] == json!(shard.id));
        let Some((at, shard)) = found.map(|at| (at, &self.world.shards[at])).filter(|(_, shard)| !shard.forgotten)
        else {
            return (400, refusal("ResourceNotFoundException"));
        };
        let number = body["SequenceNumber"].as_str().and_then(sequence_of);
        let index = |bound: u64| shard.records.iter().take_while(|record| record.sequence < bound).count();
        let place = match (body["ShardIteratorType"].as_str().unwrap_or_default(), number) {
            ("TRIM_HORIZON", None) => shard.trimmed,
            ("LATEST", None) => shard.records.len(),
            ("AT_SEQUENCE_NUMBER", Some(number)) if number == shard.start && self.faults.start_is_no_place => {
                return (400, refusal("ValidationException"));
            }
            ("AT_SEQUENCE_NUMBER", Some(number)) => index(number),
            ("AFTER_SEQUENCE_NUMBER", Some(number)) => index(number + 1),
            _ => return (400, refusal("ValidationException")),
        };
        if place < shard.trimmed {
            return (400, refusal("TrimmedDataAccessException"));
        }
        (200, json!({"ShardIterator": format!("{at} {place} {}", self.requests)}))
    }

    /// The shard of an iterator.
    fn shard_of(&self, body: &Value) -> Option<usize> {
        body["ShardIterator"].as_str()?.split(' ').next()?.parse().ok()
    }

    fn records(&mut self, body: &Value, empty: bool, chance: u32) -> (u16, Value) {
        let parts: Option<Vec<u64>> =
            body["ShardIterator"].as_str().map(|text| text.split(' ').filter_map(|part| part.parse().ok()).collect());
        let Some([at, place, issued]) = parts.as_deref() else { return (400, refusal("ValidationException")) };
        let [at, place] = [at, place].map(|number| usize::try_from(*number).unwrap());
        if self.faults.life > 0 && self.requests - issued > self.faults.life {
            self.note("expired");
            return (400, refusal("ExpiredIteratorException"));
        }
        let parent = self.world.shards[at].parent.map(|parent| &self.world.shards[parent]);
        if let Some(parent) = parent.filter(|parent| parent.read && !parent.end_told) {
            let what = format!("shard {} is read before the end of {}", self.world.shards[at].id, parent.id);
            self.violations.push(what);
        }
        let shard = &self.world.shards[at];
        if place < shard.trimmed {
            return (400, refusal("TrimmedDataAccessException"));
        }
        let most = if self.faults.most == 0 { 1000 } else { 1 + chance as usize % self.faults.most };
        let left = shard.records.len() - place;
        // never so often that it would look like the end
        let empty = empty && left > 0 && shard.held_back < HELD_BACK_MAX;
        let count = if empty { 0 } else { most.min(left) };
        let records: Vec<Value> =
            shard.records[place..place + count].iter().map(|record| self.world.json(record)).collect();
        // the last records come with an iterator still: what tells the end is often empty
        let ends = shard.closed && left == count && (count == 0 || chance.is_multiple_of(2));
        let mut json = json!({"Records": records});
        if !ends {
            json["NextShardIterator"] = json!(format!("{at} {} {}", place + count, self.requests));
        }
        let shard = &mut self.world.shards[at];
        (shard.read, shard.end_told) = (true, shard.end_told || ends);
        shard.held_back = if empty { shard.held_back + 1 } else { 0 };
        if empty {
            self.note("empty");
        }
        (200, json)
    }
}
