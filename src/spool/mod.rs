//! Changes kept until they can be applied: a *spool*, a log of frames for each unit of a run, in a folder or in a bucket.
//!
//! 1. [`frame`]: a page of changes with where it begins and ends and what its source had reached, under a checksum; pure.
//! 2. [`log`]: the frames of one unit, in segments: appended, read from any frame on while they grow, released.
//! 3. [`store`]: where segments are: [`folder`], [`bucket`].
//!
//! Promises: what [`log::Log::append`] has returned from is durable. Frames join without a gap, and none is handed out
//! that is not what was written. What a crash left of a frame is cut off at the last whole one; damage before that is an
//! error. One process writes at a time. The room must not know streams or targets, nor what was applied: that is the
//! ledger's.

pub mod bucket;
pub mod folder;
pub mod frame;
pub mod log;
pub mod store;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::model::page::UnitId;
use crate::report::SpoolUsage;
use log::Log;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use store::Store;

/// What a spool's changes belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The stream that they come from.
    pub source: String,
    /// The run that applies them.
    pub run: String,
    /// What tells that run from others of its name.
    pub incarnation: u64,
    /// What the run derived from the source when it began: the same units.
    pub derived: String,
}

/// A spool, open in this process alone.
pub struct Spool {
    store: Arc<dyn Store>,
    label: Label,
    logs: Vec<Arc<Log>>,
}

impl Spool {
    /// Opens the spool in `store` for so many units of what `label` says; an empty store becomes one. Blocks: the last
    /// segment of each unit is read.
    ///
    /// # Errors
    /// `Refused` when it belongs to something else; `Corrupt` when what it holds is not what was written; the store's.
    pub fn open(store: Arc<dyn Store>, label: Label, units: u32) -> Result<Spool> {
        let text = serde_json::to_string(&label).map_err(|error| Error::internal("writing a label").because(error))?;
        let found = match store.label()? {
            Some(found) => found,
            None => {
                store.set_label(&text)?;
                text
            }
        };
        let name = store.name();
        let found: Label = serde_json::from_str(&found).map_err(|error| {
            Error::refused(format!("spool {name}: its label is not readable; give --spool an empty place"))
                .because(error)
        })?;
        if found != label {
            return Err(Error::refused(format!(
                "spool {name} holds changes of {} for run {}, begun by another capture than the one to be followed; remove \
                 it, or give --spool an empty place",
                found.source, found.run
            )));
        }
        let logs = (0..units).map(|unit| Log::recover(Arc::clone(&store), unit).map(Arc::new));
        Ok(Spool { logs: logs.collect::<Result<_>>()?, store, label })
    }

    /// Where it is.
    #[must_use]
    pub fn name(&self) -> String {
        self.store.name()
    }

    /// What it belongs to.
    #[must_use]
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The log of a unit.
    ///
    /// # Errors
    /// `Internal` for a unit that it was not opened for.
    pub fn log(&self, unit: UnitId) -> Result<&Arc<Log>> {
        self.logs.get(unit as usize).ok_or_else(|| Error::internal("the spool has no such unit"))
    }

    /// The logs of all units.
    #[must_use]
    pub fn logs(&self) -> &[Arc<Log>] {
        &self.logs
    }

    /// How many changes this process has captured, and how many are not handed out.
    #[must_use]
    pub fn usage(&self) -> SpoolUsage {
        let captured = self.logs.iter().map(|log| log.appended()).sum();
        let backlog = self.logs.iter().map(|log| log.backlog()).sum();
        SpoolUsage { place: self.name(), captured, backlog }
    }

    /// Whether each frame costs a request, so that few large ones are better than many small ones.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.store.segment_bytes() == 0
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spool({})", self.name())
    }
}
