//! Items of the table looked up by key, by consistent reads that pass the same limiter and are paid from the same purse as
//! the scan's pages.

use super::Shared;
use crate::driver::dynamodb::{Found, Refusal, RefusalKind};
use crate::driver::session::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::limit::limiter::{Ask, Outcome};
use crate::source::Description;
use crate::source::lookup::{Looked, Lookup, Turn};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Looked-up keys lie anywhere in the table: to the limiter they are one key beside all segments.
const LANE: u32 = u32::MAX;

/// Before a segment's pages: somebody waits for a single answer.
const NEED: u64 = u64::MAX;

/// Batches that come to nothing one after the other before the lookup gives up: the limiter's waits add up to minutes.
const FAILURES_MAX: u32 = 28;

/// A consistent read is charged by the 4 KB, an absent item as one [developer guide, capacity units].
const UNIT_BYTES: f64 = 4096.0;

/// How much the last batch counts beside those before.
const NEW: f64 = 0.3;

/// Looks items up in a live table.
pub(super) struct TableLookup {
    shared: Arc<Shared>,
    /// Units that an item costs, as far as it is known.
    item_units: Mutex<f64>,
    failures: AtomicU32,
}

impl TableLookup {
    pub(super) fn new(shared: Arc<Shared>, table: &Description) -> TableLookup {
        let mean = table.bytes.map_or(0.0, |bytes| bytes as f64 / table.items.max(1) as f64);
        let units = (mean / UNIT_BYTES).ceil().max(1.0);
        TableLookup { shared, item_units: Mutex::new(units), failures: AtomicU32::new(0) }
    }

    fn took(&self, items: usize, units: f64) {
        let each = units / items.max(1) as f64;
        let mut mean = self.item_units.lock().unwrap_or_else(PoisonError::into_inner);
        *mean = (*mean * (1.0 - NEW) + each * NEW).max(1.0);
    }

    /// Books a refusal; an error when it is for good.
    fn refused(&self, refusal: Refusal) -> Result<()> {
        let mut usage = self.shared.usage();
        usage.retries += 1;
        match &refusal.kind {
            RefusalKind::Throttled(reasons) => {
                for reason in reasons {
                    *usage.throttled.entry(reason.to_string()).or_default() += 1;
                }
                Ok(())
            }
            RefusalKind::Unknown if self.failures.fetch_add(1, Ordering::Relaxed) + 1 < FAILURES_MAX => Ok(()),
            RefusalKind::Unknown => Err(Error::new(
                ErrorKind::Transient,
                format!(
                    "looking items up in table {}: {FAILURES_MAX} requests failed in a row; the last time: {}; run the same \
                     command again",
                    self.shared.table, refusal.message
                ),
            )),
            RefusalKind::ConditionFailed | RefusalKind::Value | RefusalKind::Denied | RefusalKind::Other => {
                Err(Error::config(format!("table {}: {}", self.shared.table, refusal.message)))
            }
        }
    }
}

impl Lookup for TableLookup {
    fn turn(&self, items: usize) -> BoxFuture<'_, Result<Turn<'_>>> {
        Box::pin(async move {
            self.shared.look_again().await;
            let each = *self.item_units.lock().unwrap_or_else(PoisonError::into_inner);
            let estimate = each * items as f64;
            let admission = self.shared.gate.admit(Ask { key: LANE, need: NEED, estimate }).await;
            if !self.shared.purse().reserve(estimate, 0.0) {
                return Err(Error::new(ErrorKind::Blocked, self.shared.spent()));
            }
            // paid when it is read; a turn that is not taken must not keep the money
            self.shared.purse().pay((estimate, 0.0), (0.0, 0.0));
            Ok(Turn { admission: Some(admission), estimate })
        })
    }

    fn read<'a>(&'a self, turn: Turn<'a>, keys: &'a [&'a [u8]]) -> BoxFuture<'a, Result<Vec<Looked>>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let answer = self.shared.driver.batch_get(&self.shared.table, keys).await;
            let (units, outcome) = match &answer {
                Ok(found) => (found.charged.units, Outcome::Charged(found.charged.units)),
                Err(Refusal { kind: RefusalKind::Throttled(reasons), .. }) => (0.0, Outcome::Throttled(reasons)),
                Err(_) => (turn.estimate, Outcome::Unknown),
            };
            self.shared.purse().pay((0.0, 0.0), (units, 0.0));
            if let Some(admission) = turn.admission {
                admission.settle(outcome);
            }
            match answer {
                Ok(found) => {
                    self.failures.store(0, Ordering::Relaxed);
                    self.shared.usage().read_units += units;
                    self.took(keys.len() - found.unprocessed.len(), units);
                    Ok(told(found))
                }
                Err(refusal) => self.refused(refusal).map(|()| vec![Looked::HeldBack; keys.len()]),
            }
        })
    }
}

fn told(found: Found) -> Vec<Looked> {
    let mut looked: Vec<Looked> =
        found.items.into_iter().map(|item| item.map_or(Looked::Absent, Looked::Item)).collect();
    for position in found.unprocessed {
        looked[position] = Looked::HeldBack;
    }
    looked
}
