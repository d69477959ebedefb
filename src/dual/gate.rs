//! Who may read and write by which step, and until when: what an instance believes of the phase.
//!
//! A belief is what a heartbeat was told, and lasts for a lease from before the heartbeat was sent. A write enters only while the
//! lease lives for a whole request more and no barrier stands, and is counted until nothing of it is under way: an instance says
//! that it has stopped when none is. A read asks for a living lease only.

use super::options::Options;
use crate::checkpoint::phases::Phase;
use crate::error::{Error, ErrorKind, Result};
use crate::phase::plan::Step;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What an instance believes.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    /// What it was told.
    pub(super) phase: Phase,
    /// The plan's step.
    pub(super) step: &'static Step,
    /// The end of the lease.
    pub(super) until: Instant,
}

#[derive(Debug, Default)]
struct State {
    belief: Option<Belief>,
    /// Why there is none.
    doubt: Option<String>,
    /// Writes that may still take effect.
    in_flight: usize,
    /// Why no write enters any more.
    shut: Option<String>,
    /// Whether the instance has been closed.
    closed: bool,
}

/// The gate of one instance.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Wakes who waits for a change, first come first served.
    changed: Notify,
    /// Something changed that the next heartbeat is to tell, or to ask, at once.
    pub(super) nudge: Notify,
    request: Duration,
}

/// A write that has entered.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    /// The step that it entered in.
    pub(super) step: &'static Step,
    /// Nothing is sent after this.
    pub(super) until: Instant,
}

impl Gate {
    pub(super) fn new(options: &Options) -> Arc<Gate> {
        Arc::new(Gate {
            state: Mutex::default(),
            changed: Notify::new(),
            nudge: Notify::new(),
            request: options.request,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }

    /// A heartbeat was told this; it is believed until `until`.
    pub(super) fn learn(&self, phase: Phase, until: Instant) {
        let step = phase.planned();
        self.change(|state| match step {
            Some(step) => state.belief = Some(Belief { phase, step, until }),
            None => {
                state.belief = None;
                state.doubt = Some(format!("step {} of plan {} is of a later version", phase.step, phase.plan));
            }
        });
    }

    /// A heartbeat was told that there is nothing to believe.
    pub(super) fn forget(&self, why: &str) {
        self.change(|state| {
            state.belief = None;
            state.doubt = Some(why.to_owned());
        });
    }

    /// The version at whose barrier all writes have stopped.
    pub(super) fn stopped(&self) -> Option<u64> {
        let state = self.state();
        let belief = state.belief.as_ref()?;
        (belief.phase.moving_to.is_some() && state.in_flight == 0).then_some(belief.phase.version)
    }

    /// No write enters any more, until the instance is opened anew.
    pub(super) fn lock_out(&self, why: &str) {
        self.change(|state| state.shut = Some(why.to_owned()));
    }

    /// Whether it is locked out.
    pub(super) fn locked_out(&self) -> bool {
        self.state().shut.is_some()
    }

    /// Neither writes nor reads enter any more.
    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Waits until no write is in flight.
    ///
    /// # Errors
    /// `Transient` when one still is at `end`.
    pub(super) async fn idle(&self, end: Instant) -> Result<()> {
        let nothing = |state: &mut State, _| Ok((state.in_flight == 0).then_some(()));
        let in_flight = |_| Error::new(ErrorKind::Transient, "dual writes: writes are still in flight");
        self.wait(end, nothing).await.map_err(in_flight)
    }

    /// Lets a write in, as soon as it may, with a belief no older than version `least`.
    ///
    /// # Errors
    /// `Refused` when no write may enter any more; `Transient` when none could until `end`.
    pub(super) async fn enter(self: &Arc<Self>, end: Instant, least: u64) -> Result<Pass> {
        self.wait(end, |state, now| {
            state.open()?;
            if let Some(why) = &state.shut {
                return Err(Error::refused(format!("dual writes: locked out: {why}")));
            }
            let Some(belief) = state.lives(now + self.request, least) else { return Ok(None) };
            if belief.phase.moving_to.is_some() {
                return Ok(None);
            }
            let step = belief.step;
            state.in_flight += 1;
            Ok(Some(Pass { gate: Arc::clone(self), step, until: now + self.request }))
        })
        .await
    }

    /// What is believed, as soon as it may be, of a version no older than `least`.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub(super) async fn living(&self, end: Instant, least: u64) -> Result<Belief> {
        self.wait(end, |state, now| {
            state.open()?;
            Ok(state.lives(now, least).cloned())
        })
        .await
    }

    async fn wait<T>(
        &self,
        end: Instant,
        mut ready: impl FnMut(&mut State, Instant) -> Result<Option<T>> + Send,
    ) -> Result<T> {
        loop {
            // waits from before it looks, so that no change is missed
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let found = ready(&mut self.state(), Instant::now())?;
            if let Some(found) = found {
                return Ok(found);
            }
            if timeout_at(end, changed).await.is_err() {
                return Err(self.kept_out());
            }
        }
    }

    /// Why nothing may enter.
    fn kept_out(&self) -> Error {
        let state = self.state();
        let barrier = state.belief.as_ref().is_some_and(|belief| belief.phase.moving_to.is_some());
        let why = match (&state.belief, &state.doubt) {
            (Some(_), _) if barrier => "a write barrier stands, and it was not over in time".to_owned(),
            (None, Some(doubt)) => doubt.clone(),
            _ => "the step is not known: the database has not answered in time".to_owned(),
        };
        Error::new(ErrorKind::Transient, format!("dual writes: nothing was read or written: {why}"))
    }

    fn leave(&self) {
        self.change(|state| state.in_flight -= 1);
        if self.stopped().is_some() {
            self.nudge.notify_one();
        }
    }
}

impl State {
    fn open(&self) -> Result<()> {
        if self.closed { Err(Error::refused("dual writes: the instance is closed")) } else { Ok(()) }
    }

    /// What is believed at `then`.
    fn lives(&self, then: Instant, least: u64) -> Option<&Belief> {
        self.belief.as_ref().filter(|belief| then < belief.until && belief.phase.version >= least)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.leave();
    }
}
