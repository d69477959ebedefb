//! What has happened in all worlds of a test, so that none is too tame. The same of every simulated world, whatever stores it has.

use super::history::{Answer, History, Operation};
use std::fmt;
use transvase::phase::dynamodb_to_mysql::DYNAMODB_TO_MYSQL as PLAN;

/// Transitions by the steps that they lead from and to.
pub(crate) type Moves = [[u64; 8]; 8];

/// Whether a call is one of those that are counted together.
type IsOne = fn(&Operation) -> bool;

/// Calls by how they were answered.
const ANSWERS: [(&str, IsOne); 5] = [
    ("writes made", |one| one.answer == Answer::Done),
    ("unmet", |one| one.answer == Answer::Unmet),
    ("not made", |one| one.answer == Answer::Undone),
    ("unknown", |one| one.answer == Answer::Unknown),
    ("reads", |one| matches!(one.answer, Answer::Found(_))),
];

#[derive(Default)]
pub(crate) struct Totals {
    /// In the order in which the first world told them.
    counts: Vec<(&'static str, u64)>,
    moves: Moves,
}

impl Totals {
    /// One world's: what was called, what went wrong by its name, and the moves.
    pub(crate) fn add(&mut self, history: &History, wrong: &[(&'static str, u64)], moves: &Moves) {
        let answers = ANSWERS.iter().map(|(name, of)| (*name, history.count(of)));
        for (at, (name, count)) in answers.chain(wrong.iter().copied()).enumerate() {
            match self.counts.get_mut(at) {
                Some(all) => all.1 += count,
                None => self.counts.push((name, count)),
            }
        }
        for (all, one) in self.moves.iter_mut().flatten().zip(moves.iter().flatten()) {
            *all += one;
        }
    }

    fn moved(&self, from: u8, to: u8) -> u64 {
        self.moves[usize::from(from)][usize::from(to)]
    }

    /// What should have happened, and has not; of the moves, to those steps that a world goes to at all.
    pub(crate) fn never(&self, goes_to: impl Fn(u8) -> bool) -> Vec<String> {
        let counts = self.counts.iter().filter(|(_, count)| *count == 0).map(|(name, _)| (*name).to_owned());
        let moves = PLAN.moves.iter().filter(|way| goes_to(way.to) && self.moved(way.from, way.to) == 0);
        counts.chain(moves.map(|way| format!("{} to {}", way.from, way.to))).collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.counts {
            write!(f, "{count} {name}, ")?;
        }
        write!(f, "moves")?;
        for way in PLAN.moves {
            write!(f, " {}>{} {}", way.from, way.to, self.moved(way.from, way.to))?;
        }
        Ok(())
    }
}
