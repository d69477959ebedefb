//! The verb: the changes that were made to a table since it was copied are applied to the copy, window by window.
//!
//! A window is an incremental export, applied by a run of its own that is resumable like every run. Windows are applied
//! by time, each when the one before is complete; which are, the target says. Everything that does not join on to the
//! copy, or to the window applied last, is refused before anything is written.

pub mod hand_over;
pub mod horizon;
pub mod kept;
pub mod position;
pub mod report;
pub mod spooling;
pub mod standing;
pub mod stream;

use crate::backfill::{self, Backfill, LoadOrder};
use crate::checkpoint::follows::{Applied, Follows};
use crate::checkpoint::run::{Checkpoint, RunState, Settings, name_of};
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::mapping::{Mapping, moment_text};
use crate::model::counts::Counts;
use crate::monitor::Monitor;
use crate::pipeline;
use crate::report::{ProcessReport, Report, Status};
use crate::sink::OnConflict;
use crate::sink::destination::Destination;
use crate::sink::health::HealthOptions;
use crate::sink::load_method::LoadMethod;
use crate::source::Source;
use crate::source::dynamodb_export::chain::{Chain, Link, Window};
use position::Position;
use report::{FollowReport, FollowStatus, Tally, WindowReport, WindowStatus};
use standing::{Copied, Standing, standings};
use std::path::PathBuf;
use std::sync::Arc;
use stream::Following;
use tokio_util::sync::CancellationToken;

/// How to follow.
#[derive(Clone, Debug)]
pub struct Options {
    /// The copy's run; by default the DynamoDB table's name.
    pub run: Option<String>,
    /// What the target must keep to.
    pub health: HealthOptions,
    /// Where large files may be kept for a while.
    pub spill_dir: PathBuf,
    /// Of a stream: where rejects go. Each window has a file of its own.
    pub rejects: Option<PathBuf>,
    /// How wide.
    pub pipeline: pipeline::Options,
}

/// The copy that is followed.
struct Copy {
    run: String,
    incarnation: u64,
    settings: Settings,
    as_of_us: i64,
    applied: Vec<Applied>,
    is_complete: bool,
}

/// A chain that joins on to a target.
pub struct Follow {
    links: Vec<(Link, Standing)>,
    until_us: Option<i64>,
    copy: Copy,
    mapping: Arc<Mapping>,
    destination: Destination,
    options: Options,
}

/// A window that is about to be applied.
pub struct Step<'a> {
    /// Its number among those that are due, from 1.
    pub number: usize,
    /// How many are due.
    pub of: usize,
    /// The window.
    pub link: &'a Link,
    /// Its run.
    pub run: &'a Backfill,
}

/// Opens the export of a window. Blocks.
pub type OpenLink = Arc<dyn Fn(&Link) -> Result<Box<dyn Source>> + Send + Sync>;

/// Who watches a window's run.
pub type Watch<'a> = &'a (dyn Fn(&Step<'_>) -> Arc<dyn Monitor> + Sync);

impl Follow {
    /// Finds the copy in the target and holds the chain against it. Writes nothing.
    ///
    /// # Errors
    /// `Refused` when there is no complete copy of this table by this mapping, or when the chain does not join on.
    pub async fn prepare(
        chain: Chain,
        mapping: Arc<Mapping>,
        destination: Destination,
        options: Options,
    ) -> Result<Follow> {
        let table = chain.links.first().map(|link| &link.table);
        let table = table.ok_or_else(|| Error::internal("a chain without a window"))?;
        let run = options.run.clone().unwrap_or_else(|| name_of(&table.name));
        let copy = find_copy(&destination, &mapping, run).await?;
        let of_table = copy.settings.source.strip_prefix(&table.arn).unwrap_or_default();
        let identified = of_table.strip_prefix(' ').is_some_and(|id| table.id.is_empty() || id.starts_with(&table.id));
        let earlier = copy.applied.last().is_some_and(|window| window.follows.table != named(&chain.links[0]));
        if !(of_table.starts_with("/export/") || identified) || earlier {
            return Err(Error::refused(format!(
                "the chain is of table {} (id {}), run {} copied another one: {}",
                table.arn,
                table.id,
                copy.run,
                copy.settings.source.split(' ').next().unwrap_or_default()
            )));
        }
        if let Some(full) = chain.full.iter().find(|full| !copy.settings.source.starts_with(&full.export_arn)) {
            return Err(Error::config(format!(
                "{} is a full export, and not the one that run {} copied: give a folder with the incremental exports that \
                 follow the copy",
                full.place, copy.run
            )));
        }
        let copied = Copied { run: &copy.run, as_of_us: copy.as_of_us, applied: &copy.applied };
        let standing = standings(&chain.links, &copied)?;
        if standing.contains(&Standing::Due) {
            Following::refuse_window(&destination, &Position::of_copy(&copy)).await?;
        }
        let links = chain.links.into_iter().zip(standing).collect();
        Ok(Follow { links, until_us: None, copy, mapping, destination, options })
    }

    /// The same, of the windows that end at this moment or before: later ones wait. In microseconds since 1970.
    #[must_use]
    pub fn until(mut self, until_us: Option<i64>) -> Follow {
        self.until_us = until_us;
        for (link, standing) in &mut self.links {
            if *standing == Standing::Due && until_us.is_some_and(|until| until < link.window.to_us) {
                *standing = Standing::Later;
            }
        }
        self
    }

    /// What the chain cannot tell, a line each: said before it is applied.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut due = self.links.iter().filter(|(_, standing)| *standing == Standing::Due).map(|(link, _)| link);
        let as_of_us = self.copy.as_of_us;
        let leaves = "leaves no change behind, and its row stays; `transvase verify` finds it";
        if due.clone().next().is_none() {
            return Vec::new();
        }
        if !self.copy.settings.source.contains("/export/") {
            return vec![format!(
                "the copy was made by a scan: an item that was written, scanned and deleted within one window {leaves}"
            )];
        }
        // windows are cut at whole seconds
        let astride = due.find(|link| link.window.from_us + 1_000_000 <= as_of_us && as_of_us < link.window.to_us);
        let remark = |link: &Link| {
            format!(
                "the copy's time, {}, lies within window {}: an item that was first written before it and deleted after \
                 it {leaves}; best a window ends at that time",
                moment_text(as_of_us),
                link.window
            )
        };
        astride.map(remark).into_iter().collect()
    }

    /// How many windows are to be applied, and how many are passed over.
    #[must_use]
    pub fn due(&self) -> (usize, usize) {
        let due = self.links.iter().filter(|(_, standing)| *standing == Standing::Due).count();
        let passed = |standing| matches!(standing, Standing::InCopy | Standing::Applied);
        (due, self.links.iter().filter(|(_, standing)| passed(*standing)).count())
    }

    /// Applies what is due, window by window, until all is durable, a stop is requested, or something fails for good. The
    /// report tells which; its process figures are the caller's to fill in.
    ///
    /// # Errors
    /// When nothing can be said of the windows any more: the database is gone.
    pub async fn run(
        self,
        open: OpenLink,
        stop: CancellationToken,
        watch: Watch<'_>,
    ) -> Result<(FollowReport, Option<Error>)> {
        let (due, _) = self.due();
        let (mut ended, mut number) = (Ended::new(self.copy.as_of_us), 0);
        for (link, standing) in &self.links {
            let passed = match standing {
                Standing::InCopy => Some((WindowStatus::InTheCopy, Counts::default())),
                Standing::Applied => Some((WindowStatus::AppliedBefore, self.counts(link).await?)),
                Standing::Later => Some(match self.counts(link).await? {
                    counts if counts.read > 0 => (WindowStatus::Begun, counts),
                    counts => (WindowStatus::Waiting, counts),
                }),
                Standing::Due if ended.is_over() || stop.is_cancelled() => {
                    ended.stopped();
                    Some((WindowStatus::Waiting, Counts::default()))
                }
                Standing::Due => None,
            };
            if let Some((status, counts)) = passed {
                ended.passed(link, status, &counts);
                continue;
            }
            number += 1;
            match self.apply(link, (number, due), &open, &stop, watch).await {
                Ok((report, error)) => ended.applied(link, &self.counts(link).await?, report, error),
                Err(error) if number == 1 => return Err(error),
                Err(error) => ended.failed(link, error),
            }
        }
        Ok(self.report(ended))
    }

    /// Applies one window.
    async fn apply(
        &self,
        link: &Link,
        (number, of): (usize, usize),
        open: &OpenLink,
        stop: &CancellationToken,
        watch: Watch<'_>,
    ) -> Result<(Report, Option<Error>)> {
        let (opening, place) = (Arc::clone(open), link.clone());
        let source = tokio::task::spawn_blocking(move || opening(&place)).await;
        let source = source.map_err(|error| Error::internal("opening a window").because(error))??;
        let (mapping, destination) = (Arc::clone(&self.mapping), self.destination.clone());
        let options = self.run_options(link).await?;
        self.copy.end_load(&self.destination).await?;
        let run = Box::pin(Backfill::prepare(source, mapping, destination, options)).await?;
        let monitor = watch(&Step { number, of, link, run: &run });
        Box::pin(run.run(stop.clone(), monitor)).await
    }

    /// The options of a window's run: its rows are newer than whatever is there.
    async fn run_options(&self, link: &Link) -> Result<backfill::Options> {
        let run = self.run_name(link);
        let stale = match Checkpoint::existing(self.state(), &run).await? {
            Some(mut other) => match other.load().await? {
                // Another process may be at it already; or it is of a copy that was begun anew since.
                Some((Settings { follows: Some(follows), .. }, _)) => follows.copy != self.copy.incarnation,
                _ => return Err(Error::refused(format!("run {run} is no window of changes: it has another use"))),
            },
            None => false,
        };
        let Window { from_us, to_us } = link.window;
        Ok(backfill::Options {
            run: Some(run),
            restart: stale,
            on_conflict: OnConflict::Replace,
            live_target: self.copy.settings.live_target,
            load_method: LoadMethod::Insert,
            create_tables: false,
            defer_indexes: false,
            rejects: None,
            health: self.options.health.clone(),
            load_order: LoadOrder::Arrival,
            spill_dir: self.options.spill_dir.clone(),
            spill_limit: None,
            follows: Some(Follows { copy: self.copy.incarnation, from_us, to_us, table: named(link) }),
            pipeline: self.options.pipeline.clone(),
        })
    }

    fn run_name(&self, link: &Link) -> String {
        name_of(&format!("{}.follow.{}", self.copy.run, moment_text(link.window.to_us)))
    }

    fn state(&self) -> Arc<Pool> {
        Arc::new(Pool::new(self.destination.state(), 1))
    }

    /// What the ledger says of a window.
    async fn counts(&self, link: &Link) -> Result<Counts> {
        match Checkpoint::existing(self.state(), &self.run_name(link)).await? {
            Some(run) => run.totals().await,
            None => Ok(Counts::default()),
        }
    }

    fn report(self, ended: Ended) -> (FollowReport, Option<Error>) {
        let table = self.links.first().map(|(link, _)| link.table.name.clone()).unwrap_or_default();
        let remarks = self.remarks();
        let rejects = ended.total.outcomes().rejected > 0;
        let applied =
            self.copy.applied.iter().filter(|window| window.complete).map(|window| window.follows.to_us).max();
        let report = FollowReport {
            status: match ended.status {
                FollowStatus::CaughtUp if rejects => FollowStatus::CaughtUpWithRejects,
                status => status,
            },
            run: self.copy.run,
            table,
            target: self.destination.to_string(),
            copy_of: moment_text(self.copy.as_of_us),
            caught_up_to: moment_text(applied.unwrap_or(ended.reached_us).max(ended.reached_us)),
            until: self.until_us.map(moment_text),
            windows: ended.windows,
            tally: Tally::of(&ended.total),
            remarks,
            seed: self.options.pipeline.seed,
            process: ProcessReport::default(),
            version: env!("CARGO_PKG_VERSION"),
        };
        (report, ended.error)
    }
}

/// What has come of the windows so far.
struct Ended {
    status: FollowStatus,
    windows: Vec<WindowReport>,
    total: Counts,
    reached_us: i64,
    error: Option<Error>,
}

impl Ended {
    fn new(reached_us: i64) -> Ended {
        let status = FollowStatus::CaughtUp;
        Ended { status, windows: Vec::new(), total: Counts::default(), reached_us, error: None }
    }

    /// Whether no further window may begin.
    fn is_over(&self) -> bool {
        self.status != FollowStatus::CaughtUp
    }

    fn stopped(&mut self) {
        if !self.is_over() {
            self.status = FollowStatus::Interrupted;
        }
    }

    fn passed(&mut self, link: &Link, status: WindowStatus, counts: &Counts) {
        self.total.add(counts);
        self.windows.push(WindowReport {
            from: moment_text(link.window.from_us),
            to: moment_text(link.window.to_us),
            export: link.place.clone(),
            status,
            changes: link.changes,
            tally: Tally::of(counts),
            failures: Vec::new(),
            rejects_file: None,
        });
    }

    fn failed(&mut self, link: &Link, error: Error) {
        self.status = FollowStatus::Failed;
        self.passed(link, WindowStatus::Waiting, &Counts::default());
        self.fails(vec![error.chain()], None);
        self.error = Some(error);
    }

    fn applied(&mut self, link: &Link, counts: &Counts, report: Report, error: Option<Error>) {
        let complete =
            matches!(report.status, Status::Complete | Status::CompleteWithRejects | Status::AlreadyComplete);
        self.passed(link, if complete { WindowStatus::Applied } else { WindowStatus::Begun }, counts);
        self.fails(report.failures, report.rejects_file);
        self.status = match report.status {
            Status::Interrupted => FollowStatus::Interrupted,
            Status::UnitsFailed => FollowStatus::UnitsFailed,
            Status::Failed => FollowStatus::Failed,
            _ => self.status,
        };
        if complete {
            self.reached_us = self.reached_us.max(link.window.to_us);
        }
        self.error = error;
    }

    fn fails(&mut self, failures: Vec<String>, rejects_file: Option<String>) {
        if let Some(window) = self.windows.last_mut() {
            (window.failures, window.rejects_file) = (failures, rejects_file);
        }
    }
}

impl Copy {
    /// Ends the load of a complete copy, as the process should have that completed it, unless it died just then: without this
    /// removals would leave tombstones for ever.
    async fn end_load(&self, destination: &Destination) -> Result<()> {
        if !self.is_complete || !destination.remembers_removals() {
            return Ok(());
        }
        let pool = Arc::new(Pool::new(destination.state(), 1));
        let mut checkpoint = Checkpoint::open(Arc::clone(&pool), &self.run).await?;
        let tables: Vec<String> = self.settings.tables.iter().map(|table| table.name.clone()).collect();
        let copied = self.settings.source_table().unwrap_or_default();
        match checkpoint.load().await? {
            Some(_) if checkpoint.incarnation() == self.incarnation => {
                checkpoint.end_copy(&pool, copied, &tables).await
            }
            _ => Err(Error::refused(format!("run {} was begun anew by another process", self.run))),
        }
    }
}

/// The table of a window, as it is kept with the window's run.
fn named(link: &Link) -> String {
    format!("{} {}", link.table.arn, link.table.id)
}

/// The run that made the copy, if it is complete.
async fn find_copy(destination: &Destination, mapping: &Mapping, run: String) -> Result<Copy> {
    let pool = Arc::new(Pool::new(destination.state(), 1));
    let none = || {
        Error::refused(format!(
            "{destination} holds no run {run}: `transvase backfill` copies the table first; a copy under another name is \
             found with --run NAME"
        ))
    };
    let mut checkpoint = Checkpoint::existing(Arc::clone(&pool), &run).await?.ok_or_else(none)?;
    let (settings, state) = checkpoint.load().await?.ok_or_else(none)?;
    if !settings.items_are_copied() {
        return Err(Error::refused(format!("run {run} is no copy: give --run the name of the backfill's run")));
    }
    if state != RunState::Complete && !destination.remembers_removals() {
        return Err(Error::refused(format!(
            "run {run} is not complete: run the same `transvase backfill` to its end first, then follow; a DynamoDB table \
             does not remember what was deleted from it while it is filled"
        )));
    }
    if state != RunState::Complete && !settings.live_target {
        return Err(Error::refused(format!(
            "run {run} is not complete, and was begun without --live-target: run the same `transvase backfill` to its end \
             first, then follow"
        )));
    }
    if settings.mapping != mapping.identity() {
        return Err(Error::refused(format!(
            "run {run} was made with another key or mapping: follow with the same, or copy the table anew"
        )));
    }
    let as_of_us = settings.as_of_us.ok_or_else(|| {
        Error::refused(format!(
            "run {run} does not say of which time its copy is: an earlier version made it; copy the table anew"
        ))
    })?;
    let applied = checkpoint.followed_by().await?;
    let is_complete = state == RunState::Complete;
    Ok(Copy { run, incarnation: checkpoint.incarnation(), settings, as_of_us, applied, is_complete })
}
