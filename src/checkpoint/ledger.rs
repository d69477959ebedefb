//! The ledger: which spans are durable, with their counts. Written by the data transactions, folded as the contiguous
//! run of spans grows, so that it stays small however large the table.

use super::run::{Checkpoint, big, broken, int, text};
use super::schema;
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::batch::{Commit, Fence};
use crate::model::counts::{Canary, Counts};
use crate::model::page::UnitId;
use crate::model::rows::CellRef;
use std::collections::BTreeMap;

/// What is durable of one unit.
#[derive(Clone, Debug, Default)]
pub struct UnitLedger {
    /// Items below are durable; their ledger rows are folded.
    pub watermark: u64,
    /// Whether the unit was finished.
    pub done: bool,
    /// The claim's epoch.
    pub epoch: u64,
    /// Spans above the watermark, by their first item: the item after the last.
    pub spans: BTreeMap<u64, u64>,
    /// Of a live unit: where its last durable page ended, in the source's words.
    pub reached: Option<String>,
}

/// Reads the fence under a share lock: until this transaction ends, nobody can take the unit away.
/// Returns the epoch found; none when the run is gone.
///
/// # Errors
/// The server's fault.
pub async fn read_fence(session: &mut Session, run: &str, fence: Fence) -> FaultResult<Option<u64>> {
    let sql = format!(
        "SELECT epoch FROM _transvase_fences WHERE run = ? AND unit = ?{}",
        schema::for_share(session.dialect())
    );
    let rows = session.fetch(&sql, &[text(run), int(fence.unit)]).await?;
    rows.first().map(|row| number(&row[0])).transpose()
}

/// Where the unit's ledger ends: the item after the last durable one. Says nothing of gaps; a live unit has none, since
/// each of its transactions asks this first.
///
/// # Errors
/// The server's fault.
pub async fn end(session: &mut Session, run: &str, unit: UnitId) -> FaultResult<u64> {
    const SPANS: &str =
        "SELECT span_to FROM _transvase_ledger WHERE run = ? AND unit = ? ORDER BY span_from DESC LIMIT 1";
    const UNIT: &str = "SELECT watermark FROM _transvase_units WHERE run = ? AND unit = ?";
    // Spans first: a fold in between moves them into the unit's row.
    for sql in [SPANS, UNIT] {
        if let Some(row) = session.fetch(sql, &[text(run), int(unit)]).await?.first() {
            return number(&row[0]);
        }
    }
    Err(broken("a unit"))
}

/// Records a span as durable, in the transaction of its rows; `reached` is the page's. A `Duplicate` fault says that
/// an earlier attempt of the same span has committed after all.
///
/// # Errors
/// The server's fault.
pub async fn record(
    session: &mut Session,
    run: &str,
    commit: Commit,
    reached: Option<&str>,
    counts: &Counts,
) -> FaultResult<()> {
    let now = schema::now_us(session.dialect());
    let sql = Statement::new(format!(
        "INSERT INTO _transvase_ledger (run, unit, span_from, span_to, reached, counts, at_us) \
         VALUES (?, ?, ?, ?, ?, ?, {now})"
    ));
    let counts = serde_json::to_string(counts).map_err(|_| broken("a count"))?;
    let span = commit.span;
    let reached = reached.map_or(CellRef::Null, text);
    let cells = [text(run), int(span.unit), big(span.from), big(span.to), reached, text(&counts)];
    session.execute(&sql, cells.into_iter()).await.map(drop)
}

/// The counts of a span, when it is in the ledger. Folding stops below spans that are not acknowledged, so a span
/// whose outcome is unknown is still there if it committed.
///
/// # Errors
/// The server's fault.
pub async fn find(session: &mut Session, run: &str, commit: Commit) -> FaultResult<Option<Counts>> {
    let sql = "SELECT counts FROM _transvase_ledger WHERE run = ? AND unit = ? AND span_from = ? AND span_to = ?";
    let span = commit.span;
    let rows = session.fetch(sql, &[text(run), int(span.unit), big(span.from), big(span.to)]).await?;
    rows.first().map(|row| counts(&row[0])).transpose()
}

impl Checkpoint {
    /// What is durable of every unit, or of one.
    ///
    /// # Errors
    /// Of the database.
    pub async fn ledger(&self, only: Option<UnitId>) -> Result<BTreeMap<UnitId, UnitLedger>> {
        let filter = only.map(|unit| format!(" AND u.unit = {unit}")).unwrap_or_default();
        let units = format!(
            "SELECT u.unit, u.watermark, u.state, f.epoch, u.reached FROM _transvase_units u \
             JOIN _transvase_fences f ON f.run = u.run AND f.unit = u.unit WHERE u.run = ?{filter}"
        );
        let spans = format!(
            "SELECT u.unit, u.span_from, u.span_to, u.reached FROM _transvase_ledger u WHERE u.run = ?{filter} \
             ORDER BY u.unit, u.span_from"
        );
        let context = (self.run.as_str(), units.as_str(), spans.as_str());
        self.retrying("reading the ledger", &context, |session, (run, units, spans)| {
            Box::pin(async move {
                // Spans first: of a fold in between the watermark tells. The other way round it would hide spans.
                let spans = session.fetch(spans, &[text(run)]).await?;
                let units = session.fetch(units, &[text(run)]).await?;
                assemble(&units, &spans)
            })
        })
        .await
    }

    /// Folds the unit's contiguous spans up to `up_to` into its row; with `finish` that is all of the unit, which is done
    /// if the spans reach so far. Returns the new watermark, or none when the claim is no longer ours.
    ///
    /// # Errors
    /// Of the database.
    pub async fn fold(&self, fence: Fence, up_to: u64, finish: bool) -> Result<Option<u64>> {
        let context = (self.run.as_str(), fence, up_to, finish);
        self.retrying("folding the ledger", &context, |session, (run, fence, up_to, finish)| {
            Box::pin(async move {
                session.begin().await?;
                if read_fence(session, run, *fence).await? != Some(fence.epoch) {
                    session.rollback().await?;
                    return Ok(None);
                }
                let watermark = fold_once(session, run, fence.unit, *up_to, *finish).await?;
                session.commit().await?;
                Ok(Some(watermark))
            })
        })
        .await
    }

    /// The counts of the whole run, as far as it is durable.
    ///
    /// # Errors
    /// Of the database.
    pub async fn totals(&self) -> Result<Counts> {
        // One statement, so that a fold in between is seen whole or not at all.
        const SQL: &str = "SELECT counts FROM _transvase_units WHERE run = ? \
                           UNION ALL SELECT counts FROM _transvase_ledger WHERE run = ?";
        self.retrying("adding up the ledger", &self.run, |session, run| {
            Box::pin(async move {
                let mut total = Counts::default();
                for row in session.fetch(SQL, &[text(run), text(run)]).await? {
                    total.add(&counts(&row[0])?);
                }
                Ok(total)
            })
        })
        .await
    }
}

fn assemble(units: &[Vec<Fetched>], spans: &[Vec<Fetched>]) -> FaultResult<BTreeMap<UnitId, UnitLedger>> {
    let mut ledger = BTreeMap::new();
    for row in units {
        let unit = u32::try_from(number(&row[0])?).map_err(|_| broken("a unit"))?;
        let done = row[2].text().as_deref() == Some("done");
        let (watermark, epoch) = (number(&row[1])?, number(&row[3])?);
        let reached = row[4].text();
        ledger.insert(unit, UnitLedger { watermark, done, epoch, spans: BTreeMap::new(), reached });
    }
    for row in spans {
        let unit = u32::try_from(number(&row[0])?).map_err(|_| broken("a unit"))?;
        let (from, to) = (number(&row[1])?, number(&row[2])?);
        if let Some(entry) = ledger.get_mut(&unit)
            && to > entry.watermark
        {
            entry.spans.insert(from, to);
            entry.reached = row[3].text();
        }
    }
    Ok(ledger)
}

async fn fold_once(session: &mut Session, run: &str, unit: UnitId, up_to: u64, finish: bool) -> FaultResult<u64> {
    let sql = format!(
        "SELECT watermark, counts, state, reached FROM _transvase_units WHERE run = ? AND unit = ?{}",
        schema::for_update(session.dialect())
    );
    let rows = session.fetch(&sql, &[text(run), int(unit)]).await?;
    let row = rows.first().ok_or_else(|| broken("a unit"))?;
    let (start, mut total, mut reached) = (number(&row[0])?, counts(&row[1])?, row[3].text());
    let sql = "SELECT span_from, span_to, counts, at_us, reached FROM _transvase_ledger \
               WHERE run = ? AND unit = ? AND span_from >= ? ORDER BY span_from";
    let mut watermark = start;
    for row in session.fetch(sql, &[text(run), int(unit), big(start)]).await? {
        let (from, to) = (number(&row[0])?, number(&row[1])?);
        if from != watermark || to > up_to {
            break;
        }
        total.add(&dated_counts(&row[2], &row[3])?);
        watermark = to;
        reached = row[4].text();
    }
    let delete = Statement::new(
        "DELETE FROM _transvase_ledger WHERE run = ? AND unit = ? AND span_from >= ? AND span_from < ?".to_owned(),
    );
    session.execute(&delete, [text(run), int(unit), big(start), big(watermark)].into_iter()).await?;
    // A fold that was decided on before the unit was finished may come after it: it must not open the unit again.
    let was_done = row[2].text().as_deref() == Some("done");
    let state = if was_done || (finish && watermark == up_to) { "done" } else { "open" };
    let update = Statement::new(
        "UPDATE _transvase_units SET watermark = ?, reached = ?, counts = ?, state = ? WHERE run = ? AND unit = ?"
            .to_owned(),
    );
    let json = serde_json::to_string(&total).map_err(|_| broken("a count"))?;
    let reached = reached.as_deref().map_or(CellRef::Null, text);
    let cells = [big(watermark), reached, text(&json), text(state), text(run), int(unit)];
    session.execute(&update, cells.into_iter()).await?;
    Ok(watermark)
}

/// Canaries looked at in one check: enough that one deleted by the application does not decide.
const CANARIES: usize = 64;

impl Checkpoint {
    /// Keys of rows that the run made durable, the first of all among them.
    ///
    /// # Errors
    /// Of the database.
    pub async fn canaries(&self) -> Result<Vec<Canary>> {
        const SQL: &str = "SELECT counts, 0 FROM _transvase_units WHERE run = ? \
                           UNION ALL SELECT counts, at_us FROM _transvase_ledger WHERE run = ?";
        self.retrying("reading the canaries", &self.run, |session, run| {
            Box::pin(async move {
                let rows = session.fetch(SQL, &[text(run), text(run)]).await?;
                let found = rows.iter().map(|row| dated_counts(&row[0], &row[1]));
                let found = found.collect::<FaultResult<Vec<Counts>>>()?;
                let mut canaries: Vec<Canary> = found.into_iter().filter_map(|counts| counts.canary).collect();
                canaries.sort_by_key(|canary| canary.at);
                let step = canaries.len().div_ceil(CANARIES).max(1);
                Ok(canaries.into_iter().step_by(step).collect())
            })
        })
        .await
    }
}

/// A position or an epoch.
pub(super) fn number(value: &Fetched) -> FaultResult<u64> {
    value.int().and_then(|value| u64::try_from(value).ok()).ok_or_else(|| broken("a position"))
}

/// A span's counts, its canary dated; the counts of a unit (at zero) keep the date they have.
fn dated_counts(value: &Fetched, at: &Fetched) -> FaultResult<Counts> {
    let (mut counts, at) = (counts(value)?, number(at)?);
    if let Some(canary) = &mut counts.canary
        && at > 0
    {
        canary.at = at;
    }
    Ok(counts)
}

fn counts(value: &Fetched) -> FaultResult<Counts> {
    serde_json::from_str(&value.text().unwrap_or_default()).map_err(|_| broken("a count"))
}
