//! `transvase plan`: its flags, the steps from a sample to a plan, and the files it saves here. Nothing is written to
//! either end.

use super::export::{self, ExportArgs, Handed};
use super::{DynamoArgs, ExitCode, SourceArgs, TargetArgs, Typed, config, open, output, plan_report};
use crate::backfill::dialect_of;
use crate::census::Census;
use crate::driver::dynamodb::{DynamoDb, TableDescription};
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::infer::Facts;
use crate::limit::budget::{Budget, Direction};
use crate::limit::price::{self, Prices};
use crate::mapping::ddl::{add_indexes, create_table};
use crate::mapping::{KeyAttribute, parse_key};
use crate::model::dialect::Dialect;
use crate::plan::estimate::{self, Estimate, Reading, Subject, Terms};
use crate::plan::preflight::{self, Demand};
use crate::plan::propose::{self, Proposal};
use crate::plan::sample::Sample;
use crate::plan::take::{self, Extent};
use crate::plan::{Check, remarks};
use crate::source::Source;
use clap::Args;
use clap::builder::BoolishValueParser;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  # what is in an export, and a mapping for it: orders.toml and orders.sql
  transvase plan --from fixtures/export/full --key customer_id:S,order_id:S

  # a live table and a server, looked at from both ends; at most 5 % of the table's capacity is used for it
  transvase plan --from dynamodb://orders --read-capacity 5% --to mysql://loader@db.example:3306/shop

  # then
  transvase backfill --from dynamodb://orders --mapping orders.toml --create-tables --to mysql://…";

/// Segments or data files that are read at once.
const READERS: usize = 16;

/// `transvase plan`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("to", |to| to.required(false).default_value("null:").hide_default_value(true)))]
pub struct Plan {
    /// Where items come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Having the table exported first: then the export is looked at.
    #[command(flatten)]
    pub export: ExportArgs,
    /// Reaching live tables.
    #[command(flatten)]
    pub dynamo: DynamoArgs,
    /// Where rows would go; left away, the statements are MySQL's.
    #[command(flatten)]
    pub target: TargetArgs,
    /// The DynamoDB table's primary key, NAME:TYPE[,NAME:TYPE] (types S, N, B): an export does not tell it.
    #[arg(long, env = "TRANSVASE_KEY", value_name = "PK:S[,SK:S]")]
    pub key: Option<String>,
    /// How many items to look at, or which share of them [default: 100000, or 100 MiB].
    #[arg(long, env = "TRANSVASE_SAMPLE", value_name = "N|P%")]
    pub sample: Option<String>,
    /// Decides which data files or segments are read [default: random, and printed].
    #[arg(long, env = "TRANSVASE_SEED", value_name = "N")]
    pub seed: Option<u64>,
    /// Where the mapping is saved; its CREATE TABLE statements go beside it, with the ending .sql [default: TABLE.toml].
    #[arg(long, env = "TRANSVASE_SAVE_MAPPING", value_name = "FILE")]
    pub save_mapping: Option<PathBuf>,
    /// Overwrite these files.
    #[arg(long, env = "TRANSVASE_FORCE", value_parser = BoolishValueParser::new())]
    pub force: bool,
    /// Where to write the plan as JSON.
    #[arg(long, env = "TRANSVASE_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Show hot partition keys, and the ranges of key numbers, as they are.
    #[arg(long, env = "TRANSVASE_SHOW_VALUES", value_parser = BoolishValueParser::new())]
    pub show_values: bool,
    /// Recommend an export for tables above this size (suffixes KiB, MiB, GiB).
    #[arg(long, env = "TRANSVASE_EXPORT_ABOVE", value_name = "BYTES", default_value = "80GiB")]
    pub export_above: String,
    /// US dollars for a GB of an export to S3.
    #[arg(long, env = "TRANSVASE_EXPORT_PRICE", value_name = "USD", default_value_t = estimate::EXPORT_PRICE)]
    pub export_price: f64,
    /// Rows a second that the target takes, where that is known.
    #[arg(long, env = "TRANSVASE_ROWS_PER_SECOND", value_name = "N")]
    pub rows_per_second: Option<f64>,
    /// Connections that the backfill would write with.
    #[arg(long, env = "TRANSVASE_WRITERS", value_name = "N", default_value = "4")]
    pub writers: usize,
    /// Where large S3 objects are kept while they are checked [default: the system's temporary folder].
    #[arg(long, env = "TRANSVASE_SPILL_DIR", value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,
}

/// Where rows would go.
enum To {
    Sql(Target),
    /// A DynamoDB table.
    Items(String),
}

/// The files that are saved.
struct Files {
    mapping: PathBuf,
    sql: PathBuf,
}

/// A live source's table, and how a backfill would read it.
struct Live {
    db: DynamoDb,
    table: TableDescription,
    budget: Budget,
    segments: u32,
}

/// `transvase plan`.
///
/// # Errors
/// Of either end, and of the files that it saves.
pub async fn run(args: &Plan, typed: Typed) -> Result<ExitCode> {
    let to = match args.target.to.strip_prefix("dynamodb://") {
        Some(table) => To::Items(table.to_owned()),
        None => To::Sql(config::target(&args.target, typed.to)?),
    };
    let (extent, terms) = (extent(args)?, terms(args)?);
    let spill = args.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
    let exported = match export::export(&args.export, &args.source, &args.dynamo).await? {
        Some(Handed::Stopped) => return Ok(ExitCode::Interrupted),
        Some(Handed::Over { source, key }) => Some((source, key)),
        None => None,
    };
    let from = exported.as_ref().map_or(&args.source, |(source, _)| source);
    let purse = open::scan_options(&args.dynamo)?.purse();
    let (mut source, mut told) = open::source(from, &args.dynamo, spill, &purse).await?;
    if let Some((_, key)) = &exported {
        told.clone_from(key);
    }
    let key = key(args, &source.description().table, told)?;
    let files = Files::new(args, &source.description().table);
    if let To::Sql(_) = to {
        files.check(args.force)?;
    }
    let live = if open::is_live(from) { Some(live(args, &*source).await?) } else { None };
    if args.dynamo.segments.is_none() {
        take::cut(&mut *source)?;
    }
    let (source, seed) = (Arc::<dyn Source>::from(source), args.seed.unwrap_or_else(|| rand::random::<u64>() >> 1));
    let dialect = match &to {
        To::Sql(target) => dialect(target).await?,
        To::Items(_) => Dialect::MySql,
    };
    let looked = Arc::clone(&source);
    let work = tokio::task::spawn_blocking(move || look(&*looked, extent, seed, &key, dialect));
    let (sample, mut census, proposal) =
        work.await.map_err(|error| Error::internal("taking a sample").because(error))??;
    let estimate = estimated(args, &sample, &census, &proposal, live.as_ref(), &terms)?;
    let checks = checks(args, &to, live.as_ref(), &proposal, &estimate).await?;
    if !args.show_values {
        census.redact();
    }
    let (remarks, beginnings) = (remarks::remarks(&census, &sample), census.beginnings());
    let Proposal { inferred, mapping, .. } = proposal;
    let plan =
        crate::plan::Plan { sample, census, beginnings, remarks, mapping: inferred, estimate: Some(estimate), checks };
    let statements = mapping.tables().iter().flat_map(|table| {
        std::iter::once(create_table(table, dialect)).chain(add_indexes(table, &[], dialect)).map(|text| text + ";\n")
    });
    let statements = statements.collect::<Vec<_>>().join("\n");
    output::print(&plan_report::text(&plan));
    if let To::Sql(_) = to {
        files.save(args.force, &plan.mapping.text, &statements)?;
        output::print(&plan_report::saved(&files.mapping, &files.sql));
        if let Some((source, _)) = &exported {
            output::print(&export::next(source, &files.mapping, &args.target.to));
        }
    }
    if let Some(path) = &args.report {
        output::write_json(&plan, path)?;
    }
    Ok(if plan.fails() { ExitCode::Failed } else { ExitCode::Complete })
}

/// Takes the sample, counts it, and infers the mapping. Blocks.
fn look(
    source: &dyn Source,
    extent: Extent,
    seed: u64,
    key: &[KeyAttribute],
    dialect: Dialect,
) -> Result<(Sample, Census, Proposal)> {
    let taken = take::take(source, extent, seed, READERS)?;
    let census = propose::census(&taken.pages, key)?;
    if key.is_empty() {
        let possible = propose::possible_keys(&census);
        let possible =
            if possible.is_empty() { String::new() } else { format!("; it may be {}", possible.join(" or ")) };
        return Err(Error::config(format!(
            "an export does not tell its table's primary key: give --key NAME:TYPE[,NAME:TYPE] (types S, N, B){possible}"
        )));
    }
    let sample = Sample::new(source, &taken, &census);
    let (table, complete, items) = (sample.table.as_str(), sample.whole.complete, sample.whole.items);
    let facts = Facts { table, key, complete, items, clustered: !sample.live };
    let proposal = propose::mapping(&taken.pages, &census, &facts, dialect)?;
    Ok((sample, census, proposal))
}

fn extent(args: &Plan) -> Result<Extent> {
    let Some(text) = &args.sample else { return Ok(Extent::Default) };
    Ok(match config::share("--sample", text)? {
        config::Share::Count(items) => Extent::Items(items),
        config::Share::PerMillion(share) => Extent::PerMillion(share),
    })
}

fn terms(args: &Plan) -> Result<Terms> {
    Ok(Terms {
        prices: Prices { read: args.dynamo.read_price, ..price::DEFAULT },
        export_price: args.export_price,
        export_above: config::size("--export-above", &args.export_above)?,
        rows_per_second: args.rows_per_second,
    })
}

/// The key: as a live table tells it, or as it was typed; empty when nobody said it.
fn key(args: &Plan, table: &str, told: Vec<KeyAttribute>) -> Result<Vec<KeyAttribute>> {
    let typed = args.key.as_deref().map(parse_key).transpose()?;
    match typed {
        Some(typed) if !told.is_empty() && typed != told => {
            let spelled: Vec<String> = told.iter().map(ToString::to_string).collect();
            Err(Error::config(format!(
                "--key: the primary key of table {table} is {}; leave it away",
                spelled.join(",")
            )))
        }
        Some(typed) => Ok(typed),
        None => Ok(told),
    }
}

/// The live source again, as what it is rather than as where items come from.
async fn live(args: &Plan, source: &dyn Source) -> Result<Live> {
    let db = DynamoDb::connect(&open::endpoint(&args.dynamo)).await?;
    let table = db.describe(&source.description().table).await?;
    let segments = u32::try_from(source.description().units.len()).unwrap_or(u32::MAX);
    Ok(Live { db, table, budget: args.dynamo.read_capacity.parse()?, segments })
}

/// What the target speaks. A file is not made for it.
async fn dialect(target: &Target) -> Result<Dialect> {
    match target {
        // A target that cannot be reached is a finding of the preflight, and no reason to say nothing else.
        Target::MySql(_) => Ok(dialect_of(target).await.unwrap_or(Dialect::MySql)),
        other => dialect_of(other).await,
    }
}

fn estimated(
    args: &Plan,
    sample: &Sample,
    census: &Census,
    proposal: &Proposal,
    live: Option<&Live>,
    terms: &Terms,
) -> Result<Estimate> {
    let heaviest = census.partitions.top(1).first().map_or(0, |hit| hit.count);
    let subject = Subject {
        items: sample.whole.items,
        bytes: sample.whole.item_bytes,
        local_index_bytes: live.map_or(0, |live| live.table.local_index_bytes),
        json_bytes: sample.whole.line_bytes,
        hottest_share: heaviest as f64 / census.partitions.all().max(1) as f64,
        tables: proposal.sizes.clone(),
    };
    let reading = live.map(|live| {
        let allowance = live.budget.allow(&live.table.read, None, Direction::Read)?;
        Ok::<_, Error>(Reading { allowance, consistent: args.dynamo.consistent_read, segments: live.segments })
    });
    Ok(estimate::estimate(&subject, reading.transpose()?.as_ref(), terms))
}

async fn checks(
    args: &Plan,
    to: &To,
    live: Option<&Live>,
    proposal: &Proposal,
    estimate: &Estimate,
) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    if let Some(live) = live {
        checks.extend(preflight::source(&live.db, &live.table, live.budget, Some(estimate)).await);
    }
    match to {
        To::Sql(target) => {
            let demand = Demand {
                tables: proposal.mapping.tables(),
                create_tables: true,
                bytes: estimate.target_bytes,
                largest_row: proposal.sizes.iter().map(|table| table.largest_row).max().unwrap_or(0),
                writers: args.writers,
            };
            checks.extend(preflight::target(target, &demand).await);
        }
        To::Items(table) => {
            let db = DynamoDb::connect(&open::endpoint(&args.dynamo)).await?;
            checks.extend(preflight::table(&db, table, proposal.mapping.key()).await);
        }
    }
    Ok(checks)
}

impl Files {
    fn new(args: &Plan, table: &str) -> Files {
        let mapping = args.save_mapping.clone().unwrap_or_else(|| PathBuf::from(format!("{table}.toml")));
        Files { sql: mapping.with_extension("sql"), mapping }
    }

    /// Before anything is read: neither file is there, or may be overwritten.
    fn check(&self, force: bool) -> Result<()> {
        let there = [&self.mapping, &self.sql].into_iter().find(|path| path.exists());
        match there.filter(|_| !force) {
            None => Ok(()),
            Some(path) => Err(Error::config(format!(
                "{} is there already: say --force to overwrite it, or --save-mapping FILE",
                path.display()
            ))),
        }
    }

    fn save(&self, force: bool, mapping: &str, statements: &str) -> Result<()> {
        save(&self.mapping, force, mapping)?;
        save(&self.sql, force, statements)
    }
}

fn save(path: &Path, force: bool, text: &str) -> Result<()> {
    let failed = || Error::config(format!("writing {}", path.display()));
    let mut options = std::fs::OpenOptions::new();
    let options =
        if force { options.write(true).create(true).truncate(true) } else { options.write(true).create_new(true) };
    let mut file = options.open(path).map_err(|error| failed().because(error))?;
    file.write_all(text.as_bytes()).map_err(|error| failed().because(error))
}
