//! One download of one object from S3: ranges of one version of it, hashed and spooled as they arrive, each asked for
//! again from where it broke off.

use super::Md5;
use super::retry;
use super::s3::S3Bucket;
use super::s3_error::{Trouble, classify};
use super::spool::Spool;
use crate::error::{Error, ErrorKind, Result};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use md5::Digest;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::Ordering;

/// Progress after which earlier failures are forgotten: a path that is cut every few seconds is slow, not dead.
const PROGRESS_BYTES: u64 = 64 * 1024;

/// How a download ended.
#[derive(Debug)]
pub(super) enum Downloaded {
    /// There is no such object.
    Missing,
    /// It was replaced underway.
    Changed,
    /// All of it, and its digest.
    Whole(Spool, Md5),
}

/// A download underway.
pub(super) struct Download<'b> {
    bucket: &'b S3Bucket,
    key: &'b str,
    cap: u64,
    hasher: md5::Md5,
    /// Bytes received.
    at: u64,
    jitter: StdRng,
    version: Option<Version>,
}

/// What the first answer tells, and every other must repeat.
struct Version {
    len: u64,
    etag: Option<String>,
    spool: Spool,
}

impl<'b> Download<'b> {
    /// A download of at most `cap` bytes.
    pub(super) fn new(bucket: &'b S3Bucket, key: &'b str, cap: u64) -> Self {
        // Readers start together: what tells their waits apart is the object.
        let place = key
            .bytes()
            .fold(bucket.options.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let jitter = StdRng::seed_from_u64(place);
        Download { bucket, key, cap, hasher: md5::Md5::new(), at: 0, jitter, version: None }
    }

    /// Downloads all of it.
    pub(super) async fn run(mut self) -> Result<Downloaded> {
        let mut failures = 0;
        loop {
            let before = self.at;
            match self.range().await {
                Ok(()) => failures = 0,
                Err(Trouble::Missing) if self.version.is_none() => return Ok(Downloaded::Missing),
                Err(Trouble::PastEnd) if self.version.is_none() => {
                    return Ok(Downloaded::Whole(Spool::Memory(Vec::new()), Md5::finish(self.hasher)));
                }
                Err(Trouble::Missing | Trouble::PastEnd | Trouble::Changed) => return Ok(Downloaded::Changed),
                Err(Trouble::Fatal(error)) => return Err(error),
                Err(Trouble::Again(error)) => {
                    failures = if self.at - before >= PROGRESS_BYTES { 1 } else { failures + 1 };
                    if failures >= self.bucket.options.attempts {
                        return Err(self.given_up(failures, error));
                    }
                    self.bucket.retries.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(
                        key = self.key,
                        at = self.at,
                        failures,
                        error = error.chain(),
                        "range asked for again"
                    );
                    let wait = retry::wait(failures, self.bucket.options.first_wait, self.jitter.random());
                    tokio::time::sleep(wait).await;
                }
            }
            match self.version {
                Some(version) if version.len == self.at => {
                    return Ok(Downloaded::Whole(version.spool, Md5::finish(self.hasher)));
                }
                _ => {}
            }
        }
    }

    /// Asks for the next range and takes what comes.
    async fn range(&mut self) -> std::result::Result<(), Trouble> {
        let last = self.at.saturating_add(self.bucket.options.range_bytes).saturating_sub(1);
        let etag = self.version.as_ref().and_then(|version| version.etag.clone());
        let request = self.bucket.client.get_object().bucket(&self.bucket.bucket).key(self.key);
        let request = request.range(format!("bytes={}-{last}", self.at)).set_if_match(etag);
        let answer = tokio::time::timeout(self.bucket.options.idle_timeout, request.send()).await;
        let answer = answer.map_err(|_| self.again("no answer within the idle timeout"))?;
        let mut answer = answer.map_err(|error| classify(&self.bucket.name(self.key), error))?;
        let end = self.check_version(&answer)?;
        while self.at < end {
            let part = tokio::time::timeout(self.bucket.options.idle_timeout, answer.body.next()).await;
            let part = part.map_err(|_| self.again("the answer stalled"))?;
            let part = part.ok_or_else(|| self.again("the answer ended early"))?;
            let part = part.map_err(|error| match self.again("the answer broke off") {
                Trouble::Again(broken) => Trouble::Again(broken.because(error)),
                other => other,
            })?;
            // A server may send more than it announced: no byte of that belongs to this range.
            let room = usize::try_from(end - self.at).unwrap_or(usize::MAX);
            self.take(&part[..part.len().min(room)]).map_err(Trouble::Fatal)?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(version) = &mut self.version else { return Err(Error::internal("bytes came before their header")) };
        version.spool.write(bytes, &self.bucket.options.spill_folder)?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Where the answer's bytes end, once it is known to be of the version underway and to start where asked.
    fn check_version(&mut self, answer: &GetObjectOutput) -> std::result::Result<u64, Trouble> {
        let announced = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let (start, end, len) = match (answer.content_range(), announced) {
            (Some(range), _) => parse_content_range(range).ok_or_else(|| self.again("an odd Content-Range"))?,
            // No Content-Range: the server sends the whole object.
            (None, Some(len)) => (0, len, len),
            (None, None) => return Err(self.again("an answer without a length")),
        };
        if start != self.at || end > len {
            return Err(self.again("an answer with other bytes than asked for"));
        }
        match &self.version {
            Some(version) if version.len != len || version.etag.as_deref() != answer.e_tag() => {
                return Err(Trouble::Changed);
            }
            Some(_) => {}
            None if len > self.cap => {
                let (name, cap) = (self.bucket.name(self.key), self.cap);
                return Err(Trouble::Fatal(Error::corrupt(format!("object {name} holds more than {cap} bytes"))));
            }
            None => {
                let spool = Spool::new(len, &self.bucket.options.spill_folder).map_err(Trouble::Fatal)?;
                self.version = Some(Version { len, etag: answer.e_tag().map(str::to_owned), spool });
            }
        }
        Ok(end)
    }

    fn again(&self, what: &str) -> Trouble {
        let message = format!("object {} at byte {}: {what}", self.bucket.name(self.key), self.at);
        Trouble::Again(Error::new(ErrorKind::Transient, message))
    }

    fn given_up(&self, failures: u32, last: Error) -> Error {
        let (name, at) = (self.bucket.name(self.key), self.at);
        let message =
            format!("object {name} could not be read past byte {at}: {failures} attempts failed, run again later");
        Error::new(ErrorKind::Transient, message).because(last)
    }
}

/// `bytes 0-7/100` as start, end (exclusive) and length of the whole.
fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, len) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last.checked_add(1)?, len.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_strictly() {
        assert_eq!(parse_content_range("bytes 0-7/100"), Some((0, 8, 100)));
        for odd in ["", "bytes 0-7", "bytes */100", "bytes 7-0/100", "bytes 0-7/*", "items 0-7/100", "bytes 0-x/9"] {
            assert_eq!(parse_content_range(odd), None, "{odd}");
        }
    }
}
