//! What settling needs of a source and a target, put together.

use super::case::Patience;
use super::items::{ExportItems, LiveItems};
use super::mend::TableMender;
use super::sides::{Ends, Items};
use crate::driver::pool::Pool;
use crate::error::Result;
use crate::mapping::Mapping;
use crate::model::dialect::Dialect;
use crate::source::Source;
use std::sync::Arc;

/// A source, and the database that holds what it was copied to.
pub struct Pair {
    /// The source.
    pub source: Arc<dyn Source>,
    /// How its items become rows.
    pub mapping: Arc<Mapping>,
    /// Sessions to the target's database.
    pub pool: Arc<Pool>,
    /// What it speaks.
    pub dialect: Dialect,
    /// Whether an application writes to the target.
    pub live_target: bool,
}

impl Pair {
    /// What looks at both sides.
    ///
    /// # Errors
    /// `Config` when the items of a live source cannot be found by the keys of the rows.
    pub fn sides(&self) -> Result<Arc<Ends>> {
        let items: Box<dyn Items> = match self.live_items()? {
            Some(live) => Box::new(live),
            None => Box::new(ExportItems::new(Arc::clone(&self.source))),
        };
        Ok(Arc::new(Ends::new(items, Arc::clone(&self.pool), Arc::clone(&self.mapping), self.dialect)))
    }

    /// What mends the target.
    ///
    /// # Errors
    /// As [`sides`](Pair::sides).
    pub fn mender(&self, sides: &Arc<Ends>, deletes_extras: bool) -> Result<TableMender> {
        Ok(TableMender { ends: Arc::clone(sides), live: self.live_items()?, deletes_extras })
    }

    /// How often and how long to look.
    #[must_use]
    pub fn patience(&self) -> Patience {
        let live = self.live_target || self.source.lookup().is_some();
        if live { Patience::live() } else { Patience::still() }
    }

    fn live_items(&self) -> Result<Option<LiveItems>> {
        let Some(lookup) = self.source.lookup() else { return Ok(None) };
        Ok(Some(LiveItems { lookup, keys: Arc::new(self.mapping.source_keys()?) }))
    }
}
