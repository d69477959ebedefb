//! Which segment most needs the next page.
//!
//! Segments cut hash space, not data, so nobody knows how long one is before its end. What is known is the mean over
//! all of them, and how far each has got. A scan ends when its longest segment does, and a segment is read one page
//! after another: so the page that is read next is one of the segment with the most work still to come.

/// How much the next page of a segment is needed, in whatever unit `mean` and `read` are given (units, bytes).
///
/// `mean` is the table's size divided by the number of segments, `read` what the segment gave so far. Lengths of segments
/// have a heavy tail (an item collection cannot be cut), and of something heavy-tailed that has lasted for long as much
/// again is to be expected: so those that have given most come first, by powers of two of the mean. Within one power the
/// one that has given least comes first: equals advance together, spread over all partitions, rather than one after
/// the other, each on a partition of its own.
#[must_use]
pub fn need(mean: u64, read: u64) -> u64 {
    let mean = mean.max(1);
    if read < mean {
        return mean - read / 2;
    }
    let power = (read / mean).ilog2();
    let from = mean << power;
    from + (from - (read - from)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_segment_is_expected_to_be_of_mean_length() {
        assert_eq!(need(1000, 0), 1000);
        assert!(need(1000, 999) < need(1000, 400));
    }

    #[test]
    fn what_has_been_long_will_be_long() {
        assert!(need(1000, 5000) > need(1000, 3999));
        assert!(need(1000, 5000) > need(1000, 0));
        let highest = |from: u64| (from..from * 2).map(|read| need(1000, read)).max();
        let lowest = |from: u64| (from..from * 2).map(|read| need(1000, read)).min();
        assert!(lowest(2000) > highest(1000) && lowest(4000) > highest(2000));
    }

    #[test]
    fn equals_advance_together() {
        assert!(need(1000, 1500) > need(1000, 1600));
        assert!(need(1000, 5000) > need(1000, 5100));
    }

    #[test]
    fn neither_an_unknown_size_nor_a_huge_one_is_too_much() {
        assert!(need(0, 7) > need(0, 0));
        assert!(need(1, u64::MAX) > need(1, u64::MAX / 4));
        assert!(need(u64::MAX, u64::MAX) > 0);
    }
}
