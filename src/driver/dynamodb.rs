//! One DynamoDB service: describe a table, scan it page by page, put items, look them up.
//!
//! Promises: a data call is one request, never repeated here, so that every throttle reaches whoever paces the calls. An
//! item's bytes are the server's, or go to it, as they are. Must not know: how fast, how often again, and what items mean.
//!
//! The SDK gives region, credentials, signature, endpoint, connections, timeouts and errors; [`raw`] takes its place for
//! the bodies, [`body`] cuts answers, [`refusal`] says what an error means.

pub mod attributes;
pub mod body;
mod charged;
pub mod conditional;
mod control;
mod found;
pub mod json;
pub(in crate::driver) mod raw;
pub(in crate::driver) mod refusal;
pub(in crate::driver) mod request;
mod table;
mod unprocessed;

pub use charged::Charged;
pub use control::{Backups, ExportCall, ExportProgress, ExportState};
pub use refusal::{Refusal, RefusalKind};
pub use request::{ScanCall, Write};
pub use table::{IndexDescription, TableDescription};

use crate::error::{Error, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{ProvideCredentials, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemOutput;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use aws_smithy_runtime_api::client::interceptors::context::Output;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use body::cut_scan;
use conditional::{Change, Condition, Expected};
use json::Malformed;
use raw::{Answer, RawCall};
use refusal::Asked;
use serde_json::Value;
use std::time::Duration;

/// Which service: what is not said here is found by the usual AWS chain.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// A server that speaks DynamoDB's protocol, instead of AWS: a URL.
    pub url: Option<String>,
    /// The region.
    pub region: Option<String>,
}

/// How long to bear with the service.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection to come about: three lost SYNs.
    pub connect: Duration,
    /// For a request and all of its answer: the service itself gives up after about five seconds.
    pub attempt: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { connect: Duration::from_secs(7), attempt: Duration::from_secs(10) }
    }
}

/// A DynamoDB service, reached with one set of credentials. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct DynamoDb {
    /// For items: without retries.
    data: Client,
    /// For descriptions: with the SDK's standard retries.
    control: Client,
    /// The region or endpoint, as sentences name it.
    place: String,
}

/// A page of a scan.
#[derive(Debug, Default)]
pub struct Scanned {
    /// `{"Item":{…}}` and a newline for each item.
    pub lines: Vec<u8>,
    /// How many lines; none is an ordinary answer.
    pub items: u64,
    /// The position after the page, as raw JSON; none at the segment's end, and only there.
    pub next: Option<String>,
    /// Read units, as the server charged them.
    pub charged: Charged,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Batched {
    /// Positions of the writes that were held back: to be sent again. More than the server named, where its answer is not
    /// clear; a put or a delete may be repeated.
    pub unprocessed: Vec<usize>,
    /// Write units, as the server charged them.
    pub charged: Charged,
}

/// What became of a batch of keys.
#[derive(Debug, Default)]
pub struct Found {
    /// For each key: the item as a JSON object, as it is now; none where there is none, or where it was held back.
    pub items: Vec<Option<Vec<u8>>>,
    /// Positions of the keys that were held back: to be asked for again.
    pub unprocessed: Vec<usize>,
    /// Read units, as the server charged them.
    pub charged: Charged,
}

impl DynamoDb {
    /// The service with the region and the credentials of the usual AWS chain.
    ///
    /// # Errors
    /// `Config` when the chain gives no region or no credentials.
    pub async fn connect(endpoint: &Endpoint) -> Result<DynamoDb> {
        Ok(DynamoDb::with_config(&load(endpoint).await?, Patience::default()))
    }

    /// The service with a configuration made elsewhere.
    #[must_use]
    pub fn with_config(shared: &SdkConfig, patience: Patience) -> DynamoDb {
        // a server of one's own has one region, and rarely minds what it is called
        let region = shared.region().cloned().unwrap_or(Region::from_static("us-east-1"));
        let place = shared.endpoint_url().map_or_else(|| region.to_string(), str::to_owned);
        let timeouts = TimeoutConfig::builder().connect_timeout(patience.connect);
        let common = aws_sdk_dynamodb::config::Builder::from(shared).region(region);
        let control = common.clone().retry_config(RetryConfig::standard());
        // the attempt's timeout covers the answer's body, so nothing else need watch it
        let data = common
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts.clone().operation_attempt_timeout(patience.attempt).build());
        let control = control.timeout_config(timeouts.operation_attempt_timeout(patience.attempt).build());
        DynamoDb { data: Client::from_conf(data.build()), control: Client::from_conf(control.build()), place }
    }

    /// What the table is.
    ///
    /// # Errors
    /// `Config` when it does not exist, or credentials and permission do not suffice; `Transient` without an answer.
    pub async fn describe(&self, table: &str) -> Result<TableDescription> {
        let asked = Asked { call: "DescribeTable", table, place: &self.place, writes: false };
        let answer = self.control.describe_table().table_name(table).send().await;
        let answer = answer.map_err(|error| refusal::classify(asked, error).into_error())?;
        let described = answer.table().ok_or_else(|| {
            Error::internal(format!("{} describes no table: check that it speaks DynamoDB's protocol", self.place))
        })?;
        Ok(table::describe(described))
    }

    /// One page of one segment.
    ///
    /// # Errors
    /// A refusal; an answer that is not whole is `Unknown`.
    pub async fn scan(&self, scan: &ScanCall<'_>) -> Result<Scanned, Refusal> {
        let asked = Asked { call: "Scan", table: scan.table, place: &self.place, writes: false };
        let answer = Answer::default();
        let call = RawCall::new(request::scan(scan), &answer, || Output::erase(ScanOutput::builder().build()));
        let sent = self.data.scan().table_name(scan.table).customize().interceptor(call).send().await;
        succeeded(asked, sent)?;
        let body = answer.bytes();
        let cut = cut_scan(body).map_err(|malformed| asked.not_understood(malformed))?;
        let next = cut.next.map(|key| std::str::from_utf8(key).map(str::to_owned));
        Ok(Scanned {
            items: cut.items,
            next: next.transpose().map_err(|_| asked.not_understood(Malformed::new(0, "UTF-8")))?,
            charged: cut
                .consumed
                .map_or(Ok(Charged::default()), Charged::parse)
                .map_err(|at| asked.not_understood(at))?,
            lines: cut.lines,
        })
    }

    /// Puts one item, a JSON object in DynamoDB's notation. With `absent`, the name of the partition key, only where no
    /// item has its key.
    ///
    /// # Errors
    /// A refusal.
    pub async fn put(&self, table: &str, item: &[u8], absent: Option<&str>) -> Result<Charged, Refusal> {
        let asked = Asked { call: "PutItem", table, place: &self.place, writes: true };
        let answer = Answer::default();
        let body = request::put(table, item, absent);
        let call = RawCall::new(body, &answer, || Output::erase(PutItemOutput::builder().build()));
        let sent = self.data.put_item().table_name(table).customize().interceptor(call).send().await;
        succeeded(asked, sent)?;
        unprocessed::read_put(answer.bytes()).map_err(|malformed| asked.not_understood(malformed))
    }

    /// The item whose key is this JSON object in DynamoDB's notation, as it is now; none where there is none.
    ///
    /// # Errors
    /// A refusal.
    pub async fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let asked = Asked { call: "GetItem", table, place: &self.place, writes: false };
        let answer = Answer::default();
        let call = RawCall::new(request::get(table, key), &answer, || Output::erase(GetItemOutput::builder().build()));
        // the SDK wants a key before it asks the interceptor
        let any = AttributeValue::Null(true);
        let sent = self.data.get_item().table_name(table).key("k", any).customize().interceptor(call).send().await;
        succeeded(asked, sent)?;
        unprocessed::read_get(answer.bytes()).map_err(|malformed| asked.not_understood(malformed))
    }

    /// Changes some attributes of the item that has `key`, its key as a JSON object beside the name of the partition key,
    /// if it is there and still what is expected.
    ///
    /// # Errors
    /// A refusal; `ConditionFailed` when it is not.
    pub async fn update(
        &self,
        table: &str,
        key: (&str, &Value),
        change: &Change<'_>,
        expected: &Expected<'_>,
    ) -> Result<Charged, Refusal> {
        let asked = Asked { call: "UpdateItem", table, place: &self.place, writes: true };
        let answer = Answer::default();
        let body = conditional::update(table, key, change, expected);
        let call = RawCall::new(body, &answer, || Output::erase(UpdateItemOutput::builder().build()));
        // the SDK wants a key before it asks the interceptor
        let any = AttributeValue::Null(true);
        let sent = self.data.update_item().table_name(table).key("k", any).customize().interceptor(call).send().await;
        succeeded(asked, sent)?;
        unprocessed::read_put(answer.bytes()).map_err(|malformed| asked.not_understood(malformed))
    }

    /// Deletes the item that has `key`, given as for [`update`](DynamoDb::update), if it is there and still what is
    /// expected.
    ///
    /// # Errors
    /// A refusal; `ConditionFailed` when it is not.
    pub async fn delete(&self, table: &str, key: (&str, &Value), expected: &Expected<'_>) -> Result<Charged, Refusal> {
        let asked = Asked { call: "DeleteItem", table, place: &self.place, writes: true };
        let answer = Answer::default();
        let body = conditional::delete(table, key, expected);
        let call = RawCall::new(body, &answer, || Output::erase(DeleteItemOutput::builder().build()));
        // the SDK wants a key before it asks the interceptor
        let any = AttributeValue::Null(true);
        let sent = self.data.delete_item().table_name(table).key("k", any).customize().interceptor(call).send().await;
        succeeded(asked, sent)?;
        unprocessed::read_put(answer.bytes()).map_err(|malformed| asked.not_understood(malformed))
    }

    /// Puts a whole item, given as a JSON object in DynamoDB's notation; with a condition, only where it holds.
    ///
    /// # Errors
    /// A refusal; `ConditionFailed` when it does not.
    pub async fn put_where(&self, table: &str, item: &Value, condition: Option<Condition<'_>>) -> Result<(), Refusal> {
        let asked = Asked { call: "PutItem", table, place: &self.place, writes: true };
        let body = conditional::whole(table, ("Item", item), condition);
        let call = RawCall::new(body, &Answer::default(), || Output::erase(PutItemOutput::builder().build()));
        succeeded(asked, self.data.put_item().table_name(table).customize().interceptor(call).send().await)
    }

    /// Deletes the item of a key, given as a JSON object in DynamoDB's notation; with a condition, only where it holds.
    ///
    /// # Errors
    /// A refusal; `ConditionFailed` when it does not.
    pub async fn delete_where(
        &self,
        table: &str,
        key: &Value,
        condition: Option<Condition<'_>>,
    ) -> Result<(), Refusal> {
        let asked = Asked { call: "DeleteItem", table, place: &self.place, writes: true };
        let body = conditional::whole(table, ("Key", key), condition);
        let call = RawCall::new(body, &Answer::default(), || Output::erase(DeleteItemOutput::builder().build()));
        // the SDK wants a key before it asks the interceptor
        let any = AttributeValue::Null(true);
        let sent = self.data.delete_item().table_name(table).key("k", any).customize().interceptor(call).send().await;
        succeeded(asked, sent)
    }

    /// The items of at most 100 keys, each a JSON object in DynamoDB's notation and no two the same, as they are now.
    ///
    /// # Errors
    /// A refusal of the whole batch.
    pub async fn batch_get(&self, table: &str, keys: &[&[u8]]) -> Result<Found, Refusal> {
        let asked = Asked { call: "BatchGetItem", table, place: &self.place, writes: false };
        let answer = Answer::default();
        let body = request::batch_get(table, keys);
        let call = RawCall::new(body, &answer, || Output::erase(BatchGetItemOutput::builder().build()));
        // the SDK wants keys before it asks the interceptor
        let any = KeysAndAttributes::builder().keys([("k".to_owned(), AttributeValue::Null(true))].into());
        let any = any.build().map_err(|_| asked.not_understood(Malformed::new(0, "a key")))?;
        let sent = self.data.batch_get_item().request_items(table, any).customize().interceptor(call).send().await;
        succeeded(asked, sent)?;
        found::read_found(answer.bytes(), keys).map_err(|malformed| asked.not_understood(malformed))
    }

    /// Puts and deletes at most 25 items of at most 16 MB, no two of one key, whatever is there.
    ///
    /// # Errors
    /// A refusal of the whole batch.
    pub async fn batch_write(&self, table: &str, writes: &[Write<'_>]) -> Result<Batched, Refusal> {
        let asked = Asked { call: "BatchWriteItem", table, place: &self.place, writes: true };
        let answer = Answer::default();
        let body = request::batch_write(table, writes);
        let call = RawCall::new(body, &answer, || Output::erase(BatchWriteItemOutput::builder().build()));
        let empty = self.data.batch_write_item().request_items(table, Vec::new());
        succeeded(asked, empty.customize().interceptor(call).send().await)?;
        unprocessed::read_batch(answer.bytes(), writes).map_err(|malformed| asked.not_understood(malformed))
    }
}

/// Region, credentials and endpoint of the usual AWS chain, proved to be there.
pub(in crate::driver) async fn load(endpoint: &Endpoint) -> Result<SdkConfig> {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
    if let Some(region) = &endpoint.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &endpoint.url {
        loader = loader.endpoint_url(url);
    }
    let shared = loader.load().await;
    let lacking = "no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in with `aws login`";
    let credentials = shared.credentials_provider().ok_or_else(|| Error::config(lacking))?;
    credentials.provide_credentials().await.map_err(|error| Error::config(lacking).because(error))?;
    if shared.region().is_none() && shared.endpoint_url().is_none() {
        return Err(Error::config("no AWS region: set --region or AWS_REGION to the table's region"));
    }
    Ok(shared)
}

/// Drops the empty output, and says what an error means.
fn succeeded<T, E>(asked: Asked<'_>, sent: Result<T, SdkError<E, HttpResponse>>) -> Result<(), Refusal>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    sent.map(drop).map_err(|error| refusal::classify(asked, error))
}
