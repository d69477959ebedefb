//! What a move is decided by, gathered from where it is kept: nothing is written.

use super::Options;
use crate::checkpoint::follows::stream_run;
use crate::checkpoint::phases::lock::Lock;
use crate::checkpoint::phases::replays::Replay;
use crate::checkpoint::phases::{Phase, Phases};
use crate::checkpoint::run::{Checkpoint, RunState, Settings, name_of};
use crate::driver::dynamodb::DynamoDb;
use crate::driver::pool::Pool;
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::mapping::moment_text;
use crate::phase::judge::{Facts, Writer};
use crate::sink::destination::Destination;
use crate::sink::inspect;
use crate::verify::certificate;
use crate::verify::check::{self, Expected, Standing};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where evidence is.
pub(super) struct Evidence<'a> {
    pub(super) phases: &'a Phases,
    pub(super) target: &'a Target,
    pub(super) pool: &'a Arc<Pool>,
    pub(super) options: &'a Options,
}

/// The copy, if there is one.
struct Copy {
    checkpoint: Checkpoint,
    settings: Settings,
    state: RunState,
}

/// A run that applies changes.
struct Replaying {
    run: String,
    /// How far behind it is, in seconds; none when it has not told lately.
    lag: Option<u64>,
    /// When it came to its end.
    ended_us: Option<i64>,
}

/// When, in microseconds since 1970 by the target's clock, and by what.
type Written = (i64, String);

/// What a certificate is worth.
enum Certified {
    /// It stands, and says that all of the source and the target was compared in full; when it ended.
    Full(i64),
    /// It stands, of digests of all.
    Partly,
    /// It does not count.
    Doubtful(String),
}

impl Evidence<'_> {
    /// All that is known. Who replays has to have looked for more at `since_us` or later.
    pub(super) async fn gather(&self, phase: &Phase, since_us: i64) -> Result<Facts> {
        let lock = self.phases.lock().await?;
        let run = self.run(lock.as_ref());
        let copy = self.copy(&run).await?;
        let replays = self.replays(&run, since_us).await?;
        let written = self.written(phase, copy.as_ref(), &replays).await?;
        let certified = self.certified(copy.as_ref(), &written).await?;
        let writer = |one: crate::checkpoint::phases::writers::Instance| Writer {
            name: one.name,
            step: one.step,
            lives: one.lives,
        };
        let mut facts = Facts {
            table: self.phases.migration().to_owned(),
            step: phase.step,
            lock: lock.map(|lock| lock.run),
            writers: self.phases.writers().await?.into_iter().map(writer).collect(),
            faults: self.phases.faults().await?.len() as u64,
            replays: replays.into_iter().map(|replay| (replay.run, replay.lag)).collect(),
            // a write on record may lack in the store that is not the truth, and the truth does not change while it is
            unsettled: self.phases.unsettled().await?.map(|open| [open, open]),
            expires: self.options.expires,
            no_extras: matches!(certified, Certified::Full(_)),
            is_fresh: self.is_fresh(phase, &certified).await?,
            typed: self.options.typed.clone(),
            ..Facts::default()
        };
        if let Some(copy) = &copy {
            let open = if copy.state == RunState::Complete { 0 } else { copy.checkpoint.open_units().await?.max(1) };
            facts.units = Some((open, copy.checkpoint.unit_names().await?.len() as u64));
            facts.open_rejects = Some(copy.checkpoint.reject_states().await?.open);
        }
        if let Certified::Doubtful(why) = certified {
            facts.certificate = Some(why);
        }
        Ok(facts)
    }

    /// The copy's run.
    pub(super) fn run(&self, lock: Option<&Lock>) -> String {
        match (&self.options.run, lock) {
            (Some(run), _) => run.clone(),
            (None, Some(lock)) => lock.run.clone(),
            (None, None) => self.phases.migration().to_owned(),
        }
    }

    /// The copy is of the past: no tombstone is needed any more, but for those of a table that another run has begun to load.
    pub(super) async fn end_load(&self, run: &str) -> Result<()> {
        let Some(copy) = self.copy(run).await? else { return Ok(()) };
        let tables: Vec<String> = copy.settings.tables.into_iter().map(|table| table.name).collect();
        copy.checkpoint.end_load(&tables).await
    }

    /// A run of the migration's table; none of another's.
    async fn copy(&self, run: &str) -> Result<Option<Copy>> {
        let Some(mut checkpoint) = Checkpoint::existing(Arc::clone(self.pool), run).await? else { return Ok(None) };
        let loaded = checkpoint.load().await?.filter(|(settings, _)| self.is_of_table(settings));
        Ok(loaded.map(|(settings, state)| Copy { checkpoint, settings, state }))
    }

    fn is_of_table(&self, settings: &Settings) -> bool {
        settings.source_table().is_some_and(|table| name_of(table) == self.phases.migration())
    }

    /// The tables that any run has written to for the migration's table.
    async fn tables(&self) -> Result<BTreeSet<String>> {
        let runs = self.phases.runs().await?;
        let of_table = runs.into_iter().filter(|settings| settings.compares.is_none() && self.is_of_table(settings));
        Ok(of_table.flat_map(|settings| settings.tables).map(|table| table.name).collect())
    }

    /// What replays changes: how far behind each is, where it told lately. One that has come to its end has nothing left to apply.
    async fn replays(&self, run: &str, since_us: i64) -> Result<Vec<Replaying>> {
        let told = self.phases.replays(since_us).await?;
        let mut told: BTreeMap<String, Option<Replay>> =
            told.into_iter().map(|replay| (replay.run.clone(), Some(replay))).collect();
        // captured, and not followed yet
        told.entry(stream_run(run)).or_default();
        let mut replays = Vec::new();
        for (run, told) in told {
            let (lag, told_us) = told.map_or((None, None), |replay| (replay.lag, replay.told_us));
            match self.copy(&run).await? {
                None => {}
                Some(copy) if copy.state == RunState::Complete => {
                    replays.push(Replaying { run, lag: Some(0), ended_us: told_us });
                }
                Some(_) => replays.push(Replaying { run, lag, ended_us: None }),
            }
        }
        Ok(replays)
    }

    /// What the target's rows were written by, and when, other than by the writes of a step that writes to both stores: what was
    /// compared before proves nothing of it.
    async fn written(&self, phase: &Phase, copy: Option<&Copy>, replays: &[Replaying]) -> Result<Vec<Written>> {
        let mut written = Vec::new();
        if phase.planned().is_some_and(|step| step.writes.second.is_some()) {
            written.push((self.phases.dual_since_us().await?, "dual writes began".to_owned()));
            let read = copy.and_then(|copy| copy.settings.as_of_us.map(|at_us| (at_us, &copy.checkpoint)));
            written.extend(read.map(|(at_us, copy)| (at_us, format!("run {} read the source", copy.run()))));
        }
        let ended = |replay: &Replaying| Some((replay.ended_us?, format!("{} had applied its changes", replay.run)));
        written.extend(replays.iter().filter_map(ended));
        Ok(written)
    }

    /// Whether nothing stale is in the target: it was never written to, or is empty, or was proved since.
    async fn is_fresh(&self, phase: &Phase, certified: &Certified) -> Result<Option<bool>> {
        let history = self.phases.history().await?;
        let ended = history.iter().rfind(|past| past.to == 1 && past.from > 1).map_or(0, |past| past.at_us);
        if matches!(certified, Certified::Full(at_us) if *at_us > ended) {
            return Ok(Some(true));
        }
        let tables = self.tables().await?;
        if tables.is_empty() {
            // they are not known; before the first generation there is nothing of an earlier one
            return Ok((phase.generation == 1).then_some(true));
        }
        let (mut session, to) = (Session::open(self.target).await?, Destination::Sql(self.target.clone()));
        for table in &tables {
            if to.identity(&mut session, table).await?.is_none() {
                continue;
            }
            let empty = inspect::is_empty(&mut session, table).await;
            if !empty.map_err(|fault| fault.into_error("looking whether the target is empty"))? {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    async fn certified(&self, copy: Option<&Copy>, written: &[Written]) -> Result<Certified> {
        let Some(path) = &self.options.certificate else {
            return Ok(Certified::Doubtful(
                "no certificate was given: `transvase verify --certificate FILE` writes one, `--certificate FILE` hands it over"
                    .to_owned(),
            ));
        };
        let Some(copy) = copy else {
            return Ok(Certified::Doubtful("there is no copy that it could be of".to_owned()));
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::config(format!("reading certificate {name}")).because(error))?;
        let read = certificate::read(&text, &name)?.certificate;
        if table_of(&read.source) != table_of(&copy.settings.source) || read.source.contains("/export/") {
            return Ok(Certified::Doubtful(format!(
                "certificate {name} is not of the live table that run {} copied",
                copy.checkpoint.run()
            )));
        }
        let to = Destination::Sql(self.target.clone());
        let expected = Expected {
            source: &read.source,
            mapping: &copy.settings.mapping,
            target: &to,
            max_age: self.options.max_age,
        };
        let mut session = Session::open(self.target).await?;
        let standing: Standing = check::check(&text, &name, &expected, &mut session).await?;
        if !standing.is_valid() {
            let findings: Vec<String> = standing.findings.iter().map(ToString::to_string).collect();
            return Ok(Certified::Doubtful(format!("certificate {name} does not stand: {}", findings.join("; "))));
        }
        if let Some((at_us, what)) = written.iter().max().filter(|(at_us, _)| read.started_us <= *at_us) {
            return Ok(Certified::Doubtful(format!(
                "certificate {name} is of a comparison that began at {}, and {what} at {}: compare again",
                moment_text(read.started_us),
                moment_text(*at_us)
            )));
        }
        if standing.level == "full" && standing.sample.is_none() {
            return Ok(Certified::Full(read.ended_us));
        }
        if standing.level == "counts" || standing.sample.is_some() {
            return Ok(Certified::Doubtful(format!(
                "certificate {name} is of counts or of a sample only: compare all at level digest or full"
            )));
        }
        Ok(Certified::Partly)
    }
}

/// Whether the source table deletes items by itself; none when it does not say, or we may not ask.
pub async fn time_to_live(source: &DynamoDb, table: &str) -> Option<bool> {
    match source.time_to_live(table).await {
        Ok(attribute) => Some(attribute.is_some()),
        Err(refusal) => {
            tracing::warn!("asking for the time to live: {}", refusal.message);
            None
        }
    }
}

/// The table that an identity speaks of: its ARN.
fn table_of(identity: &str) -> &str {
    identity.split([' ']).next().and_then(|arn| arn.split("/export/").next()).unwrap_or_default()
}
