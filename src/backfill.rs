//! The verb: everything an export holds becomes durable in the target, once, and is accounted for.
//!
//! Order of things: look at the target and refuse what would lose data; find or begin the run; let the pages flow;
//! look at the target again; mark the run complete; write the rejects; report. Nothing of the report comes from
//! memory: a run that was killed at any point is reported the same by whoever finishes it.

use crate::checkpoint::certificates;
use crate::checkpoint::follows::Follows;
use crate::checkpoint::owner::Owner;
use crate::checkpoint::phases::Phases;
use crate::checkpoint::run::{Checkpoint, RunState, Settings, name_of};
use crate::driver::fault::Fault;
use crate::driver::pool::Pool;
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Mapping;
use crate::model::counts::Counts;
use crate::model::dialect::Dialect;
use crate::monitor::{Event, Monitor};
use crate::pipeline::work::Work;
use crate::pipeline::{self, Ended, Flow, Outlet};
use crate::report::{Report, Status};
use crate::sink::destination::{Destination, Facts, SinkOptions};
use crate::sink::health::{Health, HealthOptions};
use crate::sink::inspect::Create;
use crate::sink::load_method::LoadMethod;
use crate::sink::{OnConflict, Sink};
use crate::source::Source;
use crate::spill::dir::SpillDir;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

mod checks;
mod clustered;
mod indexes;
mod locked;
mod order;
pub mod replaying;

pub use order::LoadOrder;

/// Sessions beside the writers' own: claims, folds and heartbeats must not wait behind data.
const CONTROL_SESSIONS: usize = 2;

/// How often the end of a run is tried on a server that keeps going away.
const FINISHES_MAX: u32 = 5;

/// A session that fell silent for a lease is closed by the server, so that a process that was stopped inside a
/// transaction does not keep others from its units. Shorter than this, a busy machine would lose its sessions.
const IDLE_MIN: Duration = Duration::from_secs(2);

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's name; by default the DynamoDB table's.
    pub run: Option<String>,
    /// Forget an earlier run of this name.
    pub restart: bool,
    /// What to do about rows that are there.
    pub on_conflict: OnConflict,
    /// The application writes to the target tables too.
    pub live_target: bool,
    /// How rows are sent to a server.
    pub load_method: LoadMethod,
    /// Create missing tables.
    pub create_tables: bool,
    /// Create their secondary indexes when all rows are there.
    pub defer_indexes: bool,
    /// Where rejects go.
    pub rejects: Option<PathBuf>,
    /// What the target must keep to.
    pub health: HealthOptions,
    /// In which order rows are written.
    pub load_order: LoadOrder,
    /// Where sorted runs are kept.
    pub spill_dir: PathBuf,
    /// Bytes that they may take.
    pub spill_limit: Option<u64>,
    /// Of a window of changes: the copy that it follows, whose tables it writes to.
    pub follows: Option<Follows>,
    /// How wide; its seed and page size are the defaults of a new run.
    pub pipeline: pipeline::Options,
}

/// A run that is ready to flow.
pub struct Backfill {
    source: Arc<dyn Source>,
    mapping: Arc<Mapping>,
    destination: Destination,
    pool: Arc<Pool>,
    checkpoint: Checkpoint,
    settings: Settings,
    state: RunState,
    before: Counts,
    facts: Facts,
    health: Option<Arc<Health>>,
    /// Sessions that LOAD DATA LOCAL; without them rows are inserted.
    loading: Option<Arc<Pool>>,
    /// Of a run of changes: the migration that it replays for.
    replays: Option<Arc<Phases>>,
    options: Options,
}

impl Backfill {
    /// Looks at the target, refuses what would lose data, and finds or begins the run. Writes control tables, and
    /// target tables that are to be created; no rows.
    ///
    /// # Errors
    /// `Config` for a target that cannot take the rows; `Refused` when the run belongs to another source, mapping or
    /// target.
    pub async fn prepare(
        mut source: Box<dyn Source>,
        mapping: Arc<Mapping>,
        destination: Destination,
        options: Options,
    ) -> Result<Self> {
        let mut state = destination.state();
        let health = Health::new(&state, options.health.clone())?;
        if let Target::MySql(mysql) = &mut state {
            mysql.idle_max = options.pipeline.lease.max(IDLE_MIN);
        }
        let pool = Arc::new(Pool::new(state, options.pipeline.writers + CONTROL_SESSIONS));
        let facts = destination.facts(&pool).await?;
        let run = options.run.clone().unwrap_or_else(|| name_of(&source.description().table));
        let mut checkpoint = Checkpoint::open(Arc::clone(&pool), &run).await?;
        if options.restart {
            // Its settings may be an older version's: all that is wanted of it is where its sorted runs are.
            if checkpoint.load().await.is_ok_and(|stored| stored.is_some()) {
                SpillDir::clear(&options.spill_dir, checkpoint.incarnation());
            }
            checkpoint.forget().await?;
        }
        if let Some((Settings { derived: Some(derived), .. }, _)) = checkpoint.load().await? {
            source.adopt(&derived, &checkpoint.totals().await?)?;
        }
        let source: Arc<dyn Source> = Arc::from(source);
        let mut backfill = Backfill {
            settings: derived(&source, &mapping, &options),
            state: RunState::New,
            before: Counts::default(),
            source,
            mapping,
            destination,
            pool,
            checkpoint,
            facts,
            health,
            loading: None,
            replays: None,
            options,
        };
        backfill.bind().await?;
        if backfill.state != RunState::Complete {
            let (pool, mapping, method) = (&backfill.pool, &backfill.mapping, backfill.options.load_method);
            let options = backfill.sink_options();
            backfill.loading = backfill.destination.loading(method, pool, mapping, &options).await?;
        }
        Ok(backfill)
    }

    /// Finds the stored run and checks that it is this one, or stores a new one.
    async fn bind(&mut self) -> Result<()> {
        let stored = self.checkpoint.load().await?;
        let migration = self.migration().await?;
        self.register().await?;
        // Before the look at the tables: rows that another process writes between the two must not seem to be missing.
        self.before = self.checkpoint.totals().await?;
        if let Some((settings, _)) = &stored {
            self.check_same_plan(settings)?;
        }
        match (&migration, &stored) {
            (None, _) | (_, Some((_, RunState::Complete))) => {}
            (Some(phases), Some((settings, _))) => self.lock(phases, settings.as_of_us).await?,
            (Some(phases), None) => self.lock(phases, self.source.as_of_us()).await?,
        }
        let create = match self.options.create_tables && stored.is_none() {
            false => Create::Nothing,
            true if self.options.defer_indexes => Create::Tables,
            true => Create::TablesAndIndexes,
        };
        self.settings.tables = self.inspect(create).await?;
        if self.source.description().changes {
            self.destination.check_changeable(&self.pool, &self.mapping).await?;
        }
        let (settings, state) = match stored {
            Some(stored) => stored,
            None => {
                self.settings.clustered = self.decide_order().await?;
                if !self.source.description().exact {
                    self.settings.as_of_us = Some(self.now().await?);
                }
                let units = &self.source.description().units;
                let mut places: Vec<u32> = units.iter().map(|unit| unit.id).collect();
                places.shuffle(&mut StdRng::seed_from_u64(self.settings.seed));
                self.checkpoint.create(&self.settings, units, &places, rand::random::<u32>() >> 1).await?;
                let (settings, state) = self.checkpoint.load().await?.unwrap_or((self.settings.clone(), RunState::New));
                if settings.derived != self.settings.derived {
                    // its units are not ours
                    return Err(Error::refused(format!(
                        "run {} was begun by another process at this moment: run the same command again",
                        self.checkpoint.run()
                    )));
                }
                (settings, if state == RunState::Resumed { RunState::New } else { state })
            }
        };
        self.state = state;
        self.check_same_plan(&settings)?;
        self.check_same_order(&settings)?;
        self.check_same_tables(&settings)?;
        self.settings = settings;
        if state != RunState::Complete {
            // Before anything is read: from here on no removal by a live writer goes unmarked.
            self.checkpoint.begin_load(&self.loaded_tables(), self.source.as_of_us()).await?;
        }
        if state == RunState::Resumed {
            self.check_canaries().await?;
        }
        Ok(())
    }

    /// By the clock of the database of the run's state.
    async fn now(&self) -> Result<i64> {
        let fault = |fault: Fault| fault.into_error("asking the target's clock");
        let mut loan = self.pool.take().await.map_err(fault)?;
        let now = certificates::now(&mut loan.session).await.map_err(fault)?;
        self.pool.give_back(loan);
        Ok(now)
    }

    /// What would make the load faster, a line each: said before a large one begins.
    ///
    /// # Errors
    /// Of the target.
    pub async fn advice(&self) -> Result<Vec<String>> {
        let bytes = self.source.description().bytes.unwrap_or(0);
        if self.state != RunState::New {
            return Ok(Vec::new());
        }
        self.destination.advice(&self.pool, &self.mapping, bytes).await
    }

    /// Where items come from.
    #[must_use]
    pub fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source)
    }

    /// Items that are durable already, and items in all.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.before.read, self.source.description().items)
    }

    /// The shuffle's seed: a resumed run keeps its first one.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// Transactions at once.
    #[must_use]
    pub fn writers(&self) -> usize {
        self.options.pipeline.writers
    }

    /// How far the run was when it was found.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.state
    }

    /// Lets the pages flow until all is durable, a stop is requested, or something fails for good. The report tells
    /// which; its process figures are the caller's to fill in.
    ///
    /// # Errors
    /// When nothing can be said of the run any more: the database is gone.
    pub async fn run(self, stop: CancellationToken, monitor: Arc<dyn Monitor>) -> Result<(Report, Option<Error>)> {
        if self.state == RunState::Complete {
            // Whoever marked it complete may have died before this.
            self.clear_spill().await;
            self.checkpoint.end_copy(&self.pool, &self.source.description().table, &self.loaded_tables()).await?;
            self.add_indexes().await?;
            return Ok((self.report(Status::AlreadyComplete).await?, None));
        }
        let ended = match self.flow_to_the_end(&stop, &monitor).await {
            Ok(Ended::Drained) => self.add_indexes().await.map(|()| Ended::Drained),
            ended => ended,
        };
        let (status, failures, error) = match ended {
            Ok(Ended::Drained) => (Status::Complete, Vec::new(), None),
            Ok(Ended::Stopped) => (Status::Interrupted, Vec::new(), None),
            Ok(Ended::UnitsFailed(units)) => (Status::UnitsFailed, units, None),
            Err(error) => (Status::Failed, vec![error.chain()], Some(error)),
        };
        let report = match self.report(status).await {
            Ok(mut report) => {
                report.failures = failures;
                report
            }
            Err(_) if error.is_some() => return Err(error.unwrap_or_else(|| Error::internal("no error"))),
            Err(gone) => return Err(gone),
        };
        Ok((report, error))
    }

    /// Flows and finishes. A server that goes away in between may have forgotten what it acknowledged, so then it is
    /// asked again what there is left to do.
    async fn flow_to_the_end(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let mut rounds = 0;
        loop {
            rounds += 1;
            match self.flow_once(stop, monitor).await? {
                Ended::Drained => {}
                other => return Ok(other),
            }
            match self.finish(monitor).await {
                Ok(()) => return Ok(Ended::Drained),
                Err(error) if error.kind() == ErrorKind::Transient && rounds < FINISHES_MAX => {
                    tracing::warn!("the target went away at the end of the run: {}", error.chain());
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn flow_once(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Ended> {
        let rejected = self.before.outcomes().rejected;
        if rejected > 0 && self.options.pipeline.max_rejects.exceeded(rejected, self.before.read) {
            return Err(Error::corrupt(format!(
                "run {} has {rejected} rejects already, more than --max-rejects allows: look at the rejects file, then mend \
                 the mapping (--restart) or allow more",
                self.checkpoint.run()
            )));
        }
        if self.settings.clustered {
            return self.flow_clustered(stop, monitor).await;
        }
        let checkpoint = self.checkpoint.clone().watched(Arc::clone(monitor));
        self.flow(Outlet::Target(self.sink(monitor)), checkpoint, stop, monitor).await
    }

    /// Where batches become rows.
    fn sink(&self, monitor: &Arc<dyn Monitor>) -> Arc<dyn Sink> {
        self.destination.open(&self.pool, &self.mapping, &self.sink_options(), Arc::clone(monitor))
    }

    /// Lets every page of the source's units flow into `outlet`.
    async fn flow(
        &self,
        outlet: Outlet,
        checkpoint: Checkpoint,
        stop: &CancellationToken,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<Ended> {
        let (units, pool) = (self.source.description().units.clone(), Arc::clone(&self.pool));
        let work = Work::new(checkpoint, pool, Owner::this_process(), units, &self.before, Arc::clone(monitor), stop);
        let mut options = self.options.pipeline.clone();
        (options.seed, options.page_bytes) = (self.settings.seed, self.settings.page_bytes);
        let flow = Flow::new(Arc::clone(&self.source), &self.mapping, outlet, work, options, stop.clone())?;
        pipeline::run(flow).await
    }

    fn sink_options(&self) -> SinkOptions<'_> {
        SinkOptions {
            facts: &self.facts,
            run: self.checkpoint.run(),
            on_conflict: self.options.on_conflict,
            changes: self.source.description().changes,
            tables: &self.settings.tables,
            live_target: self.settings.live_target,
            source_stands_still: self.source.description().exact,
            writers: self.options.pipeline.writers,
            loading: self.loading.clone(),
            seed: self.settings.seed,
            health: self.health.clone(),
        }
    }

    /// All units are done: proves that everything is accounted for and that the target is still the one it was.
    async fn finish(&self, monitor: &Arc<dyn Monitor>) -> Result<()> {
        let totals = self.checkpoint.totals().await?;
        let (items, exact) = (self.source.description().items, self.source.description().exact);
        if (exact && totals.read != items) || totals.loaded != totals.spilled || !totals.add_up() {
            // Every unit was done a moment ago: either the server lost commits since, or something is badly wrong, which
            // another round will not change.
            return Err(Error::new(
                ErrorKind::Transient,
                format!(
                    "run {}: {} items are accounted for, the source declares {items}; the run is not complete",
                    self.checkpoint.run(),
                    totals.read
                ),
            ));
        }
        self.check_unchanged(&totals).await?;
        if self.settings.clustered {
            self.quote_rejects().await?;
        }
        self.checkpoint.complete().await?;
        monitor.event(&Event::RunComplete);
        self.checkpoint.end_copy(&self.pool, &self.source.description().table, &self.loaded_tables()).await?;
        self.clear_spill().await;
        Ok(())
    }

    /// The tables that this run loads while live writers may remove rows from them. A run of changes loads none: it is such
    /// a writer itself; and a DynamoDB target has no tables that remember.
    fn loaded_tables(&self) -> Vec<String> {
        let loads = !self.source.description().changes;
        self.settings.tables.iter().filter(|_| loads).map(|table| table.name.clone()).collect()
    }

    async fn report(&self, status: Status) -> Result<Report> {
        let totals = self.checkpoint.totals().await?;
        let description = self.source.description();
        let names: Vec<String> = self.mapping.tables().iter().map(|table| table.name.clone()).collect();
        let rejected = totals.outcomes().rejected;
        let rejects_file = if rejected > 0 { Some(self.export_rejects().await?) } else { None };
        let since = if rejected > 0 { Some(self.checkpoint.reject_states().await?) } else { None };
        let status = if status == Status::Complete && rejected > 0 { Status::CompleteWithRejects } else { status };
        let mut report = Report {
            status,
            run: self.checkpoint.run().to_owned(),
            source: description.identity.clone(),
            target: self.destination.to_string(),
            table: description.table.clone(),
            items: description.items,
            exact: description.exact,
            read: 0,
            bytes: 0,
            outcomes: totals.outcomes(),
            skipped: 0,
            removed: description.changes.then_some(0),
            superseded: description.changes.then_some(0),
            tables: Vec::new(),
            rejects_since: since.filter(|states| states.open < states.total()),
            failures: Vec::new(),
            rejects_file,
            kept_until: None,
            seed: self.settings.seed,
            process: crate::report::ProcessReport::default(),
            load_method: if self.loading.is_some() { "load-data" } else { "insert" },
            version: env!("CARGO_PKG_VERSION"),
            server: self.facts.server.clone(),
        };
        report.set_counts(&totals, &names);
        Ok(report)
    }

    async fn export_rejects(&self) -> Result<String> {
        let default = || Path::new(&format!("{}.rejects.jsonl", self.checkpoint.run())).to_path_buf();
        let path = self.options.rejects.clone().unwrap_or_else(default);
        let units = &self.source.description().units;
        let names = |unit: u32| units.get(unit as usize).map(|unit| unit.name.as_str()).unwrap_or_default();
        pipeline::reject::export(&self.checkpoint, &path, &names).await?;
        Ok(path.display().to_string())
    }
}

/// The fingerprint and the defaults of a new run.
fn derived(source: &Arc<dyn Source>, mapping: &Mapping, options: &Options) -> Settings {
    Settings {
        source: source.description().identity.clone(),
        mapping: mapping.identity(),
        on_conflict: options.on_conflict.name().to_owned(),
        live_target: options.live_target,
        tables: Vec::new(),
        seed: options.pipeline.seed,
        page_bytes: options.pipeline.page_bytes,
        items: source.description().items,
        derived: source.description().derived.clone(),
        clustered: false,
        begun_us: None,
        compares: None,
        as_of_us: source.as_of_us().filter(|_| !source.description().changes),
        follows: options.follows.clone(),
    }
}

/// Asks a target for its dialect, for the `schema` verb.
///
/// # Errors
/// Of connecting.
pub async fn dialect_of(target: &Target) -> Result<Dialect> {
    match target {
        Target::Null => Ok(Dialect::MySql),
        Target::Sqlite(_) => Ok(Dialect::Sqlite),
        Target::MySql(_) => Ok(Session::open(target).await?.dialect()),
    }
}
