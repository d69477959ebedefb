//! A proxy in front of a DynamoDB server that does what the service does on a bad day: throttles with reasons, holds items
//! of a batch back, answers 5xx, never answers, executes a request and loses the answer, damages an answer, answers late,
//! and gives empty pages.
//!
//! Promises: which fault a request meets follows from the seed and the request's number alone. What it throttles by
//! capacity, an [`Admit`] decides: a model of a table's capacity, called under a lock, in the order of requests. Only
//! requests for items are touched; DescribeTable and its like pass. Must not know: the engine.

mod answers;
mod faults;
mod memory;
mod reads;
mod writes;

pub(crate) use faults::{Admit, Demand, Faults, Injected, Reason};
pub(crate) use memory::remembered;

use super::http::HttpServer;
use answers::{Answer, Fault, Outcome};
use faults::Draw;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpStream;

/// A proxy, until it is dropped.
pub(crate) struct DynamoProxy {
    server: HttpServer,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    faults: Mutex<Faults>,
    /// The partition key's name, and who decides.
    admit: Mutex<Option<(String, Admit)>>,
    injected: Injected,
    number: AtomicU64,
    began: Instant,
}

/// A request for items.
struct Call {
    operation: String,
    body: Value,
}

impl DynamoProxy {
    /// Stands in front of the server at `upstream`.
    pub(crate) fn start(upstream: SocketAddr, faults: Faults) -> DynamoProxy {
        let state = Arc::new(State {
            upstream,
            faults: Mutex::new(faults),
            admit: Mutex::new(None),
            injected: Injected::default(),
            number: AtomicU64::new(0),
            began: Instant::now(),
        });
        let shared = Arc::clone(&state);
        let server = HttpServer::start(service_fn(move |request| answer(Arc::clone(&shared), request)));
        DynamoProxy { server, state }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Other faults from now on.
    pub(crate) fn set(&self, faults: Faults) {
        *self.state.faults.lock().unwrap() = faults;
    }

    /// Lets a model of capacity decide who is throttled, from now on. Items are placed by the attribute `key`.
    pub(crate) fn admit_by(&self, key: &str, admit: Admit) {
        *self.state.admit.lock().unwrap() = Some((key.to_owned(), admit));
    }

    /// What it did so far.
    pub(crate) fn injected(&self) -> &Injected {
        &self.state.injected
    }
}

/// Answers one request, or fails, which cuts the connection.
async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Fault> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|_| Fault::Cut)?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    if !["Scan", "PutItem", "BatchWriteItem", "GetItem", "BatchGetItem"].contains(&operation.as_str()) {
        return Ok(forward(state.upstream, &head.headers, bytes).await?.into_response());
    }
    let number = state.number.fetch_add(1, Ordering::SeqCst);
    let draw = state.faults.lock().unwrap().draw(number);
    let call = Call { operation, body: serde_json::from_slice(&bytes).map_err(|_| Fault::Cut)? };
    state.late(&call).await;
    match state.before(&draw, &call) {
        Outcome::Answer(answer) => return Ok(answer.into_response()),
        Outcome::Silence => std::future::pending().await,
        Outcome::Pass => {}
    }
    let answer = match call.operation.as_str() {
        "BatchWriteItem" => state.batch(&draw, &head.headers, call).await?,
        "BatchGetItem" => state.batch_get(&draw, &head.headers, call).await?,
        "PutItem" => state.put(&head.headers, call, bytes).await?,
        _ => state.read(&head.headers, &call, bytes).await?,
    };
    if draw.lose {
        state.injected.add(|injected| &injected.lost);
        return Err(Fault::Cut);
    }
    let answer = if draw.damage {
        state.injected.add(|injected| &injected.damaged);
        answer.damaged()
    } else {
        answer
    };
    Ok(answer.into_response())
}

impl State {
    /// Waits as long as the call's segment is slow.
    async fn late(&self, call: &Call) {
        let wait = self.faults.lock().unwrap().slowness(call.body["Segment"].as_u64());
        if !wait.is_zero() {
            self.injected.add(|injected| &injected.slowed);
            tokio::time::sleep(wait).await;
        }
    }

    /// Faults that keep a request from being executed.
    fn before(&self, draw: &Draw, call: &Call) -> Outcome {
        if draw.silent {
            self.injected.add(|injected| &injected.silent);
            return Outcome::Silence;
        }
        if draw.fail || draw.fail_write && call.writes() {
            self.injected.add(|injected| &injected.failed);
            return Outcome::Answer(Answer::failure(draw.number));
        }
        if draw.throttle {
            self.injected.add(|injected| &injected.throttled);
            let reason = Reason::any(draw.number, call.writes(), call.table());
            return Outcome::Answer(Answer::throttled(draw.number, &[reason]));
        }
        match call.body.get("ExclusiveStartKey") {
            Some(key) if draw.empty && call.operation == "Scan" => {
                self.injected.add(|injected| &injected.emptied);
                Outcome::Answer(Answer::empty_page(key))
            }
            _ => Outcome::Pass,
        }
    }

    /// A read: executed to know its cost, then admitted or not.
    async fn read(&self, headers: &HeaderMap, call: &Call, bytes: Bytes) -> Result<Answer, Fault> {
        let answer = forward(self.upstream, headers, bytes).await?;
        let units = answer.json().pointer("/ConsumedCapacity/CapacityUnits").and_then(Value::as_f64).unwrap_or(0.5);
        let of = call.body["TotalSegments"].as_f64().unwrap_or(1.0);
        let place = (call.body["Segment"].as_f64().unwrap_or(0.0) + 0.5) / of;
        Ok(match self.admitted(&Demand { write: false, units, place }) {
            Ok(()) => answer,
            Err(reasons) => self.throttled(&reasons),
        })
    }

    fn admitted(&self, demand: &Demand) -> Result<(), Vec<Reason>> {
        match self.admit.lock().unwrap().as_mut() {
            Some((_, admit)) => admit(self.began.elapsed(), demand),
            None => Ok(()),
        }
    }

    /// Whether a put of `item` is admitted.
    fn admitted_put(&self, item: &Value) -> Result<(), Vec<Reason>> {
        let key = self.admit.lock().unwrap().as_ref().map(|(key, _)| item[key].to_string());
        key.map_or(Ok(()), |key| self.admitted(&writes::demand(item, &key)))
    }

    fn throttled(&self, reasons: &[Reason]) -> Answer {
        let number = self.injected.add(|injected| &injected.throttled);
        Answer::throttled(number, reasons)
    }
}

impl Call {
    fn writes(&self) -> bool {
        ["PutItem", "BatchWriteItem"].contains(&self.operation.as_str())
    }

    /// The table's name.
    fn table(&self) -> &str {
        let of_batch = || self.body["RequestItems"].as_object()?.keys().next().map(String::as_str);
        self.body["TableName"].as_str().or_else(of_batch).unwrap_or_default()
    }
}

/// Has the server answer.
async fn forward(upstream: SocketAddr, headers: &HeaderMap, body: Bytes) -> Result<Answer, Fault> {
    let socket = TcpStream::connect(upstream).await.map_err(|_| Fault::Cut)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|_| Fault::Cut)?;
    let driven = tokio::spawn(connection);
    let mut request = Request::post("/").body(Full::new(body.clone())).map_err(|_| Fault::Cut)?;
    *request.headers_mut() = headers.clone();
    request.headers_mut().insert(HOST, upstream.to_string().parse().map_err(|_| Fault::Cut)?);
    request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    let response = sender.send_request(request).await.map_err(|_| Fault::Cut)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Fault::Cut)?.to_bytes();
    driven.abort();
    Ok(Answer::new(head.status.as_u16(), body.to_vec()))
}
