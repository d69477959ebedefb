//! Logging: sets up tracing, and a monitor that logs the run's turns. Never an item's value.

use super::LogFormat;
use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error.
///
/// # Errors
/// `Config` for a filter that cannot be read.
pub fn start(filter: &str, format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Error::config("--log is neither a level nor a filter").because(error))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Error::internal(format!("logging cannot be started: {error}")))
}

/// Logs the events that an operator may want to read later.
pub struct Log;

impl Monitor for Log {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::UnitClaimed { unit } => tracing::debug!(unit, "unit claimed"),
            Event::Committed { span, counts, took } => tracing::debug!(
                unit = span.unit,
                from = span.from,
                to = span.to,
                rejected = counts.outcomes().rejected,
                micros = took.as_micros(),
                "page committed"
            ),
            Event::Folded { unit, to } => tracing::debug!(unit, to, "ledger folded"),
            Event::UnitDone { unit } => tracing::info!(unit, "unit done"),
            Event::RunWritten { bytes } => tracing::debug!("sorted run of {bytes} bytes"),
            Event::LoadBegun { rows, loaded } => {
                tracing::info!("all is sorted: loading {rows} rows in key order, {loaded} of them are loaded")
            }
            Event::RunComplete => tracing::info!("run complete"),
            Event::UnitFailed { unit, reason } => tracing::error!(unit, reason, "unit failed"),
            Event::Retried { code } => tracing::info!(code, "transaction done again"),
            Event::Unloadable { span, reason } => {
                tracing::info!(unit = span.unit, from = span.from, reason, "a page is inserted instead of loaded");
            }
            Event::ConnectionLost { code } => tracing::warn!(code, "connection lost"),
            Event::CommitsLost { unit, items } => {
                tracing::warn!(unit, items, "the server lost acknowledged commits; they are written again");
            }
            // The screen says it once; here is every page that met it.
            Event::Paused { reason } => tracing::info!(reason, "the target cannot take writes; waiting"),
            Event::TargetLimited { by: Some(by) } => tracing::debug!(by, "the target limits"),
            Event::PageEmpty { unit } => tracing::debug!(unit, "empty page"),
            Event::Shared { processes } => tracing::info!(processes, "processes at work on this run"),
            Event::Waiting { units } => tracing::info!(units, "waiting for another process's units"),
            _ => {}
        }
    }
}
