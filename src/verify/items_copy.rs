//! A DynamoDB target. Nobody can ask it for its items in the order of their keys, so it is read as a source is: by a scan
//! with a limiter and a budget of its own, into sorted runs of its own. It is a run beside the verification's, whose first
//! stage is all there is of it.

use super::ends::ItemsEnd;
use crate::checkpoint::run::{Checkpoint, Settings};
use crate::compare::narrow::{Digests, Narrow};
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::model::counts::Counts;
use crate::model::dialect::Dialect;
use crate::monitor::Monitor;
use crate::pipeline::clustered::{Clustered, Sorted};
use crate::pipeline::{self, Ended};
use crate::sink::compare::ByKey;
use crate::sink::destination::DynamoDbTarget;
use crate::sink::dynamodb::conditional::Conditional;
use crate::sink::scan::key_kinds;
use crate::source::Source;
use crate::source::lookup::Lookup;
use crate::spill::dir::SpillDir;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How a DynamoDB target is read.
pub struct ReadBack {
    /// The table, as a source.
    pub scan: Box<dyn Source>,
    /// How wide.
    pub width: pipeline::Options,
}

/// A DynamoDB target that is read back.
pub(super) struct ItemsCopy {
    scan: Arc<dyn Source>,
    lookup: Arc<dyn Lookup>,
    /// Items as they are, by the table's own key.
    mapping: Arc<Mapping>,
    narrow: Arc<Narrow>,
    writes: Arc<Conditional>,
    checkpoint: Checkpoint,
    pool: Arc<Pool>,
    width: pipeline::Options,
    before: Counts,
    spill_dir: PathBuf,
}

impl ItemsCopy {
    /// Finds or begins the run called `run`, which reads the table. `source` maps items of the source to those of the
    /// table; `settings` are the verification's; `is_new` says that it begins now, so that what an earlier one left is
    /// forgotten.
    ///
    /// # Errors
    /// `Refused` when what was begun is of another table; of the database.
    pub(super) async fn prepare(
        ReadBack { mut scan, width }: ReadBack,
        target: &DynamoDbTarget,
        (source, digests): (&Mapping, Digests),
        (pool, run): (&Arc<Pool>, &str),
        (settings, is_new): (&Settings, bool),
        spill_dir: &Path,
    ) -> Result<Self> {
        let table = target.description.name.as_str();
        let mapping = Arc::new(Mapping::items(source.target_key(), table)?);
        let key = source.target_key().iter().map(|attribute| attribute.name.clone()).collect();
        let writes = Conditional::new(target.db.clone(), table, key, Arc::clone(&target.pace));
        let mut checkpoint = Checkpoint::open(Arc::clone(pool), run).await?;
        if is_new {
            forget(&mut checkpoint, spill_dir).await?;
        }
        let found = checkpoint.load().await?;
        if let Some((Settings { derived: Some(derived), .. }, _)) = &found {
            scan.adopt(derived, &checkpoint.totals().await?)?;
        }
        // not before it has adopted what was derived: whoever looks up shares the scan
        let lookup = scan.lookup().ok_or_else(|| Error::internal("the target table cannot be looked up"))?;
        let description = scan.description();
        let own = Settings {
            source: description.identity.clone(),
            mapping: mapping.identity(),
            items: description.items,
            derived: description.derived.clone(),
            ..settings.clone()
        };
        match found {
            Some((stored, _)) if stored.source == own.source && stored.mapping == own.mapping => {}
            Some(_) => {
                return Err(Error::refused(format!(
                    "an unfinished verification has read another table, or read it otherwise, than {table}: --restart \
                     begins anew"
                )));
            }
            None => {
                let mut units = description.units.clone();
                units.shuffle(&mut StdRng::seed_from_u64(own.seed));
                let places: Vec<u32> = units.iter().map(|unit| unit.id).collect();
                checkpoint.create(&own, &units, &places, rand::random::<u32>() >> 1).await?;
                checkpoint.load().await?;
            }
        }
        let before = checkpoint.totals().await?;
        let narrow = Arc::new(Narrow::new(Arc::clone(&mapping), digests));
        let width = pipeline::Options { seed: own.seed, page_bytes: own.page_bytes, ..width };
        let (scan, pool): (Arc<dyn Source>, _) = (Arc::from(scan), Arc::clone(pool));
        let (writes, spill_dir) = (Arc::new(writes), spill_dir.to_owned());
        Ok(ItemsCopy { scan, lookup, mapping, narrow, writes, checkpoint, pool, width, before, spill_dir })
    }

    /// The table as settling and mending take it.
    pub(super) fn end(&self) -> ItemsEnd {
        let (lookup, mapping) = (Arc::clone(&self.lookup), Arc::clone(&self.mapping));
        ItemsEnd { lookup, mapping, writes: Arc::clone(&self.writes) }
    }

    /// Looks its items up by their keys.
    pub(super) fn by_key(&self) -> Result<Arc<dyn ByKey>> {
        self.end().by_key()
    }

    /// Items that were sorted already, and about how many there are.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.before.read, self.scan.description().items)
    }

    /// The table, as it is read.
    pub(super) fn scan(&self) -> Arc<dyn Source> {
        Arc::clone(&self.scan)
    }

    /// Reads and sorts whatever is left of the table; its runs may take so many bytes.
    ///
    /// # Errors
    /// Of the table, the disk and the database.
    pub(super) async fn sorted(
        &self,
        spill_limit: Option<u64>,
        stop: &CancellationToken,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<std::result::Result<Sorted, Ended>> {
        let clustered = Clustered {
            source: Arc::clone(&self.scan),
            mapping: Arc::clone(&self.mapping),
            checkpoint: self.checkpoint.clone(),
            pool: Arc::clone(&self.pool),
            options: self.width.clone(),
            spill_dir: self.spill_dir.clone(),
            spill_limit,
            before: self.before.clone(),
            kinds: key_kinds(self.mapping.tables(), Dialect::Sqlite),
            narrow: Some(Arc::clone(&self.narrow)),
            covers: false,
        };
        let sorted = clustered.sorted(stop, monitor).await?;
        let totals = self.checkpoint.totals().await?;
        if sorted.is_ok() && totals.spilled != totals.read {
            return Err(Error::refused(format!(
                "the target table has {} items that are none of its key: is it the table it was?",
                totals.read - totals.spilled
            )));
        }
        Ok(sorted)
    }

    /// Forgets what was read: the verification is finished.
    pub(super) async fn finish(&self) -> Result<()> {
        forget(&mut self.checkpoint.clone(), &self.spill_dir).await
    }
}

/// Forgets a run and its sorted runs.
async fn forget(checkpoint: &mut Checkpoint, spill_dir: &Path) -> Result<()> {
    // The settings may be an older version's: only the sorted runs matter.
    drop(checkpoint.load().await);
    SpillDir::clear(spill_dir, checkpoint.incarnation());
    checkpoint.forget().await
}
