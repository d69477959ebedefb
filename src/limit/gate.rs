//! A limiter at work: the real clock, and tasks that wait for their turn.
//!
//! Not pure, as only `writers` beside it. It decides nothing: it asks the [`Limiter`] whenever something has changed
//! or the time has come that the limiter named, and wakes whoever was admitted.
#![expect(clippy::disallowed_methods, reason = "the clock enters the limiter here, as an argument")]

use super::limiter::{Ask, LimitedBy, Limiter, Outcome, Ticket};
use super::rate::Rate;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A limiter that several tasks share.
pub struct Gate {
    state: Mutex<State>,
    began: Instant,
    changed: Notify,
}

struct State {
    limiter: Limiter,
    /// Admitted, and not yet seen by whoever waits.
    granted: BTreeSet<Ticket>,
}

/// Leave to make one request. Dropped without [`settle`](Admission::settle), it counts as not made.
#[must_use]
pub struct Admission<'a> {
    gate: &'a Gate,
    ticket: Option<Ticket>,
}

impl Gate {
    /// A gate at a rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let state = State { limiter: Limiter::new(rate, Duration::ZERO), granted: BTreeSet::new() };
        Gate { state: Mutex::new(state), began: Instant::now(), changed: Notify::new() }
    }

    /// Says that the keys are scan segments of a table of about so many partitions; before anything is asked.
    pub fn lay_out(&self, segments: u32, partitions: u32) {
        self.lock().limiter.lay_out(segments, partitions);
    }

    /// Waits until a request may be made.
    pub async fn admit(&self, ask: Ask) -> Admission<'_> {
        let ticket = self.lock().limiter.ask(ask, self.now());
        // From here on a dropped future gives its place back.
        let admission = Admission { gate: self, ticket: Some(ticket) };
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut state = self.lock();
                let poll = state.limiter.poll(self.now());
                let others = poll.granted.iter().any(|granted| *granted != ticket);
                state.granted.extend(poll.granted);
                if others {
                    self.changed.notify_waiters();
                }
                if state.granted.remove(&ticket) {
                    return admission;
                }
                poll.next
            };
            match next {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep(at.saturating_sub(self.now())) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Changes the rate from now on.
    pub fn set_rate(&self, rate: Rate) {
        self.lock().limiter.set_rate(rate, self.now());
        self.changed.notify_waiters();
    }

    /// So many processes use the same budgets, this one included: each takes an equal part of each.
    pub fn share_among(&self, processes: u32) {
        self.lock().limiter.share_among(processes, self.now());
        self.changed.notify_waiters();
    }

    /// Changes the rate of an index that writes feed.
    pub fn set_index_rate(&self, name: &str, rate: Rate) {
        self.lock().limiter.set_index_rate(name, rate, self.now());
        self.changed.notify_waiters();
    }

    /// What holds requests back right now.
    #[must_use]
    pub fn limited_by(&self) -> Option<LimitedBy> {
        self.lock().limiter.limited_by(self.now())
    }

    /// Asks the limiter something that changes nothing.
    pub fn look<T>(&self, look: impl FnOnce(&Limiter, Duration) -> T) -> T {
        look(&self.lock().limiter, self.now())
    }

    /// How long the key rests.
    #[must_use]
    pub fn rest(&self, key: u32) -> Duration {
        let now = self.now();
        self.lock().limiter.ready_at(key, now).saturating_sub(now)
    }

    /// Nothing more will be asked for the key.
    pub fn forget(&self, key: u32) {
        self.lock().limiter.forget(key);
    }

    /// Since the gate was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the progress line, after "limited by:".
impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitedBy::Budget => f.write_str("the capacity budget"),
            LimitedBy::IndexBudget(name) => write!(f, "the capacity budget of index {name}"),
            LimitedBy::Throttled(reason) => write!(f, "throttles: {reason}"),
            LimitedBy::Failures => f.write_str("requests that fail, and are repeated after a rest"),
            LimitedBy::KeyRange(slowed) => write!(f, "hot key ranges ({slowed} slowed)"),
        }
    }
}

impl Admission<'_> {
    /// Tells what came of the request.
    pub fn settle(mut self, outcome: Outcome<'_>) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.lock().limiter.settle(ticket, outcome, self.gate.now());
            self.gate.changed.notify_waiters();
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let mut state = self.gate.lock();
            state.granted.remove(&ticket);
            state.limiter.cancel(ticket, self.gate.now());
            drop(state);
            self.gate.changed.notify_waiters();
        }
    }
}
