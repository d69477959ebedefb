//! A verification from its beginning to its report. It is a run of its own, in a database of its own: nothing of the
//! enumeration of a backfill is shared, and the target is only read.
//!
//! Order of things: look at the target; find the verification or begin it; sort the source's rows, narrow, on local disk;
//! compare them with the target's in key order; look again at what seemed to differ; report. One that was interrupted goes
//! on where it was. One that was finished begins anew: both sides may have changed since.

use super::after::Looked;
use super::bound::{COPY_PREFIX, NAME_PREFIX, altered, digests, inspect, items_of, name, narrow, settings};
use super::items_copy::{ItemsCopy, ReadBack};
use super::options::{Level, Options, Sample, check};
use super::report::{Verdicts, VerifyReport, VerifyStatus};
use crate::checkpoint::certificates;
use crate::checkpoint::run::{Checkpoint, RunState, Settings};
use crate::compare::narrow::Narrow;
use crate::driver::pool::Pool;
use crate::driver::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Mapping;
use crate::model::counts::Counts;
use crate::model::page::Unit;
use crate::monitor::{Event, Monitor};
use crate::pipeline::Ended;
use crate::pipeline::clustered::{Clustered, Sorted};
use crate::report::ProcessReport;
use crate::sink::compare::{Comparing, ComparingOptions, Depth, Theirs};
use crate::sink::destination::{Destination, Facts};
use crate::sink::health::Health;
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
    /// The target, where it is a DynamoDB table.
    pub(super) copy: Option<ItemsCopy>,
}

impl Verify {
    /// Looks at the target, and finds or begins the verification. Writes nothing but its own state. A DynamoDB target comes
    /// with the way to read it back.
    ///
    /// # Errors
    /// `Config` for a target that cannot be compared; `Refused` when an unfinished verification is of something else.
    pub async fn prepare(
        mut source: Box<dyn Source>,
        mapping: Arc<Mapping>,
        (destination, back): (Destination, Option<ReadBack>),
        state: Target,
        options: Options,
    ) -> Result<Self> {
        check(&destination, &state, &options)?;
        let health = Health::new(&destination.state(), options.health.clone())?;
        let target = Arc::new(Pool::new(patient(destination.state(), &options), options.pipeline.writers + 1));
        let facts = destination.facts(&target).await?;
        let tables = inspect(&destination, &target, &mapping).await?;
        let state_pool = Arc::new(Pool::new(patient(state, &options), STATE_SESSIONS));
        let table = source.description().table.clone();
        let mut checkpoint = Checkpoint::open(Arc::clone(&state_pool), &name(NAME_PREFIX, &table)).await?;
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
        let narrow = Arc::new(narrow(&mapping, &destination, &facts, options.level, stands_still));
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
            copy: None,
        };
        // Refused before anything is read: what cannot be looked up cannot be looked at again.
        verify.pair().sides()?;
        if matches!(verify.destination, Destination::Sql(_)) {
            verify.mend_lock().await?;
        }
        verify.settings.begun_us = Some(verify.now().await?);
        verify.bind().await?;
        verify.bind_copy(back, &name(COPY_PREFIX, &table)).await?;
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

    /// Finds or begins the reading of a DynamoDB target.
    async fn bind_copy(&mut self, back: Option<ReadBack>, run: &str) -> Result<()> {
        let Destination::DynamoDb(target) = &self.destination else { return Ok(()) };
        let back = back.ok_or_else(|| Error::internal("nobody says how the target table is read"))?;
        let digests = digests(&self.mapping, &self.destination, &self.facts, self.options.level, true);
        let copy = ItemsCopy::prepare(
            back,
            target,
            (&self.mapping, digests),
            (&self.state_pool, run),
            (&self.settings, self.state == RunState::New),
            &self.options.spill_dir,
        );
        self.copy = Some(copy.await?);
        Ok(())
    }

    /// Now, by the target's clock; of a DynamoDB table, by that of the state's database.
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
        let (before, items) = self.reads_back().map_or((0, 0), ItemsCopy::progress);
        (self.before.read + before, self.settings.items + items)
    }

    /// A DynamoDB target, as it is read.
    #[must_use]
    pub fn target_source(&self) -> Option<Arc<dyn Source>> {
        self.copy.as_ref().map(ItemsCopy::scan)
    }

    /// The target that is read and sorted, rather than asked for keys or for ranges of them.
    fn reads_back(&self) -> Option<&ItemsCopy> {
        self.copy.as_ref().filter(|_| self.options.sample.is_none())
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
        let mut clustered = self.clustered();
        let sorted = match self.reads_back() {
            Some(copy) if !clustered.loaded().await? => {
                match copy.sorted(clustered.spill_limit, stop, monitor).await? {
                    Ok(sorted) => Some(sorted),
                    Err(ended) => return Ok(ended),
                }
            }
            _ => None,
        };
        clustered.spill_limit =
            clustered.spill_limit.map(|limit| limit.saturating_sub(sorted.as_ref().map_or(0, Sorted::bytes)));
        let theirs = match (&self.copy, &sorted) {
            (None, _) => Theirs::Sql(Arc::clone(&self.target), self.facts.dialect),
            (Some(_), Some(sorted)) => Theirs::Runs(sorted.runs.clone()),
            (Some(copy), None) => Theirs::Keys(copy.by_key()?),
        };
        let options = ComparingOptions {
            depth: self.depth(),
            repeatable: self.source.description().exact,
            readers: self.options.pipeline.writers,
            health: self.health.clone(),
        };
        let sink = Comparing::new(
            theirs,
            self.checkpoint.clone().watched(Arc::clone(monitor)),
            Arc::clone(&self.mapping),
            Arc::clone(&self.narrow),
            options,
            Arc::clone(monitor),
        );
        clustered.run(Arc::new(sink), stop, monitor).await
    }

    /// The two stages.
    fn clustered(&self) -> Clustered {
        let mut options = self.options.pipeline.clone();
        (options.seed, options.page_bytes) = (self.settings.seed, self.settings.page_bytes);
        Clustered {
            source: Arc::clone(&self.source),
            mapping: self.narrow.mapping(),
            checkpoint: self.checkpoint.clone(),
            pool: Arc::clone(&self.state_pool),
            options,
            spill_dir: self.options.spill_dir.clone(),
            spill_limit: self.options.spill_limit,
            before: self.before.clone(),
            kinds: key_kinds(self.mapping.tables(), self.facts.dialect),
            narrow: Some(Arc::clone(&self.narrow)),
            covers: self.options.sample.is_none(),
        }
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
        if let Some(copy) = &self.copy
            && let Err(error) = copy.finish().await
        {
            tracing::warn!("what was read of the target is still stored: {}", error.chain());
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
