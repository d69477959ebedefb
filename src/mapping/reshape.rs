//! Item to item, pure: attributes renamed, raised out of maps, dropped, given another type; all others as they are.
//!
//! Follows what [`items`](super::items) has compiled. Promises: an attribute that no rule names keeps its value byte for
//! byte in meaning; what a rule cannot do to an item is a reason to reject it; no attribute is written twice.

use super::path::{Found, Path, Step, follow};
use crate::model::json::{write_array, write_string, write_value};
use crate::model::number::Number;
use crate::model::value::{Item, Value};
use serde::Serialize;

/// The rules of one mapping.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Reshape {
    /// Attributes to be set, in the order of the file.
    pub(super) rules: Vec<Rule>,
    /// Paths that are left out.
    pub(super) drops: Vec<Path>,
}

/// One attribute of the target.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rule {
    /// Its name in the target, at the root of the item.
    pub(super) name: String,
    /// Where its value comes from.
    pub(super) from: Path,
    /// The type that it is given; none keeps the one it has.
    pub(super) ty: Option<Scalar>,
    /// The value stays where it was, too.
    pub(super) copy: bool,
    /// An item without the value is rejected, rather than left without the attribute.
    pub(super) required: bool,
}

/// A type that a value can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Scalar {
    /// Text: of a number its plain decimal text.
    S,
    /// Number: of a text that is one.
    N,
}

impl Reshape {
    /// Whether items stay as they are.
    pub(super) fn is_nothing(&self) -> bool {
        self.rules.is_empty() && self.drops.is_empty()
    }

    /// Whether what lies at `path` in the source is not there in the target.
    pub(super) fn cuts(&self, path: &Path) -> bool {
        self.cut_paths().any(|cut| cut == path)
    }

    /// Every path that is left out: dropped, or written elsewhere.
    pub(super) fn cut_paths(&self) -> impl Iterator<Item = &Path> {
        self.drops.iter().chain(self.rules.iter().filter(|rule| !rule.copy).map(|rule| &rule.from))
    }

    /// Writes the item. The error is the reason to reject it.
    pub(super) fn write(&self, item: Item<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        out.push(b'{');
        let begin_member = |name: &str, out: &mut Vec<u8>| {
            if out.len() > start + 1 {
                out.push(b',');
            }
            write_string(name, out);
            out.push(b':');
        };
        for (name, value) in item.attributes().iter() {
            let cuts: Vec<&[Step]> =
                self.cut_paths().filter(|cut| cut.root == name).map(|cut| cut.steps.as_slice()).collect();
            if cuts.iter().any(|steps| steps.is_empty()) {
                continue;
            }
            begin_member(name, out);
            write_without(value, &cuts, out);
        }
        for rule in &self.rules {
            let found = item.get(&rule.from.root).map_or(Found::Missing, |value| follow(value, &rule.from.steps));
            let reason = |what: &str| format!("attribute {} for {}: {what}", rule.from, rule.name);
            let value = match found {
                Found::Value(value) => value,
                Found::Missing if rule.required => return Err(reason("it is missing")),
                Found::Missing => continue,
                Found::Blocked(tag) => return Err(reason(&format!("its path leads into type {tag}"))),
            };
            let stays = |path: &Path| item.get(&path.root).is_some() && !self.cuts(path);
            if stays(&Path { root: rule.name.clone(), steps: Vec::new() }) {
                return Err(reason("the item has an attribute of this name already"));
            }
            begin_member(&rule.name, out);
            write_as(value, rule.ty, out).map_err(reason)?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// Writes a value without what lies at the end of `cuts`, none of which is empty.
fn write_without(value: Value<'_>, cuts: &[&[Step]], out: &mut Vec<u8>) {
    match value {
        Value::M(map) if !cuts.is_empty() => {
            out.extend_from_slice(b"{\"M\":{");
            let mut first = true;
            for (name, member) in map.iter() {
                let below = below(cuts, |step| matches!(step, Step::Name(step) if step == name));
                if below.iter().any(|steps| steps.is_empty()) {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write_without(member, &below, out);
            }
            out.extend_from_slice(b"}}");
        }
        Value::L(list) if !cuts.is_empty() => {
            out.extend_from_slice(b"{\"L\":");
            write_array(list.iter().enumerate(), out, |(index, element), out| {
                write_without(element, &below(cuts, |step| *step == Step::Index(index)), out);
            });
            out.push(b'}');
        }
        other => write_value(other, out),
    }
}

/// What is left of the cuts whose first step is taken.
fn below<'c>(cuts: &[&'c [Step]], taken: impl Fn(&Step) -> bool) -> Vec<&'c [Step]> {
    let rest = |steps: &&'c [Step]| steps.split_first().filter(|(first, _)| taken(first)).map(|(_, rest)| rest);
    cuts.iter().filter_map(rest).collect()
}

/// Writes a value as the type it is to have.
fn write_as(value: Value<'_>, ty: Option<Scalar>, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let (tag, number) = match (ty, value) {
        (None, _) | (Some(Scalar::S), Value::S(_)) | (Some(Scalar::N), Value::N(_)) => {
            write_value(value, out);
            return Ok(());
        }
        (Some(Scalar::S), Value::N(text)) => ("S", text),
        (Some(Scalar::N), Value::S(text)) => ("N", text),
        _ => return Err("only a text or a number can be given this type"),
    };
    let number = Number::parse(number).map_err(|_| "the text is no number that DynamoDB can hold")?;
    let mut plain = Vec::new();
    number.write_plain(&mut plain);
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(&plain);
    out.extend_from_slice(b"\"}");
    Ok(())
}
