//! `transvase phase`: its flags, and one call for each verb.

mod act;
mod told;

use super::rejects::On;
use super::{ExitCode, Typed, output};
use crate::error::Result;
use crate::phase::PLANS;
use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  # the steps of a migration, and what each move asks for
  transvase phase plan

  # where the migration of table orders is, and what keeps it from moving on
  transvase phase status --on mysql://loader@db.example/shop --table orders

  # the backfill lock, for the run that will copy the table; then dual writes may begin
  transvase phase lock --on mysql://loader@db.example/shop --table orders --run orders
  transvase phase advance --on mysql://loader@db.example/shop --table orders --to backfill

  # how long would all writers take to stop? a barrier that leads nowhere
  transvase phase barrier --on mysql://loader@db.example/shop --table orders

  # what the cut-over asks for, and each statement that it would send
  transvase phase advance --dry-run --on mysql://loader@db.example/shop --table orders --to trx-write \\
      --certificate orders.cert.json --source dynamodb://orders

  # the cut-over: writers stop, everything is looked at once more, writers go on in MySQL
  transvase phase advance --on mysql://loader@db.example/shop --table orders --to trx-write --certificate orders.cert.json

  # at night: an instance is dead, and its lease would last for an hour more
  transvase phase force --sign-off-writer app-3 --why 'host burnt down' --yes-force orders \\
      --on mysql://loader@db.example/shop --table orders

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
    Unlock(UnlockArgs),
    /// Stop all writers at a barrier that leads nowhere, say how long that took, and let them go on.
    Barrier(BarrierArgs),
    /// Print all transitions.
    History(StatusArgs),
    /// Do by hand what nothing else does any more, for a reason and on record: the last resort.
    Force(ForceArgs),
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
#[derive(Debug, Default, Args)]
pub struct EvidenceArgs {
    /// A certificate that `transvase verify` wrote.
    #[arg(long, env = "TRANSVASE_CERTIFICATE", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// How old it may be.
    #[arg(long, env = "TRANSVASE_MAX_AGE", value_name = "TIME", default_value = "24h")]
    pub max_age: String,
    /// The source, dynamodb://TABLE: it is asked whether it deletes items by itself (DescribeTimeToLive).
    #[arg(long, env = "TRANSVASE_SOURCE", value_name = "SOURCE")]
    pub source: Option<String>,
    /// A DynamoDB-compatible server instead of AWS.
    #[arg(long, env = "TRANSVASE_ENDPOINT_URL", value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// The AWS region [default: AWS_REGION, or the profile's].
    #[arg(long, env = "TRANSVASE_REGION", value_name = "REGION")]
    pub region: Option<String>,
}

/// How what changes something does it.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Print what would be asked and each statement that would be sent, and change nothing.
    #[arg(long, env = "TRANSVASE_DRY_RUN", value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// From now on keep another tool's interlock table in step, in the same transactions; `off` ends that.
    #[arg(long, env = "TRANSVASE_INTERLOCK_TABLE", value_name = "NAME", num_args = 0..=1, default_missing_value = "_migration")]
    pub interlock_table: Option<String>,
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

/// How long a barrier may stand.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// How long writers may take to stop at a barrier; then it is withdrawn, and they go on as before.
    #[arg(long, env = "TRANSVASE_BARRIER_TIMEOUT", value_name = "S", default_value = "10")]
    pub barrier_timeout: f64,
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
    /// How it is done.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// How long it may take.
    #[command(flatten)]
    pub pause: PauseArgs,
    /// The step, by its name or number.
    #[arg(long = "to", env = "TRANSVASE_TO_STEP", value_name = "STEP")]
    pub step: String,
    /// Why, for the history.
    #[arg(long, env = "TRANSVASE_WHY", value_name = "TEXT")]
    pub why: Option<String>,
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
    /// How it is done.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// For how long, unless it is taken anew: the backfill renews it as it goes.
    #[arg(long, env = "TRANSVASE_LEASE", value_name = "TIME", default_value = "24h")]
    pub lease: String,
}

/// `transvase phase unlock`.
#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// Which migration.
    #[command(flatten)]
    pub migration: Where,
    /// How it is done.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `transvase phase barrier`.
#[derive(Debug, Args)]
pub struct BarrierArgs {
    /// Which migration.
    #[command(flatten)]
    pub migration: Where,
    /// How it is done.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// How long it may take.
    #[command(flatten)]
    pub pause: PauseArgs,
    /// Why, for the history.
    #[arg(long, env = "TRANSVASE_WHY", value_name = "TEXT")]
    pub why: Option<String>,
}

/// `transvase phase force`.
#[derive(Debug, Args)]
pub struct ForceArgs {
    /// Which migration.
    #[command(flatten)]
    pub migration: Where,
    /// What a step is decided by.
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// How it is done.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// How long a barrier may stand.
    #[command(flatten)]
    pub pause: PauseArgs,
    /// What is forced.
    #[command(flatten)]
    pub what: ForceWhat,
    /// How long an instance that is signed off must not be heard of: longer than it takes from one heartbeat to the next.
    #[arg(long, env = "TRANSVASE_WATCH_SECONDS", value_name = "S", default_value = "5")]
    pub watch_seconds: f64,
    /// Why, for the history.
    #[arg(long, env = "TRANSVASE_WHY", value_name = "TEXT")]
    pub why: String,
    /// The table's name, typed out.
    #[arg(long, env = "TRANSVASE_YES_FORCE", value_name = "TABLE")]
    pub yes_force: String,
}

/// One of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ForceWhat {
    /// Clear the fault of this number: what it names is right by now, or has to be borne.
    #[arg(long, env = "TRANSVASE_CLEAR_FAULT", value_name = "N")]
    pub clear_fault: Option<u64>,
    /// No longer wait for this instance, which is dead though its lease lives.
    #[arg(long, env = "TRANSVASE_SIGN_OFF_WRITER", value_name = "NAME")]
    pub sign_off_writer: Option<String>,
    /// Move to this step, though a store lacks writes that nothing mends any more, or a replay is gone. All else is asked as ever.
    #[arg(long = "to", env = "TRANSVASE_TO_STEP", value_name = "STEP")]
    pub step: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// Of the database; see [`control`](crate::control).
pub async fn run(args: &PhaseArgs, typed: Typed) -> Result<ExitCode> {
    match &args.verb {
        Verb::Plan => PLANS.iter().for_each(|plan| output::print(&told::plan(plan, None))),
        Verb::Status(args) => {
            let options = act::options(&args.migration, Some(&args.evidence)).await?;
            let status = act::existing(&args.migration, typed).await?.status(&options).await?;
            output::print(&told::status(&status));
            args.report.as_deref().map_or(Ok(()), |path| output::write_json(&status, path))?;
        }
        Verb::Advance(args) => act::go(args, true, typed).await?,
        Verb::Rollback(args) => act::go(args, false, typed).await?,
        Verb::Lock(args) => act::lock(args, typed).await?,
        Verb::Unlock(args) => act::unlock(args, typed).await?,
        Verb::Barrier(args) => act::barrier(args, typed).await?,
        Verb::History(args) => {
            let history = act::existing(&args.migration, typed).await?.history().await?;
            output::print(&told::history(&history));
            args.report.as_deref().map_or(Ok(()), |path| output::write_json(&history, path))?;
        }
        Verb::Force(args) => act::force(args, typed).await?,
    }
    Ok(ExitCode::Complete)
}
