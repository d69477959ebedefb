//! SplitMix64 (Steele, Lea, Flood 2014): a seed gives the same numbers for ever, whatever version of a crate is built.
//!
//! Fixtures are committed and compared byte by byte, so nothing here may ever change.

/// A seeded generator of numbers. Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// The sequence of `seed` numbered `index`: each item has its own, so that any item can be made alone.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        Rng { state: mix(seed.wrapping_add(GAMMA)) ^ mix(index.wrapping_mul(GAMMA)) }
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// A number below `limit`, which is at least 1. Its bias, below limit / 2^64, harms no fixture.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(limit);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An index into something of `len` entries, which has at least one.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// One of `choices`, which has at least one.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.index(choices.len())]
    }

    /// A byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
