//! Answers as DynamoDB writes them: its errors, its headers, and damage to them.

use super::faults::Reason;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::fmt;

/// The connection is to be cut.
#[derive(Debug)]
pub(super) enum Fault {
    Cut,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Fault {}

/// What to do with a request before it is executed.
pub(super) enum Outcome {
    Pass,
    Answer(Answer),
    Silence,
}

/// A status and a body, with the CRC-32 that goes into the header.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    body: Vec<u8>,
    crc32: u32,
}

impl Answer {
    pub(super) fn new(status: u16, body: Vec<u8>) -> Answer {
        Answer { status, crc32: crc32fast::hash(&body), body }
    }

    pub(super) fn of_json(status: u16, body: &Value) -> Answer {
        Answer::new(status, body.to_string().into_bytes())
    }

    /// A throttle, by one of the three exceptions in turn.
    pub(super) fn throttled(number: u64, reasons: &[Reason]) -> Answer {
        let names = ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"];
        let reasons: Vec<Value> =
            reasons.iter().map(|reason| json!({"reason": reason.reason, "resource": reason.resource})).collect();
        let name = names[usize::try_from(number % 3).unwrap()];
        // the three do not agree on how they spell the member
        let member = if name == "ThrottlingException" { "throttlingReasons" } else { "ThrottlingReasons" };
        let mut body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "slow down"});
        body[member] = json!(reasons);
        Answer::of_json(400, &body)
    }

    /// A failure of the server's, in one of two spellings.
    pub(super) fn failure(number: u64) -> Answer {
        if number.is_multiple_of(2) {
            let name = "com.amazonaws.dynamodb.v20120810#InternalServerError";
            return Answer::of_json(500, &json!({"__type": name, "message": "Internal server error"}));
        }
        Answer::new(503, b"<html>Service Unavailable</html>".to_vec())
    }

    /// A page without items, that goes on after `key`.
    pub(super) fn empty_page(key: &Value) -> Answer {
        let capacity = json!({"TableName": "t", "CapacityUnits": 0.5});
        let page =
            json!({"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": key, "ConsumedCapacity": capacity});
        Answer::of_json(200, &page)
    }

    /// The body; null when it is no JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn is_success(&self) -> bool {
        self.status == 200
    }

    /// With one letter or digit of the body another, and the CRC-32 of what it should be.
    pub(super) fn damaged(mut self) -> Answer {
        let middle = self.body.len() / 2;
        if let Some(byte) = self.body.iter_mut().skip(middle).find(|byte| byte.is_ascii_alphanumeric()) {
            *byte = if *byte == b'1' { b'2' } else { b'1' };
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        Response::builder()
            .status(self.status)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-crc32", self.crc32.to_string())
            .body(Full::new(Bytes::from(self.body)))
            .expect("a sound response")
    }
}
