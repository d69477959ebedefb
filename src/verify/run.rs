//! A verification from its beginning to its report. It is a run of its own, in a database of its own: nothing of the
//! enumeration of a backfill is shared, and the target is only read.
//!
//! Order of things: look at the target; find the verification or begin it; sort the source's rows, narrow, on local disk;
//! compare them with the target's in key order; look again at what seemed to differ; report. One that was interrupted goes
//! on where it was. One that was finished begins anew: both sides may have changed since.

use super::after::Looked;
use super::options::{Level, Options, Sample, check};
use super::report::{Verdicts, VerifyReport, VerifyStatus};
use crate::checkpoint::certificates;
use crate::checkpoint::run::{Checkpoint, RunState, Settings, TargetTable};
use crate::checkpoint::schema::MAX_NAME;
use crate::compare::narrow::{Digests, Narrow};
use crate::compare::server::ServerText;
use crate::driver::pool::Pool;
use crate::driver::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Mapping;
use crate::model::counts::Counts;
use crate::model::page::Unit;
use crate::monitor::{Event, Monitor};
use crate::pipeline::Ended;
use crate::pipeline::clustered::Clustered;
use crate::report::ProcessReport;
use crate::sink::compare::{Comparing, ComparingOptions, Depth};
use crate::sink::destination::{Destination, Facts};
use crate::sink::health::Health;
use crate::sink::inspect::{Create, Inspected};
use crate::sink::scan::key_kinds;
use crate::source::Source;
use crate::spill::dir::SpillDir;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Sessions of the verification's own database: claims, folds and heartbeats beside what is recorded.
const STATE_SESSIONS: usize = 4;

/// What the name of a verification begins with, so that it can lie beside a backfill of the same table.
const NAME_PREFIX: &str = "verify:";

/// Shorter than this, a busy machine would lose its sessions.
const IDLE_MIN: Duration = Duration::from_secs(2);

/// How often the end of a verification is tried on a server that keeps going away.
const FINISHES_MAX: u32 = 5;

/// A verification that is ready.
pub struct Verify {
    pub(super) source: Arc<dyn Source>,
    pub(super) mapping: Arc<Mapping>,
    pub(super) destination: Destination,
    /// Sessions of the target.
    pub(super) target: Arc<Pool>,
    /// Sessions of the verification's own database.
    pub(super) state_pool: Arc<Pool>,
    pub(super) checkpoint: Checkpoint,
    pub(super) settings: Settings,
    pub(super) facts: Facts,
    pub(super) options: Options,
    state: RunState,
    before: Counts,
    health: Option<Arc<Health>>,
    narrow: Arc<Narrow>,
}

impl Verify {
    /// Looks at the target, and finds or begins the verification. Writes nothing but its own state.
    ///
    /// # Errors
    /// `Config` for a target that cannot be compared; `Refused` when an unfinished verification is of something else.
    pub async fn prepare(
        mut source: Box<dyn Source>,
        mapping: Arc<Mapping>,
        destination: Destination,
        state: Target,
        options: Options,
    ) -> Result<Self> {
        check(&destination, &state, &options)?;
        let health = Health::new(&destination.state(), options.health.clone())?;
        let target = Arc::new(Pool::new(patient(destination.state(), &options), options.pipeline.writers + 1));
        let facts = destination.facts(&target).await?;
        let tables = inspect(&destination, &target, &mapping).await?;
        let state_pool = Arc::new(Pool::new(patient(state, &options), STATE_SESSIONS));
        let mut checkpoint = Checkpoint::open(Arc::clone(&state_pool), &name(&source.description().table)).await?;
        // The settings may be an older version's: of one that is forgotten only the sorted runs matter.
        let found = checkpoint.load().await;
        if options.restart || found?.is_some_and(|(_, state)| state == RunState::Complete) {
            SpillDir::clear(&options.spill_dir, checkpoint.incarnation());
            checkpoint.forget().await?;
        }
        if let Some((Settings { derived: Some(derived), .. }, _)) = checkpoint.load().await? {
            source.adopt(&derived, &checkpoint.totals().await?)?;
        }
        let source: Arc<dyn Source> = Arc::from(source);
        let stands_still = source.description().exact;
        let digests = digests(&mapping, &facts, options.level, stands_still);
        let narrow = Arc::new(Narrow::new(Arc::clone(&mapping), digests));
        let settings = settings(&source, &mapping, &destination, tables, &options);
        let (state, before) = (RunState::New, Counts::default());
        let mut verify = Verify {
            source,
            mapping,
            destination,
            target,
            state_pool,
            checkpoint,
            settings,
            facts,
            options,
            state,
            before,
            health,
            narrow,
        };
        // Refused before anything is read: what cannot be looked up cannot be looked at again.
        verify.pair().sides()?;
        verify.settings.begun_us = Some(verify.now().await?);
        verify.bind().await?;
        Ok(verify)
    }

    /// Finds the stored verification and checks that it is this one, or stores a new one.
    async fn bind(&mut self) -> Result<()> {
        let (stored, state) = match self.checkpoint.load().await? {
            Some(stored) => stored,
            None => {
                let units = self.chosen();
                self.settings.items = items_of(&units, self.settings.items);
                let places: Vec<u32> = units.iter().map(|unit| unit.id).collect();
                self.checkpoint.create(&self.settings, &units, &places, rand::random::<u32>() >> 1).await?;
                let (settings, _) = self.checkpoint.load().await?.unwrap_or((self.settings.clone(), RunState::New));
                (settings, RunState::New)
            }
        };
        self.before = self.checkpoint.totals().await?;
        let refuse = |what: &str| {
            Err(Error::refused(format!(
                "an unfinished verification in {} is of {what}: --restart forgets it and begins anew, --state DATABASE keeps \
                 it and begins another",
                self.state_pool.target()
            )))
        };
        let own = &self.settings;
        if stored.source != own.source {
            return refuse("another source");
        }
        if stored.mapping != own.mapping {
            return refuse("another key or mapping");
        }
        if stored.compares != own.compares {
            return refuse("another target, level or sample");
        }
        if let Some(table) = altered(&stored.tables, &own.tables) {
            return refuse(&format!("a table {table} that was altered or recreated since"));
        }
        (self.settings, self.state) = (stored, state);
        Ok(())
    }

    /// Now, by the target's clock.
    async fn now(&self) -> Result<i64> {
        let fault = |fault: crate::driver::fault::Fault| fault.into_error("asking the target's clock");
        let mut loan = self.target.take().await.map_err(fault)?;
        let now = certificates::now(&mut loan.session).await.map_err(fault)?;
        self.target.give_back(loan);
        Ok(now)
    }

    /// The units that are read, in their shuffled order.
    fn chosen(&self) -> Vec<Unit> {
        let mut units = self.source.description().units.clone();
        units.shuffle(&mut StdRng::seed_from_u64(self.settings.seed));
        if let Some(Sample(millionths)) = self.options.sample {
            let share = (units.len() as u64 * u64::from(millionths)).div_ceil(1_000_000);
            units.truncate(usize::try_from(share).unwrap_or(usize::MAX).max(1));
        }
        units
    }

    /// Where items come from.
    #[must_use]
    pub fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source)
    }

    /// Items that were sorted already, and items in all.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.before.read, self.settings.items)
    }

    /// How far the verification was when it was found.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.state
    }

    /// The seed: a resumed verification keeps its first one.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// Compares until all is compared, a stop is requested, or something fails for good. The report tells which; its
    /// process figures are the caller's to fill in.
    ///
    /// # Errors
    /// When nothing can be said of the verification any more: its database is gone.
    pub async fn run(
        self,
        stop: CancellationToken,
        monitor: Arc<dyn Monitor>,
    ) -> Result<(VerifyReport, Option<Error>)> {
        let (status, failures, error) = match self.to_the_end(&stop, &monitor).await {
            Ok(Ended::Drained) => (VerifyStatus::Clean, Vec::new(), None),
            Ok(Ended::Stopped) => (VerifyStatus::Interrupted, Vec::new(), None),
            Ok(Ended::UnitsFailed(units)) => (VerifyStatus::UnitsFailed, units, None),
            Err(error) => (VerifyStatus::Failed, vec![error.chain()], Some(error)),
        };
        match (self.report(status).await, error) {
            (Ok(report), error) => Ok((VerifyReport { failures, ..report }, error)),
            (Err(_), Some(error)) => Err(error),
            (Err(gone), None) => Err(gone),
        }
    }

    async fn to_the_end(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let mut rounds = 0;
        loop {
            rounds += 1;
            match self.compare(stop, monitor).await? {
                Ended::Drained => {}
                other => return Ok(other),
            }
            match self.finish(stop, monitor).await {
                Err(error) if error.kind() == ErrorKind::Transient && rounds < FINISHES_MAX => {
                    tracing::warn!("a server went away at the end of the verification: {}", error.chain());
                }
                ended => return ended,
            }
        }
    }

    /// Sorts and compares whatever is left.
    async fn compare(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let options = ComparingOptions {
            depth: self.depth(),
            repeatable: self.source.description().exact,
            readers: self.options.pipeline.writers,
            health: self.health.clone(),
        };
        let sink = Comparing::new(
            (Arc::clone(&self.target), self.facts.dialect),
            self.checkpoint.clone().watched(Arc::clone(monitor)),
            Arc::clone(&self.mapping),
            Arc::clone(&self.narrow),
            options,
            Arc::clone(monitor),
        );
        let mut options = self.options.pipeline.clone();
        (options.seed, options.page_bytes) = (self.settings.seed, self.settings.page_bytes);
        let clustered = Clustered {
            source: Arc::clone(&self.source),
            mapping: Arc::clone(&self.mapping),
            checkpoint: self.checkpoint.clone(),
            pool: Arc::clone(&self.state_pool),
            options,
            spill_dir: self.options.spill_dir.clone(),
            spill_limit: self.options.spill_limit,
            before: self.before.clone(),
            kinds: key_kinds(self.mapping.tables(), self.facts.dialect),
            narrow: Some(Arc::clone(&self.narrow)),
            covers: self.options.sample.is_none(),
        };
        clustered.run(Arc::new(sink), stop, monitor).await
    }

    fn depth(&self) -> Depth {
        match (self.options.sample, self.options.level) {
            (Some(_), _) => Depth::Lookups,
            (None, Level::Full) => Depth::Rows,
            (None, Level::Digest) => Depth::Digests,
            (None, Level::Counts) => Depth::Counts,
        }
    }

    /// All is compared: proves that all is accounted for, looks again at what differed, and marks the verification finished.
    async fn finish(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let totals = self.checkpoint.totals().await?;
        let short = self.source.description().exact && totals.read != self.settings.items;
        if short || totals.loaded != totals.spilled || !totals.add_up() {
            return Err(Error::new(
                ErrorKind::Transient,
                format!(
                    "run {}: {} items are accounted for, the source declares {}; the verification is not complete",
                    self.checkpoint.run(),
                    totals.read,
                    self.settings.items
                ),
            ));
        }
        self.check_unaltered().await?;
        if self.look_again(stop, monitor).await? == Looked::Stopped {
            return Ok(Ended::Stopped);
        }
        self.checkpoint.complete().await?;
        monitor.event(&Event::RunComplete);
        SpillDir::clear(&self.options.spill_dir, self.checkpoint.incarnation());
        if let Err(error) = self.checkpoint.forget_spills().await {
            tracing::warn!("the names of its sorted runs are still stored: {}", error.chain());
        }
        Ok(Ended::Drained)
    }

    /// Whether the tables are those of the beginning still.
    async fn check_unaltered(&self) -> Result<()> {
        let now = inspect(&self.destination, &self.target, &self.mapping).await?;
        match altered(&self.settings.tables, &now) {
            None => Ok(()),
            Some(table) => Err(Error::refused(format!(
                "table {table} was altered or recreated while it was verified: begin anew with --restart"
            ))),
        }
    }

    async fn report(&self, status: VerifyStatus) -> Result<VerifyReport> {
        let description = self.source.description();
        let mut report = VerifyReport {
            status,
            run: self.checkpoint.run().to_owned(),
            source: description.identity.clone(),
            target: self.destination.to_string(),
            table: description.table.clone(),
            level: self.options.level.name().to_owned(),
            sample: self.options.sample.map(|Sample(millionths)| millionths),
            items: self.settings.items,
            exact: description.exact,
            read: 0,
            skipped: 0,
            rejected: 0,
            tables: Vec::new(),
            differences: 0,
            kinds: [0; 3],
            verdicts: Verdicts::default(),
            failures: Vec::new(),
            seed: self.settings.seed,
            process: ProcessReport::default(),
            version: env!("CARGO_PKG_VERSION"),
            server: self.facts.server.clone(),
        };
        let names: Vec<&str> = self.mapping.tables().iter().map(|table| table.name.as_str()).collect();
        report.set_counts(&self.checkpoint.totals().await?, &names);
        report.set_verdicts(&self.checkpoint.tallies().await?);
        if status == VerifyStatus::Clean && report.differences > 0 {
            report.status = VerifyStatus::Differences;
        }
        Ok(report)
    }
}

/// The same, with sessions that outlive a lease and no more.
fn patient(mut target: Target, options: &Options) -> Target {
    if let Target::MySql(mysql) = &mut target {
        mysql.idle_max = options.pipeline.lease.max(IDLE_MIN);
    }
    target
}

/// The name that a verification of a DynamoDB table has.
fn name(table: &str) -> String {
    let room = MAX_NAME - NAME_PREFIX.len();
    // the end tells more than the beginning
    let skip = table.chars().count().saturating_sub(room);
    format!("{NAME_PREFIX}{}", table.chars().skip(skip).collect::<String>())
}

/// The tables of the target, each of which must be such that it can hold the rows.
async fn inspect(destination: &Destination, pool: &Pool, mapping: &Mapping) -> Result<Vec<TargetTable>> {
    let Inspected { tables, warnings } = destination.inspect(pool, mapping, Create::Nothing).await?;
    for warning in warnings {
        tracing::info!("{warning}");
    }
    Ok(tables)
}

/// The first table that is not what it was.
fn altered<'t>(then: &'t [TargetTable], now: &[TargetTable]) -> Option<&'t str> {
    let mut tables = then.iter().zip(now);
    tables
        .find(|(then, now)| then.name != now.name || then.identity != now.identity)
        .map(|(then, _)| then.name.as_str())
}

/// What is kept of each row. An export has one spelling, and so has what was made of it; a live table may answer in another
/// order each time.
fn digests(mapping: &Mapping, facts: &Facts, level: Level, stands_still: bool) -> Digests {
    let texts = || (0..mapping.tables().len()).map(|table| ServerText::new(mapping, table, facts.dialect)).collect();
    match level {
        Level::Counts => Digests::None,
        Level::Digest if stands_still => Digests::Server(texts()),
        Level::Digest => Digests::Both(texts()),
        Level::Full => Digests::Canonical,
    }
}

/// The fingerprint and the defaults of a new verification.
fn settings(
    source: &Arc<dyn Source>,
    mapping: &Mapping,
    destination: &Destination,
    tables: Vec<TargetTable>,
    options: &Options,
) -> Settings {
    let description = source.description();
    let sample = options.sample.map(|Sample(millionths)| format!(", {millionths} millionths")).unwrap_or_default();
    Settings {
        source: description.identity.clone(),
        mapping: mapping.identity(),
        on_conflict: String::new(),
        live_target: true,
        tables,
        seed: options.pipeline.seed,
        page_bytes: options.pipeline.page_bytes,
        items: description.items,
        derived: description.derived.clone(),
        clustered: true,
        begun_us: None,
        as_of_us: None,
        follows: None,
        compares: Some(format!("{destination}, {}{sample}", options.level.name())),
    }
}

/// Items of some units, where all of them tell; else all of the source's.
fn items_of(units: &[Unit], all: u64) -> u64 {
    units.iter().map(|unit| unit.items).sum::<Option<u64>>().unwrap_or(all)
}
