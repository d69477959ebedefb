//! Items as values: whether two are one, and whether a condition holds of one. Pure.

use super::stores::{Item, When};
use crate::model;
use crate::model::decode::Decoder;
use serde_json::Value;

/// The text that is the same for every spelling of an item; none when it is not an item.
pub(super) fn canonical(item: &Item) -> Option<String> {
    let text = serde_json::to_vec(item).ok()?;
    String::from_utf8(model::canonical::canonical(&mut Decoder::default(), &text)?).ok()
}

/// Whether both hold the same.
pub(super) fn same(left: Option<&Item>, right: Option<&Item>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => {
            left == right || canonical(left).is_some_and(|text| canonical(right) == Some(text))
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

impl When {
    /// Whether it holds of what is there.
    #[must_use]
    pub fn holds(&self, there: Option<&Item>) -> bool {
        match self {
            When::Always => true,
            When::Absent => there.is_none(),
            When::Present => there.is_some(),
            When::Has(name, value) => {
                let has = there.and_then(|item| item.get(name));
                has.is_some_and(|has| same(Some(&alone(has)), Some(&alone(value))))
            }
        }
    }
}

/// An item of one attribute.
fn alone(value: &Value) -> Item {
    std::iter::once(("value".to_owned(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dual::stores::Key;

    fn item(text: &str) -> Item {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_condition_holds_of_a_value_however_it_is_spelt() {
        let there = item(r#"{"id":{"S":"a"},"n":{"N":"1.0"}}"#);
        let has = |value: &str| When::Has("n".into(), serde_json::from_str(value).unwrap());
        assert!(has(r#"{"N":"1"}"#).holds(Some(&there)));
        assert!(!has(r#"{"S":"1"}"#).holds(Some(&there)) && !has(r#"{"N":"1"}"#).holds(None));
        assert!(When::Absent.holds(None) && !When::Absent.holds(Some(&there)));
        assert!(When::Present.holds(Some(&there)) && !When::Present.holds(None));
        assert!(When::Always.holds(None));
    }

    #[test]
    fn equal_keys_have_equal_texts() {
        let names = ["id".to_owned(), "at".to_owned()];
        let key = |text: &str| Key::of(&item(text), &names);
        let one = key(r#"{"id":{"S":"a"},"at":{"N":"1.50"},"x":{"S":"y"}}"#).unwrap();
        assert_eq!(one, key(r#"{"at":{"N":"15e-1"},"id":{"S":"a"}}"#).unwrap());
        assert_eq!(one.text, r#"{"at":{"N":"1.5"},"id":{"S":"a"}}"#);
        assert!(key(r#"{"id":{"S":"a"}}"#).is_err() && key(r#"{"id":{"S":"a"},"at":{"N":"x"}}"#).is_err());
    }
}
