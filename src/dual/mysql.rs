//! The store that is moved into: the tables of an SQL database, and what is kept of the migration beside them. MySQL, MariaDB and
//! SQLite.
//!
//! Promises: an item's rows are written as a backfill and a follower write them, by the same mapping; every transaction reads what
//! is committed when it asks; it waits for a lock some seconds at most; one that is not committed leaves nothing, and its session
//! goes back only when it is in order. Must not know: in which order the stores are written, and when to try again.

use super::stores::{Intent, Item, Key, Rows, Transaction};
use crate::checkpoint::phases::intents::{self, Open};
use crate::checkpoint::phases::{Phase, Phases, guards, prove};
use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::pool::{Loan, Pool};
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::Mapping;
use crate::sink::inspect::{self, Create};
use crate::sink::single::{Single, Unwritten};
use std::sync::Arc;
use std::time::Duration;

/// Heartbeats and the mender's reads must not wait behind writes.
const CONTROL_SESSIONS: usize = 2;

/// How an SQL database is reached.
#[derive(Clone, Copy, Debug)]
pub struct SqlOptions {
    /// Transactions at once.
    pub sessions: usize,
    /// The longest that an answer is waited for; a lock, half as long.
    pub request: Duration,
    /// A session that falls silent for so long is closed by the server, whatever locks it holds.
    pub idle: Duration,
    /// Create target tables that are missing.
    pub create_tables: bool,
}

impl Default for SqlOptions {
    fn default() -> Self {
        let (request, idle) = (Duration::from_secs(5), Duration::from_secs(20));
        SqlOptions { sessions: 8, request, idle, create_tables: false }
    }
}

/// The rows of one migration.
///
/// What a call needs while it waits lies on the heap, so that what is built from calls stays small.
pub struct SqlRows {
    pool: Arc<Pool>,
    phases: Phases,
    single: Single,
}

impl SqlRows {
    /// Those of a migration that was begun, in the tables of `mapping`.
    ///
    /// # Errors
    /// `Config` when there is no migration of this name, an item could not be read back from its rows, or the tables cannot take
    /// them; of the database.
    pub async fn open(target: &Target, migration: &str, mapping: Arc<Mapping>, options: SqlOptions) -> Result<SqlRows> {
        let mut target = target.clone();
        if let Target::MySql(mysql) = &mut target {
            (mysql.answer_max, mysql.idle_max) = (options.request, options.idle);
        }
        let control = Arc::new(Pool::new(target.clone(), CONTROL_SESSIONS));
        let begin = "begin it with `transvase phase lock`, then open the application's instances";
        let phases = Phases::existing(control, migration).await?;
        let phases =
            phases.ok_or_else(|| Error::config(format!("{target} knows of no migration {migration}: {begin}")))?;
        if phases.unsettled().await?.is_none() {
            return Err(Error::config(format!("migration {migration} was begun by an earlier version: {begin}")));
        }
        let pool = Arc::new(Pool::new(target, options.sessions));
        let fault = |fault: Fault| fault.into_error("opening the target");
        let mut loan = pool.take().await.map_err(fault)?;
        let session = &mut loan.session;
        let single = Single::new(Arc::clone(&mapping), session.dialect(), session.max_packet())?;
        let create = if options.create_tables { Create::TablesAndIndexes } else { Create::Nothing };
        inspect::inspect(session, mapping.tables(), create).await?;
        inspect::check_changeable(session, mapping.tables()).await?;
        pool.give_back(loan);
        Ok(SqlRows { pool, phases, single })
    }

    /// What is kept of the migration.
    #[must_use]
    pub fn phases(&self) -> &Phases {
        &self.phases
    }

    /// A session, and what was done with it; a session that is not in order is closed.
    async fn begun(&self) -> FaultResult<Loan<'_>> {
        let mut loan = self.pool.take().await?;
        loan.session.begin().await?;
        Ok(loan)
    }

    /// What a fault means; a lost connection takes the idle ones with it.
    fn error(&self, fault: Fault, what: &str) -> Error {
        if fault.spoils_session() {
            self.pool.lost();
        }
        fault.into_error(what)
    }

    fn unwritten(&self, unwritten: Unwritten, what: &str) -> Error {
        match unwritten {
            Unwritten::Fault(fault) => self.error(fault, what),
            Unwritten::Refused(reason) => Error::new(ErrorKind::Corrupt, format!("{what}: {reason}")),
        }
    }
}

impl Rows for SqlRows {
    type Transaction<'a> = SqlTransaction<'a>;

    async fn begin(&self) -> Result<SqlTransaction<'_>> {
        let begun = match Box::pin(self.begun()).await {
            // the server may have closed an idle session; nothing was done with it
            Err(fault) if fault.kind == FaultKind::Lost => {
                self.pool.lost();
                Box::pin(self.begun()).await
            }
            begun => begun,
        };
        let loan = begun.map_err(|fault| self.error(fault, "beginning a transaction"))?;
        Ok(SqlTransaction { rows: self, copied: false, loan: Some(loan) })
    }

    async fn row(&self, key: &Key) -> Result<Option<Item>> {
        const WHAT: &str = "reading a row";
        let mut loan = self.pool.take().await.map_err(|fault| self.error(fault, WHAT))?;
        let found = Box::pin(self.single.read(&mut loan.session, &key.text, false)).await;
        if !matches!(&found, Err(Unwritten::Fault(fault)) if fault.spoils_session()) {
            self.pool.give_back(loan);
        }
        found.map_err(|unwritten| self.unwritten(unwritten, WHAT))?.map(item).transpose()
    }

    async fn heartbeat(&self, writer: &str, stopped: Option<u64>, lease: Duration) -> Result<Option<Phase>> {
        Box::pin(self.phases.heartbeat(writer, stopped, lease)).await
    }

    async fn leave(&self, writer: &str) -> Result<()> {
        Box::pin(self.phases.leave(writer)).await
    }

    async fn fault(&self, writer: &str, what: &str) -> Result<()> {
        Box::pin(self.phases.fault(writer, what)).await
    }

    async fn ripe(&self, age: Duration, most: usize) -> Result<Vec<Intent>> {
        let ripe = Box::pin(self.phases.ripe(age, most)).await?;
        Ok(ripe.into_iter().map(|Open { id, key, attempt }| Intent { id, key: Key { text: key }, attempt }).collect())
    }

    async fn take_up(&self, intent: &Intent) -> Result<bool> {
        Box::pin(self.phases.take_up(&open(intent))).await
    }
}

fn open(intent: &Intent) -> Open {
    Open { id: intent.id, key: intent.key.text.clone(), attempt: intent.attempt }
}

fn item(text: Vec<u8>) -> Result<Item> {
    serde_json::from_slice(&text).map_err(|error| Error::internal("a row's item is no JSON").because(error))
}

/// One transaction. It is over with its first error; dropped, its session is closed, and the server undoes it.
pub struct SqlTransaction<'a> {
    rows: &'a SqlRows,
    /// Whether a copy may be made in the step that was proved. One that is to come may read an export that is older than a removal of
    /// now, though the last one is complete: so every removal leaves a tombstone.
    copied: bool,
    /// None when it is over.
    loan: Option<Loan<'a>>,
}

impl SqlTransaction<'_> {
    fn session(&mut self) -> Result<&mut Session> {
        let over = || Error::internal("a transaction is used after its end");
        Ok(&mut self.loan.as_mut().ok_or_else(over)?.session)
    }

    /// The answer; after an error the transaction is undone, and over.
    async fn settled<T>(&mut self, done: Result<T, Unwritten>, what: &str) -> Result<T> {
        let unwritten = match done {
            Ok(value) => return Ok(value),
            Err(unwritten) => unwritten,
        };
        let spoiled = matches!(&unwritten, Unwritten::Fault(fault) if fault.spoils_session());
        if let Some(mut loan) = self.loan.take().filter(|_| !spoiled)
            && loan.session.rollback().await.is_ok()
        {
            self.rows.pool.give_back(loan);
        }
        Err(self.rows.unwritten(unwritten, what))
    }
}

impl Transaction for SqlTransaction<'_> {
    async fn prove(&mut self) -> Result<Option<Phase>> {
        let name = self.rows.phases.migration();
        let found = prove(self.session()?, name).await;
        let phase = self.settled(found.map_err(Into::into), "proving the step").await?;
        self.copied = phase.as_ref().is_some_and(Phase::may_be_copied);
        Ok(phase)
    }

    async fn guard(&mut self, key: &Key) -> Result<()> {
        let name = self.rows.phases.migration();
        let locked = guards::lock(self.session()?, name, &key.text).await;
        self.settled(locked.map_err(Into::into), "locking a key").await
    }

    async fn row(&mut self, key: &Key) -> Result<Option<Item>> {
        let single = &self.rows.single;
        let found = Box::pin(single.read(self.session()?, &key.text, true)).await;
        self.settled(found, "reading a row").await?.map(item).transpose()
    }

    async fn write(&mut self, key: &Key, image: Option<&Item>) -> Result<()> {
        let (single, copied) = (&self.rows.single, self.copied);
        let text = image.map(serde_json::to_string).transpose();
        let text = text.map_err(|error| Error::internal("an item cannot be written as JSON").because(error))?;
        let written = Box::pin(single.write(self.session()?, &key.text, text.as_deref(), copied)).await;
        self.settled(written, "writing a row").await
    }

    async fn pending(&mut self, key: &Key) -> Result<bool> {
        let name = self.rows.phases.migration();
        let open = intents::is_open(self.session()?, name, &key.text).await;
        self.settled(open.map_err(Into::into), "reading the writes on record").await
    }

    async fn intend(&mut self, intent: &Intent) -> Result<()> {
        let name = self.rows.phases.migration();
        let recorded = intents::record(self.session()?, name, &open(intent)).await;
        self.settled(recorded.map_err(Into::into), "putting a write on record").await
    }

    async fn clear(&mut self, id: u64) -> Result<()> {
        let name = self.rows.phases.migration();
        let cleared = intents::clear(self.session()?, name, id).await;
        self.settled(cleared.map_err(Into::into), "taking a write off the record").await
    }

    async fn commit(mut self) -> Result<()> {
        let committed = self.session()?.commit().await;
        self.settled(committed.map_err(Into::into), "committing").await?;
        if let Some(loan) = self.loan.take() {
            self.rows.pool.give_back(loan);
        }
        Ok(())
    }
}
