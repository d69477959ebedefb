//! An application's items, as its SDK has them, and as this program has them: JSON objects in DynamoDB's notation.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// An item as JSON; none when an attribute is of a type that the SDK did not know when this was built.
#[must_use]
pub fn to_json(item: &HashMap<String, AttributeValue>) -> Option<Map<String, Value>> {
    item.iter().map(|(name, value)| Some((name.clone(), json_of(value)?))).collect()
}

/// An item as the SDK has it; none when the JSON is not an item.
#[must_use]
pub fn from_json(item: &Map<String, Value>) -> Option<HashMap<String, AttributeValue>> {
    item.iter().map(|(name, value)| Some((name.clone(), value_of(value)?))).collect()
}

fn json_of(value: &AttributeValue) -> Option<Value> {
    let binary = |blob: &Blob| STANDARD.encode(blob.as_ref());
    Some(match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(text) => json!({ "N": text }),
        AttributeValue::B(blob) => json!({ "B": binary(blob) }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::Null(_) => json!({ "NULL": true }),
        AttributeValue::Ss(members) => json!({ "SS": members }),
        AttributeValue::Ns(members) => json!({ "NS": members }),
        AttributeValue::Bs(members) => json!({ "BS": members.iter().map(binary).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": to_json(map)? }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(json_of).collect::<Option<Vec<_>>>()? }),
        _ => return None,
    })
}

fn value_of(value: &Value) -> Option<AttributeValue> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let (tag, inner) = object.iter().next()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = |value: &Value| value.as_array()?.iter().map(text).collect::<Option<Vec<String>>>();
    let blob = |value: &Value| STANDARD.decode(value.as_str()?).ok().map(Blob::new);
    Some(match tag.as_str() {
        "S" => AttributeValue::S(text(inner)?),
        "N" => AttributeValue::N(text(inner)?),
        "B" => AttributeValue::B(blob(inner)?),
        "BOOL" => AttributeValue::Bool(inner.as_bool()?),
        "NULL" => AttributeValue::Null(true),
        "SS" => AttributeValue::Ss(texts(inner)?),
        "NS" => AttributeValue::Ns(texts(inner)?),
        "BS" => AttributeValue::Bs(inner.as_array()?.iter().map(blob).collect::<Option<_>>()?),
        "M" => AttributeValue::M(from_json(inner.as_object()?)?),
        "L" => AttributeValue::L(inner.as_array()?.iter().map(value_of).collect::<Option<_>>()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_every_type_comes_back_as_it_was() {
        let item = json!({"s": {"S": "é"}, "n": {"N": "1.50"}, "b": {"B": "AP8="}, "t": {"BOOL": false}, "o": {"NULL": true},
            "ss": {"SS": ["a"]}, "ns": {"NS": ["1"]}, "bs": {"BS": ["AA=="]}, "m": {"M": {"l": {"L": [{"S": ""}]}}}});
        let item = item.as_object().unwrap();
        assert_eq!(to_json(&from_json(item).unwrap()).unwrap(), *item);
        for wrong in [
            json!({"a": {"N": 1}}),
            json!({"a": {"S": "x", "N": "1"}}),
            json!({"a": {"B": "*"}}),
            json!({"a": {"X": 1}}),
        ] {
            assert!(from_json(wrong.as_object().unwrap()).is_none(), "{wrong}");
        }
    }
}
