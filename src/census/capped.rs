//! Counts of distinct things, given up when there are too many: exact or nothing, whatever the order they come in.

use std::collections::BTreeMap;

/// Counts of at most so many distinct things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped<T: Ord> {
    cap: usize,
    /// None once there were more than `cap`.
    counts: Option<BTreeMap<T, u64>>,
}

impl<T: Ord + Clone> Capped<T> {
    /// Empty.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Capped { cap, counts: Some(BTreeMap::new()) }
    }

    /// The counts; none when there were too many distinct things.
    #[must_use]
    pub fn counts(&self) -> Option<&BTreeMap<T, u64>> {
        self.counts.as_ref()
    }

    /// Counts `thing` once more.
    pub fn add<Q>(&mut self, thing: &Q)
    where
        Q: Ord + ToOwned<Owned = T> + ?Sized,
        T: std::borrow::Borrow<Q>,
    {
        let Some(counts) = &mut self.counts else { return };
        if let Some(count) = counts.get_mut(thing) {
            *count += 1;
        } else if counts.len() < self.cap {
            counts.insert(thing.to_owned(), 1);
        } else {
            self.counts = None;
        }
    }

    /// Gives up: there is something that is not to be counted.
    pub fn give_up(&mut self) {
        self.counts = None;
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        let (Some(counts), Some(others)) = (&mut self.counts, &other.counts) else {
            self.counts = None;
            return;
        };
        for (thing, count) in others {
            *counts.entry(thing.clone()).or_default() += count;
        }
        if counts.len() > self.cap {
            self.counts = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_cap_nothing_is_claimed_in_any_order() {
        let mut whole = Capped::<String>::new(2);
        let mut parts = [Capped::new(2), Capped::new(2)];
        for (index, text) in ["a", "b", "a", "b", "c"].into_iter().enumerate() {
            assert!(whole.counts().is_some());
            whole.add(text);
            parts[index / 3].add(text);
        }
        assert_eq!(parts.each_ref().map(|part| part.counts().unwrap().len()), [2, 2]);
        let [mut merged, other] = parts;
        merged.merge(&other);
        assert_eq!(merged, whole);
        assert_eq!(merged.counts(), None);
    }
}
