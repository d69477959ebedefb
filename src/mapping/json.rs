//! Values as the text of a JSON column: with DynamoDB's type tags (lossless), or plain.
//!
//! Plain JSON must not lose a digit, and MySQL keeps JSON numbers beyond 64 bits, and every fraction, as doubles. So a
//! number is written as a JSON number when it is an integer that an `i64` or a `u64` holds, and as a JSON string of its
//! plain decimal text otherwise. Sets become arrays in canonical order, binaries their base64 text.

use super::convert::{Fault, Unfit, is_canonical};
use super::spec::JsonForm;
use crate::model::json::{sorted, sorted_numbers, write_array, write_object, write_string, write_value};
use crate::model::number::Number;
use crate::model::value::{Map, Value};

/// MySQL's JSON keeps the length of a member's name in 16 bits (error 3151).
const MAX_NAME_BYTES: usize = 65_535;

/// Appends `value`; fails when a name in it is too long for MySQL's JSON.
pub(super) fn write(value: Value<'_>, form: JsonForm, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    match form {
        JsonForm::DynamoDb => write_value(value, out),
        JsonForm::Plain => write_plain_value(value, out),
    }
    check_names(out.len() - start, || names_fit(value))
}

/// Checks a JSON text of `length` bytes: only one longer than a name may be can hold a name that is too long.
#[inline]
pub(super) fn check_names(length: usize, fit: impl FnOnce() -> bool) -> Result<(), Fault> {
    if length <= MAX_NAME_BYTES || fit() { Ok(()) } else { Err(Fault::Unfit(Unfit::LongName)) }
}

/// Whether no name anywhere in the map is too long.
pub(super) fn map_names_fit(map: Map<'_>) -> bool {
    map.iter().all(|(name, value)| name.len() <= MAX_NAME_BYTES && names_fit(value))
}

pub(super) fn names_fit(value: Value<'_>) -> bool {
    match value {
        Value::M(map) => map_names_fit(map),
        Value::L(list) => list.iter().all(names_fit),
        _ => true,
    }
}

fn write_plain_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::S(text) | Value::B(text) => write_string(text, out),
        Value::N(number) => write_number(number, out),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Null => out.extend_from_slice(b"null"),
        Value::M(map) => write_object(map.iter(), out, write_plain_value),
        Value::L(list) => write_array(list.iter(), out, write_plain_value),
        Value::Ss(members) | Value::Bs(members) => write_array(sorted(members).into_iter(), out, write_string),
        Value::Ns(members) => {
            write_array(sorted_numbers(members).into_iter(), out, |number, out| write_number(&number, out));
        }
    }
}

/// A JSON number if that keeps every digit, else a JSON string.
pub(super) fn write_number(number: &str, out: &mut Vec<u8>) {
    if is_canonical(number) {
        write_canonical(number, out);
    } else if let Ok(number) = Number::parse(number) {
        let mut plain = Vec::new();
        number.write_plain(&mut plain);
        write_canonical(&String::from_utf8_lossy(&plain), out);
    }
}

/// More digits than these, a sign among them, may not fit 64 bits.
const SURELY_INTEGER_BYTES: usize = 18;

fn write_canonical(plain: &str, out: &mut Vec<u8>) {
    let bytes = plain.as_bytes();
    let is_integer = !bytes.contains(&b'.')
        && (bytes.len() <= SURELY_INTEGER_BYTES || plain.parse::<i64>().is_ok() || plain.parse::<u64>().is_ok());
    if is_integer {
        out.extend_from_slice(bytes);
    } else {
        // digits, a point and a sign: nothing to escape
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decode::Decoder;

    fn written(item: &str, form: JsonForm) -> String {
        let mut out = Vec::new();
        let line = format!("{{\"Item\":{{\"a\":{item}}}}}");
        let value = Decoder::default().decode(line.as_bytes(), |item| write(item.get("a").unwrap(), form, &mut out));
        value.unwrap().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_json_loses_no_digit() {
        for (number, expected) in [
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "\"18446744073709551616\""),
            ("-9223372036854775808", "-9223372036854775808"),
            ("-9223372036854775809", "\"-9223372036854775809\""),
            ("0.1", "\"0.1\""),
            ("1.50e1", "15"),
            ("999999999999999999", "999999999999999999"),
            ("-1000000000000000000", "-1000000000000000000"),
            ("-0", "0"),
            ("1E-3", "\"0.001\""),
        ] {
            assert_eq!(written(&format!("{{\"N\":\"{number}\"}}"), JsonForm::Plain), expected);
        }
    }

    #[test]
    fn plain_json_of_every_type() {
        let value = r#"{"M":{"s":{"S":"q\""},"z":{"NULL":true},"t":{"BOOL":false},"b":{"B":"AQ=="},"l":{"L":[{"N":"1"},{"M":{}}]},"ns":{"NS":["10","9","1e0"]},"ss":{"SS":["b","a"]},"bs":{"BS":["Ag==","AQ=="]}}}"#;
        assert_eq!(
            written(value, JsonForm::Plain),
            r#"{"s":"q\"","z":null,"t":false,"b":"AQ==","l":[1,{}],"ns":[1,9,10],"ss":["a","b"],"bs":["AQ==","Ag=="]}"#
        );
        assert_eq!(written(value, JsonForm::DynamoDb), value);
    }

    #[test]
    fn a_name_that_mysql_cannot_hold_is_refused() {
        let item =
            |length: usize| format!(r#"{{"Item":{{"a":{{"L":[{{"M":{{"{}":{{"N":"1"}}}}}}]}}}}}}"#, "n".repeat(length));
        for (length, expected) in [(65_535, Ok(())), (65_536, Err(Fault::Unfit(Unfit::LongName)))] {
            let line = item(length);
            let result = Decoder::default()
                .decode(line.as_bytes(), |item| write(item.get("a").unwrap(), JsonForm::Plain, &mut Vec::new()));
            assert_eq!(result.unwrap(), expected);
        }
    }
}
