//! The answers to writes: what they were charged, and which items of a batch were held back.
//!
//! Held-back writes come back as JSON, not as positions, and a server may spell them anew: attributes and members of sets
//! in another order, `1.0` as `1`. So they are found among those sent by what they mean. Where that fails the whole batch
//! counts as held back, for a write may be repeated and must never be dropped.

use super::Batched;
use super::charged::{Charged, Consumed};
use super::json::Malformed;
use super::request::Write;
use crate::model::number::Number;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

impl Charged {
    /// Reads one `ConsumedCapacity`.
    pub(super) fn parse(consumed: &[u8]) -> Result<Charged, Malformed> {
        read::<Consumed>(consumed).map(Charged::from)
    }
}

/// Reads the answer to a PutItem.
pub(super) fn read_put(body: &[u8]) -> Result<Charged, Malformed> {
    #[derive(Deserialize)]
    struct Put {
        #[serde(rename = "ConsumedCapacity")]
        consumed: Option<Consumed>,
    }
    Ok(read::<Put>(body)?.consumed.map(Charged::from).unwrap_or_default())
}

/// Reads the answer to a GetItem: the item as a JSON object, none where there is no such item.
pub(super) fn read_get(body: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    #[derive(Deserialize)]
    struct Get {
        #[serde(rename = "Item")]
        item: Option<Value>,
    }
    // numbers are strings in an item, so that a tree loses nothing
    Ok(read::<Get>(body)?.item.map(|item| item.to_string().into_bytes()))
}

/// Reads the answer to a BatchWriteItem into one table.
pub(super) fn read_batch(body: &[u8], writes: &[Write<'_>]) -> Result<Batched, Malformed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Batch {
        unprocessed_items: Option<BTreeMap<String, Vec<Value>>>,
        consumed_capacity: Option<Vec<Consumed>>,
    }
    let batch = read::<Batch>(body)?;
    let mut charged = Charged::default();
    for consumed in batch.consumed_capacity.unwrap_or_default() {
        let more = Charged::from(consumed);
        charged.units += more.units;
        charged.indexes.extend(more.indexes);
    }
    let held: Vec<Value> = batch.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
    Ok(Batched { unprocessed: positions(held, writes), charged })
}

/// Where the requests held back are among the items sent.
fn positions(held: Vec<Value>, writes: &[Write<'_>]) -> Vec<usize> {
    if held.is_empty() {
        return Vec::new();
    }
    let everything = || (0..writes.len()).collect();
    if held.len() >= writes.len() {
        return everything();
    }
    let canonical = |object: &[u8]| serde_json::from_slice(object).ok().and_then(canonical_item);
    let of = |write: &Write<'_>| match write {
        Write::Put(item) => Some((true, canonical(item)?)),
        Write::Delete(key) => Some((false, canonical(key)?)),
    };
    let sent: Option<Vec<(bool, Value)>> = writes.iter().map(of).collect();
    let found: Option<Vec<usize>> = sent.and_then(|sent| {
        let position = |request: Value| {
            let object = |path: &str| request.pointer(path).cloned().and_then(canonical_item);
            let put = object("/PutRequest/Item").map(|item| (true, item));
            let write = put.or_else(|| object("/DeleteRequest/Key").map(|key| (false, key)))?;
            sent.iter().position(|other| *other == write)
        };
        held.into_iter().map(position).collect()
    });
    let Some(mut found) = found else { return everything() };
    found.sort_unstable();
    found.dedup();
    found
}

/// An item in the one spelling of what it means.
pub(super) fn canonical_item(item: Value) -> Option<Value> {
    let Value::Object(attributes) = item else { return None };
    attributes
        .into_iter()
        .map(|(name, value)| Some((name, canonical(value)?)))
        .collect::<Option<_>>()
        .map(Value::Object)
}

pub(super) fn canonical(attribute: Value) -> Option<Value> {
    let Value::Object(object) = attribute else { return None };
    let (kind, inner) = object.into_iter().next()?;
    let inner = match (kind.as_str(), inner) {
        ("N", Value::String(text)) => Value::from(number(&text)),
        ("NS", Value::Array(members)) => set(members.iter().filter_map(Value::as_str).map(number).collect()),
        ("SS" | "BS", Value::Array(members)) => {
            set(members.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        ("L", Value::Array(members)) => Value::Array(members.into_iter().map(canonical).collect::<Option<_>>()?),
        ("M", map) => canonical_item(map)?,
        (_, other) => other,
    };
    Some(Value::Object([(kind, inner)].into_iter().collect()))
}

fn set(mut members: Vec<String>) -> Value {
    members.sort_unstable();
    Value::from(members)
}

fn number(text: &str) -> String {
    let Ok(number) = Number::parse(text) else { return text.to_owned() };
    let mut plain = Vec::new();
    number.write_plain(&mut plain);
    String::from_utf8_lossy(&plain).into_owned()
}

pub(super) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(json).map_err(|error| Malformed::new(error.column(), "what DynamoDB answers to this call"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITES: [Write<'_>; 4] = [
        Write::Put(br#"{"k":{"S":"a"},"n":{"N":"1.0"},"s":{"NS":["1","2e1"]}}"#),
        Write::Put(br#"{"k":{"S":"b"},"m":{"M":{"x":{"L":[{"N":"10"}]},"y":{"SS":["p","q"]}}}}"#),
        Write::Put(br#"{"k":{"S":"c"}}"#),
        Write::Delete(br#"{"k":{"N":"4.0"}}"#),
    ];

    fn held(unprocessed: &str) -> Vec<usize> {
        let body = format!(r#"{{"UnprocessedItems":{unprocessed}}}"#);
        read_batch(body.as_bytes(), &WRITES).unwrap().unprocessed
    }

    #[test]
    fn items_held_back_are_found_however_they_are_spelled() {
        assert_eq!(held("{}"), [] as [usize; 0]);
        assert_eq!(held("null"), [] as [usize; 0]);
        assert_eq!(held(r#"{"t":[{"PutRequest":{"Item":{"k":{"S":"c"}}}}]}"#), [2]);
        let anew = r#"{"t":[
            {"PutRequest":{"Item":{"m":{"M":{"y":{"SS":["q","p"]},"x":{"L":[{"N":"1E1"}]}}},"k":{"S":"b"}}}},
            {"PutRequest":{"Item":{"s":{"NS":["20","1"]},"n":{"N":"1"},"k":{"S":"a"}}}}]}"#;
        assert_eq!(held(anew), [0, 1]);
        assert_eq!(held(r#"{"t":[{"DeleteRequest":{"Key":{"k":{"N":"4"}}}}]}"#), [3]);
    }

    #[test]
    fn an_item_that_is_not_recognised_holds_back_the_batch() {
        assert_eq!(held(r#"{"t":[{"PutRequest":{"Item":{"k":{"S":"d"}}}}]}"#), [0, 1, 2, 3]);
        // what was put is not what was deleted
        assert_eq!(held(r#"{"t":[{"DeleteRequest":{"Key":{"k":{"S":"c"}}}}]}"#), [0, 1, 2, 3]);
        assert!(read_batch(b"{", &WRITES).is_err());
        assert!(read_batch(br#"{"UnprocessedItems":[]}"#, &WRITES).is_err());
    }

    #[test]
    fn charges_of_a_batch_are_summed() {
        let body = br#"{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"t","CapacityUnits":5.0,
            "GlobalSecondaryIndexes":{"g":{"CapacityUnits":2.0}}}]}"#;
        let charged = read_batch(body, &WRITES).unwrap().charged;
        assert_eq!(charged, Charged { units: 3.0, indexes: vec![("g".into(), 2.0)] });
        assert_eq!(read_put(br#"{"ConsumedCapacity":{"CapacityUnits":1.0}}"#).unwrap().units, 1.0);
        assert_eq!(read_put(b"{}").unwrap(), Charged::default());
    }
}
