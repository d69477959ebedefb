//! JSON as MySQL prints what it keeps of it: members by the length of their names and then by their bytes, a space after
//! each comma and colon, and of the escapes only those that must be.

use std::borrow::Cow;
use std::cmp::Ordering;

/// Appends the text, or nothing when `json` is not what a mapping writes: then it says so.
pub(super) fn write(json: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut reader = Reader { json, at: 0, members: Vec::new() };
    let written = reader.value(out, 0).is_some() && reader.at == json.len();
    if !written {
        out.truncate(start);
    }
    written
}

/// MySQL's own limit.
const DEPTH_MAX: u32 = 100;

struct Reader<'a> {
    json: &'a [u8],
    at: usize,
    /// The members of all objects that are open.
    members: Vec<Member<'a>>,
}

/// A member that was written: what its name spells, and where it lies.
struct Member<'a> {
    name: Cow<'a, [u8]>,
    from: usize,
    to: usize,
}

/// A string as it is spelled, without its quotes.
#[derive(Clone, Copy)]
struct Spelled<'a> {
    text: &'a [u8],
    has_escapes: bool,
}

impl<'a> Reader<'a> {
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.json.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    fn skip(&mut self, wanted: u8) -> bool {
        let here = self.peek() == Some(wanted);
        self.at += usize::from(here);
        here
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: u32) -> Option<()> {
        match self.peek()? {
            _ if depth > DEPTH_MAX => None,
            b'{' => self.object(out, depth),
            b'[' => self.elements(out, depth),
            b'"' => put_string(self.string()?, out),
            _ => {
                let rest = &self.json[self.at..];
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ');
                let word = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
                out.extend_from_slice(word);
                self.at += word.len();
                Some(())
            }
        }
    }

    fn elements(&mut self, out: &mut Vec<u8>, depth: u32) -> Option<()> {
        self.at += 1;
        out.push(b'[');
        let mut is_first = true;
        while !self.skip(b']') {
            if !is_first {
                self.skip(b',').then_some(())?;
                out.extend_from_slice(b", ");
            }
            is_first = false;
            self.value(out, depth + 1)?;
        }
        out.push(b']');
        Some(())
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: u32) -> Option<()> {
        self.at += 1;
        out.push(b'{');
        let (start, first) = (out.len(), self.members.len());
        let mut is_sorted = true;
        while !self.skip(b'}') {
            if self.members.len() > first {
                self.skip(b',').then_some(())?;
                out.extend_from_slice(b", ");
            }
            self.peek();
            let spelled = self.string()?;
            self.skip(b':').then_some(())?;
            let from = out.len();
            put_string(spelled, out)?;
            out.extend_from_slice(b": ");
            self.value(out, depth + 1)?;
            let name = unescaped(spelled)?;
            is_sorted &= self.members[first..].last().is_none_or(|last| order(&last.name, &name).is_le());
            self.members.push(Member { name, from, to: out.len() });
        }
        if !is_sorted {
            self.members[first..].sort_unstable_by(|left, right| order(&left.name, &right.name));
            // sorted behind what was written, and then put in its place
            let end = out.len();
            for (index, member) in self.members[first..].iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                out.extend_from_within(member.from..member.to);
            }
            out.copy_within(end.., start);
            out.truncate(end);
        }
        self.members.truncate(first);
        out.push(b'}');
        Some(())
    }

    /// The string that is next.
    fn string(&mut self) -> Option<Spelled<'a>> {
        let rest = self.json.get(self.at..)?.strip_prefix(b"\"")?;
        let (mut length, mut has_escapes) = (0, false);
        loop {
            length += end_or_escape(rest.get(length..)?)?;
            if rest[length] == b'"' {
                break;
            }
            has_escapes = true;
            length += 2;
        }
        self.at += length + 2;
        Some(Spelled { text: rest.get(..length)?, has_escapes })
    }
}

/// Where the first quote or backslash is. Most strings are shorter than a search by vectors is worth.
#[inline]
fn end_or_escape(text: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    let near = text.iter().take(NEAR).position(|byte| matches!(byte, b'"' | b'\\'));
    near.or_else(|| Some(NEAR + memchr::memchr2(b'"', b'\\', text.get(NEAR..)?)?))
}

/// The order of members.
fn order(left: &[u8], right: &[u8]) -> Ordering {
    (left.len(), left).cmp(&(right.len(), right))
}

/// What a string holds that is spelled so.
fn unescaped(spelled: Spelled<'_>) -> Option<Cow<'_, [u8]>> {
    if !spelled.has_escapes {
        return Some(Cow::Borrowed(spelled.text));
    }
    let quoted = [b"\"".as_slice(), spelled.text, b"\""].concat();
    Some(Cow::Owned(serde_json::from_slice::<String>(&quoted).ok()?.into_bytes()))
}

/// Whether a string is spelled as MySQL does: of the escapes it has only those that are the shortest of what must be escaped.
fn is_shortest(spelled: &[u8]) -> bool {
    let mut rest = spelled;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        if !matches!(rest.get(at + 1), Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't')) {
            return false;
        }
        rest = &rest[at + 2..];
    }
    true
}

/// Appends a string as MySQL spells it: control characters have short escapes where JSON has some.
#[inline]
fn put_string(spelled: Spelled<'_>, out: &mut Vec<u8>) -> Option<()> {
    out.push(b'"');
    if !spelled.has_escapes || is_shortest(spelled.text) {
        out.extend_from_slice(spelled.text);
    } else {
        for byte in unescaped(spelled)?.iter().copied() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                8 => out.extend_from_slice(b"\\b"),
                12 => out.extend_from_slice(b"\\f"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..=31 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Mapped, Mapping};
    use crate::model::decode::Decoder;
    use crate::model::rows::{CellRef, Rows};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn printed(json: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        let written = write(json.as_bytes(), &mut out);
        let text = String::from_utf8(out).unwrap().split_off(6);
        assert!(written || text.is_empty());
        written.then_some(text)
    }

    #[test]
    fn json_is_printed_as_mysql_prints_it() {
        for (json, expected) in [
            (
                r#"{"bb":{"S":"x"},"a":{"N":"1"},"c":{"L":[]}}"#,
                r#"{"a": {"N": "1"}, "c": {"L": []}, "bb": {"S": "x"}}"#,
            ),
            (
                r#"{"é":{"NULL":true},"z":{"M":{}},"yy":{"SS":["b","a"]}}"#,
                r#"{"z": {"M": {}}, "yy": {"SS": ["b", "a"]}, "é": {"NULL": true}}"#,
            ),
            (r#""\"\\\b\f\n\r\t""#, r#""\"\\\b\f\n\r\t""#),
            (r#""a\u000a\u0001\/\"\u00e9😀""#, "\"a\\n\\u0001/\\\"é😀\""),
            ("[1,-2,null,false]", "[1, -2, null, false]"),
            // a name is as long as what it spells
            (r#"{"ab":1,"\u0041":2}"#, r#"{"A": 2, "ab": 1}"#),
            // objects in objects that are both out of order, and in order around them
            (
                r#"{"cc":{"bb":1,"a":{"dd":2,"d":3}},"c":[{"y":1,"x":{}}],"d":{}}"#,
                r#"{"c": [{"x": {}, "y": 1}], "d": {}, "cc": {"a": {"d": 3, "dd": 2}, "bb": 1}}"#,
            ),
            // an end and an escape just before, at and behind what is looked at byte by byte
            (
                r#"["0123456789abcde","0123456789abcdef","0123456789abcde\"x","0123456789abcdef\u0041\\"]"#,
                r#"["0123456789abcde", "0123456789abcdef", "0123456789abcde\"x", "0123456789abcdefA\\"]"#,
            ),
        ] {
            assert_eq!(printed(json).as_deref(), Some(expected));
        }
        for json in ["", "{", "[1 2]", "\"0123456789abcdefgh", "{\"a\"}", "{\"a\\x\":1}", "1]"] {
            assert_eq!(printed(json), None, "{json}");
        }
    }

    /// An attribute's value, and text that tempts: controls, quotes, names of one length in any order.
    fn any_value() -> impl Strategy<Value = Value> {
        let text = "[\\x00-\\x1f\"\\\\/aé😀]{0,5}";
        let number = prop_oneof!["-?[1-9][0-9]{0,20}", "0\\.[1-9]{1,3}", Just("1E3".to_owned())];
        let leaf = prop_oneof![
            Just(json!({"NULL": true})),
            any::<bool>().prop_map(|value| json!({"BOOL": value})),
            text.prop_map(|text| json!({"S": text})),
            number.prop_map(|number| json!({"N": number})),
            prop::collection::btree_set(text, 1..4).prop_map(|set| json!({"SS": set})),
            prop::collection::btree_set("[1-9][0-9]?", 1..4).prop_map(|set| json!({"NS": set})),
            Just(json!({"B": "AQ=="})),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!({"L": list})),
                // by bytes, as a map here has them: names of two lengths are out of order
                prop::collection::btree_map("[\\x08\\x0c\"abé]{1,3}", inner, 0..5)
                    .prop_map(|members| json!({"M": members})),
            ]
        })
    }

    fn mapped(mapping: &Mapping, line: &str) -> Vec<u8> {
        let mut rows = [Rows::new(2)];
        let mapped = Decoder::default()
            .decode(line.as_bytes(), |item| mapping.mapper().map(item, line.as_bytes(), 0, &mut rows))
            .unwrap();
        assert_eq!(mapped, Mapped::Row(0));
        let CellRef::Text(json) = rows[0].cell(0, 1) else { panic!("no text") };
        json.to_vec()
    }

    proptest! {
        #[test]
        fn what_a_mapping_spells_is_what_is_printed_of_what_it_writes(value in any_value()) {
            let column = |name: &str, more: &str| format!("[[table.column]]\nname = \"{name}\"\n{more}\n");
            let file = "key = \"k:S\"\n[[table]]\nname = \"t\"\n".to_owned()
                + &column("k", "type = \"varchar(9)\"\nkey = true")
                + &column("v", "type = \"json\"\njson = \"plain\"");
            let mapping = Mapping::parse(&file, "t.toml").unwrap();
            let line = json!({"Item": {"k": {"S": "x"}, "v": value}}).to_string();
            let (plain, spelled) = (mapped(&mapping, &line), mapped(&mapping.spelled(), &line));
            prop_assert_eq!(printed(std::str::from_utf8(&plain).unwrap()).unwrap(), String::from_utf8(spelled).unwrap());
            prop_assert!(mapping.spelled().is_spelled(0, 1) && !mapping.spelled().is_spelled(0, 0) && !mapping.is_spelled(0, 1));
        }
    }
}
