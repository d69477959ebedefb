//! Whether a move may be made, given what is known: pure. What is not known does not hold.

use super::plan::{Condition, Interlock, Move, Plan, Store};
use serde::Serialize;
use std::fmt;

/// What is known of a migration at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// The table that is migrated.
    pub table: String,
    /// The present step, counted from 1.
    pub step: u8,
    /// Who holds the backfill lock, while its lease lives.
    pub lock: Option<String>,
    /// Every registered application instance.
    pub writers: Vec<Writer>,
    /// Faults on record.
    pub faults: u64,
    /// Open and all units of the copy; none when there is no copy.
    pub units: Option<(u64, u64)>,
    /// Rejects that are open and not signed off.
    pub open_rejects: Option<u64>,
    /// Why the certificate does not count; none when it does.
    pub certificate: Option<Doubt>,
    /// Registered replays and how far each is behind, in seconds; none when that is not known.
    pub replays: Vec<(String, Option<u64>)>,
    /// Writes on record that a store still lacks: the old one, the new one.
    pub unsettled: Option<[u64; 2]>,
    /// Whether the old store deletes items by itself (time to live).
    pub expires: Option<bool>,
    /// Whether the certificate says that the new store has nothing that the old one has not.
    pub no_extras: bool,
    /// Whether the new store is empty, or was repaired since the last generation ended.
    pub is_fresh: Option<bool>,
    /// What was typed as the table's name.
    pub typed: Option<String>,
}

/// Why a certificate does not count.
pub type Doubt = String;

/// A registered application instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Writer {
    /// Its name.
    pub name: String,
    /// The step that it acknowledged last.
    pub step: u8,
    /// Whether its lease may still cover a request in flight.
    pub lives: bool,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Which.
    pub condition: Condition,
    /// What is the matter, and what helps: one sentence.
    pub because: String,
}

/// Why a move may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The plan has no such move: one sentence.
    NoWay(String),
    /// Conditions that do not hold, in the plan's order; never empty.
    Unmet(Vec<Unmet>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoWay(sentence) => f.write_str(sentence),
            Refusal::Unmet(unmet) => {
                let sentences: Vec<&str> = unmet.iter().map(|one| one.because.as_str()).collect();
                f.write_str(&sentences.join("; "))
            }
        }
    }
}

/// Whether the move to step `to` may be made.
///
/// # Errors
/// Why not.
pub fn judge(plan: &Plan, to: u8, facts: &Facts) -> Result<&'static Move, Refusal> {
    let found = plan.between(facts.step, to).ok_or_else(|| Refusal::NoWay(no_way(plan, facts.step, to)))?;
    let unmet: Vec<Unmet> = unmet(found, facts).collect();
    if unmet.is_empty() { Ok(found) } else { Err(Refusal::Unmet(unmet)) }
}

/// The conditions of a move that do not hold.
pub fn unmet(of: &'static Move, facts: &Facts) -> impl Iterator<Item = Unmet> {
    of.conditions.iter().filter_map(|condition| {
        let because = fails(*condition, facts)?;
        Some(Unmet { condition: *condition, because })
    })
}

/// What does not stand that the present step needs.
#[must_use]
pub fn loose(plan: &Plan, facts: &Facts) -> Option<String> {
    let step = plan.step(facts.step)?;
    match step.interlock {
        Interlock::BackfillLock if facts.lock.is_none() => Some(NO_LOCK.to_owned()),
        Interlock::BackfillLock | Interlock::Nothing | Interlock::Barrier(_) => None,
    }
}

const NO_LOCK: &str = "nobody holds the backfill lock: `transvase phase lock` takes it";

/// Why a condition does not hold.
fn fails(condition: Condition, facts: &Facts) -> Option<String> {
    match condition {
        Condition::WritersFollow => stragglers(facts),
        Condition::LockHeld => facts.lock.is_none().then(|| NO_LOCK.to_owned()),
        Condition::NewIsFresh => match facts.is_fresh {
            Some(true) => None,
            Some(false) => Some(
                "the target holds rows from before the dual writes, which went stale while nobody wrote to them: empty its tables, \
                 or mend them with `transvase verify --repair --delete-extras`"
                    .to_owned(),
            ),
            None => Some(unknown("whether the target is empty")),
        },
        Condition::CopyComplete => match facts.units {
            Some((0, _)) => None,
            Some((open, all)) => Some(format!("{open} of the copy's {all} units are open: run the same `transvase backfill`")),
            None => Some("there is no copy: `transvase backfill` makes it".to_owned()),
        },
        Condition::NoOpenRejects => match facts.open_rejects {
            Some(0) => None,
            Some(open) => Some(format!("{open} rejects are open: `transvase rejects retry`, or `rejects sign-off`")),
            None => Some(unknown("how many rejects are open")),
        },
        Condition::Certified => facts.certificate.clone(),
        Condition::ReplaysDone => late(&facts.replays),
        Condition::NewIsSettled => unsettled(facts, Store::New),
        Condition::OldIsSettled => unsettled(facts, Store::Old),
        Condition::NoSilentDeletes => match (facts.expires, facts.no_extras) {
            (_, true) | (Some(false), _) => None,
            (Some(true), false) => Some(
                "the source deletes items whose time to live is over, and no certificate says that the target has none of \
                 them: verify at level full, or switch the time to live off"
                    .to_owned(),
            ),
            (None, false) => {
                Some(unknown("whether the source deletes items whose time to live is over") + ": verify at level full")
            }
        },
        Condition::NoFault => (facts.faults > 0).then(|| {
            format!("{} faults are on record, see `transvase phase status`: mend what they name, then clear them", facts.faults)
        }),
        Condition::NameTyped => (facts.typed.as_deref() != Some(facts.table.as_str())).then(|| {
            format!("there is no way back from here: type the table's name, or give --yes-lose-rollback {}", facts.table)
        }),
    }
}

fn unknown(what: &str) -> String {
    format!("{what} is not known")
}

/// Writers that are in another step than the present one, and may still write.
fn stragglers(facts: &Facts) -> Option<String> {
    let behind = facts.writers.iter().filter(|writer| writer.lives && writer.step != facts.step);
    let behind: Vec<String> = behind.map(|writer| format!("{} (step {})", writer.name, writer.step)).collect();
    (!behind.is_empty()).then(|| {
        format!(
            "writers have not acknowledged step {} yet, and may still write by another: {}",
            facts.step,
            behind.join(", ")
        )
    })
}

fn late(replays: &[(String, Option<u64>)]) -> Option<String> {
    let behind = |(name, lag): &(String, Option<u64>)| match lag {
        Some(0) => None,
        Some(lag) => Some(format!("{name} is {lag} s behind")),
        None => Some(format!("how far {name} is behind is not known")),
    };
    let late: Vec<String> = replays.iter().filter_map(behind).collect();
    (!late.is_empty()).then(|| format!("replays are not caught up: {}", late.join(", ")))
}

fn unsettled(facts: &Facts, store: Store) -> Option<String> {
    let (index, name) = match store {
        Store::Old => (0, "source"),
        Store::New => (1, "target"),
    };
    match facts.unsettled.map(|both| both[index]) {
        Some(0) => None,
        Some(open) => Some(format!(
            "{open} writes are on record that the {name} may lack: the writers mend them by themselves, wait until they have"
        )),
        None => Some(unknown(&format!("whether the {name} lacks writes"))),
    }
}

/// Why the plan has no such move.
fn no_way(plan: &Plan, from: u8, to: u8) -> String {
    let name = |number: u8| match plan.step(number) {
        Some(step) => format!("{number} ({})", step.name),
        None => number.to_string(),
    };
    let ways: Vec<String> = plan.out_of(from).map(|one| name(one.to)).collect();
    if plan.step(to).is_none() {
        return format!("plan {} has no step {to}", plan.name);
    }
    if from == to {
        return format!("step {} is the present one", name(to));
    }
    if ways.is_empty() {
        return format!("step {} is the last, and there is no way back from it", name(from));
    }
    format!("step {} does not follow step {}: from there lead {}", name(to), name(from), ways.join(", "))
}
