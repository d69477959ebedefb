//! Opening both ends: what was typed as source and target becomes what a verb works with.

use super::config::To;
use super::follow::ChangesArgs;
use super::{DynamoArgs, MappingArgs, SourceArgs, config};
use crate::driver::dynamodb::{DynamoDb, Endpoint};
use crate::driver::objects::{Objects, S3Bucket, S3Options};
use crate::driver::streams::Streams;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::follow::OpenLink;
use crate::limit::price::{self, Prices};
use crate::mapping::{KeyAttribute, KeyType, Mapping};
use crate::sink::destination::{Destination, DynamoDbTarget};
use crate::sink::dynamodb::pace::Pace;
use crate::sink::dynamodb::preflight;
use crate::source::Source;
use crate::source::dynamodb_export::chain::{Chain, Link};
use crate::source::dynamodb_export::{ChainLocation, DynamoDbExport, ExportLocation, ExportOptions, Store};
use crate::source::dynamodb_scan::{DynamoDbScan, ScanOptions, SharedPurse};
use crate::source::dynamodb_streams::{DynamoDbStreams, StreamOptions};
use crate::spool::bucket::BucketStore;
use crate::spool::folder::FolderStore;
use crate::spool::store::Store as SpoolStore;
use std::path::PathBuf;
use std::sync::Arc;

/// What a live table's name begins with.
pub(super) const LIVE: &str = "dynamodb://";

/// Whether the source is a live table.
#[must_use]
pub fn is_live(args: &SourceArgs) -> bool {
    args.from.starts_with(LIVE)
}

/// Opens the source; a live table tells its key as well, and is paid for from `purse`. S3 objects are checked in the folder
/// `spill`.
///
/// # Errors
/// `Config`; `Corrupt` for an export whose manifests are not whole; whatever a live table refuses.
pub async fn source(
    args: &SourceArgs,
    dynamo: &DynamoArgs,
    spill: PathBuf,
    purse: &SharedPurse,
) -> Result<(Box<dyn Source>, Vec<KeyAttribute>)> {
    match args.from.strip_prefix(LIVE) {
        Some(table) => scan(dynamo, table, purse).await,
        None => Ok((Box::new(export(args, spill).await?), Vec::new())),
    }
}

/// Where rows go, and how items of `source` become them; `key` is the source's, where it tells.
///
/// # Errors
/// `Config`, and whatever a DynamoDB target refuses.
pub async fn destination(
    args: &MappingArgs,
    dynamo: &DynamoArgs,
    to: To,
    source: &str,
    key: &[KeyAttribute],
) -> Result<(Destination, Arc<Mapping>)> {
    match to {
        To::Sql(target) => {
            let mapping = config::mapping(args, source, key)?;
            Ok((Destination::Sql(target), mapping))
        }
        To::DynamoDb { table, state } => {
            let opened = items(&endpoint(dynamo), &table, state, &dynamo.write_capacity, (args, key)).await?;
            Ok((Destination::DynamoDb(Box::new(opened.0)), opened.1))
        }
    }
}

/// A DynamoDB table as a target, written with what `capacity` says of its own, and how items become its items; `key` is the
/// source's, where it tells.
///
/// # Errors
/// `Config`, and whatever the table refuses.
pub async fn items(
    endpoint: &Endpoint,
    table: &str,
    state: Target,
    capacity: &str,
    (args, key): (&MappingArgs, &[KeyAttribute]),
) -> Result<(DynamoDbTarget, Arc<Mapping>)> {
    let db = DynamoDb::connect(endpoint).await?;
    let description = db.describe(table).await?;
    let mapping = config::item_mapping(args, table, key, &preflight::key_of(&description)?)?;
    let (pace, budget) = Pace::new(db.clone(), &description, capacity.parse()?)?;
    tracing::info!("table {table}: writing with {budget}");
    Ok((DynamoDbTarget { db, description, pace: Arc::new(pace), state }, mapping))
}

/// Where DynamoDB is.
#[must_use]
pub fn endpoint(args: &DynamoArgs) -> Endpoint {
    Endpoint { url: args.endpoint_url.clone(), region: args.region.clone() }
}

/// How a live table is read.
///
/// # Errors
/// `Config` for a budget that is none.
pub fn scan_options(args: &DynamoArgs) -> Result<ScanOptions> {
    Ok(ScanOptions {
        segments: args.segments,
        consistent: args.consistent_read,
        budget: args.read_capacity.parse()?,
        prices: Prices { read: args.read_price, ..price::DEFAULT },
        max_cost: args.max_cost,
    })
}

/// Opens a live table, which tells its key and is paid for from `purse`.
///
/// # Errors
/// `Config`, and whatever the table refuses.
pub async fn scan(args: &DynamoArgs, table: &str, purse: &SharedPurse) -> Result<(Box<dyn Source>, Vec<KeyAttribute>)> {
    let driver = DynamoDb::connect(&endpoint(args)).await?;
    let table = driver.describe(table).await?;
    let key = table.key.iter().map(|(name, ty)| KeyAttribute { name: name.clone(), ty: key_type(*ty) }).collect();
    let (scan, budget) = DynamoDbScan::new(driver, tokio::runtime::Handle::current(), &table, scan_options(args)?)?;
    tracing::info!("table {}: reading with {budget}", table.name);
    Ok((Box::new(scan.paying_from(Arc::clone(purse))?), key))
}

/// Opens the stream of a live table, which tells the table's key.
///
/// # Errors
/// `Config` for a table without a stream of new images; whatever the service refuses.
pub async fn stream(
    args: &DynamoArgs,
    table: &str,
    options: StreamOptions,
) -> Result<(DynamoDbStreams, Vec<KeyAttribute>)> {
    let table = DynamoDb::connect(&endpoint(args)).await?.describe(table).await?;
    let key = table.key.iter().map(|(name, ty)| KeyAttribute { name: name.clone(), ty: key_type(*ty) }).collect();
    let driver = Streams::connect(&endpoint(args)).await?;
    Ok((DynamoDbStreams::open(driver, tokio::runtime::Handle::current(), &table, options).await?, key))
}

/// Opens the place of a spool: a folder, or `s3://bucket/prefix` at `endpoint`.
///
/// # Errors
/// `Config` when it cannot be used; `Refused` when another process has the folder open.
pub async fn spool(place: &str, endpoint: Option<String>, spill: PathBuf) -> Result<Arc<dyn SpoolStore>> {
    let Some(url) = place.strip_prefix("s3://") else { return Ok(Arc::new(FolderStore::open(place.as_ref())?)) };
    let (bucket, prefix) = url.split_once('/').unwrap_or((url, ""));
    let (bucket, prefix, handle) = (bucket.to_owned(), prefix.to_owned(), tokio::runtime::Handle::current());
    let opening = tokio::task::spawn_blocking(move || {
        let options = S3Options { endpoint, ..S3Options::new(spill) };
        let bucket = S3Bucket::connect(handle, &bucket, options)?;
        Ok(Arc::new(BucketStore::new(bucket, &prefix)) as Arc<dyn SpoolStore>)
    });
    opening.await.map_err(|error| Error::internal("opening the spool").because(error))?
}

pub(super) fn key_type(letter: char) -> KeyType {
    match letter {
        'S' => KeyType::S,
        'N' => KeyType::N,
        _ => KeyType::B,
    }
}

/// Opens the export, which reads and checks its manifests. It blocks, so it gets a thread that may.
async fn export(args: &SourceArgs, spill: PathBuf) -> Result<DynamoDbExport> {
    let location = ExportLocation::find(&args.from)?;
    let (endpoint, handle) = (args.s3_endpoint.clone(), tokio::runtime::Handle::current());
    let opening = tokio::task::spawn_blocking(move || {
        let objects = objects(&location.store(), spill, endpoint, handle)?;
        DynamoDbExport::open(&location, objects, &ExportOptions { page_bytes: config::PAGE_BYTES })
    });
    opening.await.map_err(|error| Error::internal("opening the export").because(error))?
}

/// Finds the chain of incremental exports, which reads their summaries; and what opens each of them.
///
/// # Errors
/// `Config` when there is no chain; `Corrupt` when a summary is not whole.
pub async fn chain(args: &ChangesArgs, spill: PathBuf) -> Result<(Chain, OpenLink)> {
    let location = ChainLocation::find(&args.from)?;
    let (endpoint, handle) = (args.s3_endpoint.clone(), tokio::runtime::Handle::current());
    let connect = move |store: &Store| objects(store, spill.clone(), endpoint.clone(), handle.clone());
    let finding = tokio::task::spawn_blocking(move || {
        let chain = Chain::open(&location, &connect(&location.store)?)?;
        let open = move |link: &Link| -> Result<Box<dyn Source>> {
            let options = ExportOptions { page_bytes: config::PAGE_BYTES };
            let objects = connect(&link.location.store())?;
            Ok(Box::new(DynamoDbExport::open_changes(&link.location, objects, &options)?))
        };
        Ok((chain, Arc::new(open) as OpenLink))
    });
    finding.await.map_err(|error| Error::internal("finding the chain").because(error))?
}

fn objects(store: &Store, spill: PathBuf, endpoint: Option<String>, handle: tokio::runtime::Handle) -> Result<Objects> {
    match store {
        Store::Folder(root) => Ok(Objects::folder(root.clone())),
        Store::S3(bucket) => {
            let options = S3Options { endpoint, ..S3Options::new(spill) };
            S3Bucket::connect(handle, bucket, options).map(Objects::S3)
        }
    }
}
