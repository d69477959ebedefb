//! Rejects: items that cannot be stored, each kept whole beside the run until a human has looked.

use super::ledger::number;
use super::run::{Checkpoint, big, broken, int, text};
use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::page::UnitId;
use crate::model::rows::CellRef;

/// A reject to be stored in the transaction of its page.
#[derive(Clone, Copy, Debug)]
pub struct NewReject<'a> {
    /// The unit.
    pub unit: UnitId,
    /// The item's position in it.
    pub position: u64,
    /// The target table's name.
    pub table: Option<&'a str>,
    /// The column.
    pub column: Option<&'a str>,
    /// What is wrong.
    pub reason: &'a str,
    /// The line, exactly as it was read. Empty when it is not at hand: see [`Checkpoint::unquoted`].
    pub item: &'a [u8],
}

/// Longest piece of a rejected line that one row holds.
const PART_BYTES: usize = 1 << 20;

/// Stores a reject in as many rows as the server's packets demand: what is too large for the target is too large for
/// one row of ours as well.
///
/// # Errors
/// The server's fault. Refusing a reject for its value would lose the item: such a fault is `Other`, which stops the run.
pub async fn record(session: &mut Session, run: &str, reject: &NewReject<'_>) -> FaultResult<()> {
    let sql = Statement::new(
        "INSERT INTO _transvase_rejects (run, unit, position, part, target, field, reason, item) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            .to_owned(),
    );
    let stop = |fault: Fault| match fault.kind {
        FaultKind::Value | FaultKind::Duplicate => Fault { kind: FaultKind::Other, ..fault },
        _ => fault,
    };
    let line = reject.item;
    let size = (session.max_packet() / 2).clamp(1, PART_BYTES);
    for (part, from) in (0..).zip((0..line.len().max(1)).step_by(size)) {
        let cells = [
            text(run),
            int(reject.unit),
            big(reject.position),
            CellRef::Int(part),
            reject.table.map_or(CellRef::Null, text),
            reject.column.map_or(CellRef::Null, text),
            text(reject.reason),
            CellRef::Bytes(&line[from..line.len().min(from + size)]),
        ];
        session.execute(&sql, cells.into_iter()).await.map(drop).map_err(stop)?;
    }
    Ok(())
}

/// A reject as the run holds it.
#[derive(Clone, Debug)]
pub struct StoredReject {
    /// The unit.
    pub unit: UnitId,
    /// The item's position in it.
    pub position: u64,
    /// Which part of the line this is: an item too large for the server's packets is stored in several.
    pub part: u64,
    /// The target table's name.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// What is wrong.
    pub reason: Option<String>,
    /// The line, exactly as it was read, or this part of it.
    pub item: Vec<u8>,
}

/// Rejects, or parts of one, fetched at once: at 400 KB an item still bounded.
const REJECTS_PER_FETCH: usize = 100;

impl Checkpoint {
    /// Rejects whose item is still to be quoted, by unit: rows of a sorted run that the server refused. Their line is in
    /// the source alone.
    ///
    /// # Errors
    /// Of the database.
    pub async fn unquoted(&self) -> Result<Vec<(UnitId, u64)>> {
        const SQL: &str = "SELECT unit, position FROM _transvase_rejects WHERE run = ? AND LENGTH(item) = 0 \
                           ORDER BY unit, position";
        self.retrying("reading the rejects", &self.run, |session, run| {
            Box::pin(async move {
                let rows = session.fetch(SQL, &[text(run)]).await?;
                let place = |row: &Vec<Fetched>| {
                    let unit = u32::try_from(number(&row[0])?).map_err(|_| broken("a unit"))?;
                    Ok((unit, number(&row[1])?))
                };
                rows.iter().map(place).collect()
            })
        })
        .await
    }

    /// Gives a reject its item.
    ///
    /// # Errors
    /// Of the database.
    pub async fn quote(&self, unit: UnitId, position: u64, item: &[u8]) -> Result<()> {
        self.retrying("quoting a reject", &(self.run.as_str(), item), |session, (run, item)| {
            Box::pin(async move {
                const FIND: &str = "SELECT target, field, reason FROM _transvase_rejects \
                                    WHERE run = ? AND unit = ? AND position = ? AND LENGTH(item) = 0";
                const DELETE: &str = "DELETE FROM _transvase_rejects WHERE run = ? AND unit = ? AND position = ?";
                let place = [text(run), int(unit), big(position)];
                session.begin().await?;
                if let Some(row) = session.fetch(FIND, &place).await?.first() {
                    session.execute(&Statement::new(DELETE.to_owned()), place.into_iter()).await?;
                    let (table, column, reason) = (row[0].text(), row[1].text(), row[2].text().unwrap_or_default());
                    let (table, column, reason) = (table.as_deref(), column.as_deref(), reason.as_str());
                    record(session, run, &NewReject { unit, position, table, column, reason, item }).await?;
                }
                session.commit().await
            })
        })
        .await
    }

    /// The next rejects after a unit, a position and a part, in that order; empty at the end. Those that a retry has settled
    /// are no rejects any more.
    ///
    /// # Errors
    /// Of the database.
    pub async fn rejects(&self, after: Option<(UnitId, u64, u64)>) -> Result<Vec<StoredReject>> {
        let sql = format!(
            "SELECT unit, position, part, target, field, reason, item FROM _transvase_rejects \
             WHERE run = ? AND outcome IS NULL AND (unit > ? OR (unit = ? AND (position > ? OR (position = ? AND part > ?)))) \
             ORDER BY unit, position, part LIMIT {REJECTS_PER_FETCH}"
        );
        let before_all = [CellRef::Int(-1); 3];
        let [unit, position, part] = after.map_or(before_all, |(unit, at, part)| [int(unit), big(at), big(part)]);
        let context = (sql.as_str(), [text(&self.run), unit, unit, position, position, part]);
        self.retrying("reading the rejects", &context, |session, (sql, cells)| {
            Box::pin(async move {
                let rows = session.fetch(sql, cells).await?;
                rows.into_iter().map(stored_reject).collect()
            })
        })
        .await
    }
}

fn stored_reject(row: Vec<Fetched>) -> FaultResult<StoredReject> {
    let mut row = row.into_iter();
    let mut next = || row.next().ok_or_else(|| broken("a reject"));
    Ok(StoredReject {
        unit: u32::try_from(number(&next()?)?).map_err(|_| broken("a unit"))?,
        position: number(&next()?)?,
        part: number(&next()?)?,
        table: next()?.text(),
        column: next()?.text(),
        reason: next()?.text(),
        item: next()?.bytes().unwrap_or_default(),
    })
}
