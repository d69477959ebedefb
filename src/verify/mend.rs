//! Mending: the target's row becomes what the source's item maps to, without undoing what an application writes meanwhile.
//!
//! One transaction of a few rows. Leave to read the source is waited for before it; then each row is *locked and looked at
//! again*, the source is read consistently *while the locks are held*, and what the items map to *now* is written. S is
//! the source, T the target; an application that writes to both does so in either order. The interleavings:
//!
//! | what | the application | why nothing of it is undone |
//! |---|---|---|
//! | a row that differs | S then T, S before our read | we write its value, and so does it |
//! | | S then T, S after our read | its T waits for our lock and comes last |
//! | | T then S, T before our lock | the row is not what was seen: nothing is written, we look again |
//! | | T then S, T after our lock | its T waits for our lock and comes last |
//! | | deletes S, then T; S before our read | there is no item: nothing is written; its delete of T follows |
//! | | deletes T, then S; T before our lock | the row is gone: nothing is written |
//! | a row that is missing | deletes S, then T | we *insert first*, which locks the key, and read S then: an item that is gone takes our row with it; a later delete of T waits for us and finds it |
//! | | inserts T before us | our insert meets its row: nothing is written |
//! | | inserts T after us | it waits for our lock and comes last |
//! | a row that is extra | S then T | an item that is there again keeps the row; later, its T comes after our delete |
//! | | T then S, T before our lock | the row is not what was seen |
//!
//! What is left are writes to T that leave no trace in it, with their write to S after our read: a delete of the row that
//! is missing, an update to the value that is there, or a dual write that takes longer than all the looks before. So every
//! mended key is *looked at again* after the longest pause, and a difference is mended anew; a row that we inserted and
//! whose item turns out to be gone is taken back, with or without leave to delete extras. In the end the source has its way.

use super::held::Tables;
use super::items::LiveItems;
use super::sides::{LOOKED_AT_ONCE, Line, Seen, mapped, pause, seen};
use crate::checkpoint::phases::mending::MendLock;
use crate::compare::Comparison;
use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::session::{BoxFuture, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::limit::retry::Backoff;
use crate::mapping::Mapping;
use crate::model::difference::{Candidate, Kind};
use crate::model::rows::Rows;
use crate::source::lookup::Turn;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Rows in one transaction whose items are read while they are locked: few, so that nobody waits long for them.
const ROWS_LIVE: usize = 16;

/// Nobody waits longer for the locks than for this read.
const HOLD_MAX: Duration = Duration::from_secs(2);

/// A difference to be mended, as it was seen last.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The key.
    pub candidate: &'a Candidate,
    /// Both sides.
    pub seen: &'a Seen,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It was written, and is to be looked at again.
    Done,
    /// One of the sides is no longer what was seen: nothing was written.
    Changed,
    /// The server does not take the row, by this error.
    Refused(String),
}

/// Mends differences.
pub trait Mender: Send + Sync {
    /// Whether a row may be deleted that has no item.
    fn deletes_extras(&self) -> bool;

    /// How many are mended together.
    fn at_once(&self) -> usize;

    /// Mends at most [`at_once`](Mender::at_once) differences.
    ///
    /// # Errors
    /// Of either side, when trying again is of no use.
    fn mend<'a>(&'a self, wanted: &'a [Wanted<'a>]) -> BoxFuture<'a, Result<Vec<Mended>>>;
}

/// Mends the tables of an SQL database.
pub(super) struct TableMender {
    pub(super) tables: Tables,
    /// How items become rows.
    pub(super) mapping: Arc<Mapping>,
    /// None where the source stands still: then what was seen of it holds.
    pub(super) live: Option<LiveItems>,
    pub(super) deletes_extras: bool,
    /// Of a migration's target: without it nothing is mended.
    pub(super) lock: Option<MendLock>,
}

/// A row of a transaction on its way.
enum Held {
    /// The row is locked, and what was seen.
    Locked,
    /// Ours, not yet durable.
    Inserted,
    /// Nothing is to be done.
    Ended(Mended),
}

/// The source's row as it is now.
pub(super) enum Now {
    Row(Arc<Rows>, usize),
    Absent,
    Unknown,
}

impl Mender for TableMender {
    fn deletes_extras(&self) -> bool {
        self.deletes_extras
    }

    fn at_once(&self) -> usize {
        if self.live.is_some() { ROWS_LIVE } else { LOOKED_AT_ONCE }
    }

    fn mend<'a>(&'a self, wanted: &'a [Wanted<'a>]) -> BoxFuture<'a, Result<Vec<Mended>>> {
        Box::pin(self.mend_all(wanted))
    }
}

impl TableMender {
    async fn mend_all(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Mended>> {
        // The order of keys is the order of locks.
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by(|left, right| by_key(wanted[*left].candidate, wanted[*right].candidate));
        let sorted: Vec<Wanted<'_>> = order.iter().map(|at| wanted[*at]).collect();
        let (mut contention, mut reconnect) = (Backoff::contention(3), Backoff::reconnect(3));
        let ended = loop {
            let turn = match &self.live {
                Some(live) => Some(live.lookup.turn(sorted.len()).await?),
                None => None,
            };
            let pool = &self.tables.pool;
            let fault = match pool.take().await {
                Err(fault) => fault,
                Ok(mut loan) => match self.transaction(&mut loan.session, turn, &sorted).await {
                    Ok(ended) => {
                        pool.give_back(loan);
                        break ended;
                    }
                    Err(Stopped::Error(error)) => {
                        if loan.session.rollback().await.is_ok() {
                            pool.give_back(loan);
                        }
                        return Err(error);
                    }
                    Err(Stopped::Fault(fault)) => {
                        if !fault.spoils_session() && loan.session.rollback().await.is_ok() {
                            pool.give_back(loan);
                        }
                        // Whether it was committed is not known: the next look tells.
                        if fault.kind == FaultKind::Lost {
                            pool.lost();
                            break vec![Mended::Done; sorted.len()];
                        }
                        fault
                    }
                },
            };
            if matches!(fault.kind, FaultKind::Blocked | FaultKind::Denied) {
                let tables = self.mapping.tables();
                let named: BTreeSet<&str> = sorted
                    .iter()
                    .filter_map(|one| tables.get(one.candidate.table))
                    .map(|table| table.name.as_str())
                    .collect();
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "mending needs the right to select, insert, update and delete in {}: error {}; nothing of these \
                         rows was written",
                        Vec::from_iter(named).join(", "),
                        fault.code
                    ),
                ));
            }
            pause(fault, pool, &mut contention, &mut reconnect, "mending rows").await?;
        };
        let mut results = vec![Mended::Changed; wanted.len()];
        for (at, mended) in order.into_iter().zip(ended) {
            results[at] = mended;
        }
        Ok(results)
    }

    async fn transaction(
        &self,
        session: &mut Session,
        turn: Option<Turn<'_>>,
        wanted: &[Wanted<'_>],
    ) -> std::result::Result<Vec<Mended>, Stopped> {
        if let Some(lock) = &self.lock {
            lock.extend(session).await?;
        }
        session.begin().await?;
        if let Some(lock) = &self.lock
            && !lock.prove(session).await?
        {
            return Err(Stopped::Error(lock.lost()));
        }
        let mut held = Vec::with_capacity(wanted.len());
        for one in wanted {
            held.push(self.hold(session, one).await?);
        }
        let now = now(self.live.as_ref(), &self.mapping, turn, wanted).await.map_err(Stopped::Error)?;
        let mut ended = Vec::with_capacity(wanted.len());
        for ((one, held), now) in wanted.iter().zip(held).zip(now) {
            ended.push(self.write(session, one, held, now).await?);
        }
        session.commit().await?;
        Ok(ended)
    }

    /// Locks the row, if it is still what was seen; inserts it where there was none, which locks it as well.
    async fn hold(&self, session: &mut Session, one: &Wanted<'_>) -> FaultResult<Held> {
        let Candidate { table, key, .. } = one.candidate;
        let Some(stored) = self.tables.stored.get(*table) else { return Ok(Held::Ended(Mended::Changed)) };
        let Some(target) = &one.seen.target else {
            let Some(source) = &one.seen.source else { return Ok(Held::Ended(Mended::Changed)) };
            return match stored.insert(session, &source.rows, source.at).await {
                Ok(()) => Ok(Held::Inserted),
                Err(fault) if fault.kind == FaultKind::Duplicate => Ok(Held::Ended(Mended::Changed)),
                Err(fault) if fault.kind == FaultKind::Value => Ok(Held::Ended(refused(&fault))),
                Err(fault) => Err(fault),
            };
        };
        let Some(row) = stored.lock(session, key).await? else { return Ok(Held::Ended(Mended::Changed)) };
        let digest = Comparison::new(&self.mapping).digest(*table, &row, 0);
        Ok(if digest == target.digest { Held::Locked } else { Held::Ended(Mended::Changed) })
    }

    async fn write(&self, session: &mut Session, one: &Wanted<'_>, held: Held, now: Now) -> FaultResult<Mended> {
        let Candidate { table, key, .. } = one.candidate;
        let Some(stored) = self.tables.stored.get(*table) else { return Ok(Mended::Changed) };
        let is_extra = one.seen.kind() == Some(Kind::Extra);
        let is_ours = matches!(held, Held::Inserted);
        let written = match (held, now) {
            (Held::Ended(ended), _) => return Ok(ended),
            (Held::Inserted, Now::Row(rows, at)) => {
                let ours = one.seen.source.as_ref().map(|row| (Arc::clone(&row.rows), row.at));
                let theirs = Some((Arc::clone(&rows), at));
                let both = seen(&mut Comparison::new(&self.mapping), *table, ours, theirs);
                if both.differing.is_empty() { Ok(()) } else { stored.update(session, &rows, at).await }
            }
            (Held::Inserted, Now::Absent | Now::Unknown) => {
                stored.delete(session, key).await?;
                return Ok(Mended::Changed);
            }
            (Held::Locked, Now::Row(rows, at)) if !is_extra => stored.update(session, &rows, at).await,
            (Held::Locked, Now::Absent) if is_extra => stored.delete(session, key).await,
            (Held::Locked, _) => return Ok(Mended::Changed),
        };
        match written {
            Ok(()) => Ok(Mended::Done),
            Err(fault) if fault.kind == FaultKind::Value => {
                if is_ours {
                    stored.delete(session, key).await?;
                }
                Ok(refused(&fault))
            }
            Err(fault) => Err(fault),
        }
    }
}

/// What the items map to now; `live` looks them up where the source does not stand still.
pub(super) async fn now(
    live: Option<&LiveItems>,
    mapping: &Mapping,
    turn: Option<Turn<'_>>,
    wanted: &[Wanted<'_>],
) -> Result<Vec<Now>> {
    let Some(live) = live else {
        let row = |one: &Wanted<'_>| match &one.seen.source {
            Some(row) => Now::Row(Arc::clone(&row.rows), row.at),
            None => Now::Absent,
        };
        return Ok(wanted.iter().map(row).collect());
    };
    let candidates: Vec<&Candidate> = wanted.iter().map(|one| one.candidate).collect();
    let Ok(lines) = tokio::time::timeout(HOLD_MAX, live.read(turn, &candidates)).await else {
        return Ok(wanted.iter().map(|_| Now::Unknown).collect());
    };
    let lines = lines?;
    let rows = mapped(mapping, &candidates, &lines);
    let now = |(line, row): (Line, Option<(Arc<Rows>, usize)>)| match (line, row) {
        (Line::HeldBack, _) => Now::Unknown,
        (_, Some((rows, at))) => Now::Row(rows, at),
        (_, None) => Now::Absent,
    };
    Ok(lines.into_iter().zip(rows).map(now).collect())
}

/// What ends a transaction without a commit.
enum Stopped {
    Fault(Fault),
    Error(Error),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Stopped::Fault(fault)
    }
}

/// The server's message may quote the value: its number says enough.
fn refused(fault: &Fault) -> Mended {
    Mended::Refused(format!("the server refuses the row: error {}", fault.code))
}

fn by_key(left: &Candidate, right: &Candidate) -> std::cmp::Ordering {
    use crate::model::counts::KeyCell::{Bytes, Int, Text};
    let cells = left.key.iter().zip(&right.key).map(|(left, right)| match (left, right) {
        (Int(left), Int(right)) => left.cmp(right),
        (Text(left), Text(right)) => left.cmp(right),
        (Bytes(left), Bytes(right)) => left.cmp(right),
        _ => std::cmp::Ordering::Equal,
    });
    left.table.cmp(&right.table).then_with(|| cells.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then))
}
