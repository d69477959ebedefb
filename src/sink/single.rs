//! One item in somebody's transaction: its rows made what its image maps to, in every table, or removed from all; and read back.
//!
//! Does to the tables what a batch of one change does (`transaction.rs`): keys are compared by value, what no longer belongs into a
//! table goes from there, a tombstone is left before a row goes and lifted after one is put. Must not know: who asks, and when
//! the transaction ends.

use super::removal::Removal;
use super::scan::key_kinds;
use super::statements::Inserts;
use super::stored::Stored;
use super::tombstones::digest;
use crate::checkpoint::tombstones;
use crate::driver::fault::{Fault, FaultKind};
use crate::driver::session::Session;
use crate::error::Result;
use crate::mapping::{Mapped, Mapping};
use crate::model::batch::TableRows;
use crate::model::counts::KeyCell;
use crate::model::decode::Decoder;
use crate::model::dialect::Dialect;
use crate::model::rows::{CellRef, Rows};
use crate::spill::key::KeyKind;
use std::sync::Arc;

/// Writes and reads single items of one mapping on one server.
pub struct Single {
    mapping: Arc<Mapping>,
    names: Vec<String>,
    kinds: Vec<Vec<KeyKind>>,
    inserts: Vec<Inserts>,
    removals: Vec<Removal>,
    stored: Vec<Stored>,
    /// By table, the column that holds the whole item.
    items: Vec<usize>,
}

/// Why an item was not written, or not read.
#[derive(Debug)]
pub enum Unwritten {
    /// A statement failed.
    Fault(Fault),
    /// It cannot be stored as it is, whoever tries how often: the reason, without a value.
    Refused(String),
}

impl From<Fault> for Unwritten {
    fn from(fault: Fault) -> Self {
        Unwritten::Fault(fault)
    }
}

/// What an item comes to, by table.
struct Rowed {
    /// The row, in at most one of them.
    rows: Vec<Rows>,
    /// The key, in those others that can hold it.
    gone: Vec<Rows>,
}

impl Single {
    /// For a server of `dialect` that takes statements of `max_packet` bytes.
    ///
    /// # Errors
    /// `Config` for a mapping by whose keys rows cannot be found, or whose rows do not hold the whole item.
    pub fn new(mapping: Arc<Mapping>, dialect: Dialect, max_packet: usize) -> Result<Single> {
        drop(mapping.key_mapper()?);
        let tables = mapping.tables();
        Ok(Single {
            names: tables.iter().map(|table| table.name.clone()).collect(),
            kinds: key_kinds(tables, dialect),
            inserts: tables.iter().map(|table| Inserts::new(table, true, dialect, max_packet)).collect(),
            removals: tables.iter().map(|table| Removal::new(table, dialect, max_packet)).collect(),
            stored: tables.iter().map(|table| Stored::new(table, dialect)).collect(),
            items: mapping.item_columns()?,
            mapping,
        })
    }

    /// Makes the rows of the item with this key those of `image`, or removes them where there is none; both are JSON objects in
    /// DynamoDB's notation. What it removes leaves a tombstone while the tables are loaded, and wherever `copied` says that they may
    /// yet be.
    ///
    /// # Errors
    /// See [`Unwritten`]; then the transaction has to be rolled back.
    pub async fn write(
        &self,
        session: &mut Session,
        key: &str,
        image: Option<&str>,
        copied: bool,
    ) -> Result<(), Unwritten> {
        let Rowed { rows, gone } = self.map(key, image).map_err(Unwritten::Refused)?;
        let mourned = copied || tombstones::are_wanted(session, &self.names).await?;
        for (table, gone) in gone.into_iter().enumerate() {
            if mourned && !gone.is_empty() {
                let digests = self.digests(table, gone.row(0).take(self.kinds[table].len()));
                tombstones::leave(session, &self.names[table], &digests).await?;
            }
            let order = (0..gone.len()).filter_map(|row| u32::try_from(row).ok()).collect();
            let keys = (0..self.kinds[table].len()).collect();
            self.removals[table].delete(session, &TableRows { rows: gone, order, key: keys }).await?;
        }
        for (table, rows) in rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            self.put(session, table, rows).await?;
            if mourned {
                let key = self.mapping.tables()[table].key.iter().map(|column| rows.cell(0, *column));
                tombstones::lift(session, &self.names[table], &self.digests(table, key)).await?;
            }
        }
        Ok(())
    }

    /// The item with this key as its row has it, as a JSON object; `locks` it until the transaction ends.
    ///
    /// # Errors
    /// See [`Unwritten`].
    pub async fn read(&self, session: &mut Session, key: &str, locks: bool) -> Result<Option<Vec<u8>>, Unwritten> {
        let Rowed { gone, .. } = self.map(key, None).map_err(Unwritten::Refused)?;
        for (table, keys) in gone.iter().enumerate().filter(|(_, keys)| !keys.is_empty()) {
            let cells = keys.row(0).take(self.kinds[table].len()).map(KeyCell::of).collect::<Option<Vec<_>>>();
            let cells = cells.ok_or_else(|| odd("a key"))?;
            let found = match locks {
                true => self.stored[table].lock(session, &cells).await?,
                false => Some(self.stored[table].find(session, &[&cells]).await?.rows).filter(|rows| !rows.is_empty()),
            };
            if let Some(found) = found {
                let (CellRef::Text(item) | CellRef::Bytes(item)) = found.cell(0, self.items[table]) else {
                    return Err(odd("an item").into());
                };
                return Ok(Some(item.to_vec()));
            }
        }
        Ok(None)
    }

    /// The error is the reason to refuse the item.
    fn map(&self, key: &str, image: Option<&str>) -> Result<Rowed, String> {
        let image = image.map(|image| format!(",\"NewImage\":{image}")).unwrap_or_default();
        let line = format!("{{\"Keys\":{key}{image}}}");
        let (tables, mut keys) = (self.mapping.tables(), self.mapping.key_mapper().map_err(|error| error.to_string())?);
        let mut rows: Vec<Rows> = tables.iter().map(|table| Rows::new(table.columns.len())).collect();
        let mut gone: Vec<Rows> = (0..tables.len()).map(|table| Rows::new(keys.columns(table))).collect();
        let taken = Decoder::default().decode_change(line.as_bytes(), |change| {
            keys.identity(change.keys)?;
            let kept = match change.image.map_err(|error| error.to_string())? {
                None => None,
                Some(item) => match self.mapping.mapper().map(item, &[], 0, &mut rows) {
                    Mapped::Row(table) => Some(table),
                    Mapped::Skipped => None,
                    Mapped::Rejected(reject) => return Err(reject.reason),
                },
            };
            keys.map(change.keys, 0, kept, &mut gone);
            Ok(())
        });
        taken.map_err(|error| error.to_string())??;
        Ok(Rowed { rows, gone })
    }

    async fn put(&self, session: &mut Session, table: usize, rows: &Rows) -> Result<(), Unwritten> {
        let inserts = &self.inserts[table];
        if let Some(bytes) = inserts.too_big(rows, 0, session.max_packet()) {
            let limit = session.max_packet();
            let reason = format!("a row of {bytes} bytes exceeds the server's max_allowed_packet of {limit}");
            return Err(Unwritten::Refused(reason));
        }
        let piece = inserts.first_piece(rows, &[0]).ok_or_else(|| odd("a row"))?;
        match session.execute(piece.statement, rows.row(0)).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == FaultKind::Value => {
                Err(Unwritten::Refused(format!("the server refuses the row: error {}", fault.code)))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    fn digests<'c>(&self, table: usize, key: impl Iterator<Item = CellRef<'c>>) -> [String; 1] {
        [digest(key, &self.kinds[table])]
    }
}

fn odd(what: &str) -> Fault {
    Fault::new(FaultKind::Other, "rows", format!("{what} is not readable"))
}
