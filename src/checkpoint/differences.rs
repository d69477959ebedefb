//! What a verification found: keys at which source and target seemed to disagree, each until somebody has looked again.
//!
//! They become durable in the transaction of the span that found them. A span that is compared again finds the same ones,
//! which is no harm: a key is here once. Keys are the operator's to see; values are not kept here.

use super::ledger::{self, number};
use super::run::{Checkpoint, big, broken, int, text};
use crate::driver::fault::{FaultKind, FaultResult};
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::batch::Commit;
use crate::model::counts::Counts;
use crate::model::dialect::Dialect;
use crate::model::difference::{Candidate, Kind, Verdict};
use crate::model::hex;
use crate::model::rows::CellRef;
use crate::monitor::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Candidates in one statement.
const PER_INSERT: usize = 100;

/// Candidates fetched at once.
const PER_FETCH: usize = 500;

/// What tells a candidate from all others of its run: the table and its key's digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DifferenceId {
    table: usize,
    digest: String,
}

/// A candidate as the run holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is found by.
    pub id: DifferenceId,
    /// Where source and target seemed to disagree.
    pub candidate: Candidate,
    /// What became of it.
    pub verdict: Verdict,
    /// What whoever judged it noted.
    pub detail: Option<String>,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which one.
    pub id: DifferenceId,
    /// How the sides disagreed at last: a row that was missing may be there by now, and different.
    pub kind: Kind,
    /// What became of it.
    pub verdict: Verdict,
    /// What is to be noted.
    pub detail: Option<String>,
}

impl DifferenceId {
    /// That of a candidate.
    ///
    /// # Errors
    /// `Internal` when its key has no text.
    pub fn of(candidate: &Candidate) -> Result<Self> {
        let key = to_json(&candidate.key).map_err(|fault| fault.into_error("naming a difference"))?;
        Ok(DifferenceId { table: candidate.table, digest: digest(&key) })
    }
}

/// How many candidates of a table are of one kind and one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The table, in the mapping's order.
    pub table: usize,
    /// How they disagreed.
    pub kind: Kind,
    /// What became of them.
    pub verdict: Verdict,
    /// How many.
    pub count: u64,
}

/// How recording a compared span went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComparedSpan {
    /// It is durable, with these counts: by this attempt or an earlier one.
    Durable(Counts),
    /// The claim is not what it was; the epoch that was found.
    Fenced(Option<u64>),
    /// The unit's ledger does not end where the span begins.
    OutOfTurn,
}

/// Stores candidates in the transaction that the session is in; those that are there already stay as they are.
///
/// # Errors
/// The server's fault.
pub async fn record(session: &mut Session, run: &str, candidates: &[Candidate]) -> FaultResult<()> {
    for chunk in candidates.chunks(PER_INSERT) {
        let values = vec!["(?, ?, ?, ?, ?, ?, ?, 'open')"; chunk.len()].join(", ");
        let known = match session.dialect() {
            Dialect::Sqlite => "ON CONFLICT DO NOTHING",
            Dialect::MySql | Dialect::MariaDb => "ON DUPLICATE KEY UPDATE run = run",
        };
        let sql = Statement::new(format!(
            "INSERT INTO _transvase_differences (run, target, digest, key_cells, kind, unit, position, verdict) \
             VALUES {values} {known}"
        ));
        let keys = chunk.iter().map(|candidate| Ok((to_json(&candidate.key)?, word(candidate.kind)?)));
        let keys = keys.collect::<FaultResult<Vec<_>>>()?;
        let digests: Vec<String> = keys.iter().map(|(key, _)| digest(key)).collect();
        let cells = chunk.iter().zip(&keys).zip(&digests).flat_map(|((candidate, (key, kind)), digest)| {
            let (unit, position) =
                candidate.origin.map_or((CellRef::Null, CellRef::Null), |(unit, position)| (int(unit), big(position)));
            [text(run), big(candidate.table as u64), text(digest), text(key), text(kind), unit, position]
        });
        session.execute(&sql, cells).await?;
    }
    Ok(())
}

impl Checkpoint {
    /// Records a compared span with its last candidates: one transaction, which proves the claim and that the ledger ends
    /// where the span begins. Safe to do twice.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record_compared(
        &self,
        commit: Commit,
        reached: Option<&str>,
        counts: &Counts,
        candidates: &[Candidate],
    ) -> Result<ComparedSpan> {
        let context = (self, commit, reached, counts, candidates);
        self.retrying(
            "recording what was compared",
            &context,
            |session, (checkpoint, commit, reached, counts, found)| {
                Box::pin(compared_once(session, checkpoint, *commit, *reached, counts, found))
            },
        )
        .await
    }

    /// Stores candidates of a span before the span itself, when there are too many to be kept in memory until then.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record_candidates(&self, candidates: &[Candidate]) -> Result<()> {
        self.retrying("recording differences", &(self.run.as_str(), candidates), |session, (run, candidates)| {
            Box::pin(async move {
                session.begin().await?;
                record(session, run, candidates).await?;
                session.commit().await
            })
        })
        .await
    }

    /// The next candidates after one, in the order of their ids; those of one verdict, or all. Empty at the end.
    ///
    /// # Errors
    /// Of the database.
    pub async fn differences(&self, verdict: Option<Verdict>, after: Option<&DifferenceId>) -> Result<Vec<Difference>> {
        let of_verdict = if verdict.is_some() { " AND verdict = ?" } else { "" };
        let sql = format!(
            "SELECT target, digest, key_cells, kind, unit, position, verdict, detail FROM _transvase_differences \
             WHERE run = ? AND (target > ? OR (target = ? AND digest > ?)){of_verdict} \
             ORDER BY target, digest LIMIT {PER_FETCH}"
        );
        let verdict = verdict.map(word).transpose().map_err(|fault| fault.into_error("reading the differences"))?;
        let (table, digest) = after.map_or((CellRef::Int(-1), ""), |id| (big(id.table as u64), id.digest.as_str()));
        let mut cells = vec![text(&self.run), table, table, text(digest)];
        cells.extend(verdict.as_deref().map(text));
        self.retrying("reading the differences", &(sql.as_str(), cells), |session, (sql, cells)| {
            Box::pin(async move {
                let rows = session.fetch(sql, cells).await?;
                rows.into_iter().map(stored).collect()
            })
        })
        .await
    }

    /// Says what became of candidates, with whatever is to be noted about each: one transaction.
    ///
    /// # Errors
    /// Of the database.
    pub async fn judge(&self, judgements: &[Judgement]) -> Result<()> {
        if judgements.is_empty() {
            return Ok(());
        }
        self.retrying("recording verdicts", &(self.run.as_str(), judgements), |session, (run, judgements)| {
            Box::pin(async move {
                let sql = Statement::new(
                    "UPDATE _transvase_differences SET kind = ?, verdict = ?, detail = ? \
                     WHERE run = ? AND target = ? AND digest = ?"
                        .to_owned(),
                );
                session.begin().await?;
                for Judgement { id, kind, verdict, detail } in *judgements {
                    let (kind, verdict) = (word(*kind)?, word(*verdict)?);
                    let detail = detail.as_deref().map_or(CellRef::Null, text);
                    let key = [text(run), big(id.table as u64), text(&id.digest)];
                    session.execute(&sql, [text(&kind), text(&verdict), detail].into_iter().chain(key)).await?;
                }
                session.commit().await
            })
        })
        .await
    }

    /// The candidates of a verdict that come next after `after`, at most `most`, in the order of their places in the
    /// source (extras, which have none, first).
    ///
    /// # Errors
    /// Of the database.
    pub async fn differences_by_place(
        &self,
        verdict: Verdict,
        after: Option<&Difference>,
        most: usize,
    ) -> Result<Vec<Difference>> {
        let sql = format!(
            "SELECT target, digest, key_cells, kind, unit, position, verdict, detail FROM _transvase_differences \
             WHERE run = ? AND verdict = ? AND (COALESCE(unit, -1) > ? OR (COALESCE(unit, -1) = ? AND \
             (COALESCE(position, -1) > ? OR (COALESCE(position, -1) = ? AND (target > ? OR (target = ? AND digest > ?)))))) \
             ORDER BY COALESCE(unit, -1), COALESCE(position, -1), target, digest LIMIT {most}"
        );
        let verdict = word(verdict).map_err(|fault| fault.into_error("reading the differences"))?;
        let none = CellRef::Int(-1);
        let (unit, position) = match after.and_then(|after| after.candidate.origin) {
            Some((unit, position)) => (int(unit), big(position)),
            None => (if after.is_some() { none } else { CellRef::Int(-2) }, none),
        };
        let (table, digest) = after.map_or((none, ""), |after| (big(after.id.table as u64), after.id.digest.as_str()));
        let run = text(&self.run);
        let cells = [run, text(&verdict), unit, unit, position, position, table, table, text(digest)];
        self.retrying("reading the differences", &(sql.as_str(), cells), |session, (sql, cells)| {
            Box::pin(async move {
                let rows = session.fetch(sql, cells).await?;
                rows.into_iter().map(stored).collect()
            })
        })
        .await
    }

    /// Makes candidates that were confirmed, or never settled, open again: they are to be looked at anew, and mended.
    ///
    /// # Errors
    /// Of the database.
    pub async fn reopen_differences(&self) -> Result<()> {
        const SQL: &str = "UPDATE _transvase_differences SET verdict = 'open' \
                           WHERE run = ? AND verdict IN ('confirmed', 'unsettled')";
        self.retrying("reading the differences", &self.run, |session, run| {
            Box::pin(async move {
                session.execute(&Statement::new(SQL.to_owned()), [text(run)].into_iter()).await.map(drop)
            })
        })
        .await
    }

    /// How many candidates there are, by table, kind and verdict.
    ///
    /// # Errors
    /// Of the database.
    pub async fn tallies(&self) -> Result<Vec<Tally>> {
        const SQL: &str = "SELECT target, kind, verdict, COUNT(*) FROM _transvase_differences WHERE run = ? \
                           GROUP BY target, kind, verdict ORDER BY target, kind, verdict";
        self.retrying("counting the differences", &self.run, |session, run| {
            Box::pin(async move {
                let tally = |row: &Vec<Fetched>| {
                    Ok(Tally {
                        table: usize::try_from(number(&row[0])?).map_err(|_| broken("a difference"))?,
                        kind: from_word(&row[1])?,
                        verdict: from_word(&row[2])?,
                        count: number(&row[3])?,
                    })
                };
                session.fetch(SQL, &[text(run)]).await?.iter().map(tally).collect()
            })
        })
        .await
    }
}

async fn compared_once(
    session: &mut Session,
    checkpoint: &Checkpoint,
    commit: Commit,
    reached: Option<&str>,
    counts: &Counts,
    candidates: &[Candidate],
) -> FaultResult<ComparedSpan> {
    let (run, span) = (checkpoint.run.as_str(), commit.span);
    session.begin().await?;
    let found = ledger::read_fence(session, run, commit.fence).await?;
    if found != Some(commit.fence.epoch) {
        session.rollback().await?;
        return Ok(ComparedSpan::Fenced(found));
    }
    if let Some(counts) = ledger::find(session, run, commit).await? {
        session.rollback().await?;
        return Ok(ComparedSpan::Durable(counts));
    }
    if commit.in_order && ledger::end(session, run, span.unit).await? != span.from {
        session.rollback().await?;
        return Ok(ComparedSpan::OutOfTurn);
    }
    checkpoint.tell(&Event::TransactionBegun { span });
    record(session, run, candidates).await?;
    checkpoint.tell(&Event::RowsWritten { span });
    match ledger::record(session, run, commit, reached, counts).await {
        Err(fault) if fault.kind == FaultKind::Duplicate => {
            let durable = ledger::find(session, run, commit).await?;
            session.rollback().await?;
            return durable.map(ComparedSpan::Durable).ok_or(fault);
        }
        other => other?,
    }
    checkpoint.tell(&Event::LedgerWritten { span });
    session.commit().await?;
    Ok(ComparedSpan::Durable(counts.clone()))
}

fn stored(row: Vec<Fetched>) -> FaultResult<Difference> {
    let [table, digest, key, kind, unit, position, verdict, detail] = row.as_slice() else {
        return Err(broken("a difference"));
    };
    let table = usize::try_from(number(table)?).map_err(|_| broken("a difference"))?;
    let origin = match unit {
        Fetched::Null => None,
        unit => Some((u32::try_from(number(unit)?).map_err(|_| broken("a unit"))?, number(position)?)),
    };
    let key = key.text().and_then(|key| serde_json::from_str(&key).ok()).ok_or_else(|| broken("a difference's key"))?;
    Ok(Difference {
        id: DifferenceId { table, digest: digest.text().ok_or_else(|| broken("a difference"))? },
        candidate: Candidate { table, key, kind: from_word(kind)?, origin },
        verdict: from_word(verdict)?,
        detail: detail.text(),
    })
}

/// What stands for a key of any length in an index.
fn digest(key: &str) -> String {
    hex::lower(&Sha256::digest(key)[..16])
}

fn to_json(value: &impl Serialize) -> FaultResult<String> {
    serde_json::to_string(value).map_err(|_| broken("a difference"))
}

/// A kind or a verdict as it is stored.
fn word(value: impl Serialize) -> FaultResult<String> {
    Ok(to_json(&value)?.trim_matches('"').to_owned())
}

fn from_word<T: DeserializeOwned>(value: &Fetched) -> FaultResult<T> {
    let word = serde_json::Value::String(value.text().unwrap_or_default());
    serde_json::from_value(word).map_err(|_| broken("a difference"))
}
