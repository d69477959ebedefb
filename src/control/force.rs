//! What an operator does where nothing else helps: by hand, for a reason, and on record.
//!
//! Promises: each is one transition with an audit row `force`, by the version that was looked at, and never while a barrier
//! stands. A fault is cleared one by one; an instance is signed off only when it was not heard of while we watched; a step is set
//! only by a move of the plan, with its barrier, past conditions that [may be answered for](crate::phase::plan::Condition::is_forcible) and past no
//! other. Must not know: what the application does about it.

use super::{Control, Moved, Options, audit};
use crate::checkpoint::phases::Phase;
use crate::checkpoint::phases::forced::{Act, Forced};
use crate::error::{Error, Result};
use crate::phase::judge::{Refusal, Unmet, judge};
use std::time::Duration;

/// What is forced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Force {
    /// The fault of this number is cleared.
    ClearFault(u64),
    /// The instance of this name is dead, though its lease lives: it is watched for so long first.
    SignOff(String, Duration),
    /// The migration moves to this step.
    Step(u8),
}

impl Control {
    /// Does it, and says what may be lost by it.
    ///
    /// # Errors
    /// `Refused` without a reason or the table's name, where something else helps, and where nothing may: nothing has changed
    /// then; of the database.
    pub async fn force(&self, what: &Force, options: &Options) -> Result<(String, Option<Moved>)> {
        if options.why.as_deref().is_none_or(|why| why.trim().is_empty()) {
            return Err(Error::refused("force asks for a reason, which the history keeps: --why TEXT"));
        }
        let name = self.phases.migration();
        if options.typed.as_deref() != Some(name) {
            return Err(Error::refused(format!("force asks for the table's name: --yes-force {name}")));
        }
        let (phase, _) = self.phase().await?;
        if let Some(to) = phase.moving_to {
            return Err(Error::refused(format!(
                "a barrier on the way to step {to} stands: wait until it is crossed, or over"
            )));
        }
        match what {
            Force::ClearFault(fault) => self.clear(&phase, *fault, options).await.map(|said| (said, None)),
            Force::SignOff(writer, watch) => {
                self.sign_off(&phase, writer, *watch, options).await.map(|said| (said, None))
            }
            Force::Step(to) => self.set_step(&phase, *to, options).await.map(|(said, moved)| (said, Some(moved))),
        }
    }

    async fn clear(&self, phase: &Phase, fault: u64, options: &Options) -> Result<String> {
        let on_record = self.phases.faults().await?.into_iter().find(|one| one.fault == fault);
        let none = || Error::refused(format!("there is no fault {fault} on record that is not cleared"));
        let on_record = on_record.ok_or_else(none)?;
        self.act(phase, Act::ClearFault(fault), options).await?;
        Ok(format!(
            "fault {fault} of {} does not count any more, and nothing was mended by that: what it names may differ in the two \
             stores for good: {}",
            on_record.who, on_record.what
        ))
    }

    async fn sign_off(&self, phase: &Phase, writer: &str, watch: Duration, options: &Options) -> Result<String> {
        let lease = self.phases.lease_of(writer).await?;
        let none = || Error::refused(format!("no instance {writer} is registered"));
        let lease = lease.ok_or_else(none)?;
        if !lease.lives {
            return Err(Error::refused(format!("the lease of {writer} is over: nobody waits for it")));
        }
        if self.rehearsal.is_none() {
            tokio::time::sleep(watch).await;
        }
        let alive = || {
            Error::refused(format!(
                "instance {writer} was heard of while it was watched: it lives, and is not signed off; stop it"
            ))
        };
        if self.phases.lease_of(writer).await?.is_none_or(|now| now.until_us != lease.until_us) {
            return Err(alive());
        }
        match self.act(phase, Act::SignOff(writer.to_owned(), lease.until_us), options).await? {
            Forced::Done => Ok(format!(
                "nobody waits for {writer} any more: if it is not dead but asleep, a write of its to the source that was in \
                 flight may land after the next barrier, and is lost then"
            )),
            _ => Err(alive()),
        }
    }

    async fn act(&self, phase: &Phase, act: Act, options: &Options) -> Result<Forced> {
        let facts = self.facts(phase, options).await?;
        match self.phases.force(phase, &act, &audit("force", &facts, options)?).await? {
            Forced::Overtaken => Err(self.overtaken()),
            Forced::NotThere if matches!(act, Act::ClearFault(_)) => Err(self.overtaken()),
            forced => Ok(forced),
        }
    }

    async fn set_step(&self, phase: &Phase, to: u8, options: &Options) -> Result<(String, Moved)> {
        let (_, plan) = self.phase().await?;
        let facts = self.facts(phase, options).await?;
        let waived = match judge(plan, to, &facts) {
            Err(Refusal::Unmet(unmet)) => unmet,
            Err(refusal) => return Err(super::refused(refusal)),
            Ok(found) => {
                let verb = super::direction(found);
                return Err(Error::refused(format!(
                    "nothing need be forced: `transvase phase {verb}` makes this move"
                )));
            }
        };
        let moved = Box::pin(self.go(to, &Options { waives: true, ..options.clone() })).await?;
        Ok((losses(&waived), moved))
    }
}

/// What may be lost by not asking for these.
fn losses(waived: &[Unmet]) -> String {
    let because: Vec<&str> = waived.iter().map(|one| one.because.as_str()).collect();
    format!("changes of the source that were not replayed are not in the target, and are lost: {}", because.join("; "))
}
