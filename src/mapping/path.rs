//! Attribute paths: `address.zip`, `tags[0]`, `"quoted.name"."say \"hi\""`. Parsed when the mapping is compiled,
//! followed for each item without allocation.

use crate::model::value::Value;
use serde::Serialize;
use std::fmt;

/// Where a value is: a top-level attribute, and steps into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Path {
    /// The top-level attribute's name.
    pub(super) root: String,
    /// Steps below it; none means the whole attribute.
    pub(super) steps: Vec<Step>,
}

/// One step into a map or a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Step {
    /// The member of a map.
    Name(String),
    /// The element of a list, from zero.
    Index(usize),
}

/// What lies at the end of a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// A value, NULL included.
    Value(Value<'a>),
    /// Nothing: an attribute, member or element is absent, or NULL stands where the path goes on.
    Missing,
    /// A step needs a map or a list, and the value there has this other type.
    Blocked(&'static str),
}

impl Path {
    /// Reads a path. The error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let root = name(&mut rest, text)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (index, after) = after.split_once(']').ok_or_else(|| format!("path {text} has an open ["))?;
                let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
                let index = index.parse().ok().filter(|_| digits);
                steps.push(Step::Index(index.ok_or_else(|| format!("path {text} has an index that is no number"))?));
                rest = after;
            } else if let Some(after) = rest.strip_prefix('.') {
                rest = after;
                steps.push(Step::Name(name(&mut rest, text)?));
            } else {
                return Err(format!("path {text} needs a . or a [ after a name in quotes or an index"));
            }
        }
        Ok(Path { root, steps })
    }

    /// Whether it is the whole attribute called `name`.
    pub(super) fn is_whole(&self, name: &str) -> bool {
        self.steps.is_empty() && self.root == name
    }
}

/// Takes a name, bare or quoted, from the start of `rest`.
fn name(rest: &mut &str, text: &str) -> Result<String, String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(['.', '[', ']', '"']).unwrap_or(rest.len());
        let (bare, after) = rest.split_at(end);
        if bare.is_empty() {
            return Err(format!("path {text} has a step without a name"));
        }
        *rest = after;
        return Ok(bare.to_owned());
    };
    let mut name = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' if name.is_empty() => return Err(format!("path {text} has a step without a name")),
            '"' => {
                *rest = characters.as_str();
                return Ok(name);
            }
            '\\' => match characters.next() {
                Some(escaped @ ('"' | '\\')) => name.push(escaped),
                _ => return Err(format!("path {text} has a \\ that is followed by neither \" nor \\")),
            },
            other => name.push(other),
        }
    }
    Err(format!("path {text} has an open quote"))
}

/// Follows `steps` from `value`.
pub(super) fn follow<'a>(value: Value<'a>, steps: &[Step]) -> Found<'a> {
    let mut value = value;
    for step in steps {
        let next = match (step, value) {
            (Step::Name(name), Value::M(map)) => map.get(name),
            (Step::Index(index), Value::L(list)) => list.iter().nth(*index),
            (_, Value::Null) => return Found::Missing,
            (_, other) => return Found::Blocked(other.tag()),
        };
        match next {
            Some(next) => value = next,
            None => return Found::Missing,
        }
    }
    Found::Value(value)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Name(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decode::Decoder;

    fn follow_in(line: &str, path: &str) -> String {
        let path = Path::parse(path).unwrap();
        let show = |found: Found<'_>| match found {
            Found::Value(value) => format!("{value:?}").chars().take(8).collect(),
            Found::Missing => "missing".to_owned(),
            Found::Blocked(tag) => format!("blocked by {tag}"),
        };
        let found = Decoder::default().decode(line.as_bytes(), |item| {
            show(item.get(&path.root).map_or(Found::Missing, |value| follow(value, &path.steps)))
        });
        found.unwrap()
    }

    #[test]
    fn a_path_is_followed_through_maps_and_lists() {
        let line = r#"{"Item":{"a":{"M":{"l":{"L":[{"N":"7"},{"M":{"x.y":{"S":"z"}}}]},"n":{"NULL":true}}}}}"#;
        assert_eq!(follow_in(line, "a.l[0]"), "N(\"7\")");
        assert_eq!(follow_in(line, "a.l[1].\"x.y\""), "S(\"z\")");
        assert_eq!(follow_in(line, "a.l[2]"), "missing");
        assert_eq!(follow_in(line, "a.q.r"), "missing");
        assert_eq!(follow_in(line, "b"), "missing");
        assert_eq!(follow_in(line, "a.n"), "Null");
        assert_eq!(follow_in(line, "a.n.deep"), "missing");
        assert_eq!(follow_in(line, "a.l.x"), "blocked by L");
        assert_eq!(follow_in(line, "a.l[0].x"), "blocked by N");
    }

    #[test]
    fn a_malformed_path_is_refused() {
        for text in
            ["", ".", "a.", "a..b", "a[", "a[x]", "a[+1]", "a[]", "[0]", "\"a", "\"\"", "\"a\"b", "a[0]b", "a]b"]
        {
            assert!(Path::parse(text).is_err(), "{text}");
        }
        assert_eq!(Path::parse(r#""a\"\\b""#).unwrap().root, r#"a"\b"#);
        assert_eq!(Path::parse("Ä-b c:d").unwrap().root, "Ä-b c:d");
    }
}
