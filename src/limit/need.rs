//! Which segment most needs the next page.
//!
//! Segments cut hash space, not data, so nobody knows how long one is before its end. What is known is the mean over
//! all of them, and how far each has got. A scan ends when its longest segment does, and a segment is read one page
//! after another: so the page that is read next is one of the segment with the most work still to come.

/// The work a segment is expected to have left, in whatever unit `mean` and `read` are given (units, bytes).
///
/// `mean` is the table's size divided by the number of segments, `read` what the segment gave so far. Up to half the
/// mean the mean is believed. From there on what was read is: lengths of segments have a heavy tail (an item collection
/// cannot be cut), and of something heavy-tailed that has lasted for long as much again is to be expected. The two meet
/// at half the mean, so that no segment falls behind by being read.
#[must_use]
pub fn need(mean: u64, read: u64) -> u64 {
    mean.saturating_sub(read).max(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_segment_is_expected_to_be_of_mean_length() {
        assert_eq!(need(1000, 0), 1000);
        assert_eq!(need(1000, 499), 501);
    }

    #[test]
    fn what_has_been_long_will_be_long() {
        assert_eq!(need(1000, 500), 500);
        assert_eq!(need(1000, 5000), 5000);
        assert!(need(1000, 5000) > need(1000, 0));
    }

    #[test]
    fn without_a_size_the_segments_that_gave_most_come_first() {
        assert_eq!(need(0, 0), 0);
        assert_eq!(need(0, 7), 7);
    }
}
