//! How far behind a target is: of each shard the last durable change, as the ledger tells, and how long ago it was made.
//!
//! It asks the database and nobody else, so what is measured is what a reader of the target would see; a sample counts from
//! before the question, so that its answer is not too young.

use crate::now_us;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use transvase::checkpoint::run::Checkpoint;
use transvase::driver::pool::Pool;
use transvase::driver::target::{Target, Tls};
use transvase::source::dynamodb_streams::lineage::Lineage;

/// Between two questions: a tenth of what is bounded would do.
const EVERY: Duration = Duration::from_millis(100);

/// Not counted: the first connections, and what has gathered until they stand.
const WARM_UP: Duration = Duration::from_secs(5);

/// Lags in milliseconds, sorted.
pub(crate) struct Figures(Vec<u64>);

/// Looks for so long.
///
/// # Errors
/// When the database cannot be asked, or nothing is followed into it.
pub(crate) async fn probe(to: &str, time: Duration) -> io::Result<Figures> {
    let pool = Arc::new(Pool::new(Target::parse(to, Tls::Off).map_err(io::Error::other)?, 1));
    let run = Checkpoint::existing(pool, "orders.stream").await.map_err(io::Error::other)?;
    let run = run.ok_or_else(|| io::Error::other("nothing is followed into this database"))?;
    let (began, mut lags) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        tokio::time::sleep(EVERY).await;
        let asked = now_us();
        let ledger = run.ledger(None).await.map_err(io::Error::other)?;
        let mut oldest = u64::MAX;
        for unit in ledger.values() {
            let reached = unit.reached.as_deref().map(Lineage::parse).transpose().map_err(io::Error::other)?;
            let read = reached.iter().flat_map(Lineage::reading).filter_map(|(_, position)| position.read.as_deref());
            oldest = read.filter_map(|read| read.trim_start_matches('0').parse().ok()).fold(oldest, u64::min);
        }
        if began.elapsed() > WARM_UP && oldest < u64::MAX {
            lags.push(asked.saturating_sub(oldest) / 1000);
        }
    }
    lags.sort_unstable();
    Ok(Figures(lags))
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent: usize| self.0.get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1)));
        write!(f, "{} looks, lag ms:", self.0.len())?;
        for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)] {
            write!(f, " {name} {}", at(percent).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}
