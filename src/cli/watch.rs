//! How a verb is watched while it runs: what counts, what shows, what logs, what tests hook into, and the signals that stop
//! it. One way for all verbs; it knows no verb.
#![expect(clippy::disallowed_methods, reason = "wall time and the second signal belong to the process")]

use super::ExitCode;
use super::log::Log;
use super::progress::Progress;
use super::test_point::TestPoint;
use crate::error::Result;
use crate::monitor::{Monitor, Monitors};
use crate::report::{Meter, ProcessReport};
use crate::source::Source;
use std::sync::Arc;
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A verb that moves items, while it runs.
pub struct Watch {
    started: Instant,
    meter: Arc<Meter>,
    progress: Arc<Progress>,
    monitor: Arc<dyn Monitor>,
    stop: CancellationToken,
}

impl Watch {
    /// Watches from now on; the verb began at `started`.
    ///
    /// # Errors
    /// `Config` when a test point cannot be read.
    pub fn begin(started: Instant, progress: Arc<Progress>) -> Result<Watch> {
        let (stop, telling) = (CancellationToken::new(), Arc::clone(&progress));
        tokio::spawn(stop_at_signals(stop.clone(), move |line| telling.say(line)));
        Watch::within(started, progress, stop)
    }

    /// Watches one part of a verb, which `stop` stops whole.
    ///
    /// # Errors
    /// As [`Watch::begin`].
    pub(super) fn within(started: Instant, progress: Arc<Progress>, stop: CancellationToken) -> Result<Watch> {
        let meter = Arc::new(Meter::default());
        let monitor = monitors(vec![Arc::clone(&meter) as _, Arc::clone(&progress) as _])?;
        Ok(Watch { started, meter, progress, monitor, stop })
    }

    /// What a signal cancels.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Who is told of events.
    #[must_use]
    pub fn monitor(&self) -> Arc<dyn Monitor> {
        Arc::clone(&self.monitor)
    }

    /// Takes the progress off the screen. What the process did, reading `source`.
    #[must_use]
    pub fn end(&self, source: &dyn Source) -> ProcessReport {
        self.progress.finish();
        ProcessReport { source: source.usage(), ..self.meter.process(self.started.elapsed()) }
    }
}

/// A verb's own monitors, with the log and what tests ask for.
///
/// # Errors
/// `Config` when a test point cannot be read.
pub(super) fn monitors(mut own: Vec<Arc<dyn Monitor>>) -> Result<Arc<dyn Monitor>> {
    own.push(Arc::new(Log));
    for point in TestPoint::from_environment()? {
        own.push(Arc::new(point));
    }
    Ok(Arc::new(Monitors(own)))
}

/// The first signal asks for an orderly stop; the second ends the process: it is safe to, at any time.
pub(super) async fn stop_at_signals(stop: CancellationToken, tell: impl Fn(&str)) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    either(&mut interrupt, &mut terminate).await;
    tell("stopping: pages in flight are being finished; once more to stop at once");
    stop.cancel();
    either(&mut interrupt, &mut terminate).await;
    std::process::exit(ExitCode::Interrupted as i32);
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
