//! The kinds of items in a table, each of which gets a table of its own: by the attribute that says it, else by how their
//! keys begin.

use crate::census::Census;
use crate::census::signature::{Part, Signature};
use crate::mapping::KeyAttribute;
use crate::model::value::{Item, Value};
use std::collections::BTreeSet;

/// Most kinds that get a table of their own.
const KINDS_MAX: usize = 32;

/// Most words that keys are told apart by: with more they are values, not names.
const WORDS_MAX: usize = 16;

/// Sampled items below which a kind gets no table, unless every item is known.
const FEW: u64 = 20;

/// The same when every item is known.
const FEW_OF_ALL: u64 = 2;

/// Of a hundred items so many must say their kind.
const SAID_PERCENT: u64 = 90;

/// Of a hundred attributes that either of two kinds has, so many in common make them one.
const ALIKE_PERCENT: usize = 80;

/// What must hold for an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The attribute is this text.
    Equals(String, String),
    /// The attribute is a text that begins so.
    Begins(String, String),
}

/// A kind of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What to call it.
    pub name: String,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

impl Condition {
    fn holds(&self, item: Item<'_>) -> bool {
        let text = |name: &str| match item.get(name) {
            Some(Value::S(text)) => Some(text),
            _ => None,
        };
        match self {
            Condition::Equals(name, wanted) => text(name) == Some(wanted),
            Condition::Begins(name, prefix) => text(name).is_some_and(|text| text.starts_with(prefix.as_str())),
        }
    }
}

impl Kind {
    /// Whether the item is of this kind.
    #[must_use]
    pub fn takes(&self, item: Item<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(item))
    }

    /// How the key attribute begins in every item of the kind.
    pub(super) fn prefix(&self, attribute: &str) -> Option<&str> {
        self.conditions.iter().find_map(|condition| match condition {
            Condition::Begins(name, prefix) if name == attribute => Some(prefix.as_str()),
            _ => None,
        })
    }
}

/// The kinds of items that the census tells apart; none when they are all of one.
#[must_use]
pub fn kinds(census: &Census, complete: bool) -> Vec<Kind> {
    let least = if complete { FEW_OF_ALL } else { FEW };
    let said = said(census, least);
    if said.len() > 1 {
        return said;
    }
    let by_key = census.signatures.by_key(WORDS_MAX).unwrap_or_default();
    let all = by_key.len();
    let tells = |signature: &Signature| signature.key.iter().any(|part| *part != Part::Other);
    let found: Vec<&Signature> = by_key
        .iter()
        .filter(|(signature, count)| *count >= least && tells(signature))
        .map(|(signature, _)| signature)
        .collect();
    if found.len() > KINDS_MAX || all < 2 {
        return Vec::new();
    }
    let mut kinds: Vec<Kind> = found
        .into_iter()
        .map(|signature| Kind { name: name_of(signature), conditions: of_key(signature, &census.key) })
        .collect();
    // the more an item must fulfil, the earlier it is asked
    kinds.sort_by_key(|kind| std::cmp::Reverse(weight(kind)));
    kinds
}

/// The kinds that an attribute says.
fn said(census: &Census, least: u64) -> Vec<Kind> {
    let all = census.signatures.by_kind().unwrap_or_default();
    let mut named: Vec<(&str, &str, u64)> = all
        .iter()
        .filter_map(|(signature, count)| {
            signature.kind.as_ref().map(|(name, text)| (name.as_str(), text.as_str(), *count))
        })
        .collect();
    let saying: u64 = named.iter().map(|(_, _, count)| count).sum();
    named.retain(|(_, _, count)| *count >= least);
    if saying * 100 < census.items * SAID_PERCENT || named.len() > KINDS_MAX {
        return Vec::new();
    }
    named
        .into_iter()
        .map(|(name, text, _)| Kind {
            name: text.to_lowercase(),
            conditions: vec![Condition::Equals(name.to_owned(), text.to_owned())],
        })
        .collect()
}

fn weight(kind: &Kind) -> (usize, usize) {
    let length = |condition: &Condition| match condition {
        Condition::Equals(_, text) => text.len() + 1,
        Condition::Begins(_, prefix) => prefix.len(),
    };
    (kind.conditions.len(), kind.conditions.iter().map(length).sum())
}

/// The conditions on keys that are made like this.
fn of_key(signature: &Signature, key: &[KeyAttribute]) -> Vec<Condition> {
    let condition = |(part, attribute): (&Part, &KeyAttribute)| match part {
        Part::Prefix(prefix) => Some(Condition::Begins(attribute.name.clone(), prefix.clone())),
        Part::Word(word) => Some(Condition::Equals(attribute.name.clone(), word.clone())),
        Part::Other => None,
    };
    signature.key.iter().zip(key).filter_map(condition).collect()
}

/// `CUST#` and `ORDER#`: `cust_order`.
fn name_of(signature: &Signature) -> String {
    let mut words: Vec<String> = Vec::new();
    for part in &signature.key {
        let (Part::Prefix(text) | Part::Word(text)) = part else { continue };
        let word = text.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join("_")
}

/// Looks at each kind's own census: kinds that an attribute says get the conditions that their keys fulfil as well, and
/// are no kinds at all when their items are all alike, as those of an address that is `home` or `work`.
#[must_use]
pub fn refined(kinds: Vec<Kind>, censuses: &[Census]) -> Vec<Kind> {
    let by_attribute = |kind: &Kind| matches!(kind.conditions.as_slice(), [Condition::Equals(..)]);
    let made: Vec<Option<Signature>> = censuses.iter().map(only_key).collect();
    if !kinds.iter().all(by_attribute) {
        return kinds;
    }
    let same_keys = made.windows(2).all(|pair| pair[0] == pair[1]);
    if same_keys && censuses.windows(2).all(|pair| alike(&pair[0], &pair[1])) {
        return Vec::new();
    }
    let mut refined: Vec<Kind> = kinds
        .into_iter()
        .zip(censuses)
        .zip(made)
        .map(|((mut kind, census), made)| {
            kind.conditions.extend(made.iter().flat_map(|signature| of_key(signature, &census.key)));
            kind
        })
        .collect();
    refined.sort_by_key(|kind| std::cmp::Reverse(weight(kind)));
    refined
}

/// How the keys of all of its items are made, if all are made alike.
fn only_key(census: &Census) -> Option<Signature> {
    let mut all = census.signatures.by_key(WORDS_MAX)?.into_iter();
    let (first, _) = all.next()?;
    if all.next().is_some() { None } else { Some(first) }
}

/// Whether most attributes of either are attributes of both.
fn alike(first: &Census, second: &Census) -> bool {
    let usual = |census: &Census| -> BTreeSet<String> {
        let all = census.attributes.sorted();
        all.into_iter().filter(|(_, a)| a.items * 2 >= census.items).map(|(name, _)| name.to_owned()).collect()
    };
    let (first, second) = (usual(first), usual(second));
    let both = first.intersection(&second).count();
    both * 100 >= first.union(&second).count() * ALIKE_PERCENT
}
