//! The text of a DynamoDB key, as it is typed after `--key` and in a mapping file: `customer_id:S,order_id:S`.

use super::{KeyAttribute, KeyType};
use crate::error::{Error, Result};

/// Longest name of a key attribute in bytes [developer guide, ServiceQuotas].
const MAX_NAME_BYTES: usize = 255;

/// Reads one or two `NAME:TYPE`, divided by a comma: the partition key, then the sort key. A name may hold colons;
/// the type is what follows the last.
///
/// # Errors
/// `Config`, saying what is wrong and how a key is written.
pub fn parse_key(text: &str) -> Result<Vec<KeyAttribute>> {
    if text.trim().is_empty() {
        return Err(Error::config("the key is empty: write NAME:TYPE, as in customer_id:S,order_id:S"));
    }
    let key = text.split(',').map(|part| attribute(part.trim())).collect::<Result<Vec<_>>>()?;
    if key.len() > 2 {
        let count = key.len();
        return Err(Error::config(format!("a DynamoDB key has one or two attributes, not {count}: {text}")));
    }
    if let [partition, sort] = key.as_slice()
        && partition.name == sort.name
    {
        return Err(Error::config(format!("key attribute {} is named twice", sort.name)));
    }
    Ok(key)
}

fn attribute(part: &str) -> Result<KeyAttribute> {
    let Some((name, ty)) = part.rsplit_once(':') else {
        return Err(Error::config(format!("key attribute {part} has no type: write {part}:S, {part}:N or {part}:B")));
    };
    let ty = match ty {
        "S" => KeyType::S,
        "N" => KeyType::N,
        "B" => KeyType::B,
        _ => {
            let message = format!("key attribute {name} has type {ty}: a key is S (string), N (number) or B (binary)");
            return Err(Error::config(message));
        }
    };
    if name.is_empty() {
        return Err(Error::config(format!("a key attribute in {part} has no name: write NAME:TYPE")));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Error::config(format!("key attribute {name} has a name longer than {MAX_NAME_BYTES} bytes")));
    }
    Ok(KeyAttribute { name: name.to_owned(), ty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_or_two_typed_names() {
        let key = parse_key("customer_id:S, order_id:N").unwrap();
        assert_eq!(key[0], KeyAttribute { name: "customer_id".into(), ty: KeyType::S });
        assert_eq!(key[1], KeyAttribute { name: "order_id".into(), ty: KeyType::N });
        assert_eq!(parse_key("a:b:B").unwrap(), [KeyAttribute { name: "a:b".into(), ty: KeyType::B }]);
    }

    #[test]
    fn a_malformed_key_says_how_to_write_it() {
        for (text, said) in [
            ("", "customer_id:S,order_id:S"),
            ("id", "id:S"),
            ("id:X", "S (string)"),
            ("id:s", "S (string)"),
            (":S", "no name"),
            ("a:S,", "no type"),
            ("a:S,b:S,c:S", "one or two"),
            ("a:S,a:N", "twice"),
        ] {
            let message = parse_key(text).unwrap_err().to_string();
            assert!(message.contains(said), "{text}: {message}");
        }
        assert!(parse_key(&format!("{}:S", "n".repeat(256))).is_err());
    }
}
