//! The streams of DynamoDB tables: describe one, find a place in a shard, read records from there.
//!
//! Promises: a call is one request, never repeated here; a record's images are the server's bytes; an answer that was
//! damaged on its way is none. Must not know: in which order shards are read, how often, and what a change does.
//!
//! The service has its own client, but the protocol, the errors and the signature of DynamoDB: the parts are those of
//! [`dynamodb`](super::dynamodb).

pub mod body;
mod refusal;

pub use body::{Change, EventName};
pub use refusal::{StreamRefusal, StreamRefusalKind};

use super::dynamodb::raw::{Answer, RawCall};
use super::dynamodb::refusal::Asked;
use super::dynamodb::request::quoted;
use super::dynamodb::{Endpoint, Patience, load};
use crate::error::Result;
use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::StalledStreamProtectionConfig;
use aws_sdk_dynamodbstreams::config::retry::RetryConfig;
use aws_sdk_dynamodbstreams::config::timeout::TimeoutConfig;
use aws_sdk_dynamodbstreams::operation::describe_stream::DescribeStreamOutput;
use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsOutput;
use aws_sdk_dynamodbstreams::operation::get_shard_iterator::GetShardIteratorOutput;
use aws_smithy_runtime_api::client::interceptors::context::Output;
use body::{cut_records, read_iterator, read_stream};

/// Records asked for at once: the most that the service gives.
pub const RECORDS_MAX: u32 = 1000;

/// The service, reached with one set of credentials. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Streams {
    client: Client,
    /// The region or endpoint, as sentences name it.
    place: String,
}

/// A page of a stream's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPage {
    /// `ENABLED`, `ENABLING`, `DISABLING` or `DISABLED`.
    pub status: String,
    /// What it shows of a change: `NEW_AND_OLD_IMAGES`, say.
    pub view: String,
    /// When it was switched on, in seconds since 1970; none where a server does not tell.
    pub created: Option<u64>,
    /// Some of its shards.
    pub shards: Vec<ShardDescription>,
    /// After which shard the next page begins; none on the last.
    pub next: Option<String>,
}

/// A shard, as the service describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardDescription {
    /// Its id.
    pub id: String,
    /// The shard that it continues, which may be forgotten by now.
    pub parent: Option<String>,
    /// The first sequence number that it may hold; none where a server does not tell.
    pub start: Option<String>,
}

/// Where in a shard to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// With the oldest record that is still there.
    Horizon,
    /// With this sequence number.
    At(&'a str),
    /// After this sequence number.
    After(&'a str),
}

/// An answer to GetRecords.
#[derive(Debug, Default)]
pub struct Records {
    /// A line for each record: `{"Keys":…,"NewImage":…,"SequenceNumber":"…"}`, the image where the record has one.
    pub lines: Vec<u8>,
    /// What else is known of each record, in the order of the lines.
    pub changes: Vec<Change>,
    /// The iterator for what comes after; none at the end of a shard that is closed, and only there.
    pub next: Option<String>,
}

impl Streams {
    /// The service with the region and the credentials of the usual AWS chain.
    ///
    /// # Errors
    /// `Config` when the chain gives no region or no credentials.
    pub async fn connect(endpoint: &Endpoint) -> Result<Streams> {
        Ok(Streams::with_config(&load(endpoint).await?, Patience::default()))
    }

    /// The service with a configuration made elsewhere.
    #[must_use]
    pub fn with_config(shared: &SdkConfig, patience: Patience) -> Streams {
        let region = shared.region().cloned().unwrap_or(Region::from_static("us-east-1"));
        let place = shared.endpoint_url().map_or_else(|| region.to_string(), str::to_owned);
        let timeouts =
            TimeoutConfig::builder().connect_timeout(patience.connect).operation_attempt_timeout(patience.attempt);
        let config = aws_sdk_dynamodbstreams::config::Builder::from(shared)
            .region(region)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts.build());
        Streams { client: Client::from_conf(config.build()), place }
    }

    /// A page of the stream's shards: those after `after`.
    ///
    /// # Errors
    /// A refusal.
    pub async fn describe(&self, arn: &str, after: Option<&str>) -> Result<StreamPage, StreamRefusal> {
        let asked = self.asked("DescribeStream", arn);
        let after = after.map_or_else(String::new, |id| format!(r#","ExclusiveStartShardId":{}"#, quoted(id)));
        let body = format!(r#"{{"StreamArn":{}{after}}}"#, quoted(arn));
        let answer = Answer::default();
        let call = RawCall::new(body.into_bytes(), &answer, || Output::erase(DescribeStreamOutput::builder().build()));
        let sent = self.client.describe_stream().stream_arn(arn).customize().interceptor(call).send().await;
        sent.map_err(|error| refusal::classify(asked, error))?;
        read_stream(answer.bytes()).map_err(|malformed| asked.not_understood(malformed).into())
    }

    /// An iterator: a place in a shard that can be read from, for 15 minutes.
    ///
    /// # Errors
    /// A refusal; `Trimmed` when what comes there is no longer kept.
    pub async fn iterator(&self, arn: &str, shard: &str, place: Place<'_>) -> Result<String, StreamRefusal> {
        let asked = self.asked("GetShardIterator", arn);
        let (kind, number) = match place {
            Place::Horizon => ("TRIM_HORIZON", None),
            Place::At(number) => ("AT_SEQUENCE_NUMBER", Some(number)),
            Place::After(number) => ("AFTER_SEQUENCE_NUMBER", Some(number)),
        };
        let number = number.map_or_else(String::new, |number| format!(r#","SequenceNumber":{}"#, quoted(number)));
        let body = format!(
            r#"{{"StreamArn":{},"ShardId":{},"ShardIteratorType":"{kind}"{number}}}"#,
            quoted(arn),
            quoted(shard)
        );
        let answer = Answer::default();
        let call =
            RawCall::new(body.into_bytes(), &answer, || Output::erase(GetShardIteratorOutput::builder().build()));
        let sent = self.client.get_shard_iterator().stream_arn(arn).customize().interceptor(call).send().await;
        sent.map_err(|error| refusal::classify(asked, error))?;
        read_iterator(answer.bytes()).map_err(|malformed| asked.not_understood(malformed).into())
    }

    /// The records at an iterator of the stream: at most 1000, and 1 MB. None is an ordinary answer.
    ///
    /// # Errors
    /// A refusal; an answer that is not whole is `Unknown`.
    pub async fn records(&self, arn: &str, iterator: &str) -> Result<Records, StreamRefusal> {
        let asked = self.asked("GetRecords", arn);
        let body = format!(r#"{{"ShardIterator":{},"Limit":{RECORDS_MAX}}}"#, quoted(iterator));
        let answer = Answer::default();
        let call = RawCall::new(body.into_bytes(), &answer, || Output::erase(GetRecordsOutput::builder().build()));
        let sent = self.client.get_records().shard_iterator(iterator).customize().interceptor(call).send().await;
        sent.map_err(|error| refusal::classify(asked, error))?;
        cut_records(answer.bytes()).map_err(|malformed| asked.not_understood(malformed).into())
    }

    fn asked<'a>(&'a self, call: &'static str, arn: &'a str) -> Asked<'a> {
        let table = arn.split_once(":table/").map_or(arn, |(_, name)| name);
        Asked { call, table, place: &self.place, writes: false }
    }
}
