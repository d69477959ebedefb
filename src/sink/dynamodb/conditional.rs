//! Single items of a table, put, changed or deleted only where they are still what was seen of them; each request at the
//! table's pace.
//!
//! Promises: of an item only the attributes that are to change are written, and only if each of them is what it was; so
//! what an application writes meanwhile stays, or makes the condition fail. Must not know why an item is mended.

use super::pace::Pace;
use crate::driver::dynamodb::conditional::{ATTRIBUTES_MAX, Change, Expected};
use crate::driver::dynamodb::{Charged, DynamoDb, Refusal, RefusalKind};
use crate::driver::session::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::limit::limiter::{Ask, Outcome};
use crate::model::canonical::canonical;
use crate::model::decode::Decoder;
use crate::model::size::{item_bytes, write_units};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Keys anywhere in the table: to the limiter they are one lane.
const LANE: u32 = u32::MAX;

/// An item's attributes in DynamoDB's notation.
pub type Attributes = Map<String, Value>;

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It took place.
    Done,
    /// The item is not what it was: nothing was written.
    Changed,
    /// No answer came: it took place or not.
    Unknown,
    /// The table does not take the item, by this error.
    Refused(String),
}

/// Writes single items of one table.
pub struct Conditional {
    db: DynamoDb,
    table: String,
    /// The table's key attributes, the partition key first.
    key: Vec<String>,
    pace: Arc<Pace>,
}

impl Conditional {
    /// Of the table called `table`, whose key attributes are `key`.
    #[must_use]
    pub fn new(db: DynamoDb, table: &str, key: Vec<String>, pace: Arc<Pace>) -> Self {
        Conditional { db, table: table.to_owned(), key, pace }
    }

    /// Puts an item where none has its key.
    ///
    /// # Errors
    /// `Config` when it may not be written; of the table.
    pub async fn put_absent(&self, item: &[u8]) -> Result<Written> {
        let absent = self.key.first().map(String::as_str);
        self.write(units(item), || Box::pin(self.db.put(&self.table, item, absent))).await
    }

    /// Makes the item that was `from` into `to`, which has the same key: its attributes that differ are set or removed. Of
    /// very many, some at a time.
    ///
    /// # Errors
    /// As [`put_absent`](Conditional::put_absent).
    pub async fn change(&self, from: &Attributes, to: &Attributes) -> Result<Written> {
        let key = self.key_of(from)?;
        let names = differing(from, to);
        let names: Vec<&str> = names.into_iter().filter(|name| !self.key.iter().any(|key| key == name)).collect();
        // The larger of the two is what is charged.
        let units = units(&Value::Object(from.clone()).to_string().into_bytes())
            .max(units(&Value::Object(to.clone()).to_string().into_bytes()));
        for some in names.chunks(ATTRIBUTES_MAX) {
            let (mut change, mut expected) = (Change::default(), Expected::default());
            for name in some {
                match to.get(*name) {
                    Some(value) => change.set.push((name, value)),
                    None => change.remove.push(name),
                }
                match from.get(*name) {
                    Some(value) => expected.has.push((name, value)),
                    None => expected.lacks.push(name),
                }
            }
            let update = || -> BoxFuture<'_, _> {
                Box::pin(self.db.update(&self.table, (self.partition_key(), &key), &change, &expected))
            };
            match self.write(units, update).await? {
                Written::Done => {}
                other => return Ok(other),
            }
        }
        Ok(Written::Done)
    }

    /// Deletes the item that was `seen`. Of one with very many attributes the first of them are compared.
    ///
    /// # Errors
    /// As [`put_absent`](Conditional::put_absent).
    pub async fn delete(&self, seen: &Attributes) -> Result<Written> {
        let key = self.key_of(seen)?;
        let others = seen.iter().filter(|(name, _)| !self.key.contains(name));
        let has = others.map(|(name, value)| (name.as_str(), value)).take(ATTRIBUTES_MAX).collect();
        let expected = Expected { has, lacks: Vec::new() };
        let units = units(&Value::Object(seen.clone()).to_string().into_bytes());
        let delete =
            || -> BoxFuture<'_, _> { Box::pin(self.db.delete(&self.table, (self.partition_key(), &key), &expected)) };
        self.write(units, delete).await
    }

    fn partition_key(&self) -> &str {
        self.key.first().map_or("", String::as_str)
    }

    fn key_of(&self, item: &Attributes) -> Result<Value> {
        let attribute = |name: &String| item.get(name).map(|value| (name.clone(), value.clone()));
        let key: Option<Attributes> = self.key.iter().map(attribute).collect();
        key.map(Value::Object).ok_or_else(|| Error::internal("an item to be mended has no key"))
    }

    /// Sends until there is an answer that says something, or none at all. Throttles are waited out by the gate.
    async fn write<'s>(
        &'s self,
        units: f64,
        send: impl Fn() -> BoxFuture<'s, std::result::Result<Charged, Refusal>> + Send,
    ) -> Result<Written> {
        loop {
            self.pace.tend().await;
            let admission = self.pace.gate().admit(Ask { key: LANE, need: 0, estimate: units }).await;
            let refusal = match send().await {
                Ok(charged) => {
                    let (units, indexes) = (charged.total(), charged.indexes.as_slice());
                    admission.settle(Outcome::Written { units, indexes, unprocessed: false });
                    return Ok(Written::Done);
                }
                Err(refusal) => refusal,
            };
            match &refusal.kind {
                RefusalKind::Throttled(reasons) => admission.settle(Outcome::Throttled(reasons)),
                RefusalKind::Unknown => {
                    admission.settle(Outcome::Unknown);
                    return Ok(Written::Unknown);
                }
                RefusalKind::ConditionFailed => {
                    admission.settle(Outcome::Charged(units));
                    return Ok(Written::Changed);
                }
                RefusalKind::Value => {
                    admission.settle(Outcome::Charged(0.0));
                    return Ok(Written::Refused(format!("the table refuses the item: {}", refusal.message)));
                }
                RefusalKind::Denied | RefusalKind::Other => {
                    admission.settle(Outcome::Charged(0.0));
                    let kind =
                        if refusal.kind == RefusalKind::Denied { ErrorKind::Config } else { ErrorKind::Internal };
                    return Err(Error::new(kind, format!("mending table {}: {}", self.table, refusal.message)));
                }
            }
        }
    }
}

/// The names of attributes that differ by value, or that only one of two items has.
#[must_use]
pub fn differing<'a>(left: &'a Attributes, right: &'a Attributes) -> Vec<&'a str> {
    let mut decoder = Decoder::default();
    let mut spelled = |value: &Value| canonical(&mut decoder, json!({"v": value}).to_string().as_bytes());
    let mut differ = |name: &&String| match (left.get(*name), right.get(*name)) {
        (Some(left), Some(right)) => left != right && spelled(left) != spelled(right),
        _ => true,
    };
    let only_right = right.keys().filter(|name| !left.contains_key(*name));
    left.keys().chain(only_right).filter(|name| differ(name)).map(String::as_str).collect()
}

#[expect(clippy::cast_precision_loss, reason = "an item has at most 400 units")]
fn units(item: &[u8]) -> f64 {
    write_units(item_bytes(item)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_differ_by_value_and_not_by_spelling() {
        let item = |text: &str| serde_json::from_str::<Attributes>(text).unwrap();
        let left = item(
            r#"{"k":{"S":"1"},"n":{"N":"1.50"},"s":{"NS":["1","20"]},"m":{"M":{"a":{"N":"1"},"b":{"NULL":true}}},
            "gone":{"S":""},"list":{"L":[{"N":"1"},{"N":"2"}]},"big":{"N":"12345678901234567890123456789012345678"}}"#,
        );
        let right = item(
            r#"{"k":{"S":"1"},"n":{"N":"15e-1"},"s":{"NS":["2e1","1.0"]},"m":{"M":{"b":{"NULL":true},"a":{"N":"1.0"}}},
            "new":{"BOOL":false},"list":{"L":[{"N":"2"},{"N":"1"}]},"big":{"N":"12345678901234567890123456789012345679"}}"#,
        );
        let mut names = differing(&left, &right);
        names.sort_unstable();
        assert_eq!(names, ["big", "gone", "list", "new"]);
        assert!(differing(&left, &left).is_empty());
    }
}
