//! What becomes of one key at which source and target seemed to disagree: the decision, look by look. Pure.
//!
//! One look proves nothing where somebody writes: a dual write is in one place before it is in the other, and the two
//! sides are read one after the other. So a difference counts once it was seen the same way several times in a row, with
//! growing pauses, neither side having changed in between. Whatever changes begins the count anew, and a key that changes
//! at every look is at last given up: nothing can be said of it.
//!
//! What no look can see is a key that was changed and changed back in between, to the very same difference each time, as
//! one that is deleted and put again and again may be. It may be confirmed wrongly; mending it does no harm, since that
//! reads again under a lock.

use crate::model::counts::Digest;
use std::time::Duration;

/// Looks that come to nothing, because the source holds its answer back, before the key is given up.
const HELD_BACK_MAX: u32 = 60;

/// How long to wait before asking again what was held back. The limiter adds its own waits.
const HELD_BACK_PAUSE: Duration = Duration::from_millis(200);

/// How often and how long to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The pause before each look in a row that sees the same difference; as many looks confirm it.
    pub pauses: Vec<Duration>,
    /// Looks in all before a key that keeps changing is given up.
    pub rounds: u32,
}

impl Patience {
    /// Where somebody writes to either side. A dual write must take less than the pauses together, or it may be taken for
    /// a difference.
    #[must_use]
    pub fn live() -> Self {
        Patience { pauses: [200, 1000, 3000].map(Duration::from_millis).to_vec(), rounds: 8 }
    }

    /// Where nobody writes: one look is enough.
    #[must_use]
    pub fn still() -> Self {
        Patience { pauses: vec![Duration::ZERO], rounds: 1 }
    }

    /// The pause before a look, when so many in a row have seen the same.
    #[must_use]
    pub fn pause(&self, same: u32) -> Duration {
        let at = usize::try_from(same).unwrap_or(usize::MAX).min(self.pauses.len().saturating_sub(1));
        self.pauses.get(at).copied().unwrap_or_default()
    }
}

/// What one look saw: the digest of each side's row, and whether they agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The row that the source's item maps to; none when there is none for this key.
    pub source: Option<Digest>,
    /// The target's row.
    pub target: Option<Digest>,
    /// Whether they are one.
    pub agree: bool,
}

/// What to do after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// They agree.
    Settled,
    /// They disagree, and did so all along.
    Confirmed,
    /// Nothing can be said.
    Unsettled,
    /// Look again after so long.
    Again(Duration),
}

/// One key's looks so far.
#[derive(Clone, Debug, Default)]
pub struct Case {
    last: Option<Sight>,
    /// Looks in a row that saw `last`.
    same: u32,
    looks: u32,
    held_back: u32,
}

impl Case {
    /// Takes in a look.
    pub fn see(&mut self, sight: Sight, patience: &Patience) -> Step {
        if sight.agree {
            return Step::Settled;
        }
        self.looks += 1;
        self.same = if self.last == Some(sight) { self.same + 1 } else { 1 };
        self.last = Some(sight);
        if usize::try_from(self.same).unwrap_or(usize::MAX) >= patience.pauses.len() {
            return Step::Confirmed;
        }
        self.again(patience)
    }

    /// Takes in that the source told nothing.
    pub fn told_nothing(&mut self) -> Step {
        self.held_back += 1;
        if self.held_back >= HELD_BACK_MAX { Step::Unsettled } else { Step::Again(HELD_BACK_PAUSE) }
    }

    /// Takes in that a side changed when the difference was to be mended: the count begins anew.
    pub fn changed(&mut self, patience: &Patience) -> Step {
        (self.last, self.same) = (None, 0);
        self.looks += 1;
        self.again(patience)
    }

    fn again(&self, patience: &Patience) -> Step {
        if self.looks >= patience.rounds { Step::Unsettled } else { Step::Again(patience.pause(self.same)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(source: Option<u8>, target: Option<u8>) -> Sight {
        let digest = |value: Option<u8>| value.map(|value| Digest::from([value; 16]));
        Sight { source: digest(source), target: digest(target), agree: source == target }
    }

    fn millis(step: Step) -> Option<u128> {
        match step {
            Step::Again(pause) => Some(pause.as_millis()),
            _ => None,
        }
    }

    #[test]
    fn a_difference_is_one_when_it_was_seen_three_times_in_a_row() {
        let (live, mut case) = (Patience::live(), Case::default());
        assert_eq!(live.pause(0), Duration::from_millis(200));
        assert_eq!(millis(case.see(sight(Some(1), None), &live)), Some(1000));
        assert_eq!(millis(case.see(sight(Some(1), None), &live)), Some(3000));
        assert_eq!(case.see(sight(Some(1), None), &live), Step::Confirmed);
    }

    #[test]
    fn whatever_changes_on_either_side_begins_the_count_anew() {
        for changed in [sight(Some(2), Some(7)), sight(Some(1), Some(8)), sight(None, Some(7))] {
            let (live, mut case) = (Patience::live(), Case::default());
            case.see(sight(Some(1), Some(7)), &live);
            case.see(sight(Some(1), Some(7)), &live);
            assert_eq!(millis(case.see(changed, &live)), Some(1000), "{changed:?}");
            assert_eq!(millis(case.see(changed, &live)), Some(3000));
            assert_eq!(case.see(changed, &live), Step::Confirmed);
        }
    }

    #[test]
    fn agreeing_once_settles_it() {
        let (live, mut case) = (Patience::live(), Case::default());
        case.see(sight(Some(1), None), &live);
        assert_eq!(case.see(sight(Some(1), Some(1)), &live), Step::Settled);
        assert_eq!(Case::default().see(sight(None, None), &live), Step::Settled);
    }

    #[test]
    fn a_key_that_never_rests_is_given_up() {
        let (live, mut case) = (Patience::live(), Case::default());
        let steps: Vec<Step> = (0..8).map(|round| case.see(sight(Some(round), None), &live)).collect();
        assert!(steps[..7].iter().all(|step| millis(*step) == Some(1000)), "{steps:?}");
        assert_eq!(steps[7], Step::Unsettled);
    }

    #[test]
    fn where_nobody_writes_one_look_is_enough() {
        assert_eq!(Case::default().see(sight(Some(1), None), &Patience::still()), Step::Confirmed);
    }

    #[test]
    fn a_source_that_tells_nothing_is_not_asked_for_ever() {
        let mut case = Case::default();
        let asked = (0..1000).take_while(|_| case.told_nothing() != Step::Unsettled).count();
        assert!((10..200).contains(&asked), "{asked}");
        assert_eq!(case.see(sight(Some(1), Some(1)), &Patience::live()), Step::Settled);
    }
}
