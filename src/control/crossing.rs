//! Crossing a write barrier: it is raised, all writers stop, everything is looked at once more, and the step changes or stays.
//! And the rehearsal, a barrier that leads nowhere.
//!
//! Promises: a barrier that is not crossed in time is withdrawn, and ends by itself where nobody lives to withdraw it; a
//! controller that finds the barrier that it would raise goes on with it. Must not know: who stops, and how.

use super::{Control, Moved, Options, audit, label};
use crate::checkpoint::phases::writers::Instance;
use crate::checkpoint::phases::{Next, Phase};
use crate::error::{Error, ErrorKind, Result};
use crate::phase::judge::Facts;
use crate::phase::plan::{Move, Plan};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Between looks at writers that are stopping: they are paused meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// How a barrier would be crossed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rehearsed {
    /// The step that all stayed in.
    pub step: u8,
    /// Until all had stopped.
    pub took: Duration,
    /// The living instances in the order in which they were seen to have stopped, and after how long.
    pub stopped: Vec<(String, Duration)>,
}

impl Control {
    /// Stops all writers, looks again, moves, and lets them go on.
    #[expect(clippy::disallowed_methods, reason = "the pause is told in the operator's time, and decides nothing")]
    pub(super) async fn cross(
        &self,
        phase: Phase,
        plan: &'static Plan,
        found: &'static Move,
        options: &Options,
    ) -> Result<Moved> {
        let began = Instant::now();
        let standing = self.raise(phase, found.to, options).await?;
        if self.rehearsal.is_some() {
            let facts = self.facts(&standing, options).await?;
            self.remark_stopping().await?;
            self.transit(
                &standing,
                Next::made_by(&standing, plan, found, true),
                audit(label(found, options), &facts, options)?,
            )
            .await?;
            return Ok(Moved { from: found.from, to: found.to, paused: None });
        }
        // what they wrote last, a replay may not have seen when it told that it is not behind
        let mut stopped_us = None;
        loop {
            let now = self.standing(&standing).await?;
            let mut waits_for = still_writing(&self.phases.writers().await?, &now);
            let mut facts = None;
            if waits_for.is_none() {
                let since_us = match stopped_us {
                    Some(at_us) => at_us,
                    None => *stopped_us.insert(self.phases.now_us().await?),
                };
                let looked = self.evidence(options).gather(&now, since_us).await?;
                waits_for = self.judged(plan, found.to, &looked, options).err().map(|refusal| refusal.to_string());
                facts = Some(looked);
            }
            let facts = match (facts, now.moving_to) {
                (Some(facts), _) => facts,
                (None, Some(_)) => Facts::default(),
                (None, None) => self.facts(&now, options).await?,
            };
            match (now.moving_to, waits_for) {
                (None, waits_for) => return Err(self.withdraw(&now, &facts, options, waits_for).await?),
                (Some(_), None) => {
                    let next = Next::made_by(&now, plan, found, true);
                    match self.transit(&now, next, audit(label(found, options), &facts, options)?).await {
                        Ok(()) => return Ok(Moved { from: found.from, to: found.to, paused: Some(began.elapsed()) }),
                        // what keeps it may go away while the barrier stands; whoever was faster is found by his version
                        Err(error) if error.kind() == ErrorKind::Refused => tracing::debug!("{}", error.chain()),
                        Err(error) => return Err(error),
                    }
                }
                (Some(_), Some(_)) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Raises a barrier that leads nowhere, waits until all writers have stopped, and withdraws it.
    ///
    /// # Errors
    /// `Refused` when not all stop in time, or somebody moves meanwhile: writers go on as before; of the database.
    #[expect(clippy::disallowed_methods, reason = "the pause is told in the operator's time, and decides nothing")]
    pub async fn rehearse(&self, options: &Options) -> Result<Rehearsed> {
        let (phase, _) = self.phase().await?;
        let (began, step) = (Instant::now(), phase.step);
        let standing = self.raise(phase, step, options).await?;
        let facts = self.facts(&standing, options).await?;
        let mut stopped: Vec<(String, Duration)> = Vec::new();
        loop {
            let now = if self.rehearsal.is_some() { standing.clone() } else { self.standing(&standing).await? };
            let writers = self.phases.writers().await?;
            for one in writers.iter().filter(|one| one.lives && has_stopped(one, &now)) {
                if stopped.iter().all(|(name, _)| *name != one.name) {
                    stopped.push((one.name.clone(), began.elapsed()));
                }
            }
            let waits_for = still_writing(&writers, &now);
            if now.moving_to.is_none() {
                return Err(self.withdraw(&now, &facts, options, waits_for).await?);
            }
            if waits_for.is_none() || self.rehearsal.is_some() {
                let took = began.elapsed();
                self.remark_stopping().await?;
                self.transit(&now, stays(&now), audit("rehearsed", &facts, options)?).await?;
                return Ok(Rehearsed { step, took, stopped });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Raises the barrier on the way to step `to`; goes on with one that a controller left behind.
    async fn raise(&self, phase: Phase, to: u8, options: &Options) -> Result<Phase> {
        match phase.moving_to {
            Some(standing) if standing == to => return Ok(phase),
            Some(standing) => {
                return Err(Error::refused(format!(
                    "a barrier on the way to step {standing} stands: wait until it is crossed, or over"
                )));
            }
            None => {}
        }
        let during = u64::try_from(options.barrier_timeout.as_micros()).unwrap_or(u64::MAX);
        let next = Next { barrier: Some((to, during)), ..stays(&phase) };
        let facts = self.facts(&phase, options).await?;
        self.transit(&phase, next, audit("barrier", &facts, options)?).await?;
        Ok(Phase { version: phase.version + 1, moving_to: Some(to), ..phase })
    }

    /// The phase now, if nobody has moved since the barrier was raised.
    async fn standing(&self, raised: &Phase) -> Result<Phase> {
        let (now, _) = self.phase().await?;
        if now.version == raised.version { Ok(now) } else { Err(self.overtaken()) }
    }

    /// The barrier is over: writers have gone on as before. What to say of it.
    async fn withdraw(
        &self,
        now: &Phase,
        facts: &Facts,
        options: &Options,
        waits_for: Option<String>,
    ) -> Result<Error> {
        self.transit(now, stays(now), audit("withdrawn", facts, options)?).await?;
        let waited = waits_for.unwrap_or_else(|| "it was crossed too late".to_owned());
        Ok(Error::refused(format!(
            "the barrier was withdrawn after {} s, and writers go on in step {}: {waited}",
            options.barrier_timeout.as_secs(),
            now.step
        )))
    }

    /// Says in a rehearsal what would be waited for.
    async fn remark_stopping(&self) -> Result<()> {
        let Some(rehearsal) = &self.rehearsal else { return Ok(()) };
        let living = self.phases.writers().await?.into_iter().filter(|one| one.lives);
        let names: Vec<String> = living.map(|one| one.name).collect();
        let names = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
        rehearsal.remark(&format!("wait until all writers have stopped ({names}), and look at everything again"));
        Ok(())
    }
}

/// The transition that changes nothing, but for the version, and whatever barrier stands.
pub(super) fn stays(now: &Phase) -> Next {
    Next { step: now.step, barrier: None, generation: now.generation, within_barrier: false, releases_lock: false }
}

/// What is known, as it may be once writers have stopped: writes on record are then settled, unless some are `lasting`, and a replay
/// that is not further behind than the barrier may stand catches up. Both are asked for when they have.
pub(super) fn once_stopped(facts: &Facts, options: &Options, lasting: bool) -> Facts {
    let caught_up = |(run, lag): &(String, Option<u64>)| {
        let lag = lag.map(|lag| if lag <= options.barrier_timeout.as_secs() { 0 } else { lag });
        (run.clone(), lag)
    };
    Facts {
        unsettled: facts.unsettled.map(|both| if lasting { both } else { [0, 0] }),
        replays: facts.replays.iter().map(caught_up).collect(),
        ..facts.clone()
    }
}

fn has_stopped(one: &Instance, now: &Phase) -> bool {
    one.stopped && one.version == now.version
}

/// Who may still write; none when nobody does.
fn still_writing(writers: &[Instance], now: &Phase) -> Option<String> {
    let busy: Vec<&str> =
        writers.iter().filter(|one| one.lives && !has_stopped(one, now)).map(|one| one.name.as_str()).collect();
    (!busy.is_empty()).then(|| format!("writers have not stopped: {}", busy.join(", ")))
}
