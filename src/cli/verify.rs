//! `transvase verify`: what was typed, what may run, and what is shown at its end.
#![expect(clippy::disallowed_methods, reason = "wall time belongs to the process")]

use super::config::{self, To};
use super::log::Log;
use super::progress::{Progress, Stages};
use super::run::signals;
use super::test_point::TestPoint;
use super::{DynamoArgs, ExitCode, MappingArgs, SourceArgs, SpareArgs, TargetArgs, Typed, Width, open, output};
use crate::checkpoint::run::RunState;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::monitor::{Monitor, Monitors};
use crate::pipeline::MaxRejects;
use crate::report::{Meter, ProcessReport};
use crate::verify::report::{VerifyReport, VerifyStatus};
use crate::verify::run::{Level, Options, Sample, Verify};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use indicatif::HumanCount;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Shown after the flags.
pub const EXAMPLES: &str = "\
Examples:
  # is every row what its item maps to, and is there no other? as the backfill was called, but for the verb
  transvase verify --from s3://backups/AWSDynamoDB/01768385930622-efd1a093 --key pk:S,sk:S \\
      --to mysql://reader@db.example:3306/shop

  # the same in a third of the time: the server digests ranges of keys, and only those that differ are read
  transvase verify --level digest --from ./export --mapping shop.toml --to mysql://reader@127.0.0.1/shop

  # a look at one item in a hundred
  transvase verify --sample 1% --from ./export --key pk:S,sk:S --to sqlite:orders.db

Reads both sides and writes to neither. Run the same command again after an interruption: it goes on where it was.";

/// How closely rows are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LevelArg {
    /// How many rows there are in each range of keys; the keys themselves where these differ.
    Counts,
    /// How many there are and their digest; row by row where these differ.
    Digest,
    /// Every row, value by value, both ways.
    Full,
}

/// `transvase verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Where items come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Reaching live tables.
    #[command(flatten)]
    pub dynamo: DynamoArgs,
    /// Where rows went.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How the target is spared.
    #[command(flatten)]
    pub spare: SpareArgs,
    /// How items became rows.
    #[command(flatten)]
    pub mapping: MappingArgs,
    /// How closely rows are compared; the README has a table of what each level can and cannot catch.
    #[arg(long, env = "TRANSVASE_LEVEL", default_value = "full")]
    pub level: LevelArg,
    /// Read only such a share of the source's data files or segments, chosen by the seed. Their rows are looked up; rows
    /// that only the target has are not looked for.
    #[arg(long, env = "TRANSVASE_SAMPLE", value_name = "P%")]
    pub sample: Option<String>,
    /// Forget an earlier verification that was not finished, and begin anew.
    #[arg(long, env = "TRANSVASE_RESTART", value_parser = BoolishValueParser::new())]
    pub restart: bool,
    /// Where to write the report as JSON.
    #[arg(long, env = "TRANSVASE_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Where keys and digests are sorted, and large S3 objects are kept while they are checked [default: the system's
    /// temporary folder].
    #[arg(long, env = "TRANSVASE_SPILL_DIR", value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,
    /// Stop, resumably, before they take more (suffixes KiB, MiB, GiB) [default: what the disk has].
    #[arg(long, env = "TRANSVASE_SPILL_LIMIT", value_name = "BYTES")]
    pub spill_limit: Option<String>,
    /// How wide to run.
    #[command(flatten)]
    pub width: Width,
}

/// Runs it.
///
/// # Errors
/// Whatever keeps the verification from beginning, or ends it for good.
pub async fn verify(args: &VerifyArgs, typed: Typed) -> Result<ExitCode> {
    let started = Instant::now();
    if args.target.to.starts_with("dynamodb://") {
        return Err(Error::config("--to dynamodb://…: only rows of an SQL database can be verified, as yet"));
    }
    let target = config::target(&args.target, typed.to)?;
    let options = options(args, &target)?;
    let writers = options.pipeline.writers;
    let (source, key) = open::source(&args.source, &args.dynamo, options.spill_dir.clone()).await?;
    let table = source.description().table.clone();
    let state = state(args, &table, typed)?;
    let to = To::Sql(target);
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, &table, &key).await?;
    let run = Verify::prepare(source, mapping, destination, state, options).await?;
    let (source, (before, items)) = (run.source(), run.progress());
    let progress = Arc::new(Progress::new(Arc::clone(&source), before, writers).of(Stages::Comparing, items));
    let about = if source.description().exact { "" } else { "about " };
    match run.state() {
        RunState::Resumed => progress.say(&format!("resuming: {before} of {about}{items} items are sorted already")),
        RunState::New | RunState::Complete => {
            progress.say(&format!("{about}{items} items to read and compare, seed {}", run.seed()));
        }
    }
    let meter = Arc::new(Meter::default());
    let mut monitors: Vec<Arc<dyn Monitor>> = vec![Arc::clone(&meter) as _, Arc::clone(&progress) as _, Arc::new(Log)];
    for point in TestPoint::from_environment()? {
        monitors.push(Arc::new(point));
    }
    let stop = CancellationToken::new();
    tokio::spawn(signals(stop.clone(), Arc::clone(&progress)));
    let ended = run.run(stop, Arc::new(Monitors(monitors))).await;
    progress.finish();
    let (mut report, error) = ended?;
    report.process = ProcessReport { source: source.usage(), ..meter.process(started.elapsed()) };
    output::print(&text(&report));
    if let Some(path) = &args.report {
        output::write_json(&report, path)?;
    }
    match error {
        Some(error) => Err(error),
        None => Ok(code(report.status)),
    }
}

/// The exit code of a verification that ended without an error of its own.
fn code(status: VerifyStatus) -> ExitCode {
    match status {
        VerifyStatus::Clean => ExitCode::Complete,
        VerifyStatus::Differences => ExitCode::Differences,
        VerifyStatus::Interrupted => ExitCode::Interrupted,
        VerifyStatus::UnitsFailed | VerifyStatus::Failed => ExitCode::Failed,
    }
}

/// The verification's own database.
fn state(args: &VerifyArgs, table: &str, typed: Typed) -> Result<Target> {
    match &args.dynamo.state {
        Some(url) => config::database(&args.target, url, typed.state),
        None => config::database(&args.target, &format!("sqlite:{table}.transvase-verify.db"), false),
    }
}

fn options(args: &VerifyArgs, target: &Target) -> Result<Options> {
    Ok(Options {
        level: match args.level {
            LevelArg::Counts => Level::Counts,
            LevelArg::Digest => Level::Digest,
            LevelArg::Full => Level::Full,
        },
        sample: args.sample.as_deref().map(sample).transpose()?,
        restart: args.restart,
        health: config::health(&args.spare, target)?,
        spill_dir: args.spill_dir.clone().unwrap_or_else(std::env::temp_dir),
        spill_limit: args.spill_limit.as_deref().map(|limit| config::size("--spill-limit", limit)).transpose()?,
        // What the mapping rejects is counted: no row of it should be anywhere.
        pipeline: config::width(&args.width, open::is_live(&args.source), MaxRejects::Count(u64::MAX))?,
    })
}

/// Reads `1%` or `0.5%`.
fn sample(text: &str) -> Result<Sample> {
    let broken = || Error::config(format!("--sample {text}: give a share between 0.0001% and 100%"));
    let MaxRejects::PerMillion(millionths) = config::max_rejects(text).map_err(|_| broken())? else {
        return Err(broken());
    };
    let millionths = u32::try_from(millionths).ok().filter(|share| (1..=1_000_000).contains(share));
    millionths.map(Sample).ok_or_else(broken)
}

/// The report as text.
fn text(report: &VerifyReport) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    let ended = match report.status {
        VerifyStatus::Clean => "no difference",
        VerifyStatus::Differences => "DIFFERENCES",
        VerifyStatus::Interrupted => "interrupted; run the same command to go on",
        VerifyStatus::UnitsFailed => {
            "not complete: some data files could not be read; mend them and run the same command"
        }
        VerifyStatus::Failed => "failed; what was compared stays, and the same command goes on from there",
    };
    line(format!("{}: {ended}", report.run));
    let about = if report.exact { "" } else { "about " };
    line(format!("  from {} ({about}{} items)", report.table, HumanCount(report.items)));
    line(format!("  to   {} ({})", report.target, report.server));
    let sample = report.sample.map(|millionths| {
        format!(
            ", of a sample of {} % of the source; rows that only the target has were not looked for",
            f64::from(millionths) / 1e4
        )
    });
    line(format!("  level {}{}", report.level, sample.unwrap_or_default()));
    line(String::new());
    let width = report.tables.iter().map(|table| table.table.chars().count()).max().unwrap_or(0).max(12);
    let head = ["source", "target", "equal", "missing", "extra", "different", "rejected"];
    let row = |name: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
        format!("  {name:width$}{cells}")
    };
    line(row("table", &head.map(str::to_owned)));
    for table in &report.tables {
        let cells =
            [table.source, table.target, table.equal, table.missing, table.extra, table.different, table.rejected];
        line(row(&table.table, &cells.map(|cell| cell.to_string())));
    }
    let [missing, extra, different] = report.kinds;
    line(format!(
        "  read {}, skipped by rule {}, rejected {}; differences {}: missing {missing}, extra {extra}, different {different}",
        report.read, report.skipped, report.rejected, report.differences
    ));
    let seen = &report.verdicts;
    if seen.settled + seen.rejected + seen.repaired + seen.unsettled > 0 {
        line(format!(
            "  looked at again: {} differ, {} agree after all, {} never settled, {} rejected by the run, {} repaired",
            seen.confirmed, seen.settled, seen.unsettled, seen.rejected, seen.repaired
        ));
    }
    line(String::new());
    output::process_lines(&report.process, report.seed, &mut line);
    for failure in report.failures.iter().filter(|_| report.status == VerifyStatus::UnitsFailed) {
        line(format!("  failed: {failure}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_share() {
        assert_eq!(sample("1%").unwrap(), Sample(10_000));
        assert_eq!(sample("0.5%").unwrap(), Sample(5_000));
        assert_eq!(sample("100%").unwrap(), Sample(1_000_000));
        for broken in ["0%", "101%", "5", "", "x%"] {
            assert!(sample(broken).is_err(), "{broken}");
        }
    }
}
