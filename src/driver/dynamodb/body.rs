//! Cuts the body of a Scan answer into DynamoDB JSON lines, and finds the few members of an answer that are not items.
//!
//! Promises: an item's bytes are copied as they came, never parsed and printed again, so that a number of 38 digits stays
//! what the server wrote. The body is read by JSON's grammar (RFC 8259) to its last byte, and the number of items must be
//! the answer's `Count`: a body that is cut short, doubled or otherwise not what it should be is an error, never a
//! shorter page. Must not know: what the values mean, nor who asked.

use super::json::{Malformed, Members, skip_space, skip_value};
use memchr::memchr2;

/// What a Scan answer holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScanBody<'a> {
    /// `{"Item":{…}}` and a newline for each item.
    pub lines: Vec<u8>,
    /// How many lines.
    pub items: u64,
    /// `LastEvaluatedKey` as it came; none at the segment's end.
    pub next: Option<&'a [u8]>,
    /// `ConsumedCapacity` as it came.
    pub consumed: Option<&'a [u8]>,
}

/// What stands around an item in a line.
const OPEN: &[u8] = b"{\"Item\":";
const CLOSE: &[u8] = b"}\n";

/// Cuts the body of a Scan answer.
///
/// # Errors
/// `Malformed`, which names the place and what was expected there, never a value.
pub fn cut_scan(body: &[u8]) -> Result<ScanBody<'_>, Malformed> {
    if std::str::from_utf8(body).is_err() {
        return Err(Malformed::new(0, "UTF-8"));
    }
    let mut cut = ScanBody::default();
    let (mut count, mut items_seen) = (None, false);
    let mut members = Members::open(body)?;
    while let Some((name, at)) = members.next()? {
        let end = match name {
            b"Items" if items_seen => return Err(Malformed::new(at, "one list of items")),
            b"Items" => {
                items_seen = true;
                // lines are longer than what they are cut from by 9 bytes an item
                cut.lines.reserve(body.len() + body.len() / 8);
                cut_items(body, at, &mut cut)?
            }
            _ => skip_value(body, at)?,
        };
        let value = body.get(at..end).unwrap_or_default();
        match name {
            b"Count" => count = Some(number(value).ok_or(Malformed::new(at, "a count"))?),
            b"LastEvaluatedKey" => cut.next = object(value, at)?,
            b"ConsumedCapacity" => cut.consumed = object(value, at)?,
            _ => {}
        }
        members.resume(end);
    }
    if !items_seen {
        return Err(Malformed::new(body.len(), "a list of items"));
    }
    if count != Some(cut.items) {
        return Err(Malformed::new(body.len(), "as many items as Count says"));
    }
    Ok(cut)
}

/// Copies the items of the list at `at` into lines; gives the place after it.
fn cut_items(body: &[u8], at: usize, cut: &mut ScanBody<'_>) -> Result<usize, Malformed> {
    if body.get(at) != Some(&b'[') {
        return Err(Malformed::new(at, "a list of items"));
    }
    let mut at = skip_space(body, at + 1);
    if body.get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    loop {
        if body.get(at) != Some(&b'{') {
            return Err(Malformed::new(at, "an item"));
        }
        let end = skip_value(body, at)?;
        cut.lines.extend_from_slice(OPEN);
        push_on_one_line(&mut cut.lines, body.get(at..end).unwrap_or_default());
        cut.lines.extend_from_slice(CLOSE);
        cut.items += 1;
        at = skip_space(body, end);
        match body.get(at) {
            Some(b',') => at = skip_space(body, at + 1),
            Some(b']') => return Ok(at + 1),
            _ => return Err(Malformed::new(at, "`,` or `]`")),
        }
    }
}

/// Appends valid JSON without its line ends: those can only stand between its tokens, for in a string they are escaped.
pub fn push_on_one_line(lines: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(end) = memchr2(b'\n', b'\r', rest) {
        let (line, tail) = rest.split_at(end);
        lines.extend_from_slice(line);
        rest = tail.get(1..).unwrap_or_default();
    }
    lines.extend_from_slice(rest);
}

/// A member that is an object, or absent, which `null` says as well.
fn object(value: &[u8], at: usize) -> Result<Option<&[u8]>, Malformed> {
    match value {
        [b'{', inner @ .., b'}'] if inner.iter().any(|byte| !byte.is_ascii_whitespace()) => Ok(Some(value)),
        b"null" => Ok(None),
        _ => Err(Malformed::new(at, "an object with members")),
    }
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
