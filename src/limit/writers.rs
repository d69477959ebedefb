//! Writers at work: who may begin a transaction now. The [`Width`] with the real clock, and tasks that wait; besides a
//! brake, for what somebody else has found out about the target (its replicas lag, it is overloaded).
#![expect(clippy::disallowed_methods, reason = "the clock enters the width here, as an argument")]

use super::width::Width;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The writers of one sink.
pub struct Writers {
    state: Mutex<State>,
    most: u32,
    began: Instant,
    changed: Notify,
}

struct State {
    width: Width,
    busy: u32,
    /// Why nobody may begin.
    held: Option<String>,
}

/// Leave to write; dropped, another may.
#[must_use]
pub struct Writer<'a> {
    writers: &'a Writers,
    began: Duration,
}

impl Writers {
    /// At most `most` at once.
    #[must_use]
    pub fn new(most: u32) -> Self {
        let state = State { width: Width::new(most), busy: 0, held: None };
        Writers { state: Mutex::new(state), most, began: Instant::now(), changed: Notify::new() }
    }

    /// Waits until one more may write.
    pub async fn enter(&self) -> Writer<'_> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if state.held.is_none() && state.busy < state.width.allowed() {
                    state.busy += 1;
                    return Writer { writers: self, began: self.began.elapsed() };
                }
            }
            changed.await;
        }
    }

    /// Holds everybody who has not begun, for a reason; or lets them go on.
    pub fn hold(&self, reason: Option<String>) {
        self.lock().held = reason;
        self.changed.notify_waiters();
    }

    /// What keeps writers waiting now, beside the writers before them.
    #[must_use]
    pub fn limited_by(&self) -> Option<String> {
        let state = self.lock();
        let narrowed = || format!("commit latency ({} of {} writers)", state.width.allowed(), self.most);
        state.held.clone().or_else(|| state.width.is_narrowed().then(narrowed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer<'_> {
    /// It wrote a transaction.
    pub fn committed(self) {
        let now = self.writers.began.elapsed();
        self.writers.lock().width.committed(now.saturating_sub(self.began), now);
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.writers.lock().busy -= 1;
        self.writers.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_write_than_may_and_none_while_held() {
        let writers = Writers::new(2);
        let first = writers.enter().await;
        let _second = writers.enter().await;
        let moment = Duration::from_millis(20);
        assert!(tokio::time::timeout(moment, writers.enter()).await.is_err());
        drop(first);
        drop(writers.enter().await);
        writers.hold(Some("replica lag".into()));
        assert_eq!(writers.limited_by().as_deref(), Some("replica lag"));
        assert!(tokio::time::timeout(moment, writers.enter()).await.is_err());
        writers.hold(None);
        writers.enter().await.committed();
        assert_eq!(writers.limited_by(), None);
    }
}
