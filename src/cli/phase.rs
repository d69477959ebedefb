//! `transvase phase`: its flags, one library call each, and what is printed.
#![expect(clippy::disallowed_methods, reason = "who types is asked of the environment")]

use super::rejects::{On, target};
use super::{ExitCode, Typed, config, output};
use crate::checkpoint::phases::Past;
use crate::control::{Control, Moved, Options, Status};
use crate::error::{Error, Result};
use crate::mapping::moment_text;
use crate::phase::plan::{Fill, Plan, Reads, Step, Store};
use crate::phase::{PLANS, plan_called};
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  # the steps of a migration, and what each move asks for
  transvase phase plan

  # where the migration of table orders is, and what keeps it from moving on
  transvase phase status --on mysql://loader@db.example/shop --table orders

  # the backfill lock, for the run that will copy the table; then dual writes may begin
  transvase phase lock --on mysql://loader@db.example/shop --table orders --run orders
  transvase phase advance --on mysql://loader@db.example/shop --table orders --to backfill

  # the cut-over: writers stop, everything is looked at once more, writers go on in MySQL
  transvase phase advance --on mysql://loader@db.example/shop --table orders --to trx-write --certificate orders.cert.json

A move that may not be made is refused with exit 6, a sentence that names what is missing, and nothing changed.";

/// `transvase phase`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PhaseArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with a migration.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print the steps of a plan, and what each move between them asks for.
    Plan,
    /// Print where a migration is, who takes part, and what keeps it from moving.
    Status(StatusArgs),
    /// Move on to another step.
    Advance(MoveArgs),
    /// Move back to an earlier step.
    Rollback(MoveArgs),
    /// Take the backfill lock for a run, or have it for longer.
    Lock(LockArgs),
    /// Take the backfill lock away from a run: none of its processes writes another row.
    Unlock(Where),
    /// Print all transitions.
    History(StatusArgs),
}

/// Which migration.
#[derive(Debug, Args)]
pub struct Where {
    /// Where it is kept.
    #[command(flatten)]
    pub on: On,
    /// The migration's name: that of the DynamoDB table.
    #[arg(long = "table", env = "TRANSVASE_TABLE", value_name = "NAME")]
    pub table: String,
    /// Who asks [default: USER].
    #[arg(long, env = "TRANSVASE_BY", value_name = "NAME")]
    pub by: Option<String>,
}

/// What a move is decided by.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// A certificate that `transvase verify` wrote.
    #[arg(long, env = "TRANSVASE_CERTIFICATE", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// How old it may be.
    #[arg(long, env = "TRANSVASE_MAX_AGE", value_name = "TIME", default_value = "24h")]
    pub max_age: String,
}

/// `transvase phase status`, `history`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which migration.
    #[command(flatten)]
    pub migration: Where,
    /// What moves are decided by.
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// Where to write it as JSON.
    #[arg(long, env = "TRANSVASE_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// `transvase phase advance`, `rollback`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Which migration.
    #[command(flatten)]
    pub migration: Where,
    /// What it is decided by.
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// The step, by its name or number.
    #[arg(long = "to", env = "TRANSVASE_TO_STEP", value_name = "STEP")]
    pub step: String,
    /// Why, for the history.
    #[arg(long, env = "TRANSVASE_WHY", value_name = "TEXT")]
    pub why: Option<String>,
    /// How long writers may take to stop at a barrier; then it is withdrawn, and they go on as before.
    #[arg(long, env = "TRANSVASE_BARRIER_TIMEOUT", value_name = "S", default_value = "10")]
    pub barrier_timeout: f64,
    /// The table's name, typed out, for the step that there is no way back from.
    #[arg(long, env = "TRANSVASE_YES_LOSE_ROLLBACK", value_name = "TABLE")]
    pub yes_lose_rollback: Option<String>,
}

/// `transvase phase lock`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Which migration.
    #[command(flatten)]
    pub migration: Where,
    /// For how long, unless it is taken anew: the backfill renews it as it goes.
    #[arg(long, env = "TRANSVASE_LEASE", value_name = "TIME", default_value = "24h")]
    pub lease: String,
}

/// Runs the verb.
///
/// # Errors
/// Of the database; see [`control`](crate::control).
pub async fn run(args: &PhaseArgs, typed: Typed) -> Result<ExitCode> {
    match &args.verb {
        Verb::Plan => PLANS.iter().for_each(|plan| output::print(&plan_text(plan, None))),
        Verb::Status(args) => {
            let status =
                existing(&args.migration, typed).await?.status(&options(&args.migration, &args.evidence)?).await?;
            output::print(&status_text(&status));
            args.report.as_deref().map_or(Ok(()), |path| output::write_json(&status, path))?;
        }
        Verb::Advance(args) => go(args, true, typed).await?,
        Verb::Rollback(args) => go(args, false, typed).await?,
        Verb::Lock(args) => {
            let at = &args.migration;
            let control = Control::open(&target(&at.on, typed)?, &at.table, &who(at)).await?;
            let run = at.on.run.as_deref().unwrap_or(&at.table);
            control.lock(run, config::time("--lease", &args.lease)?).await?;
            output::print(&format!("run {run} holds the backfill lock of {} for {}\n", at.table, args.lease));
        }
        Verb::Unlock(at) => {
            let run = at.on.run.as_deref().unwrap_or(&at.table);
            existing(at, typed).await?.unlock(run).await?;
            output::print(&format!("nobody holds the backfill lock of {}\n", at.table));
        }
        Verb::History(args) => {
            let history = existing(&args.migration, typed).await?.history().await?;
            output::print(&history_text(&history));
            args.report.as_deref().map_or(Ok(()), |path| output::write_json(&history, path))?;
        }
    }
    Ok(ExitCode::Complete)
}

async fn existing(at: &Where, typed: Typed) -> Result<Control> {
    Control::existing(&target(&at.on, typed)?, &at.table).await
}

/// Moves forward, or back.
async fn go(args: &MoveArgs, forward: bool, typed: Typed) -> Result<()> {
    let control = existing(&args.migration, typed).await?;
    let (phase, plan) = control.phase().await?;
    let to = plan.find(&args.step).ok_or_else(|| {
        let names: Vec<&str> = plan.steps.iter().map(|step| step.name).collect();
        Error::config(format!("--to {}: plan {} has the steps {}", args.step, plan.name, names.join(", ")))
    })?;
    if to != phase.step && (to > phase.step) != forward {
        let (verb, other) = if forward { ("advance", "rollback") } else { ("rollback", "advance") };
        return Err(Error::config(format!(
            "--to {}: {verb} does not lead from step {} to step {to}, `transvase phase {other}` does",
            args.step, phase.step
        )));
    }
    let options = Options {
        why: args.why.clone(),
        typed: args.yes_lose_rollback.clone(),
        barrier_timeout: Duration::try_from_secs_f64(args.barrier_timeout)
            .map_err(|_| Error::config("--barrier-timeout is not a time in seconds"))?,
        ..options(&args.migration, &args.evidence)?
    };
    output::print(&moved_text(plan, &control.go(to, &options).await?));
    Ok(())
}

fn options(at: &Where, evidence: &EvidenceArgs) -> Result<Options> {
    Ok(Options {
        run: at.on.run.clone(),
        certificate: evidence.certificate.clone(),
        max_age: config::time("--max-age", &evidence.max_age)?,
        barrier_timeout: Duration::ZERO,
        typed: None,
        who: who(at),
        why: None,
    })
}

fn who(at: &Where) -> String {
    at.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "somebody".to_owned())
}

fn moved_text(plan: &Plan, moved: &Moved) -> String {
    let name = plan.step(moved.to).map_or("", |step| step.name);
    let paused = moved
        .paused
        .map(|pause| format!("; writers were stopped for {:.1} s", pause.as_secs_f64()))
        .unwrap_or_default();
    format!("step {} ({name}), from step {}{paused}\n", moved.to, moved.from)
}

/// The steps as a table, the present one marked, and the moves.
fn plan_text(plan: &Plan, present: Option<u8>) -> String {
    let mut out = format!("plan {}\n  {:<4}{:<12}{:<22}{:<26}{}\n", plan.name, "", "step", "reads", "writes", "stands");
    for (number, step) in (1..).zip(plan.steps) {
        let mark = if present == Some(number) { ">" } else { " " };
        let (reads, writes) = (reads(plan, step.reads), writes(plan, step));
        // writing to a string does not fail
        let _ok = writeln!(out, "{mark} {number:<4}{:<12}{reads:<22}{writes:<26}{}", step.name, step.interlock);
    }
    if present.is_none() {
        for one in plan.moves {
            let barrier = one.barrier.map(|number| format!(", across write barrier {number}")).unwrap_or_default();
            let asks: Vec<String> = one.conditions.iter().map(ToString::to_string).collect();
            let asks = if asks.is_empty() { "at any time".to_owned() } else { format!("when {}", asks.join(", ")) };
            let _ok = writeln!(out, "  {} to {}{barrier}: {asks}", one.from, one.to);
        }
    }
    out
}

fn reads(plan: &Plan, Reads { first, fill }: Reads) -> String {
    let other = match first {
        Store::Old => Store::New,
        Store::New => Store::Old,
    };
    let (first, other) = (plan.called(first), plan.called(other));
    match fill {
        Fill::Nothing => first.to_owned(),
        Fill::Every => format!("{first}, fills {other}"),
        Fill::Missing => format!("{first}, fills gaps"),
    }
}

fn writes(plan: &Plan, step: &Step) -> String {
    let (first, second) = (plan.called(step.writes.first), step.writes.second.map(|store| plan.called(store)));
    match (second, step.writes.joined) {
        (None, _) => first.to_owned(),
        (Some(second), false) => format!("{first}, then {second}"),
        (Some(second), true) => format!("{first} around {second}"),
    }
}

fn status_text(status: &Status) -> String {
    let Some(plan) = plan_called(&status.phase.plan) else { return String::new() };
    let step = status.phase.step;
    let mut out = format!("migration {}, generation {}\n", status.migration, status.phase.generation);
    out.push_str(&plan_text(plan, Some(step)));
    let mut line = |text: String| {
        out.push_str("  ");
        out.push_str(&text);
        out.push('\n');
    };
    if let Some(to) = status.phase.moving_to {
        line(format!("a barrier stands on the way to step {to}: writers are stopped"));
    }
    match &status.lock {
        None => line("nobody holds the backfill lock".to_owned()),
        Some(lock) => {
            let left =
                lock.left_us.map_or("its lease is over".to_owned(), |us| format!("for {} s more", us / 1_000_000));
            line(format!("run {} holds the backfill lock, {left}", lock.run));
        }
    }
    if status.writers.is_empty() {
        line("no application instance is registered".to_owned());
    }
    for one in &status.writers {
        let life = match (one.lives, one.stopped) {
            (false, _) => ", not heard of since its lease ended",
            (true, true) => ", stopped",
            (true, false) => "",
        };
        line(format!("writer {}: step {} since {}{life}", one.name, one.step, moment_text(one.since_us)));
    }
    for fault in &status.faults {
        line(format!("fault {} of {}, {}: {}", fault.fault, fault.who, moment_text(fault.at_us), fault.what));
    }
    for way in &status.moves {
        let name = plan.step(way.to).map_or("", |step| step.name);
        let verb = if way.to > step { "advance" } else { "rollback" };
        if way.blocked_by.is_empty() {
            line(format!("{verb} to {} ({name}): may be made", way.to));
        }
        for why in &way.blocked_by {
            line(format!("{verb} to {} ({name}) is blocked: {why}", way.to));
        }
    }
    out
}

fn history_text(history: &[Past]) -> String {
    let mut out = String::new();
    for past in history {
        let why = past.audit.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let (at, who, what) = (moment_text(past.at_us), &past.audit.who, &past.audit.what);
        let _ok = writeln!(out, "{at}  {who}  {what}  step {} to {}{why}", past.from, past.to);
    }
    out
}
