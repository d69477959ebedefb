//! A bounded set of sessions to one target. Counts lost connections: each loss may hide lost commits, so each must be
//! followed by an audit of what is durable.

use super::fault::{Fault, FaultKind, FaultResult};
use super::rehearsal::Rehearsal;
use super::session::Session;
use super::target::Target;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The sessions of a run.
pub struct Pool {
    target: Target,
    idle: Mutex<Vec<(Session, Instant)>>,
    permits: Semaphore,
    losses: AtomicU64,
    /// Where statements are kept rather than sent.
    rehearsal: Option<Arc<Rehearsal>>,
}

/// A session on loan. Give it back when it is in order; dropped, it is closed.
pub struct Loan<'p> {
    /// The session.
    pub session: Session,
    _permit: SemaphorePermit<'p>,
}

impl Pool {
    /// At most `sessions` to `target`; an SQLite file has one, since it has one writer.
    #[must_use]
    pub fn new(target: Target, sessions: usize) -> Self {
        let sessions = if matches!(target, Target::Sqlite(_)) { 1 } else { sessions };
        let permits = Semaphore::new(sessions);
        Pool { target, idle: Mutex::default(), permits, losses: AtomicU64::new(0), rehearsal: None }
    }

    /// The same, of sessions that change nothing, and keep in `rehearsal` what they would have sent.
    #[must_use]
    pub fn rehearsing(self, rehearsal: Arc<Rehearsal>) -> Self {
        Pool { rehearsal: Some(rehearsal), ..self }
    }

    /// Where the sessions go.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// An idle session, or a new one; waits while all are on loan.
    ///
    /// # Errors
    /// The fault of connecting.
    pub async fn take(&self) -> FaultResult<Loan<'_>> {
        let closed = |_| Fault::new(FaultKind::Other, "pool", "the pool is closed");
        let permit = self.permits.acquire().await.map_err(closed)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = match idle {
            Some((session, since)) if !self.is_stale(since) => session,
            _ => match &self.rehearsal {
                Some(rehearsal) => Session::rehearse(&self.target, Arc::clone(rehearsal)).await?,
                None => Session::connect(&self.target).await?,
            },
        };
        Ok(Loan { session, _permit: permit })
    }

    /// Takes back a session that is in no transaction.
    pub fn give_back(&self, loan: Loan<'_>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((loan.session, Instant::now()));
    }

    /// Whether the server may close, or has closed, a session that idles since then: no reason to speak of a loss.
    fn is_stale(&self, since: Instant) -> bool {
        matches!(&self.target, Target::MySql(mysql) if since.elapsed() > mysql.idle_max / 2)
    }

    /// Says that a connection broke. The idle ones go to the same server: they are dropped too.
    pub fn lost(&self) {
        self.losses.fetch_add(1, Ordering::SeqCst);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many connections broke so far.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }
}
