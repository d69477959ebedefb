//! The controller of a migration: an operator moves it from step to step by command, and everything that has to hold is
//! looked at, twice where writers stop in between.
//!
//! Promises: a transition is one compare-and-set with its evidence; a controller that dies leaves a migration that stands
//! where it stood, or a barrier that ends by itself; the same command goes on. Must not know: how a row is written.

mod evidence;

use crate::checkpoint::phases::lock::Taken;
use crate::checkpoint::phases::writers::{FaultOnRecord, Instance};
use crate::checkpoint::phases::{Audit, Next, Past, Phase, Phases};
use crate::driver::pool::Pool;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::phase::dynamodb_to_mysql::DYNAMODB_TO_MYSQL;
use crate::phase::judge::{Facts, Refusal, judge};
use crate::phase::plan::{Interlock, Move, Plan};
use crate::phase::plan_called;
use evidence::Evidence;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One that asks, and one to spare.
const SESSIONS: usize = 2;

/// Between looks at writers that are stopping: they are paused meanwhile.
const LOOK: Duration = Duration::from_millis(50);

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
        let pool = Arc::new(Pool::new(target.clone(), SESSIONS));
        let phases = Phases::create(Arc::clone(&pool), migration).await?;
        let audit = Audit::new(who, "begin", None, "{}");
        phases.begin(DYNAMODB_TO_MYSQL.name, &audit).await?;
        Ok(Control { phases, target: target.clone(), pool })
    }

    /// The same, of one that was begun; nothing is written.
    ///
    /// # Errors
    /// `Config` when there is none of this name; of the database.
    pub async fn existing(target: &Target, migration: &str) -> Result<Control> {
        let pool = Arc::new(Pool::new(target.clone(), SESSIONS));
        let phases = Phases::existing(Arc::clone(&pool), migration).await?;
        let none =
            || Error::config(format!("{target} knows of no migration {migration}: `transvase phase lock` begins one"));
        Ok(Control { phases: phases.ok_or_else(none)?, target: target.clone(), pool })
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
        let way = |one: &'static Move| {
            let blocked_by = match judge(plan, one.to, &facts) {
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
        let found = judge(plan, to, &facts).map_err(refused)?;
        match found.barrier {
            None => self.step(&phase, plan, found, (&facts, options)).await,
            Some(_) => self.cross(phase, plan, found, options).await,
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
        let next = next(phase, plan, found, false);
        self.transit(phase, next, audit(direction(found), facts, options)?).await?;
        Ok(Moved { from: found.from, to: found.to, paused: None })
    }

    /// Stops all writers, looks again, moves, and lets them go on.
    #[expect(clippy::disallowed_methods, reason = "the pause is told in the operator's time, and decides nothing")]
    async fn cross(&self, phase: Phase, plan: &'static Plan, found: &'static Move, options: &Options) -> Result<Moved> {
        let began = std::time::Instant::now();
        let standing = self.raise(phase, found, options).await?;
        loop {
            let (now, _) = self.phase().await?;
            if now.version != standing.version {
                return Err(self.overtaken());
            }
            let facts = self.facts(&now, options).await?;
            let waits_for = self.waits_for(&now, plan, found, &facts).await?;
            if now.moving_to.is_none() {
                return self.withdraw(&now, &facts, options, &waits_for).await;
            }
            if waits_for.is_empty() {
                let next = next(&now, plan, found, true);
                self.transit(&now, next, audit(direction(found), &facts, options)?).await?;
                return Ok(Moved { from: found.from, to: found.to, paused: Some(began.elapsed()) });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Raises the barrier; goes on with one that a controller left behind.
    async fn raise(&self, phase: Phase, found: &'static Move, options: &Options) -> Result<Phase> {
        match phase.moving_to {
            Some(to) if to == found.to => return Ok(phase),
            Some(to) => {
                return Err(Error::refused(format!(
                    "a barrier on the way to step {to} stands: wait until it is crossed, or over"
                )));
            }
            None => {}
        }
        let during = u64::try_from(options.barrier_timeout.as_micros()).unwrap_or(u64::MAX);
        let next = Next {
            step: phase.step,
            barrier: Some((found.to, during)),
            generation: phase.generation,
            within_barrier: false,
            releases_lock: false,
        };
        let facts = self.facts(&phase, options).await?;
        self.transit(&phase, next, audit("barrier", &facts, options)?).await?;
        Ok(Phase { version: phase.version + 1, moving_to: Some(found.to), ..phase })
    }

    /// What the move still waits for while the barrier stands.
    async fn waits_for(
        &self,
        now: &Phase,
        plan: &'static Plan,
        found: &'static Move,
        facts: &Facts,
    ) -> Result<Vec<String>> {
        let at_rest = |one: &Instance| !one.lives || one.stopped && one.version == now.version;
        let busy: Vec<String> =
            self.phases.writers().await?.into_iter().filter(|one| !at_rest(one)).map(|one| one.name).collect();
        if !busy.is_empty() {
            return Ok(vec![format!("writers have not stopped: {}", busy.join(", "))]);
        }
        match judge(plan, found.to, facts) {
            Ok(_) => Ok(Vec::new()),
            Err(refusal) => Ok(vec![refusal.to_string()]),
        }
    }

    /// The barrier is over: writers have gone on as before.
    async fn withdraw(&self, now: &Phase, facts: &Facts, options: &Options, waits_for: &[String]) -> Result<Moved> {
        let next = Next {
            step: now.step,
            barrier: None,
            generation: now.generation,
            within_barrier: false,
            releases_lock: false,
        };
        self.transit(now, next, audit("withdrawn", facts, options)?).await?;
        let waited = if waits_for.is_empty() { "it was crossed too late".to_owned() } else { waits_for.join("; ") };
        Err(Error::refused(format!(
            "the barrier was withdrawn after {} s, and writers go on in step {}: {waited}",
            options.barrier_timeout.as_secs(),
            now.step
        )))
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

    /// What is known now.
    async fn facts(&self, phase: &Phase, options: &Options) -> Result<Facts> {
        let evidence = Evidence { phases: &self.phases, target: &self.target, pool: &self.pool, options };
        evidence.gather(phase).await
    }
}

/// The transition that makes a move.
fn next(phase: &Phase, plan: &Plan, found: &Move, within_barrier: bool) -> Next {
    let locks = |number| plan.step(number).is_some_and(|step| step.interlock == Interlock::BackfillLock);
    Next {
        step: found.to,
        barrier: None,
        generation: phase.generation + u64::from(found.ends_generation),
        within_barrier,
        releases_lock: locks(found.from) && !locks(found.to),
    }
}

fn direction(found: &Move) -> &'static str {
    if found.to > found.from { "advance" } else { "rollback" }
}

fn audit(what: &str, facts: &Facts, options: &Options) -> Result<Audit> {
    let evidence =
        serde_json::to_string(facts).map_err(|error| Error::internal("evidence is no JSON").because(error))?;
    Ok(Audit::new(&options.who, what, options.why.as_deref(), &evidence))
}

fn refused(refusal: Refusal) -> Error {
    Error::refused(format!("{refusal}; nothing was changed"))
}
