//! Small objects of our own in a bucket: put once, listed, removed.

use super::retry;
use super::s3::S3Bucket;
use super::s3_error::{Trouble, classify};
use crate::error::{Error, ErrorKind, Result};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::Ordering;

impl S3Bucket {
    /// Puts an object that is not there yet, durably. False when there is one. Blocks.
    ///
    /// # Errors
    /// `Config` when it is not allowed; `Transient` when it could not be done after retries.
    pub fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let put = || {
            let body = ByteStream::from(bytes.to_vec());
            let request = self.client.put_object().bucket(&self.bucket).key(key).if_none_match("*");
            request.body(body).send()
        };
        match self.asked(key, "s3:PutObject", put)? {
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// Removes an object, or finds none. Blocks.
    ///
    /// # Errors
    /// As [`S3Bucket::put_new`].
    pub fn remove(&self, key: &str) -> Result<()> {
        let remove = || self.client.delete_object().bucket(&self.bucket).key(key).send();
        self.asked(key, "s3:DeleteObject", remove).map(drop)
    }

    /// The objects whose keys begin with `prefix`, in the order of their keys, each with its length. Blocks.
    ///
    /// # Errors
    /// As [`S3Bucket::put_new`].
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let list = || {
                let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
                request.set_continuation_token(after.clone()).send()
            };
            let Some(answer) = self.asked(prefix, "s3:ListBucket", list)? else { return Ok(found) };
            let object = |object: &aws_sdk_s3::types::Object| {
                Some((object.key()?.to_owned(), u64::try_from(object.size()?).ok()?))
            };
            found.extend(answer.contents().iter().filter_map(object));
            after = answer.next_continuation_token().map(str::to_owned);
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Asks until an answer comes. None when the object's being there, or not, forbids it.
    fn asked<T, E, F>(&self, key: &str, grant: &str, request: impl Fn() -> F) -> Result<Option<T>>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        self.runtime.block_on(async {
            let name = self.name(key);
            let mut jitter = StdRng::seed_from_u64(self.options.seed);
            let mut failures = 0;
            loop {
                let error = match tokio::time::timeout(self.options.idle_timeout, request()).await {
                    Ok(Ok(answer)) => return Ok(Some(answer)),
                    Ok(Err(error)) => match classify(&name, error) {
                        Trouble::Missing | Trouble::Changed | Trouble::PastEnd => return Ok(None),
                        Trouble::Again(error) => error,
                        Trouble::Fatal(error) => {
                            let step = format!("{name}: is {grant} granted?");
                            return Err(Error::config(step).because(error));
                        }
                    },
                    Err(_) => Error::new(ErrorKind::Transient, format!("{name}: no answer")),
                };
                failures += 1;
                if failures >= self.options.attempts {
                    return Err(Error::new(ErrorKind::Transient, format!("{name}: given up")).because(error));
                }
                self.retries.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(retry::wait(failures, self.options.first_wait, jitter.random())).await;
            }
        })
    }
}
