//! The controller of a migration: an operator moves it from step to step by command, and everything that has to hold is
//! looked at, twice where writers stop in between.
//!
//! Promises: a transition is one compare-and-set with its evidence; a controller that dies leaves a migration that stands
//! where it stood, or a barrier that ends by itself; the same command goes on. Must not know: how a row is written.

mod crossing;
mod evidence;
pub mod force;

pub use crossing::Rehearsed;
pub use evidence::time_to_live;

use crate::checkpoint::phases::lock::Taken;
use crate::checkpoint::phases::replays::Replay;
use crate::checkpoint::phases::writers::{FaultOnRecord, Instance};
use crate::checkpoint::phases::{Audit, Next, Past, Phase, Phases};
use crate::driver::pool::Pool;
use crate::driver::rehearsal::Rehearsal;
use crate::driver::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::phase::dynamodb_to_mysql::DYNAMODB_TO_MYSQL;
use crate::phase::judge::{Facts, Refusal, judge, unmet};
use crate::phase::plan::{Condition, Interlock, Move, Plan};
use crate::phase::plan_called;
use evidence::Evidence;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One that asks, and one to spare.
const SESSIONS: usize = 2;

/// A write that is in flight is settled long before, and one that a writer left behind is not.
const SETTLES: Duration = Duration::from_secs(5);

/// Who moves a migration, and by what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The copy's run; by default the lock's holder, or the migration's name.
    pub run: Option<String>,
    /// A certificate of `verify`.
    pub certificate: Option<PathBuf>,
    /// How old it may be.
    pub max_age: Duration,
    /// How long writers may take to stop.
    pub barrier_timeout: Duration,
    /// What was typed as the table's name, where there is no way back.
    pub typed: Option<String>,
    /// Whether the source deletes items by itself, where it was [asked](time_to_live).
    pub expires: Option<bool>,
    /// Whether what an operator may answer for is not asked.
    pub waives: bool,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: Option<String>,
}

/// A migration.
pub struct Control {
    phases: Phases,
    target: Target,
    pool: Arc<Pool>,
    /// Where statements are kept rather than sent.
    rehearsal: Option<Arc<Rehearsal>>,
}

/// All that is known of a migration.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub migration: String,
    /// Where it is.
    #[serde(flatten)]
    pub phase: Phase,
    /// Who holds the backfill lock.
    pub lock: Option<crate::checkpoint::phases::lock::Lock>,
    /// Registered application instances.
    pub writers: Vec<Instance>,
    /// Faults that are not cleared.
    pub faults: Vec<FaultOnRecord>,
    /// What replays changes into the target.
    pub replays: Vec<Replay>,
    /// Writes on record that one of the stores may lack.
    pub unsettled: Option<u64>,
    /// What keeps each move from being made; nothing when it may be.
    pub moves: Vec<Way>,
}

/// A move out of the present step.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// The step it leads to.
    pub to: u8,
    /// What keeps it from being made.
    pub blocked_by: Vec<String>,
}

/// How a move ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// From this step.
    pub from: u8,
    /// To this one.
    pub to: u8,
    /// How long writers were told to stop for.
    pub paused: Option<Duration>,
}

impl Control {
    /// The migration of this name in the database `target`: begun here, at its first step, where it is not known yet.
    ///
    /// # Errors
    /// Of the database; `Refused` when it follows a plan that this version does not know.
    pub async fn open(target: &Target, migration: &str, who: &str) -> Result<Control> {
        Control::begun(target, Pool::new(target.clone(), SESSIONS), migration, who, None).await
    }

    /// The same, of one that was begun; nothing is written.
    ///
    /// # Errors
    /// `Config` when there is none of this name; of the database.
    pub async fn existing(target: &Target, migration: &str) -> Result<Control> {
        Control::found(target, Pool::new(target.clone(), SESSIONS), migration, None).await
    }

    /// The same as [opening](Control::open) it, or as [finding](Control::existing) it, where nobody asks for a beginning: but
    /// nothing that is done is done. What would have been [sent](Control::statements) is kept.
    ///
    /// # Errors
    /// As of these.
    pub async fn rehearsing(target: &Target, migration: &str, begin: Option<&str>) -> Result<Control> {
        let rehearsal = Arc::new(Rehearsal::default());
        let pool = || Pool::new(target.clone(), SESSIONS).rehearsing(Arc::clone(&rehearsal));
        match (begin, Control::found(target, pool(), migration, Some(Arc::clone(&rehearsal))).await) {
            (Some(who), Err(error)) if error.kind() == ErrorKind::Config => {
                Control::begun(target, pool(), migration, who, Some(Arc::clone(&rehearsal))).await
            }
            (_, found) => found,
        }
    }

    async fn begun(
        target: &Target,
        pool: Pool,
        migration: &str,
        who: &str,
        rehearsal: Option<Arc<Rehearsal>>,
    ) -> Result<Control> {
        let pool = Arc::new(pool);
        let phases = Phases::create(Arc::clone(&pool), migration).await?;
        let audit = Audit::new(who, "begin", None, "{}");
        phases.begin(DYNAMODB_TO_MYSQL.name, &audit).await?;
        Ok(Control { phases, target: target.clone(), pool, rehearsal })
    }

    async fn found(target: &Target, pool: Pool, migration: &str, rehearsal: Option<Arc<Rehearsal>>) -> Result<Control> {
        let pool = Arc::new(pool);
        let phases = Phases::existing(Arc::clone(&pool), migration).await?;
        let none =
            || Error::config(format!("{target} knows of no migration {migration}: `transvase phase lock` begins one"));
        Ok(Control { phases: phases.ok_or_else(none)?, target: target.clone(), pool, rehearsal })
    }

    /// What a [rehearsing](Control::rehearsing) controller would have sent, and what it would have waited for.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        self.rehearsal.as_ref().map(|rehearsal| rehearsal.lines()).unwrap_or_default()
    }

    /// From now on every transition is mirrored into this table of another tool; without a name into none.
    ///
    /// # Errors
    /// `Refused` when it is no such table, or says what we have not; of the database.
    pub async fn mirror_into(&mut self, name: Option<&str>) -> Result<()> {
        self.phases.mirror_into(name).await
    }

    /// Its tables.
    #[must_use]
    pub fn phases(&self) -> &Phases {
        &self.phases
    }

    /// Where it is, and its plan.
    ///
    /// # Errors
    /// Of the database; `Refused` for a plan that is not known.
    pub async fn phase(&self) -> Result<(Phase, &'static Plan)> {
        let gone = || Error::refused(format!("migration {} is gone", self.phases.migration()));
        let phase = self.phases.load().await?.ok_or_else(gone)?;
        let plan = plan_called(&phase.plan);
        let unknown = || Error::refused(format!("plan {} is of a later version: use that", phase.plan));
        Ok((phase.clone(), plan.ok_or_else(unknown)?))
    }

    /// All that is known.
    ///
    /// # Errors
    /// Of the database.
    pub async fn status(&self, options: &Options) -> Result<Status> {
        let (phase, plan) = self.phase().await?;
        let facts = self.facts(&phase, options).await?;
        let lasting = self.lasting().await?;
        let way = |one: &'static Move| {
            let blocked_by = match judge(plan, one.to, &asked_of(plan, one.to, &facts, (options, lasting))) {
                Ok(_) => Vec::new(),
                Err(Refusal::NoWay(sentence)) => vec![sentence],
                Err(Refusal::Unmet(unmet)) => unmet.into_iter().map(|unmet| unmet.because).collect(),
            };
            Way { to: one.to, blocked_by }
        };
        Ok(Status {
            migration: self.phases.migration().to_owned(),
            lock: self.phases.lock().await?,
            writers: self.phases.writers().await?,
            faults: self.phases.faults().await?,
            replays: self.phases.replays(0).await?,
            unsettled: self.phases.unsettled().await?,
            moves: plan.out_of(phase.step).map(way).collect(),
            phase,
        })
    }

    /// All transitions, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn history(&self) -> Result<Vec<Past>> {
        self.phases.history().await
    }

    /// Takes the backfill lock for a run.
    ///
    /// # Errors
    /// `Refused` when another run holds it; of the database.
    pub async fn lock(&self, run: &str, lease: Duration) -> Result<()> {
        match self.phases.take_lock(run, lease).await? {
            Taken::Ours(_) => Ok(()),
            Taken::Theirs(lock) => Err(Error::refused(format!(
                "run {} holds the backfill lock, for {} s more: `transvase phase unlock --run {}` takes it away",
                lock.run,
                lock.left_us.unwrap_or(0) / 1_000_000,
                lock.run
            ))),
            Taken::Moved => Err(self.overtaken()),
        }
    }

    /// Takes the backfill lock away from a run: none of its processes writes another row.
    ///
    /// # Errors
    /// `Refused` when the run does not hold it, or the present step needs it; of the database.
    pub async fn unlock(&self, run: &str) -> Result<()> {
        let (phase, plan) = self.phase().await?;
        let step = plan.step(phase.step);
        if step.is_some_and(|step| step.interlock == Interlock::BackfillLock) {
            return Err(Error::refused(format!(
                "step {} needs the backfill lock as long as it lasts: move on, or back, first",
                phase.step
            )));
        }
        match self.phases.release_lock(run).await? {
            true => Ok(()),
            false => Err(Error::refused(format!("run {run} does not hold the backfill lock"))),
        }
    }

    /// Moves to step `to`, forward or back.
    ///
    /// # Errors
    /// `Refused` when a condition does not hold, writers do not stop in time, or somebody else moved meanwhile: nothing has
    /// changed then; of the database.
    pub async fn go(&self, to: u8, options: &Options) -> Result<Moved> {
        let (phase, plan) = self.phase().await?;
        let facts = self.facts(&phase, options).await?;
        let asked = asked_of(plan, to, &facts, (options, self.lasting().await?));
        let found = self.judged(plan, to, &asked, options).map_err(refused)?;
        let run = self.evidence(options).run(self.phases.lock().await?.as_ref());
        let ends_copy = Next::made_by(&phase, plan, found, false).releases_lock && !found.ends_generation;
        let moved = match found.barrier {
            None => self.step(&phase, plan, found, (&facts, options)).await,
            Some(_) => self.cross(phase, plan, found, options).await,
        }?;
        if ends_copy && let Err(error) = self.evidence(options).end_load(&run).await {
            // they keep nobody from anything but a load from bringing those keys
            tracing::warn!("tombstones of run {run} are left: {}", error.chain());
        }
        Ok(moved)
    }

    /// What a move asks for, and why it does not hold where it does not.
    ///
    /// # Errors
    /// `Refused` when the plan has no such move; of the database.
    pub async fn asked(&self, to: u8, options: &Options) -> Result<Vec<(Condition, Option<String>)>> {
        let (phase, plan) = self.phase().await?;
        let facts = asked_of(plan, to, &self.facts(&phase, options).await?, (options, self.lasting().await?));
        let found = match (plan.between(phase.step, to), judge(plan, to, &facts)) {
            (Some(found), _) => found,
            (None, Ok(found)) => found,
            (None, Err(refusal)) => return Err(refused(refusal)),
        };
        let mut unmet: Vec<_> = unmet(found, &facts).collect();
        let because = |condition: &Condition| {
            let at = unmet.iter().position(|one| one.condition == *condition);
            (*condition, at.map(|at| unmet.swap_remove(at).because))
        };
        Ok(found.conditions.iter().map(because).collect())
    }

    /// Whether the move may be made, past what its operator answers for.
    fn judged(
        &self,
        plan: &'static Plan,
        to: u8,
        facts: &Facts,
        options: &Options,
    ) -> std::result::Result<&'static Move, Refusal> {
        match (judge(plan, to, facts), plan.between(facts.step, to)) {
            (Err(Refusal::Unmet(mut unmet)), Some(found)) if options.waives => {
                unmet.retain(|one| !one.condition.is_forcible());
                if unmet.is_empty() { Ok(found) } else { Err(Refusal::Unmet(unmet)) }
            }
            (judged, _) => judged,
        }
    }

    /// Moves without a barrier.
    async fn step(
        &self,
        phase: &Phase,
        plan: &'static Plan,
        found: &'static Move,
        (facts, options): (&Facts, &Options),
    ) -> Result<Moved> {
        let next = Next::made_by(phase, plan, found, false);
        self.transit(phase, next, audit(label(found, options), facts, options)?).await?;
        Ok(Moved { from: found.from, to: found.to, paused: None })
    }

    async fn transit(&self, from: &Phase, next: Next, audit: Audit) -> Result<()> {
        match self.phases.transit(from, next, &audit).await? {
            true => Ok(()),
            false => Err(self.overtaken()),
        }
    }

    fn overtaken(&self) -> Error {
        let name = self.phases.migration();
        Error::refused(format!("migration {name} was moved by somebody else meanwhile: see `transvase phase status`"))
    }

    /// Whether a write is on record that nobody settled for so long that stopping the writers would not help.
    async fn lasting(&self) -> Result<bool> {
        Ok(!self.phases.ripe(SETTLES, 1).await?.is_empty())
    }

    /// What is known now.
    async fn facts(&self, phase: &Phase, options: &Options) -> Result<Facts> {
        self.evidence(options).gather(phase, 0).await
    }

    fn evidence<'a>(&'a self, options: &'a Options) -> Evidence<'a> {
        Evidence { phases: &self.phases, target: &self.target, pool: &self.pool, options }
    }
}

fn direction(found: &Move) -> &'static str {
    if found.to > found.from { "advance" } else { "rollback" }
}

/// What a move is asked with: before a barrier, with what may hold once writers have stopped.
fn asked_of(plan: &Plan, to: u8, facts: &Facts, (options, lasting): (&Options, bool)) -> Facts {
    match plan.between(facts.step, to).and_then(|found| found.barrier) {
        Some(_) => crossing::once_stopped(facts, options, lasting),
        None => facts.clone(),
    }
}

/// What history calls the move.
fn label(found: &Move, options: &Options) -> &'static str {
    if options.waives { "force" } else { direction(found) }
}

fn audit(what: &str, facts: &Facts, options: &Options) -> Result<Audit> {
    let evidence =
        serde_json::to_string(facts).map_err(|error| Error::internal("evidence is no JSON").because(error))?;
    Ok(Audit::new(&options.who, what, options.why.as_deref(), &evidence))
}

fn refused(refusal: Refusal) -> Error {
    Error::refused(format!("{refusal}; nothing was changed"))
}
