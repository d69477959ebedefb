//! Sorted runs on disk and the pieces they are loaded in, as the database knows them.
//!
//! A sorted run counts when its row is here: its spans were recorded by the same transaction, with the claims proved.
//! So a lost run tells which spans are to be read again, and no others. Pieces are units like those of the source, with
//! numbers after them: claimed, fenced and resumed by the same code. Knows no files.

use super::ledger::{self, number, read_fence};
use super::rejects::{self, NewReject};
use super::run::{Checkpoint, big, broken, insert_units, int, text};
use super::schema;
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::batch::{Commit, Fence};
use crate::model::counts::Counts;
use crate::model::page::{Span, Unit, UnitId};
use crate::model::rows::CellRef;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A span of a sorted run, with the claim to prove and what its transaction records.
#[derive(Debug)]
pub struct SpilledSpan<'a> {
    /// The claim that must still hold.
    pub fence: Fence,
    /// The span.
    pub span: Span,
    /// Where a live unit goes on after it: such spans come in their order, and the ledger must end where they begin.
    pub reached: Option<&'a str>,
    /// How its items ended so far.
    pub counts: &'a Counts,
    /// Its rejects.
    pub rejects: Vec<NewReject<'a>>,
}

/// A span as a run's row keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredSpan {
    unit: UnitId,
    from: u64,
    to: u64,
    counts: Counts,
}

/// How recording a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is durable.
    Done,
    /// A claim is not what it was: nothing was recorded.
    Fenced,
}

/// A key range of one target table, loaded by one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPiece {
    /// The unit it is.
    pub unit: UnitId,
    /// The table, in the mapping's order.
    pub table: usize,
    /// The first sort key; none: from the beginning.
    pub from: Option<Vec<u8>>,
    /// The sort key after the last; none: to the end.
    pub to: Option<Vec<u8>>,
}

impl Checkpoint {
    /// Records the sorted run `name`, whose `facts` say how to find and check it, with all its spans: one transaction.
    /// Safe to do twice.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record_spill(&self, name: &str, facts: &str, spans: &[SpilledSpan<'_>]) -> Result<Recorded> {
        let stored = spans.iter().map(|spilled| {
            let Span { unit, from, to } = spilled.span;
            StoredSpan { unit, from, to, counts: spilled.counts.clone() }
        });
        let stored = serde_json::to_string(&stored.collect::<Vec<_>>())
            .map_err(|error| crate::error::Error::internal("a sorted run's spans as JSON").because(error))?;
        let context = (self.run.as_str(), name, facts, stored.as_str(), spans);
        self.retrying("recording a sorted run", &context, |session, (run, name, facts, stored, spans)| {
            Box::pin(async move {
                session.begin().await?;
                let sql = "SELECT 1 FROM _transvase_spills WHERE run = ? AND spill = ?";
                if !session.fetch(sql, &[text(run), text(name)]).await?.is_empty() {
                    session.rollback().await?;
                    return Ok(Recorded::Done);
                }
                if !record_spans(session, run, spans).await? {
                    session.rollback().await?;
                    return Ok(Recorded::Fenced);
                }
                let sql = "INSERT INTO _transvase_spills (run, spill, facts, spans) VALUES (?, ?, ?, ?)";
                let cells = [text(run), text(name), text(facts), text(stored)];
                session.execute(&Statement::new(sql.to_owned()), cells.into_iter()).await?;
                session.commit().await?;
                Ok(Recorded::Done)
            })
        })
        .await
    }

    /// The facts of every sorted run.
    ///
    /// # Errors
    /// Of the database.
    pub async fn spills(&self) -> Result<Vec<String>> {
        const SQL: &str = "SELECT facts FROM _transvase_spills WHERE run = ? ORDER BY spill";
        self.retrying("reading the sorted runs", &self.run, |session, run| {
            Box::pin(async move {
                let rows = session.fetch(SQL, &[text(run)]).await?;
                rows.iter().map(|row| row[0].text().ok_or_else(|| broken("a sorted run"))).collect()
            })
        })
        .await
    }

    /// Sorted runs were lost: their spans, and no others, are to be read again. Returns how many items that is.
    ///
    /// # Errors
    /// Of the database.
    pub async fn lose_spills(&self, names: &[String]) -> Result<u64> {
        self.retrying("queueing a lost run's items again", &(self.run.as_str(), names), |session, (run, names)| {
            Box::pin(async move {
                session.begin().await?;
                let items = lose_once(session, run, names).await?;
                session.commit().await?;
                Ok(items)
            })
        })
        .await
    }

    /// Stores the pieces of `spills` sorted runs, unless there are some already; they are claimed in this order. False, and
    /// nothing is stored, when not all is sorted: a server that crashed a moment ago has forgotten runs that it had
    /// acknowledged. Once pieces are stored, so is whatever was committed before them.
    ///
    /// # Errors
    /// Of the database.
    pub async fn create_pieces(&self, spills: usize, pieces: &[StoredPiece]) -> Result<bool> {
        let context = (self.run.as_str(), spills, pieces, self.incarnation);
        self.retrying("storing the pieces", &context, |session, (run, spills, pieces, incarnation)| {
            Box::pin(async move {
                const OPEN: &str = "SELECT COUNT(*) FROM _transvase_units WHERE run = ? AND state = 'open'";
                const SPILLS: &str = "SELECT COUNT(*) FROM _transvase_spills WHERE run = ?";
                session.begin().await?;
                // The run's row is the lock of whoever creates pieces.
                let lock = schema::for_update(session.dialect());
                session.fetch(&format!("SELECT state FROM _transvase_runs WHERE run = ?{lock}"), &[text(run)]).await?;
                let mut all_sorted = true;
                if fetch_pieces(session, run).await?.is_empty() {
                    let (open, found) = (count(session, OPEN, run).await?, count(session, SPILLS, run).await?);
                    all_sorted = open == 0 && found == *spills as u64;
                    if all_sorted {
                        insert_pieces(session, run, u32::try_from(*incarnation).unwrap_or(0), pieces).await?;
                    }
                }
                session.commit().await?;
                Ok(all_sorted)
            })
        })
        .await
    }

    /// The pieces; none before all runs are sorted.
    ///
    /// # Errors
    /// Of the database.
    pub async fn pieces(&self) -> Result<Vec<StoredPiece>> {
        self.retrying("reading the pieces", &self.run, |session, run| Box::pin(fetch_pieces(session, run))).await
    }

    /// Forgets the sorted runs: all of them are loaded.
    ///
    /// # Errors
    /// Of the database.
    pub async fn forget_spills(&self) -> Result<()> {
        self.retrying("forgetting the sorted runs", &self.run, |session, run| {
            Box::pin(async move {
                let sql = Statement::new("DELETE FROM _transvase_spills WHERE run = ?".to_owned());
                session.execute(&sql, [text(run)].into_iter()).await.map(drop)
            })
        })
        .await
    }
}

async fn count(session: &mut Session, sql: &str, run: &str) -> FaultResult<u64> {
    let rows = session.fetch(sql, &[text(run)]).await?;
    number(&rows.first().ok_or_else(|| broken("a count"))?[0])
}

/// Proves every claim and records every span; false when a claim is another's.
async fn record_spans(session: &mut Session, run: &str, spans: &[SpilledSpan<'_>]) -> FaultResult<bool> {
    let fences: BTreeMap<UnitId, Fence> = spans.iter().map(|spilled| (spilled.fence.unit, spilled.fence)).collect();
    for fence in fences.into_values() {
        if read_fence(session, run, fence).await? != Some(fence.epoch) {
            return Ok(false);
        }
    }
    for spilled in spans {
        let (span, in_order) = (spilled.span, spilled.reached.is_some());
        if in_order && ledger::end(session, run, span.unit).await? != span.from {
            return Ok(false);
        }
        let commit = Commit { fence: spilled.fence, span, in_order };
        ledger::record(session, run, commit, spilled.reached, spilled.counts).await?;
        for reject in &spilled.rejects {
            rejects::record(session, run, reject).await?;
        }
    }
    Ok(true)
}

async fn lose_once(session: &mut Session, run: &str, names: &[String]) -> FaultResult<u64> {
    let lock = schema::for_update(session.dialect());
    let sql = format!("SELECT spill, spans FROM _transvase_spills WHERE run = ?{lock}");
    let mut sound: BTreeMap<UnitId, BTreeMap<u64, StoredSpan>> = BTreeMap::new();
    let mut lost: BTreeMap<UnitId, Vec<StoredSpan>> = BTreeMap::new();
    for row in session.fetch(&sql, &[text(run)]).await? {
        let name = row[0].text().unwrap_or_default();
        let spans: Vec<StoredSpan> = serde_json::from_str(&row[1].text().unwrap_or_default())
            .map_err(|_| broken("the spans of a sorted run"))?;
        for span in spans {
            if names.contains(&name) {
                lost.entry(span.unit).or_default().push(span);
            } else {
                sound.entry(span.unit).or_default().insert(span.from, span);
            }
        }
    }
    let mut items = 0;
    for (unit, spans) in &lost {
        items += spans.iter().map(|span| span.to - span.from).sum::<u64>();
        reopen(session, run, *unit, spans, sound.remove(unit).unwrap_or_default()).await?;
    }
    let delete = Statement::new("DELETE FROM _transvase_spills WHERE run = ? AND spill = ?".to_owned());
    for name in names {
        session.execute(&delete, [text(run), text(name)].into_iter()).await?;
    }
    Ok(items)
}

/// Makes a unit's ledger anew from the spans that are sound. Nobody who had claimed it goes on.
async fn reopen(
    session: &mut Session,
    run: &str,
    unit: UnitId,
    lost: &[StoredSpan],
    sound: BTreeMap<u64, StoredSpan>,
) -> FaultResult<()> {
    let (mut watermark, mut counts, mut rest) = (0, Counts::default(), Vec::new());
    for (from, span) in sound {
        if from == watermark {
            watermark = span.to;
            counts.add(&span.counts);
        } else {
            rest.push(span);
        }
    }
    let json = serde_json::to_string(&counts).map_err(|_| broken("a count"))?;
    let fence = Statement::new("UPDATE _transvase_fences SET epoch = epoch + 1 WHERE run = ? AND unit = ?".to_owned());
    session.execute(&fence, [text(run), int(unit)].into_iter()).await?;
    let delete = Statement::new("DELETE FROM _transvase_ledger WHERE run = ? AND unit = ?".to_owned());
    session.execute(&delete, [text(run), int(unit)].into_iter()).await?;
    let update = Statement::new(
        "UPDATE _transvase_units SET watermark = ?, counts = ?, state = 'open', owner = NULL WHERE run = ? AND unit = ?"
            .to_owned(),
    );
    session.execute(&update, [big(watermark), text(&json), text(run), int(unit)].into_iter()).await?;
    for span in rest {
        let fence = Fence { unit, epoch: 0 };
        let commit = Commit { fence, span: Span { unit, from: span.from, to: span.to }, in_order: false };
        ledger::record(session, run, commit, None, &span.counts).await?;
    }
    // Rejects without an item are not of the reading but of the loading: their rows are loaded, and stay refused.
    let delete = Statement::new(
        "DELETE FROM _transvase_rejects WHERE run = ? AND unit = ? AND position >= ? AND position < ? AND LENGTH(item) > 0"
            .to_owned(),
    );
    for span in lost {
        let cells = [text(run), int(unit), big(span.from), big(span.to)];
        session.execute(&delete, cells.into_iter()).await?;
    }
    Ok(())
}

async fn insert_pieces(session: &mut Session, run: &str, epoch: u32, pieces: &[StoredPiece]) -> FaultResult<()> {
    let units = pieces.iter().enumerate().map(|(index, piece)| Unit {
        id: piece.unit,
        name: format!("piece {} of {}", index + 1, pieces.len()),
        items: None,
    });
    let places: Vec<u32> = pieces.iter().map(|piece| piece.unit).collect();
    insert_units(session, run, epoch, &units.collect::<Vec<_>>(), &places).await?;
    let insert = Statement::new(
        "INSERT INTO _transvase_pieces (run, unit, target, key_from, key_to) VALUES (?, ?, ?, ?, ?)".to_owned(),
    );
    for piece in pieces {
        let from = piece.from.as_deref().map_or(CellRef::Null, CellRef::Bytes);
        let to = piece.to.as_deref().map_or(CellRef::Null, CellRef::Bytes);
        let cells = [text(run), int(piece.unit), big(piece.table as u64), from, to];
        session.execute(&insert, cells.into_iter()).await?;
    }
    Ok(())
}

async fn fetch_pieces(session: &mut Session, run: &str) -> FaultResult<Vec<StoredPiece>> {
    let sql = "SELECT unit, target, key_from, key_to FROM _transvase_pieces WHERE run = ? ORDER BY unit";
    let piece = |row: Vec<Fetched>| {
        let mut row = row.into_iter();
        let mut next = || row.next().ok_or_else(|| broken("a piece"));
        Ok(StoredPiece {
            unit: u32::try_from(number(&next()?)?).map_err(|_| broken("a piece"))?,
            table: usize::try_from(number(&next()?)?).map_err(|_| broken("a piece"))?,
            from: next()?.bytes(),
            to: next()?.bytes(),
        })
    };
    session.fetch(sql, &[text(run)]).await?.into_iter().map(piece).collect()
}
