//! The verbs of `transvase phase` that change something: what was typed becomes one call, or its rehearsal.
#![expect(clippy::disallowed_methods, reason = "who types is asked of the environment")]

use super::super::open::LIVE;
use super::super::rejects::target;
use super::super::{Typed, config, output};
use super::{BarrierArgs, ChangeArgs, EvidenceArgs, ForceArgs, LockArgs, MoveArgs, PauseArgs, UnlockArgs, Where, told};
use crate::checkpoint::run::name_of;
use crate::control::force::Force;
use crate::control::{Control, Options, time_to_live};
use crate::driver::dynamodb::{DynamoDb, Endpoint};
use crate::error::{Error, Result};
use crate::phase::plan::Plan;
use std::time::Duration;

/// How long a barrier stands that nobody asks for.
const NO_BARRIER: Duration = Duration::ZERO;

/// A migration that was begun.
pub(super) async fn existing(at: &Where, typed: Typed) -> Result<Control> {
    Control::existing(&target(&at.on, typed)?, &at.table).await
}

/// The same, to be changed or to rehearse that.
async fn changed(at: &Where, change: &ChangeArgs, typed: Typed) -> Result<Control> {
    if change.dry_run {
        let control = Control::rehearsing(&target(&at.on, typed)?, &at.table, None).await?;
        return mirroring(control, change).await;
    }
    mirroring(existing(at, typed).await?, change).await
}

async fn mirroring(mut control: Control, change: &ChangeArgs) -> Result<Control> {
    match change.interlock_table.as_deref() {
        None => {}
        Some("off") => control.mirror_into(None).await?,
        Some(name) => control.mirror_into(Some(name)).await?,
    }
    Ok(control)
}

/// Says what was done, or would have been sent.
fn ended(control: &Control, change: &ChangeArgs, said: &str) {
    match change.dry_run {
        true => output::print(&told::statements(&control.statements())),
        false => output::print(said),
    }
}

/// Moves forward, or back.
pub(super) async fn go(args: &MoveArgs, forward: bool, typed: Typed) -> Result<()> {
    let options = Options {
        why: args.why.clone(),
        typed: args.yes_lose_rollback.clone(),
        barrier_timeout: timeout(&args.pause)?,
        ..options(&args.migration, Some(&args.evidence)).await?
    };
    let control = changed(&args.migration, &args.change, typed).await?;
    let (phase, plan) = control.phase().await?;
    let to = step(plan, &args.step)?;
    if to != phase.step && (to > phase.step) != forward {
        let (verb, other) = if forward { ("advance", "rollback") } else { ("rollback", "advance") };
        return Err(Error::config(format!(
            "--to {}: {verb} does not lead from step {} to step {to}, `transvase phase {other}` does",
            args.step, phase.step
        )));
    }
    if args.change.dry_run {
        output::print(&told::asked(&control.asked(to, &options).await?));
    }
    let moved = control.go(to, &options).await?;
    ended(&control, &args.change, &told::moved(plan, &moved));
    Ok(())
}

/// Takes the backfill lock, of a migration that begins with it.
pub(super) async fn lock(args: &LockArgs, typed: Typed) -> Result<()> {
    let (at, lease) = (&args.migration, config::time("--lease", &args.lease)?);
    let (on, who) = (target(&at.on, typed)?, who(at));
    let control = match args.change.dry_run {
        true => Control::rehearsing(&on, &at.table, Some(&who)).await?,
        false => Control::open(&on, &at.table, &who).await?,
    };
    let control = mirroring(control, &args.change).await?;
    let run = at.on.run.as_deref().unwrap_or(&at.table);
    control.lock(run, lease).await?;
    ended(&control, &args.change, &format!("run {run} holds the backfill lock of {} for {}\n", at.table, args.lease));
    Ok(())
}

/// Takes the backfill lock away.
pub(super) async fn unlock(args: &UnlockArgs, typed: Typed) -> Result<()> {
    let at = &args.migration;
    let control = changed(at, &args.change, typed).await?;
    control.unlock(at.on.run.as_deref().unwrap_or(&at.table)).await?;
    ended(&control, &args.change, &format!("nobody holds the backfill lock of {}\n", at.table));
    Ok(())
}

/// Rehearses a barrier.
pub(super) async fn barrier(args: &BarrierArgs, typed: Typed) -> Result<()> {
    let options = Options {
        why: args.why.clone(),
        barrier_timeout: timeout(&args.pause)?,
        ..options(&args.migration, None).await?
    };
    let control = changed(&args.migration, &args.change, typed).await?;
    let rehearsed = control.rehearse(&options).await?;
    ended(&control, &args.change, &told::rehearsed(&rehearsed));
    Ok(())
}

/// Does by hand what nothing else does.
pub(super) async fn force(args: &ForceArgs, typed: Typed) -> Result<()> {
    let options = Options {
        why: Some(args.why.clone()),
        typed: Some(args.yes_force.clone()),
        barrier_timeout: timeout(&args.pause)?,
        ..options(&args.migration, Some(&args.evidence)).await?
    };
    let control = changed(&args.migration, &args.change, typed).await?;
    let (_, plan) = control.phase().await?;
    let watch = seconds("--watch-seconds", args.watch_seconds)?;
    let what = match (&args.what.step, args.what.clear_fault, &args.what.sign_off_writer) {
        (Some(typed), _, _) => Force::Step(step(plan, typed)?),
        (_, Some(fault), _) => Force::ClearFault(fault),
        (_, _, Some(writer)) => Force::SignOff(writer.clone(), watch),
        _ => return Err(Error::config("force: say what, with --clear-fault, --sign-off-writer or --to")),
    };
    let (loss, moved) = control.force(&what, &options).await?;
    let moved = moved.map(|moved| told::moved(plan, &moved)).unwrap_or_default();
    output::print(&format!("WARNING: {loss}\n"));
    ended(&control, &args.change, &moved);
    Ok(())
}

fn step(plan: &Plan, typed: &str) -> Result<u8> {
    plan.find(typed).ok_or_else(|| {
        let names: Vec<&str> = plan.steps.iter().map(|step| step.name).collect();
        Error::config(format!("--to {typed}: plan {} has the steps {}", plan.name, names.join(", ")))
    })
}

fn timeout(pause: &PauseArgs) -> Result<Duration> {
    seconds("--barrier-timeout", pause.barrier_timeout)
}

fn seconds(flag: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| Error::config(format!("{flag} is not a time in seconds")))
}

/// Who asks, and what is known beside the database; the source is asked here, once.
pub(super) async fn options(at: &Where, evidence: Option<&EvidenceArgs>) -> Result<Options> {
    let (certificate, max_age, expires) = match evidence {
        None => (None, Duration::ZERO, None),
        Some(args) => {
            let max_age = config::time("--max-age", &args.max_age)?;
            (args.certificate.clone(), max_age, expires(at, args).await?)
        }
    };
    Ok(Options {
        run: at.on.run.clone(),
        certificate,
        max_age,
        barrier_timeout: NO_BARRIER,
        typed: None,
        expires,
        waives: false,
        who: who(at),
        why: None,
    })
}

async fn expires(at: &Where, args: &EvidenceArgs) -> Result<Option<bool>> {
    let Some(source) = &args.source else { return Ok(None) };
    let wrong = |what: &str| Error::config(format!("--source {source}: {what}"));
    let table = source.strip_prefix(LIVE).ok_or_else(|| wrong("name the live table as dynamodb://TABLE"))?;
    if name_of(table) != at.table {
        return Err(wrong(&format!("the migration is of table {}", at.table)));
    }
    let endpoint = Endpoint { url: args.endpoint_url.clone(), region: args.region.clone() };
    Ok(time_to_live(&DynamoDb::connect(&endpoint).await?, table).await)
}

fn who(at: &Where) -> String {
    at.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "somebody".to_owned())
}
