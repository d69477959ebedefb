//! A DynamoDB in this process, on loopback: tables made, items loaded and read back without the engine's help.
//!
//! It pages scans at 1 MB, splits them into segments that partition the table exactly, and charges as the service does.
//! It never throttles, never holds an item of a batch back, and never fails: that is [`super::dynamo_proxy`]'s part. Its
//! scans without `Limit` are quadratic in the table's size: above some 100,000 items it is the bottleneck.

use super::{canon, s3};
use aws_config::SdkConfig;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::{Database, ImportOptions, Item};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server with nothing in it, until it is dropped.
pub(crate) struct DynamoServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The same tables, without HTTP.
    pub(crate) database: Database,
    runtime: Option<Runtime>,
}

impl DynamoServer {
    /// Starts an empty one.
    pub(crate) fn start() -> DynamoServer {
        let database = Database::memory().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        // it ends with its runtime
        let serving = dynoxide::server::serve_with_shutdown(listener, database.clone(), std::future::pending());
        runtime.spawn(async { serving.await.unwrap() });
        DynamoServer { address, database, runtime: Some(runtime) }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes an on-demand table; `key` as the engine writes keys: `pk:S,sk:N`.
    pub(crate) fn create(&self, table: &str, key: &str) {
        self.create_from(json!({"TableName": table, "BillingMode": "PAY_PER_REQUEST"}), key);
    }

    /// Makes a table from the members of a CreateTable request, to which those of `key` are added.
    pub(crate) fn create_from(&self, mut request: Value, key: &str) {
        let mut schema = Vec::new();
        let mut types = request["AttributeDefinitions"].as_array().cloned().unwrap_or_default();
        for (part, role) in key.split(',').zip(["HASH", "RANGE"]) {
            let (name, kind) = part.split_once(':').unwrap();
            schema.push(json!({"AttributeName": name, "KeyType": role}));
            types.push(json!({"AttributeName": name, "AttributeType": kind}));
        }
        request["KeySchema"] = json!(schema);
        request["AttributeDefinitions"] = json!(types);
        self.database.create_table(serde_json::from_value(request).unwrap()).unwrap();
    }

    /// Makes an on-demand table whose stream carries new images.
    pub(crate) fn create_streamed(&self, table: &str, key: &str) {
        let stream = json!({"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"});
        let request = json!({"TableName": table, "BillingMode": "PAY_PER_REQUEST", "StreamSpecification": stream});
        self.create_from(request, key);
    }

    /// Puts one item as an application does: its stream tells.
    pub(crate) fn put(&self, table: &str, item: &Value) {
        let request = json!({"TableName": table, "Item": item});
        self.database.put_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
    }

    /// Deletes the item with this key.
    pub(crate) fn delete(&self, table: &str, key: &Value) {
        let request = json!({"TableName": table, "Key": key});
        self.database.delete_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
    }

    /// Puts items, each a JSON object in DynamoDB's notation.
    pub(crate) fn load(&self, table: &str, items: impl IntoIterator<Item = Value>) {
        let mut items = items.into_iter().map(|item| serde_json::from_value::<Item>(item).unwrap()).peekable();
        while items.peek().is_some() {
            let some = items.by_ref().take(10_000).collect();
            self.database.import_items(table, some, ImportOptions::default()).unwrap();
        }
    }

    /// Puts the items of DynamoDB JSON lines.
    pub(crate) fn load_lines(&self, table: &str, lines: &[u8]) {
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        self.load(table, lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()["Item"].take()));
    }

    /// Every item in canonical form, sorted by its text.
    pub(crate) fn items(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let request = ScanRequest {
                table_name: table.to_owned(),
                limit: Some(1000),
                exclusive_start_key: after,
                ..ScanRequest::default()
            };
            let page = self.database.scan(request).unwrap();
            let found = page.items.unwrap_or_default();
            items.extend(found.iter().map(|item| canon::item(&serde_json::to_value(item).unwrap())));
            after = page.last_evaluated_key;
            if after.is_none() {
                return canon::sorted_items(items);
            }
        }
    }
}

impl Drop for DynamoServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the AWS chain would give a client of a server at `url`.
pub(crate) fn config_of(url: &str) -> SdkConfig {
    s3::config(s3::ACCESS_KEY, s3::SECRET_KEY).into_builder().endpoint_url(url).build()
}

/// The environment that gives a child process credentials and a region, whatever this host has.
pub(crate) const AWS_ENVIRONMENT: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY),
    ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY),
    ("AWS_REGION", "us-east-1"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];
