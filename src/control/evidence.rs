//! What a move is decided by, gathered from where it is kept: nothing is written.

use super::Options;
use crate::checkpoint::follows::stream_run;
use crate::checkpoint::phases::{Phase, Phases};
use crate::checkpoint::run::{Checkpoint, RunState, Settings};
use crate::driver::pool::Pool;
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::phase::judge::{Facts, Writer};
use crate::sink::destination::Destination;
use crate::sink::inspect;
use crate::verify::certificate;
use crate::verify::check::{self, Expected, Standing};
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

/// What a certificate is worth.
enum Certified {
    /// It stands, and says that all of the source and the target was compared in full; when it ended.
    Full(i64),
    /// It stands, of less.
    Partly,
    /// It does not count.
    Doubtful(String),
}

impl Evidence<'_> {
    /// All that is known.
    pub(super) async fn gather(&self, phase: &Phase) -> Result<Facts> {
        let lock = self.phases.lock().await?;
        let run = match (&self.options.run, &lock) {
            (Some(run), _) => run.clone(),
            (None, Some(lock)) => lock.run.clone(),
            (None, None) => self.phases.migration().to_owned(),
        };
        let copy = self.copy(&run).await?;
        let certified = self.certified(copy.as_ref()).await?;
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
            replays: self.replays(&run).await?,
            // no writer keeps such a record yet, so it is not known
            unsettled: None,
            no_extras: matches!(certified, Certified::Full(_)),
            is_fresh: self.is_fresh(phase, copy.as_ref(), &certified).await?,
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

    async fn copy(&self, run: &str) -> Result<Option<Copy>> {
        let Some(mut checkpoint) = Checkpoint::existing(Arc::clone(self.pool), run).await? else { return Ok(None) };
        let loaded = checkpoint.load().await?;
        Ok(loaded.map(|(settings, state)| Copy { checkpoint, settings, state }))
    }

    /// What follows the copy. How far behind it is only it knows.
    async fn replays(&self, run: &str) -> Result<Vec<(String, Option<u64>)>> {
        let name = stream_run(run);
        let there = Checkpoint::existing(Arc::clone(self.pool), &name).await?.is_some();
        Ok(if there { vec![(name, None)] } else { Vec::new() })
    }

    /// Whether nothing stale is in the target: it was never written to, or is empty, or was proved since.
    async fn is_fresh(&self, phase: &Phase, copy: Option<&Copy>, certified: &Certified) -> Result<Option<bool>> {
        let history = self.phases.history().await?;
        let ended = history.iter().rfind(|past| past.to == 1 && past.from > 1).map_or(0, |past| past.at_us);
        if matches!(certified, Certified::Full(at_us) if *at_us > ended) {
            return Ok(Some(true));
        }
        // without a copy its tables are not known; before the first generation there is nothing of an earlier one
        let Some(copy) = copy else { return Ok((phase.generation == 1).then_some(true)) };
        let (mut session, to) = (Session::open(self.target).await?, Destination::Sql(self.target.clone()));
        for table in &copy.settings.tables {
            if to.identity(&mut session, &table.name).await?.is_none() {
                continue;
            }
            let empty = inspect::is_empty(&mut session, &table.name).await;
            if !empty.map_err(|fault| fault.into_error("looking whether the target is empty"))? {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    async fn certified(&self, copy: Option<&Copy>) -> Result<Certified> {
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
        if standing.level == "full" && standing.sample.is_none() {
            return Ok(Certified::Full(read.ended_us));
        }
        Ok(Certified::Partly)
    }
}

/// The table that an identity speaks of: its ARN.
fn table_of(identity: &str) -> &str {
    identity.split([' ']).next().and_then(|arn| arn.split("/export/").next()).unwrap_or_default()
}
