//! Puts: what is sent is what is stored, what is there is kept when it should be, and nothing of a batch is dropped.

use super::{client, lines};
use crate::generator::items::Shape;
use crate::support::canon;
use crate::support::dynamo::DynamoServer;
use crate::support::dynamo_proxy::{DynamoProxy, Faults};
use crate::support::orders::block_on;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use transvase::driver::dynamodb::{RefusalKind, Write};

/// The items of lines: each line without `{"Item":` and its end.
fn items(lines: &[u8]) -> Vec<&[u8]> {
    let each = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    each.map(|line| line.strip_prefix(b"{\"Item\":").unwrap().strip_suffix(b"}").unwrap()).collect()
}

fn puts<'a>(items: &[&'a [u8]]) -> Vec<Write<'a>> {
    items.iter().map(|item| Write::Put(item)).collect()
}

fn canonical(lines: &[u8]) -> Vec<Value> {
    canon::sorted_items(items(lines).iter().map(|item| canon::item(&serde_json::from_slice(item).unwrap())).collect())
}

#[test]
fn items_of_every_type_are_stored_as_they_are() {
    let server = DynamoServer::start();
    server.create("items", "pk:S,sk:S");
    let lines = lines(Shape::Awkward, 60);
    let client = client(&server.url());
    block_on(async {
        for item in items(&lines) {
            let charged = client.put("items", item, None).await.unwrap();
            assert!(charged.units >= 1.0 && charged.indexes.is_empty(), "{charged:?}");
        }
    });
    assert!(server.items("items") == canonical(&lines));
}

#[test]
fn a_put_where_absent_keeps_what_is_there() {
    let server = DynamoServer::start();
    // a reserved word, and one that only a placeholder can carry
    for (table, key) in [("reserved", "name"), ("odd", "a.b\"c#")] {
        server.create(table, &format!("{key}:S"));
        server.load(table, [json!({key: {"S": "1"}, "v": {"S": "old"}})]);
        let client = client(&server.url());
        let item = |id: &str| json!({key: {"S": id}, "v": {"S": "new"}}).to_string();
        let refusal = block_on(client.put(table, item("1").as_bytes(), Some(key))).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::ConditionFailed);
        assert_eq!(block_on(client.put(table, item("2").as_bytes(), Some(key))).unwrap().units, 1.0);
        let stored = [json!({key: {"S": "1"}, "v": {"S": "old"}}), json!({key: {"S": "2"}, "v": {"S": "new"}})];
        assert_eq!(server.items(table), canon::sorted_items(stored.iter().map(canon::item).collect()));
        block_on(client.put(table, item("1").as_bytes(), None)).unwrap();
        assert!(server.items(table).iter().all(|item| item["v"] == json!({"S": "new"})));
    }
}

#[test]
fn the_units_of_an_index_are_told_from_those_of_its_table() {
    let server = DynamoServer::start();
    server.create_from(
        json!({"TableName": "items", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "zip", "AttributeType": "S"}],
            "GlobalSecondaryIndexes": [{"IndexName": "by-zip", "Projection": {"ProjectionType": "KEYS_ONLY"},
                "KeySchema": [{"AttributeName": "zip", "KeyType": "HASH"}]}]}),
        "k:S",
    );
    let client = client(&server.url());
    let large = json!({"k": {"S": "1"}, "zip": {"S": "z"}, "v": {"S": "x".repeat(3000)}}).to_string();
    let charged = block_on(client.put("items", large.as_bytes(), None)).unwrap();
    assert_eq!((charged.units, &charged.indexes[..], charged.total()), (3.0, &[("by-zip".to_owned(), 1.0)][..], 4.0));
    let batch =
        block_on(client.batch_write("items", &puts(&[br#"{"k":{"S":"2"},"zip":{"S":"z"}}"#, br#"{"k":{"S":"3"}}"#])))
            .unwrap();
    assert_eq!((batch.charged.units, &batch.charged.indexes[..]), (2.0, &[("by-zip".to_owned(), 1.0)][..]));
    let wrong = block_on(client.put("items", br#"{"k":{"S":"4"},"zip":{"N":"1"}}"#, None)).unwrap_err();
    assert_eq!(wrong.kind, RefusalKind::Value, "{wrong:?}");
}

#[test]
fn an_item_that_cannot_be_stored_is_condemned_and_not_quoted() {
    let server = DynamoServer::start();
    server.create("items", "k:S");
    let client = client(&server.url());
    let too_large = json!({"k": {"S": "1"}, "v": {"S": "SECRET".repeat(70_000)}}).to_string();
    for item in [
        r#"{"k":{"N":"1"},"v":{"S":"SECRET"}}"#,
        r#"{"v":{"S":"SECRET"}}"#,
        r#"{"k":{"S":""},"v":{"S":"SECRET"}}"#,
        r#"{"k":{"S":"1"},"n":{"N":"SECRET"}}"#,
        r#"{"k":{"S":"1"},"n":{"N":"123456789012345678901234567890123456789"}}"#,
        r#"{"k":{"S":"1"},"n":{"N":"1e999"}}"#,
        r#"{"k":{"S":"1"},"s":{"SS":["SECRET","SECRET"]}}"#,
        r#"{"k":{"S":"1"},"s":{"SS":[]}}"#,
        &too_large,
    ] {
        let what = item.get(..80).unwrap_or(item);
        let refusal = block_on(client.put("items", item.as_bytes(), None)).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Value, "{what}: {refusal:?}");
        assert!(!refusal.message.contains("SECRET"), "{refusal:?}");
        let sound = br#"{"k":{"S":"sound"}}"#;
        let refusal = block_on(client.batch_write("items", &puts(&[sound, item.as_bytes()]))).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Value, "{what}: {refusal:?}");
        assert!(!refusal.message.contains("SECRET"), "{refusal:?}");
    }
    let twin: &[u8] = br#"{"k":{"S":"twin"}}"#;
    let refusal = block_on(client.batch_write("items", &puts(&[twin, twin]))).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Other, "equal keys in one batch are the caller's fault: {refusal:?}");
    assert!(server.items("items").is_empty());
}

#[test]
fn deletes_and_puts_of_one_batch_are_done_and_those_held_back_are_named() {
    let server = DynamoServer::start();
    server.create("items", "id:N");
    let item = |id: u64, note: &str| json!({"id": {"N": id.to_string()}, "note": {"S": note}});
    server.load("items", (0..200).map(|id| item(id, "old")));
    let faults = Faults { seed: 5, hold: 0.4, ..Faults::default() };
    let proxy = DynamoProxy::start(server.address, faults);
    let client = client(&proxy.url());
    // every fourth is put and every fourth deleted, its key in another spelling; there is no item 201
    let new: Vec<String> = (0..50).map(|step| item(step * 4, "new").to_string()).collect();
    let keys: Vec<String> = (0..51).map(|step| format!(r#"{{"id":{{"N":"{}.0"}}}}"#, step * 4 + 1)).collect();
    let puts = new.iter().map(|item| Write::Put(item.as_bytes()));
    let mut left: Vec<Write<'_>> = puts
        .zip(keys.iter().map(|key| Write::Delete(key.as_bytes())))
        .flat_map(|(put, delete)| [put, delete])
        .collect();
    left.push(Write::Delete(keys[50].as_bytes()));
    block_on(async {
        while !left.is_empty() {
            let now = left.split_off(left.len().saturating_sub(25));
            match client.batch_write("items", &now).await {
                Ok(batch) => left.extend(batch.unprocessed.iter().map(|at| now[*at])),
                Err(refusal) => {
                    assert!(matches!(refusal.kind, RefusalKind::Throttled(_)), "{refusal:?}");
                    left.extend(now);
                }
            }
        }
    });
    let expected = (0..200).filter(|id| id % 4 != 1).map(|id| item(id, if id % 4 == 0 { "new" } else { "old" }));
    assert!(server.items("items") == canon::sorted_items(expected.map(|item| canon::item(&item)).collect()));
    assert!(proxy.injected().count(|injected| &injected.held) > 5);
}

#[test]
fn items_held_back_are_named_until_all_are_stored() {
    let server = DynamoServer::start();
    server.create("items", "pk:S,sk:N");
    let lines = lines(Shape::Random, 200);
    let faults = Faults { seed: 3, hold: 0.4, ..Faults::default() };
    let proxy = DynamoProxy::start(server.address, faults);
    let client = client(&proxy.url());
    let held = block_on(async {
        let mut held = 0;
        for batch in items(&lines).chunks(25) {
            let mut left: Vec<&[u8]> = batch.to_vec();
            while !left.is_empty() {
                match client.batch_write("items", &puts(&left)).await {
                    Ok(batch) => {
                        held += batch.unprocessed.len() as u64;
                        let distinct: BTreeSet<usize> = batch.unprocessed.iter().copied().collect();
                        assert_eq!(distinct.len(), batch.unprocessed.len());
                        left = batch.unprocessed.iter().map(|at| left[*at]).collect();
                    }
                    Err(refusal) => assert!(matches!(refusal.kind, RefusalKind::Throttled(_)), "{refusal:?}"),
                }
            }
        }
        held
    });
    assert!(server.items("items") == canonical(&lines));
    // named exactly, not the whole batch for want of recognising them
    assert_eq!(held, proxy.injected().count(|injected| &injected.held));
    assert!(held > 20, "{held}");
}

#[test]
fn a_put_whose_answer_is_lost_has_happened() {
    let server = DynamoServer::start();
    server.create("items", "k:S");
    let proxy = DynamoProxy::start(server.address, Faults { lose: 1.0, ..Faults::default() });
    let client = client(&proxy.url());
    let item = br#"{"k":{"S":"1"}}"#;
    assert_eq!(block_on(client.put("items", item, Some("k"))).unwrap_err().kind, RefusalKind::Unknown);
    assert_eq!(server.items("items").len(), 1);
    proxy.set(Faults::default());
    assert_eq!(block_on(client.put("items", item, Some("k"))).unwrap_err().kind, RefusalKind::ConditionFailed);
}
