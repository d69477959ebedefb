//! How the target bears the load: threads at work on the server, and how far its replicas are behind. Looked at every
//! second; too much of either, or a lag that nobody knows, holds the writers.

use crate::driver::pool::Pool;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// A session to look with: it must not wait behind data.
const SESSIONS: usize = 1;

/// What the target and its replicas must keep to.
#[derive(Clone, Debug, Default)]
pub struct HealthOptions {
    /// `Threads_running` on the target.
    pub max_threads_running: Option<u64>,
    /// How far a replica may be behind.
    pub max_replica_lag: Option<Duration>,
    /// Replicas that are asked; with a query and no replica the target is asked.
    pub replicas: Vec<Target>,
    /// A query whose first column is the lag in seconds, instead of SHOW REPLICA STATUS.
    pub lag_query: Option<String>,
}

/// Looks at the target.
pub struct Health {
    target: Pool,
    replicas: Vec<Pool>,
    options: HealthOptions,
}

impl Health {
    /// For the database at `target`; none when nothing is asked for.
    ///
    /// # Errors
    /// `Config` when a lag is to be kept and nobody is named who knows it, or the target is no server.
    pub fn new(target: &Target, options: HealthOptions) -> Result<Option<Arc<Health>>> {
        if options.max_threads_running.is_none() && options.max_replica_lag.is_none() {
            return Ok(None);
        }
        if !matches!(target, Target::MySql(_)) {
            return Err(Error::config(format!("{target} has no replicas and no threads: --max-… are for MySQL")));
        }
        let asked = match (&options.max_replica_lag, &options.lag_query, options.replicas.as_slice()) {
            (Some(_), None, []) => {
                return Err(Error::config(
                    "--max-replica-lag: name who knows the lag, --replica mysql://user@replica/database (may be given more \
                     than once), or ask the target, --replica-lag-query 'SELECT …'",
                ));
            }
            (Some(_), Some(_), []) => vec![target.clone()],
            (_, _, replicas) => replicas.to_vec(),
        };
        let replicas = asked.into_iter().map(|replica| Pool::new(replica, SESSIONS)).collect();
        Ok(Some(Arc::new(Health { target: Pool::new(target.clone(), SESSIONS), replicas, options })))
    }

    /// Why nobody should write now; none when all is well.
    pub async fn trouble(&self) -> Option<String> {
        if let Some(most) = self.options.max_threads_running
            && let Some(running) = self.threads_running().await
            && running > most
        {
            return Some(format!("MySQL threads running {running}, more than {most}"));
        }
        let most = self.options.max_replica_lag?;
        for replica in &self.replicas {
            let name = replica.target();
            match self.lag(replica).await {
                Ok(Some(lag)) if lag <= most.as_secs_f64() => {}
                Ok(Some(lag)) => return Some(format!("MySQL replica lag {lag:.1} s at {name}")),
                // What is not known may be anything: a replica that does not replicate falls behind for ever.
                Ok(None) => return Some(format!("MySQL replica lag unknown at {name}: it does not replicate")),
                Err(why) => return Some(format!("MySQL replica lag unknown at {name}: {why}")),
            }
        }
        None
    }

    /// None when the target cannot be asked: whoever writes will notice.
    async fn threads_running(&self) -> Option<u64> {
        let mut loan = self.target.take().await.ok()?;
        let rows = loan.session.fetch_named("SHOW GLOBAL STATUS LIKE 'Threads_running'").await.ok()?;
        self.target.give_back(loan);
        rows.first()?.get(1)?.1.text()?.parse().ok()
    }

    /// Seconds; none when the server says NULL, or that it is no replica.
    async fn lag(&self, replica: &Pool) -> Result<Option<f64>, String> {
        let failed = |fault: &dyn Display| fault.to_string();
        let mut loan = replica.take().await.map_err(|fault| failed(&fault.message))?;
        let query = self.options.lag_query.as_deref().unwrap_or("SHOW REPLICA STATUS");
        let rows = loan.session.fetch_named(query).await.map_err(|fault| failed(&fault.message))?;
        replica.give_back(loan);
        let Some(row) = rows.first() else { return Ok(None) };
        let own = self.options.lag_query.is_some();
        let is_lag = |name: &str| own || ["Seconds_Behind_Source", "Seconds_Behind_Master"].contains(&name);
        let cell = row.iter().find(|(name, _)| is_lag(name)).ok_or("its answer names no lag")?;
        let Some(text) = cell.1.text() else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| "its answer is no number of seconds".to_owned())
    }
}
