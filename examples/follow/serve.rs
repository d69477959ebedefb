//! A server that speaks as much of DynamoDB and its Streams as `backfill --capture` and `follow` need, of an empty table that
//! changes from then on.
//!
//! Promises: change `n` is made at the `n`-th tick of the rate, and is served from then on; its sequence number is that moment
//! in microseconds since 1970. Nothing is remembered: a record is made when it is asked for, always the same. Must not know:
//! who asks.

#[path = "../generate/generator/mod.rs"]
#[expect(dead_code, reason = "orders are all that is needed of it")]
mod generator;

use crate::now_us;
use generator::orders::{write_key, write_version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::io::{self, Write};
use std::rc::Rc;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// What the service gives at once, at most.
const RECORDS_MAX: u64 = 1000;

const SEED: u64 = 7;
const STREAM: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/1";

/// How much is changed, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plot {
    /// Changes a second.
    pub(crate) rate: u64,
    /// Changes in all.
    pub(crate) changes: u64,
    pub(crate) shards: u64,
    pub(crate) keys: u64,
}

struct Table {
    plot: Plot,
    /// When the first record was asked for, in microseconds since 1970.
    began: OnceCell<u64>,
}

/// Listens on a free port of loopback, and prints its URL.
///
/// # Errors
/// When the port cannot be had.
pub(crate) async fn serve(plot: Plot) -> io::Result<()> {
    let table = Rc::new(Table { plot, began: OnceCell::new() });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let accept = async {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let table = Rc::clone(&table);
            tokio::task::spawn_local(async move {
                let service = service_fn(|request| answer(Rc::clone(&table), request));
                // a connection ends with its client; how, is nothing to this server
                drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
            });
        }
    };
    LocalSet::new().run_until(accept).await
}

async fn answer(table: Rc<Table>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let call: Value = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    let (status, body) = match target.rsplit('.').next().unwrap_or_default() {
        "DescribeTable" => (200, table.describe()),
        "Scan" => (200, json!({"Count": 0, "ScannedCount": 0, "Items": []}).to_string().into_bytes()),
        "DescribeStream" => (200, table.describe_stream()),
        "GetShardIterator" => (200, table.iterator(&call)?),
        "GetRecords" => (200, table.records(&call)?),
        _ => {
            let kind = "com.amazon.coral.validate#ValidationException";
            (400, json!({"__type": kind, "message": "not served here"}).to_string().into_bytes())
        }
    };
    let answer = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    let answer = answer.header("x-amz-crc32", crc32fast::hash(&body).to_string());
    answer.body(Full::new(Bytes::from(body))).map_err(io::Error::other)
}

/// A whole number of a call that only this server can have written.
fn number(text: Option<&str>) -> io::Result<u64> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| io::Error::other("no iterator or number of this server"))
}

impl Table {
    /// When a shard's record is made, in microseconds since 1970: the shards take turns.
    fn made_us(&self, shard: u64, record: u64) -> u64 {
        let Plot { rate, shards, .. } = self.plot;
        self.began.get_or_init(now_us) + (record * shards + shard) * 1_000_000 / rate
    }

    /// Records of a shard that are made already.
    fn made(&self, shard: u64) -> u64 {
        let Plot { rate, changes, shards, .. } = self.plot;
        let ticks = ((now_us() - self.began.get_or_init(now_us)) * rate / 1_000_000 + 1).min(changes);
        (ticks + shards - 1 - shard) / shards
    }

    fn describe(&self) -> Vec<u8> {
        json!({"Table": {
            "TableName": "orders", "TableStatus": "ACTIVE", "TableId": "00000000-0000-4000-8000-000000000006",
            "TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/orders", "TableSizeBytes": 0, "ItemCount": 0,
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}, "LatestStreamArn": STREAM,
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
            "AttributeDefinitions": [
                {"AttributeName": "customer_id", "AttributeType": "S"},
                {"AttributeName": "order_id", "AttributeType": "S"},
            ],
            "KeySchema": [
                {"AttributeName": "customer_id", "KeyType": "HASH"},
                {"AttributeName": "order_id", "KeyType": "RANGE"},
            ],
        }})
        .to_string()
        .into_bytes()
    }

    fn describe_stream(&self) -> Vec<u8> {
        let range = json!({"StartingSequenceNumber": sequence(1)});
        let shard = |shard: u64| json!({"ShardId": format!("shardId-{shard:08}"), "SequenceNumberRange": range});
        let shards: Vec<Value> = (0..self.plot.shards).map(shard).collect();
        json!({"StreamDescription": {"StreamArn": STREAM, "TableName": "orders", "StreamStatus": "ENABLED",
            "StreamViewType": "NEW_IMAGE", "Shards": shards}})
        .to_string()
        .into_bytes()
    }

    /// A place: the shard, and the number of the record.
    fn iterator(&self, call: &Value) -> io::Result<Vec<u8>> {
        let shard = number(call["ShardId"].as_str().and_then(|id| id.strip_prefix("shardId-")))?;
        let from = match (call["ShardIteratorType"].as_str(), call["SequenceNumber"].as_str()) {
            (Some("AFTER_SEQUENCE_NUMBER"), Some(text)) => {
                let after = number(Some(text.trim_start_matches('0')))?;
                // the first that is made later
                let guess =
                    after.saturating_sub(self.made_us(shard, 0)) * self.plot.rate / 1_000_000 / self.plot.shards;
                (guess.saturating_sub(2)..).find(|record| self.made_us(shard, *record) > after).unwrap_or(guess)
            }
            _ => 0,
        };
        Ok(json!({"ShardIterator": format!("{shard}:{from}")}).to_string().into_bytes())
    }

    fn records(&self, call: &Value) -> io::Result<Vec<u8>> {
        let (shard, from) = call["ShardIterator"].as_str().and_then(|place| place.split_once(':')).unwrap_or_default();
        let (shard, from) = (number(Some(shard))?, number(Some(from))?);
        let to = self.made(shard).clamp(from, from + RECORDS_MAX);
        let mut body = b"{\"Records\":[".to_vec();
        for record in from..to {
            if record > from {
                body.push(b',');
            }
            self.record(shard, record, &mut body)?;
        }
        write!(body, "],\"NextShardIterator\":\"{shard}:{to}\"}}")?;
        Ok(body)
    }

    /// A key's changes are two puts and a delete, again and again; it stays in its shard.
    fn record(&self, shard: u64, record: u64, body: &mut Vec<u8>) -> io::Result<()> {
        let Plot { shards, keys, .. } = self.plot;
        let keys = keys / shards;
        let (key, version) = ((record % keys) * shards + shard, record / keys);
        let made_us = self.made_us(shard, record);
        let name = ["INSERT", "MODIFY", "REMOVE"][usize::try_from(version % 3).unwrap_or(0)];
        write!(
            body,
            r#"{{"eventID":"{record}","eventName":"{name}","eventVersion":"1.1","eventSource":"aws:dynamodb","#
        )?;
        write!(body, r#""dynamodb":{{"ApproximateCreationDateTime":{},"Keys":"#, made_us / 1_000_000)?;
        write_key(SEED, key, body)?;
        if name != "REMOVE" {
            body.extend_from_slice(br#","NewImage":"#);
            write_version(SEED, key, u32::try_from(version).unwrap_or(u32::MAX), body)?;
        }
        write!(body, r#","SequenceNumber":"{}","SizeBytes":400,"StreamViewType":"NEW_IMAGE"}}}}"#, sequence(made_us))
    }
}

/// The sequence number of what was made then.
fn sequence(made_us: u64) -> String {
    format!("{made_us:025}")
}
