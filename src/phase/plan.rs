//! The plan of a dual-write migration as one table: its steps, what is read and written in each, what must stand while it lasts;
//! and the moves between steps, each with all of its conditions. Pure.
//!
//! Nothing else encodes these rules: controller, dual-write library and screen read them here, and another migration is
//! another table. Where the steps come from, and which race each condition closes: `docs/phases.md`.

use std::fmt;

/// One of the two stores of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The one that is moved out of.
    Old,
    /// The one that is moved into.
    New,
}

/// What a read does with the second store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Nothing.
    Nothing,
    /// Every item that is read is written there.
    Every,
    /// An item that is missing there is written there.
    Missing,
}

/// Where a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// Who answers: the authoritative store of the step.
    pub first: Store,
    /// What comes of it for the other store.
    pub fill: Fill,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writes {
    /// The store that is written first.
    pub first: Store,
    /// The store that is written after it, if any.
    pub second: Option<Store>,
    /// Whether both writes lie within one transaction of the first store, whose row stays locked until the second has answered.
    pub joined: bool,
}

/// What must stand as long as a step lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interlock {
    /// Nothing.
    Nothing,
    /// Somebody holds the backfill lock.
    BackfillLock,
    /// The write barrier of this number was crossed.
    Barrier(u8),
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name, as it is typed.
    pub name: &'static str,
    /// Where reads go.
    pub reads: Reads,
    /// Where writes go.
    pub writes: Writes,
    /// What must stand.
    pub interlock: Interlock,
}

/// What has to hold before a move. Where the move crosses a barrier it is asked twice: before writers are stopped, and when all
/// have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// Every registered writer whose lease lives has acknowledged the present step: at most two adjacent steps are in use.
    WritersFollow,
    /// The backfill lock is held.
    LockHeld,
    /// The new store is empty, or was repaired from the old one since the last generation ended: what was left in it went stale.
    NewIsFresh,
    /// Every unit of the copy is durable.
    CopyComplete,
    /// No reject is open that nobody signed for.
    NoOpenRejects,
    /// A certificate that is clean, recent, and of this very source, mapping and target.
    Certified,
    /// Every registered replay has no lag.
    ReplaysDone,
    /// No write that the new store still lacks is on record.
    NewIsSettled,
    /// No write that the old store still lacks is on record.
    OldIsSettled,
    /// The old store deletes nothing by itself, or the certificate proves that the new one has nothing more.
    NoSilentDeletes,
    /// No fault is on record.
    NoFault,
    /// The table's name was typed: there is no way back.
    NameTyped,
}

/// A move from one step to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// From this step, counted from 1.
    pub from: u8,
    /// To this one.
    pub to: u8,
    /// The write barrier that all writers stop at between the steps: none where both may be in use at once.
    pub barrier: Option<u8>,
    /// Whether it ends the generation of what is in the new store.
    pub ends_generation: bool,
    /// What has to hold.
    pub conditions: &'static [Condition],
}

/// A migration's plan.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// What the stores are called, old and new.
    pub stores: [&'static str; 2],
    /// The steps, in order.
    pub steps: &'static [Step],
    /// All moves there are.
    pub moves: &'static [Move],
}

impl Plan {
    /// The step of this number, counted from 1.
    #[must_use]
    pub fn step(&self, number: u8) -> Option<&'static Step> {
        self.steps.get(usize::from(number.checked_sub(1)?))
    }

    /// The number of a step by its name or number, as typed.
    #[must_use]
    pub fn find(&self, typed: &str) -> Option<u8> {
        let named = self.steps.iter().position(|step| step.name == typed);
        let number = named.and_then(|index| u8::try_from(index + 1).ok()).or_else(|| typed.parse().ok())?;
        self.step(number).map(|_| number)
    }

    /// The move between two steps, if there is one.
    #[must_use]
    pub fn between(&self, from: u8, to: u8) -> Option<&'static Move> {
        self.moves.iter().find(|one| (one.from, one.to) == (from, to))
    }

    /// The moves that lead out of a step.
    pub fn out_of(&self, from: u8) -> impl Iterator<Item = &'static Move> + use<> {
        self.moves.iter().filter(move |one| one.from == from)
    }

    /// What a store is called.
    #[must_use]
    pub fn called(&self, store: Store) -> &'static str {
        match store {
            Store::Old => self.stores[0],
            Store::New => self.stores[1],
        }
    }
}

impl Condition {
    /// Whether an operator may answer for it, since there may be nobody left who could make it hold: a replay that is gone for
    /// good. All others hold once somebody does what they say, and past a write on record the two stores would never agree.
    #[must_use]
    pub fn is_forcible(self) -> bool {
        self == Condition::ReplaysDone
    }
}

impl Step {
    /// The store whose content is the truth.
    #[must_use]
    pub fn authority(&self) -> Store {
        self.reads.first
    }
}

/// What has to hold, in a few words.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Condition::WritersFollow => "all writers are in this step",
            Condition::LockHeld => "the backfill lock is held",
            Condition::NewIsFresh => "nothing stale is in the target",
            Condition::CopyComplete => "the copy is complete",
            Condition::NoOpenRejects => "no reject is open",
            Condition::Certified => "a certificate stands",
            Condition::ReplaysDone => "replays have caught up",
            Condition::NewIsSettled => "the target lacks no write",
            Condition::OldIsSettled => "the source lacks no write",
            Condition::NoSilentDeletes => "nothing expired is in the target",
            Condition::NoFault => "no fault is on record",
            Condition::NameTyped => "the table's name was typed",
        })
    }
}

impl fmt::Display for Interlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interlock::Nothing => Ok(()),
            Interlock::BackfillLock => f.write_str("backfill lock"),
            Interlock::Barrier(number) => write!(f, "write barrier {number}"),
        }
    }
}
