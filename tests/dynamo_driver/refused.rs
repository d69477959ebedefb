//! Each refusal has its kind and one sentence that says what to do next.

use super::{PATIENCE, call, client};
use crate::support::dynamo::{DynamoServer, config_of};
use crate::support::dynamo_proxy::{DynamoProxy, Faults, Reason};
use crate::support::orders::block_on;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;
use transvase::driver::dynamodb::{DynamoDb, Patience, Refusal, RefusalKind};
use transvase::error::ErrorKind;
use transvase::limit::throttle::{ThrottleReason, What};

fn scan(client: &DynamoDb) -> Refusal {
    block_on(client.scan(&call(0, 1, None))).unwrap_err()
}

/// A server that gives this answer to every request.
fn canned(status: u16, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut bytes = [0; 65536];
            let _read = socket.read(&mut bytes);
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _written = socket.write_all(format!("{head}{body}").as_bytes());
        }
    });
    url
}

#[test]
fn a_missing_table_is_named_with_the_place_it_was_looked_for() {
    let server = DynamoServer::start();
    let client = client(&server.url());
    let refusal = scan(&client);
    assert_eq!(refusal.kind, RefusalKind::Denied);
    assert_eq!(refusal.code, "ResourceNotFoundException");
    assert!(refusal.message.contains("there is no table items in http://127.0.0.1:"), "{refusal:?}");
    let error = block_on(client.describe("items")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("there is no table items"), "{error}");
}

#[test]
fn what_credentials_and_permissions_lack_is_said_in_one_sentence() {
    for (body, expected) in [
        (
            r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}"#,
            "have expired: renew them",
        ),
        (r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"m"}"#, "are not accepted"),
        (
            r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: u is not authorized"}"#,
            "access denied: grant dynamodb:Scan on table items to these credentials (User: u is not authorized)",
        ),
        (
            r#"{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Credential should be scoped to a valid region."}"#,
            "signed for another region",
        ),
    ] {
        let refusal = scan(&client(&canned(400, body)));
        assert_eq!(refusal.kind, RefusalKind::Denied, "{refusal:?}");
        assert!(refusal.message.contains(expected), "{refusal:?}");
        assert!(!refusal.message.contains('\n'), "{refusal:?}");
    }
}

#[test]
fn no_answer_and_no_use_of_an_answer_leave_the_outcome_unknown() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [
        format!("http://{nobody}"),
        canned(200, "{"),
        canned(200, r#"{"Count":1,"Items":[],"ScannedCount":1}"#),
        canned(500, "<html>"),
        canned(503, r#"{"__type":"ServiceUnavailable"}"#),
    ] {
        let refusal = scan(&client(&url));
        assert_eq!(refusal.kind, RefusalKind::Unknown, "{refusal:?}");
        assert!(refusal.message.contains(&url), "{refusal:?}");
        assert_eq!(refusal.into_error().kind(), ErrorKind::Transient);
    }
    let stranger = scan(&client(&canned(404, "not found")));
    assert_eq!(stranger.kind, RefusalKind::Denied);
    assert!(stranger.message.contains("check the endpoint"), "{stranger:?}");
}

#[test]
fn an_answer_that_never_comes_is_given_up_and_one_that_is_lost_or_damaged_noticed() {
    let server = DynamoServer::start();
    server.create("items", "k:S");
    server.load("items", [json!({"k": {"S": "1"}, "v": {"S": "value"}})]);
    let proxy = DynamoProxy::start(server.address, Faults { silent: 1.0, ..Faults::default() });
    let hasty = Patience { attempt: Duration::from_millis(300), ..PATIENCE };
    let refusal = scan(&DynamoDb::with_config(&config_of(&proxy.url()), hasty));
    assert_eq!((refusal.kind, refusal.code.as_str()), (RefusalKind::Unknown, "timeout"));
    let client = client(&proxy.url());
    proxy.set(Faults { lose: 1.0, ..Faults::default() });
    assert_eq!(scan(&client).kind, RefusalKind::Unknown);
    proxy.set(Faults { damage: 1.0, ..Faults::default() });
    let refusal = scan(&client);
    assert_eq!(refusal.kind, RefusalKind::Unknown);
    assert!(refusal.message.contains("CRC-32"), "{refusal:?}");
    proxy.set(Faults::default());
    assert_eq!(block_on(client.scan(&call(0, 1, None))).unwrap().items, 1);
}

#[test]
fn a_throttle_arrives_at_once_with_its_reasons() {
    let server = DynamoServer::start();
    server.create("items", "k:S");
    let proxy = DynamoProxy::start(server.address, Faults { throttle: 1.0, ..Faults::default() });
    let client = client(&proxy.url());
    for number in 0..24_u64 {
        let refusal = scan(&client);
        let RefusalKind::Throttled(reasons) = refusal.kind else { panic!("{refusal:?}") };
        let [reason] = &reasons[..] else { panic!("{reasons:?}") };
        assert!(!reason.write && reason.what != What::Unstated, "{reason:?}");
        assert_eq!(matches!(reason.what, What::TableKeyRange | What::IndexKeyRange(_)), number % 4 == 1, "{reason:?}");
        // no request was repeated behind our back
        assert_eq!(proxy.injected().count(|injected| &injected.throttled), number + 1);
    }
}

#[test]
fn a_model_of_capacity_decides_who_is_throttled() {
    let server = DynamoServer::start();
    server.create("items", "k:S");
    server.load("items", [json!({"k": {"S": "1"}})]);
    let proxy = DynamoProxy::start(server.address, Faults::default());
    let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/items/index/by-zip";
    let mut left = 1.0;
    proxy.admit_by(
        "k",
        Box::new(move |_, demand| {
            assert!((0.0..1.0).contains(&demand.place), "{demand:?}");
            left -= demand.units;
            let reason =
                if demand.write { "IndexWriteProvisionedThroughputExceeded" } else { "TableReadAccountLimitExceeded" };
            if left >= 0.0 { Ok(()) } else { Err(vec![Reason { reason: reason.to_owned(), resource: arn.to_owned() }]) }
        }),
    );
    let client = client(&proxy.url());
    for _ in 0..2 {
        assert_eq!(block_on(client.scan(&call(0, 1, None))).unwrap().charged.units, 0.5);
    }
    let account = ThrottleReason { what: What::TableAccount, write: false };
    assert_eq!(scan(&client).kind, RefusalKind::Throttled(vec![account]));
    let index = ThrottleReason { what: What::IndexProvisioned("by-zip".to_owned()), write: true };
    let refusal = block_on(client.put("items", br#"{"k":{"S":"2"}}"#, None)).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Throttled(vec![index.clone()]));
    let put = transvase::driver::dynamodb::Write::Put;
    let refusal =
        block_on(client.batch_write("items", &[put(br#"{"k":{"S":"2"}}"#), put(br#"{"k":{"S":"3"}}"#)])).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Throttled(vec![index]));
    assert_eq!(server.items("items").len(), 1);
}
