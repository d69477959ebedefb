//! Secondary indexes that were put off until all rows are there: added by one statement a table, once the run is complete.
//! Safe to do twice: those that are there are left.

use super::Backfill;
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::Result;
use crate::mapping::ddl::add_indexes;
use crate::sink::inspect::index_names;
use std::time::Duration;

/// An index over a large table takes hours to build, and the server says nothing meanwhile.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Backfill {
    /// Adds the mapping's indexes that are missing, if they were put off.
    pub(super) async fn add_indexes(&self) -> Result<()> {
        let tables = self.mapping.tables();
        if !self.options.defer_indexes || tables.iter().all(|table| table.indexes.is_empty()) {
            return Ok(());
        }
        let mut target = self.destination.state();
        if let Target::MySql(mysql) = &mut target {
            (mysql.answer_max, mysql.idle_max) = (PATIENCE, PATIENCE);
        }
        let mut session = Session::open(&target).await?;
        for table in tables {
            let failed = |fault: crate::driver::fault::Fault| {
                fault.into_error(&format!("adding indexes to table {} (all rows are there)", table.name))
            };
            let there = index_names(&mut session, &table.name).await.map_err(failed)?;
            for statement in add_indexes(table, &there, session.dialect()) {
                tracing::info!("{statement}");
                session.run(&statement).await.map_err(failed)?;
            }
        }
        Ok(())
    }
}
