//! The command line: what was typed. Parsing touches nothing; [`config`] turns it into what may run.

pub mod config;
pub mod export;
pub mod follow;
pub mod follow_stream;
mod horizon;
pub mod log;
pub mod open;
pub mod output;
pub mod phase;
pub mod plan;
mod plan_report;
pub mod progress;
pub mod rejects;
pub mod run;
pub mod test_point;
pub mod verify;
pub mod watch;

use crate::limit::price;
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Exit codes, as the README lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Complete.
    Complete = 0,
    /// Anything that is none of the others.
    Failed = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Complete, with rejects.
    Rejects = 3,
    /// Interrupted; the same command resumes.
    Interrupted = 4,
    /// A verification found differences.
    Differences = 5,
    /// Refused by an interlock: another run, another process, a changed target.
    Refused = 6,
}

const ABOUT: &str =
    "Backfills one DynamoDB table into MySQL, MariaDB, SQLite or DynamoDB, resumably, with nothing lost";

const EXIT_CODES: &str = "\
Exit codes:
  0  complete                        4  interrupted, the same command resumes
  1  failed (the message says why)   5  a verification found differences
  2  usage or configuration          6  refused: another run or process, or a changed target
  3  complete, with rejects

Every flag can be set by the environment variable shown beside it.";

const BACKFILL_EXAMPLES: &str = "\
Examples:
  # look at an export without any server
  transvase backfill --from fixtures/export/full --key customer_id:S,order_id:S --to sqlite:orders.db

  # how fast can this machine read it? (decodes, maps, encodes, counts; writes nothing)
  transvase backfill --from s3://backups/AWSDynamoDB/01768385930622-efd1a093 --key pk:S,sk:S --to null:

  # a live table, with at most 40 % of its read capacity; its key is known
  transvase backfill --from dynamodb://orders --read-capacity 40% --to sqlite:orders.db

  # into MySQL, every item as one JSON document; the password comes from the environment
  MYSQL_PWD=… transvase backfill --from s3://backups/AWSDynamoDB/01768385930622-efd1a093 \\
      --key pk:S,sk:S --to mysql://loader@db.example:3306/shop

  # into typed tables
  transvase backfill --from ./export --mapping shop.toml --create-tables --to mysql://loader@127.0.0.1/shop

Run the same command again after any interruption: it goes on where the database says it is.";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  # as MySQL takes it, without asking a server
  transvase schema --mapping shop.toml --to null:

  # as this server takes it: MariaDB spells JSON and collations differently
  transvase schema --mapping shop.toml --to mysql://loader@127.0.0.1/shop

  # document mode; no export is read here, so name the table
  transvase schema --key pk:S,sk:N --table orders --to sqlite:orders.db";

/// The command.
#[derive(Debug, Parser)]
#[command(name = "transvase", version, about = ABOUT, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log, as a level or a filter such as `transvase=debug`.
    #[arg(long, env = "TRANSVASE_LOG", default_value = "warn", global = true)]
    pub log: String,
    /// How to log.
    #[arg(long, env = "TRANSVASE_LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copy a table or an export into a target, once, completely; run it again to resume.
    #[command(after_help = BACKFILL_EXAMPLES)]
    Backfill(Box<Backfill>),
    /// Apply to a copy what has changed since it was made: incremental exports, one window after the other.
    #[command(after_help = follow::EXAMPLES)]
    Follow(Box<follow::FollowArgs>),
    /// Compare the target with the source, both ways, and tell every difference; mend and certify, if asked to.
    #[command(after_help = verify::EXAMPLES)]
    Verify(Box<verify::VerifyArgs>),
    /// Print the CREATE TABLE statements of a mapping.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema(Schema),
    /// Tell before a copy what it meets, takes and costs, and write the mapping for it. Writes nothing to either end.
    Plan(Box<plan::Plan>),
    /// List what a run rejected, export it, try it again through another mapping, or sign it off.
    Rejects(rejects::Rejects),
    /// Move a migration with dual writes from step to step: lock, barriers, conditions, history.
    Phase(phase::PhaseArgs),
}

/// Which URLs were typed on the command line, where others can read them, rather than set in the environment.
#[derive(Clone, Copy, Debug)]
pub struct Typed {
    /// `--to`, or `--on`.
    pub to: bool,
    /// `--state`.
    pub state: bool,
}

/// How items become rows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mapping")]
pub struct MappingArgs {
    /// The DynamoDB table's primary key, NAME:TYPE[,NAME:TYPE] (types S, N, B): each item becomes one row with its key
    /// columns and the whole item as a document.
    #[arg(long, env = "TRANSVASE_KEY", value_name = "PK:S[,SK:S]", conflicts_with = "mapping")]
    pub key: Option<String>,
    /// A mapping file (TOML): typed columns, several tables; or, for a DynamoDB target, what items are to look like.
    #[arg(long, env = "TRANSVASE_MAPPING", value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// With --key: the target table's name [default: the DynamoDB table's].
    #[arg(long, env = "TRANSVASE_TABLE", value_name = "NAME", conflicts_with = "mapping")]
    pub table: Option<String>,
    /// With --key: another column name for a key attribute that the target cannot take.
    #[arg(
        long,
        env = "TRANSVASE_RENAME",
        value_name = "KEY=COLUMN",
        value_delimiter = ',',
        conflicts_with = "mapping"
    )]
    pub rename: Vec<String>,
}

/// Where rows go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// mysql://user@host:port/database, sqlite:FILE, dynamodb://TABLE, or null: (writes nothing). A password in the URL is only taken
    /// from the environment variable; else use MYSQL_PWD, --password-file or the prompt.
    #[arg(long, env = "TRANSVASE_TO", value_name = "TARGET", hide_env_values = true)]
    pub to: String,
    /// A file whose first line is the password.
    #[arg(long, env = "TRANSVASE_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// TLS: auto (on loopback when offered; elsewhere required, identity verified), verify-ca (no host name check,
    /// needs --tls-ca), off.
    #[arg(long, env = "TRANSVASE_TLS", default_value = "auto")]
    pub tls: TlsMode,
    /// Certificate authorities to trust instead of the public ones (PEM).
    #[arg(long, env = "TRANSVASE_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// How long a server may take to answer a statement before its connection is given up and made anew.
    #[arg(long, env = "TRANSVASE_ANSWER_SECONDS", value_name = "S", default_value = "120")]
    pub answer_seconds: f64,
}

/// How a live target is spared: writers wait while it bears the load badly.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sparing the target")]
pub struct SpareArgs {
    /// Wait while a replica is further behind, in seconds; a lag that is not known is too long.
    #[arg(long, env = "TRANSVASE_MAX_REPLICA_LAG", value_name = "S")]
    pub max_replica_lag: Option<f64>,
    /// A replica to ask, mysql://user@host:port/database, with the target's password and TLS; may be given more than once.
    #[arg(long, env = "TRANSVASE_REPLICA", value_name = "URL", value_delimiter = ',')]
    pub replica: Vec<String>,
    /// Asked instead of SHOW REPLICA STATUS, of each replica or else of the target: its first column is the lag in seconds.
    #[arg(long, env = "TRANSVASE_REPLICA_LAG_QUERY", value_name = "SQL")]
    pub replica_lag_query: Option<String>,
    /// Wait while more threads than these are at work on the target.
    #[arg(long, env = "TRANSVASE_MAX_THREADS_RUNNING", value_name = "N")]
    pub max_threads_running: Option<u64>,
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsMode {
    /// On loopback when offered; elsewhere required, with the identity verified.
    Auto,
    /// Required; the chain is verified, the host name is not.
    VerifyCa,
    /// None.
    Off,
}

/// What to do about rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnConflictArg {
    /// Leave them: they came from a live write.
    Keep,
    /// Overwrite them.
    Replace,
}

/// How rows are sent to MySQL and MariaDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadMethodArg {
    /// By INSERT.
    Insert,
    /// By LOAD DATA LOCAL; refused where the server does not let us.
    LoadData,
    /// By LOAD DATA LOCAL where the server lets us.
    Auto,
}

/// Where items come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// A live table (dynamodb://TABLE), or an export: a folder, or s3://bucket/…/AWSDynamoDB/<id>[/manifest-summary.json].
    /// Region and credentials are those of the usual AWS chain.
    #[arg(long, env = "TRANSVASE_FROM", value_name = "SOURCE")]
    pub from: String,
    /// An S3-compatible server instead of AWS.
    #[arg(long, env = "TRANSVASE_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<String>,
}

/// Reaching live tables. Region and credentials are those of the usual AWS chain.
#[derive(Debug, Args)]
#[command(next_help_heading = "DynamoDB")]
pub struct DynamoArgs {
    /// A DynamoDB-compatible server instead of AWS.
    #[arg(long, env = "TRANSVASE_ENDPOINT_URL", value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// The AWS region [default: AWS_REGION, or the profile's].
    #[arg(long, env = "TRANSVASE_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// What of the source table's read capacity, and of a target's that is verified, may be used by all processes of the run: units per second (500), a share of what the table has (40%),
    /// a share that yields to the application (headroom:60%), or unlimited.
    #[arg(long, env = "TRANSVASE_READ_CAPACITY", value_name = "N|P%|headroom:P%|unlimited", default_value = "50%")]
    pub read_capacity: String,
    /// Stop, resumably, before reading has cost more than so many US dollars, all processes of the run together.
    #[arg(long, env = "TRANSVASE_MAX_COST", value_name = "USD")]
    pub max_cost: Option<f64>,
    /// US dollars for a million read units [default: 0.125, on demand in us-east-1 since November 2024].
    #[arg(long, env = "TRANSVASE_READ_PRICE", value_name = "USD", default_value_t = price::DEFAULT.read, hide_default_value = true)]
    pub read_price: f64,
    /// What of the target table's write capacity may be used, and of each of its indexes': in the same words.
    #[arg(long, env = "TRANSVASE_WRITE_CAPACITY", value_name = "N|P%|headroom:P%|unlimited", default_value = "50%")]
    pub write_capacity: String,
    /// Where the state of a run into a DynamoDB table, or of a verification, is kept: sqlite:FILE, or
    /// mysql://user@host:port/database [default: sqlite:TABLE.transvase-state.db, or, verifying an SQL target,
    /// TABLE.transvase-verify.db, in the current folder].
    #[arg(long, env = "TRANSVASE_STATE", value_name = "DATABASE", hide_env_values = true)]
    pub state: Option<String>,
    /// Segments of the scan [default: one per 512 MiB of the table, at least 64; kept for the run].
    #[arg(long, env = "TRANSVASE_SEGMENTS", value_name = "N")]
    pub segments: Option<u32>,
    /// Read each item as it is at that moment, for twice the price.
    #[arg(long, env = "TRANSVASE_CONSISTENT_READ", value_parser = BoolishValueParser::new())]
    pub consistent_read: bool,
}

/// `transvase backfill`.
#[derive(Debug, Args)]
pub struct Backfill {
    /// Where items come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Having the table exported first.
    #[command(flatten)]
    pub export: export::ExportArgs,
    /// Reaching live tables.
    #[command(flatten)]
    pub dynamo: DynamoArgs,
    /// Where rows go.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How the target is spared.
    #[command(flatten)]
    pub spare: SpareArgs,
    /// How items become rows.
    #[command(flatten)]
    pub mapping: MappingArgs,
    /// Rows that are in the target already.
    #[arg(long, env = "TRANSVASE_ON_CONFLICT", default_value = "keep")]
    pub on_conflict: OnConflictArg,
    /// How rows are sent to MySQL and MariaDB: by LOAD DATA LOCAL, which is faster and needs local_infile on, by INSERT,
    /// or as the server lets us. Both give the same rows and counts.
    #[arg(long, env = "TRANSVASE_LOAD_METHOD", default_value = "auto")]
    pub load_method: LoadMethodArg,
    /// The application writes to the target tables too, so rows found there are its own and no sign of a wrong key.
    #[arg(long, env = "TRANSVASE_LIVE_TARGET", value_parser = BoolishValueParser::new())]
    pub live_target: bool,
    /// Create the tables of a mapping file where they are missing (with --key they always are).
    #[arg(long, env = "TRANSVASE_CREATE_TABLES", value_parser = BoolishValueParser::new())]
    pub create_tables: bool,
    /// Create the secondary indexes of a mapping file when all rows are there, in one statement a table, rather than with
    /// the table: faster. Those that are there already are left.
    #[arg(long, env = "TRANSVASE_DEFER_INDEXES", value_parser = BoolishValueParser::new())]
    pub defer_indexes: bool,
    /// The run's name, under which it is resumed [default: the DynamoDB table's name].
    #[arg(long, env = "TRANSVASE_RUN", value_name = "NAME")]
    pub run: Option<String>,
    /// Forget an earlier run of this name and begin anew. Rows stay; the new run finds them present.
    #[arg(long, env = "TRANSVASE_RESTART", value_parser = BoolishValueParser::new())]
    pub restart: bool,
    /// Of a live table with a stream of new images: keep where its stream is in the target before the table is read, so that
    /// `transvase follow --from streams://TABLE` can apply what changed since.
    #[arg(long, env = "TRANSVASE_CAPTURE", value_parser = BoolishValueParser::new())]
    pub capture: bool,
    /// Stop after so many rejects, or such a share of the items (once 10,000 were read).
    #[arg(long, env = "TRANSVASE_MAX_REJECTS", value_name = "N|P%", default_value = "0")]
    pub max_rejects: String,
    /// Where rejects are written at the end, as JSON lines, mode 0600 [default: RUN.rejects.jsonl, if there are any].
    #[arg(long, env = "TRANSVASE_REJECTS", value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Where to write the report as JSON.
    #[arg(long, env = "TRANSVASE_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// How wide to run.
    #[command(flatten)]
    pub width: Width,
    /// In which order rows are written.
    #[command(flatten)]
    pub order: OrderArgs,
}

/// In which order rows are written. Decided when the run begins, and kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load order")]
pub struct OrderArgs {
    /// arrival: as items are read, which is random in key order. clustered: sorted on local disk first, then in key order,
    /// many times faster where the table outgrows the server's memory; of an export, by one process. auto: clustered when the table
    /// is larger than half of the buffer pool and the disk has room for the sorted runs.
    #[arg(long, env = "TRANSVASE_LOAD_ORDER", default_value = "auto")]
    pub load_order: LoadOrderArg,
    /// Where sorted runs are kept until they are loaded, and large S3 objects while they are checked [default: the system's
    /// temporary folder].
    #[arg(long, env = "TRANSVASE_SPILL_DIR", value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,
    /// Stop, resumably, before sorted runs take more (suffixes KiB, MiB, GiB) [default: what the disk has].
    #[arg(long, env = "TRANSVASE_SPILL_LIMIT", value_name = "BYTES")]
    pub spill_limit: Option<String>,
}

/// In which order rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadOrderArg {
    /// As they arrive.
    Arrival,
    /// In key order.
    Clustered,
    /// Whichever suits.
    Auto,
}

/// How wide to run. May change from one resume to the next, but for the seed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Width")]
pub struct Width {
    /// Bytes in flight, encoded batches included (suffixes KiB, MiB, GiB).
    #[arg(long, env = "TRANSVASE_MEMORY", value_name = "BYTES", default_value = "128MiB")]
    pub memory: String,
    /// Data files, or segments, read at once [default: two data files a core, since inflating one takes half a core; 32
    /// segments, since each waits for the network].
    #[arg(long, env = "TRANSVASE_READERS", value_name = "N")]
    pub readers: Option<usize>,
    /// Threads that decode and map [default: one a core].
    #[arg(long, env = "TRANSVASE_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Connections that write. Four keep a server of a few cores busy; more only wait for each other.
    #[arg(long, env = "TRANSVASE_WRITERS", value_name = "N", default_value = "4")]
    pub writers: usize,
    /// The shuffle's seed [default: random, printed, and kept for the run].
    #[arg(long, env = "TRANSVASE_SEED", value_name = "N")]
    pub seed: Option<u64>,
    /// How long a process that fell silent keeps its units before another may take them.
    #[arg(long, env = "TRANSVASE_LEASE_SECONDS", value_name = "S", default_value = "30")]
    pub lease_seconds: f64,
}

/// `transvase schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// How items become rows.
    #[command(flatten)]
    pub mapping: MappingArgs,
    /// The server the statements are for. A mysql:// target is asked whether it is MySQL or MariaDB.
    #[command(flatten)]
    pub target: TargetArgs,
}
