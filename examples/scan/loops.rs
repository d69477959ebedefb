//! The two client loops. Alike but for who decodes: as many tasks as segments, each asking for its next page at once.
//!
//! What they read is counted and dropped; counting is what keeps it from being optimised away.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use std::io;
use tokio::task::JoinSet;
use transvase::driver::dynamodb::{DynamoDb, Endpoint, ScanCall};

/// The table that the server claims to hold.
const TABLE: &str = "orders";

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Read {
    pub(crate) pages: u64,
    pub(crate) items: u64,
}

/// The SDK's own `scan().send()`, its items typed.
///
/// # Errors
/// Any failure of any request.
pub(crate) async fn sdk(url: &str, segments: u32) -> io::Result<Read> {
    let shared = aws_config::defaults(BehaviorVersion::v2026_01_12()).endpoint_url(url).load().await;
    let client = Client::new(&shared);
    let total = i32::try_from(segments).map_err(io::Error::other)?;
    let mut tasks = JoinSet::new();
    for segment in 0..total {
        tasks.spawn(sdk_segment(client.clone(), segment, total));
    }
    sum(tasks).await
}

async fn sdk_segment(client: Client, segment: i32, total: i32) -> io::Result<Read> {
    let (mut read, mut after) = (Read::default(), None);
    loop {
        let call = client.scan().table_name(TABLE).segment(segment).total_segments(total);
        let call = call.return_consumed_capacity(ReturnConsumedCapacity::Total).set_exclusive_start_key(after);
        let page = call.send().await.map_err(|error| io::Error::other(DisplayErrorContext(error).to_string()))?;
        read.pages += 1;
        read.items += page.items().len() as u64;
        after = page.last_evaluated_key;
        if after.is_none() {
            return Ok(read);
        }
    }
}

/// The engine's driver: raw bodies, cut into lines.
///
/// # Errors
/// Any failure of any request.
pub(crate) async fn driver(url: &str, segments: u32) -> io::Result<Read> {
    let endpoint = Endpoint { url: Some(url.to_owned()), region: None };
    let driver = DynamoDb::connect(&endpoint).await.map_err(io::Error::other)?;
    let mut tasks = JoinSet::new();
    for segment in 0..segments {
        tasks.spawn(driver_segment(driver.clone(), segment, segments));
    }
    sum(tasks).await
}

async fn driver_segment(driver: DynamoDb, segment: u32, segments: u32) -> io::Result<Read> {
    let (mut read, mut after) = (Read::default(), None::<String>);
    loop {
        let call =
            ScanCall { table: TABLE, segment, segments, after: after.as_deref(), limit: None, consistent: false };
        let page = driver.scan(&call).await.map_err(|refusal| io::Error::other(refusal.message))?;
        read.pages += 1;
        read.items += page.items;
        after = page.next;
        if after.is_none() {
            return Ok(read);
        }
    }
}

async fn sum(mut tasks: JoinSet<io::Result<Read>>) -> io::Result<Read> {
    let mut sum = Read::default();
    while let Some(joined) = tasks.join_next().await {
        let read = joined.map_err(io::Error::other)??;
        sum.pages += read.pages;
        sum.items += read.items;
    }
    Ok(sum)
}
