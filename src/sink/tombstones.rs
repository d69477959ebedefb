//! The loader's side of tombstones: which rows of a batch were removed by a live writer after they had been read.
//!
//! Asked after the rows are inserted and before the commit, under share locks: whoever removes a row later finds it there.
//! A row that is named is not taken out by itself: whether it was inserted by this transaction or was there before cannot be
//! told, and what was there before is a live writer's. The attempt is undone, and the next one leaves those rows out.

use super::scan::key_kinds;
use crate::checkpoint::tombstones;
use crate::driver::fault::FaultResult;
use crate::driver::session::Session;
use crate::mapping::Table;
use crate::model::batch::TableRows;
use crate::model::dialect::Dialect;
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
}

/// What stands for a key in the control table: its sort key's SHA-256 in hex, since an index may not hold the key. Equal keys
/// have equal digests, however their numbers are spelled.
pub fn digest<'a>(key: impl Iterator<Item = CellRef<'a>>, kinds: &[KeyKind]) -> String {
    let mut bytes = Vec::new();
    key::encode(key, kinds, &mut bytes);
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
