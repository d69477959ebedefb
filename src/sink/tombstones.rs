//! Tombstones of a batch. Of a loader's: which of its rows a live writer removed after they had been read. Of a batch of
//! changes, which is a live writer's: it leaves tombstones for what it removes while its tables are loaded, before it does,
//! and lifts those of what it puts, after it has.
//!
//! A loader asks after the rows are inserted and before the commit, under share locks: whoever removes a row later finds it there.
//! A row that is named is not taken out by itself: whether it was inserted by this transaction or was there before cannot be
//! told, and what was there before is a live writer's. The attempt is undone, and the next one leaves those rows out.

use super::scan::key_kinds;
use crate::checkpoint::tombstones;
use crate::driver::fault::FaultResult;
use crate::driver::session::Session;
use crate::mapping::Table;
use crate::model::batch::{Batch, TableRows};
use crate::model::dialect::Dialect;
use crate::model::hex;
use crate::model::reject::Reject;
use crate::model::rows::CellRef;
use crate::spill::key::{self, KeyKind};
use sha2::{Digest, Sha256};

/// The tables that are loaded, by how their keys are told apart.
pub(super) struct Tombstones {
    names: Vec<String>,
    kinds: Vec<Vec<KeyKind>>,
}

impl Tombstones {
    pub(super) fn new(tables: &[Table], dialect: Dialect) -> Self {
        let names = tables.iter().map(|table| table.name.clone()).collect();
        Tombstones { names, kinds: key_kinds(tables, dialect) }
    }

    /// Whether a key of a table has a tombstone.
    pub(super) async fn has(&self, session: &mut Session, table: usize, key: &[CellRef<'_>]) -> FaultResult<bool> {
        let (Some(name), Some(kinds)) = (self.names.get(table), self.kinds.get(table)) else { return Ok(false) };
        let digest = digest(key.iter().copied(), kinds);
        Ok(!tombstones::named(session, name, &[digest]).await?.is_empty())
    }

    /// Which of a table's rows, among those in `order`, have a tombstone.
    pub(super) async fn named(
        &self,
        session: &mut Session,
        table: usize,
        rows: &TableRows,
        order: &[u32],
    ) -> FaultResult<Vec<u32>> {
        let (Some(name), Some(kinds)) = (self.names.get(table), self.kinds.get(table)) else { return Ok(Vec::new()) };
        if order.is_empty() || !tombstones::any(session, name).await? {
            return Ok(Vec::new());
        }
        let digests: Vec<String> = order.iter().map(|row| digest(rows.key_of(*row), kinds)).collect();
        let named = tombstones::named(session, name, &digests).await?;
        Ok(order.iter().zip(&digests).filter(|(_, digest)| named.contains(*digest)).map(|(row, _)| *row).collect())
    }

    /// Leaves tombstones for what a batch of changes is about to remove. False when none are wanted: the tables are loaded.
    pub(super) async fn leave(&self, session: &mut Session, batch: &Batch) -> FaultResult<bool> {
        let Some(changes) = batch.changes.as_ref().filter(|_| !self.names.is_empty()) else { return Ok(false) };
        if !tombstones::are_wanted(session, &self.names).await? {
            return Ok(false);
        }
        for ((removals, name), kinds) in changes.removals.iter().zip(&self.names).zip(&self.kinds) {
            let key = |row: &u32| digest(removals.rows.row(*row as usize).take(kinds.len()), kinds);
            let digests: Vec<String> = removals.order.iter().map(key).collect();
            tombstones::leave(session, name, &digests).await?;
        }
        Ok(true)
    }

    /// The same for some rows of a table, that are removed since the server refuses what they have become.
    pub(super) async fn leave_for(
        &self,
        session: &mut Session,
        table: usize,
        rows: &TableRows,
        refused: &[u32],
    ) -> FaultResult<()> {
        let (Some(name), Some(kinds)) = (self.names.get(table), self.kinds.get(table)) else { return Ok(()) };
        if refused.is_empty() || !tombstones::are_wanted(session, &self.names).await? {
            return Ok(());
        }
        let digests: Vec<String> = refused.iter().map(|row| digest(rows.key_of(*row), kinds)).collect();
        tombstones::leave(session, name, &digests).await
    }

    /// Lifts the tombstones of what a batch of changes has put; not of what was refused.
    pub(super) async fn lift(&self, session: &mut Session, batch: &Batch, refused: &[Reject]) -> FaultResult<()> {
        for ((rows, name), kinds) in batch.tables.iter().zip(&self.names).zip(&self.kinds) {
            if !rows.order.is_empty() && tombstones::any(session, name).await? {
                let is_refused =
                    |row: u32| refused.iter().any(|reject| reject.position == rows.rows.position(row as usize));
                let put = rows.order.iter().filter(|row| !is_refused(**row));
                let digests: Vec<String> = put.map(|row| digest(rows.key_of(*row), kinds)).collect();
                tombstones::lift(session, name, &digests).await?;
            }
        }
        Ok(())
    }
}

/// What stands for a key in the control table: its sort key's SHA-256 in hex, since an index may not hold the key. Equal keys
/// have equal digests, however their numbers are spelled.
pub fn digest<'a>(key: impl Iterator<Item = CellRef<'a>>, kinds: &[KeyKind]) -> String {
    let mut bytes = Vec::new();
    key::encode(key, kinds, &mut bytes);
    hex::lower(&Sha256::digest(&bytes))
}
