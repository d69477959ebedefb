//! How fast a table is written: the gate, and the budget that its rates come from, looked at again now and then.

use crate::driver::dynamodb::{DynamoDb, TableDescription};
use crate::error::Result;
use crate::limit::budget::{Allowance, Budget, Capacity, Direction};
use crate::limit::gate::Gate;
use crate::limit::rate::Rate;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often the table's capacity is asked for again: it may be raised or lowered while the run goes on.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The pace of the writes to one table and its indexes.
pub struct Pace {
    gate: Gate,
    /// Where the rates come from; none where nothing is to be asked.
    watched: Option<Watched>,
}

struct Watched {
    budget: Budget,
    db: DynamoDb,
    table: String,
    looked: Mutex<Duration>,
}

impl Pace {
    /// For a table as it was found. Also says in words what the budget comes to.
    ///
    /// # Errors
    /// `Config` when the budget is a share of a capacity that nobody knows.
    pub fn new(db: DynamoDb, table: &TableDescription, budget: Budget) -> Result<(Self, String)> {
        let Allowance { rate, why } = allowance(budget, &table.write)?;
        let watched = Watched { budget, db, table: table.name.clone(), looked: Mutex::default() };
        let pace = Pace { gate: Gate::new(rate), watched: Some(watched) };
        pace.pace_indexes(budget, table);
        Ok((pace, why))
    }

    /// As fast as the table's throttles let it.
    #[must_use]
    pub fn unlimited() -> Self {
        Pace { gate: Gate::new(Rate::UNLIMITED), watched: None }
    }

    /// Where requests wait.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What holds the writes back, in plain words.
    #[must_use]
    pub fn limited_by(&self) -> Option<String> {
        self.gate.limited_by().map(|limit| limit.to_string())
    }

    /// Asks for the capacity now and then. A failure changes nothing: the writes will tell of a table that is gone.
    pub async fn tend(&self) {
        let Some(watched) = &self.watched else { return };
        {
            let mut looked = watched.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if self.gate.now().saturating_sub(*looked) < LOOK_AGAIN {
                return;
            }
            *looked = self.gate.now();
        }
        let found = watched.db.describe(&watched.table).await;
        match found.and_then(|table| Ok((allowance(watched.budget, &table.write)?, table))) {
            Ok((allowance, table)) => {
                self.gate.set_rate(allowance.rate);
                self.pace_indexes(watched.budget, &table);
            }
            Err(error) => tracing::warn!("table {}: its capacity could not be asked for: {error}", watched.table),
        }
    }

    /// An index has a capacity of its own, of which the same budget holds. One that says nothing of it, or a budget in
    /// units, which is meant for the table, leaves the index to its throttles.
    fn pace_indexes(&self, budget: Budget, table: &TableDescription) {
        if matches!(budget, Budget::Units(_)) {
            return;
        }
        for index in &table.indexes {
            if let Ok(allowance) = allowance(budget, &index.write) {
                self.gate.set_index_rate(&index.name, allowance.rate);
            }
        }
    }
}

fn allowance(budget: Budget, capacity: &Capacity) -> Result<Allowance> {
    budget.allow(capacity, None, Direction::Write)
}
