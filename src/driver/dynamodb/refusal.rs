//! What an answer of DynamoDB other than a success, or the lack of an answer, means: once, for every caller.
//!
//! Promises: no item's value in a message. The server's own words are passed on only where they cannot hold one.

use super::json::Malformed;
use crate::error::{Error, ErrorKind};
use crate::limit::throttle::{ThrottleReason, What};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde::Deserialize;

/// Why a request did not do what it should.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What to do next.
    pub kind: RefusalKind,
    /// One sentence with the next step; never an item's value.
    pub message: String,
    /// The server's error code, or a word of ours where no server answered.
    pub code: String,
}

/// What to do after a refusal.
#[derive(Clone, Debug, PartialEq)]
pub enum RefusalKind {
    /// Slow down. At least one reason; nothing happened.
    Throttled(Vec<ThrottleReason>),
    /// The condition of a write does not hold: of a put, an item with this key is there. It was charged, but no answer says how much.
    ConditionFailed,
    /// Timeout, lost connection, 5xx: it may have happened, or not.
    Unknown,
    /// One of the listed errors that condemn an item.
    Value,
    /// Credentials, permission, region, table: somebody has to mend it.
    Denied,
    /// Anything else: stop.
    Other,
}

/// What was asked, as sentences need it.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Asked<'a> {
    /// The API's name of the call, which is also the permission's: `Scan`.
    pub(in crate::driver) call: &'static str,
    /// The table.
    pub(in crate::driver) table: &'a str,
    /// Where it was looked for: a region, or an endpoint.
    pub(in crate::driver) place: &'a str,
    /// Whether the request carried items.
    pub(in crate::driver) writes: bool,
}

impl Asked<'_> {
    /// A successful answer that cannot be read: what was asked may have happened.
    pub(in crate::driver) fn not_understood(self, malformed: Malformed) -> Refusal {
        let message = format!(
            "{} answers {} with what cannot be read ({malformed}): check that it speaks DynamoDB's protocol",
            self.place, self.call
        );
        Refusal::new(RefusalKind::Unknown, "answer not understood", message)
    }
}

/// An answer that is no success.
#[derive(Debug, Default)]
struct Reply {
    status: u16,
    code: String,
    message: String,
    reasons: Vec<ThrottleReason>,
}

impl Refusal {
    pub(super) fn new(kind: RefusalKind, code: impl Into<String>, message: impl Into<String>) -> Refusal {
        Refusal { kind, code: code.into(), message: message.into() }
    }

    /// The engine's error: for who gives up on it.
    #[must_use]
    pub fn into_error(self) -> Error {
        let kind = match self.kind {
            RefusalKind::Denied => ErrorKind::Config,
            RefusalKind::Throttled(_) | RefusalKind::Unknown => ErrorKind::Transient,
            RefusalKind::ConditionFailed | RefusalKind::Value | RefusalKind::Other => ErrorKind::Internal,
        };
        Error::new(kind, self.message)
    }
}

/// Sorts an error of the SDK.
pub(in crate::driver) fn classify<E>(asked: Asked<'_>, error: SdkError<E, HttpResponse>) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if let SdkError::ServiceError(answered) = &error {
        let raw = answered.raw();
        if is_damaged(raw) {
            // Whatever it was to say: a throttle may have become an error that nobody knows, a success it was not.
            return no_answer(asked, "damaged answer", &error);
        }
        let reply = Reply {
            status: raw.status().as_u16(),
            code: answered.err().code().unwrap_or_default().to_owned(),
            message: answered.err().message().unwrap_or_default().to_owned(),
            reasons: reasons(raw.body().bytes().unwrap_or_default()),
        };
        return sort(asked, reply);
    }
    if let Some(status) = error.raw_response().map(|raw| raw.status().as_u16())
        && status >= 500
    {
        return sort(asked, Reply { status, ..Reply::default() });
    }
    let code = match &error {
        SdkError::TimeoutError(_) => "timeout",
        SdkError::ConstructionFailure(_) => "request not made",
        SdkError::ResponseError(_) => "answer not read",
        _ => "no answer",
    };
    no_answer(asked, code, &error)
}

/// Whether an answer is another than the one that was sent. DynamoDB sends the CRC-32 of each body, errors included;
/// servers that imitate it may not.
pub(super) fn is_damaged(answer: &HttpResponse) -> bool {
    let body = answer.body().bytes().unwrap_or_default();
    answer.headers().get("x-amz-crc32").is_some_and(|sent| sent.parse() != Ok(crc32fast::hash(body)))
}

/// No answer that could be used. The innermost cause says most: the SDK's own errors are "dispatch failure".
fn no_answer(asked: Asked<'_>, code: &'static str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    let causes = || std::iter::successors(Some(error), |error| error.source());
    let innermost = causes().last().map(ToString::to_string).unwrap_or_default();
    if causes().any(|cause| cause.downcast_ref::<CredentialsError>().is_some()) {
        let message = format!("no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in ({innermost})");
        return Refusal::new(RefusalKind::Denied, "no credentials", message);
    }
    let place = asked.place;
    if code == "request not made" {
        let message = format!("a request to {place} cannot be made: check the endpoint and the region ({innermost})");
        return Refusal::new(RefusalKind::Denied, code, message);
    }
    let message = format!("DynamoDB at {place} gives no answer: check the region and the network ({innermost})");
    Refusal::new(RefusalKind::Unknown, code, message)
}

/// The reasons of a throttle, which the body of the answer lists.
fn reasons(body: &[u8]) -> Vec<ThrottleReason> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "ThrottlingReasons", alias = "throttlingReasons", default)]
        reasons: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default)]
        reason: String,
        #[serde(default)]
        resource: String,
    }
    let parsed = serde_json::from_slice::<Body>(body).map_or_else(|_| Vec::new(), |body| body.reasons);
    parsed.iter().map(|reason| ThrottleReason::parse(&reason.reason, &reason.resource)).collect()
}

/// Codes that say: slow down.
const THROTTLES: [&str; 7] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "SlowDown",
];

/// Codes of writes that met another write: repeated like an answer that never came.
const CONFLICTS: [&str; 4] = [
    "TransactionConflictException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
    "RequestTimeout",
];

fn sort(asked: Asked<'_>, reply: Reply) -> Refusal {
    let code = reply.code.as_str();
    let refusal = |kind, message: String| Refusal::new(kind, code, message);
    if THROTTLES.contains(&code) || reply.status == 429 {
        let reasons = throttle(asked, &reply);
        let named: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let message = format!("table {} throttles {}: {}", asked.table, asked.call, named.join(", "));
        return refusal(RefusalKind::Throttled(reasons), message);
    }
    if reply.status >= 500 || CONFLICTS.contains(&code) || code == "InternalServerError" {
        let message = format!(
            "DynamoDB at {} answers {} with status {} {code}: wait, then run again",
            asked.place, asked.call, reply.status
        );
        return refusal(RefusalKind::Unknown, message);
    }
    if code == "ConditionalCheckFailedException" {
        return refusal(
            RefusalKind::ConditionFailed,
            format!("table {}: the condition of {} does not hold", asked.table, asked.call),
        );
    }
    if let Some(message) = denied(asked, &reply) {
        return refusal(RefusalKind::Denied, message);
    }
    if let Some(reason) = value(asked, &reply) {
        return refusal(RefusalKind::Value, format!("DynamoDB refuses the item: {reason}"));
    }
    // an answer about an item may quote it
    let said = if asked.writes { "" } else { reply.message.as_str() };
    let Asked { call, table, .. } = asked;
    refusal(
        RefusalKind::Other,
        format!("DynamoDB refuses {call} on table {table} (status {} {code}) {said}", reply.status),
    )
}

/// The reasons of a throttle; where the answer lists none, what its code says.
fn throttle(asked: Asked<'_>, reply: &Reply) -> Vec<ThrottleReason> {
    if !reply.reasons.is_empty() {
        return reply.reasons.clone();
    }
    let what = if reply.code == "RequestLimitExceeded" { What::TableAccount } else { What::Unstated };
    vec![ThrottleReason { what, write: asked.writes }]
}

/// What somebody has to mend before the same request can succeed, with the next step.
fn denied(asked: Asked<'_>, reply: &Reply) -> Option<String> {
    let Asked { call, table, place, .. } = asked;
    let said = reply.message.as_str();
    let sentence = match reply.code.as_str() {
        "ResourceNotFoundException" => {
            format!("there is no table {table} in {place}: check its name and the region (--region, AWS_REGION)")
        }
        "AccessDeniedException" | "AccessDenied" => {
            format!("access denied: grant dynamodb:{call} on table {table} to these credentials ({said})")
        }
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
            "the AWS credentials have expired: renew them, then run the same command again".to_owned()
        }
        "InvalidSignatureException" if said.contains("valid region") || said.contains("scoped to") => {
            format!("the request was signed for another region than that of {place}: set --region or AWS_REGION")
        }
        "InvalidSignatureException" if said.contains("expired") || said.contains("not yet current") => {
            "this host's clock is wrong: set it, then run again".to_owned()
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException"
        | "NotAuthorized" => format!(
            "the AWS credentials are not accepted in {place}: check the access key, its secret, the session token, \
             and whether the region is enabled for the account"
        ),
        "OptInRequired" => format!("{place} is not enabled for this account: enable it, or set another region"),
        "ValidationException" if said.contains("tableName") || said.contains("TableName") => {
            format!("`{table}` cannot be a table's name")
        }
        code if code.starts_with("KMS") => format!("the key of table {table} cannot be used: {said}"),
        "" if reply.status == 401 || reply.status == 403 => format!(
            "access denied by {place}, which is not how DynamoDB says it: check the endpoint, and proxies on the way"
        ),
        "" => format!("{place} does not answer as DynamoDB does (status {}): check the endpoint", reply.status),
        _ => return None,
    };
    Some(sentence)
}

/// Words of the server by which an item is condemned, and our own, which cannot quote a value.
const VALUE_ERRORS: [(&str, &str); 17] = [
    ("Item size", "it is larger than 400 KB"),
    ("Type mismatch for key", "a key attribute has another type than the table's key"),
    ("Type mismatch for Index Key", "an attribute that is the key of an index has another type than the index's key"),
    ("key element does not match", "a key attribute is missing or has another type than the table's key"),
    ("Missing the key", "a key attribute is missing"),
    ("empty string value", "a key attribute is empty"),
    ("empty binary value", "a key attribute is empty"),
    ("Size of hashkey", "its partition key is longer than 2048 bytes"),
    ("Size of rangekey", "its sort key is longer than 1024 bytes"),
    ("Aggregated size of all range keys", "its sort key is longer than 1024 bytes"),
    ("38 significant digits", "a number has more than 38 digits"),
    ("Number overflow", "a number is too large"),
    ("Number underflow", "a number is too small"),
    ("numeric value", "a number is none"),
    ("Nesting Levels", "it is nested more than 32 levels deep"),
    ("contains duplicates", "a set has equal members"),
    ("may not be empty", "a set is empty"),
];

/// Why the item of a write is condemned, if one of the listed errors says so.
fn value(asked: Asked<'_>, reply: &Reply) -> Option<&'static str> {
    match reply.code.as_str() {
        _ if !asked.writes => None,
        "ItemCollectionSizeLimitExceededException" => Some("its item collection is full (10 GB)"),
        "ValidationException" if reply.message.contains("list of item keys") => None,
        "ValidationException" => {
            VALUE_ERRORS.iter().find(|(words, _)| reply.message.contains(words)).map(|(_, reason)| *reason).or_else(
                || reply.message.starts_with("One or more parameter values").then_some("one of its values is invalid"),
            )
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
