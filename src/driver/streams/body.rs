//! Cuts the body of a GetRecords answer into lines, and reads the answers that hold no items.
//!
//! Promises: keys and images are copied as they came, never parsed and printed again. The body is read by JSON's grammar to
//! its last byte; one that is not whole, or a record without keys or number, is an error, never fewer records. Sequence
//! numbers stay text. Must not know: who asked, and what a change does.

use super::{Records, ShardDescription, StreamPage};
use crate::driver::dynamodb::body::push_on_one_line;
use crate::driver::dynamodb::json::{Malformed, Members, skip_space, skip_value};
use serde::Deserialize;

/// Digits of a sequence number at most [API reference].
const DIGITS_MAX: usize = 40;

/// What is known of a record beside its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its sequence number: digits, at most 40.
    pub sequence: String,
    /// When it was made, in seconds since 1970; none where a server does not tell.
    pub created: Option<u64>,
    /// What the record says that it is.
    pub event: EventName,
    /// Whether it has the item after the change.
    pub has_image: bool,
    /// Whether the service deleted the item because its time was over.
    pub expired: bool,
    /// Where its line ends in the lines, the newline included.
    pub end: usize,
}

/// What a record says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventName {
    /// INSERT.
    Insert,
    /// MODIFY.
    Modify,
    /// REMOVE.
    Remove,
    /// Something else, or nothing.
    Other,
}

/// Cuts the body of a GetRecords answer.
///
/// # Errors
/// `Malformed`, which names the place and what was expected there, never a value.
pub fn cut_records(body: &[u8]) -> Result<Records, Malformed> {
    if std::str::from_utf8(body).is_err() {
        return Err(Malformed::new(0, "UTF-8"));
    }
    let mut cut = Records::default();
    let mut seen = false;
    let mut members = Members::open(body)?;
    while let Some((name, at)) = members.next_member()? {
        let end = match name {
            b"Records" if seen => return Err(Malformed::new(at, "one list of records")),
            b"Records" => {
                seen = true;
                cut.lines.reserve(body.len());
                cut_list(body, at, &mut cut)?
            }
            _ => skip_value(body, at)?,
        };
        if name == b"NextShardIterator" {
            cut.next = text(body.get(at..end).unwrap_or_default(), at)?;
        }
        members.resume(end);
    }
    if seen { Ok(cut) } else { Err(Malformed::new(body.len(), "a list of records")) }
}

/// Cuts the records of the list at `at`; gives the place after it.
fn cut_list(body: &[u8], at: usize, cut: &mut Records) -> Result<usize, Malformed> {
    if body.get(at) != Some(&b'[') {
        return Err(Malformed::new(at, "a list of records"));
    }
    let mut at = skip_space(body, at + 1);
    if body.get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    loop {
        let end = skip_value(body, at)?;
        cut_record(body.get(at..end).unwrap_or_default(), cut).map_err(|_| Malformed::new(at, "a record"))?;
        at = skip_space(body, end);
        match body.get(at) {
            Some(b',') => at = skip_space(body, at + 1),
            Some(b']') => return Ok(at + 1),
            _ => return Err(Malformed::new(at, "`,` or `]`")),
        }
    }
}

/// Appends the line of one record.
fn cut_record(record: &[u8], cut: &mut Records) -> Result<(), Malformed> {
    let (mut event, mut expired, mut change) = (EventName::Other, false, None);
    let mut members = Members::open(record)?;
    while let Some((name, at)) = members.next_member()? {
        let end = skip_value(record, at)?;
        let value = record.get(at..end).unwrap_or_default();
        match name {
            b"eventName" => event = event_name(value),
            b"userIdentity" => expired = is_expiry(value),
            b"dynamodb" if change.is_some() => return Err(Malformed::new(at, "one change")),
            b"dynamodb" => change = Some(cut_change(value, &mut cut.lines)?),
            _ => {}
        }
        members.resume(end);
    }
    let change = change.ok_or(Malformed::new(0, "a change"))?;
    cut.changes.push(Change { event, expired, ..change });
    Ok(())
}

/// Appends the line of a record's `dynamodb`.
fn cut_change(json: &[u8], lines: &mut Vec<u8>) -> Result<Change, Malformed> {
    let (mut keys, mut image, mut sequence, mut created) = (None, None, None, None);
    let mut members = Members::open(json)?;
    while let Some((name, at)) = members.next_member()? {
        let end = skip_value(json, at)?;
        let value = json.get(at..end).unwrap_or_default();
        match name {
            b"Keys" => keys = object(value, at)?,
            b"NewImage" => image = object(value, at)?,
            b"SequenceNumber" => sequence = text(value, at)?,
            b"ApproximateCreationDateTime" => created = seconds(value),
            _ => {}
        }
        members.resume(end);
    }
    let keys = keys.ok_or(Malformed::new(0, "keys"))?;
    let sequence = sequence.filter(|digits| is_sequence(digits)).ok_or(Malformed::new(0, "a sequence number"))?;
    lines.extend_from_slice(b"{\"Keys\":");
    push_on_one_line(lines, keys);
    if let Some(image) = image {
        lines.extend_from_slice(b",\"NewImage\":");
        push_on_one_line(lines, image);
    }
    lines.extend_from_slice(b",\"SequenceNumber\":\"");
    lines.extend_from_slice(sequence.as_bytes());
    lines.extend_from_slice(b"\"}\n");
    let has_image = image.is_some();
    Ok(Change { sequence, created, event: EventName::Other, has_image, expired: false, end: lines.len() })
}

/// Whether a text is a sequence number: so many digits as the service gives, and nothing else.
#[must_use]
pub fn is_sequence(text: &str) -> bool {
    (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn event_name(value: &[u8]) -> EventName {
    match value {
        b"\"INSERT\"" => EventName::Insert,
        b"\"MODIFY\"" => EventName::Modify,
        b"\"REMOVE\"" => EventName::Remove,
        _ => EventName::Other,
    }
}

/// Whether this is who deletes items whose time is over [developer guide, TTL and streams].
fn is_expiry(value: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Identity {
        #[serde(rename = "type", alias = "Type")]
        kind: Option<String>,
        #[serde(rename = "principalId", alias = "PrincipalId")]
        principal: Option<String>,
    }
    serde_json::from_slice::<Identity>(value).is_ok_and(|identity| {
        identity.kind.as_deref() == Some("Service") && identity.principal.as_deref() == Some("dynamodb.amazonaws.com")
    })
}

/// Whole seconds of a time that may have a fraction. It is no item's value.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since 1970")]
fn seconds(value: &[u8]) -> Option<u64> {
    let seconds: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (0.0..1e12).contains(&seconds).then_some(seconds as u64)
}

/// A member that is an object, or absent, which `null` says as well.
fn object(value: &[u8], at: usize) -> Result<Option<&[u8]>, Malformed> {
    match value.first() {
        Some(b'{') => Ok(Some(value)),
        _ if value == b"null" => Ok(None),
        _ => Err(Malformed::new(at, "an object")),
    }
}

/// A member that is a string, or absent.
fn text(value: &[u8], at: usize) -> Result<Option<String>, Malformed> {
    serde_json::from_slice(value).map_err(|_| Malformed::new(at, "a string"))
}

/// Reads the answer to GetShardIterator.
pub(super) fn read_iterator(body: &[u8]) -> Result<String, Malformed> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "ShardIterator")]
        iterator: String,
    }
    let read: Result<Body, _> = serde_json::from_slice(body);
    read.map(|body| body.iterator).map_err(|_| Malformed::new(0, "a shard iterator"))
}

/// Reads the answer to DescribeStream.
pub(super) fn read_stream(body: &[u8]) -> Result<StreamPage, Malformed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        stream_description: Description,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Description {
        stream_status: Option<String>,
        stream_view_type: Option<String>,
        creation_request_date_time: Option<serde_json::Number>,
        #[serde(default)]
        shards: Vec<Shard>,
        last_evaluated_shard_id: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shard {
        shard_id: String,
        parent_shard_id: Option<String>,
        sequence_number_range: Option<Range>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Range {
        starting_sequence_number: Option<String>,
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| Malformed::new(0, "the description of a stream"))?;
    let shard = |shard: Shard| {
        let start = shard.sequence_number_range.and_then(|range| range.starting_sequence_number);
        let start = start.filter(|number| !number.is_empty());
        if start.as_deref().is_some_and(|number| !is_sequence(number)) {
            return Err(Malformed::new(0, "a shard's sequence numbers"));
        }
        Ok(ShardDescription { id: shard.shard_id, parent: shard.parent_shard_id.filter(|id| !id.is_empty()), start })
    };
    let described = body.stream_description;
    Ok(StreamPage {
        status: described.stream_status.unwrap_or_default(),
        view: described.stream_view_type.unwrap_or_default(),
        created: described.creation_request_date_time.and_then(|time| seconds(time.to_string().as_bytes())),
        shards: described.shards.into_iter().map(shard).collect::<Result<_, _>>()?,
        next: described.last_evaluated_shard_id.filter(|id| !id.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: &str = r#"{"eventID":"1","eventName":"INSERT","awsRegion":"r","dynamodb":{"ApproximateCreationDateTime":1700000000.5,
"Keys":{"k":{"S":"}"}},"NewImage":{"k":{"S":"}"},"n":{"N":"-0.10e5"}},"SequenceNumber":"0000000000000000000000000000000000000012","SizeBytes":9,"StreamViewType":"NEW_IMAGE"}}"#;
    const EXPIRY: &str = r#"{"eventName":"REMOVE","userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},
"dynamodb":{"SequenceNumber":"13","Keys":{"k":{"S":"a"}},"OldImage":{"k":{"S":"a"}}}}"#;

    #[test]
    fn records_become_lines_whose_bytes_are_the_servers() {
        let body = format!(r#"{{"NextShardIterator":"it\"er","Records":[{PUT}, {EXPIRY}]}}"#);
        let cut = cut_records(body.as_bytes()).unwrap();
        let lines = concat!(
            r#"{"Keys":{"k":{"S":"}"}},"NewImage":{"k":{"S":"}"},"n":{"N":"-0.10e5"}},"SequenceNumber":"0000000000000000000000000000000000000012"}"#,
            "\n",
            r#"{"Keys":{"k":{"S":"a"}},"SequenceNumber":"13"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(cut.lines).unwrap(), lines);
        assert_eq!(cut.next.as_deref(), Some("it\"er"));
        let [put, expiry] = cut.changes.as_slice() else { panic!("two changes") };
        assert_eq!(
            (put.event, put.has_image, put.expired, put.created),
            (EventName::Insert, true, false, Some(1_700_000_000))
        );
        assert_eq!((expiry.event, expiry.has_image, expiry.expired), (EventName::Remove, false, true));
        assert_eq!((put.sequence.len(), expiry.end), (40, lines.len()));
        let empty = cut_records(br#"{"Records":[],"NextShardIterator":null}"#).unwrap();
        assert!(empty.lines.is_empty() && empty.changes.is_empty() && empty.next.is_none());
    }

    #[test]
    fn an_answer_that_is_not_whole_is_refused() {
        let whole = format!(r#"{{"Records":[{PUT},{EXPIRY}],"NextShardIterator":"i"}}"#);
        assert!(cut_records(whole.as_bytes()).is_ok());
        for end in 0..whole.len() {
            assert!(cut_records(whole.get(..end).unwrap().as_bytes()).is_err(), "{end}");
        }
        for wrong in [
            r#"{"NextShardIterator":"i"}"#,
            r#"{"Records":[{}]}"#,
            r#"{"Records":[{"dynamodb":{"Keys":{"k":{"S":"a"}}}}]}"#,
            r#"{"Records":[{"dynamodb":{"SequenceNumber":"1"}}]}"#,
            r#"{"Records":[{"dynamodb":{"Keys":{"k":{"S":"a"}},"SequenceNumber":"1x"}}]}"#,
            r#"{"Records":[{"dynamodb":{"Keys":{"k":{"S":"a"}},"SequenceNumber":"1","NewImage":"x"}}]}"#,
            r#"{"Records":[],"Records":[]}"#,
            r#"{"Records":[],"NextShardIterator":7}"#,
        ] {
            assert!(cut_records(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shards_are_described_with_what_they_continue() {
        let body =
            br#"{"StreamDescription":{"StreamStatus":"ENABLED","StreamViewType":"NEW_IMAGE","LastEvaluatedShardId":"b",
"CreationRequestDateTime":1.780000000123E9,
"Shards":[{"ShardId":"a","SequenceNumberRange":{"StartingSequenceNumber":"100"}},
{"ShardId":"b","ParentShardId":"a","SequenceNumberRange":{}}]}}"#;
        let page = read_stream(body).unwrap();
        assert_eq!(
            (page.status.as_str(), page.view.as_str(), page.next.as_deref()),
            ("ENABLED", "NEW_IMAGE", Some("b"))
        );
        assert_eq!(page.created, Some(1_780_000_000));
        assert_eq!(page.shards[0], ShardDescription { id: "a".into(), parent: None, start: Some("100".into()) });
        assert_eq!(page.shards[1], ShardDescription { id: "b".into(), parent: Some("a".into()), start: None });
        assert_eq!(read_iterator(br#"{"ShardIterator":"x"}"#).unwrap(), "x");
        assert!(read_iterator(b"{}").is_err() && read_stream(b"{}").is_err());
        let untold = br#"{"StreamDescription":{"StreamStatus":"ENABLED","Shards":[]}}"#;
        assert_eq!(read_stream(untold).unwrap().created, None);
    }
}
