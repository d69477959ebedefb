//! Writes: their cost is reckoned before they are executed, item by item.

use super::answers::{Answer, Fault};
use super::faults::{Demand, Draw, Reason};
use super::{Call, State, forward};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use serde_json::{Value, json};

impl State {
    /// A put: admitted or not, then executed.
    pub(super) async fn put(&self, headers: &HeaderMap, call: Call, bytes: Bytes) -> Result<Answer, Fault> {
        match self.admitted_put(&call.body["Item"]) {
            Ok(()) => forward(self.upstream, headers, bytes).await,
            Err(reasons) => Ok(self.throttled(&reasons)),
        }
    }

    /// A batch: some items are held back, by chance or by capacity; when all of them are, the batch is throttled.
    pub(super) async fn batch(&self, draw: &Draw, headers: &HeaderMap, mut call: Call) -> Result<Answer, Fault> {
        let table = call.table().to_owned();
        let requests = call.body["RequestItems"][&table].as_array().cloned().unwrap_or_default();
        let (mut held, mut passed, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for (position, request) in requests.into_iter().enumerate() {
            let refused = self.admitted_put(&request["PutRequest"]["Item"]).err();
            if draw.holds(position) || refused.is_some() {
                reasons.extend(refused.into_iter().flatten());
                held.push(request);
            } else {
                passed.push(request);
            }
        }
        if passed.is_empty() {
            reasons.dedup();
            if reasons.is_empty() {
                reasons.push(Reason::any(draw.number, true, &table));
            }
            return Ok(self.throttled(&reasons));
        }
        call.body["RequestItems"][&table] = json!(passed);
        let answer = forward(self.upstream, headers, call.body.to_string().into()).await?;
        if held.is_empty() || !answer.is_success() {
            return Ok(answer);
        }
        for _ in &held {
            self.injected.add(|injected| &injected.held);
        }
        // in another order than they were sent, as the service has none
        held.reverse();
        let mut body = answer.json();
        body["UnprocessedItems"] = json!({ table: held });
        Ok(Answer::of_json(200, &body))
    }
}

/// What a put of `item` asks for, when nothing larger is there; `key` is its partition key, however it is written.
pub(super) fn demand(item: &Value, key: &str) -> Demand {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let place = (hash >> 11) as f64 / (1_u64 << 53) as f64;
    Demand { write: true, units: attributes_size(item).div_ceil(1024).max(1) as f64, place }
}

/// The size that is charged [developer guide, item sizes]: names, and values by their type.
fn attributes_size(item: &Value) -> usize {
    let attributes = item.as_object().into_iter().flatten();
    attributes.map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    let Some((kind, inner)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    let members = || inner.as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    let number = |value: &Value| value.as_str().map_or(0, |text| text.len().div_ceil(2) + 1);
    let binary = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).map_or(0, |bytes| bytes.len());
    match kind.as_str() {
        "S" => text(inner),
        "N" => number(inner),
        "B" => binary(inner),
        "SS" => members().map(text).sum(),
        "NS" => members().map(number).sum(),
        "BS" => members().map(binary).sum(),
        "L" => 3 + members().map(|member| 1 + value_size(member)).sum::<usize>(),
        "M" => 3 + attributes_size(inner) + inner.as_object().map_or(0, serde_json::Map::len),
        _ => 1,
    }
}
