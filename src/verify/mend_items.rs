//! Mending a DynamoDB table, which knows no locks: each write takes place only where the item is still what was seen.
//!
//! The target's item T was seen, the source's item S is read consistently *after* that, and then T is written *on the
//! condition* that it is what was seen. An application that writes to both does so in either order. The interleavings:
//!
//! | what | the application | why nothing of it is undone |
//! |---|---|---|
//! | an item that differs | S then T, S before our read | we write its value, and so does it |
//! | | S then T, S after our read | T before ours: our condition fails; T after ours: it comes last |
//! | | T then S | the same |
//! | | writes other attributes | we write those alone that differed, and leave the others |
//! | | deletes S, then T; S before our read | there is no item: nothing is written |
//! | | deletes T before ours | our condition fails: only an item that is there is changed |
//! | an item that is missing | deletes S, then T | we *put first* and read S then: an item that is gone takes ours with it |
//! | | puts T before us | our put finds it: nothing is written |
//! | an item that is extra | puts S, then T; S before our read | there is an item again: nothing is deleted |
//! | | puts T before our delete | our condition fails, unless it is the very same item |
//!
//! What is left is what is left with locks (see [`mend`](super::mend)): writes to T that leave no trace in it, with their
//! write to S after our read. So every mended key is *looked at again* after the longest pause; an item of ours whose
//! source turns out to be gone is taken back. In the end the source has its way.

use super::items::LiveItems;
use super::mend::{Mended, Mender, Now, Wanted, now};
use super::sides::{LOOKED_AT_ONCE, Row};
use crate::driver::session::BoxFuture;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::model::difference::Kind;
use crate::model::rows::{CellRef, Rows};
use crate::sink::dynamodb::conditional::{Attributes, Conditional, Written};
use std::sync::Arc;

/// Items whose source is read together.
const ITEMS_LIVE: usize = 16;

/// Mends a DynamoDB table.
pub(super) struct ItemMender {
    pub(super) writes: Arc<Conditional>,
    /// How items of the source become items of the table.
    pub(super) mapping: Arc<Mapping>,
    /// None where the source stands still: then what was seen of it holds.
    pub(super) live: Option<LiveItems>,
    pub(super) deletes_extras: bool,
}

impl Mender for ItemMender {
    fn deletes_extras(&self) -> bool {
        self.deletes_extras
    }

    fn at_once(&self) -> usize {
        if self.live.is_some() { ITEMS_LIVE } else { LOOKED_AT_ONCE }
    }

    fn mend<'a>(&'a self, wanted: &'a [Wanted<'a>]) -> BoxFuture<'a, Result<Vec<Mended>>> {
        Box::pin(self.mend_all(wanted))
    }
}

impl ItemMender {
    async fn mend_all(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Mended>> {
        let mut put = Vec::with_capacity(wanted.len());
        for one in wanted {
            put.push(match (one.seen.kind(), &one.seen.source) {
                (Some(Kind::Missing), Some(row)) => Some(self.writes.put_absent(item(&row.rows, row.at)?).await?),
                _ => None,
            });
        }
        let now = now(self.live.as_ref(), &self.mapping, None, wanted).await?;
        let mut ended = Vec::with_capacity(wanted.len());
        for ((one, put), now) in wanted.iter().zip(put).zip(now) {
            ended.push(match put {
                Some(put) => self.keep(one, put, &now).await?,
                None => self.write(one, &now).await?,
            });
        }
        Ok(ended)
    }

    /// After a missing item was put: takes it back when its source is gone meanwhile. Of a source that changed, the next
    /// look tells.
    async fn keep(&self, one: &Wanted<'_>, put: Written, now: &Now) -> Result<Mended> {
        let ours = one.seen.source.as_ref().filter(|_| matches!(now, Now::Absent));
        match (put, ours) {
            (Written::Done, Some(row)) => {
                self.writes.delete(&attributes(&row.rows, row.at)?).await?;
                Ok(Mended::Changed)
            }
            (put, _) => Ok(mended(put)),
        }
    }

    async fn write(&self, one: &Wanted<'_>, now: &Now) -> Result<Mended> {
        let Some(Row { rows, at, .. }) = &one.seen.target else { return Ok(Mended::Changed) };
        let seen = attributes(rows, *at)?;
        Ok(mended(match (one.seen.kind(), now) {
            (Some(Kind::Different), Now::Row(rows, at)) => self.writes.change(&seen, &attributes(rows, *at)?).await?,
            (Some(Kind::Extra), Now::Absent) => self.writes.delete(&seen).await?,
            _ => Written::Changed,
        }))
    }
}

/// Of a request without an answer the next look tells.
fn mended(written: Written) -> Mended {
    match written {
        Written::Done | Written::Unknown => Mended::Done,
        Written::Changed => Mended::Changed,
        Written::Refused(why) => Mended::Refused(why),
    }
}

/// The item that a row is: its last cell.
fn item(rows: &Rows, at: usize) -> Result<&[u8]> {
    match rows.columns().checked_sub(1).map(|last| rows.cell(at, last)) {
        Some(CellRef::Text(item)) => Ok(item),
        _ => Err(Error::internal("a row to be mended is no item")),
    }
}

fn attributes(rows: &Rows, at: usize) -> Result<Attributes> {
    serde_json::from_slice(item(rows, at)?).map_err(|_| Error::internal("an item to be mended cannot be read"))
}
