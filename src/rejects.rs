//! The verbs over a run's rejects: list them, export them, try them again through another mapping, answer for them.
//!
//! The run's own counts stay as they are: it rejected so many. What has become of these since is told beside them, and adds
//! up to them.

use crate::checkpoint::follows::stream_run;
use crate::checkpoint::phases::Phases;
use crate::checkpoint::phases::covered::covers;
use crate::checkpoint::phases::mending::MendLock;
use crate::checkpoint::retries::{self, Place, Retry, RetrySettings};
use crate::checkpoint::review::{Filter, Kind};
use crate::checkpoint::run::{Checkpoint, RunState, Settings, name_of};
use crate::driver::fault::FaultKind;
use crate::driver::pool::Pool;
use crate::driver::session::{Fetched, Session};
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::model::decode::Decoder;
use crate::model::page::{Page, Span};
use crate::model::reject::RejectStates;
use crate::monitor::{Event, Monitor};
use crate::pipeline::reject;
use crate::pipeline::transform::encode;
use crate::sink::OnConflict;
use crate::sink::destination::DynamoDbTarget;
use crate::sink::dynamodb::{DynamoDbSink, DynamoDbSinkOptions, preflight};
use crate::sink::inspect::{self, Create, Inspected};
use crate::sink::replay::Replayed;
use crate::sink::sql::{SqlSink, SqlSinkOptions};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One that reads and writes, and one to spare.
const SESSIONS: usize = 2;

/// How long a retry holds the backfill lock of a migration for: one that takes longer goes on for as long as nobody takes it away.
const LEASE: Duration = Duration::from_secs(10 * 60);

/// Bytes of items of one transaction.
const PAGE_BYTES: usize = 4 << 20;

/// The rejects of a run.
pub struct Rejects {
    checkpoint: Checkpoint,
    pool: Arc<Pool>,
    settings: Settings,
    state: RunState,
}

/// What the rejects of a run are.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// The run.
    pub run: String,
    /// What has become of them.
    #[serde(flatten)]
    pub states: RejectStates,
    /// Those that are not settled, by kind.
    pub kinds: Vec<Kind>,
}

/// How rejects are tried again.
#[derive(Clone, Copy, Debug)]
pub struct RetryOptions {
    /// What to do about rows that are there.
    pub on_conflict: OnConflict,
    /// The application writes to the target tables too.
    pub live_target: bool,
    /// Create missing tables.
    pub create_tables: bool,
}

/// How a retry ended.
#[derive(Clone, Debug, Serialize)]
pub struct RetryReport {
    /// The run.
    pub run: String,
    /// The retry's number.
    pub retry: u64,
    /// Rejects that this process tried again.
    pub tried: u64,
    /// Whether every open reject was; otherwise the same command goes on.
    pub complete: bool,
    /// What has become of all rejects of the run.
    #[serde(flatten)]
    pub states: RejectStates,
}

impl Rejects {
    /// Those of the run called `run` in the control tables of `target`; of its only run, when it is not named.
    ///
    /// # Errors
    /// Of connecting; `Config` when there is no such run, or none is named and there are several.
    pub async fn open(target: &Target, run: Option<&str>) -> Result<Rejects> {
        if matches!(target, Target::Null) {
            return Err(Error::config("null: keeps no rejects: name the database of the run"));
        }
        if let Target::Sqlite(path) = target
            && !path.exists()
        {
            return Err(Error::config(format!("{target}: there is no such file")));
        }
        let runs = runs(target).await?;
        let run = match (run, runs.as_slice()) {
            (Some(run), _) if runs.iter().any(|name| name == run) => run,
            (None, [only]) => only,
            (_, []) => return Err(Error::config(format!("{target} knows of no run"))),
            _ => return Err(Error::config(format!("name a run of {target} with --run: {}", runs.join(", ")))),
        };
        let pool = Arc::new(Pool::new(target.clone(), SESSIONS));
        let mut checkpoint = Checkpoint::open(Arc::clone(&pool), run).await?;
        let gone = || Error::config(format!("{target} knows of no run {run}"));
        let (settings, state) = checkpoint.load().await?.ok_or_else(gone)?;
        Ok(Rejects { checkpoint, pool, settings, state })
    }

    /// The run's name.
    #[must_use]
    pub fn run(&self) -> &str {
        self.checkpoint.run()
    }

    /// The tables that the run wrote to.
    #[must_use]
    pub fn tables(&self) -> Vec<&str> {
        self.settings.tables.iter().map(|table| table.name.as_str()).collect()
    }

    /// What they are, by kind.
    ///
    /// # Errors
    /// Of the database.
    pub async fn list(&self) -> Result<Listing> {
        let states = self.checkpoint.reject_states().await?;
        Ok(Listing { run: self.checkpoint.run().to_owned(), states, kinds: self.checkpoint.reject_kinds().await? })
    }

    /// Writes those that are not settled to `path`, as a backfill does, readable by its owner only.
    ///
    /// # Errors
    /// Of the database, and of writing the file.
    pub async fn export(&self, path: &Path) -> Result<RejectStates> {
        let names = self.checkpoint.unit_names().await?;
        let name = |unit| names.get(&unit).map(String::as_str).unwrap_or_default();
        reject::export(&self.checkpoint, path, &name).await?;
        self.checkpoint.reject_states().await
    }

    /// Has somebody answer for the open rejects that `filter` means; or, without `by` and `why`, takes sign-offs back. How many
    /// they are, and what has become of all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sign_off(&self, filter: &Filter, by: Option<(&str, &str)>) -> Result<(u64, RejectStates)> {
        let signed = self.checkpoint.sign_off(filter, by).await?;
        Ok((signed, self.checkpoint.reject_states().await?))
    }

    /// Tries every open reject again, through `mapping`, until all were tried or a stop is requested. Rows go to the run's
    /// database, or items into the DynamoDB table that the run wrote to.
    ///
    /// # Errors
    /// `Refused` when the run is not complete, when changes were applied since, or an item would meet another's row; `Config` for tables that cannot take the
    /// rows; of the database.
    pub async fn retry(
        &self,
        mapping: &Mapping,
        into: Option<&DynamoDbTarget>,
        options: RetryOptions,
        (stop, monitor): (&CancellationToken, &Arc<dyn Monitor>),
    ) -> Result<RetryReport> {
        let run = self.checkpoint.run();
        self.check_not_overtaken().await?;
        if self.state != RunState::Complete {
            return Err(Error::refused(format!(
                "run {run} is not complete: finish it first, with as many --max-rejects as it needs"
            )));
        }
        if self.settings.tables.is_empty() {
            return Err(Error::config(format!(
                "run {run} wrote to no table: there is nothing to try its rejects with"
            )));
        }
        let lock = if into.is_none() { self.mend_lock(options.on_conflict).await? } else { None };
        let (retry, sink) = self.begin(mapping, (into, lock), options, monitor).await?;
        let (mut tried, mut after) = (0, None);
        while !stop.is_cancelled() {
            let open = self.checkpoint.open_rejects(&retry, after, PAGE_BYTES).await?;
            let Some((last, _)) = open.last() else {
                self.checkpoint.end_retry(&retry).await?;
                monitor.event(&Event::RunComplete);
                break;
            };
            let last = *last;
            let page = page(&open);
            monitor.event(&Event::PageRead { span: page.span, bytes: page.bytes.len() });
            let places: Vec<Place> = open.iter().map(|(place, _)| *place).collect();
            let batch = tokio::task::block_in_place(|| {
                encode(page, mapping, &mut Decoder::default(), &format!("a page of the rejects of run {run}"))
            })?;
            let replayed = match &sink {
                Replaying::Rows(sink) => sink.replay(&batch, &places, &retry).await?,
                Replaying::Items(sink) => sink.replay(&batch, &places, &retry).await?,
            };
            if replayed == Replayed::Settled {
                tried += places.len() as u64;
                after = Some(last);
            }
        }
        let states = self.checkpoint.reject_states().await?;
        let complete = !stop.is_cancelled();
        Ok(RetryReport { run: run.to_owned(), retry: retry.number, tried, complete, states })
    }

    /// What was rejected is as of its run. Where later changes were applied since, it may be older than its row, or deleted;
    /// and a stream that was captured may be followed while it is tried again.
    async fn check_not_overtaken(&self) -> Result<()> {
        let run = self.checkpoint.run();
        let captured = Checkpoint::existing(Arc::clone(&self.pool), &stream_run(run)).await?.is_some();
        if !captured && !self.settings.reads_changes() && self.checkpoint.followed_by().await?.is_empty() {
            return Ok(());
        }
        Err(Error::refused(format!(
            "run {run}: what it rejected may have been overtaken by changes that are followed: mend the items at their \
             source and follow on; or, when nothing is followed any more, write what they are now through a mended \
             mapping with `transvase verify --repair`; or sign the rejects off"
        )))
    }

    /// The backfill lock, where the run's database is the target of a migration.
    async fn mend_lock(&self, on_conflict: OnConflict) -> Result<Option<MendLock>> {
        let Some(table) = self.settings.source_table() else { return Ok(None) };
        let lock = MendLock::take(&self.pool, table, self.checkpoint.run(), (LEASE, false)).await?;
        if lock.is_some() && on_conflict == OnConflict::Replace {
            return Err(Error::refused(format!(
                "migration {table}: --on-conflict replace would put what is older in the place of dual writes: leave it out"
            )));
        }
        if lock.as_ref().is_some_and(MendLock::is_dual) {
            self.check_covered(table).await?;
        }
        Ok(lock)
    }

    /// What was removed from the source alone, before the dual writes, has left no tombstone.
    async fn check_covered(&self, table: &str) -> Result<()> {
        let Some(phases) = Phases::existing(Arc::clone(&self.pool), &name_of(table)).await? else { return Ok(()) };
        let dual = phases.covered_since_us().await?;
        if self.settings.as_of_us.is_some_and(|reads| covers(reads, dual)) {
            return Ok(());
        }
        Err(retries::forgotten(self.checkpoint.run()))
    }

    /// Looks at the tables, and begins the retry or goes on with it.
    async fn begin(
        &self,
        mapping: &Mapping,
        (into, lock): (Option<&DynamoDbTarget>, Option<MendLock>),
        options: RetryOptions,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<(Retry, Replaying)> {
        let failed = |fault: crate::driver::fault::Fault| fault.into_error("connecting to the target");
        let mut loan = self.pool.take().await.map_err(failed)?;
        let (dialect, max_packet) = (loan.session.dialect(), loan.session.max_packet());
        let inspected = match into {
            Some(target) => self.inspect_items(target, mapping).await?,
            None => {
                let create = if options.create_tables { Create::TablesAndIndexes } else { Create::Nothing };
                inspect::inspect(&mut loan.session, mapping.tables(), create).await?
            }
        };
        self.pool.give_back(loan);
        for warning in &inspected.warnings {
            tracing::warn!("{warning}");
        }
        let settings = self.retry_settings(mapping, &inspected, options);
        let retry = self.checkpoint.begin_retry(&settings, lock).await?;
        let guarded = retry.settings.guarded.clone();
        let sink = SqlSinkOptions {
            run: self.checkpoint.run().to_owned(),
            on_conflict: options.on_conflict,
            changes: false,
            guarded: if into.is_none() { guarded.clone() } else { Vec::new() },
            write_rows: into.is_none(),
            writers: 1,
            loading: None,
        };
        let pool = Arc::clone(&self.pool);
        let sink = SqlSink::new(pool, mapping.tables(), dialect, max_packet, sink, Arc::clone(monitor));
        let Some(target) = into else { return Ok((retry, Replaying::Rows(sink))) };
        let items = DynamoDbSinkOptions {
            on_conflict: options.on_conflict,
            guarded: guarded.first().copied().unwrap_or(false),
            ..target.sink_options(mapping)
        };
        Ok((retry, Replaying::Items(target.sink(sink, items, Arc::clone(monitor)))))
    }

    /// What the retry is bound to.
    fn retry_settings(&self, mapping: &Mapping, inspected: &Inspected, options: RetryOptions) -> RetrySettings {
        let live_target = options.live_target || self.settings.live_target;
        // A table that was empty when the run began holds the run's rows alone; one that the run did not know, only what
        // this retry writes.
        let is_ours = |name: &str, empty_now: bool| {
            let then = self.settings.tables.iter().find(|table| table.name == name);
            then.map_or(empty_now, |table| table.empty_at_start)
        };
        let guarded =
            inspected.tables.iter().map(|table| !live_target && is_ours(&table.name, table.empty_at_start)).collect();
        RetrySettings {
            mapping: mapping.identity(),
            on_conflict: options.on_conflict.name().to_owned(),
            live_target,
            guarded,
        }
    }

    /// Looks at the DynamoDB table, which must be the one that the run wrote to.
    async fn inspect_items(&self, target: &DynamoDbTarget, mapping: &Mapping) -> Result<Inspected> {
        let (name, run) = (&target.description.name, self.checkpoint.run());
        let inspected = preflight::inspect(&target.db, name, mapping.target_key()).await?;
        let then = self.settings.tables.iter().find(|table| table.name == *name);
        let then = then
            .ok_or_else(|| Error::config(format!("run {run} wrote to {}, not to {name}", self.tables().join(", "))))?;
        if inspected.tables.iter().any(|now| now.identity != then.identity) {
            return Err(Error::refused(format!(
                "table {name} was made anew since run {run} wrote to it: its items are not there any more"
            )));
        }
        Ok(inspected)
    }
}

/// What rejects are written with.
enum Replaying {
    /// Rows, into the run's database.
    Rows(SqlSink),
    /// Items, into a DynamoDB table.
    Items(DynamoDbSink),
}

/// The runs that a database knows of. One that knows of none is left as it is.
async fn runs(target: &Target) -> Result<Vec<String>> {
    let mut session = Session::look(target).await?;
    match session.fetch("SELECT run, settings FROM _transvase_runs ORDER BY run", &[]).await {
        Ok(rows) => Ok(rows.iter().filter(|row| !is_verification(row)).filter_map(|row| row[0].text()).collect()),
        Err(fault) if fault.kind == FaultKind::Other => Ok(Vec::new()),
        Err(fault) => Err(fault.into_error("reading the runs")),
    }
}

/// Whether a run is a verification, which may have its state beside the run that it verifies, and rejects nothing.
fn is_verification(row: &[Fetched]) -> bool {
    let settings = row.get(1).and_then(Fetched::text);
    settings.is_some_and(|text| serde_json::from_str::<Settings>(&text).is_ok_and(|found| found.compares.is_some()))
}

/// The items as a page, numbered from zero.
fn page(open: &[(Place, Vec<u8>)]) -> Page {
    let mut bytes = Vec::with_capacity(open.iter().map(|(_, item)| item.len() + 1).sum());
    for (_, item) in open {
        bytes.extend_from_slice(item);
        bytes.push(b'\n');
    }
    let unit = open.first().map_or(0, |(place, _)| place.unit);
    Page { span: Span { unit, from: 0, to: open.len() as u64 }, bytes, reached: None, half_units: 0 }
}
