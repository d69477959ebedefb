//! Whether a map names an attribute twice: exactly, and nearly for free when it does not.

use super::super::value::after;
use simd_json::Node;

/// Up to this many names a doubtful one is compared with each before it; in a wider map all are sorted once.
pub(super) const NARROW: usize = 32;

/// The names of a map so far.
#[derive(Default)]
pub(super) struct Seen {
    filter: NameFilter,
    /// A name beyond the first [`NARROW`] may be there twice.
    doubtful: bool,
}

impl Seen {
    /// Adds the name that has `before` others before it in the map at `at`; whether it is surely there twice.
    #[inline]
    pub(super) fn add(&mut self, name: &str, nodes: &[Node<'_>], at: usize, before: usize) -> bool {
        if !self.filter.add(name) {
            return false;
        }
        self.doubtful |= before >= NARROW;
        before < NARROW && names(nodes, at, before).any(|other| other == name)
    }

    /// Whether a name that was in doubt is there twice, now that all `len` names of the map at `at` are on the tape.
    #[inline]
    pub(super) fn finds_twice(&self, nodes: &[Node<'_>], at: usize, len: usize) -> bool {
        self.doubtful && named_twice(nodes, at, len)
    }
}

/// A filter over names, 512 bits: says "maybe seen" rarely, and never misses a pair. The exact check is dearer.
#[derive(Default)]
struct NameFilter {
    bits: [u64; 8],
}

impl NameFilter {
    /// Adds a name; whether it may have been added before.
    #[inline]
    fn add(&mut self, name: &str) -> bool {
        let hash = hash(name.as_bytes());
        let word = &mut self.bits[(hash >> 61) as usize];
        let bit = 1 << (hash >> 55 & 63);
        let seen = *word & bit != 0;
        *word |= bit;
        seen
    }
}

/// A hash whose upper bits are good, from a name's length and both of its ends: a loop over all bytes costs as much as
/// parsing them.
#[inline]
fn hash(name: &[u8]) -> u64 {
    let ends = if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        u64::from_le_bytes(*head) ^ u64::from_le_bytes(*tail).rotate_left(29)
    } else if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        u64::from(u32::from_le_bytes(*head)) | u64::from(u32::from_le_bytes(*tail)) << 32
    } else {
        name.iter().fold(0, |ends, byte| ends << 8 | u64::from(*byte))
    };
    (ends ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The first `count` names of the map at `at`, all of them already checked.
fn names<'a>(nodes: &[Node<'a>], at: usize, count: usize) -> impl Iterator<Item = &'a str> {
    let mut next = at + 1;
    (0..count).map_while(move |_| {
        let Some(Node::String(name)) = nodes.get(next) else { return None };
        next = after(nodes, next + 1);
        Some(*name)
    })
}

fn named_twice(nodes: &[Node<'_>], at: usize, len: usize) -> bool {
    let mut names: Vec<&str> = names(nodes, at, len).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}
