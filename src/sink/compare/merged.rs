//! Pages of the target's rows where they were read and sorted before: narrow already, and merged from sorted runs.

use super::Comparing;
use super::join::Side;
use super::page::Page;
use crate::compare::narrow::Narrow;
use crate::error::{Error, Result};
use crate::model::batch::Stretch;
use crate::model::rows::Rows;
use crate::spill::Fault;
use crate::spill::merge::Merge;
use crate::spill::run::Run;
use std::ops::Bound;
use std::sync::Arc;

/// Rows of a page, and about how many bytes.
const ROWS_MAX: usize = 16_384;
const BYTES_MAX: usize = 4 << 20;

/// The pages of a stretch.
pub(super) struct Pages {
    /// None after the last.
    merge: Option<Merge>,
    table: usize,
    /// The target table, as messages name it.
    name: String,
    narrow: Arc<Narrow>,
}

impl Pages {
    pub(super) fn new(sink: &Comparing, runs: &[Arc<Run>], stretch: &Stretch) -> Result<Self> {
        let table = stretch.table;
        let name = sink.mapping.tables().get(table).map_or("", |table| table.name.as_str()).to_owned();
        let range = (as_slice(&stretch.from), as_slice(&stretch.to));
        let merge = Merge::new(runs, table, range).map_err(|fault| refused(fault, &name))?;
        Ok(Pages { merge: Some(merge), table, name, narrow: Arc::clone(&sink.narrow) })
    }

    /// The next page, unless the last was.
    pub(super) async fn next(&mut self, sink: &Comparing, side: &Side) -> Result<Option<Page>> {
        let Some(mut merge) = self.merge.take() else { return Ok(None) };
        let (narrow, table, kinds) = (Arc::clone(&self.narrow), self.table, side.kinds.clone());
        let columns = sink.narrow.columns(table);
        let merging = tokio::task::spawn_blocking(move || {
            let mut rows = Rows::new(columns);
            let merged = merge.next(&mut rows, ROWS_MAX, BYTES_MAX, &mut Vec::new())?;
            let key: Vec<usize> = (0..kinds.len()).collect();
            let mut page = Page::new(rows, &key, &kinds);
            if columns > kinds.len() {
                page.digests = (0..merged).map(|row| narrow.digest(table, &page.rows, row)).collect();
            }
            Ok::<_, Fault>((merge, page))
        });
        let (merge, page) = merging
            .await
            .map_err(|_| Error::internal("merging the target's rows died"))?
            .map_err(|fault| refused(fault, &self.name))?;
        if page.rows.is_empty() {
            return Ok(None);
        }
        self.merge = Some(merge);
        Ok(Some(page))
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
    }
}

fn refused(fault: Fault, table: &str) -> Error {
    match fault {
        Fault::Failed(error) => error,
        Fault::Twins(twins) => {
            let unit = |unit| format!("segment {unit} of the target");
            twins.refused(table, &unit(twins.first.unit), &unit(twins.second.unit))
        }
    }
}
