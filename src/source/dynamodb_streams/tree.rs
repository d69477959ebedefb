//! The shards of a stream as one listing gives them: which continues which. Pure.
//!
//! A shard continues its parent: what happened to a key goes on there once the parent is closed. A parent may be closed
//! and have no child in the listing yet; a child may name a parent that the listing has forgotten.

use crate::driver::streams::ShardDescription;
use std::collections::{BTreeMap, BTreeSet};

/// One listing of all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    shards: BTreeMap<String, Shard>,
    parents: BTreeSet<String>,
}

/// A shard of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// The shard that it continues, listed or not.
    pub parent: Option<String>,
    /// The first sequence number that it may hold, where the server tells.
    pub start: Option<String>,
}

impl Tree {
    /// The tree of these shards.
    #[must_use]
    pub fn new(listed: Vec<ShardDescription>) -> Tree {
        let parents = listed.iter().filter_map(|shard| shard.parent.clone()).collect();
        let shards = listed.into_iter().map(|shard| (shard.id, Shard { parent: shard.parent, start: shard.start }));
        Tree { shards: shards.collect(), parents }
    }

    /// How many shards are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// A shard, if it is listed.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Shard> {
        self.shards.get(id)
    }

    /// All shards, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Shard)> {
        self.shards.iter().map(|(id, shard)| (id.as_str(), shard))
    }

    /// Whether some listed shard continues this one.
    #[must_use]
    pub fn is_continued(&self, id: &str) -> bool {
        self.parents.contains(id)
    }

    /// The listed shards before this one, nearest first.
    pub fn ancestors<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        let above = |id: &str| {
            let parent = self.shards.get(id)?.parent.as_deref()?;
            self.shards.get_key_value(parent).map(|(id, _)| id.as_str())
        };
        // a listing in which shards continue each other in a circle ends all the same
        std::iter::successors(above(id), move |id| above(id)).take(self.shards.len())
    }
}
