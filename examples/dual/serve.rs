//! A DynamoDB in memory, with a table of orders.

use dynoxide::{Database, ImportOptions};
use serde_json::json;
use std::io::{self, Write};
use tokio::net::TcpListener;

/// The table, and its key.
pub(crate) const TABLE: &str = "orders";
pub(crate) const KEY: &str = "order_id";

/// An order's id.
pub(crate) fn id(number: u64) -> String {
    format!("order-{number:06}")
}

/// Listens on a free port of loopback, and prints its URL.
///
/// # Errors
/// When the table cannot be made, or the port not be had.
pub(crate) async fn serve(items: u64) -> io::Result<()> {
    let database = Database::memory().map_err(io::Error::other)?;
    let table = json!({
        "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": KEY, "AttributeType": "S"}],
    });
    database.create_table(serde_json::from_value(table)?).map_err(io::Error::other)?;
    let order = |number| serde_json::from_value(json!({KEY: {"S": id(number)}, "version": {"N": "0"}}));
    let orders = (0..items).map(order).collect::<Result<Vec<_>, _>>()?;
    database.import_items(TABLE, orders, ImportOptions::default()).map_err(io::Error::other)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let served = dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()).await;
    served.map_err(io::Error::other)
}
