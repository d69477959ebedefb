//! Dual writes on real stores: the emulated DynamoDB table beside MySQL, MariaDB and an SQLite file.

mod held;
mod loading;
mod races;
mod rejected;
mod steps;
mod stores;
mod unguarded;

use crate::phases::{NAME, target};
use crate::support::dynamo::{DynamoServer, config_of};
use crate::support::orders::{KEY, Place};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use transvase::driver::dynamodb::{DynamoDb, Patience};
use transvase::dual::application::Application;
use transvase::dual::dynamodb::DynamoItems;
use transvase::dual::mysql::{SqlOptions, SqlRows};
use transvase::dual::stores::{Item, Key, Rows, Transaction};
use transvase::dual::{Instance, Options};
use transvase::mapping::{Mapping, parse_key};

/// How long a store's answer is waited for: longer than a busy machine takes.
const REQUEST: Duration = Duration::from_secs(60);

/// A runtime for all that a test's stores do: their sessions live on it.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// As a backfill with the orders' key maps them.
fn mapping() -> Arc<Mapping> {
    Arc::new(Mapping::document(&parse_key(KEY).unwrap(), NAME, &[]).unwrap())
}

/// The rows in a place where the migration was begun.
async fn rows(place: &Place) -> SqlRows {
    let options = SqlOptions { request: REQUEST, idle: REQUEST * 5, create_tables: true, ..SqlOptions::default() };
    SqlRows::open(&target(place), NAME, mapping(), options).await.unwrap()
}

/// An empty table of orders, and the way to it.
async fn items(server: &DynamoServer) -> DynamoItems {
    server.create(NAME, KEY);
    let service = DynamoDb::with_config(&config_of(&server.url()), Patience::default());
    DynamoItems::open(service, NAME, REQUEST).await.unwrap()
}

/// An instance's options: nothing of it is late on a busy machine, and it mends at once.
fn options(name: &str) -> Options {
    let times = (REQUEST * 3, Duration::from_millis(50), Duration::from_millis(50));
    let (lease, heartbeat, mend_every) = times;
    Options { request: REQUEST, lease, heartbeat, mend_every, ..Options::new(name, &["customer_id", "order_id"]) }
}

/// An instance of an application on a table that is there, and both of its stores.
async fn application(
    server: &DynamoServer,
    place: &Place,
    name: &str,
) -> (Instance<DynamoItems, SqlRows>, DynamoItems, SqlRows) {
    application_with(server, place, options(name)).await
}

/// The same, with other options.
async fn application_with(
    server: &DynamoServer,
    place: &Place,
    options: Options,
) -> (Instance<DynamoItems, SqlRows>, DynamoItems, SqlRows) {
    let service = DynamoDb::with_config(&config_of(&server.url()), Patience::default());
    let items = DynamoItems::open(service.clone(), NAME, REQUEST).await.unwrap();
    let shop = Application::new(service, NAME, target(place)).create_tables();
    (shop.instance(options).await.unwrap(), items, rows(place).await)
}

/// Runs statements amid what a runtime of its own does.
async fn execute(place: &Place, statements: &'static str) {
    let place = place.clone();
    tokio::task::spawn_blocking(move || place.execute(statements)).await.unwrap();
}

/// Waits until it is so.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The order of this number, as of this version.
fn order(number: u32, version: u32) -> Item {
    let item = json!({"customer_id": {"S": format!("c-{number}")}, "order_id": {"S": "o"}, "version": {"N": version.to_string()}});
    object(item)
}

fn object(value: Value) -> Item {
    let Value::Object(object) = value else { panic!("{value} is no object") };
    object
}

/// An item's key.
fn key(item: &Item) -> Key {
    let (customer, order) = (&item["customer_id"], &item["order_id"]);
    Key { text: json!({"customer_id": customer, "order_id": order}).to_string() }
}

/// One transaction that makes the item's row this, or removes it.
async fn settle(rows: &SqlRows, key: &Key, image: Option<&Item>) {
    loop {
        let mut transaction = rows.begin().await.unwrap();
        // the loader may hold the row: then it is tried again
        if transaction.guard(key).await.is_ok() && transaction.write(key, image).await.is_ok() {
            transaction.commit().await.unwrap();
            return;
        }
    }
}
