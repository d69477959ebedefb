//! The beginning: looks at the target, refuses what would lose data, and finds or begins the run. No row is written.

use super::{Backfill, Options};
use crate::checkpoint::certificates;
use crate::checkpoint::phases::covered::MARGIN_US;
use crate::checkpoint::run::{Checkpoint, RunState, Settings, name_of};
use crate::driver::fault::Fault;
use crate::driver::pool::Pool;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::model::counts::Counts;
use crate::sink::destination::Destination;
use crate::sink::health::Health;
use crate::sink::inspect::Create;
use crate::source::Source;
use crate::spill::dir::SpillDir;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::time::Duration;

/// Sessions beside the writers' own: claims, folds and heartbeats must not wait behind data.
const CONTROL_SESSIONS: usize = 2;

/// A session that fell silent for a lease is closed by the server, so that a process that was stopped inside a
/// transaction does not keep others from its units. Shorter than this, a busy machine would lose its sessions.
const IDLE_MIN: Duration = Duration::from_secs(2);

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
            let since = match (&migration, self.source.as_of_us()) {
                (None, as_of_us) => as_of_us,
                // what was removed in the minutes before may be in it; every tombstone since then is of dual writes, which lift it
                (Some(_), Some(as_of_us)) => Some(as_of_us - MARGIN_US),
                (Some(_), None) => Some(self.now().await? - MARGIN_US),
            };
            self.checkpoint.begin_load(&self.loaded_tables(), since).await?;
        }
        if state == RunState::Resumed {
            self.check_canaries().await?;
        }
        Ok(())
    }

    /// By the clock of the database of the run's state.
    pub(super) async fn now(&self) -> Result<i64> {
        let fault = |fault: Fault| fault.into_error("asking the target's clock");
        let mut loan = self.pool.take().await.map_err(fault)?;
        let now = certificates::now(&mut loan.session).await.map_err(fault)?;
        self.pool.give_back(loan);
        Ok(now)
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
