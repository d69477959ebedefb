//! The one bridge from tokio to rayon: a page becomes a batch on a worker thread that owns its buffers.

use super::changes;
use crate::compare::narrow::Narrow;
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::{Mapped, Mapper, Mapping, Table};
use crate::model::batch::{Batch, Feed, TableRows};
use crate::model::decode::Decoder;
use crate::model::page::Page;
use crate::model::reject::Reject;
use crate::model::rows::Rows;
use std::cell::RefCell;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The worker threads and what they map with.
pub struct Transform {
    pool: rayon::ThreadPool,
    mapping: Arc<Mapping>,
    narrow: Option<Arc<Narrow>>,
    /// The lines are changes.
    changes: bool,
}

thread_local! {
    /// A worker's decode buffers live as long as its thread.
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::default());
}

impl Transform {
    /// `workers` threads for `mapping`, whose rows then become narrow if they are to; `changes` says that the lines are not
    /// items but changes of them.
    ///
    /// # Errors
    /// `Internal` when the threads cannot be started.
    pub fn new(mapping: Arc<Mapping>, workers: usize, narrow: Option<Arc<Narrow>>, changes: bool) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .thread_name(|index| format!("transform-{index}"))
            .build()
            .map_err(|error| Error::internal("the worker threads cannot be started").because(error))?;
        Ok(Transform { pool, mapping, narrow, changes })
    }

    /// Decodes, maps and sorts a page; of rows that become narrow the order is left to whoever sorts them with those of other
    /// pages, and finds their twins.
    ///
    /// # Errors
    /// `Refused` when two items of the page have the same target key; see [`encode`].
    pub async fn run(&self, page: Page, unit_name: &str) -> Result<Batch> {
        let (sender, receiver) = oneshot::channel();
        let (mapping, narrow, unit_name) = (Arc::clone(&self.mapping), self.narrow.clone(), unit_name.to_owned());
        let encode = if self.changes { changes::encode } else { encode };
        let changes = self.changes;
        self.pool.spawn(move || {
            // Nobody waits any more when the run was stopped: then the page is not worth the work.
            if !sender.is_closed() {
                let batch = DECODER.with_borrow_mut(|decoder| match &narrow {
                    Some(narrow) if !changes => Ok(narrowed(narrow, mapped(page, &mapping, decoder))),
                    Some(narrow) => encode(page, &mapping, decoder, &unit_name).map(|batch| narrowed(narrow, batch)),
                    None => encode(page, &mapping, decoder, &unit_name),
                });
                drop(sender.send(batch));
            }
        });
        receiver.await.map_err(|_| Error::internal("a worker thread died while encoding a page"))?
    }
}

/// The batch with narrow rows, in the same order.
fn narrowed(narrow: &Narrow, mut batch: Batch) -> Batch {
    let mut digester = narrow.digester();
    for (index, table) in batch.tables.iter_mut().enumerate().filter(|(_, table)| !table.rows.is_empty()) {
        table.rows = digester.narrow(index, &table.rows);
        table.key = (0..table.key.len()).collect();
    }
    batch
}

/// Decodes and maps every line of `page`, and sorts the rows of each table by their key.
///
/// # Errors
/// `Refused`, naming both items, when two of the page have one target key: the mapping's key is wrong, since items of
/// one partition key are neighbours in a data file and would quietly merge in the target.
pub fn encode(page: Page, mapping: &Mapping, decoder: &mut Decoder, unit_name: &str) -> Result<Batch> {
    let mut batch = mapped(page, mapping, decoder);
    for (table, rows) in mapping.tables().iter().zip(&mut batch.tables) {
        rows.order = sorted(table, &rows.rows, rows.rows.sorted(&table.key), unit_name)?;
    }
    Ok(batch)
}

/// Decodes and maps every line of `page`; the rows are in its order.
fn mapped(page: Page, mapping: &Mapping, decoder: &mut Decoder) -> Batch {
    let mut mapper: Mapper<'_> = mapping.mapper();
    let mut rows: Vec<Rows> = mapping.tables().iter().map(|table| Rows::new(table.columns.len())).collect();
    if let ([table], [rows]) = (mapping.tables(), rows.as_mut_slice()) {
        // A row takes about as many bytes as its line: growing step by step would copy the rows and take no less memory.
        let items = usize::try_from(page.span.items()).unwrap_or(0);
        *rows = Rows::with_capacity(table.columns.len(), items, page.bytes.len());
    }
    let (mut rejects, mut skipped) = (Vec::new(), 0);
    for (position, line) in page.lines() {
        match decoder.decode(line, |item| mapper.map(item, line, position, &mut rows)) {
            Ok(Mapped::Row(_)) => {}
            Ok(Mapped::Skipped) => skipped += 1,
            Ok(Mapped::Rejected(reject)) => rejects.push(reject),
            Err(error) => {
                rejects.push(Reject { unit: None, position, table: None, column: None, reason: error.to_string() })
            }
        }
    }
    let tables = mapping.tables().iter().zip(rows).map(|(table, rows)| {
        let order = (0..u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
        TableRows { rows, order, key: table.key.clone() }
    });
    Batch { page, tables: tables.collect(), rejects, skipped, feed: Feed::Page, changes: None }
}

/// The order, which is by key, once it is proved that no two rows of it have the same.
///
/// # Errors
/// `Refused`, as [`encode`] says.
pub(super) fn sorted(table: &Table, rows: &Rows, order: Vec<u32>, unit_name: &str) -> Result<Vec<u32>> {
    let twins = order.windows(2).find(|pair| rows.compare(pair[0] as usize, pair[1] as usize, &table.key).is_eq());
    let Some(pair) = twins else { return Ok(order) };
    let (first, second) = (rows.position(pair[0] as usize), rows.position(pair[1] as usize));
    Err(Error::new(
        ErrorKind::Refused,
        format!(
            "table {}: items {} and {} of {unit_name} have the same target key, so one would replace the other; \
             give the table's whole primary key (--key PARTITION:TYPE,SORT:TYPE), or mend the mapping's key",
            table.name,
            first.min(second),
            first.max(second),
        ),
    ))
}
