//! In which order rows are written: as they arrive, which is random in key order, or clustered. Decided once, when the run
//! begins, by what the server can hold in memory and what the disk can hold of sorted runs.

use super::Backfill;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::sink::destination::Destination;
use crate::spill::dir::free_bytes;

/// The order in which rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadOrder {
    /// As they arrive.
    Arrival,
    /// Sorted on local disk first, then in key order.
    Clustered,
    /// Whichever suits table, server and disk.
    Auto,
}

impl Backfill {
    /// Whether a new run is clustered.
    ///
    /// # Errors
    /// `Config` when it was asked for and cannot be.
    pub(super) async fn decide_order(&self) -> Result<bool> {
        match self.options.load_order {
            LoadOrder::Arrival => Ok(false),
            LoadOrder::Clustered => match self.cannot_cluster() {
                None => Ok(true),
                Some(why) => Err(Error::config(format!("--load-order clustered: {why}"))),
            },
            LoadOrder::Auto if self.cannot_cluster().is_some() => Ok(false),
            LoadOrder::Auto => self.is_worth_clustering().await,
        }
    }

    /// Why rows cannot be sorted on disk first; none when they can.
    fn cannot_cluster(&self) -> Option<&'static str> {
        if !matches!(self.destination, Destination::Sql(Target::MySql(_) | Target::Sqlite(_))) {
            return Some("only an SQL database has a key order to write in");
        }
        if self.source.description().changes {
            return Some("changes are applied in their own order");
        }
        if !self.source.description().exact {
            return Some(
                "needs an export: what a lost sorted run held is read again from the source, and a live table cannot be \
                 read twice alike",
            );
        }
        None
    }

    /// A table that the server holds in memory with ease is written in any order; a larger one is not.
    async fn is_worth_clustering(&self) -> Result<bool> {
        let Some(size) = self.source.description().bytes else { return Ok(false) };
        let pool = self.destination.buffer_pool_bytes(&self.pool).await?;
        // Rows take more room in a table than DynamoDB bills, and other tables want some of the pool.
        if size < pool / 2 {
            return Ok(false);
        }
        // Whole items as JSON, compressed, take no more than what they are billed for; typed rows take less.
        let allowed = self.options.spill_limit.unwrap_or(u64::MAX).min(free_bytes(&self.options.spill_dir)?);
        if allowed < size {
            tracing::warn!(
                "the table is larger than the server's buffer pool, but {} has room for {allowed} of the {size} bytes that \
                 sorted runs may take: rows are written as they arrive, which is slower (--spill-dir names another disk)",
                self.options.spill_dir.display()
            );
            return Ok(false);
        }
        tracing::info!("the table ({size} bytes) is larger than the server's buffer pool ({pool}): a clustered load");
        Ok(true)
    }
}
