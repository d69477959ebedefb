//! One change to a borrowed [`Change`]: an object with the members `Keys` and, unless the change is a delete, `NewImage`,
//! in any order. Other members say nothing of what is to be done; they need be no more than JSON.
//!
//! Keys and image are checked as items are. An image that is wrong leaves the keys, so that whoever applies the change still
//! knows which item it was; keys that are wrong, or not those of the image, leave nothing.

use super::{DecodeError, Decoder, check_map};
use crate::model::number::Number;
use crate::model::value::{Item, Value, after};
use simd_json::Node;

/// What became of an item.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The item's key attributes; each is a text, a number or a binary.
    pub keys: Item<'a>,
    /// The item as it is now; none when it was deleted. An error says why it cannot be an item.
    pub image: Result<Option<Item<'a>>, DecodeError>,
}

impl Decoder {
    /// Decodes one change and hands it to `use_change`. The line itself is not changed.
    ///
    /// # Errors
    /// Says why the line is no change; see [`DecodeError`].
    pub fn decode_change<T>(
        &mut self,
        line: &[u8],
        use_change: impl FnOnce(Change<'_>) -> T,
    ) -> Result<T, DecodeError> {
        self.with_tape(line, |nodes| change(nodes).map(use_change))
    }
}

/// Finds and validates the parts of a parsed change.
fn change<'a>(nodes: &'a [Node<'a>]) -> Result<Change<'a>, DecodeError> {
    let Some(Node::Object { len, .. }) = nodes.first() else { return Err(DecodeError::NoKeys) };
    let (mut keys_at, mut image_at) = (None, None);
    let mut next = 1;
    for _ in 0..*len {
        let place = match nodes.get(next) {
            Some(Node::String("Keys")) => Some(&mut keys_at),
            Some(Node::String("NewImage")) => Some(&mut image_at),
            _ => None,
        };
        if place.is_some_and(|place| place.replace(next + 1).is_some()) {
            return Err(DecodeError::NamedTwice);
        }
        next = after(nodes, next + 1);
    }
    let keys_at = keys_at.ok_or(DecodeError::NoKeys)?;
    check_map(nodes, keys_at, 0)?;
    let keys = Item::new(nodes, keys_at);
    if !keys.attributes().iter().all(|(_, value)| matches!(value, Value::S(_) | Value::N(_) | Value::B(_))) {
        return Err(DecodeError::NotDynamoDbJson);
    }
    let Some(image_at) = image_at else { return Ok(Change { keys, image: Ok(None) }) };
    if let Err(error) = check_map(nodes, image_at, 0) {
        return Ok(Change { keys, image: Err(error) });
    }
    let image = Item::new(nodes, image_at);
    let agrees = |(name, key): (&str, Value<'_>)| image.get(name).is_some_and(|value| same(key, value));
    if !keys.attributes().iter().all(agrees) {
        return Err(DecodeError::OtherKeys);
    }
    Ok(Change { keys, image: Ok(Some(image)) })
}

/// Whether two key values are one, however a number is spelled.
fn same(left: Value<'_>, right: Value<'_>) -> bool {
    match (left, right) {
        (Value::S(left), Value::S(right)) | (Value::B(left), Value::B(right)) => left == right,
        (Value::N(left), Value::N(right)) => left == right || Number::parse(left) == Number::parse(right),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys' and the image's first values, or why not.
    fn decoded(line: &str) -> Result<(String, Result<Option<usize>, DecodeError>), DecodeError> {
        let mut decoder = Decoder::default();
        let first = decoder.decode_change(line.as_bytes(), |change| {
            let keys = change.keys.attributes().iter().map(|(name, value)| format!("{name} {value:?}"));
            (keys.collect::<String>(), change.image.map(|image| image.map(|item| item.attributes().len())))
        });
        // whatever came before, the next line is decoded alike
        assert!(decoder.decode(br#"{"Item":{"a":{"S":"x"}}}"#, |_| ()).is_ok());
        first
    }

    #[test]
    fn a_change_is_its_keys_and_its_image_in_any_order_among_any_others() {
        let keys = "pk S(\"a\")".to_owned();
        for line in [
            r#"{"Keys":{"pk":{"S":"a"}},"NewImage":{"pk":{"S":"a"},"x":{"N":"1"}}}"#,
            r#"{"NewImage":{"x":{"N":"1"},"pk":{"S":"\u0061"}},"Keys":{"pk":{"S":"a"}}}"#,
            r#"{"Metadata":{"WriteTimestampMicros":{"N":"7"}},"OldImage":{"pk":3},"Keys":{"pk":{"S":"a"}}, "NewImage":{"pk":{"S":"a"},"x":{"N":"1"}},"SizeBytes":[7,{}]}"#,
        ] {
            assert_eq!(decoded(line), Ok((keys.clone(), Ok(Some(2)))), "{line}");
        }
        assert_eq!(decoded(r#"{"OldImage":{"pk":{"S":"a"}},"Keys":{"pk":{"S":"a"}}}"#), Ok((keys, Ok(None))));
    }

    #[test]
    fn an_image_that_is_wrong_leaves_the_keys() {
        for (image, error) in [
            ("null", DecodeError::NotDynamoDbJson),
            (r#"{"pk":{"S":"a"},"x":{"N":"1e999"}}"#, DecodeError::Number),
            (r#"{"pk":{"S":"a"},"pk":{"S":"a"}}"#, DecodeError::NamedTwice),
        ] {
            let line = format!(r#"{{"Keys":{{"pk":{{"S":"a"}}}},"NewImage":{image}}}"#);
            assert_eq!(decoded(&line), Ok(("pk S(\"a\")".to_owned(), Err(error))), "{line}");
        }
    }

    #[test]
    fn what_is_no_change_is_refused_with_its_reason() {
        for (line, error) in [
            (r#"{"Keys":{"pk":{"S":"a"}}"#, DecodeError::Json),
            (r#"{"Keys":{"pk":{"S":"a"}}} x"#, DecodeError::Json),
            (r#"["Keys"]"#, DecodeError::NoKeys),
            (r#"{"Item":{"pk":{"S":"a"}}}"#, DecodeError::NoKeys),
            (r#"{"Keys":null}"#, DecodeError::NotDynamoDbJson),
            (r#"{"Keys":{"pk":{"BOOL":true}}}"#, DecodeError::NotDynamoDbJson),
            (r#"{"Keys":{"pk":{"N":"one"}}}"#, DecodeError::Number),
            (r#"{"Keys":{"pk":{"S":"a"}},"Keys":{"pk":{"S":"a"}}}"#, DecodeError::NamedTwice),
            (r#"{"Keys":{"pk":{"S":"a"}},"NewImage":{"x":{"S":"a"}}}"#, DecodeError::OtherKeys),
            (r#"{"Keys":{"pk":{"S":"a"}},"NewImage":{"pk":{"S":"b"}}}"#, DecodeError::OtherKeys),
            (r#"{"Keys":{"pk":{"N":"1"}},"NewImage":{"pk":{"S":"1"}}}"#, DecodeError::OtherKeys),
        ] {
            assert_eq!(decoded(line), Err(error), "{line}");
        }
        let spelled = r#"{"Keys":{"pk":{"N":"1.0"}},"NewImage":{"pk":{"N":"1"}}}"#;
        assert_eq!(decoded(spelled), Ok(("pk N(\"1.0\")".to_owned(), Ok(Some(1)))));
    }
}
