//! What the values of one attribute look like.

use super::named::Named;
use super::number::Numbers;
use super::sizes::Sizes;
use super::text::Texts;
use crate::model::size::value_bytes;
use crate::model::value::Value;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Most members of an attribute's maps that are told apart.
const MEMBERS: usize = 64;

/// DynamoDB's types, in the order in which they are counted.
pub const TAGS: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"];

/// How many values are of each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Types([u64; TAGS.len()]);

/// One attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attribute {
    /// Items that have it, NULL included.
    pub items: u64,
    /// By type.
    pub types: Types,
    /// Sizes of its values, as DynamoDB counts them.
    pub sizes: Sizes,
    /// Its texts.
    pub texts: Texts,
    /// Its numbers.
    pub numbers: Numbers,
    /// Bytes of its longest binary.
    pub longest_binary: u64,
    /// Members of its largest set, map or list.
    pub most_members: u64,
    /// How deep its maps and lists nest.
    pub depth: u64,
    /// The members of its maps, one level down, and their types.
    #[serde(serialize_with = "members")]
    pub members: Named<Types>,
}

impl Default for Attribute {
    fn default() -> Self {
        Attribute {
            items: 0,
            types: Types::default(),
            sizes: Sizes::default(),
            texts: Texts::default(),
            numbers: Numbers::default(),
            longest_binary: 0,
            most_members: 0,
            depth: 0,
            members: Named::new(MEMBERS, Arc::default()),
        }
    }
}

impl Types {
    fn add(&mut self, tag: &str) {
        if let Some(place) = TAGS.iter().position(|known| *known == tag) {
            self.0[place] += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// How many are of this type.
    #[must_use]
    pub fn of(&self, tag: &str) -> u64 {
        TAGS.iter().position(|known| *known == tag).map_or(0, |place| self.0[place])
    }

    /// The types that occur, with their counts.
    pub fn found(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        TAGS.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// The one type that occurs beside NULL, if it is one.
    #[must_use]
    pub fn only(&self) -> Option<&'static str> {
        let mut found = self.found().map(|(tag, _)| tag).filter(|tag| *tag != "NULL");
        let first = found.next();
        first.filter(|_| found.next().is_none())
    }
}

impl Serialize for Types {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.found())
    }
}

impl Attribute {
    /// Counts one value; says how deep it nests.
    pub(super) fn add(&mut self, value: Value<'_>) -> u64 {
        self.items += 1;
        self.types.add(value.tag());
        let bytes = value_bytes(value);
        self.sizes.add(bytes);
        let depth = depth(value);
        self.depth = self.depth.max(depth);
        let members = match value {
            Value::S(text) => {
                self.texts.add(text);
                return depth;
            }
            Value::N(text) => {
                self.numbers.add(text);
                return depth;
            }
            Value::B(_) => {
                self.longest_binary = self.longest_binary.max(bytes);
                return depth;
            }
            Value::Bool(_) | Value::Null => return depth,
            Value::M(map) => {
                for (name, value) in map.iter() {
                    if let Some(types) = self.members.entry(name) {
                        types.add(value.tag());
                    }
                }
                map.len()
            }
            Value::L(list) => list.len(),
            Value::Ss(members) | Value::Ns(members) | Value::Bs(members) => members.len(),
        };
        self.most_members = self.most_members.max(members as u64);
        depth
    }

    /// Adds others.
    pub(super) fn merge(&mut self, other: Self) {
        self.items += other.items;
        self.types.merge(other.types);
        self.sizes.merge(&other.sizes);
        self.texts.merge(&other.texts);
        self.numbers.merge(&other.numbers);
        self.longest_binary = self.longest_binary.max(other.longest_binary);
        self.most_members = self.most_members.max(other.most_members);
        self.depth = self.depth.max(other.depth);
        self.members.merge(other.members, |ours, theirs| ours.merge(theirs));
    }
}

/// Levels of maps and lists.
fn depth(value: Value<'_>) -> u64 {
    match value {
        Value::M(map) => 1 + map.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        Value::L(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn members<S: Serializer>(members: &Named<Types>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(members.len()))?;
    for (name, types) in members.sorted() {
        map.serialize_entry(name, types)?;
    }
    map.end()
}
