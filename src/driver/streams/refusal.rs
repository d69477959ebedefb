//! What an answer of DynamoDB Streams other than a success means: the errors of a stream, and beside them those that every
//! call to DynamoDB can meet.

use crate::driver::dynamodb::refusal::{Asked, Refusal, RefusalKind};
use crate::error::{Error, ErrorKind};
use crate::limit::throttle::ThrottleReason;
use aws_sdk_dynamodbstreams::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// Why a request did not do what it should.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRefusal {
    /// What to do next.
    pub kind: StreamRefusalKind,
    /// One sentence with the next step.
    pub message: String,
    /// The server's error code, or a word of ours where no server answered.
    pub code: String,
}

/// What to do after a refusal.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamRefusalKind {
    /// The iterator is too old: a new one after the last record read goes on. Nothing is lost.
    Expired,
    /// What comes at this place is no longer kept: changes are lost.
    Trimmed,
    /// There is no such stream, or no such shard in it any more.
    NotFound,
    /// The place is none that the shard takes.
    Invalid,
    /// Slow down. Too many readers of a shard are a throttle as well.
    Throttled(Vec<ThrottleReason>),
    /// Timeout, lost connection, 5xx: ask again. Reading changes nothing.
    Unknown,
    /// Credentials, permission, region: somebody has to mend it.
    Denied,
    /// Anything else: stop.
    Other,
}

impl StreamRefusal {
    /// The engine's error: for who gives up on it.
    #[must_use]
    pub fn into_error(self) -> Error {
        let kind = match self.kind {
            StreamRefusalKind::Denied | StreamRefusalKind::NotFound => ErrorKind::Config,
            StreamRefusalKind::Throttled(_) | StreamRefusalKind::Unknown | StreamRefusalKind::Expired => {
                ErrorKind::Transient
            }
            StreamRefusalKind::Trimmed => ErrorKind::Corrupt,
            StreamRefusalKind::Invalid | StreamRefusalKind::Other => ErrorKind::Internal,
        };
        Error::new(kind, self.message)
    }
}

/// Sorts an error of the SDK.
pub(super) fn classify<E>(asked: Asked<'_>, error: SdkError<E, HttpResponse>) -> StreamRefusal
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let refusal = crate::driver::dynamodb::refusal::classify(asked, error);
    let Asked { call, table, place, .. } = asked;
    let own = |kind, message: String| StreamRefusal { kind, message, code: refusal.code.clone() };
    match refusal.code.as_str() {
        "ExpiredIteratorException" => {
            own(StreamRefusalKind::Expired, format!("{call} on table {table}: its iterator has expired"))
        }
        "TrimmedDataAccessException" => own(
            StreamRefusalKind::Trimmed,
            format!("{call} on table {table}: the records there are older than the stream keeps them"),
        ),
        "ResourceNotFoundException" => own(
            StreamRefusalKind::NotFound,
            format!("there is no stream of table {table} in {place}, or not that shard of it any more"),
        ),
        "LimitExceededException" => own(
            StreamRefusalKind::Throttled(vec![ThrottleReason::unstated(false)]),
            format!("{call} on table {table} is asked for too often: more than two may read a shard"),
        ),
        "ValidationException" => own(StreamRefusalKind::Invalid, refusal.message),
        _ => refusal.into(),
    }
}

impl From<Refusal> for StreamRefusal {
    fn from(refusal: Refusal) -> StreamRefusal {
        let kind = match refusal.kind {
            RefusalKind::Throttled(reasons) => StreamRefusalKind::Throttled(reasons),
            RefusalKind::Unknown => StreamRefusalKind::Unknown,
            RefusalKind::Denied => StreamRefusalKind::Denied,
            RefusalKind::ConditionFailed | RefusalKind::Value | RefusalKind::Other => StreamRefusalKind::Other,
        };
        StreamRefusal { kind, message: refusal.message, code: refusal.code }
    }
}
