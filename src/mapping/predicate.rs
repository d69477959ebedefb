//! The conditions of `where`: exact, on values as they are. Numbers compare as numbers, text by its bytes.

use super::convert::is_canonical;
use super::path::Found;
use super::path::Path;
use crate::model::number::Number;
use crate::model::value::Value;
use serde::Serialize;

/// One condition on the value at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Condition {
    /// Where the value is.
    pub(super) attribute: Path,
    /// What must hold for it.
    pub(super) test: Test,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Test {
    /// It is there (NULL counts), or it is not.
    Exists(bool),
    /// It has this type tag.
    Type(&'static str),
    /// It is this text.
    EqualsText(String),
    /// It is this number; canonical text.
    EqualsNumber(String),
    /// It is this binary; base64.
    EqualsBinary(String),
    /// It is this boolean.
    EqualsBool(bool),
    /// It is a text that begins so.
    BeginsWith(String),
}

impl Test {
    /// Whether it holds for what the path led to.
    pub(super) fn holds(&self, found: Found<'_>) -> bool {
        let Found::Value(value) = found else { return *self == Test::Exists(false) };
        match (self, value) {
            (Test::Exists(wanted), _) => *wanted,
            (Test::Type(tag), value) => *tag == value.tag(),
            (Test::EqualsText(wanted), Value::S(text)) => wanted == text,
            (Test::EqualsNumber(wanted), Value::N(text)) => same_number(wanted, text),
            (Test::EqualsBinary(wanted), Value::B(text)) => wanted == text,
            (Test::EqualsBool(wanted), Value::Bool(value)) => *wanted == value,
            (Test::BeginsWith(prefix), Value::S(text)) => text.starts_with(prefix.as_str()),
            _ => false,
        }
    }

    /// Whether it leaves one possible value.
    pub(super) fn fixes(&self) -> bool {
        matches!(self, Test::EqualsText(_) | Test::EqualsNumber(_) | Test::EqualsBinary(_) | Test::EqualsBool(_))
    }
}

fn same_number(canonical: &str, text: &str) -> bool {
    canonical == text || (!is_canonical(text) && Number::parse(canonical) == Number::parse(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_of_value_and_type() {
        let holds = |test: Test, value| test.holds(Found::Value(value));
        assert!(holds(Test::EqualsText("a".into()), Value::S("a")));
        assert!(!holds(Test::EqualsText("a".into()), Value::S("A")));
        assert!(!holds(Test::EqualsText("1".into()), Value::N("1")));
        assert!(holds(Test::EqualsNumber("1".into()), Value::N("1.0")));
        assert!(holds(Test::EqualsNumber("0".into()), Value::N("-0")));
        assert!(!holds(Test::EqualsNumber("1".into()), Value::N("1.01")));
        assert!(holds(Test::EqualsBool(false), Value::Bool(false)));
        assert!(holds(Test::EqualsBinary("AQ==".into()), Value::B("AQ==")));
        assert!(!holds(Test::EqualsBinary("AQ==".into()), Value::S("AQ==")));
        assert!(holds(Test::BeginsWith("OR".into()), Value::S("ORDER")));
        assert!(!holds(Test::BeginsWith("OR".into()), Value::B("ORDER")));
    }

    #[test]
    fn null_exists_and_a_missing_attribute_does_not() {
        assert!(Test::Exists(true).holds(Found::Value(Value::Null)));
        assert!(!Test::Exists(true).holds(Found::Missing));
        assert!(Test::Exists(false).holds(Found::Missing));
        assert!(Test::Exists(false).holds(Found::Blocked("S")));
        assert!(!Test::EqualsBool(true).holds(Found::Missing));
    }
}
