//! Objects in an S3 bucket: the client and its limits, and what a whole download means. The download itself is in
//! `download`.
//!
//! Every object is downloaded to its end before its first byte is handed out (a spool: memory or an unnamed file). So
//! a pipeline that reads slowly never holds a connection open, and the idle timeout measures the network alone.

use super::Md5;
use super::download::{Download, Downloaded};
use super::fetched::Fetched;
use crate::error::{Error, Result};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    ProvideCredentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// How to reach S3, and how long to bear with it.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// An S3-compatible server instead of AWS: a URL. Buckets are then named in the path.
    pub endpoint: Option<String>,
    /// Where downloads above 8 MiB lie while they are read; they have no name there.
    pub spill_folder: PathBuf,
    /// Bytes asked for at once: a failure costs at most so much, and S3 serves single streams best from 8 MiB on.
    pub range_bytes: u64,
    /// For a connection to come about: three lost SYNs.
    pub connect_timeout: Duration,
    /// Without a byte, for an answer or within one: S3 answers within seconds or not at all.
    pub idle_timeout: Duration,
    /// Failures in a row, without progress, after which an object is given up: with the waits between, a minute or so.
    pub attempts: u32,
    /// Before the second attempt: about a round trip to S3. It doubles with every failure in a row, up to 20 s.
    pub first_wait: Duration,
    /// Seeds the jitter of the waits.
    pub seed: u64,
}

impl S3Options {
    /// AWS, with limits for its own networks.
    #[must_use]
    pub fn new(spill_folder: PathBuf) -> Self {
        S3Options {
            endpoint: None,
            spill_folder,
            range_bytes: 8 * 1024 * 1024,
            connect_timeout: Duration::from_secs(7),
            idle_timeout: Duration::from_secs(20),
            attempts: 10,
            first_wait: Duration::from_millis(200),
            seed: 0,
        }
    }
}

/// A bucket.
#[derive(Debug)]
pub struct S3Bucket {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) options: S3Options,
    pub(super) retries: AtomicU64,
    pub(super) runtime: Handle,
}

impl S3Bucket {
    /// A bucket reached with the region and the credentials of the usual AWS chain. Blocks. `runtime` must be one that
    /// runs on threads of its own.
    ///
    /// # Errors
    /// `Config` when the chain gives no region or no credentials.
    pub fn connect(runtime: Handle, bucket: &str, options: S3Options) -> Result<S3Bucket> {
        let shared = runtime.block_on(load_chain(&options))?;
        Ok(S3Bucket::with_config(runtime, &shared, bucket, options))
    }

    /// A bucket reached with a configuration made elsewhere.
    #[must_use]
    pub fn with_config(runtime: Handle, shared: &SdkConfig, bucket: &str, options: S3Options) -> S3Bucket {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(options.connect_timeout).read_timeout(options.idle_timeout);
        // Retries, idle timeout and checksum are this module's: it retries ranges, not objects, and counts.
        let mut config = aws_sdk_s3::config::Builder::from(shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = options.endpoint.as_deref().or(shared.endpoint_url()) {
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        S3Bucket {
            client: Client::from_conf(config.build()),
            bucket: bucket.to_owned(),
            options,
            retries: AtomicU64::new(0),
            runtime,
        }
    }

    /// The URL of an object.
    #[must_use]
    pub fn name(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// A small object, whole; none when there is none: see [`Objects::read`](super::Objects::read). Blocks.
    ///
    /// # Errors
    /// Those of that.
    pub fn read(&self, key: &str, cap: u64) -> Result<Option<Vec<u8>>> {
        match self.runtime.block_on(Download::new(self, key, cap).run())? {
            Downloaded::Missing => Ok(None),
            Downloaded::Changed => Err(self.replaced(key)),
            Downloaded::Whole(spool, _) => {
                let mut bytes = Vec::new();
                let read = spool.finish(self.name(key), &self.options.spill_folder)?.read_to_end(&mut bytes);
                read.map_err(|error| Error::internal("a spooled object cannot be read").because(error))?;
                Ok(Some(bytes))
            }
        }
    }

    pub(super) fn fetch(&self, key: &str, expected: Md5) -> Result<Option<Fetched>> {
        let mut found = None;
        // Twice: bytes altered on the way are others the second time, bytes altered at rest are the same.
        for again in [true, false] {
            match self.runtime.block_on(Download::new(self, key, u64::MAX).run())? {
                Downloaded::Missing => return Ok(None),
                Downloaded::Changed => found = None,
                Downloaded::Whole(spool, md5) if md5 == expected => {
                    return spool.finish(self.name(key), &self.options.spill_folder).map(Some);
                }
                Downloaded::Whole(_, md5) => found = Some(md5),
            }
            if again {
                self.retries.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(object = self.name(key), "not what the manifest says, downloaded again");
            }
        }
        let name = self.name(key);
        Err(found.map_or_else(
            || self.replaced(key),
            |md5| {
                Error::corrupt(format!(
                    "object {name} is damaged: its MD5 is {md5}, the manifest says {expected}; \
                     restore it, or export the table again"
                ))
            },
        ))
    }

    pub(super) fn folders(&self, below: &str) -> Result<Vec<String>> {
        self.runtime.block_on(super::list::folders(self, below))
    }

    fn replaced(&self, key: &str) -> Error {
        Error::corrupt(format!(
            "object {} is being replaced while it is read: stop who does, then run again",
            self.name(key)
        ))
    }
}

/// Region and credentials, asked for before the first request so that their lack is said plainly.
async fn load_chain(options: &S3Options) -> Result<SdkConfig> {
    let shared = aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await;
    let Some(credentials) = shared.credentials_provider() else {
        return Err(Error::config("no AWS credentials: set AWS_PROFILE, or log in"));
    };
    credentials.provide_credentials().await.map_err(|error| {
        Error::config("no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in with `aws login`")
            .because(error)
    })?;
    match (shared.region(), options.endpoint.as_deref().or(shared.endpoint_url())) {
        (Some(_), _) => Ok(shared),
        // A server of one's own has one region, and rarely minds what it is called.
        (None, Some(_)) => Ok(shared.into_builder().region(Region::from_static("us-east-1")).build()),
        (None, None) => Err(Error::config("no AWS region: set AWS_REGION to the bucket's region")),
    }
}
