//! How much of what is asked is refused, lately.
//!
//! A server that is out of capacity refuses much of what is beyond it. Where refusals are rare, the rate is near what the
//! server gives, or they have another cause: [`pace`](super::pace) tells these apart.

/// How much one request counts beside those before it.
const NEW: f64 = 0.001;
/// From this share on refusals are many: where one request in 500 is refused by chance, it is not reached by chance.
const MANY: f64 = 0.01;
/// No share is remembered as higher than this, so that a shortage is forgotten a thousand requests after its end.
const MOST: f64 = 3.0 * MANY;

/// The share of requests that were refused, the older the less.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    share: f64,
}

impl Refused {
    /// A request was answered, whichever way.
    pub fn answered(&mut self) {
        self.share *= 1.0 - NEW;
    }

    /// The last one was refused, wholly (1) or in part.
    pub fn refused(&mut self, part: f64) {
        self.share = (self.share + NEW * part).min(MOST);
    }

    /// Whether the server refuses so much that it must be short of capacity.
    #[must_use]
    pub fn is_many(&self) -> bool {
        self.share >= MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(requests: u32, refuse_each: u32) -> Refused {
        let mut refused = Refused::default();
        for request in 1..=requests {
            refused.answered();
            if request % refuse_each == 0 {
                refused.refused(1.0);
            }
        }
        refused
    }

    #[test]
    fn one_in_eighty_is_many_and_one_in_five_hundred_is_not() {
        assert!(after(4000, 80).is_many());
        assert!(!after(20_000, 500).is_many());
    }

    #[test]
    fn a_shortage_shows_within_a_few_refusals_and_is_forgotten_when_it_is_over() {
        assert!(after(22, 2).is_many());
        let mut refused = after(1000, 2);
        (0..1200).for_each(|_| refused.answered());
        assert!(!refused.is_many());
    }

    #[test]
    fn an_item_held_back_of_a_batch_is_a_part_of_a_request() {
        let mut refused = Refused::default();
        for request in 0..5000 {
            refused.answered();
            if request % 20 == 0 {
                refused.refused(0.04);
            }
        }
        assert!(!refused.is_many());
    }
}
