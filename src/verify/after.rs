//! What becomes of the keys that seemed to differ, once everything was compared: looked at again, mended if that was asked
//! for, listed; and a certificate when nothing is left.

use super::certificate::{Certificate, CertifiedTable, issue, place};
use super::ends::{Pair, TargetEnd};
use super::listing;
use super::options::Sample;
use super::rejected::accounted;
use super::report::Verdicts;
use super::run::Verify;
use super::settle::{Settled, Settler};
use crate::checkpoint::certificates;
use crate::checkpoint::differences::Tally;
use crate::checkpoint::phases::mending::MendLock;
use crate::driver::session::Session;
use crate::error::{Error, Result};
use crate::model::difference::Verdict;
use crate::monitor::{Event, Monitor};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is done about differences.
#[derive(Clone, Debug, Default)]
pub struct After {
    /// An application writes to the target.
    pub live_target: bool,
    /// The run whose rejects are accounted for; by default the one that a backfill of the table has.
    pub run: Option<String>,
    /// Mend what is missing or different.
    pub repair: bool,
    /// Delete rows that have no item, when mending.
    pub delete_extras: bool,
    /// Where differences are listed.
    pub differences: Option<PathBuf>,
    /// List values in clear.
    pub show_values: bool,
    /// Where a certificate goes.
    pub certificate: Option<PathBuf>,
}

/// How looking again ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// At every candidate.
    All,
    /// A stop was requested.
    Stopped,
}

impl Verify {
    /// Looks again at every candidate, mends what is to be mended, and writes what was asked for.
    pub(super) async fn look_again(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Looked> {
        let after = &self.options.after;
        if self.settle(stop, monitor).await? == Settled::Stopped {
            return Ok(Looked::Stopped);
        }
        if let Some(path) = &after.differences {
            listing::write(&self.checkpoint, &self.mapping, path).await?;
        }
        if let Some(path) = &after.certificate {
            let tallies = self.checkpoint.tallies().await?;
            match Verdicts::of(&tallies).remaining() {
                0 => self.certify(path, &tallies).await?,
                // One of an earlier day must not be taken for that of this verification.
                _ => drop(std::fs::remove_file(path)),
            }
        }
        Ok(Looked::All)
    }

    async fn settle(&self, stop: &CancellationToken, monitor: &Arc<dyn Monitor>) -> Result<Settled> {
        let after = &self.options.after;
        let keys: u64 = self.checkpoint.tallies().await?.iter().map(|tally| tally.count).sum();
        if keys == 0 {
            return Ok(Settled::All);
        }
        monitor.event(&Event::LookBegun { keys });
        let pair = self.pair();
        let sides = pair.sides()?;
        // taken when the verification began, and perhaps by another since
        let lock = if after.repair { self.mend_lock().await? } else { None };
        let mender = if after.repair { Some(pair.mender(after.delete_extras, lock)?) } else { None };
        let run = self.rejecting_run();
        let settler = Settler {
            docket: &self.checkpoint,
            sides: &*sides,
            mender: mender.as_deref(),
            patience: pair.patience(),
            accounted: accounted(&self.target, &run, after.run.is_some(), &self.mapping).await?,
            tables: self.mapping.tables(),
            is_items: self.copy.is_some(),
            show_values: after.show_values,
            monitor: &**monitor,
        };
        settler.run(stop).await
    }

    /// The backfill lock, where rows of a migration's target are to be mended.
    ///
    /// # Errors
    /// `Refused` when they may not be; of the database.
    pub(super) async fn mend_lock(&self) -> Result<Option<MendLock>> {
        if !self.options.after.repair || self.copy.is_some() {
            return Ok(None);
        }
        let (table, stands_still) = (&self.source.description().table, self.source.lookup().is_none());
        let lease = self.options.pipeline.lease;
        MendLock::take(&self.target, table, &self.rejecting_run(), (lease, stands_still)).await
    }

    /// Both sides, as looking again takes them.
    pub(super) fn pair(&self) -> Pair {
        Pair {
            source: Arc::clone(&self.source),
            mapping: Arc::clone(&self.mapping),
            target: match &self.copy {
                Some(copy) => TargetEnd::Items(copy.end()),
                None => TargetEnd::Sql(Arc::clone(&self.target), self.facts.dialect),
            },
            live_target: self.options.after.live_target,
        }
    }

    fn rejecting_run(&self) -> String {
        self.options
            .after
            .run
            .clone()
            .unwrap_or_else(|| crate::checkpoint::run::name_of(&self.source.description().table))
    }

    /// Issues the certificate of a verification that left no difference.
    async fn certify(&self, path: &Path, tallies: &[Tally]) -> Result<()> {
        let totals = self.checkpoint.totals().await?;
        let mut session = Session::open(self.target.target()).await?;
        let mut tables = Vec::new();
        for (index, table) in self.mapping.tables().iter().enumerate() {
            let identity = self.destination.identity(&mut session, &table.name).await?;
            let gone = || Error::refused(format!("table {} is gone", table.name));
            let compared = totals.compared.get(index).copied().unwrap_or_default();
            let count = |verdict| {
                let of = tallies.iter().filter(|tally| tally.table == index && tally.verdict == verdict);
                of.map(|tally| tally.count).sum()
            };
            tables.push(CertifiedTable {
                settled: count(Verdict::Settled),
                accounted: count(Verdict::Rejected),
                repaired: count(Verdict::Repaired),
                ..CertifiedTable::new(&table.name, &identity.ok_or_else(gone)?, &compared)
            });
        }
        let clock = |fault: crate::driver::fault::Fault| fault.into_error("asking the target's clock");
        let ended_us = certificates::now(&mut session).await.map_err(clock)?;
        let certificate = Certificate {
            source: self.settings.source.clone(),
            mapping: self.settings.mapping.clone(),
            target: place(&self.destination),
            tables,
            level: self.options.level.name().to_owned(),
            sample: self.options.sample.map(|Sample(millionths)| format!("{millionths} of 1000000")),
            run: Some(self.rejecting_run()).filter(|_| tallies.iter().any(|tally| tally.verdict == Verdict::Rejected)),
            rejected: totals.outcomes().rejected,
            skipped: totals.skipped,
            started_us: self.settings.begun_us.unwrap_or(ended_us),
            ended_us,
            ..Certificate::draft()
        };
        if let Some(warning) = issue(&certificate, &mut session, path).await? {
            tracing::warn!("{warning}");
        }
        Ok(())
    }
}
