//! `transvase rejects`: its flags, one library call each, and what is printed.

use super::{ExitCode, MappingArgs, OnConflictArg, TargetArgs, TlsMode, Typed, config, open, output, watch};
use crate::checkpoint::review::{Filter, Kind};
use crate::driver::dynamodb::Endpoint;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::model::reject::RejectStates;
use crate::rejects::{self, Listing, RetryOptions, RetryReport};
use crate::sink::OnConflict;
use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  # what was rejected, and why
  transvase rejects list --on mysql://loader@127.0.0.1/shop --run orders

  # the mapping was mended (and the table altered, if need be): try them again
  transvase rejects retry --on mysql://loader@127.0.0.1/shop --run orders --mapping shop.toml

  # the same of a run into a DynamoDB table, whose state lies beside it
  transvase rejects retry --on sqlite:orders-v2.transvase-state.db --to dynamodb://orders-v2 --mapping v2.toml

  # the rest may stay behind, and somebody answers for it
  transvase rejects sign-off --on mysql://loader@127.0.0.1/shop --run orders --column total \\
      --by 'Ada L.' --why 'test orders, ticket 4711'

list and retry exit with 3 while rejects are open: neither written since nor signed off.";

/// `transvase rejects`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Rejects {
    /// What to do with them.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with rejects.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print how many there are of each kind, and where some of them are; no item's value.
    List(List),
    /// Write them to a file as JSON lines, each with its exact item.
    Export(Export),
    /// Try the open ones again, through a mapping that was mended; run it again to resume.
    Retry(Box<Retry>),
    /// Answer for open ones by name, so that a cut-over may proceed without them.
    SignOff(SignOff),
}

/// Where a run's rejects are.
#[derive(Debug, Args)]
pub struct On {
    /// The database of the run: the target of the backfill, mysql://user@host:port/database or sqlite:FILE; of one into
    /// DynamoDB its --state.
    #[arg(long, env = "TRANSVASE_ON", value_name = "DATABASE", hide_env_values = true)]
    pub on: String,
    /// The run's name [default: the only run there].
    #[arg(long, env = "TRANSVASE_RUN", value_name = "NAME")]
    pub run: Option<String>,
    /// A file whose first line is the password.
    #[arg(long, env = "TRANSVASE_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// TLS: auto, verify-ca (needs --tls-ca), off; as for backfill.
    #[arg(long, env = "TRANSVASE_TLS", default_value = "auto")]
    pub tls: TlsMode,
    /// Certificate authorities to trust instead of the public ones (PEM).
    #[arg(long, env = "TRANSVASE_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// How long a server may take to answer a statement before its connection is given up and made anew.
    #[arg(long, env = "TRANSVASE_ANSWER_SECONDS", value_name = "S", default_value = "120")]
    pub answer_seconds: f64,
}

/// `transvase rejects list`.
#[derive(Debug, Args)]
pub struct List {
    /// Where they are.
    #[command(flatten)]
    pub on: On,
    /// Where to write the list as JSON.
    #[arg(long, env = "TRANSVASE_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// `transvase rejects export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Where they are.
    #[command(flatten)]
    pub on: On,
    /// Where they are written, as JSON lines, mode 0600 [default: RUN.rejects.jsonl].
    #[arg(long, env = "TRANSVASE_REJECTS", value_name = "FILE")]
    pub rejects: Option<PathBuf>,
}

/// `transvase rejects retry`.
#[derive(Debug, Args)]
pub struct Retry {
    /// Where they are.
    #[command(flatten)]
    pub on: On,
    /// The table of a run into DynamoDB, dynamodb://TABLE [default: rows go to the database of the run].
    #[arg(long, env = "TRANSVASE_TO", value_name = "TARGET", hide_env_values = true)]
    pub to: Option<String>,
    /// A DynamoDB-compatible server instead of AWS.
    #[arg(long, env = "TRANSVASE_ENDPOINT_URL", value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// The AWS region [default: AWS_REGION, or the profile's].
    #[arg(long, env = "TRANSVASE_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// What of the table's write capacity may be used, and of each of its indexes': as for backfill.
    #[arg(long, env = "TRANSVASE_WRITE_CAPACITY", value_name = "N|P%|headroom:P%|unlimited", default_value = "50%")]
    pub write_capacity: String,
    /// How items become rows now.
    #[command(flatten)]
    pub mapping: MappingArgs,
    /// Rows that are in the target already.
    #[arg(long, env = "TRANSVASE_ON_CONFLICT", default_value = "keep")]
    pub on_conflict: OnConflictArg,
    /// The application writes to the target tables too, so rows found there are its own and no sign of a wrong key.
    #[arg(long, env = "TRANSVASE_LIVE_TARGET", value_parser = BoolishValueParser::new())]
    pub live_target: bool,
    /// Create the tables of a mapping file where they are missing.
    #[arg(long, env = "TRANSVASE_CREATE_TABLES", value_parser = BoolishValueParser::new())]
    pub create_tables: bool,
    /// Where to write the report as JSON.
    #[arg(long, env = "TRANSVASE_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// `transvase rejects sign-off`.
#[derive(Debug, Args)]
pub struct SignOff {
    /// Where they are.
    #[command(flatten)]
    pub on: On,
    /// Who answers for them.
    #[arg(long, env = "TRANSVASE_BY", value_name = "NAME", required_unless_present = "withdraw")]
    pub by: Option<String>,
    /// Why they may stay behind.
    #[arg(long, env = "TRANSVASE_WHY", value_name = "TEXT", required_unless_present = "withdraw")]
    pub why: Option<String>,
    /// Only those of this target table.
    #[arg(long = "target-table", env = "TRANSVASE_TARGET_TABLE", value_name = "NAME")]
    pub table: Option<String>,
    /// Only those of this column.
    #[arg(long, env = "TRANSVASE_COLUMN", value_name = "NAME")]
    pub column: Option<String>,
    /// Only those whose reason holds this text.
    #[arg(long, env = "TRANSVASE_REASON", value_name = "TEXT")]
    pub reason: Option<String>,
    /// Take sign-offs back: what they were for is open again.
    #[arg(long, env = "TRANSVASE_WITHDRAW", value_parser = BoolishValueParser::new(), conflicts_with_all = ["by", "why"])]
    pub withdraw: bool,
}

/// Runs the verb.
///
/// # Errors
/// Of the database; see [`rejects`].
pub async fn run(args: &Rejects, typed: Typed) -> Result<ExitCode> {
    match &args.verb {
        Verb::List(args) => {
            let listing = open(&args.on, typed).await?.list().await?;
            output::print(&list(&listing));
            written(&listing, args.report.as_deref())?;
            Ok(code(&listing.states))
        }
        Verb::Export(args) => {
            let rejects = open(&args.on, typed).await?;
            let path = args.rejects.clone().unwrap_or_else(|| format!("{}.rejects.jsonl", rejects.run()).into());
            let states = rejects.export(&path).await?;
            let left = states.open + states.signed_off;
            output::print(&format!("{left} rejects are in {}\n", path.display()));
            Ok(ExitCode::Complete)
        }
        Verb::Retry(args) => retry(args, typed).await,
        Verb::SignOff(args) => {
            let filter = Filter { table: args.table.clone(), column: args.column.clone(), reason: args.reason.clone() };
            let by = args.by.as_deref().zip(args.why.as_deref()).filter(|_| !args.withdraw);
            let (signed, states) = open(&args.on, typed).await?.sign_off(&filter, by).await?;
            let what = if by.is_some() { "signed off" } else { "open again" };
            output::print(&format!("{signed} rejects {what}\n{}", sums(&states)));
            Ok(ExitCode::Complete)
        }
    }
}

async fn retry(args: &Retry, typed: Typed) -> Result<ExitCode> {
    let rejects = open(&args.on, typed).await?;
    let table = rejects.tables().first().map_or("items", |table| table).to_owned();
    let (into, mapping) = match args.to.as_deref().and_then(|to| to.strip_prefix(open::LIVE)) {
        Some(table) => {
            let endpoint = Endpoint { url: args.endpoint_url.clone(), region: args.region.clone() };
            let state = target(&args.on, typed)?;
            let opened = open::items(&endpoint, table, state, &args.write_capacity, (&args.mapping, &[])).await?;
            (Some(opened.0), opened.1)
        }
        None if args.to.as_ref().is_some_and(|to| *to != args.on.on) => {
            return Err(Error::config(
                "--to: rows go to the database of the run (--on); name a table as dynamodb://TABLE",
            ));
        }
        None => (None, config::mapping(&args.mapping, &table, &[])?),
    };
    let options = RetryOptions {
        on_conflict: match args.on_conflict {
            OnConflictArg::Keep => OnConflict::Keep,
            OnConflictArg::Replace => OnConflict::Replace,
        },
        live_target: args.live_target,
        create_tables: args.create_tables,
    };
    let monitor = watch::monitors(Vec::new())?;
    let stop = CancellationToken::new();
    // a page of rejects takes a moment: nothing is said of it
    tokio::spawn(watch::stop_at_signals(stop.clone(), |_| {}));
    let report = rejects.retry(&mapping, into.as_ref(), options, (&stop, &monitor)).await?;
    output::print(&retried(&report));
    written(&report, args.report.as_deref())?;
    Ok(if report.complete { code(&report.states) } else { ExitCode::Interrupted })
}

async fn open(on: &On, typed: Typed) -> Result<rejects::Rejects> {
    rejects::Rejects::open(&target(on, typed)?, on.run.as_deref()).await
}

/// The database of the run.
pub(super) fn target(on: &On, typed: Typed) -> Result<Target> {
    if on.on.starts_with(open::LIVE) {
        return Err(Error::config("a DynamoDB table keeps no rejects: give the run's --state database"));
    }
    let args = TargetArgs {
        to: on.on.clone(),
        password_file: on.password_file.clone(),
        tls: on.tls,
        tls_ca: on.tls_ca.clone(),
        answer_seconds: on.answer_seconds,
    };
    config::target(&args, typed.to)
}

fn written<T: serde::Serialize>(report: &T, path: Option<&std::path::Path>) -> Result<()> {
    path.map_or(Ok(()), |path| output::write_json(report, path))
}

fn code(states: &RejectStates) -> ExitCode {
    if states.open > 0 { ExitCode::Rejects } else { ExitCode::Complete }
}

/// The counts, which add up.
fn sums(states: &RejectStates) -> String {
    format!(
        "  rejected {} = written since {} + present {} + tombstoned {} + skipped by rule {} + signed off {} + open {}\n",
        states.total(),
        states.written,
        states.present,
        states.tombstoned,
        states.skipped,
        states.signed_off,
        states.open
    )
}

fn retried(report: &RetryReport) -> String {
    let ended = match (report.complete, report.states.open) {
        (false, _) => "interrupted; run the same command to go on",
        (true, 0) => "no reject is open any more",
        (true, _) => "complete; some were rejected again",
    };
    format!(
        "run {}, retry {}: {ended}\n  {} tried by this process\n{}",
        report.run,
        report.retry,
        report.tried,
        sums(&report.states)
    )
}

fn list(listing: &Listing) -> String {
    let mut out = format!("rejects of run {}\n{}", listing.run, sums(&listing.states));
    for kind in &listing.kinds {
        out.push('\n');
        describe(kind, &mut out);
    }
    out
}

fn describe(kind: &Kind, out: &mut String) {
    let place = match (&kind.table, &kind.column) {
        (Some(table), Some(column)) => format!("table {table}, column {column}"),
        (Some(table), None) => format!("table {table}"),
        _ => "no table".to_owned(),
    };
    // writing to a string does not fail
    let _ok = writeln!(out, "  {}  {place}: {}", kind.rejects, kind.reason);
    if let Some(name) = &kind.signed_by {
        let _ok = writeln!(out, "     signed off by {name}: {}", kind.why.as_deref().unwrap_or_default());
    }
    for (unit, line) in &kind.examples {
        let _ok = writeln!(out, "     {unit} line {line}");
    }
}
