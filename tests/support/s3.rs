//! An S3 server in this process, on loopback: the folders below a root are its buckets.

use super::http::HttpServer;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use std::net::SocketAddr;
use std::path::Path;

/// What the server takes.
pub(crate) const ACCESS_KEY: &str = "AKIAEXAMPLE";
/// Its secret.
pub(crate) const SECRET_KEY: &str = "secret-example";

/// A server, until it is dropped.
pub(crate) struct S3Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _server: HttpServer,
}

impl S3Server {
    /// Serves the folders below `root`.
    pub(crate) fn start(root: &Path) -> S3Server {
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let server = HttpServer::start(builder.build());
        S3Server { address: server.address, _server: server }
    }
}

/// What the usual AWS chain would give for this server, with these keys.
pub(crate) fn config(access_key: &str, secret_key: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, secret_key, None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}
