//! Looking again: what becomes of every candidate that the comparison found, and, if that was asked for, its mending.
//!
//! Verdicts are stored as they fall, a hundred keys at a time, so a process that dies leaves only open ones to be looked
//! at anew. Before a missing row is inserted, that it is about to be is stored: whoever goes on may have to take it back.

use super::case::{Case, Patience, Step};
use super::detail::Detail;
use super::mend::{Mended, Mender, Wanted};
use super::sides::{LOOKED_AT_ONCE, Look, Seen, Sides};
use crate::checkpoint::differences::{Difference, Judgement};
use crate::checkpoint::run::Checkpoint;
use crate::driver::session::BoxFuture;
use crate::error::Result;
use crate::mapping::Table;
use crate::model::counts::Digest;
use crate::model::difference::{Candidate, Kind, Verdict};
use crate::monitor::{Event, Monitor};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Candidates whose pauses run side by side.
const BATCH: usize = 10_000;

/// A key that has to be mended more often is written to all the time.
const MENDS_MAX: u32 = 8;

/// Where candidates are kept and judged.
pub trait Docket: Send + Sync {
    /// The next open candidates, at most so many.
    ///
    /// # Errors
    /// Of the database.
    fn open(&self, most: usize) -> BoxFuture<'_, Result<Vec<Difference>>>;

    /// Stores what became of some.
    ///
    /// # Errors
    /// Of the database.
    fn judge<'a>(&'a self, judgements: &'a [Judgement]) -> BoxFuture<'a, Result<()>>;

    /// Opens again what was confirmed or never settled, to be mended.
    ///
    /// # Errors
    /// Of the database.
    fn reopen(&self) -> BoxFuture<'_, Result<()>>;
}

impl Docket for Checkpoint {
    fn open(&self, most: usize) -> BoxFuture<'_, Result<Vec<Difference>>> {
        Box::pin(self.differences_by_place(Verdict::Open, None, most))
    }

    fn judge<'a>(&'a self, judgements: &'a [Judgement]) -> BoxFuture<'a, Result<()>> {
        Box::pin(Checkpoint::judge(self, judgements))
    }

    fn reopen(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.reopen_differences())
    }
}

/// How the looking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// No candidate is open.
    All,
    /// A stop was requested: some are.
    Stopped,
}

/// Rows that a run's rejects account for, by table and digest of what the mapping makes of the item.
pub type Accounted = BTreeSet<(usize, [u8; 16])>;

/// Settles candidates.
pub struct Settler<'a> {
    /// Where they are kept.
    pub docket: &'a dyn Docket,
    /// Looks at both sides.
    pub sides: &'a dyn Sides,
    /// Mends what is confirmed; none to leave it as it is.
    pub mender: Option<&'a dyn Mender>,
    /// How often and how long to look.
    pub patience: Patience,
    /// Rows that are missing because they were rejected.
    pub accounted: Accounted,
    /// The mapping's tables.
    pub tables: &'a [Table],
    /// Whether their rows are items: then attributes are told of, rather than columns.
    pub is_items: bool,
    /// Whether values are noted in clear.
    pub show_values: bool,
    /// Told of verdicts.
    pub monitor: &'a dyn Monitor,
}

/// One candidate on its way.
struct Job {
    difference: Difference,
    kind: Kind,
    case: Case,
    due: Instant,
    /// The row that we inserted, or were about to.
    inserted: Option<Digest>,
    mends: u32,
    /// What was mended.
    mended: Option<Detail>,
    done: bool,
}

impl Job {
    fn new(difference: Difference, due: Instant) -> Self {
        let inserted = Detail::parse(difference.detail.as_deref()).inserted;
        let (kind, mends) = (difference.candidate.kind, u32::from(inserted.is_some()));
        Job { difference, kind, case: Case::default(), due, inserted, mends, mended: None, done: false }
    }

    fn judged(&mut self, verdict: Verdict, detail: Option<&Detail>) -> Judgement {
        self.done = verdict != Verdict::Open;
        let detail = detail.and_then(Detail::text);
        Judgement { id: self.difference.id.clone(), kind: self.kind, verdict, detail }
    }
}

impl Settler<'_> {
    /// Looks until no candidate is open, or a stop is requested. A mender is first given what was left before.
    ///
    /// # Errors
    /// Of either side or the database, when trying again is of no use; verdicts so far are durable.
    pub async fn run(&self, stop: &CancellationToken) -> Result<Settled> {
        if self.mender.is_some() {
            self.docket.reopen().await?;
        }
        loop {
            let batch = self.docket.open(BATCH).await?;
            if batch.is_empty() {
                return Ok(Settled::All);
            }
            let due = Instant::now() + self.patience.pause(0);
            let mut jobs: Vec<Job> = batch.into_iter().map(|difference| Job::new(difference, due)).collect();
            while !jobs.is_empty() {
                let first = jobs.iter().map(|job| job.due).min().unwrap_or(due);
                tokio::select! {
                    () = tokio::time::sleep_until(first) => {}
                    () = stop.cancelled() => return Ok(Settled::Stopped),
                }
                self.round(&mut jobs, stop).await?;
                jobs.retain(|job| !job.done);
                if stop.is_cancelled() {
                    return Ok(Settled::Stopped);
                }
            }
        }
    }

    /// Looks at every job that is due.
    async fn round(&self, jobs: &mut [Job], stop: &CancellationToken) -> Result<()> {
        let now = Instant::now();
        let mut due: Vec<&mut Job> = jobs.iter_mut().filter(|job| job.due <= now).collect();
        self.sides.expect(&due.iter().map(|job| &job.difference.candidate).collect::<Vec<_>>());
        for chunk in due.chunks_mut(LOOKED_AT_ONCE) {
            if stop.is_cancelled() {
                return Ok(());
            }
            let candidates: Vec<&Candidate> = chunk.iter().map(|job| &job.difference.candidate).collect();
            let looks = self.sides.look(&candidates).await?;
            let (mut judgements, mut confirmed) = (Vec::new(), Vec::new());
            for (job, look) in chunk.iter_mut().zip(looks) {
                match self.judge(job, look) {
                    Judged::Open => {}
                    Judged::Ended(judgement) => judgements.push(judgement),
                    Judged::ToMend(seen) => confirmed.push((job, seen)),
                }
            }
            self.mend(confirmed, &mut judgements).await?;
            self.docket.judge(&judgements).await?;
            if !judgements.is_empty() {
                self.monitor.event(&Event::Judged { keys: judgements.len() as u64 });
            }
        }
        Ok(())
    }

    /// Takes in one look.
    fn judge(&self, job: &mut Job, look: Look) -> Judged {
        let (step, seen) = match look {
            Look::HeldBack => (job.case.told_nothing(), None),
            Look::Seen(seen) => {
                job.kind = seen.kind().unwrap_or(job.kind);
                if self.accounts_for(job.difference.candidate.table, &seen) {
                    return Judged::Ended(job.judged(Verdict::Rejected, None));
                }
                (job.case.see(seen.sight(), &self.patience), Some(seen))
            }
        };
        match (step, seen) {
            (Step::Again(pause), _) => {
                job.due = Instant::now() + pause;
                Judged::Open
            }
            (Step::Settled, _) if job.mends > 0 => {
                let detail = job.mended.take();
                Judged::Ended(job.judged(Verdict::Repaired, detail.as_ref()))
            }
            (Step::Settled, _) => Judged::Ended(job.judged(Verdict::Settled, None)),
            (Step::Confirmed, Some(seen)) if self.may_mend(job, &seen) => Judged::ToMend(seen),
            (Step::Confirmed, seen) => {
                let detail = seen.map(|seen| self.detail(job, &seen));
                Judged::Ended(job.judged(Verdict::Confirmed, detail.as_ref()))
            }
            (Step::Unsettled, seen) => {
                let detail = seen.map(|seen| self.detail(job, &seen));
                Judged::Ended(job.judged(Verdict::Unsettled, detail.as_ref()))
            }
        }
    }

    fn detail(&self, job: &Job, seen: &Seen) -> Detail {
        let table = self.tables.get(job.difference.candidate.table);
        let detail = table.map(|table| Detail::of(seen, table, self.is_items, self.show_values)).unwrap_or_default();
        Detail { inserted: job.inserted, ..detail }
    }

    /// Whether the target has no row because a run rejected this very one.
    fn accounts_for(&self, table: usize, seen: &Seen) -> bool {
        match (&seen.source, &seen.target) {
            (Some(row), None) => self.accounted.contains(&(table, row.digest.bytes())),
            _ => false,
        }
    }

    fn may_mend(&self, job: &Job, seen: &Seen) -> bool {
        let Some(mender) = self.mender else { return false };
        let is_ours = job.inserted.is_some() && job.inserted == seen.target.as_ref().map(|row| row.digest);
        seen.kind() != Some(Kind::Extra) || mender.deletes_extras() || is_ours
    }

    /// Mends what was confirmed, some keys at a time.
    async fn mend(&self, mut confirmed: Vec<(&mut &mut Job, Seen)>, judgements: &mut Vec<Judgement>) -> Result<()> {
        let Some(mender) = self.mender else { return Ok(()) };
        let mut about = Vec::new();
        for (job, seen) in &mut confirmed {
            if seen.target.is_none() {
                job.inserted = seen.source.as_ref().map(|row| row.digest);
                about.push(job.judged(Verdict::Open, Some(&Detail { inserted: job.inserted, ..Detail::default() })));
            }
        }
        self.docket.judge(&about).await?;
        for group in confirmed.chunks_mut(mender.at_once().max(1)) {
            let wanted: Vec<Wanted<'_>> =
                group.iter().map(|(job, seen)| Wanted { candidate: &job.difference.candidate, seen }).collect();
            let mended = mender.mend(&wanted).await?;
            for ((job, seen), mended) in group.iter_mut().zip(mended) {
                judgements.extend(self.mended(job, seen, mended));
            }
        }
        Ok(())
    }

    /// Takes in what came of mending; what was written is looked at again after the longest pause.
    fn mended(&self, job: &mut Job, seen: &Seen, mended: Mended) -> Option<Judgement> {
        let step = match mended {
            Mended::Done if job.mends < MENDS_MAX => {
                job.mends += 1;
                job.case = Case::default();
                if job.mended.is_none() {
                    job.mended = Some(self.detail(job, seen));
                }
                Step::Again(self.patience.pauses.last().copied().unwrap_or(Duration::ZERO))
            }
            Mended::Done => Step::Unsettled,
            Mended::Changed => job.case.changed(&self.patience),
            Mended::Refused(why) => {
                let detail = Detail { why: Some(why), ..self.detail(job, seen) };
                return Some(job.judged(Verdict::Confirmed, Some(&detail)));
            }
        };
        match step {
            Step::Again(pause) => {
                job.due = Instant::now() + pause;
                None
            }
            Step::Settled | Step::Confirmed | Step::Unsettled => {
                let detail = self.detail(job, seen);
                Some(job.judged(Verdict::Unsettled, Some(&detail)))
            }
        }
    }
}

/// What one look made of a job.
enum Judged {
    Open,
    Ended(Judgement),
    ToMend(Seen),
}

#[cfg(test)]
mod tests;
