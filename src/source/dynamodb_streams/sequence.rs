//! Sequence numbers: text of up to 40 digits, more than any integer type holds, ordered as the numbers that they spell.

use std::cmp::Ordering;

/// Compares two sequence numbers as numbers: as byte strings, padded with zeros on the left.
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_beyond_any_integer_type_are_ordered() {
        let most = "9".repeat(40);
        let less = format!("{}8", "9".repeat(39));
        assert_eq!(compare(&less, &most), Ordering::Less);
        assert_eq!(compare("9", "10"), Ordering::Less);
        assert_eq!(compare("0010", "10"), Ordering::Equal);
        assert_eq!(compare("0", ""), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn texts_are_ordered_as_their_numbers_whatever_zeros_lead(one: u128, other: u128, zeros in 0_usize..3) {
            let padded = format!("{}{one}", "0".repeat(zeros));
            prop_assert_eq!(compare(&padded, &other.to_string()), one.cmp(&other));
        }
    }
}
