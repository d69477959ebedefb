//! Whether a key's history can be explained: each call that was answered takes effect at one moment between its beginning and
//! its end, one whose outcome is unknown at one moment after its beginning, or never (linearizability of a register).
//!
//! All explanations are followed at once, answer by answer; a call is made to take effect only when an answer needs it. One that has
//! made the same of it by fewer calls that are never answered stands for those that used more: whatever follows, it can do as much.

use super::history::{Answer, Asked, Call, Operation, Value};
use std::collections::{BTreeMap, VecDeque};

/// One explanation so far: the value, and which open calls have taken effect.
type Explanation = (Option<Value>, u128);

/// Calls of one key that are open at once.
const SLOTS: usize = 128;

/// Explanations of which none has another's value, and all of its calls that are answered, with fewer of those that never are.
struct Explanations {
    /// The slots of calls that are never answered.
    never: u128,
    /// By value and answered calls that have taken effect: the others.
    found: BTreeMap<Explanation, Vec<u128>>,
}

impl Explanations {
    fn new(never: u128) -> Explanations {
        Explanations { never, found: BTreeMap::new() }
    }

    /// Adds one, unless another stands for it already; whether it did.
    fn add(&mut self, (value, made): Explanation) -> bool {
        let others = self.found.entry((value, made & !self.never)).or_default();
        let used = made & self.never;
        if others.iter().any(|fewer| fewer & !used == 0) {
            return false;
        }
        others.retain(|more| used & !more != 0);
        others.push(used);
        true
    }

    fn into_all(self) -> Vec<Explanation> {
        let all = self.found.into_iter();
        all.flat_map(|((value, made), others)| others.into_iter().map(move |used| (value, made | used))).collect()
    }
}

/// The value after a call, if it can have had this effect and answer on `value`.
fn effect(operation: &Operation, value: Option<Value>) -> Option<Option<Value>> {
    match (operation.call, operation.answer) {
        (Call::Get, Answer::Found(found)) => (found == value).then_some(value),
        (Call::Get, _) => Some(value),
        (Call::Write(new, asked), answer) => {
            let holds = match asked {
                Asked::Always => true,
                Asked::Absent => value.is_none(),
                Asked::Present => value.is_some(),
                Asked::Has(has) => value == Some(has),
            };
            match answer {
                Answer::Done | Answer::Unknown => holds.then_some(new),
                Answer::Unmet => (!holds).then_some(value),
                Answer::Found(_) | Answer::Undone => None,
            }
        }
    }
}

/// The number of the first answer that no explanation has, in the order in which calls began.
pub(crate) fn contradiction(operations: &[&Operation]) -> Option<usize> {
    // what happened in its order: (when, which, whether it is an answer)
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        let reads_nothing = operation.call == Call::Get && operation.to.is_none();
        if !reads_nothing {
            events.push((operation.from, number, false));
            events.extend(operation.to.map(|to| (to, number, true)));
        }
    }
    events.sort_unstable();
    let mut slots: [Option<usize>; SLOTS] = [None; SLOTS];
    let (mut explanations, mut never) = (vec![(None, 0)], 0_u128);
    for (_, number, is_answer) in events {
        if !is_answer {
            let free = slots.iter().position(Option::is_none).expect("few calls of a key are open");
            slots[free] = Some(number);
            never |= u128::from(operations[number].to.is_none()) << free;
            continue;
        }
        let slot = slots.iter().position(|one| *one == Some(number)).expect("what is answered was asked");
        explanations = explained(operations, &slots, (slot, never), explanations);
        slots[slot] = None;
        if explanations.is_empty() {
            return Some(number);
        }
    }
    None
}

/// The explanations in which the call in `slot` has taken effect, each with as few others as it needs.
fn explained(
    operations: &[&Operation],
    slots: &[Option<usize>],
    (slot, never): (usize, u128),
    from: Vec<Explanation>,
) -> Vec<Explanation> {
    let (mut explained, mut seen) = (Explanations::new(never), Explanations::new(never));
    let mut left: VecDeque<Explanation> = from.into_iter().filter(|one| seen.add(*one)).collect();
    while let Some((value, made)) = left.pop_front() {
        if made & 1 << slot != 0 {
            explained.add((value, made & !(1 << slot)));
            continue;
        }
        for (other, number) in slots.iter().enumerate() {
            let Some(operation) = number.map(|number| operations[number]).filter(|_| made & 1 << other == 0) else {
                continue;
            };
            if let Some(after) = effect(operation, value) {
                let next = (after, made | 1 << other);
                if seen.add(next) {
                    left.push_back(next);
                }
            }
        }
    }
    explained.into_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: u64 = u64::MAX;

    fn write(value: Option<Value>, asked: Asked, answer: Answer, from: u64, to: u64) -> Operation {
        let to = (to != NEVER).then_some(to);
        Operation { who: "test".to_owned(), key: 0, call: Call::Write(value, asked), answer, from, to, at: [0, 0] }
    }

    fn put(value: Value, from: u64, to: u64) -> Operation {
        let answer = if to == NEVER { Answer::Unknown } else { Answer::Done };
        write(Some(value), Asked::Always, answer, from, to)
    }

    fn get(found: Option<Value>, from: u64, to: u64) -> Operation {
        let (call, answer) = (Call::Get, Answer::Found(found));
        Operation { who: "test".to_owned(), key: 0, call, answer, from, to: Some(to), at: [0, 0] }
    }

    fn culprit(mut operations: Vec<Operation>) -> Option<usize> {
        operations.sort_by_key(|one| one.from);
        contradiction(&operations.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_was_acknowledged_is_read() {
        assert_eq!(culprit(vec![get(None, 1, 2), put(1, 3, 4), get(Some(1), 5, 6)]), None);
    }

    #[test]
    fn an_acknowledged_write_that_is_lost_is_found() {
        assert_eq!(culprit(vec![put(1, 1, 2), get(None, 3, 4)]), Some(1));
        assert_eq!(culprit(vec![put(1, 1, 2), put(2, 3, 4), get(Some(1), 5, 6)]), Some(2));
    }

    #[test]
    fn a_deleted_item_that_comes_back_is_found() {
        let delete = write(None, Asked::Always, Answer::Done, 3, 4);
        assert_eq!(culprit(vec![put(1, 1, 2), delete, get(None, 5, 6), get(Some(1), 7, 8)]), Some(3));
    }

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        assert_eq!(culprit(vec![put(1, 1, 2), get(Some(7), 3, 4)]), Some(1));
        assert_eq!(culprit(vec![get(Some(1), 1, 2), put(1, 3, 4)]), Some(0));
    }

    #[test]
    fn a_read_amid_a_write_sees_it_or_not_but_does_not_go_back() {
        for sees in [None, Some(1)] {
            assert_eq!(culprit(vec![put(1, 1, 9), get(sees, 2, 3)]), None);
        }
        assert_eq!(culprit(vec![put(1, 1, 9), get(None, 2, 3), get(Some(1), 4, 5)]), None);
        assert_eq!(culprit(vec![put(1, 1, 9), get(Some(1), 2, 3), get(None, 4, 5)]), Some(2));
    }

    #[test]
    fn crossing_writes_end_in_either_order_but_in_one() {
        let both = |sees: Value| vec![put(1, 1, 5), put(2, 2, 6), get(Some(sees), 7, 8)];
        assert_eq!(culprit(both(1)), None);
        assert_eq!(culprit(both(2)), None);
        let mut torn = both(1);
        torn.push(get(Some(2), 9, 10));
        assert_eq!(culprit(torn), Some(3));
    }

    #[test]
    fn an_unknown_write_comes_about_late_or_never_but_not_twice() {
        assert_eq!(culprit(vec![put(1, 1, NEVER), get(None, 2, 3), get(Some(1), 4, 5)]), None);
        assert_eq!(culprit(vec![put(1, 1, NEVER), get(None, 2, 3), get(None, 4, 5)]), None);
        let twice = vec![put(1, 1, NEVER), get(Some(1), 2, 3), put(2, 4, 5), get(Some(2), 6, 7), get(Some(1), 8, 9)];
        assert_eq!(culprit(twice), Some(4));
    }

    #[test]
    fn a_condition_is_judged_at_the_moment_of_the_write() {
        let absent = |answer, from, to| write(Some(2), Asked::Absent, answer, from, to);
        assert_eq!(culprit(vec![absent(Answer::Done, 1, 2), get(Some(2), 3, 4)]), None);
        assert_eq!(culprit(vec![put(1, 1, 2), absent(Answer::Unmet, 3, 4)]), None);
        assert_eq!(culprit(vec![put(1, 1, 2), absent(Answer::Done, 3, 4)]), Some(1));
        assert_eq!(culprit(vec![absent(Answer::Unmet, 1, 2)]), Some(0));
        let has = write(Some(3), Asked::Has(1), Answer::Done, 3, 4);
        assert_eq!(culprit(vec![put(1, 1, 2), has.clone(), get(Some(3), 5, 6)]), None);
        assert_eq!(culprit(vec![put(9, 1, 2), has]), Some(1));
    }

    #[test]
    fn an_unknown_write_whose_condition_never_held_does_not_come_about() {
        let has = write(Some(3), Asked::Has(1), Answer::Unknown, 3, NEVER);
        assert_eq!(culprit(vec![put(2, 1, 2), has, get(Some(3), 5, 6)]), Some(2));
    }
}
