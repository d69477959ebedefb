//! What becomes of a request to the table, in memory and in the real worlds alike.

use super::chance::Chance;
use transvase::error::{Error, ErrorKind};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It is made at some time, and nobody hears of it.
    Unheard,
    /// It is not made.
    Lost,
}

impl Fate {
    /// That of one request; so many in a thousand are not answered.
    pub(crate) fn of_one(chance: &Chance, unanswered: u64) -> Fate {
        match chance.hits(unanswered) {
            false => Fate::Answered,
            true if chance.hits(600) => Fate::Unheard,
            true => Fate::Lost,
        }
    }
}

/// What is heard of a request that is not answered.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::Transient, "the source did not answer")
}
