//! Something for each name, for at most so many names: those that are kept were counted from their first to their last
//! occurrence, whatever the order, so that parts merge to exactly what the whole would be.
//!
//! Which names are kept does not depend on when they come: of all that occur, those whose hashes are the smallest. A name
//! that is among them at the end was among them all the time.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Longest name that is kept, in bytes: names of keys and indexes are no longer.
const NAME_MAX: usize = 255;

/// Something for each name.
#[derive(Clone, Debug)]
pub struct Named<T> {
    cap: usize,
    /// Kept in any case.
    pinned: Arc<BTreeSet<String>>,
    kept: HashMap<String, T>,
    /// The kept names that are not pinned, by their hashes.
    order: BTreeSet<(u64, String)>,
    /// Whether names were dropped.
    overflowed: bool,
}

impl<T: Default> Named<T> {
    /// For at most `cap` names beside those `pinned`.
    #[must_use]
    pub fn new(cap: usize, pinned: Arc<BTreeSet<String>>) -> Self {
        Named { cap, pinned, kept: HashMap::new(), order: BTreeSet::new(), overflowed: false }
    }

    /// What is kept for `name`, made if it is new; none when it is not one of those that are kept.
    pub fn entry(&mut self, name: &str) -> Option<&mut T> {
        if !self.kept.contains_key(name) && !self.make_room(name) {
            return None;
        }
        Some(self.kept.entry(name.to_owned()).or_default())
    }

    /// Decides whether a new name is kept, at the expense of another if need be.
    fn make_room(&mut self, name: &str) -> bool {
        if self.pinned.contains(name) {
            return true;
        }
        if name.len() > NAME_MAX || self.cap == 0 {
            self.overflowed = true;
            return false;
        }
        let place = (hash(name), name.to_owned());
        if self.order.len() >= self.cap {
            self.overflowed = true;
            if self.order.last().is_some_and(|last| *last < place) {
                return false;
            }
            if let Some((_, dropped)) = self.order.pop_last() {
                self.kept.remove(&dropped);
            }
        }
        self.order.insert(place)
    }

    /// What is kept for `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.kept.get(name)
    }

    /// Names and what is kept for them, by name.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&str, &T)> {
        let mut all: Vec<_> = self.kept.iter().map(|(name, kept)| (name.as_str(), kept)).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether there were more names than are kept.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Adds what another has, of the same cap and pins; `merge` joins what both have.
    pub fn merge(&mut self, other: Self, merge: impl Fn(&mut T, T)) {
        self.overflowed |= other.overflowed;
        for (name, theirs) in other.kept {
            if let Some(ours) = self.entry(&name) {
                merge(ours, theirs);
            }
        }
    }
}

impl<T: PartialEq> PartialEq for Named<T> {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept && self.overflowed == other.overflowed
    }
}

/// The same in every process.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(names: &[String], cap: usize) -> Named<u64> {
        let mut counts = Named::new(cap, Arc::new(BTreeSet::from(["pinned".to_owned()])));
        for name in names {
            if let Some(count) = counts.entry(name) {
                *count += 1;
            }
        }
        counts
    }

    #[test]
    fn parts_merge_to_the_whole_also_when_names_are_dropped() {
        let names: Vec<String> = (0..4000).map(|number| format!("n{}", number * 7919 % 613)).collect();
        let names = [names, vec!["pinned".into(), "x".repeat(300)]].concat();
        for cap in [0, 1, 40, 612, 613, 5000] {
            let whole = counted(&names, cap);
            for at in [0, 1, 500, 3999, 4002] {
                let (first, second) = names.split_at(at);
                let mut merged = counted(first, cap);
                merged.merge(counted(second, cap), |ours, theirs| *ours += theirs);
                assert!(merged == whole, "cap {cap}, cut at {at}");
            }
            assert_eq!(whole.len(), cap.min(613) + 1);
            assert_eq!(whole.get("pinned"), Some(&1));
            let exact = whole
                .sorted()
                .into_iter()
                .all(|(name, count)| *count == names.iter().filter(|other| *other == name).count() as u64);
            assert!(exact, "cap {cap}");
        }
    }
}
