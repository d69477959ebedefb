//! Each answer has its sentence and its kind; no answer has an item's value in it.

use super::*;

fn asked(writes: bool) -> Asked<'static> {
    Asked { call: if writes { "PutItem" } else { "Scan" }, table: "orders", place: "eu-west-1", writes }
}

fn sorted(writes: bool, status: u16, code: &str, message: &str) -> Refusal {
    sort(asked(writes), Reply { status, code: code.to_owned(), message: message.to_owned(), reasons: Vec::new() })
}

#[test]
fn what_somebody_has_to_mend_is_said_with_the_next_step() {
    let cases = [
        (
            400,
            "ResourceNotFoundException",
            "Requested resource not found",
            "no table orders in eu-west-1: check its name and",
        ),
        (400, "AccessDeniedException", "User: arn:u is not authorized", "grant dynamodb:Scan on table orders"),
        (400, "ExpiredTokenException", "The security token included in the request is expired", "have expired: renew"),
        (
            400,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            "not accepted in",
        ),
        (400, "InvalidSignatureException", "Credential should be scoped to a valid region.", "another region"),
        (400, "InvalidSignatureException", "Signature expired: 2020 is now earlier than 2021", "clock is wrong"),
        (
            400,
            "InvalidSignatureException",
            "The request signature we calculated does not match",
            "check the access key",
        ),
        (400, "MissingAuthenticationTokenException", "", "not accepted"),
        (400, "KMSAccessDeniedException", "key k", "the key of table orders cannot be used"),
        (
            400,
            "ValidationException",
            "1 validation error detected: Value at 'tableName' failed",
            "cannot be a table's name",
        ),
        (403, "", "", "check the endpoint, and proxies"),
        (404, "", "", "does not answer as DynamoDB does (status 404)"),
    ];
    for (status, code, message, expected) in cases {
        let refusal = sorted(false, status, code, message);
        assert_eq!(refusal.kind, RefusalKind::Denied, "{code}");
        assert!(refusal.message.contains(expected), "{code}: {}", refusal.message);
        assert_eq!(refusal.into_error().kind(), ErrorKind::Config);
    }
}

#[test]
fn what_may_have_happened_is_told_from_what_did_not() {
    for (status, code) in
        [(500, "InternalServerError"), (503, "ServiceUnavailable"), (502, ""), (400, "TransactionConflictException")]
    {
        assert_eq!(sorted(true, status, code, "").kind, RefusalKind::Unknown, "{status} {code}");
    }
    assert_eq!(sorted(true, 400, "ConditionalCheckFailedException", "").kind, RefusalKind::ConditionFailed);
    assert_eq!(
        sorted(false, 400, "ValidationException", "The provided starting key is invalid").kind,
        RefusalKind::Other
    );
}

#[test]
fn throttles_keep_their_reasons() {
    let body = br#"{"__type":"x#ThrottlingException","message":"m","ThrottlingReasons":[
        {"reason":"TableReadKeyRangeThroughputExceeded","resource":"arn:aws:dynamodb:r:1:table/t"},
        {"reason":"IndexWriteAccountLimitExceeded","resource":"arn:aws:dynamodb:r:1:table/t/index/i"}]}"#;
    let expected = vec![
        ThrottleReason { what: What::TableKeyRange, write: false },
        ThrottleReason { what: What::IndexAccount("i".into()), write: true },
    ];
    assert_eq!(reasons(body), expected);
    for code in ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"] {
        let reply = Reply { status: 400, code: code.into(), reasons: expected.clone(), ..Reply::default() };
        assert_eq!(sort(asked(false), reply).kind, RefusalKind::Throttled(expected.clone()));
    }
    let unstated = ThrottleReason { what: What::Unstated, write: true };
    assert_eq!(sorted(true, 400, "ThrottlingException", "").kind, RefusalKind::Throttled(vec![unstated]));
    let account = ThrottleReason { what: What::TableAccount, write: false };
    assert_eq!(sorted(false, 400, "RequestLimitExceeded", "").kind, RefusalKind::Throttled(vec![account]));
    assert_eq!(reasons(b"no JSON"), []);
}

#[test]
fn an_item_is_condemned_by_a_listed_error_and_never_quoted() {
    let condemned = [
        "The parameter cannot be converted to a numeric value: SECRET",
        "One or more parameter values were invalid: Type mismatch for key SECRET expected: S actual: N",
        "One or more parameter values were invalid: Missing the key pk in the item",
        "Item size has exceeded the maximum allowed size",
        "Attempting to store more than 38 significant digits in a Number",
        "One or more parameter values were invalid: Input collection [SECRET, SECRET] contains duplicates.",
        "One or more parameter values were invalid: SECRET",
    ];
    for message in condemned {
        let refusal = sorted(true, 400, "ValidationException", message);
        assert_eq!(refusal.kind, RefusalKind::Value, "{message}");
        assert!(!refusal.message.contains("SECRET"), "{}", refusal.message);
    }
    let other = [
        "Provided list of item keys contains duplicates",
        "Invalid ConditionExpression: SECRET",
        "Too many items requested for the BatchWriteItem call",
        "something new: SECRET",
    ];
    for message in other {
        let refusal = sorted(true, 400, "ValidationException", message);
        assert_eq!(refusal.kind, RefusalKind::Other, "{message}");
        assert!(!refusal.message.contains("SECRET"), "{}", refusal.message);
    }
    // a scan sends no item: nothing of it can be one's value error
    assert_eq!(sorted(false, 400, "ValidationException", "Number overflow").kind, RefusalKind::Other);
}
