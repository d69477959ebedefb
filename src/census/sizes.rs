//! A histogram of sizes: powers of two, so that any two of them add up.

use serde::{Serialize, Serializer};

/// One bucket for each power of two that a `u64` has, and one for zero.
const BUCKETS: usize = 65;

/// How many sizes fell between which powers of two, and the largest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    buckets: [u64; BUCKETS],
    largest: u64,
    sum: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { buckets: [0; BUCKETS], largest: 0, sum: 0 }
    }
}

impl Sizes {
    /// Counts one.
    pub fn add(&mut self, size: u64) {
        let bucket = u64::BITS - size.leading_zeros();
        if let Some(count) = self.buckets.get_mut(bucket as usize) {
            *count += 1;
        }
        self.largest = self.largest.max(size);
        self.sum += size;
    }

    /// Adds another.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(ours, theirs)| *ours += theirs);
        self.largest = self.largest.max(other.largest);
        self.sum += other.sum;
    }

    /// The largest.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// A size that so many in a hundred do not exceed: the end of the bucket in which that one lies.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in (0_u32..).zip(self.buckets) {
            seen += count;
            if seen >= wanted && seen > 0 {
                return u64::MAX.checked_shr(u64::BITS - bucket).unwrap_or(0).min(self.largest);
            }
        }
        self.largest
    }
}

/// As its figures: count, mean, the half, the most of them, and the largest.
impl Serialize for Sizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Figures {
            sum: u64,
            p50: u64,
            p99: u64,
            largest: u64,
        }
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        Figures { sum: self.sum, p50, p99, largest: self.largest }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_not_below_the_size_and_not_above_its_double() {
        let mut sizes = Sizes::default();
        (0..1000).for_each(|size| sizes.add(size));
        assert_eq!((sizes.count(), sizes.sum(), sizes.largest()), (1000, 499_500, 999));
        assert_eq!(sizes.percentile(50), 511);
        assert_eq!(sizes.percentile(100), 999);
        assert_eq!(Sizes::default().percentile(50), 0);
        sizes.add(u64::MAX >> 20);
        assert_eq!(sizes.percentile(100), u64::MAX >> 20);
    }
}
