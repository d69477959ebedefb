//! The run, seen: a bar on a terminal, plain lines elsewhere. Says the rate, the time left and what limits now.
#![expect(clippy::disallowed_methods, reason = "the screen shows real time")]

use super::horizon::wall;
use crate::follow::horizon::hours;
use crate::model::counts::Compared;
use crate::monitor::{Event, Monitor};
use crate::report::SourceUsage;
use crate::source::Source;
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between plain lines: often enough to see it live, seldom enough for a night's log.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What the two stages of a run over local disk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stages {
    /// The second loads rows.
    Loading,
    /// The second compares rows.
    Comparing,
}

/// Shows a run's progress on standard error.
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    /// What the stage has to do: items to read, or sorted rows to load.
    items: AtomicU64,
    /// Whether `items` is more than a guess.
    exact: bool,
    source: Arc<dyn Source>,
    stages: Stages,
    /// Keys that a comparison found to differ.
    differences: AtomicU64,
    writers: u64,
    /// When the stage began, with so many items or rows of it done before.
    stage: Mutex<(Instant, u64)>,
    last_line: Mutex<Instant>,
    last_pause: Mutex<Option<Instant>>,
    /// Until when the stream keeps what changes meanwhile, in seconds since 1970; 0 when nothing was captured.
    captured_until: AtomicU64,
    /// What the sink says that holds it back.
    target_limit: Mutex<Option<String>>,
    done: AtomicU64,
    bytes: AtomicU64,
    read_pages: AtomicU64,
    read_bytes: AtomicU64,
    encoded_pages: AtomicU64,
    committed_pages: AtomicU64,
}

impl Progress {
    /// For a run of all of `source`, of which `before` items are durable already.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, before: u64, writers: usize) -> Self {
        let (items, exact) = (source.description().items, source.description().exact);
        let plain = !std::io::stderr().is_terminal();
        let bar = ProgressBar::new(items);
        bar.set_draw_target(if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) });
        let template = match source.description().changes && !exact {
            // nobody knows how many will come
            true => "{human_pos} changes {msg}",
            false => "{bar:30} {percent:>3} % {human_pos} of {human_len} items {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(before);
        Progress {
            bar,
            plain,
            items: AtomicU64::new(items),
            exact,
            source,
            stages: Stages::Loading,
            differences: AtomicU64::new(0),
            writers: writers as u64,
            stage: Mutex::new((Instant::now(), before)),
            last_line: Mutex::new(Instant::now()),
            last_pause: Mutex::new(None),
            captured_until: AtomicU64::new(0),
            target_limit: Mutex::new(None),
            done: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            read_pages: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            encoded_pages: AtomicU64::new(0),
            committed_pages: AtomicU64::new(0),
        }
    }

    /// The same, of a run of such stages, which has `items` items to read.
    #[must_use]
    pub fn of(self, stages: Stages, items: u64) -> Self {
        self.items.store(items, Ordering::Relaxed);
        self.bar.set_length(items);
        Progress { stages, ..self }
    }

    /// What is being read.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// A line above the bar, of something that the log tells as well: without a bar it would stand there twice.
    fn say_above_bar(&self, line: &str) {
        if !self.plain {
            self.bar.println(line);
        }
    }

    /// A line for the operator, above the bar.
    pub fn say(&self, line: &str) {
        if self.plain {
            drop(writeln!(std::io::stderr(), "{line}"));
        } else {
            self.bar.println(line);
        }
    }

    /// The stream keeps what changes meanwhile until then, in seconds since 1970.
    pub fn captured(&self, until: u64) {
        self.captured_until.store(until, Ordering::Relaxed);
    }

    /// How many items or rows a second, and how long the stage will take still, if that can be told.
    fn pace(&self) -> (f64, Option<Duration>) {
        let (since, before) = *self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.done.load(Ordering::Relaxed);
        let rate = done as f64 / since.elapsed().as_secs_f64().max(0.001);
        let left = self.items.load(Ordering::Relaxed).saturating_sub(before + done) as f64;
        (rate, if rate > 0.0 { Duration::try_from_secs_f64(left / rate).ok() } else { None })
    }

    /// How long the stage will take still; none when that cannot be told.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.pace().1
    }

    fn state(&self) -> String {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let since = self.stage.lock().unwrap_or_else(PoisonError::into_inner).0;
        let bytes = load(&self.bytes);
        let (rate, eta) = self.pace();
        let eta = eta.map_or_else(|| "unknown".to_owned(), |eta| HumanDuration(eta).to_string());
        let per_second = HumanBytes(bytes.checked_div(since.elapsed().as_secs().max(1)).unwrap_or(0));
        let in_flight = HumanBytes(load(&self.read_bytes).saturating_sub(bytes));
        let limit = self.limit();
        let SourceUsage { stream, spool, .. } = self.source.usage();
        if let Some(stream) = stream {
            let (behind, hours) = (stream.lag_seconds, stream.horizon_seconds as f64 / 3600.0);
            let shards = stream.shards;
            let spooled = spool.map_or_else(String::new, |spool| format!("{} spooled to apply, ", spool.backlog));
            return format!(
                "{rate:.0} changes/s, {spooled}{behind} s behind, {shards} shards, {hours:.1} h to the horizon, limited \
                 by: {limit}"
            );
        }
        match (self.stages, load(&self.differences)) {
            (Stages::Comparing, differences) => {
                format!("{rate:.0} items/s, {eta} left, {differences} seem to differ, limited by: {limit}")
            }
            _ => {
                let kept = match load(&self.captured_until) {
                    0 => String::new(),
                    until => format!("changes are kept for {} more, ", hours(until.saturating_sub(wall()))),
                };
                format!(
                    "{rate:.0} items/s {per_second}/s, {eta} left, {in_flight} in flight, {kept}limited by: {limit}"
                )
            }
        }
    }

    /// Where pages pile up: before the workers, before the writers, or nowhere, and then the source is the slowest.
    fn limit(&self) -> String {
        if let Some(held) = self.target_limit.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return held;
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (read, encoded, committed) =
            (load(&self.read_pages), load(&self.encoded_pages), load(&self.committed_pages));
        if encoded.saturating_sub(committed) >= self.writers {
            "target".to_owned()
        } else if read.saturating_sub(encoded) > 2 {
            "decode".to_owned()
        } else {
            self.source.limited_by().unwrap_or_else(|| "source".to_owned())
        }
    }

    /// Every page in flight meets the pause, and meets it again: said once in a while, not by each.
    fn pause(&self, reason: &str) {
        let Ok(mut last) = self.last_pause.try_lock() else { return };
        if last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            *last = Some(Instant::now());
            self.say(&format!("paused, the target cannot take writes: {reason}"));
        }
    }

    /// The second stage of a clustered load: the bar begins anew.
    fn load(&self, rows: u64, loaded: u64) {
        let (to_do, done) = match self.stages {
            Stages::Loading => ("load", "loaded"),
            Stages::Comparing => ("compare", "compared"),
        };
        self.say(&format!("all is sorted: {rows} rows to {to_do} in key order, {loaded} of them {done} already"));
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), loaded);
        for counter in [&self.done, &self.bytes, &self.read_pages, &self.read_bytes, &self.encoded_pages] {
            counter.store(0, Ordering::Relaxed);
        }
        self.committed_pages.store(0, Ordering::Relaxed);
        self.items.store(rows, Ordering::Relaxed);
        self.bar.set_length(rows);
        self.bar.set_position(loaded);
    }

    fn tick(&self) {
        if !self.plain {
            self.bar.set_message(self.state());
            return;
        }
        let Ok(mut last) = self.last_line.try_lock() else { return };
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let before = self.stage.lock().unwrap_or_else(PoisonError::into_inner).1;
            let (done, items) = (before + self.done.load(Ordering::Relaxed), self.items.load(Ordering::Relaxed));
            let percent = done as f64 * 100.0 / items.max(1) as f64;
            let about = if self.exact { "" } else { "about " };
            match self.source.description().changes && !self.exact {
                true => self.say(&format!("{done} changes, {}", self.state())),
                false => self.say(&format!("{percent:.1} % {done} of {about}{items} items, {}", self.state())),
            }
        }
    }
}

impl Monitor for Progress {
    fn event(&self, event: &Event<'_>) {
        let add = |counter: &AtomicU64, value| {
            counter.fetch_add(value, Ordering::Relaxed);
        };
        match event {
            Event::PageRead { bytes, .. } => {
                add(&self.read_pages, 1);
                add(&self.read_bytes, *bytes as u64);
            }
            Event::PageEncoded { .. } => add(&self.encoded_pages, 1),
            Event::Committed { counts, .. } => {
                add(&self.committed_pages, 1);
                add(&self.done, counts.read + counts.loaded);
                add(&self.bytes, counts.bytes);
                add(&self.differences, counts.compared.iter().map(Compared::differences).sum());
                self.bar.inc(counts.read + counts.loaded);
                self.tick();
            }
            Event::UnitFailed { reason, .. } => self.say_above_bar(&format!("failed: {reason}")),
            Event::ConnectionLost { code } => {
                self.say_above_bar(&format!("connection to the target lost ({code}); reconnecting"))
            }
            Event::CommitsLost { items, .. } => {
                self.say_above_bar(&format!(
                    "the server lost {items} items it had acknowledged; they are written again"
                ));
            }
            Event::LoadBegun { rows, loaded } => self.load(*rows, *loaded),
            Event::LookBegun { keys } => self.say(&format!("{keys} keys seemed to differ: looking again")),
            Event::Stopping { reason } => self.say(&format!("stopping: {reason}")),
            Event::Paused { reason } => self.pause(reason),
            Event::TargetLimited { by } => {
                let mut limit = self.target_limit.lock().unwrap_or_else(PoisonError::into_inner);
                let begins = limit.is_none();
                *limit = by.map(str::to_owned);
                drop(limit);
                if let Some(by) = by.filter(|_| begins) {
                    self.say(&format!("writers wait: {by}"));
                }
                // Nothing may be committed meanwhile.
                self.tick();
            }
            Event::Waiting { units } => self.bar.set_message(format!("waiting for another process's {units} units")),
            _ => {}
        }
    }
}
