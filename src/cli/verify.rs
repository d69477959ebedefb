//! `transvase verify`: what was typed, what may run, and what is shown at its end.
#![expect(clippy::disallowed_methods, reason = "wall time belongs to the process")]

use super::config::{self, To};
use super::progress::{Progress, Stages};
use super::watch::Watch;
use super::{DynamoArgs, ExitCode, MappingArgs, SourceArgs, SpareArgs, TargetArgs, Typed, Width, open, output};
use crate::checkpoint::run::RunState;
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::pipeline::MaxRejects;
use crate::sink::destination::Destination;
use crate::source::dynamodb_scan::SharedPurse;
use crate::verify::after::After;
use crate::verify::check::{self, Expected};
use crate::verify::items_copy::ReadBack;
use crate::verify::options::{Level, Options, Sample};
use crate::verify::report::{VerifyReport, VerifyStatus};
use crate::verify::run::Verify;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use indicatif::HumanCount;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

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

  # a copy in another DynamoDB table, with the state of its run; both tables are read within the budget
  transvase verify --from dynamodb://orders --to dynamodb://orders-v2 --mapping v2.toml --read-capacity 30%

  # mend what is missing or different, and certify the result; later: does the certificate still stand?
  transvase verify --repair --certificate orders.cert.json --from ./export --key pk:S,sk:S --to sqlite:orders.db
  transvase verify --check orders.cert.json --from ./export --key pk:S,sk:S --to sqlite:orders.db

Reads both sides and, without --repair, writes to neither. Run the same command again after an interruption: it goes on where it was.";

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
    /// What is done about differences.
    #[command(flatten)]
    pub after: AfterArgs,
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

/// What is done about differences.
#[derive(Debug, Args)]
#[command(next_help_heading = "Differences")]
pub struct AfterArgs {
    /// Where differences are listed as JSON lines, mode 0600: table, key, kind, column, and both values, redacted.
    #[arg(long, env = "TRANSVASE_DIFFERENCES", value_name = "FILE")]
    pub differences: Option<PathBuf>,
    /// List values in clear.
    #[arg(long, env = "TRANSVASE_SHOW_VALUES", value_parser = BoolishValueParser::new())]
    pub show_values: bool,
    /// Write to the target what is missing or different, as the source has it at that moment. Deletes nothing.
    #[arg(long, env = "TRANSVASE_REPAIR", value_parser = BoolishValueParser::new())]
    pub repair: bool,
    /// With --repair: delete rows that have no item.
    #[arg(long, env = "TRANSVASE_DELETE_EXTRAS", value_parser = BoolishValueParser::new())]
    pub delete_extras: bool,
    /// The application writes to the target: a difference counts only when it stays for some seconds. A live source is
    /// always taken so.
    #[arg(long, env = "TRANSVASE_LIVE_TARGET", value_parser = BoolishValueParser::new())]
    pub live_target: bool,
    /// The backfill's run whose rejects are accounted for [default: the run named after the DynamoDB table, if it is there].
    #[arg(long, env = "TRANSVASE_RUN", value_name = "NAME")]
    pub run: Option<String>,
    /// Where to write a certificate, when nothing differs, or is left.
    #[arg(long, env = "TRANSVASE_CERTIFICATE", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Compare nothing: say whether this certificate still stands for this source, mapping and target.
    #[arg(long, env = "TRANSVASE_CHECK", value_name = "CERT", conflicts_with_all = ["certificate", "repair", "differences"])]
    pub check: Option<PathBuf>,
    /// With --check: how old it may be (suffixes s, m, h, d).
    #[arg(long, env = "TRANSVASE_MAX_AGE", value_name = "AGE", default_value = "24h")]
    pub max_age: String,
}

/// Runs it.
///
/// # Errors
/// Whatever keeps the verification from beginning, or ends it for good.
pub async fn verify(args: &VerifyArgs, typed: Typed) -> Result<ExitCode> {
    let started = Instant::now();
    let to = to(args, typed)?;
    let options = options(args, to.state())?;
    let writers = options.pipeline.writers;
    // Both ends may be tables: what reading them costs is paid from one purse.
    let purse = open::scan_options(&args.dynamo)?.purse();
    let (source, key) = open::source(&args.source, &args.dynamo, options.spill_dir.clone(), &purse).await?;
    let table = source.description().table.clone();
    let state = state(args, &to, &table, typed)?;
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, &table, &key).await?;
    if let Some(certificate) = &args.after.check {
        let source = &source.description().identity;
        return check(certificate, source, &mapping, &destination, &args.after.max_age).await;
    }
    let back = read_back(args, &destination, &purse).await?;
    let run = Verify::prepare(source, mapping, (destination, back), state, options).await?;
    let (source, target, (before, items)) = (run.source(), run.target_source(), run.progress());
    let progress = Arc::new(Progress::new(Arc::clone(&source), before, writers).of(Stages::Comparing, items));
    let about = if source.description().exact { "" } else { "about " };
    match run.state() {
        RunState::Resumed => progress.say(&format!("resuming: {before} of {about}{items} items are sorted already")),
        RunState::New | RunState::Complete => {
            progress.say(&format!("{about}{items} items to read and compare, seed {}", run.seed()));
        }
    }
    let watch = Watch::begin(started, progress)?;
    let ended = run.run(watch.stop(), watch.monitor()).await;
    let process = watch.end(&*source);
    let (mut report, error) = ended?;
    report.process = process;
    report.process.source = target.iter().fold(report.process.source, |usage, target| usage.and(target.usage()));
    output::print(&text(&report));
    output::print(&files(&args.after, report.status));
    output::ended(&report, args.report.as_deref(), error, code(report.status))
}

/// Where what was asked for is to be found.
fn files(after: &AfterArgs, status: VerifyStatus) -> String {
    let ended = matches!(status, VerifyStatus::Clean | VerifyStatus::Differences);
    let mut out = String::new();
    if let Some(path) = after.differences.as_ref().filter(|_| ended) {
        out.push_str(&format!("  differences are in {}\n", path.display()));
    }
    match (&after.certificate, status) {
        (Some(path), VerifyStatus::Clean) => out.push_str(&format!("  the certificate is in {}\n", path.display())),
        (Some(_), _) => out.push_str("  no certificate: it is for a verification without a difference\n"),
        (None, _) => {}
    }
    out
}

/// Says whether a certificate still stands.
async fn check(path: &Path, source: &str, mapping: &Mapping, to: &Destination, max_age: &str) -> Result<ExitCode> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::config(format!("reading certificate {name}")).because(error))?;
    let mapping = mapping.identity();
    let expected = Expected { source, mapping: &mapping, target: to, max_age: config::time("--max-age", max_age)? };
    let mut session = Session::open(&to.state()).await?;
    let standing = check::check(&text, &name, &expected, &mut session).await?;
    let sample = standing.sample.as_ref().map(|sample| format!(", of a sample: {sample}")).unwrap_or_default();
    let level = format!("level {}{sample}, {} s old", standing.level, standing.age);
    if standing.is_valid() {
        output::print(&format!("certificate {name}: it stands ({level})\n"));
        return Ok(ExitCode::Complete);
    }
    output::print(&format!("certificate {name}: IT DOES NOT STAND ({level})\n"));
    for finding in &standing.findings {
        output::print(&format!("  {finding}\n"));
    }
    Ok(ExitCode::Differences)
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

/// The target. A DynamoDB table keeps no state: that of the run that filled it is where a backfill keeps it.
fn to(args: &VerifyArgs, typed: Typed) -> Result<To> {
    match config::dynamodb(&args.target, &args.dynamo, typed)? {
        Some(to) => Ok(to),
        None => config::target(&args.target, typed.to).map(To::Sql),
    }
}

/// The verification's own database; of a DynamoDB target, that of the run's state.
fn state(args: &VerifyArgs, to: &To, table: &str, typed: Typed) -> Result<Target> {
    match (to, &args.dynamo.state) {
        (To::DynamoDb { state, .. }, _) => Ok(state.clone()),
        (To::Sql(_), Some(url)) => config::database(&args.target, url, typed.state),
        (To::Sql(_), None) => config::database(&args.target, &format!("sqlite:{table}.transvase-verify.db"), false),
    }
}

/// How a DynamoDB target is read: as a live source is.
async fn read_back(args: &VerifyArgs, destination: &Destination, purse: &SharedPurse) -> Result<Option<ReadBack>> {
    let Destination::DynamoDb(target) = destination else { return Ok(None) };
    let (scan, _) = open::scan(&args.dynamo, &target.description.name, purse).await?;
    let width = config::width(&args.width, true, MaxRejects::Count(u64::MAX))?;
    Ok(Some(ReadBack { scan, width }))
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
        after: after(&args.after)?,
        health: config::health(&args.spare, target)?,
        spill_dir: args.spill_dir.clone().unwrap_or_else(std::env::temp_dir),
        spill_limit: args.spill_limit.as_deref().map(|limit| config::size("--spill-limit", limit)).transpose()?,
        // What the mapping rejects is counted: no row of it should be anywhere.
        pipeline: config::width(&args.width, open::is_live(&args.source), MaxRejects::Count(u64::MAX))?,
    })
}

fn after(args: &AfterArgs) -> Result<After> {
    if args.delete_extras && !args.repair {
        return Err(Error::config("--delete-extras is a part of --repair: give both"));
    }
    Ok(After {
        live_target: args.live_target,
        run: args.run.clone(),
        repair: args.repair,
        delete_extras: args.delete_extras,
        differences: args.differences.clone(),
        show_values: args.show_values,
        certificate: args.certificate.clone(),
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
