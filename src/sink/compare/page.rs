//! Pages of the target's rows, with what is needed of each row: its sort key and its digest.

use super::join::Side;
use super::{Comparing, Theirs};
use crate::driver::session::Appended;
use crate::error::{Error, Result};
use crate::model::counts::{Digest, KeyCell};
use crate::model::rows::Rows;
use crate::sink::scan::{Columns, KeyBounds, LOOKUP_MAX};
use crate::spill::key::{self, KeyKind};
use std::ops::Bound;

/// Bytes of a page: the rows that would exceed it are asked for again.
const BYTES_MAX: usize = 2 << 20;

/// Rows of the first page, when nobody knows how large they are; and of any.
const ROWS_FIRST: usize = 512;
const ROWS_MAX: usize = 8192;

/// Some rows of the target.
pub(super) struct Page {
    pub(super) rows: Rows,
    /// By row; none at all when only keys were read.
    pub(super) digests: Vec<Digest>,
    keys: Vec<u8>,
    /// Where each row's sort key ends.
    ends: Vec<usize>,
    order: Vec<usize>,
}

impl Page {
    /// Of rows whose key is in the columns `key`; the digests, if there are any, are still to come.
    pub(super) fn new(rows: Rows, key: &[usize], kinds: &[KeyKind]) -> Self {
        let (mut keys, mut ends) = (Vec::new(), Vec::with_capacity(rows.len()));
        for row in 0..rows.len() {
            key::encode(key.iter().map(|column| rows.cell(row, *column)), kinds, &mut keys);
            ends.push(keys.len());
        }
        Page { rows, digests: Vec::new(), keys, ends, order: Vec::new() }
    }

    /// The sort key of a row.
    pub(super) fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.keys[start..self.ends[row]]
    }

    /// Finds the order of the keys, of rows that came in none.
    pub(super) fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_unstable_by(|left, right| self.key(*left).cmp(self.key(*right)));
        order.dedup_by(|left, right| self.key(*left) == self.key(*right));
        self.order = order;
    }

    /// The rows in the order that was found.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        self.order.clone().into_iter()
    }
}

/// The pages of a range.
pub(super) struct Pages {
    range: KeyBounds,
    columns: Columns,
    limit: usize,
    at_end: bool,
    last: Option<Vec<u8>>,
}

impl Pages {
    pub(super) fn new(range: KeyBounds, columns: Columns) -> Self {
        Pages { range, columns, limit: ROWS_FIRST, at_end: false, last: None }
    }

    /// The next page, unless the last was.
    pub(super) async fn next(&mut self, sink: &Comparing, side: &Side, table: usize) -> Result<Option<Page>> {
        if self.at_end {
            return Ok(None);
        }
        let (limit, columns) = (self.limit, self.columns);
        let context = (&side.stored, &self.range, limit, columns);
        let read = sink.reading(&context, |session, (stored, range, limit, columns)| {
            Box::pin(async move {
                let mut rows = Rows::new(stored.width(*columns));
                let appended = stored.page(session, *columns, range, *limit, (&mut rows, BYTES_MAX)).await?;
                Ok((rows, appended))
            })
        });
        let (rows, Appended { given, appended }) = read.await?;
        self.at_end = given < limit;
        let bytes: usize = (0..rows.len()).map(|row| rows.row_bytes(row)).sum();
        self.limit = (BYTES_MAX * rows.len().max(1) / bytes.max(1)).clamp(1, ROWS_MAX);
        let page = prepare(sink, side, table, rows, columns).await?;
        if appended < given {
            self.at_end = false;
        }
        if !self.at_end {
            self.advance(&page, side)?;
        } else {
            self.in_order(&page)?;
        }
        Ok(Some(page))
    }

    fn advance(&mut self, page: &Page, side: &Side) -> Result<()> {
        self.in_order(page)?;
        let Some(last) = &self.last else { return Ok(()) };
        let cells: Option<Vec<KeyCell>> = key::decode(last, &side.kinds, &side.texts);
        self.range.0 = Bound::Excluded(cells.ok_or_else(|| Error::refused("the target has a row without a key"))?);
        Ok(())
    }

    /// Proves that the server gives rows in the order that the join relies on.
    fn in_order(&mut self, page: &Page) -> Result<()> {
        for row in 0..page.rows.len() {
            let key = page.key(row);
            if self.last.as_deref().is_some_and(|last| last >= key) {
                return Err(Error::refused("the target's rows do not come in the order of their keys' bytes"));
            }
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
        }
        Ok(())
    }
}

/// The rows of some keys.
pub(super) async fn looked_up(sink: &Comparing, side: &Side, table: usize, keys: Vec<Vec<KeyCell>>) -> Result<Page> {
    let mut all = Rows::new(side.stored.width(Columns::All));
    if let Theirs::Keys(store) = &sink.theirs {
        for chunk in keys.chunks(LOOKUP_MAX) {
            all.append_rows(&store.rows(table, chunk).await?);
        }
        return prepare(sink, side, table, all, Columns::All).await;
    }
    // What does not fit is asked for again: fewer keys at a time.
    let mut waiting: Vec<&[Vec<KeyCell>]> = keys.chunks(LOOKUP_MAX).collect();
    while let Some(chunk) = waiting.pop() {
        let context = (&side.stored, chunk);
        let read = sink.reading(&context, |session, (stored, chunk)| {
            Box::pin(async move {
                let mut rows = Rows::new(stored.width(Columns::All));
                let appended = stored.lookup(session, Columns::All, chunk, (&mut rows, BYTES_MAX)).await?;
                Ok((rows, appended))
            })
        });
        let (rows, Appended { given, appended }) = read.await?;
        if appended < given {
            waiting.extend(chunk.chunks(chunk.len().div_ceil(2)));
            continue;
        }
        all.append_rows(&rows);
    }
    prepare(sink, side, table, all, Columns::All).await
}

/// Digests rows, on a thread that may take its time.
async fn prepare(sink: &Comparing, side: &Side, table: usize, rows: Rows, columns: Columns) -> Result<Page> {
    let (narrow, kinds) = (std::sync::Arc::clone(&sink.narrow), side.kinds.clone());
    let key = match columns {
        Columns::All => side.key.clone(),
        Columns::Key => (0..side.key.len()).collect(),
    };
    let preparing = tokio::task::spawn_blocking(move || {
        let mut page = Page::new(rows, &key, &kinds);
        if columns == Columns::All {
            let mut digester = narrow.digester();
            page.digests = (0..page.rows.len()).map(|row| digester.digest(table, &page.rows, row)).collect();
        }
        page
    });
    preparing.await.map_err(|_| Error::internal("digesting the target's rows died"))
}
