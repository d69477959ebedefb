//! The answer to a BatchGetItem: which item belongs to which key, and which keys were held back.
//!
//! Items come in any order and say nothing of the key that asked for them but by their own attributes, which a server may
//! spell anew. An item that answers no key, or a second one for a key, makes the answer unreadable: a key without an item
//! means that there is none, so nothing may be lost on the way.

use super::Found;
use super::charged::{Charged, Consumed};
use super::json::Malformed;
use super::unprocessed::{canonical, canonical_item, read};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    responses: Option<BTreeMap<String, Vec<Map<String, Value>>>>,
    unprocessed_keys: Option<BTreeMap<String, Unprocessed>>,
    consumed_capacity: Option<Vec<Consumed>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Unprocessed {
    keys: Vec<Value>,
}

/// Reads the answer for `keys` of one table.
pub(super) fn read_found(body: &[u8], keys: &[&[u8]]) -> Result<Found, Malformed> {
    let answer = read::<Answer>(body)?;
    let mut wanted = BTreeMap::new();
    let mut names = Vec::new();
    for (position, key) in keys.iter().enumerate() {
        let key: Value = serde_json::from_slice(key).map_err(|_| Malformed::new(position, "a key of the request"))?;
        if let Value::Object(attributes) = &key {
            names = attributes.keys().cloned().collect();
        }
        let key = canonical_item(key).ok_or(Malformed::new(position, "a key of the request"))?;
        wanted.insert(key.to_string(), position);
    }
    let mut found = Found { items: vec![None; keys.len()], ..Found::default() };
    for item in answer.responses.unwrap_or_default().into_values().flatten() {
        let position = key_of(&item, &names).and_then(|key| wanted.remove(&key));
        let position = position.ok_or(Malformed::new(0, "items of the keys asked for"))?;
        // numbers are strings in an item, so that a tree loses nothing
        found.items[position] = Some(Value::Object(item).to_string().into_bytes());
    }
    for key in answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|table| table.keys) {
        let position = canonical_item(key).and_then(|key| wanted.remove(&key.to_string()));
        found.unprocessed.push(position.ok_or(Malformed::new(0, "keys that were asked for"))?);
    }
    for consumed in answer.consumed_capacity.unwrap_or_default() {
        found.charged.units += Charged::from(consumed).total();
    }
    Ok(found)
}

/// The item's key in the one spelling of what it means.
fn key_of(item: &Map<String, Value>, names: &[String]) -> Option<String> {
    let attribute = |name: &String| Some((name.clone(), canonical(item.get(name)?.clone())?));
    let key: Map<String, Value> = names.iter().map(attribute).collect::<Option<_>>()?;
    Some(Value::Object(key).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&[u8]; 3] = [
        br#"{"k":{"S":"a"},"n":{"N":"1.0"}}"#,
        br#"{"k":{"S":"b"},"n":{"N":"20"}}"#,
        br#"{"n":{"N":"3"},"k":{"S":"c"}}"#,
    ];

    #[test]
    fn items_find_their_keys_however_they_are_spelled() {
        let body =
            br#"{"Responses":{"t":[{"n":{"N":"2e1"},"x":{"N":"1.10"},"k":{"S":"b"}},{"k":{"S":"a"},"n":{"N":"1"}}]},
            "UnprocessedKeys":{"t":{"Keys":[{"k":{"S":"c"},"n":{"N":"3"}}],"ConsistentRead":true}},
            "ConsumedCapacity":[{"TableName":"t","CapacityUnits":2.0}]}"#;
        let found = read_found(body, &KEYS).unwrap();
        let item = |position: usize| String::from_utf8(found.items[position].clone().unwrap()).unwrap();
        assert!(item(1).contains(r#""x":{"N":"1.10"}"#), "{}", item(1));
        assert!(item(0).contains(r#""k":{"S":"a"}"#));
        assert_eq!((&found.items[2], found.unprocessed.as_slice()), (&None, &[2][..]));
        assert_eq!(found.charged.units, 2.0);
    }

    #[test]
    fn an_answer_that_leaves_doubt_is_no_answer() {
        for responses in [
            r#"[{"k":{"S":"d"},"n":{"N":"1"}}]"#,
            r#"[{"k":{"S":"a"}}]"#,
            r#"[{"k":{"S":"a"},"n":{"N":"1"}},{"k":{"S":"a"},"n":{"N":"1.00"}}]"#,
        ] {
            assert!(
                read_found(format!(r#"{{"Responses":{{"t":{responses}}}}}"#).as_bytes(), &KEYS).is_err(),
                "{responses}"
            );
        }
        let strange = br#"{"UnprocessedKeys":{"t":{"Keys":[{"k":{"S":"d"},"n":{"N":"3"}}]}}}"#;
        assert!(read_found(strange, &KEYS).is_err());
    }
}
