//! The DynamoDB driver against a real server: what it reads is what was put, byte for byte where bytes matter, and each
//! way in which a request can fail is told apart.

mod refused;
mod writes;

use crate::generator::items::{Items, Shape};
use crate::support::canon;
use crate::support::dynamo::{DynamoServer, config_of};
use crate::support::dynamo_proxy::{DynamoProxy, Faults};
use crate::support::orders::block_on;
use serde_json::{Value, json};
use std::time::Duration;
use transvase::driver::dynamodb::{DynamoDb, Patience, Refusal, RefusalKind, ScanCall, Scanned};

/// Short, for what never comes; long enough for a busy machine to answer in.
const PATIENCE: Patience = Patience { connect: Duration::from_secs(5), attempt: Duration::from_secs(20) };

fn client(url: &str) -> DynamoDb {
    DynamoDb::with_config(&config_of(url), PATIENCE)
}

fn call<'a>(segment: u32, segments: u32, after: Option<&'a str>) -> ScanCall<'a> {
    ScanCall { table: "items", segment, segments, after, limit: None, consistent: false }
}

/// Pages of a segment until its end; what is refused is asked for again.
async fn segment(client: &DynamoDb, segment: u32, segments: u32, limit: Option<u32>) -> Vec<Scanned> {
    let mut pages: Vec<Scanned> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.next.clone());
        let asked = ScanCall { limit, ..call(segment, segments, after.as_deref()) };
        let page = match client.scan(&asked).await {
            Ok(page) => page,
            Err(Refusal { kind: RefusalKind::Throttled(_) | RefusalKind::Unknown, .. }) => continue,
            Err(other) => panic!("{other:?}"),
        };
        let ends = page.next.is_none();
        pages.push(page);
        if ends {
            return pages;
        }
    }
}

/// Every item of the table, in canonical form and order, read in segments.
fn scan_all(client: &DynamoDb, segments: u32, limit: Option<u32>) -> Vec<Value> {
    let pages = block_on(async {
        let mut pages = Vec::new();
        for number in 0..segments {
            pages.extend(segment(client, number, segments, limit).await);
        }
        pages
    });
    let mut items = Vec::new();
    for page in &pages {
        let lines = page.lines.split_inclusive(|byte| *byte == b'\n');
        let found: Vec<Value> = lines.map(canon::line).collect();
        assert_eq!(found.len() as u64, page.items);
        items.extend(found);
    }
    canon::sorted_items(items)
}

/// The lines of the first `count` items of a shape, but for those at the limit of depth: the emulator takes a level less.
fn lines(shape: Shape, count: u64) -> Vec<u8> {
    let items = Items::new(shape, 5);
    let mut lines = Vec::new();
    for index in 0..count {
        let mut line = Vec::new();
        items.write_line(index, &mut line).unwrap();
        if !line.windows(7).any(|part| part == b"32 deep") {
            lines.extend(line);
        }
    }
    lines
}

#[test]
fn a_scan_reads_what_was_put_whatever_its_types_and_segments() {
    for (shape, key, count) in [
        (Shape::Awkward, "pk:S,sk:S", 60),
        (Shape::AwkwardBinary, "pk:B,sk:B", 60),
        (Shape::AwkwardNumber, "pk:N,sk:N", 60),
        (Shape::Random, "pk:S,sk:N", 400),
    ] {
        let server = DynamoServer::start();
        server.create("items", key);
        let lines = lines(shape, count);
        server.load_lines("items", &lines);
        let put: Vec<Value> = lines.split_inclusive(|byte| *byte == b'\n').map(canon::line).collect();
        let put = canon::sorted_items(put);
        let client = client(&server.url());
        for segments in [1, 7] {
            assert!(scan_all(&client, segments, None) == put, "{shape:?} in {segments} segments");
        }
    }
}

#[test]
fn a_position_in_the_middle_of_a_segment_loses_and_repeats_nothing() {
    for (shape, key) in [(Shape::Random, "pk:S,sk:N"), (Shape::AwkwardBinary, "pk:B,sk:B")] {
        let server = DynamoServer::start();
        server.create("items", key);
        server.load_lines("items", &lines(shape, 60));
        let client = client(&server.url());
        let in_pages = scan_all(&client, 3, Some(7));
        assert!(in_pages.len() > 50, "{}", in_pages.len());
        assert!(in_pages == server.items("items"), "{shape:?}");
    }
}

#[test]
fn numbers_of_38_digits_come_back_digit_by_digit() {
    let server = DynamoServer::start();
    server.create("items", "k:N");
    let numbers = [
        "12345678901234567890123456789012345678",
        "-0.00000000000000000000000000000000000001234567890123456789012345678901234567",
        "9007199254740993",
    ];
    server.load("items", numbers.map(|number| json!({"k": {"N": number}, "l": {"L": [{"N": number}]}})));
    let client = client(&server.url());
    let page = block_on(client.scan(&call(0, 1, None))).unwrap();
    let text = String::from_utf8(page.lines).unwrap();
    for number in numbers {
        assert!(text.contains(&format!(r#""k":{{"N":"{number}"}}"#)), "{number} in {text}");
    }
    // and a key of that many digits is a position
    let first = ScanCall { limit: Some(1), ..call(0, 1, None) };
    let next = block_on(client.scan(&first)).unwrap().next.unwrap();
    assert!(numbers.iter().any(|number| next == format!(r#"{{"k":{{"N":"{number}"}}}}"#)), "{next}");
}

#[test]
fn a_scan_is_charged_as_the_server_says() {
    let server = DynamoServer::start();
    server.create("items", "pk:S,sk:S");
    server.load(
        "items",
        (0..8).map(|at| json!({"pk": {"S": "a"}, "sk": {"S": at.to_string()}, "v": {"S": "x".repeat(4000)}})),
    );
    let client = client(&server.url());
    let page = block_on(client.scan(&call(0, 1, None))).unwrap();
    assert_eq!((page.items, page.charged.units, page.next), (8, 4.0, None));
    let page = block_on(client.scan(&ScanCall { consistent: true, ..call(0, 1, None) })).unwrap();
    assert_eq!(page.charged.units, 8.0);
    let empty =
        (0..64).map(|segment| block_on(client.scan(&call(segment, 64, None))).unwrap()).find(|page| page.items == 0);
    let empty = empty.expect("one partition key leaves most of 64 segments empty");
    assert_eq!((empty.lines.len(), empty.next), (0, None));
}

#[test]
fn a_table_is_described() {
    let server = DynamoServer::start();
    server.create_from(
        json!({"TableName": "provisioned", "BillingMode": "PROVISIONED",
            "ProvisionedThroughput": {"ReadCapacityUnits": 500, "WriteCapacityUnits": 40},
            "AttributeDefinitions": [{"AttributeName": "zip", "AttributeType": "S"}],
            "GlobalSecondaryIndexes": [{"IndexName": "by-zip", "Projection": {"ProjectionType": "ALL"},
                "KeySchema": [{"AttributeName": "zip", "KeyType": "HASH"}],
                "ProvisionedThroughput": {"ReadCapacityUnits": 7, "WriteCapacityUnits": 9}}]}),
        "id:B,at:N",
    );
    server.create_from(
        json!({"TableName": "on-demand", "BillingMode": "PAY_PER_REQUEST",
            "OnDemandThroughput": {"MaxReadRequestUnits": 1000}}),
        "id:S",
    );
    let client = client(&server.url());
    let table = block_on(client.describe("provisioned")).unwrap();
    assert_eq!((table.name.as_str(), table.active), ("provisioned", true));
    assert!(table.arn.ends_with(":table/provisioned") && !table.id.is_empty(), "{table:?}");
    assert_eq!(table.key, [("id".to_owned(), 'B'), ("at".to_owned(), 'N')]);
    assert_eq!((table.read.provisioned, table.write.provisioned), (Some(500.0), Some(40.0)));
    let index = &table.indexes[0];
    assert_eq!(
        (index.name.as_str(), &index.key[..], index.write.provisioned),
        ("by-zip", &["zip".to_owned()][..], Some(9.0))
    );
    let table = block_on(client.describe("on-demand")).unwrap();
    assert_eq!(table.key, [("id".to_owned(), 'S')]);
    assert_eq!((table.read.provisioned, table.read.on_demand_max), (None, Some(1000.0)));
    assert_eq!((table.write.provisioned, table.write.on_demand_max), (None, None));
}

#[test]
fn a_scan_through_faults_reads_every_item_once() {
    let server = DynamoServer::start();
    server.create("items", "pk:S,sk:N");
    server.load_lines("items", &lines(Shape::Random, 300));
    let faults = Faults {
        seed: 11,
        throttle: 0.1,
        fail: 0.1,
        lose: 0.1,
        damage: 0.1,
        empty: 0.2,
        slow: vec![(1, Duration::from_millis(2))],
        ..Faults::default()
    };
    let proxy = DynamoProxy::start(server.address, faults);
    let items = scan_all(&client(&proxy.url()), 4, Some(5));
    assert_eq!(items.len(), 300);
    assert!(items == server.items("items"));
    let injected = proxy.injected();
    for (name, count) in [
        ("throttled", &injected.throttled),
        ("failed", &injected.failed),
        ("lost", &injected.lost),
        ("damaged", &injected.damaged),
        ("empty", &injected.emptied),
        ("slow", &injected.slowed),
    ] {
        assert!(count.load(std::sync::atomic::Ordering::SeqCst) > 0, "no request was {name}: {injected:?}");
    }
}
