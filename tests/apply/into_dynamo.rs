//! Changes into a DynamoDB table, with bad days between: in the end it holds what they leave.

use super::history::{History, Totals};
use super::world::{Bench, apply};
use crate::support::canon;
use crate::support::dynamo::{DynamoServer, config_of};
use crate::support::dynamo_proxy::{DynamoProxy, Faults};
use crate::support::transvase::soak;
use serde_json::{Value, json};
use std::sync::Arc;
use transvase::driver::dynamodb::{DynamoDb, Patience};
use transvase::driver::target::Target;
use transvase::sink::destination::{Destination, DynamoDbTarget};
use transvase::sink::dynamodb::pace::Pace;

#[test]
fn a_table_holds_what_the_changes_leave_whatever_its_requests_meet() {
    let server = DynamoServer::start();
    let index = json!({
        "TableName": "items", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "zip", "AttributeType": "S"}],
        "GlobalSecondaryIndexes": [{"IndexName": "by-zip", "Projection": {"ProjectionType": "ALL"},
            "KeySchema": [{"AttributeName": "zip", "KeyType": "HASH"}]}],
    });
    server.create_from(index, "pk:N,sk:S");
    let proxy = DynamoProxy::start(server.address, Faults { seed: 3, hold: 0.2, ..Faults::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut history = History::new(77);
    for part in 0..2 {
        let lineages = history.lineages(if soak() { 3000 } else { 600 }, 3);
        let folder = tempfile::tempdir().unwrap();
        let state = Target::Sqlite(folder.path().join("state.db"));
        let bench = Bench::live(lineages.clone());
        let run = format!("t.follow.{part}");
        let report = runtime.block_on(async {
            let db = DynamoDb::with_config(&config_of(&proxy.url()), Patience::default());
            let description = db.describe("items").await.unwrap();
            let target = DynamoDbTarget { db, description, pace: Arc::new(Pace::unlimited()), state };
            apply(Destination::DynamoDb(Box::new(target)), folder.path(), bench, &run, &[]).await
        });
        assert!(report.adds_up(), "{report:?}");
        let (found, expected) = (Totals::of(&report), Totals::of_pages(&lineages));
        // tables of rows skip and reject what a table of items takes
        let counted = |totals: Totals| (totals.read, totals.removed, totals.superseded);
        assert_eq!(counted(found), counted(expected));
        assert!(found.rejected > 10 && found.skipped == 0, "{found:?}");
        let items = history.items.values().flatten().map(|item| serde_json::from_str::<Value>(item).unwrap());
        let expected = canon::sorted_items(items.map(|item| canon::item(&item)).collect());
        assert!(server.items("items") == expected, "part {part}: the table is another");
    }
    assert!(proxy.injected().count(|injected| &injected.held) > 20);
}
