//! One walk over an item's attributes that puts the wanted ones into slots.
//!
//! Items of one kind list their attributes in the same order, so the walk guesses that attribute `i` has the name that
//! attribute `i` of the item before had, and needs one comparison to know. Only a wrong guess costs a hash.

use crate::model::value::{Item, Value};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The slots of a mapping: one for each top-level attribute that a column or a condition needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    by_name: HashMap<Box<str>, usize, BuildHasherDefault<NameHasher>>,
}

impl Slots {
    /// The slot of `name`, made if need be.
    pub(super) fn slot(&mut self, name: &str) -> usize {
        let next = self.by_name.len();
        *self.by_name.entry(name.into()).or_insert(next)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// What the last item looked like.
#[derive(Debug, Default)]
pub(super) struct Shape {
    attributes: Vec<Attribute>,
}

#[derive(Debug)]
struct Attribute {
    name: String,
    slot: Option<usize>,
}

/// Attributes remembered: enough for any regular item, a bound for the others.
const MAX_REMEMBERED: usize = 256;

impl Shape {
    /// Fills `found` (empty, its memory reused) with a value for each slot. Stops once all are there.
    #[inline]
    pub(super) fn fill<'a>(&mut self, slots: &Slots, item: Item<'a>, found: &mut Vec<Option<Value<'a>>>) {
        found.resize(slots.len(), None);
        let mut left = slots.len();
        for (index, (name, value)) in item.attributes().iter().enumerate() {
            if left == 0 {
                break;
            }
            if let Some(slot) = self.slot_at(slots, index, name) {
                found[slot] = Some(value);
                left -= 1;
            }
        }
    }

    /// The slot of attribute `index`, called `name`.
    #[inline]
    pub(super) fn slot_at(&mut self, slots: &Slots, index: usize, name: &str) -> Option<usize> {
        if let Some(guess) = self.attributes.get(index)
            && guess.name == name
        {
            return guess.slot;
        }
        let slot = slots.by_name.get(name).copied();
        if let Some(guess) = self.attributes.get_mut(index) {
            guess.name.clear();
            guess.name.push_str(name);
            guess.slot = slot;
        } else if index == self.attributes.len() && index < MAX_REMEMBERED {
            self.attributes.push(Attribute { name: name.to_owned(), slot });
        }
        slot
    }
}

/// FNV-1a. The table holds the mapping's own names only, so no input can make it collide.
#[derive(Debug)]
pub(super) struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        NameHasher(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decode::Decoder;

    fn fill(shape: &mut Shape, slots: &Slots, line: &str) -> Vec<Option<String>> {
        let mut decoder = Decoder::default();
        let found = decoder.decode(line.as_bytes(), |item| {
            let mut found = Vec::new();
            shape.fill(slots, item, &mut found);
            found.into_iter().map(|value| value.map(|value| format!("{value:?}"))).collect()
        });
        found.unwrap()
    }

    #[test]
    fn attributes_are_found_whatever_the_item_before_looked_like() {
        let mut slots = Slots::default();
        assert_eq!((slots.slot("a"), slots.slot("b"), slots.slot("a")), (0, 1, 0));
        let mut shape = Shape::default();
        let both = [Some("S(\"1\")".to_owned()), Some("S(\"2\")".to_owned())];
        for line in [
            r#"{"Item":{"x":{"S":"0"},"a":{"S":"1"},"b":{"S":"2"}}}"#,
            r#"{"Item":{"x":{"S":"0"},"a":{"S":"1"},"b":{"S":"2"},"y":{"S":"3"}}}"#,
            r#"{"Item":{"b":{"S":"2"},"a":{"S":"1"}}}"#,
            r#"{"Item":{"a":{"S":"1"},"q":{"S":"3"},"b":{"S":"2"}}}"#,
        ] {
            assert_eq!(fill(&mut shape, &slots, line), both, "{line}");
        }
        assert_eq!(fill(&mut shape, &slots, r#"{"Item":{"a":{"S":"1"},"q":{"S":"3"}}}"#), [both[0].clone(), None]);
        assert_eq!(fill(&mut shape, &slots, r#"{"Item":{}}"#), [None, None]);
    }
}
