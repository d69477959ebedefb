//! One batch, one transaction: fence, rows, rejects, span, commit. One attempt; the caller decides about another.

use super::sql::SqlSink;
use super::statements::Piece;
use crate::checkpoint::ledger;
use crate::checkpoint::rejects::{self, NewReject};
use crate::driver::fault::{Fault, FaultKind};
use crate::driver::session::Session;
use crate::model::batch::{Batch, Commit};
use crate::model::counts::{Canary, Counts, Outcomes};
use crate::model::dialect::Dialect;
use crate::model::reject::{REFUSED_BY_SERVER, Reject};
use crate::model::rows::{CellRef, Rows};
use crate::monitor::Event;
use std::borrow::Cow;

/// How an attempt ended without a commit.
pub(super) enum Abort {
    /// A statement failed.
    Fault(Fault),
    /// The claim is not ours, or not known.
    Fenced { found: Option<u64> },
    /// The ledger does not end where the span begins.
    OutOfTurn,
    /// An earlier attempt of this span has committed, with these counts.
    AlreadyCommitted(Counts),
    /// A load left open whether all is well, for this reason: the insert path has to decide.
    Unloadable(String),
    /// These rows, by table, were removed by a live writer after they had been read: to be left out.
    Tombstoned(Vec<Vec<u32>>),
    /// A row is in a table that only this run writes: the key of the mapping is wrong.
    Collision { table: usize, row: u32 },
}

impl From<Fault> for Abort {
    fn from(fault: Fault) -> Self {
        Abort::Fault(fault)
    }
}

/// How the items of a batch ended, as far as it is known before the transaction that records it.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    /// What became of them.
    pub(super) counts: Counts,
    /// Those that a store refused, beside the batch's own rejects; counted already.
    pub(super) rejects: Vec<Reject>,
    /// By table: rows that have a tombstone, and are not written; counted already. Ascending.
    pub(super) tombstoned: Vec<Vec<u32>>,
}

impl Settled {
    /// So these are the counts; nothing was refused.
    pub(super) fn counted(counts: Counts) -> Self {
        Settled { tombstoned: vec![Vec::new(); counts.tables.len()], counts, rejects: Vec::new() }
    }

    /// Nothing is there yet and nothing was refused: the start for rows that the transaction itself writes.
    pub(super) fn unwritten(batch: &Batch) -> Self {
        Settled::counted(batch.counts())
    }

    /// Leaves out rows that have a tombstone.
    pub(super) fn leave_out(&mut self, named: Vec<Vec<u32>>) {
        for (table, rows) in named.into_iter().enumerate() {
            let outcomes = &mut self.counts.tables[table];
            outcomes.written -= rows.len() as u64;
            outcomes.tombstoned += rows.len() as u64;
            self.tombstoned[table].extend(rows);
            self.tombstoned[table].sort_unstable();
        }
    }

    /// The rows of a table that are to be written, in their order.
    fn order<'b>(&self, batch: &'b Batch, table: usize) -> Cow<'b, [u32]> {
        let (order, out) = (&batch.tables[table].order, &self.tombstoned[table]);
        if out.is_empty() {
            return Cow::Borrowed(order);
        }
        Cow::Owned(order.iter().copied().filter(|row| out.binary_search(row).is_err()).collect())
    }
}

/// Runs the transaction. On `Err` the session is inside it still, unless the connection is lost.
pub(super) async fn attempt(
    sink: &SqlSink,
    session: &mut Session,
    batch: &Batch,
    commit: Commit,
    settled: &Settled,
    again: bool,
) -> Result<Counts, Abort> {
    let span = commit.span;
    session.begin().await?;
    let found = ledger::read_fence(session, &sink.run, commit.fence).await?;
    if found != Some(commit.fence.epoch) {
        return Err(Abort::Fenced { found });
    }
    if again && let Some(counts) = ledger::find(session, &sink.run, commit).await? {
        return Err(Abort::AlreadyCommitted(counts));
    }
    if commit.in_order && ledger::end(session, &sink.run, span.unit).await? != span.from {
        return Err(Abort::OutOfTurn);
    }
    sink.monitor.event(&Event::TransactionBegun { span });
    let (mut counts, mut rejects) = (settled.counts.clone(), settled.rejects.clone());
    let mourned = sink.tombstones.leave(session, batch).await?;
    for table in 0..batch.tables.len() {
        remove(sink, session, batch, table).await?;
        let order = settled.order(batch, table);
        write_table(sink, session, batch, (table, &order), &mut counts, &mut rejects).await?;
    }
    // A row that a change has put may be deleted by the next.
    let stays = !sink.inserts.is_empty() && batch.changes.is_none();
    counts.canary = if stays { canary(batch, &rejects, settled) } else { None };
    sink.monitor.event(&Event::RowsWritten { span });
    if batch.changes.is_none() {
        leave_the_dead(sink, session, batch, settled).await?;
    } else if mourned {
        sink.tombstones.lift(session, batch, &rejects).await?;
    }
    match ledger::record(session, &sink.run, commit, batch.page.reached.as_deref(), &counts).await {
        Err(fault) if fault.kind == FaultKind::Duplicate => {
            let counts = ledger::find(session, &sink.run, commit).await?;
            return Err(counts.map_or(Abort::Fault(fault), Abort::AlreadyCommitted));
        }
        other => other?,
    }
    // After the ledger's row, which tells cleanly that an earlier attempt has committed meanwhile.
    for reject in batch.rejects.iter().chain(&rejects) {
        let table = reject.table.and_then(|table| sink.names.get(table)).map(String::as_str);
        let new = NewReject {
            unit: reject.unit.unwrap_or(span.unit),
            position: reject.position,
            table,
            column: reject.column.as_deref(),
            reason: &reject.reason,
            item: batch.line(reject.position),
        };
        rejects::record(session, &sink.run, &new).await?;
    }
    if let Some((table, row)) = collision(sink, session, batch, &counts).await? {
        return Err(Abort::Collision { table, row });
    }
    sink.monitor.event(&Event::LedgerWritten { span });
    session.commit().await?;
    Ok(counts)
}

/// Asks, now that the rows are inserted, which of them have a tombstone.
async fn leave_the_dead(sink: &SqlSink, session: &mut Session, batch: &Batch, settled: &Settled) -> Result<(), Abort> {
    let mut named = vec![Vec::new(); batch.tables.len()];
    for (table, named) in named.iter_mut().enumerate().take(sink.inserts.len()) {
        let order = settled.order(batch, table);
        *named = sink.tombstones.named(session, table, &batch.tables[table], &order).await?;
    }
    if named.iter().all(Vec::is_empty) { Ok(()) } else { Err(Abort::Tombstoned(named)) }
}

/// The key of the first row that was written, to be looked for later.
fn canary(batch: &Batch, rejects: &[Reject], settled: &Settled) -> Option<Canary> {
    batch.canary(|table, row| {
        let position = batch.tables[table].rows.position(row as usize);
        rejects.iter().any(|reject| reject.position == position)
            || settled.tombstoned[table].binary_search(&row).is_ok()
    })
}

/// Deletes what the batch's changes take away from a table, in key order. Changes have one order per key, and each key is
/// among the removals or among the rows, so which of the two come first does not matter.
async fn remove(sink: &SqlSink, session: &mut Session, batch: &Batch, table: usize) -> Result<(), Abort> {
    let Some(changes) = &batch.changes else { return Ok(()) };
    let Some(removals) = changes.removals.get(table).filter(|_| !sink.inserts.is_empty()) else { return Ok(()) };
    match sink.removals.get(table) {
        Some(removal) => Ok(removal.delete(session, removals).await?),
        None => Err(Fault::new(FaultKind::Other, "changes", "the sink is not one for changes").into()),
    }
}

/// Writes one table's rows in this order; corrects `counts` by what was there already and what was refused. A session that
/// loads takes all rows of the table.
pub(super) async fn write_table(
    sink: &SqlSink,
    session: &mut Session,
    batch: &Batch,
    (table, order): (usize, &[u32]),
    counts: &mut Counts,
    rejects: &mut Vec<Reject>,
) -> Result<(), Abort> {
    let Some(inserts) = sink.inserts.get(table) else { return Ok(()) };
    let rows = &batch.tables[table].rows;
    if session.loads() {
        return load_table(sink, session, batch, (table, order), &mut counts.tables[table]).await;
    }
    // Runs of rows still to be written: a run that fails for a value is cut in two, until the row is found.
    let mut runs: Vec<&[u32]> = vec![order];
    let mut counter = PresentCounter::default();
    let (mut present, mut refused_rows) = (0, Vec::new());
    while let Some(run) = runs.pop() {
        let Some(piece) = inserts.first_piece(rows, run) else { continue };
        if let [row] = piece.rows
            && let Some(bytes) = inserts.too_big(rows, *row, session.max_packet())
        {
            let limit = session.max_packet();
            let reason = format!("a row of {bytes} bytes exceeds the server's max_allowed_packet of {limit}");
            rejects.push(refused(batch, table, *row, reason));
            refused_rows.push(*row);
            runs.push(&run[1..]);
            continue;
        }
        let rest = &run[piece.rows.len()..];
        match insert(session, rows, &piece, &mut counter).await {
            Ok(found) => {
                present += found;
                runs.push(rest);
            }
            Err(fault) if fault.kind == FaultKind::Value => {
                runs.push(rest);
                let (left, right) = piece.rows.split_at(piece.rows.len() / 2);
                match piece.rows {
                    [row] => {
                        let reason = format!("{REFUSED_BY_SERVER}error {}: {}", fault.code, fault.message);
                        rejects.push(refused(batch, table, *row, reason));
                        refused_rows.push(*row);
                    }
                    _ => runs.extend([right, left]),
                }
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    if let Some(removal) = sink.removals.get(table) {
        // The row of an item that has changed is what the item no longer is.
        sink.tombstones.leave_for(session, table, &batch.tables[table], &refused_rows).await?;
        for row in refused_rows {
            removal.delete_one(session, batch.tables[table].key_of(row)).await?;
        }
    }
    let outcomes = &mut counts.tables[table];
    outcomes.rejected += rejects.iter().filter(|reject| reject.table == Some(table)).count() as u64;
    outcomes.written -= rejects.iter().filter(|reject| reject.table == Some(table)).count() as u64;
    if !sink.replaces.get(table).copied().unwrap_or(false) {
        outcomes.written -= present;
        outcomes.present += present;
    }
    Ok(())
}

/// The same by LOAD DATA: all rows, or the insert path decides.
async fn load_table(
    sink: &SqlSink,
    session: &mut Session,
    batch: &Batch,
    (table, order): (usize, &[u32]),
    outcomes: &mut Outcomes,
) -> Result<(), Abort> {
    let rows = &batch.tables[table].rows;
    if order.is_empty() {
        return Ok(());
    }
    let unloadable = |why: &str| Abort::Unloadable(why.to_owned());
    let load = sink.loads.get(table).and_then(Option::as_ref).ok_or_else(|| unloadable("rows may be overwritten"))?;
    let limit = session.max_packet();
    if order.iter().any(|row| sink.inserts[table].too_big(rows, *row, limit).is_some()) {
        return Err(unloadable("a row exceeds the server's max_allowed_packet"));
    }
    let guarded = sink.guarded.get(table).copied().unwrap_or(false);
    let present = load.write(session, rows, order, !guarded).await?;
    if present > 0 && guarded {
        return Err(unloadable("a row is there in a table that was empty"));
    }
    outcomes.written -= present;
    outcomes.present += present;
    Ok(())
}

/// The session's count of rows found present: LAST_INSERT_ID() only grows, and the OK packet tells it only when the
/// statement has moved it; a failed statement moves it too [measured on both servers].
#[derive(Default)]
struct PresentCounter {
    known: Option<u64>,
}

/// Inserts rows with one statement; returns how many were there already.
async fn insert(
    session: &mut Session,
    rows: &Rows,
    piece: &Piece<'_>,
    counter: &mut PresentCounter,
) -> Result<u64, Fault> {
    let cells = piece.rows.iter().flat_map(|row| rows.row(*row as usize));
    if session.dialect() == Dialect::Sqlite {
        let done = session.execute(piece.statement, cells).await?;
        return Ok((piece.rows.len() as u64).saturating_sub(done.affected));
    }
    // Unknown until a statement has succeeded: reset it then.
    let before = match counter.known.take() {
        Some(known) => known,
        None => session.run("DO LAST_INSERT_ID(0)").await.map(|()| 0)?,
    };
    let done = session.execute(piece.statement, cells).await?;
    let after = before.max(done.insert_id);
    counter.known = Some(after);
    Ok(after - before)
}

fn refused(batch: &Batch, table: usize, row: u32, reason: String) -> Reject {
    let (unit, position) = batch.item_of(table, row);
    Reject { unit: Some(unit), position, table: Some(table), column: None, reason }
}

/// The first row that was there already although only this run writes to its table; none when all is well.
async fn collision(
    sink: &SqlSink,
    session: &mut Session,
    batch: &Batch,
    counts: &Counts,
) -> Result<Option<(usize, u32)>, Abort> {
    for (table, outcomes) in counts.tables.iter().enumerate() {
        if outcomes.present == 0 || !sink.guarded.get(table).copied().unwrap_or(false) {
            continue;
        }
        // Which one it was is asked outside the transaction's own rows: undo them, then look.
        session.rollback().await?;
        let select = &sink.selects[table];
        for row in &batch.tables[table].order {
            let key: Vec<CellRef<'_>> = batch.tables[table].key_of(*row).collect();
            if !session.fetch(select, &key).await?.is_empty() {
                return Ok(Some((table, *row)));
            }
        }
        return Ok(Some((table, batch.tables[table].order.first().copied().unwrap_or(0))));
    }
    Ok(None)
}
