//! What a run has rejected: a row that is missing because the server refused it, and whose item is still the one that was
//! rejected, is accounted for.

use super::settle::Accounted;
use crate::checkpoint::rejects::StoredReject;
use crate::checkpoint::run::Checkpoint;
use crate::compare::Comparison;
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::mapping::{Mapped, Mapping};
use crate::model::decode::Decoder;
use crate::model::rows::Rows;
use std::sync::Arc;

/// The rows that the rejects of a run would be. `named` says that the run was asked for by name, so that it has to be
/// there; otherwise none is no harm.
///
/// # Errors
/// Of the database; `Config` when a named run is not there.
pub async fn accounted(pool: &Arc<Pool>, run: &str, named: bool, mapping: &Mapping) -> Result<Accounted> {
    let Some(checkpoint) = Checkpoint::existing(Arc::clone(pool), run).await? else {
        if named {
            return Err(Error::config(format!("--run {run}: {} knows no such run", pool.target())));
        }
        return Ok(Accounted::new());
    };
    let mut found = Accounted::new();
    let mut reading = Reading { mapping, decoder: Decoder::default(), comparison: Comparison::new(mapping) };
    // The last reject read: more parts of its line may follow.
    let (mut open, mut after): (Option<StoredReject>, _) = (None, None);
    loop {
        let rejects = checkpoint.rejects(after).await?;
        let Some(last) = rejects.last() else { break };
        after = Some((last.unit, last.position, last.part));
        for reject in rejects {
            match &mut open {
                Some(whole) if reject.part > 0 => whole.item.extend_from_slice(&reject.item),
                _ => found.extend(open.replace(reject).and_then(|whole| reading.row(&whole.item))),
            }
        }
    }
    found.extend(open.and_then(|whole| reading.row(&whole.item)));
    Ok(found)
}

struct Reading<'m> {
    mapping: &'m Mapping,
    decoder: Decoder,
    comparison: Comparison,
}

impl Reading<'_> {
    /// The row that a line would be; none when the mapping itself does not take it.
    fn row(&mut self, line: &[u8]) -> Option<(usize, [u8; 16])> {
        let mut rows: Vec<Rows> = self.mapping.tables().iter().map(|table| Rows::new(table.columns.len())).collect();
        let mut mapper = self.mapping.mapper();
        let mapped = self.decoder.decode(line, |item| mapper.map(item, line, 0, &mut rows)).ok()?;
        let Mapped::Row(table) = mapped else { return None };
        Some((table, self.comparison.digest(table, &rows[table], 0).bytes()))
    }
}
