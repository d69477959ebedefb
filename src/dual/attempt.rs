//! How long something is tried, and what is known when it failed.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failed {
    /// None of it was done, nor will be.
    Undone(Error),
    /// It may have been done, or be done yet.
    Unknown(Error),
}

impl Failed {
    pub(super) fn into_error(self) -> Error {
        match self {
            Failed::Undone(error) | Failed::Unknown(error) => error,
        }
    }
}

/// Of a transaction that was not committed.
impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Undone(error)
    }
}

/// What the error of a write to DynamoDB says of it.
pub(super) fn of_write(error: Error) -> Failed {
    match error.kind() {
        ErrorKind::Transient | ErrorKind::Internal => Failed::Unknown(error),
        ErrorKind::Config | ErrorKind::Blocked | ErrorKind::Refused | ErrorKind::Corrupt => Failed::Undone(error),
    }
}

/// Does nothing of `work` at `until` or later; what it was about then may be under way.
pub(super) async fn bounded<T>(
    until: Instant,
    work: impl Future<Output = Result<T, Failed>> + Send,
) -> Result<T, Failed> {
    let (mut work, mut end) = (pin!(work), pin!(sleep_until(until)));
    poll_fn(|context| {
        // the clock first: whoever slept until after the end must not send what he was about to
        if Instant::now() >= until || end.as_mut().poll(context).is_ready() {
            let late = Error::new(ErrorKind::Transient, "dual writes: no answer in time");
            return Poll::Ready(Err(Failed::Unknown(late)));
        }
        work.as_mut().poll(context)
    })
    .await
}

/// Doing again what a deadlock or a lost connection has undone.
#[derive(Debug)]
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    /// Until `until`.
    pub(super) fn until(until: Instant) -> Patience {
        Patience { until, pause: Duration::from_millis(5) }
    }

    /// Waits before it is done again; gives the failure back where that does not help.
    pub(super) async fn again(&mut self, failed: Failed) -> Result<(), Failed> {
        let helps = matches!(&failed, Failed::Undone(error) if error.kind() == ErrorKind::Transient);
        if !helps || Instant::now() + self.pause >= self.until {
            return Err(failed);
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(200));
        Ok(())
    }
}

/// Marks the error of a write that may have been made.
#[derive(Debug)]
struct MayBeMade(Error);

impl fmt::Display for MayBeMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for MayBeMade {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)
    }
}

/// Whether a write that ended with this error may have been made, or be made yet. If not, nothing was written.
#[must_use]
pub fn may_be_made(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<MayBeMade>)
}

/// Of a write that was not made, for its caller.
pub(super) fn nothing_written(error: Error) -> Error {
    Error::new(error.kind(), "dual writes: nothing was written").because(error)
}

/// Of a write that nobody knows of whether it was made, for its caller.
pub(super) fn unknown(error: Error) -> Error {
    let said =
        "dual writes: not acknowledged: it may or may not have been made; what it left is on record and is mended";
    Error::new(ErrorKind::Transient, said).because(MayBeMade(error))
}
