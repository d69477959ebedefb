//! The folders of a bucket: the parts of keys up to the next `/`. No object's name is asked for.

use super::retry;
use super::s3::S3Bucket;
use super::s3_error::{Trouble, classify};
use crate::error::{Error, ErrorKind, Result};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::Ordering;

/// The names of the folders directly below `below`, in the order of their keys.
pub(super) async fn folders(bucket: &S3Bucket, below: &str) -> Result<Vec<String>> {
    let prefix = if below.is_empty() { String::new() } else { format!("{below}/") };
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let answer = page(bucket, &prefix, after).await?;
        for found in answer.common_prefixes() {
            let name = found.prefix().and_then(|key| key.strip_prefix(prefix.as_str()));
            names.extend(name.map(|name| name.trim_end_matches('/').to_owned()).filter(|name| !name.is_empty()));
        }
        after = answer.next_continuation_token().map(str::to_owned);
        if after.is_none() {
            return Ok(names);
        }
    }
}

/// One answer, asked for until it comes.
async fn page(bucket: &S3Bucket, prefix: &str, after: Option<String>) -> Result<ListObjectsV2Output> {
    let name = bucket.name(prefix);
    let mut jitter = StdRng::seed_from_u64(bucket.options.seed);
    let mut failures = 0;
    loop {
        let request = bucket.client.list_objects_v2().bucket(&bucket.bucket).prefix(prefix).delimiter("/");
        let sent = request.set_continuation_token(after.clone()).send();
        let trouble = match tokio::time::timeout(bucket.options.idle_timeout, sent).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => classify(&name, error),
            Err(_) => Trouble::Again(Error::new(ErrorKind::Transient, format!("{name}: no answer"))),
        };
        let error = match trouble {
            Trouble::Again(error) => error,
            Trouble::Fatal(error) => {
                let step = "grant s3:ListBucket on it, or give one export: s3://bucket/…/AWSDynamoDB/id";
                return Err(Error::config(format!("{name} cannot be listed: {step}")).because(error));
            }
            _ => return Err(Error::config(format!("{name} cannot be listed: there is no such bucket"))),
        };
        failures += 1;
        if failures >= bucket.options.attempts {
            return Err(Error::new(ErrorKind::Transient, format!("{name} could not be listed")).because(error));
        }
        bucket.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(retry::wait(failures, bucket.options.first_wait, jitter.random())).await;
    }
}
