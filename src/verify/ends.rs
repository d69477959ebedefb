//! What settling needs of a source and a target, put together.

use super::case::Patience;
use super::held::{Held, TableItems, Tables};
use super::items::{ExportItems, LiveItems};
use super::mend::{Mender, TableMender};
use super::mend_items::ItemMender;
use super::sides::{Ends, Items};
use crate::checkpoint::phases::mending::MendLock;
use crate::driver::pool::Pool;
use crate::error::Result;
use crate::mapping::Mapping;
use crate::model::dialect::Dialect;
use crate::sink::compare::ByKey;
use crate::sink::dynamodb::conditional::Conditional;
use crate::source::Source;
use crate::source::lookup::Lookup;
use std::sync::Arc;

/// A source, and what it was copied to.
pub struct Pair {
    /// The source.
    pub source: Arc<dyn Source>,
    /// How its items become rows.
    pub mapping: Arc<Mapping>,
    /// What it was copied to.
    pub target: TargetEnd,
    /// Whether an application writes to the target.
    pub live_target: bool,
}

/// What a source was copied to.
#[derive(Clone)]
pub enum TargetEnd {
    /// An SQL database, by sessions to it, and what it speaks.
    Sql(Arc<Pool>, Dialect),
    /// A DynamoDB table.
    Items(ItemsEnd),
}

/// A DynamoDB table as a target.
#[derive(Clone)]
pub struct ItemsEnd {
    /// Its items as they are now.
    pub lookup: Arc<dyn Lookup>,
    /// Its items as they are, by its own key.
    pub mapping: Arc<Mapping>,
    /// Writes them.
    pub writes: Arc<Conditional>,
}

impl ItemsEnd {
    fn items(&self) -> Result<TableItems> {
        let keys = Arc::new(self.mapping.source_keys()?);
        let items = LiveItems { lookup: Arc::clone(&self.lookup), keys };
        Ok(TableItems { items, mapping: Arc::clone(&self.mapping) })
    }

    /// Looks its items up by their keys, as the rows that they are.
    ///
    /// # Errors
    /// Of the mapping: none, of one that leaves items as they are.
    pub fn by_key(&self) -> Result<Arc<dyn ByKey>> {
        Ok(Arc::new(self.items()?))
    }
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
        let held: Box<dyn Held> = match &self.target {
            TargetEnd::Sql(pool, dialect) => Box::new(Tables::new(Arc::clone(pool), &self.mapping, *dialect)),
            TargetEnd::Items(end) => Box::new(end.items()?),
        };
        Ok(Arc::new(Ends::new(items, held, Arc::clone(&self.mapping))))
    }

    /// What mends the target; amid a migration under its `lock`.
    ///
    /// # Errors
    /// As [`sides`](Pair::sides).
    pub fn mender(&self, deletes_extras: bool, lock: Option<MendLock>) -> Result<Box<dyn Mender>> {
        let (live, mapping) = (self.live_items()?, Arc::clone(&self.mapping));
        Ok(match &self.target {
            TargetEnd::Sql(pool, dialect) => {
                let tables = Tables::new(Arc::clone(pool), &mapping, *dialect);
                Box::new(TableMender { tables, mapping, live, deletes_extras, lock })
            }
            TargetEnd::Items(end) => {
                Box::new(ItemMender { writes: Arc::clone(&end.writes), mapping, live, deletes_extras })
            }
        })
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
