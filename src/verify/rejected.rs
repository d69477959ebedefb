//! What a run has rejected, and those that follow it: a row that is missing because the server refused it, and whose item is
//! still the one that was rejected, is accounted for.

use super::settle::Accounted;
use crate::checkpoint::follows::stream_run;
use crate::checkpoint::rejects::StoredReject;
use crate::checkpoint::run::Checkpoint;
use crate::compare::Comparison;
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::mapping::{Mapped, Mapping};
use crate::model::decode::Decoder;
use crate::model::rows::Rows;
use std::sync::Arc;

/// The rows that the rejects of a run, and of the changes that follow it, would be. `named` says that the run was asked for
/// by name, so that it has to be there; otherwise none is no harm.
///
/// # Errors
/// Of the database; `Config` when a named run is not there.
pub async fn accounted(pool: &Arc<Pool>, run: &str, named: bool, mapping: &Mapping) -> Result<Accounted> {
    let Some(mut copy) = Checkpoint::existing(Arc::clone(pool), run).await? else {
        if named {
            return Err(Error::config(format!("--run {run}: {} knows no such run", pool.target())));
        }
        return Ok(Accounted::new());
    };
    let (decoder, comparison) = (Decoder::default(), Comparison::new(mapping));
    let mut reading = Reading { mapping, decoder, comparison, changes: false, found: Accounted::new() };
    reading.run(&copy).await?;
    let mut followers = vec![stream_run(run)];
    // an older version's settings may not be readable, and has no windows
    if copy.load().await.is_ok_and(|stored| stored.is_some()) {
        followers.extend(copy.followed_by().await?.into_iter().map(|window| window.run));
    }
    reading.changes = true;
    for follower in followers {
        if let Some(follower) = Checkpoint::existing(Arc::clone(pool), &follower).await? {
            reading.run(&follower).await?;
        }
    }
    Ok(reading.found)
}

struct Reading<'m> {
    mapping: &'m Mapping,
    decoder: Decoder,
    comparison: Comparison,
    /// What is read are rejects of changes.
    changes: bool,
    found: Accounted,
}

impl Reading<'_> {
    /// All rejects of a run.
    async fn run(&mut self, run: &Checkpoint) -> Result<()> {
        // The last reject read: more parts of its line may follow.
        let (mut open, mut after): (Option<StoredReject>, _) = (None, None);
        loop {
            let rejects = run.rejects(after).await?;
            let Some(last) = rejects.last() else { break };
            after = Some((last.unit, last.position, last.part));
            for reject in rejects {
                match &mut open {
                    Some(whole) if reject.part > 0 => whole.item.extend_from_slice(&reject.item),
                    _ => {
                        let row = open.replace(reject).and_then(|whole| self.row(&whole));
                        self.found.extend(row);
                    }
                }
            }
        }
        let row = open.and_then(|whole| self.row(&whole));
        self.found.extend(row);
        Ok(())
    }

    /// The row that a reject would be; none when the mapping itself does not take it, or did not: a column tells. Where
    /// one that was mended takes it now, its row is missing.
    fn row(&mut self, reject: &StoredReject) -> Option<(usize, [u8; 16])> {
        if reject.column.is_some() {
            return None;
        }
        let line = reject.item.as_slice();
        let mut rows: Vec<Rows> = self.mapping.tables().iter().map(|table| Rows::new(table.columns.len())).collect();
        let mut mapper = self.mapping.mapper();
        let mapped = if self.changes {
            let decoded = self.decoder.decode_change(line, |change| {
                change.image.ok().flatten().map(|image| mapper.map(image, &[], 0, &mut rows))
            });
            decoded.ok()??
        } else {
            self.decoder.decode(line, |item| mapper.map(item, line, 0, &mut rows)).ok()?
        };
        let Mapped::Row(table) = mapped else { return None };
        Some((table, self.comparison.digest(table, &rows[table], 0).bytes()))
    }
}
