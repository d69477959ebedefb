//! Where a run's rows go and where its state is kept: the same SQL database, or a DynamoDB table and a database beside
//! it. The verb asks; which store answers is decided here and nowhere else.

use super::advice;
use super::dynamodb::pace::Pace;
use super::dynamodb::{DynamoDbSink, DynamoDbSinkOptions, TableRequests, preflight};
use super::health::Health;
use super::inspect::{self, Create, Inspected};
use super::load_method::{self, LoadMethod};
use super::sql::{SqlSink, SqlSinkOptions, overwrites};
use super::{OnConflict, Sink};
use crate::checkpoint::run::TargetTable;
use crate::driver::dynamodb::{DynamoDb, TableDescription};
use crate::driver::fault::Fault;
use crate::driver::pool::{Loan, Pool};
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::mapping::{Mapping, Table};
use crate::model::counts::Canary;
use crate::model::dialect::Dialect;
use crate::monitor::Monitor;
use std::fmt;
use std::sync::Arc;

/// Requests at once for each writer: one of them takes some milliseconds, a transaction of a page some dozens.
const REQUESTS_PER_WRITER: usize = 16;

/// Where rows go.
#[derive(Clone)]
pub enum Destination {
    /// Into an SQL database, which keeps the run's state as well; or nowhere.
    Sql(Target),
    /// Into a DynamoDB table.
    DynamoDb(Box<DynamoDbTarget>),
}

/// A DynamoDB table to write to.
#[derive(Clone)]
pub struct DynamoDbTarget {
    /// The client.
    pub db: DynamoDb,
    /// The table, as it was found.
    pub description: TableDescription,
    /// Paces the writes.
    pub pace: Arc<Pace>,
    /// Where the run's state is kept.
    pub state: Target,
}

/// The database of rows or state, as it was found.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What it speaks.
    pub dialect: Dialect,
    /// The largest statement it takes, in bytes.
    pub max_packet: usize,
    /// What takes the rows, for the report.
    pub server: String,
}

/// What a sink is opened with.
pub struct SinkOptions<'a> {
    /// The database that the sink's transactions go to.
    pub facts: &'a Facts,
    /// The run, as the control tables know it.
    pub run: &'a str,
    /// What to do about rows that are there.
    pub on_conflict: OnConflict,
    /// Batches are of changes, whose rows replace whatever is there.
    pub changes: bool,
    /// The target tables as they were when the run began.
    pub tables: &'a [TargetTable],
    /// The application writes to them too.
    pub live_target: bool,
    /// The source gives the same items at every reading.
    pub source_stands_still: bool,
    /// Transactions at once.
    pub writers: usize,
    /// The shuffle's seed.
    pub seed: u64,
    /// Sessions that LOAD DATA LOCAL; without them rows are inserted.
    pub loading: Option<Arc<Pool>>,
    /// Holds the writers when the database bears it badly.
    pub health: Option<Arc<Health>>,
}

impl DynamoDbTarget {
    /// What a sink for items of `mapping` is made from, one for few of them that nobody watches over.
    #[must_use]
    pub fn sink_options(&self, mapping: &Mapping) -> DynamoDbSinkOptions {
        DynamoDbSinkOptions {
            key: mapping.target_key().iter().map(|attribute| attribute.name.clone()).collect(),
            table: self.description.name.clone(),
            on_conflict: OnConflict::Keep,
            guarded: false,
            source_stands_still: false,
            again: true,
            requests: REQUESTS_PER_WRITER,
            seed: 0,
        }
    }

    /// A sink for the table that records in `journal`.
    #[must_use]
    pub fn sink(&self, journal: SqlSink, options: DynamoDbSinkOptions, monitor: Arc<dyn Monitor>) -> DynamoDbSink {
        let requests = Arc::new(TableRequests { db: self.db.clone(), table: self.description.name.clone() });
        DynamoDbSink::new(requests, Arc::clone(&self.pace), journal, options, monitor)
    }
}

impl Destination {
    /// The database of the control tables. `null:` keeps its ledger in memory, so that its counts add up by the same
    /// rules.
    #[must_use]
    pub fn state(&self) -> Target {
        match self {
            Destination::Sql(Target::Null) => Target::Sqlite(":memory:".into()),
            Destination::Sql(target) => target.clone(),
            Destination::DynamoDb(target) => target.state.clone(),
        }
    }

    /// Whether rows are written at all.
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self, Destination::Sql(Target::Null))
    }

    /// Whether what a live writer removes is remembered while the tables are loaded, so that no load brings it back.
    #[must_use]
    pub fn remembers_removals(&self) -> bool {
        matches!(self, Destination::Sql(_))
    }

    /// Asks the database of rows or state what it is.
    ///
    /// # Errors
    /// Of the database.
    pub async fn facts(&self, pool: &Pool) -> Result<Facts> {
        let mut loan = self.loan(pool).await?;
        let (dialect, max_packet) = (loan.session.dialect(), loan.session.max_packet());
        let server = match self {
            Destination::Sql(Target::Null) => "writes nothing".to_owned(),
            Destination::Sql(_) => inspect::server_version(&mut loan.session).await?,
            Destination::DynamoDb(target) => format!("DynamoDB; state in {}", target.state),
        };
        pool.give_back(loan);
        Ok(Facts { dialect, max_packet, server })
    }

    /// What would make a load of `bytes` bytes faster, a line each.
    ///
    /// # Errors
    /// Of the database.
    pub async fn advice(&self, pool: &Pool, mapping: &Mapping, bytes: u64) -> Result<Vec<String>> {
        let Destination::Sql(Target::MySql(_)) = self else { return Ok(Vec::new()) };
        let mut loan = self.loan(pool).await?;
        let lines = advice::advice(&mut loan.session, mapping.tables(), bytes).await;
        let lines = lines.map_err(|fault| fault.into_error("asking the server's settings"))?;
        pool.give_back(loan);
        Ok(lines.into_iter().map(|advice| advice.line).collect())
    }

    /// What the database of rows keeps of its tables in memory, in bytes.
    ///
    /// # Errors
    /// Of the database.
    pub async fn buffer_pool_bytes(&self, pool: &Pool) -> Result<u64> {
        let mut loan = self.loan(pool).await?;
        let bytes = inspect::buffer_pool_bytes(&mut loan.session).await?;
        pool.give_back(loan);
        Ok(bytes)
    }

    /// Looks at every target table; creates those that are missing when `create` says so and the store lets us.
    ///
    /// # Errors
    /// `Config` naming what cannot take the rows as they are.
    pub async fn inspect(&self, pool: &Pool, mapping: &Mapping, create: Create) -> Result<Inspected> {
        match self {
            Destination::Sql(Target::Null) => Ok(Inspected { tables: Vec::new(), warnings: Vec::new() }),
            Destination::Sql(_) => {
                let mut loan = self.loan(pool).await?;
                let inspected = inspect::inspect(&mut loan.session, mapping.tables(), create).await?;
                pool.give_back(loan);
                Ok(inspected)
            }
            Destination::DynamoDb(target) => {
                preflight::inspect(&target.db, &target.description.name, mapping.target_key()).await
            }
        }
    }

    /// Tries whether changes may be applied to every target table.
    ///
    /// # Errors
    /// `Config` naming a table whose rows this user may not replace or delete.
    pub async fn check_changeable(&self, pool: &Pool, mapping: &Mapping) -> Result<()> {
        if !matches!(self, Destination::Sql(Target::MySql(_))) {
            return Ok(());
        }
        let mut loan = self.loan(pool).await?;
        inspect::check_changeable(&mut loan.session, mapping.tables()).await?;
        pool.give_back(loan);
        Ok(())
    }

    /// What changes when a table of the target is made anew, altered or truncated, as far as its store tells; none when it is
    /// gone. `session` is one to the database of rows or state.
    ///
    /// # Errors
    /// Of the store.
    pub async fn identity(&self, session: &mut Session, table: &str) -> Result<Option<String>> {
        match self {
            Destination::Sql(_) => inspect::identity_of(session, table)
                .await
                .map_err(|fault| fault.into_error(&format!("looking at table {table}"))),
            Destination::DynamoDb(target) => target.db.describe(table).await.map(|found| Some(found.identity())),
        }
    }

    /// Which canaries' rows are no longer there. A DynamoDB table has none: it cannot be truncated, and a table that was
    /// made anew has another identity.
    ///
    /// # Errors
    /// Of the database.
    pub async fn missing<'c>(&self, pool: &Pool, mapping: &Mapping, canaries: &'c [Canary]) -> Result<Vec<&'c Canary>> {
        match self {
            Destination::DynamoDb(_) | Destination::Sql(Target::Null) => Ok(Vec::new()),
            Destination::Sql(_) => {
                let mut loan = self.loan(pool).await?;
                let missing = inspect::missing(&mut loan.session, mapping.tables(), canaries).await?;
                pool.give_back(loan);
                Ok(missing)
            }
        }
    }

    /// The sessions that load rows by LOAD DATA, for a sink that is opened with these options otherwise; none when rows
    /// are to be inserted. A table whose rows may be overwritten takes no loads.
    ///
    /// # Errors
    /// `Config` when loads were asked for by name and cannot be; of connecting.
    pub async fn loading(
        &self,
        method: LoadMethod,
        pool: &Pool,
        mapping: &Mapping,
        options: &SinkOptions<'_>,
    ) -> Result<Option<Arc<Pool>>> {
        let is_server = matches!(self, Destination::Sql(Target::MySql(_)));
        match method {
            LoadMethod::LoadData if options.changes => Err(Error::config(
                "--load-method load-data: changes replace rows, LOAD DATA would delete them first: leave the flag away",
            )),
            _ if options.changes => Ok(None),
            LoadMethod::LoadData if !is_server => {
                Err(Error::config(format!("--load-method load-data: {self} takes no LOAD DATA: leave the flag away")))
            }
            LoadMethod::LoadData | LoadMethod::Auto if is_server => {
                let guarded = guarded(options.tables, options.live_target);
                let overwrites = overwrites(options.on_conflict, &guarded, mapping.tables().len());
                let loadable = mapping.tables().iter().zip(overwrites).filter(|(_, overwrites)| !overwrites);
                let tables: Vec<&Table> = loadable.map(|(table, _)| table).collect();
                load_method::choose(method, pool, &tables, options.writers).await
            }
            _ => Ok(None),
        }
    }

    /// Opens the sink; its transactions go through `pool`.
    #[must_use]
    pub fn open(
        &self,
        pool: &Arc<Pool>,
        mapping: &Mapping,
        options: &SinkOptions<'_>,
        monitor: Arc<dyn Monitor>,
    ) -> Arc<dyn Sink> {
        let Facts { dialect, max_packet, .. } = *options.facts;
        let guarded = guarded(options.tables, options.live_target);
        let is_sql = matches!(self, Destination::Sql(_));
        let sql = SqlSinkOptions {
            run: options.run.to_owned(),
            on_conflict: options.on_conflict,
            changes: options.changes,
            guarded: if is_sql { guarded.clone() } else { Vec::new() },
            write_rows: is_sql && self.writes(),
            writers: options.writers,
            loading: options.loading.clone(),
        };
        let sql = SqlSink::new(Arc::clone(pool), mapping.tables(), dialect, max_packet, sql, Arc::clone(&monitor))
            .watched_by(options.health.clone());
        let Destination::DynamoDb(target) = self else { return Arc::new(sql) };
        let dynamodb = DynamoDbSinkOptions {
            on_conflict: if options.changes { OnConflict::Replace } else { options.on_conflict },
            guarded: !options.changes && guarded.first().copied().unwrap_or(false),
            source_stands_still: options.source_stands_still,
            again: false,
            requests: options.writers * REQUESTS_PER_WRITER,
            seed: options.seed,
            ..target.sink_options(mapping)
        };
        Arc::new(target.sink(sql, dynamodb, monitor))
    }

    async fn loan<'p>(&self, pool: &'p Pool) -> Result<Loan<'p>> {
        pool.take().await.map_err(|fault| self.unreachable(fault))
    }

    /// Why the database of rows or state cannot be reached.
    fn unreachable(&self, fault: Fault) -> Error {
        match self {
            Destination::Sql(target) => fault.into_error(&format!("connecting to {target}")),
            Destination::DynamoDb(target) => fault.into_error(&format!("connecting to the state in {}", target.state)),
        }
    }
}

/// By table: whether a row found there means that two items have one target key.
fn guarded(tables: &[TargetTable], live_target: bool) -> Vec<bool> {
    tables.iter().map(|table| table.empty_at_start && !live_target).collect()
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Sql(target) => write!(f, "{target}"),
            Destination::DynamoDb(target) => write!(f, "dynamodb://{}", target.description.name),
        }
    }
}
