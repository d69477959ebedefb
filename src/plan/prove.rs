//! A mapping is proved by mapping every sampled item with it; and their rows are measured on the way.

use super::take::Packed;
use crate::census::Census;
use crate::error::Result;
use crate::infer::{InferredMapping, InferredTable, evidence};
use crate::mapping::footprint::Footprint;
use crate::mapping::{Mapped, Mapping, Table};
use crate::model::decode::Decoder;
use crate::model::dialect::Dialect;
use crate::model::rows::Rows;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use std::collections::BTreeMap;

/// What came of mapping every sampled item.
#[derive(Debug)]
pub(super) struct Proof {
    /// Rows of each table.
    rows: Vec<u64>,
    mapped: u64,
    /// By table and column: how many, and one reason.
    pub(super) rejects: BTreeMap<(Option<usize>, Option<String>), (u64, String)>,
}

/// Maps every item, and measures what its row would take on a server of `dialect`.
pub(super) fn prove<'m>(pages: &[Packed], mapping: &'m Mapping, dialect: Dialect) -> Result<(Proof, Footprint<'m>)> {
    let tables = mapping.tables();
    let none = || {
        let proof = Proof { rows: vec![0; tables.len()], mapped: 0, rejects: BTreeMap::new() };
        (proof, Footprint::new(tables, dialect))
    };
    pages
        .par_iter()
        .map(|page| {
            let (mut proof, mut footprint) = none();
            let rows = proof.map(page, mapping)?;
            footprint.add(&rows);
            Ok((proof, footprint))
        })
        .try_reduce(none, |mut ours, theirs| {
            ours.0.merge(theirs.0);
            ours.1.merge(&theirs.1);
            Ok(ours)
        })
}

impl Proof {
    fn map(&mut self, page: &Packed, mapping: &Mapping) -> Result<Vec<Rows>> {
        let mut mapper = mapping.mapper();
        let mut rows: Vec<Rows> = mapping.tables().iter().map(|table| Rows::new(table.columns.len())).collect();
        let lines = page.lines()?;
        let mut decoder = Decoder::default();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.mapped += 1;
            // a line that is no item is counted by the census
            let Ok(mapped) = decoder.decode(line, |item| mapper.map(item, line, 0, &mut rows)) else { continue };
            if let Mapped::Rejected(reject) = mapped {
                self.rejects.entry((reject.table, reject.column)).or_insert((0, reject.reason)).0 += 1;
            }
        }
        self.rows.iter_mut().zip(&rows).for_each(|(count, rows)| *count += rows.len() as u64);
        Ok(rows)
    }

    fn merge(&mut self, other: Proof) {
        self.rows.iter_mut().zip(other.rows).for_each(|(ours, theirs)| *ours += theirs);
        self.mapped += other.mapped;
        for (place, (rejected, reason)) in other.rejects {
            self.rejects.entry(place).or_insert((0, reason)).0 += rejected;
        }
    }

    /// The mapping with what was proved of it.
    pub(super) fn inferred(self, text: String, census: &Census, tables: &[Table]) -> InferredMapping {
        let mut notes = Vec::new();
        for (rejected, reason) in self.rejects.values() {
            notes.push(format!("{} sampled items are rejected: {reason}", evidence::count(*rejected)));
        }
        if census.broken > 0 {
            let broken = evidence::count(census.broken);
            notes.push(format!("{broken} sampled lines are no DynamoDB JSON and are rejected"));
        }
        let rejected = census.broken + self.rejects.values().map(|(count, _)| count).sum::<u64>();
        let table = |(table, items): (&Table, u64)| InferredTable { name: table.name.clone(), items };
        let tables = tables.iter().zip(self.rows).map(table).collect();
        InferredMapping { text, tables, proved: self.mapped, rejected, notes }
    }
}
