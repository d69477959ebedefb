//! The store that is moved out of: one DynamoDB table, read and written item by item.
//!
//! Promises: a call is one request, which nobody repeats, and ends within the time that an answer is waited for; every read is
//! strongly consistent. Must not know: in which order the stores are written, and when to try again.

use super::stores::{Item, Items, Key, When, Written};
use crate::driver::dynamodb::conditional::Condition;
use crate::driver::dynamodb::{DynamoDb, Refusal, RefusalKind};
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::{KeyAttribute, parse_key};
use serde_json::Value;
use std::future::Future;
use std::time::Duration;

/// The items of a table.
#[derive(Clone, Debug)]
pub struct DynamoItems {
    service: DynamoDb,
    table: String,
    key: Vec<KeyAttribute>,
    request: Duration,
}

impl DynamoItems {
    /// Those of a table that is there; an answer is waited for as long as `request`.
    ///
    /// # Errors
    /// `Config` when there is none, or credentials do not suffice; `Transient` without an answer.
    pub async fn open(service: DynamoDb, table: &str, request: Duration) -> Result<DynamoItems> {
        let described = service.describe(table).await?;
        let key: Vec<String> = described.key.iter().map(|(name, ty)| format!("{name}:{ty}")).collect();
        Ok(DynamoItems { service, table: table.to_owned(), key: parse_key(&key.join(","))?, request })
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The table's key, the partition key first.
    #[must_use]
    pub fn key(&self) -> &[KeyAttribute] {
        &self.key
    }

    /// What the call answers, if it does in time.
    async fn within<T>(&self, call: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refused> {
        match tokio::time::timeout(self.request, call).await {
            Ok(answer) => answer.map_err(Refused::Answered),
            Err(_) => Err(Refused::Silent),
        }
    }

    fn error(&self, refused: Refused) -> Error {
        let (kind, message) = match refused {
            Refused::Silent => {
                let seconds = self.request.as_secs_f64();
                (ErrorKind::Transient, format!("table {}: no answer within {seconds} s", self.table))
            }
            Refused::Answered(refusal) => (kind(&refusal.kind), refusal.message),
        };
        Error::new(kind, message)
    }
}

/// Why a call did not do what it should.
enum Refused {
    Silent,
    Answered(Refusal),
}

/// What is known of a write that was refused: `Transient` and `Internal` say nothing, any other that it was not made.
fn kind(refusal: &RefusalKind) -> ErrorKind {
    match refusal {
        RefusalKind::Throttled(_) => ErrorKind::Blocked,
        RefusalKind::Unknown => ErrorKind::Transient,
        RefusalKind::Value => ErrorKind::Corrupt,
        RefusalKind::Denied => ErrorKind::Config,
        RefusalKind::ConditionFailed | RefusalKind::Other => ErrorKind::Internal,
    }
}

impl Items for DynamoItems {
    async fn read(&self, key: &Key) -> Result<Option<Item>> {
        let found = self.within(self.service.get(&self.table, key.text.as_bytes())).await;
        let Some(found) = found.map_err(|refused| self.error(refused))? else { return Ok(None) };
        let item = serde_json::from_slice(&found);
        item.map(Some)
            .map_err(|error| Error::internal(format!("table {}: an item is no JSON", self.table)).because(error))
    }

    async fn write(&self, key: &Key, image: Option<&Item>, when: &When) -> Result<Written> {
        let partition_key = self.key.first().map_or("", |attribute| attribute.name.as_str());
        let condition = match when {
            When::Always => None,
            When::Absent => Some(Condition::Absent(partition_key)),
            When::Present => Some(Condition::Present(partition_key)),
            When::Has(name, value) => Some(Condition::Has(name, value)),
        };
        let sent = match image {
            Some(image) => {
                let item = Value::Object(image.clone());
                self.within(self.service.put_where(&self.table, &item, condition)).await
            }
            None => {
                let key = serde_json::from_str(&key.text)
                    .map_err(|error| Error::config(format!("table {}: a key is no JSON", self.table)).because(error))?;
                self.within(self.service.delete_where(&self.table, &key, condition)).await
            }
        };
        match sent {
            Ok(()) => Ok(Written::Done),
            Err(Refused::Answered(refusal)) if refusal.kind == RefusalKind::ConditionFailed => Ok(Written::Unmet),
            Err(refused) => Err(self.error(refused)),
        }
    }
}
