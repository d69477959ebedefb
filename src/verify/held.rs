//! What the target holds now under some keys: rows of an SQL database, or items of a DynamoDB table.

use super::items::LiveItems;
use super::sides::{Line, mapped, pause};
use crate::driver::pool::Pool;
use crate::driver::session::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::limit::retry::Backoff;
use crate::mapping::Mapping;
use crate::model::counts::KeyCell;
use crate::model::dialect::Dialect;
use crate::model::difference::{Candidate, Kind};
use crate::model::rows::Rows;
use crate::sink::compare::ByKey;
use crate::sink::stored::{Found, Stored};
use std::sync::Arc;
use std::time::Duration;

/// How often a table may hold its answer back, and the pause before it is asked again.
const HELD_BACK_MAX: u32 = 60;
const HELD_BACK_PAUSE: Duration = Duration::from_millis(200);

/// What the target has for a key.
#[derive(Clone)]
pub(super) enum Theirs {
    /// This row of these.
    Row(Arc<Rows>, usize),
    /// None.
    Absent,
    /// It did not tell.
    HeldBack,
}

/// Looks target rows up by the keys of candidates.
pub(super) trait Held: Send + Sync {
    /// What there is for each, as it is now.
    fn find<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Theirs>>>;
}

/// The tables of an SQL database.
pub(super) struct Tables {
    pub(super) pool: Arc<Pool>,
    pub(super) stored: Vec<Stored>,
}

impl Tables {
    pub(super) fn new(pool: Arc<Pool>, mapping: &Mapping, dialect: Dialect) -> Self {
        Tables { pool, stored: mapping.tables().iter().map(|table| Stored::new(table, dialect)).collect() }
    }

    /// The rows of some keys of one table. Deadlocks and lost connections are waited out.
    async fn of_table(&self, table: usize, keys: &[&[KeyCell]]) -> Result<Found> {
        let stored = self.stored.get(table).ok_or_else(|| Error::internal("a difference of no table"))?;
        let (mut contention, mut reconnect) = (Backoff::contention(2), Backoff::reconnect(2));
        loop {
            let fault = match self.pool.take().await {
                Err(fault) => fault,
                Ok(mut loan) => match stored.find(&mut loan.session, keys).await {
                    Ok(found) => {
                        self.pool.give_back(loan);
                        return Ok(found);
                    }
                    Err(fault) => fault,
                },
            };
            pause(fault, &self.pool, &mut contention, &mut reconnect, "looking at target rows").await?;
        }
    }

    async fn find_all(&self, candidates: &[&Candidate]) -> Result<Vec<Theirs>> {
        let mut theirs = vec![Theirs::Absent; candidates.len()];
        for table in 0..self.stored.len() {
            let (places, keys): (Vec<usize>, Vec<&[KeyCell]>) = candidates
                .iter()
                .enumerate()
                .filter(|(_, candidate)| candidate.table == table)
                .map(|(place, candidate)| (place, candidate.key.as_slice()))
                .unzip();
            if keys.is_empty() {
                continue;
            }
            let found = self.of_table(table, &keys).await?;
            let rows = Arc::new(found.rows);
            for (place, at) in places.into_iter().zip(found.places) {
                theirs[place] = at.map_or(Theirs::Absent, |at| Theirs::Row(Arc::clone(&rows), at));
            }
        }
        Ok(theirs)
    }
}

impl Held for Tables {
    fn find<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Theirs>>> {
        Box::pin(self.find_all(candidates))
    }
}

/// The items of a DynamoDB table, by consistent reads.
pub(super) struct TableItems {
    pub(super) items: LiveItems,
    /// Items as they are, by the table's own key.
    pub(super) mapping: Arc<Mapping>,
}

impl TableItems {
    async fn find_all(&self, candidates: &[&Candidate]) -> Result<Vec<Theirs>> {
        let lines = self.items.read(None, candidates).await?;
        let rows = mapped(&self.mapping, candidates, &lines);
        let theirs = lines.iter().zip(rows).map(|(line, row)| match (line, row) {
            (Line::HeldBack, _) => Theirs::HeldBack,
            (_, Some((rows, at))) => Theirs::Row(rows, at),
            (_, None) => Theirs::Absent,
        });
        Ok(theirs.collect())
    }

    async fn rows_of(&self, table: usize, keys: &[Vec<KeyCell>]) -> Result<Rows> {
        let columns = self.mapping.tables().get(table).map_or(0, |table| table.columns.len());
        let mut all = Rows::new(columns);
        let candidate = |key: &Vec<KeyCell>| Candidate { table, key: key.clone(), kind: Kind::Missing, origin: None };
        let mut waiting: Vec<Candidate> = keys.iter().map(candidate).collect();
        for _ in 0..HELD_BACK_MAX {
            let asked: Vec<&Candidate> = waiting.iter().collect();
            let mut again = Vec::new();
            for (candidate, theirs) in asked.iter().zip(self.find_all(&asked).await?) {
                match theirs {
                    Theirs::Row(rows, at) => {
                        rows.row(at).for_each(|cell| all.cell_of(cell));
                        all.end_row(0);
                    }
                    Theirs::Absent => {}
                    Theirs::HeldBack => again.push((*candidate).clone()),
                }
            }
            if again.is_empty() {
                return Ok(all);
            }
            waiting = again;
            tokio::time::sleep(HELD_BACK_PAUSE).await;
        }
        let what = "the target table holds its answers back; run the same command again to go on";
        Err(Error::new(ErrorKind::Transient, what))
    }
}

impl Held for TableItems {
    fn find<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Theirs>>> {
        Box::pin(self.find_all(candidates))
    }
}

impl ByKey for TableItems {
    fn rows<'a>(&'a self, table: usize, keys: &'a [Vec<KeyCell>]) -> BoxFuture<'a, Result<Rows>> {
        Box::pin(self.rows_of(table, keys))
    }
}
