//! What an answer of S3, or the lack of one, means for a download: once, for every caller.

use crate::error::{Error, ErrorKind};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// Why a request did not bring bytes.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no such object.
    Missing,
    /// The object has no byte at the position asked for.
    PastEnd,
    /// The object was replaced since its first byte was read.
    Changed,
    /// The same request may succeed later.
    Again(Error),
    /// It will not.
    Fatal(Error),
}

/// Sorts an error of the SDK. `name` is the object's URL.
pub(super) fn classify<E>(name: &str, error: SdkError<E>) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let reply = error.raw_response().map(|raw| Reply {
        status: raw.status().as_u16(),
        code: error.code().unwrap_or_default().to_owned(),
        region: raw.headers().get("x-amz-bucket-region").unwrap_or_default().to_owned(),
    });
    match (reply, error) {
        (Some(reply), error @ SdkError::ServiceError(_)) => match sort(name, &reply) {
            Trouble::Again(sorted) => Trouble::Again(sorted.because(error)),
            Trouble::Fatal(sorted) => Trouble::Fatal(sorted.because(error)),
            other => other,
        },
        (_, error @ SdkError::ConstructionFailure(_)) => Trouble::Fatal(
            Error::config(format!("object {name} cannot be asked for: check the bucket's name and the endpoint"))
                .because(root_first(error)),
        ),
        (_, error) => Trouble::Again(
            Error::new(ErrorKind::Transient, format!("object {name}: no answer that could be used"))
                .because(root_first(error)),
        ),
    }
}

/// The SDK's outer errors say little ("dispatch failure"): its cause, where it gives one.
fn root_first<E: std::error::Error + Send + Sync + 'static>(
    error: SdkError<E>,
) -> Box<dyn std::error::Error + Send + Sync> {
    error.into_source().unwrap_or_else(Into::into)
}

/// What an answer without the object says.
#[derive(Debug)]
struct Reply {
    status: u16,
    code: String,
    region: String,
}

fn sort(name: &str, reply: &Reply) -> Trouble {
    let code = reply.code.as_str();
    let fatal = |sentence: String| Trouble::Fatal(Error::config(format!("object {name}: {sentence}")));
    match (code, reply.status) {
        ("NoSuchKey", _) | ("", 404) => Trouble::Missing,
        ("InvalidRange", _) | (_, 416) => Trouble::PastEnd,
        ("PreconditionFailed", _) | (_, 412) => Trouble::Changed,
        ("NoSuchBucket", _) => fatal("there is no such bucket: check its name, or the endpoint".into()),
        ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed", _) | (_, 301 | 307) => {
            let region = if reply.region.is_empty() { "the bucket's region" } else { &reply.region };
            fatal(format!("the bucket is in another region: set AWS_REGION to {region}"))
        }
        ("ExpiredToken" | "TokenRefreshRequired" | "RequestExpired", _) => {
            fatal("the AWS credentials have expired: renew them, then run again".into())
        }
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken", _) => {
            fatal("the AWS credentials are not accepted: check the access key, its secret and the session token".into())
        }
        ("RequestTimeTooSkewed", _) => fatal("this machine's clock is wrong: set it, then run again".into()),
        ("InvalidObjectState", _) => fatal("it is archived: restore it from Glacier, then run again".into()),
        ("RequestTimeout" | "SlowDown" | "Throttling" | "RequestLimitExceeded" | "OperationAborted", _)
        | (_, 408 | 429 | 500..=599) => Trouble::Again(Error::new(
            ErrorKind::Transient,
            format!("object {name}: the server is busy or broken (status {})", reply.status),
        )),
        (_, 401 | 403) => fatal(
            "access denied: grant s3:GetObject on the export (and kms:Decrypt on its key, if it has one); \
             without s3:ListBucket a missing object looks like this too"
                .into(),
        ),
        _ => fatal(format!("the server refuses the request (status {}, code {code:?})", reply.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status: u16, code: &str, region: &str) -> String {
        let reply = Reply { status, code: code.to_owned(), region: region.to_owned() };
        match sort("s3://b/k", &reply) {
            Trouble::Missing => "missing".into(),
            Trouble::PastEnd => "past end".into(),
            Trouble::Changed => "changed".into(),
            Trouble::Again(error) => format!("again: {error}"),
            Trouble::Fatal(error) => format!("{:?}: {error}", error.kind()),
        }
    }

    #[test]
    fn each_answer_has_its_sentence() {
        let cases = [
            (404, "NoSuchKey", "", "missing"),
            (404, "", "", "missing"),
            (404, "NoSuchBucket", "", "Config: object s3://b/k: there is no such bucket"),
            (416, "InvalidRange", "", "past end"),
            (412, "PreconditionFailed", "", "changed"),
            (301, "PermanentRedirect", "eu-west-1", "set AWS_REGION to eu-west-1"),
            (400, "AuthorizationHeaderMalformed", "", "the bucket is in another region"),
            (400, "ExpiredToken", "", "credentials have expired"),
            (403, "AccessDenied", "", "access denied: grant s3:GetObject"),
            (403, "InvalidAccessKeyId", "", "credentials are not accepted"),
            (403, "RequestTimeTooSkewed", "", "clock is wrong"),
            (403, "InvalidObjectState", "", "it is archived"),
            (503, "SlowDown", "", "again: "),
            (500, "InternalError", "", "again: "),
            (502, "", "", "again: "),
            (400, "RequestTimeout", "", "again: "),
            (405, "MethodNotAllowed", "", "status 405, code \"MethodNotAllowed\""),
        ];
        for (status, code, region, expected) in cases {
            let found = sorted(status, code, region);
            assert!(found.contains(expected), "{status} {code}: {found}");
        }
    }
}
