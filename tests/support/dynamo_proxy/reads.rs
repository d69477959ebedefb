//! Batches of keys: some are held back, as the service does when an answer grows too large or a partition is busy.

use super::answers::{Answer, Fault};
use super::faults::{Draw, Reason};
use super::{Call, State, forward};
use hyper::header::HeaderMap;
use serde_json::json;

impl State {
    /// A batch of keys: when all of them are held back, it is throttled.
    pub(super) async fn batch_get(&self, draw: &Draw, headers: &HeaderMap, mut call: Call) -> Result<Answer, Fault> {
        let table = call.table().to_owned();
        let keys = call.body["RequestItems"][&table]["Keys"].as_array().cloned().unwrap_or_default();
        let (mut held, mut passed) = (Vec::new(), Vec::new());
        for (position, key) in keys.into_iter().enumerate() {
            if draw.holds(position) { held.push(key) } else { passed.push(key) }
        }
        if passed.is_empty() {
            return Ok(self.throttled(&[Reason::any(draw.number, false, &table)]));
        }
        call.body["RequestItems"][&table]["Keys"] = json!(passed);
        let answer = forward(self.upstream, headers, call.body.to_string().into()).await?;
        if held.is_empty() || !answer.is_success() {
            return Ok(answer);
        }
        for _ in &held {
            self.injected.add(|injected| &injected.held);
        }
        held.reverse();
        let mut body = answer.json();
        body["UnprocessedKeys"] = json!({ table: {"Keys": held, "ConsistentRead": true} });
        Ok(Answer::of_json(200, &body))
    }
}
