//! The bodies of writes that take place only where an item is still what was seen of it. Pure.
//!
//! A condition names attributes by placeholders: a name may be a reserved word, and hold any character. It compares by
//! value, as the table does: sets have no order, numbers are decimals.

use serde_json::{Map, Value, json};

/// Attributes that one condition or change may name. A request's expression may have 4 KB and 300 operators
/// [developer guide, ServiceQuotas].
pub const ATTRIBUTES_MAX: usize = 100;

/// What an item must be still. Each attribute is in DynamoDB's notation.
#[derive(Clone, Debug, Default)]
pub struct Expected<'a> {
    /// Attributes that it must have, with their values.
    pub has: Vec<(&'a str, &'a Value)>,
    /// Attributes that it must not have.
    pub lacks: Vec<&'a str>,
}

/// What becomes of an item's attributes; those that are not named stay as they are.
#[derive(Clone, Debug, Default)]
pub struct Change<'a> {
    /// Attributes with their new values.
    pub set: Vec<(&'a str, &'a Value)>,
    /// Attributes that go.
    pub remove: Vec<&'a str>,
}

/// What must hold of the item that is there, whole items being written or deleted.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// None is there; the name of the partition key.
    Absent(&'a str),
    /// One is; the name of the partition key.
    Present(&'a str),
    /// One is, and has this attribute with this value, in DynamoDB's notation.
    Has(&'a str, &'a Value),
}

/// An expression that grows, with what its placeholders stand for.
#[derive(Default)]
struct Placeholders {
    names: Map<String, Value>,
    values: Map<String, Value>,
}

impl Placeholders {
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{}", self.names.len());
        self.names.insert(placeholder.clone(), Value::from(name));
        placeholder
    }

    fn value(&mut self, value: &Value) -> String {
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value.clone());
        placeholder
    }

    /// The condition that the item with the partition key `key` is there, and what is expected.
    fn condition(&mut self, key: &str, expected: &Expected<'_>) -> String {
        let mut terms = vec![format!("attribute_exists({})", self.name(key))];
        for (name, value) in &expected.has {
            terms.push(format!("{}={}", self.name(name), self.value(value)));
        }
        for name in &expected.lacks {
            terms.push(format!("attribute_not_exists({})", self.name(name)));
        }
        terms.join(" AND ")
    }

    /// The request's body, with the members that every conditional write has.
    fn body(self, table: &str, key: &Value, mut body: Map<String, Value>) -> Vec<u8> {
        body.insert("TableName".into(), Value::from(table));
        body.insert("Key".into(), key.clone());
        body.insert("ReturnConsumedCapacity".into(), Value::from("INDEXES"));
        body.insert("ExpressionAttributeNames".into(), Value::Object(self.names));
        if !self.values.is_empty() {
            body.insert("ExpressionAttributeValues".into(), Value::Object(self.values));
        }
        Value::Object(body).to_string().into_bytes()
    }
}

/// The body of an UpdateItem.
pub(super) fn update(
    table: &str,
    (partition_key, key): (&str, &Value),
    change: &Change<'_>,
    expected: &Expected<'_>,
) -> Vec<u8> {
    let mut placeholders = Placeholders::default();
    let mut clauses = Vec::new();
    if !change.set.is_empty() {
        let set = change.set.iter().map(|(name, value)| {
            let name = placeholders.name(name);
            format!("{name}={}", placeholders.value(value))
        });
        clauses.push(format!("SET {}", set.collect::<Vec<_>>().join(",")));
    }
    if !change.remove.is_empty() {
        let remove: Vec<String> = change.remove.iter().map(|name| placeholders.name(name)).collect();
        clauses.push(format!("REMOVE {}", remove.join(",")));
    }
    let condition = placeholders.condition(partition_key, expected);
    let body = json!({"UpdateExpression": clauses.join(" "), "ConditionExpression": condition});
    let Value::Object(body) = body else { return Vec::new() };
    placeholders.body(table, key, body)
}

/// The body of a DeleteItem.
pub(super) fn delete(table: &str, (partition_key, key): (&str, &Value), expected: &Expected<'_>) -> Vec<u8> {
    let mut placeholders = Placeholders::default();
    let condition = placeholders.condition(partition_key, expected);
    let body = [("ConditionExpression".to_owned(), Value::from(condition))];
    placeholders.body(table, key, body.into_iter().collect())
}

/// The body of a PutItem or a DeleteItem: `whole` is its `Item` or its `Key`, with that name.
pub(super) fn whole(table: &str, (member, object): (&str, &Value), condition: Option<Condition<'_>>) -> Vec<u8> {
    let mut placeholders = Placeholders::default();
    let condition = condition.map(|condition| match condition {
        Condition::Absent(key) => format!("attribute_not_exists({})", placeholders.name(key)),
        Condition::Present(key) => format!("attribute_exists({})", placeholders.name(key)),
        Condition::Has(name, value) => format!("{}={}", placeholders.name(name), placeholders.value(value)),
    });
    let mut body = Map::new();
    body.insert("TableName".into(), Value::from(table));
    body.insert(member.into(), object.clone());
    if let Some(condition) = condition {
        body.insert("ConditionExpression".into(), Value::from(condition));
        body.insert("ExpressionAttributeNames".into(), Value::Object(placeholders.names));
    }
    if !placeholders.values.is_empty() {
        body.insert("ExpressionAttributeValues".into(), Value::Object(placeholders.values));
    }
    Value::Object(body).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn names_and_values_stand_outside_the_expressions() {
        let (old, new, key) = (json!({"N": "1"}), json!({"SS": ["a\"", "b"]}), json!({"pk": {"S": "k"}}));
        let change = Change { set: vec![("a.b", &new)], remove: vec!["size"] };
        let expected = Expected { has: vec![("a.b", &old)], lacks: vec!["new"] };
        let body = parsed(&update("t", ("pk", &key), &change, &expected));
        assert_eq!(body["UpdateExpression"], "SET #0=:0 REMOVE #1");
        let condition = "attribute_exists(#2) AND #3=:1 AND attribute_not_exists(#4)";
        assert_eq!(body["ConditionExpression"], condition);
        let names = json!({"#0": "a.b", "#1": "size", "#2": "pk", "#3": "a.b", "#4": "new"});
        assert_eq!(body["ExpressionAttributeNames"], names);
        assert_eq!(body["ExpressionAttributeValues"], json!({":0": new, ":1": old}));
        assert_eq!((&body["Key"], &body["TableName"]), (&key, &json!("t")));
    }

    #[test]
    fn a_delete_of_nothing_but_a_key_has_no_values() {
        let key = json!({"pk": {"S": "k"}});
        let body = parsed(&delete("t", ("pk", &key), &Expected::default()));
        assert_eq!(body["ConditionExpression"], "attribute_exists(#0)");
        assert!(body.get("ExpressionAttributeValues").is_none());
    }

    #[test]
    fn a_whole_item_is_written_on_no_condition_or_on_one() {
        let (item, one) = (json!({"pk": {"S": "k"}}), json!({"N": "1"}));
        let bare = parsed(&whole("t", ("Item", &item), None));
        assert_eq!(bare, json!({"TableName": "t", "Item": item}));
        let has = parsed(&whole("t", ("Key", &item), Some(Condition::Has("size", &one))));
        assert_eq!((&has["Key"], &has["ConditionExpression"]), (&item, &json!("#0=:0")));
        assert_eq!(has["ExpressionAttributeNames"], json!({"#0": "size"}));
        assert_eq!(has["ExpressionAttributeValues"], json!({":0": one}));
        let absent = parsed(&whole("t", ("Item", &item), Some(Condition::Absent("pk"))));
        assert_eq!(absent["ConditionExpression"], "attribute_not_exists(#0)");
        assert!(absent.get("ExpressionAttributeValues").is_none());
    }

    #[test]
    fn as_many_attributes_as_are_allowed_fit_into_an_expression() {
        let (value, key) = (json!({"S": "x"}), json!({"pk": {"S": "k"}}));
        let names: Vec<String> = (0..ATTRIBUTES_MAX).map(|name| format!("{name:0255}")).collect();
        let each: Vec<(&str, &Value)> = names.iter().map(|name| (name.as_str(), &value)).collect();
        let expected = Expected { has: each.clone(), lacks: Vec::new() };
        let body = parsed(&update("t", ("pk", &key), &Change { set: each, remove: Vec::new() }, &expected));
        for expression in ["UpdateExpression", "ConditionExpression"] {
            assert!(body[expression].as_str().unwrap().len() < 4096, "{expression}");
        }
    }
}
