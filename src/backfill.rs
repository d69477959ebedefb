//! The verb: everything an export holds becomes durable in the target, once, and is accounted for.
//!
//! Order of things: look at the target and refuse what would lose data; find or begin the run; let the pages flow;
//! look at the target again; mark the run complete; write the rejects; report.

use crate::checkpoint::follows::Follows;
use crate::checkpoint::owner::Owner;
use crate::checkpoint::phases::Phases;
use crate::checkpoint::run::{Checkpoint, RunState, Settings};
use crate::driver::pool::Pool;
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Mapping;
use crate::model::counts::Counts;
use crate::model::dialect::Dialect;
use crate::monitor::Monitor;
use crate::pipeline::work::Work;
use crate::pipeline::{self, Ended, Flow, Outlet};
use crate::report::{Report, Status};
use crate::sink::destination::{Destination, Facts, SinkOptions};
use crate::sink::health::{Health, HealthOptions};
use crate::sink::load_method::LoadMethod;
use crate::sink::{OnConflict, Sink};
use crate::source::Source;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

mod beginning;
mod checks;
mod clustered;
mod ending;
mod indexes;
mod locked;
mod order;
pub mod replaying;

pub use order::LoadOrder;

/// How often the end of a run is tried on a server that keeps going away.
const FINISHES_MAX: u32 = 5;

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
