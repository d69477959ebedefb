//! A server that speaks as much of DynamoDB as a scan needs: DescribeTable, and Scan from canned pages.
//!
//! Promises: an answer costs little more than its bytes' way through the kernel, so that the client is what is measured.
//! A page's number stands in the key that it ends with, so nothing is remembered between requests; answers carry the
//! CRC-32 that the service sends. Must not know: who asks.

use crate::pages::{Canned, can};
use http_body_util::{BodyExt, Full};
use hyper::body::{Buf, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::rc::Rc;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// Different pages, served in turn: more than a core's cache holds.
const CANNED: usize = 8;

struct Table {
    canned: Vec<Canned>,
    segments: u64,
    /// Pages of each segment.
    pages: u64,
}

/// Listens on a free port of loopback; prints its URL and what a whole scan reads: pages, items, bytes of bodies.
///
/// # Errors
/// When the pages cannot be made, or the port not be had.
pub(crate) async fn serve(segments: u64, pages: u64) -> io::Result<()> {
    let table = Rc::new(Table { canned: can(CANNED)?, segments, pages });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (items, bytes) = table.size();
    writeln!(io::stdout(), "http://{} {} {items} {bytes}", listener.local_addr()?, segments * pages)?;
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

async fn answer(table: Rc<Table>, request: Request<Incoming>) -> io::Result<Response<Full<impl Buf + 'static>>> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let call: Value = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    let scanned = if operation == "Scan" { table.scan(&call) } else { None };
    if let Some((canned, tail)) = scanned {
        let mut crc32 = canned.crc32.clone();
        crc32.update(tail.as_bytes());
        return whole(200, canned.head.clone(), tail, crc32);
    }
    let (status, body) = match operation {
        "DescribeTable" => (200, table.describe()),
        _ => (400, json!({"__type": "com.amazon.coral.validate#ValidationException", "message": "not served here"})),
    };
    let body = body.to_string();
    let mut crc32 = crc32fast::Hasher::new();
    crc32.update(body.as_bytes());
    whole(status, Bytes::new(), body, crc32)
}

fn whole(
    status: u16,
    head: Bytes,
    tail: String,
    crc32: crc32fast::Hasher,
) -> io::Result<Response<Full<impl Buf + 'static>>> {
    let answer = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    let answer = answer.header("x-amz-crc32", crc32.finalize().to_string());
    answer.body(Full::new(head.chain(Bytes::from(tail)))).map_err(io::Error::other)
}

impl Table {
    /// The page that `call` asks for; none when it asks for what is not here.
    fn scan(&self, call: &Value) -> Option<(&Canned, String)> {
        let segment = call["Segment"].as_u64()?;
        let page = match call.pointer("/ExclusiveStartKey/order_id/S") {
            Some(key) => u64::from_str_radix(key.as_str()?, 16).ok()?,
            None => 0,
        };
        if call["TotalSegments"] != self.segments || segment >= self.segments || page >= self.pages {
            return None;
        }
        let canned = self.page(segment, page);
        let key = |next| format!(r#"{{"customer_id":{{"S":"cust-00000000"}},"order_id":{{"S":"{next:032x}"}}}}"#);
        let next = (page + 1 < self.pages).then(|| key(page + 1));
        Some((canned, canned.tail(next.as_deref())))
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the number of canned pages")]
    fn page(&self, segment: u64, page: u64) -> &Canned {
        &self.canned[((segment * self.pages + page) % self.canned.len() as u64) as usize]
    }

    /// Items and bytes of the whole table.
    fn size(&self) -> (u64, u64) {
        let all = (0..self.segments).flat_map(|segment| (0..self.pages).map(move |page| (segment, page)));
        all.fold((0, 0), |(items, bytes), (segment, page)| {
            let canned = self.page(segment, page);
            (items + canned.items, bytes + canned.head.len() as u64)
        })
    }

    fn describe(&self) -> Value {
        let (items, bytes) = self.size();
        json!({"Table": {
            "TableName": "orders",
            "TableStatus": "ACTIVE",
            "TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/orders",
            "TableId": "00000000-0000-4000-8000-000000000005",
            "TableSizeBytes": bytes,
            "ItemCount": items,
            "CreationDateTime": 1_700_000_000,
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
            "AttributeDefinitions": [
                {"AttributeName": "customer_id", "AttributeType": "S"},
                {"AttributeName": "order_id", "AttributeType": "S"},
            ],
            "KeySchema": [
                {"AttributeName": "customer_id", "KeyType": "HASH"},
                {"AttributeName": "order_id", "KeyType": "RANGE"},
            ],
        }})
    }
}
