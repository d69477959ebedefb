//! Plain JSON by its values: one text for all that are equal. Members are sorted by name, numbers are exact decimals,
//! strings are unescaped. Reads any JSON, with whatever spaces a server puts between.

use super::decimal;
use crate::model::json::write_string;

/// Deeper than any item, and than any server's JSON; what is deeper still is not read.
const DEPTH_MAX: u32 = 256;

enum Json {
    /// `null`, `true`, `false`, and numbers in their one spelling.
    Word(Vec<u8>),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

/// Appends the one text of a JSON value, or nothing when `text` is not exactly one: then it says so.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut reader = Reader { text, at: 0 };
    let Some(value) = reader.value(0) else { return false };
    reader.skip_space();
    if reader.at < text.len() {
        return false;
    }
    put(&value, out);
    true
}

fn put(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Word(word) => out.extend_from_slice(word),
        Json::Text(text) => write_string(text, out),
        Json::List(list) => {
            out.push(b'[');
            for value in list {
                put(value, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Json::Map(members) => {
            out.push(b'{');
            for (name, value) in members {
                write_string(name, out);
                out.push(b':');
                put(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes `wanted`, if that is next.
    fn take(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let here = self.text.get(self.at) == Some(&wanted);
        self.at += usize::from(here);
        here
    }

    fn value(&mut self, depth: u32) -> Option<Json> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        match self.text.get(self.at)? {
            b'"' => self.string().map(Json::Text),
            b'[' => self.list(depth),
            b'{' => self.map(depth),
            _ => self.word(),
        }
    }

    fn list(&mut self, depth: u32) -> Option<Json> {
        self.at += 1;
        let mut list = Vec::new();
        if self.take(b']') {
            return Some(Json::List(list));
        }
        loop {
            list.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Some(Json::List(list));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn map(&mut self, depth: u32) -> Option<Json> {
        self.at += 1;
        let mut members = Vec::new();
        let mut ended = self.take(b'}');
        while !ended {
            self.skip_space();
            let name = self.string()?;
            if !self.take(b':') {
                return None;
            }
            members.push((name, self.value(depth + 1)?));
            ended = self.take(b'}');
            if !ended && !self.take(b',') {
                return None;
            }
        }
        // a name that is there twice stays twice, in its order
        members.sort_by(|(left, _), (right, _)| left.cmp(right));
        Some(Json::Map(members))
    }

    fn word(&mut self) -> Option<Json> {
        let rest = &self.text[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let word = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
        self.at += word.len();
        if matches!(word, b"null" | b"true" | b"false") {
            return Some(Json::Word(word.to_vec()));
        }
        let mut number = Vec::new();
        (word.first() != Some(&b'+') && decimal::write(word, &mut number)).then_some(Json::Word(number))
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.text.get(self.at..)?.strip_prefix(b"\"")?;
        let mut length = 0;
        while *rest.get(length)? != b'"' {
            length += if rest[length] == b'\\' { 2 } else { 1 };
        }
        let raw = rest.get(..length)?;
        self.at += length + 2;
        if raw.contains(&b'\\') {
            // an escape is the standard's to read: surrogates come in pairs
            return serde_json::from_slice(self.text.get(self.at - length - 2..self.at)?).ok();
        }
        String::from_utf8(raw.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn written(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write(text.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn spelling_does_not_count_and_values_do() {
        for same in [
            [r#"{"b": 1, "a": [1.0, "x"]}"#, r#"{"a":[1,"\u0078"],"b":1e0}"#],
            [" [ ] ", "[]"],
            ["{ }", "{}"],
            [r#""😀""#, r#""\ud83d\ude00""#],
        ] {
            assert!(written(same[0]).is_some());
            assert_eq!(written(same[0]), written(same[1]));
        }
        for different in [
            ["[1,2]", "[2,1]"],
            ["1", "\"1\""],
            ["18446744073709551615", "1.8446744073709552e19"],
            ["null", "\"\""],
            ["{}", "[]"],
            ["[[],[]]", "[[[]]]"],
            [r#"{"a":1,"a":2}"#, r#"{"a":2}"#],
        ] {
            assert_ne!(written(different[0]), written(different[1]), "{different:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        for text in ["", "[", "[1,]", "{\"a\"}", "{a:1}", "1 2", "tru", "+1", "\"\\ud800\"", "\"a", "[1}", "\"\\"] {
            assert_eq!(written(text), None, "{text}");
        }
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(written(&deep(200)).is_some());
        assert_eq!(written(&deep(100_000)), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab\"é]{0,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn texts_are_one_when_their_values_are(left in any_json(), right in any_json()) {
            let pretty = serde_json::to_string_pretty(&left).unwrap();
            prop_assert_eq!(written(&left.to_string()), written(&pretty));
            prop_assert!(written(&pretty).is_some());
            prop_assert_eq!(written(&left.to_string()) == written(&right.to_string()), left == right);
        }
    }
}
