//! Whether two items are one: the text that is the same for every spelling of an item.
//!
//! Attribute order, the order of a set's members and the spelling of a number mean nothing to DynamoDB, and an item
//! that is read back may have others than the one that was written.

use super::decode::Decoder;
use super::json::{sorted, sorted_numbers, write_array, write_object, write_string};
use super::number::Number;
use super::value::{Item, Map, Value};

/// The canonical form of an item given as a DynamoDB JSON object; none when it is not one.
#[must_use]
pub fn canonical(decoder: &mut Decoder, item: &[u8]) -> Option<Vec<u8>> {
    let line = [b"{\"Item\":", item, b"}"].concat();
    let mut out = Vec::with_capacity(item.len());
    decoder.decode(&line, |item| write_canonical(item, &mut out)).ok()?;
    Some(out)
}

/// Writes the item with its attributes sorted by name, sets sorted, numbers as plain decimal text.
pub fn write_canonical(item: Item<'_>, out: &mut Vec<u8>) {
    write_map(item.attributes(), out);
}

fn write_map(map: Map<'_>, out: &mut Vec<u8>) {
    let mut members: Vec<(&str, Value<'_>)> = map.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    write_object(members.into_iter(), out, write_value);
}

fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(value.tag().as_bytes());
    out.extend_from_slice(b"\":");
    match value {
        Value::N(text) => {
            let mut plain = Vec::new();
            if let Ok(number) = Number::parse(text) {
                number.write_plain(&mut plain);
            }
            write_string(&String::from_utf8_lossy(&plain), out);
        }
        Value::S(text) | Value::B(text) => write_string(text, out),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Null => out.extend_from_slice(b"true"),
        Value::M(map) => write_map(map, out),
        Value::L(list) => write_array(list.iter(), out, write_value),
        Value::Ss(members) | Value::Bs(members) => write_array(sorted(members).into_iter(), out, write_string),
        Value::Ns(members) => {
            write_array(sorted_numbers(members).into_iter(), out, |number, out| write_string(&number, out));
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) -> bool {
        let mut decoder = Decoder::default();
        let left = canonical(&mut decoder, left.as_bytes()).unwrap();
        left == canonical(&mut decoder, right.as_bytes()).unwrap()
    }

    #[test]
    fn spelling_does_not_count_and_values_do() {
        assert!(same(
            r#"{"a":{"N":"1.0"},"s":{"NS":["2","1e1"]},"m":{"M":{"x":{"SS":["b","a"]},"y":{"NULL":true}}}}"#,
            r#"{"m":{"M":{"y":{"NULL":true},"x":{"SS":["a","b"]}}},"s":{"NS":["10","2.0"]},"a":{"N":"1"}}"#
        ));
        assert!(same(r#"{"a":{"S":"\u00e9"}}"#, r#"{"a":{"S":"é"}}"#));
        for (left, right) in [
            (r#"{"a":{"N":"1"}}"#, r#"{"a":{"S":"1"}}"#),
            (r#"{"a":{"L":[{"N":"1"},{"N":"2"}]}}"#, r#"{"a":{"L":[{"N":"2"},{"N":"1"}]}}"#),
            (r#"{"a":{"N":"1"}}"#, r#"{"a":{"N":"1.0000000000000000000000000000000000001"}}"#),
            (r#"{"a":{"BOOL":true}}"#, r#"{"a":{"BOOL":false}}"#),
            (r#"{"a":{"N":"1"}}"#, r#"{"a":{"N":"1"},"b":{"NULL":true}}"#),
        ] {
            assert!(!same(left, right), "{left} {right}");
        }
        assert!(canonical(&mut Decoder::default(), b"[]").is_none());
    }
}
