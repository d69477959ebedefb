//! Test points: the process dies, or falls asleep, at the n-th occurrence of a named event, so that a test can meet it
//! exactly there.
//!
//! `TRANSVASE_ABORT_AT=rows-written:3` ends the process without any cleanup when the third page's rows are written and
//! not yet committed; `TRANSVASE_STOP_AT` stops it there (SIGSTOP), until somebody wakes it. Not flags: nobody types
//! them by accident. The names are those of [`Event::name`].
#![expect(clippy::disallowed_methods, reason = "the test points are set by the environment alone")]

use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// As Linux numbers it, on all processors that the tests run on.
const SIGCONT: i32 = 18;

/// What happens to the process at the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Abort,
    Stop,
}

/// Meets the process with its fate at an event.
pub struct TestPoint {
    fate: Fate,
    name: String,
    left: AtomicI64,
}

impl TestPoint {
    /// The points that the environment names.
    ///
    /// # Errors
    /// `Config` when one is not of the form `EVENT:N`.
    pub fn from_environment() -> Result<Vec<TestPoint>> {
        let mut points = Vec::new();
        for (variable, fate) in [("TRANSVASE_ABORT_AT", Fate::Abort), ("TRANSVASE_STOP_AT", Fate::Stop)] {
            let Ok(text) = std::env::var(variable) else { continue };
            let broken = || Error::config(format!("{variable} is not of the form EVENT:N"));
            let (name, count) = text.split_once(':').ok_or_else(broken)?;
            let left = AtomicI64::new(count.parse().map_err(|_| broken())?);
            points.push(TestPoint { fate, name: name.to_owned(), left });
        }
        Ok(points)
    }
}

impl Monitor for TestPoint {
    fn event(&self, event: &Event<'_>) {
        if event.name() != self.name || self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        match self.fate {
            Fate::Abort => std::process::abort(),
            Fate::Stop => drop(std::thread::spawn(fall_asleep).join()),
        }
    }
}

/// Stops the process, and comes back once somebody has woken it: a signal takes effect when a thread that is to handle it gets a
/// processor, and until then the others would go on.
fn fall_asleep() {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let Ok(mut woken) = signal(SignalKind::from_raw(SIGCONT)) else { return };
        // Not by an unsafe call: the shell's own tool does it as well.
        drop(Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status());
        woken.recv().await;
    });
}
