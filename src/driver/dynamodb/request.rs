//! The bodies of requests: JSON written around the bytes of items. Pure.

use super::body::push_on_one_line;

/// One page of a scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanCall<'a> {
    /// The table.
    pub table: &'a str,
    /// Which segment, from 0.
    pub segment: u32,
    /// Of how many: 1 to 1,000,000. Positions of another number of segments are worth nothing.
    pub segments: u32,
    /// After which key, as raw JSON: what the page before gave as `next`. None begins the segment.
    pub after: Option<&'a str>,
    /// At most so many items; none for as many as fit in 1 MB.
    pub limit: Option<u32>,
    /// Strongly consistent, at twice the price.
    pub consistent: bool,
}

/// The body of a Scan.
pub(super) fn scan(call: &ScanCall<'_>) -> Vec<u8> {
    let mut body = format!(
        r#"{{"TableName":{},"Segment":{},"TotalSegments":{},"ConsistentRead":{},"ReturnConsumedCapacity":"TOTAL""#,
        quoted(call.table),
        call.segment,
        call.segments,
        call.consistent
    );
    if let Some(limit) = call.limit {
        body.push_str(&format!(r#","Limit":{limit}"#));
    }
    if let Some(after) = call.after {
        body.push_str(r#","ExclusiveStartKey":"#);
        body.push_str(after);
    }
    body.push('}');
    body.into_bytes()
}

/// The body of a PutItem.
pub(super) fn put(table: &str, item: &[u8], absent: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(item.len() + 256);
    body.extend_from_slice(
        format!(r#"{{"TableName":{},"ReturnConsumedCapacity":"INDEXES","#, quoted(table)).as_bytes(),
    );
    if let Some(key) = absent {
        // by a placeholder: a name may be a reserved word, and hold any character
        let names = format!(r##""ExpressionAttributeNames":{{"#k":{}}},"##, quoted(key));
        body.extend_from_slice(br#""ConditionExpression":"attribute_not_exists(#k)","#);
        body.extend_from_slice(names.as_bytes());
    }
    body.extend_from_slice(br#""Item":"#);
    push_on_one_line(&mut body, item);
    body.push(b'}');
    body
}

/// The body of a consistent GetItem.
pub(super) fn get(table: &str, key: &[u8]) -> Vec<u8> {
    let mut body = format!(r#"{{"TableName":{},"ConsistentRead":true,"Key":"#, quoted(table)).into_bytes();
    push_on_one_line(&mut body, key);
    body.push(b'}');
    body
}

/// The body of a consistent BatchGetItem.
pub(super) fn batch_get(table: &str, keys: &[&[u8]]) -> Vec<u8> {
    let mut body = format!(
        r#"{{"ReturnConsumedCapacity":"TOTAL","RequestItems":{{{}:{{"ConsistentRead":true,"Keys":["#,
        quoted(table)
    )
    .into_bytes();
    for (position, key) in keys.iter().enumerate() {
        if position > 0 {
            body.push(b',');
        }
        push_on_one_line(&mut body, key);
    }
    body.extend_from_slice(b"]}}}");
    body
}

/// One write of a batch; each part is a JSON object in DynamoDB's notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write<'a> {
    /// Puts an item, whatever is there.
    Put(&'a [u8]),
    /// Deletes the item of a key, if there is one.
    Delete(&'a [u8]),
}

/// The body of a BatchWriteItem.
pub(super) fn batch_write(table: &str, writes: &[Write<'_>]) -> Vec<u8> {
    let bytes = |write: &Write<'_>| match write {
        Write::Put(object) | Write::Delete(object) => object.len() + 32,
    };
    let mut body = Vec::with_capacity(writes.iter().map(bytes).sum::<usize>() + 256);
    let head = format!(r#"{{"ReturnConsumedCapacity":"INDEXES","RequestItems":{{{}:["#, quoted(table));
    body.extend_from_slice(head.as_bytes());
    for (position, write) in writes.iter().enumerate() {
        if position > 0 {
            body.push(b',');
        }
        let (head, object) = match write {
            Write::Put(item) => (&br#"{"PutRequest":{"Item":"#[..], *item),
            Write::Delete(key) => (&br#"{"DeleteRequest":{"Key":"#[..], *key),
        };
        body.extend_from_slice(head);
        push_on_one_line(&mut body, object);
        body.extend_from_slice(b"}}");
    }
    body.extend_from_slice(b"]}}");
    body
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn a_scan_says_where_it_goes_on() {
        let call = ScanCall { table: "t", segment: 3, segments: 9, after: None, limit: None, consistent: false };
        let first = json!({"TableName": "t", "Segment": 3, "TotalSegments": 9, "ConsistentRead": false,
            "ReturnConsumedCapacity": "TOTAL"});
        assert_eq!(parsed(&scan(&call)), first);
        let after = r#"{"k":{"N":"12345678901234567890123456789012345678"}}"#;
        let later = scan(&ScanCall { after: Some(after), limit: Some(5), consistent: true, ..call });
        assert!(later.ends_with(format!(r#""ExclusiveStartKey":{after}}}"#).as_bytes()));
        assert_eq!((&parsed(&later)["Limit"], &parsed(&later)["ConsistentRead"]), (&json!(5), &json!(true)));
    }

    #[test]
    fn names_are_quoted_and_items_copied() {
        let body = put("t", br#"{"k":{"S":"1"}}"#, Some("a\"b"));
        assert_eq!(parsed(&body)["ExpressionAttributeNames"], json!({"#k": "a\"b"}));
        assert_eq!(parsed(&body)["Item"], json!({"k": {"S": "1"}}));
        assert_eq!(parsed(&put("t", b"{}", None)).as_object().unwrap().len(), 3);
        let key: &[u8] = b"{\"k\":{\"S\":\"a\"}}";
        let writes = [Write::Put(b"{\"k\":{\"N\":\"1e2\"}}"), Write::Put(b"{\n}"), Write::Delete(key)];
        let written = json!([{"PutRequest": {"Item": {"k": {"N": "1e2"}}}}, {"PutRequest": {"Item": {}}},
            {"DeleteRequest": {"Key": {"k": {"S": "a"}}}}]);
        assert_eq!(parsed(&batch_write("t", &writes))["RequestItems"]["t"], written);
        let keys: [&[u8]; 2] = [b"{\"k\":{\"S\":\"a\"}}", b"{\"k\":{\"S\":\"b\"}}"];
        let gets = json!({"ConsistentRead": true, "Keys": [{"k": {"S": "a"}}, {"k": {"S": "b"}}]});
        assert_eq!(parsed(&batch_get("t", &keys))["RequestItems"]["t"], gets);
    }
}
