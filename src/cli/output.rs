//! The end of a run: a table for people on standard output, JSON for machines.

use super::ExitCode;
use crate::error::{Error, ErrorKind, Result};
use crate::report::{ProcessReport, Report, SourceUsage, Status};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use std::io::Write as _;
use std::path::Path;

/// The report as text.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    let ended = match report.status {
        Status::Complete => "complete",
        Status::CompleteWithRejects => "complete, with rejects",
        Status::AlreadyComplete => "was complete already; nothing done",
        Status::CaughtUp => "caught up; run the same command to follow on",
        Status::Interrupted => "interrupted; run the same command to go on",
        Status::UnitsFailed => "not complete: some data files could not be read; mend them and run the same command",
        Status::Failed => "failed; what is durable stays, and the same command goes on from there",
    };
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("run {}: {ended}", report.run));
    let about = if report.exact { "" } else { "about " };
    match report.process.source.stream {
        Some(_) => line(format!("  from the stream of {}", report.table)),
        None => line(format!("  from {} ({about}{} items)", report.table, HumanCount(report.items))),
    }
    line(format!("  to   {} ({})", report.target, report.server));
    line(String::new());
    let width = report.tables.iter().map(|table| table.table.chars().count()).max().unwrap_or(0).max(12);
    let head = ["written", "present", "tombstoned", "rejected"];
    line(format!("  {:width$}{:>14}{:>14}{:>12}{:>12}", "table", head[0], head[1], head[2], head[3]));
    for table in &report.tables {
        let o = &table.outcomes;
        line(format!(
            "  {:width$}{:>14}{:>14}{:>12}{:>12}",
            table.table, o.written, o.present, o.tombstoned, o.rejected
        ));
    }
    let o = &report.outcomes;
    let changed = match (report.removed, report.superseded) {
        (Some(removed), Some(superseded)) => format!(" + removed {removed} + superseded {superseded}"),
        _ => String::new(),
    };
    line(format!(
        "  read {} = written {}{} + present {} + tombstoned {} + skipped by rule {} + rejected {}{}",
        report.read,
        o.written,
        changed,
        o.present,
        o.tombstoned,
        report.skipped,
        o.rejected,
        if report.adds_up() { "" } else { "   (DOES NOT ADD UP)" }
    ));
    if let Some(since) = &report.rejects_since {
        line(format!(
            "  of the rejected: {} written since, {} present, {} tombstoned, {} skipped by rule, {} signed off, {} open",
            since.written, since.present, since.tombstoned, since.skipped, since.signed_off, since.open
        ));
    }
    if report.exact && report.read < report.items {
        line(format!("  still to do: {} items", report.items - report.read));
    }
    line(String::new());
    process_lines(&report.process, report.seed, &mut line);
    // An error is told once, at the very end; units are listed here.
    for failure in report.failures.iter().filter(|_| report.status == Status::UnitsFailed) {
        line(format!("  failed: {failure}"));
    }
    if let Some(file) = &report.rejects_file {
        line(format!("  rejects are in {file}"));
    }
    out
}

/// What a process did and took.
pub(super) fn process_lines(p: &ProcessReport, seed: u64, line: &mut dyn FnMut(String)) {
    let seconds = p.wall_seconds.max(0.001);
    line(format!(
        "  this process: {} items in {:.1} s, {:.0} items/s, {:.1} MB/s; CPU {:.1} s user, {:.1} s system; peak memory {}",
        HumanCount(p.items),
        p.wall_seconds,
        p.items as f64 / seconds,
        p.bytes as f64 / seconds / 1e6,
        p.user_seconds,
        p.system_seconds,
        HumanBytes(p.peak_memory_bytes)
    ));
    let ms = |micros: u64| micros as f64 / 1000.0;
    for (name, latency) in [("page to rows", p.page_encode), ("rows to commit", p.batch_write)] {
        if latency.count > 0 {
            line(format!(
                "  {name}: {} pages, p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
                latency.count,
                ms(latency.p50_us),
                ms(latency.p90_us),
                ms(latency.p99_us),
                ms(latency.max_us)
            ));
        }
    }
    source_lines(&p.source, line);
    if p.unloadable > 0 {
        line(format!("  {} pages took the insert path, since LOAD DATA did not take them as they are", p.unloadable));
    }
    line(format!(
        "  done again: {} transactions, {} requests to the source; connections lost {}, items written again after a \
         server crash {}; seed {}",
        p.retries, p.source.retries, p.connections_lost, p.items_lost_by_server, seed
    ));
}

/// What a live table said while it was read.
fn source_lines(source: &SourceUsage, line: &mut dyn FnMut(String)) {
    if source.read_units > 0.0 {
        let (units, dollars) = (source.read_units, source.dollars);
        line(format!(
            "  read units consumed: {units:.1}; the run's reading so far costs about {dollars:.4} US dollars"
        ));
    }
    for (reason, times) in &source.throttled {
        line(format!("  throttled {times} times: {reason}"));
    }
    if let Some((unit, pages)) = &source.emptiest {
        line(format!("  empty pages: {}, most of them in {unit}: {pages}", source.empty_pages));
    }
}

/// Writes a report as JSON.
///
/// # Errors
/// `Config` when the file cannot be written.
pub fn write_json(report: &impl Serialize, path: &Path) -> Result<()> {
    let failed = || Error::config(format!("writing the report to {}", path.display()));
    let json = serde_json::to_string_pretty(report).map_err(|error| failed().because(error))?;
    std::fs::write(path, json + "\n").map_err(|error| failed().because(error))
}

/// The end of a verb whose report was printed: the report is written to `path`, and then comes the error, or the `code`.
///
/// # Errors
/// That one; `Config` when the file cannot be written.
pub fn ended(report: &impl Serialize, path: Option<&Path>, error: Option<Error>, code: ExitCode) -> Result<ExitCode> {
    if let Some(path) = path {
        write_json(report, path)?;
    }
    error.map_or(Ok(code), Err)
}

/// Prints to standard output. A closed pipe is the reader's choice, not our failure.
pub fn print(text: &str) {
    drop(std::io::stdout().write_all(text.as_bytes()));
}

/// Prints an error, with its causes, to standard error.
pub fn complain(error: &Error) {
    drop(writeln!(std::io::stderr(), "transvase: {}", error.chain()));
}

/// The exit code of an error.
#[must_use]
pub fn code_of(error: &Error) -> ExitCode {
    match error.kind() {
        ErrorKind::Config => ExitCode::Usage,
        ErrorKind::Refused => ExitCode::Refused,
        _ => ExitCode::Failed,
    }
}

/// The exit code of a run that ended without an error of its own.
#[must_use]
pub fn code_of_status(status: Status) -> ExitCode {
    match status {
        Status::Complete | Status::AlreadyComplete | Status::CaughtUp => ExitCode::Complete,
        Status::CompleteWithRejects => ExitCode::Rejects,
        Status::Interrupted => ExitCode::Interrupted,
        Status::UnitsFailed | Status::Failed => ExitCode::Failed,
    }
}
