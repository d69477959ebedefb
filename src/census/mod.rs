//! What items look like: counted, mergeable, in bounded memory whatever they hold. Pure.
//!
//! Censuses of parts merge to exactly the census of the whole, but for the heavy hitters, whose error is known. What
//! would take memory without bound is given up in a way that does not depend on the order: distinct texts and kinds
//! above a number ([`capped`]), and names above a number ([`named`]).
//!
//! A census holds item data (key prefixes, few distinct texts, heavy keys). Whoever shows it calls [`Census::redact`].

pub mod attribute;
pub mod capped;
pub mod heavy;
pub mod named;
pub mod number;
pub mod signature;
pub mod sizes;
#[cfg(test)]
mod tests;
pub mod text;

use crate::mapping::KeyAttribute;
use crate::model::number::Number;
use crate::model::value::{Item, Value};
use attribute::Attribute;
use heavy::{Heavy, Hit};
use named::Named;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use signature::{Beginnings, Signatures};
use sizes::Sizes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most attributes that are told apart, beside the pinned ones: more than a table can have columns.
const ATTRIBUTES: usize = 2048;

/// Counters for partition keys: those with more than one item in so many are found.
const HEAVY: usize = 256;

/// Kinds that are shown: more of them are data.
const KINDS: usize = 32;

/// Words that keys begin with, rather than values: at most so many.
const WORDS: usize = 16;

/// An item this large is near DynamoDB's limit of 400 KB.
pub const LARGE_ITEM: u64 = 350 * 1024;

/// Deeper items do not fit MariaDB's JSON check [measured: domain notes 4.3].
pub const DEEP: u64 = 14;

/// What was counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Census {
    /// The DynamoDB table's key.
    pub key: Vec<KeyAttribute>,
    /// Items.
    pub items: u64,
    /// Lines that are no items.
    pub broken: u64,
    /// Sizes of the items, as DynamoDB counts them.
    pub sizes: Sizes,
    /// Lengths of their lines, DynamoDB JSON.
    pub lines: Sizes,
    /// Items near DynamoDB's limit: above [`LARGE_ITEM`].
    pub large: u64,
    /// Items that nest deeper than [`DEEP`].
    pub deep: u64,
    /// Sizes of the key's attributes, in the key's order.
    pub key_sizes: Vec<Sizes>,
    /// The attributes, by name.
    #[serde(serialize_with = "by_name")]
    pub attributes: Named<Attribute>,
    /// What tells their kinds apart.
    #[serde(rename = "kinds", serialize_with = "kinds_said")]
    pub signatures: Signatures,
    /// The partition keys that come most often.
    #[serde(serialize_with = "heaviest")]
    pub partitions: Heavy,
}

impl Census {
    /// Nothing counted yet. Attributes called as one of `pinned` are counted however many there are; those of the key are
    /// as well.
    #[must_use]
    pub fn new(key: &[KeyAttribute], pinned: &BTreeSet<String>) -> Self {
        let mut pinned = pinned.clone();
        pinned.extend(key.iter().map(|attribute| attribute.name.clone()));
        Census {
            key: key.to_vec(),
            items: 0,
            broken: 0,
            sizes: Sizes::default(),
            lines: Sizes::default(),
            large: 0,
            deep: 0,
            key_sizes: vec![Sizes::default(); key.len()],
            attributes: Named::new(ATTRIBUTES, Arc::new(pinned)),
            signatures: Signatures::default(),
            partitions: Heavy::new(HEAVY),
        }
    }

    /// Counts an item, decoded from a line of so many bytes.
    pub fn add(&mut self, item: Item<'_>, line: u64) {
        self.items += 1;
        self.lines.add(line);
        let (mut bytes, mut deepest) = (0, 0);
        for (name, value) in item.attributes().iter() {
            bytes += name.len() as u64 + crate::model::size::value_bytes(value);
            if let Some(attribute) = self.attributes.entry(name) {
                deepest = attribute.add(value).max(deepest);
            }
        }
        self.sizes.add(bytes);
        self.large += u64::from(bytes > LARGE_ITEM);
        self.deep += u64::from(deepest > DEEP);
        for (place, attribute) in self.key.iter().enumerate() {
            let Some(value) = item.get(&attribute.name) else { continue };
            self.key_sizes[place].add(crate::model::size::value_bytes(value));
            if place == 0 {
                count_partition(&mut self.partitions, value);
            }
        }
        self.signatures.add(item, &self.key);
    }

    /// Counts a line that is no item.
    pub fn add_broken(&mut self) {
        self.broken += 1;
    }

    /// Adds what another has counted, made with the same key and pins.
    pub fn merge(&mut self, other: Self) {
        self.items += other.items;
        self.broken += other.broken;
        self.sizes.merge(&other.sizes);
        self.lines.merge(&other.lines);
        self.large += other.large;
        self.deep += other.deep;
        self.key_sizes.iter_mut().zip(&other.key_sizes).for_each(|(ours, theirs)| ours.merge(theirs));
        self.attributes.merge(other.attributes, Attribute::merge);
        self.signatures.merge(&other.signatures);
        self.partitions.merge(&other.partitions);
    }

    /// How the key's attributes begin, each in a few ways at most.
    #[must_use]
    pub fn beginnings(&self) -> Vec<Beginnings> {
        self.signatures.beginnings(&self.key, WORDS)
    }

    /// Takes out what is an item's data: whole keys, and the ranges of numbers in the key.
    pub fn redact(&mut self) {
        self.partitions.redact();
        for attribute in &self.key {
            if let Some(counted) = self.attributes.entry(&attribute.name) {
                counted.numbers.range = None;
            }
        }
    }
}

/// Counts the partition key by its value: numbers however they are spelled, binaries as base64.
fn count_partition(partitions: &mut Heavy, value: Value<'_>) {
    match value {
        Value::S(text) | Value::B(text) => partitions.add(text),
        Value::N(text) => {
            let mut plain = Vec::new();
            if let Ok(number) = Number::parse(text) {
                number.write_plain(&mut plain);
            }
            partitions.add(&String::from_utf8_lossy(&plain));
        }
        _ => {}
    }
}

/// What the attribute that says it says; none when it says too many things.
fn kinds_said<S: Serializer>(signatures: &Signatures, serializer: S) -> Result<S::Ok, S::Error> {
    let kinds = signatures.by_kind().unwrap_or_default();
    if kinds.len() > KINDS { [(); 0].serialize(serializer) } else { kinds.serialize(serializer) }
}

fn by_name<S: Serializer>(attributes: &Named<Attribute>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(attributes.len()))?;
    for (name, attribute) in attributes.sorted() {
        map.serialize_entry(name, attribute)?;
    }
    map.end()
}

fn heaviest<S: Serializer>(partitions: &Heavy, serializer: S) -> Result<S::Ok, S::Error> {
    let hits: Vec<Hit> = partitions.top(10);
    hits.serialize(serializer)
}
