//! What tells the kinds of items of a single-table design apart: how their keys begin, and the attribute that says it.

use super::capped::Capped;
use super::heavy::beginning;
use crate::mapping::KeyAttribute;
use crate::model::value::{Item, Value};
use serde::Serialize;
use std::collections::BTreeMap;

/// Attributes that name an item's kind in the designs and libraries that are common, without case and underscores. The
/// first of an item's that stands further left counts.
const KIND_NAMES: [&str; 13] = [
    "typename",
    "entitytype",
    "entity",
    "edbe",
    "et",
    "itemtype",
    "recordtype",
    "objecttype",
    "type",
    "kind",
    "model",
    "class",
    "doctype",
];

/// Longest text that names a kind, or begins a key, in bytes.
const NAME_MAX: usize = 48;

/// Characters at which the beginning of a key ends.
const SEPARATORS: [char; 4] = ['#', '|', ':', '/'];

/// Most distinct signatures that are told apart.
const SIGNATURES: usize = 512;

/// How one part of a key is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// It begins with this, up to and with a separator.
    Prefix(String),
    /// It is this word, without a separator and without a digit.
    Word(String),
    /// Anything else.
    Other,
}

/// What tells an item's kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Signature {
    /// The attribute that says it, and what it says.
    pub kind: Option<(String, String)>,
    /// How the key's attributes are made, in the key's order.
    pub key: Vec<Part>,
}

/// Counts of signatures, the coarser for when there are too many of the finer.
#[derive(Clone, Debug, PartialEq)]
pub struct Signatures {
    /// Without what the kind says.
    by_key: Capped<Signature>,
    /// Also without words.
    by_prefix: Capped<Signature>,
    /// By what says the kind alone.
    by_kind: Capped<Signature>,
}

impl Default for Signatures {
    fn default() -> Self {
        let new = || Capped::new(SIGNATURES);
        Signatures { by_key: new(), by_prefix: new(), by_kind: new() }
    }
}

impl Signatures {
    /// Counts an item.
    pub(super) fn add(&mut self, item: Item<'_>, key: &[KeyAttribute]) {
        let mut signature = Signature { kind: None, key: parts(item, key) };
        self.by_key.add(&signature);
        signature.key.iter_mut().for_each(forget_word);
        self.by_prefix.add(&signature);
        self.by_kind.add(&Signature { kind: kind(item, key), key: Vec::new() });
    }

    /// Adds others.
    pub(super) fn merge(&mut self, other: &Self) {
        self.by_key.merge(&other.by_key);
        self.by_prefix.merge(&other.by_prefix);
        self.by_kind.merge(&other.by_kind);
    }

    /// The signatures by what says the kind; none when it says too many things.
    #[must_use]
    pub fn by_kind(&self) -> Option<Vec<(Signature, u64)>> {
        self.by_kind.counts().map(listed)
    }

    /// The signatures by how keys are made; the words are told apart when there are at most `words` of them.
    #[must_use]
    pub fn by_key(&self, words: usize) -> Option<Vec<(Signature, u64)>> {
        let fine = self.by_key.counts().map(listed).filter(|all| {
            let mut found: Vec<&Part> = all
                .iter()
                .flat_map(|(signature, _)| &signature.key)
                .filter(|part| matches!(part, Part::Word(_)))
                .collect();
            found.sort_unstable();
            found.dedup();
            found.len() <= words
        });
        fine.or_else(|| self.by_prefix.counts().map(listed))
    }
}

/// How many keys begin how, for one attribute of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Beginnings {
    /// The attribute.
    pub attribute: String,
    /// Prefixes and words, those of most items first.
    pub found: Vec<(String, u64)>,
    /// Items whose key begins like no other.
    pub others: u64,
}

impl Signatures {
    /// How the key's attributes begin; nothing where keys begin in too many ways.
    #[must_use]
    pub fn beginnings(&self, key: &[KeyAttribute], words: usize) -> Vec<Beginnings> {
        let all = self.by_key(words).unwrap_or_default();
        let of = |(place, attribute): (usize, &KeyAttribute)| {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            let mut others = 0;
            for (signature, count) in &all {
                match signature.key.get(place) {
                    Some(Part::Prefix(text) | Part::Word(text)) => *counts.entry(text.clone()).or_default() += count,
                    _ => others += count,
                }
            }
            let mut found: Vec<(String, u64)> = counts.into_iter().collect();
            found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            Beginnings { attribute: attribute.name.clone(), found, others }
        };
        key.iter().enumerate().map(of).filter(|beginnings| !beginnings.found.is_empty()).collect()
    }
}

fn listed(counts: &BTreeMap<Signature, u64>) -> Vec<(Signature, u64)> {
    counts.iter().map(|(signature, count)| (signature.clone(), *count)).collect()
}

fn forget_word(part: &mut Part) {
    if matches!(part, Part::Word(_)) {
        *part = Part::Other;
    }
}

/// How the item's key is made. A partition key that is a word is somebody's name, more often than a kind's.
pub(super) fn parts(item: Item<'_>, key: &[KeyAttribute]) -> Vec<Part> {
    let mut parts: Vec<Part> =
        key.iter().map(|attribute| item.get(&attribute.name).map_or(Part::Other, part)).collect();
    if let Some(partition) = parts.first_mut() {
        forget_word(partition);
    }
    parts
}

pub(super) fn part(value: Value<'_>) -> Part {
    let Value::S(text) = value else { return Part::Other };
    let name = |text: &str| {
        let mut characters = text.chars();
        characters.next().is_some_and(char::is_alphabetic)
            && characters.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    let begins = beginning(text, NAME_MAX);
    if let Some(at) = begins.find(SEPARATORS) {
        let (before, after) = begins.split_at(at);
        let separator = after.chars().next().map_or(0, char::len_utf8);
        return if name(before) { Part::Prefix(begins.split_at(at + separator).0.to_owned()) } else { Part::Other };
    }
    let is_word = begins.len() == text.len() && name(text) && !text.contains(|c: char| c.is_numeric());
    if is_word { Part::Word(text.to_owned()) } else { Part::Other }
}

/// The attribute that says the item's kind, and what it says.
#[must_use]
pub fn kind(item: Item<'_>, key: &[KeyAttribute]) -> Option<(String, String)> {
    let mut best: Option<(usize, &str, &str)> = None;
    for (name, value) in item.attributes().iter() {
        let Value::S(text) = value else { continue };
        let Some(rank) = rank(name) else { continue };
        let is_key = key.iter().any(|attribute| attribute.name == name);
        if !is_key && best.is_none_or(|(other, ..)| rank < other) {
            best = Some((rank, name, text));
        }
    }
    let (_, name, text) = best?;
    (!text.is_empty() && text.len() <= NAME_MAX).then(|| (name.to_owned(), text.to_owned()))
}

/// How surely an attribute of this name says the kind: the lower, the surer.
fn rank(name: &str) -> Option<usize> {
    if name.len() > 16 {
        return None;
    }
    let plain: String = name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect();
    KIND_NAMES.iter().position(|known| *known == plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::parse_key;
    use crate::model::decode::Decoder;

    fn signature(line: &str) -> (Vec<Part>, Option<(String, String)>) {
        let key = parse_key("pk:S,sk:S").unwrap();
        Decoder::default().decode(line.as_bytes(), |item| (parts(item, &key), kind(item, &key))).unwrap()
    }

    #[test]
    fn a_key_begins_with_a_name_and_a_separator_or_is_a_word_or_neither() {
        let of = |text: &str| part(Value::S(text));
        assert_eq!(of("ORDER#17"), Part::Prefix("ORDER#".into()));
        assert_eq!(of("Ünit-2|x#y"), Part::Prefix("Ünit-2|".into()));
        assert_eq!(of("PROFILE"), Part::Word("PROFILE".into()));
        for text in ["", "#", "17#x", "a b", "v2", "2024-01-01T00:00:00Z", &"x".repeat(60), "cust-00017"] {
            assert_eq!(of(text), Part::Other, "{text}");
        }
        assert_eq!(part(Value::N("1")), Part::Other);
    }

    #[test]
    fn beginnings_are_counted_for_each_attribute_of_the_key() {
        let key = parse_key("pk:S,sk:S").unwrap();
        let mut signatures = Signatures::default();
        for (pk, sk) in [("A#1", "WORD"), ("A#2", "7"), ("B#3", "7"), ("4", "7")] {
            let line = format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"sk":{{"S":"{sk}"}}}}}}"#);
            Decoder::default().decode(line.as_bytes(), |item| signatures.add(item, &key)).unwrap();
        }
        let found = signatures.beginnings(&key, 9);
        assert_eq!(found[0].found, [("A#".to_owned(), 2), ("B#".to_owned(), 1)]);
        assert_eq!((found[0].others, found[1].others), (1, 3));
        assert_eq!(found[1].found, [("WORD".to_owned(), 1)]);
        assert_eq!(signatures.beginnings(&key, 0).len(), 1, "a word is not told apart");
    }

    #[test]
    fn the_surest_attribute_says_the_kind_and_a_key_never() {
        let line = r#"{"Item":{"pk":{"S":"A#1"},"type":{"S":"home"},"Entity_Type":{"S":"order"},"sk":{"S":"x"}}}"#;
        let (key, kind) = signature(line);
        assert_eq!(key, [Part::Prefix("A#".into()), Part::Word("x".into())]);
        assert_eq!(kind, Some(("Entity_Type".into(), "order".into())));
        assert_eq!(signature(r#"{"Item":{"pk":{"S":"1"},"type":{"N":"1"}}}"#).1, None);
    }
}
