//! In front of a DynamoDB server whose tables nobody writes to: what was asked before is answered from memory.
//!
//! The server's scans cost more than the engine's whole run. The answers are the server's own, byte for byte, so a table that
//! is read a hundred times is read as a hundred scans of the server would read it. Must not know: the engine.

use super::answers::Fault;
use super::forward;
use crate::support::http::HttpServer;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// An operation, and what it was asked with.
type Question = (Bytes, Bytes);

type Known = Arc<Mutex<HashMap<Question, Response<Full<Bytes>>>>>;

/// The server at `upstream`, remembered.
pub(crate) fn remembered(upstream: SocketAddr) -> HttpServer {
    let known = Known::default();
    HttpServer::start(service_fn(move |request| answer(upstream, Arc::clone(&known), request)))
}

async fn answer(
    upstream: SocketAddr,
    known: Known,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Fault> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Fault::Cut)?.to_bytes();
    let operation = head.headers.get("x-amz-target").map(|value| Bytes::copy_from_slice(value.as_bytes()));
    let question = (operation.unwrap_or_default(), body.clone());
    if let Some(answer) = known.lock().unwrap().get(&question) {
        return Ok(answer.clone());
    }
    let answer = forward(upstream, &head.headers, body).await?.into_response();
    if answer.status() == StatusCode::OK {
        known.lock().unwrap().insert(question, answer.clone());
    }
    Ok(answer)
}
