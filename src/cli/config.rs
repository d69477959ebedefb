//! From what was typed to what may run: sizes, passwords, targets, mappings. Reads files and the environment; connects
//! to nothing.
#![expect(clippy::disallowed_methods, reason = "MYSQL_PWD is MySQL's own variable, not a flag's")]

use super::{
    Backfill, DynamoArgs, LoadMethodArg, LoadOrderArg, MappingArgs, OnConflictArg, OrderArgs, SpareArgs, TargetArgs,
    TlsMode, Typed, Width,
};
use crate::backfill::{self, LoadOrder};
use crate::driver::target::{Target, Tls};
use crate::error::{Error, Result};
use crate::mapping::key::parse_key;
use crate::mapping::{KeyAttribute, Mapping};
use crate::pipeline::{self, MaxRejects};
use crate::sink::OnConflict;
use crate::sink::health::HealthOptions;
use crate::sink::load_method::LoadMethod;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of lines in a page: large enough that its fixed costs (a transaction, a ledger row) do not show.
pub const PAGE_BYTES: usize = 1 << 20;

/// Segments open for each that is read: the neediest of them is read, and those that rest are passed over.
const SEGMENTS_TO_CHOOSE_FROM: usize = 8;

/// Segments read at once: as many as keep a fast table busy while each answer travels for some ten milliseconds.
const SEGMENTS_AT_ONCE: usize = 32;

/// The mapping that was asked for; `table` is the DynamoDB table's name, `known` its key where a live table tells it.
///
/// # Errors
/// `Config` naming what is wrong, with file, line, table and column.
pub fn mapping(args: &MappingArgs, table: &str, known: &[KeyAttribute]) -> Result<Arc<Mapping>> {
    if let Some(path) = &args.mapping {
        return Mapping::parse(&read(path)?, &path.display().to_string()).map(Arc::new);
    }
    let key = match &args.key {
        Some(key) => parse_key(key)?,
        None if !known.is_empty() => known.to_vec(),
        None => {
            return Err(Error::config(
                "an export does not tell its table's primary key: give --key NAME:TYPE[,NAME:TYPE] (types S, N, B), \
                 or --mapping FILE",
            ));
        }
    };
    if !known.is_empty() && key != known {
        let spelled: Vec<String> = known.iter().map(ToString::to_string).collect();
        return Err(Error::config(format!(
            "--key: the primary key of table {table} is {}; leave --key away, the table tells it",
            spelled.join(",")
        )));
    }
    let renames = args.rename.iter().map(|rename| match rename.split_once('=') {
        Some((key, column)) => Ok((key.to_owned(), column.to_owned())),
        None => Err(Error::config(format!("--rename {rename} is not of the form KEY=COLUMN"))),
    });
    let renames: Vec<(String, String)> = renames.collect::<Result<_>>()?;
    Mapping::document(&key, args.table.as_deref().unwrap_or(table), &renames).map(Arc::new)
}

/// The target, with its password from wherever it may come. `typed` says that the URL came from the command line,
/// where others can read it.
///
/// # Errors
/// `Config`; a password on the command line is refused without being repeated.
pub fn target(args: &TargetArgs, typed: bool) -> Result<Target> {
    database(args, &args.to, typed)
}

/// Where rows go, as typed.
pub enum To {
    /// An SQL database, or nowhere.
    Sql(Target),
    /// A DynamoDB table, with the state beside it.
    DynamoDb {
        /// The table.
        table: String,
        /// The database of the run's state.
        state: Target,
    },
}

impl To {
    /// The database of the run's state.
    #[must_use]
    pub fn state(&self) -> &Target {
        match self {
            To::Sql(target) => target,
            To::DynamoDb { state, .. } => state,
        }
    }
}

/// Where rows go, and where the state is kept.
///
/// # Errors
/// `Config`; see [`target`].
pub fn to(args: &TargetArgs, dynamo: &DynamoArgs, typed: Typed) -> Result<To> {
    if let Some(to) = dynamodb(args, dynamo, typed)? {
        return Ok(to);
    }
    if dynamo.state.is_some() {
        return Err(Error::config("--state is for a dynamodb:// target: an SQL target keeps the state itself"));
    }
    target(args, typed.to).map(To::Sql)
}

/// A DynamoDB target, with the state beside it; none when the target is another.
///
/// # Errors
/// `Config`; see [`target`].
pub fn dynamodb(args: &TargetArgs, dynamo: &DynamoArgs, typed: Typed) -> Result<Option<To>> {
    let Some(table) = args.to.strip_prefix("dynamodb://") else { return Ok(None) };
    if table.is_empty() || table.contains('/') {
        return Err(Error::config("the target is not of the form dynamodb://TABLE"));
    }
    let default = format!("sqlite:{table}.transvase-state.db");
    let state = database(args, dynamo.state.as_deref().unwrap_or(&default), typed.state)?;
    if matches!(state, Target::Null) {
        return Err(Error::config("--state null: would forget the run: give sqlite:FILE or mysql://…"));
    }
    Ok(Some(To::DynamoDb { table: table.to_owned(), state }))
}

/// The mapping of a run into DynamoDB table `table`, whose key is `target_key`; `source_key` is that of a live source.
///
/// # Errors
/// `Config` naming what is wrong, with file, line and attribute.
pub fn item_mapping(
    args: &MappingArgs,
    table: &str,
    source_key: &[KeyAttribute],
    target_key: &[KeyAttribute],
) -> Result<Arc<Mapping>> {
    if args.table.is_some() || !args.rename.is_empty() {
        return Err(Error::config(
            "--table and --rename are for SQL targets: dynamodb://TABLE names the table, a mapping file renames attributes",
        ));
    }
    let mapping = match (&args.mapping, &args.key) {
        (Some(path), _) => Mapping::parse_items(&read(path)?, &path.display().to_string(), table)?,
        (None, Some(key)) => Mapping::items(&parse_key(key)?, table)?,
        (None, None) if !source_key.is_empty() => Mapping::items(source_key, table)?,
        (None, None) => Mapping::items(target_key, table)?,
    };
    if !source_key.is_empty() && mapping.key() != source_key {
        let spelled: Vec<String> = source_key.iter().map(ToString::to_string).collect();
        return Err(Error::config(format!(
            "the primary key of the source table is {}: mend the key",
            spelled.join(",")
        )));
    }
    Ok(Arc::new(mapping))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::config(format!("reading mapping file {}", path.display())).because(error))
}

/// A database, reached with the target's password and TLS.
///
/// # Errors
/// As [`target`].
pub(super) fn database(args: &TargetArgs, url: &str, typed: bool) -> Result<Target> {
    let tls = match (args.tls, &args.tls_ca) {
        (TlsMode::Auto, ca) => Tls::Auto { ca: ca.clone() },
        (TlsMode::VerifyCa, Some(ca)) => Tls::VerifyCa { ca: ca.clone() },
        (TlsMode::VerifyCa, None) => return Err(Error::config("--tls verify-ca needs --tls-ca FILE")),
        (TlsMode::Off, _) => Tls::Off,
    };
    let mut target = Target::parse(url, tls)?;
    let Target::MySql(mysql) = &mut target else { return Ok(target) };
    mysql.answer_max = Duration::try_from_secs_f64(args.answer_seconds)
        .ok()
        .filter(|limit| *limit >= Duration::from_secs(2))
        .ok_or_else(|| Error::config("--answer-seconds is not a time of at least two seconds"))?;
    if typed && mysql.password.is_some() {
        return Err(Error::config(
            "a password on the command line can be read by every user of this machine: put it into MYSQL_PWD, \
             --password-file FILE, or the whole URL into TRANSVASE_TO or TRANSVASE_STATE",
        ));
    }
    if let Some(path) = &args.password_file {
        mysql.password = Some(password_file(path)?);
    } else if mysql.password.is_none() {
        mysql.password = std::env::var("MYSQL_PWD").ok();
    }
    if mysql.password.is_none() && std::io::stdin().is_terminal() {
        let prompt = format!("password of {}@{}: ", mysql.user, mysql.host);
        let typed = rpassword::prompt_password(prompt)
            .map_err(|error| Error::config("reading the password from the terminal").because(error))?;
        mysql.password = Some(typed).filter(|password| !password.is_empty());
    }
    Ok(target)
}

fn password_file(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::config(format!("reading password file {}", path.display())).because(error))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The options of a backfill.
///
/// # Errors
/// `Config` for a size or a share that cannot be read.
pub fn options(args: &Backfill, target: &Target, live: bool) -> Result<backfill::Options> {
    let pipeline = width(&args.width, live, max_rejects(&args.max_rejects)?)?;
    Ok(backfill::Options {
        run: args.run.clone(),
        restart: args.restart,
        on_conflict: match args.on_conflict {
            OnConflictArg::Keep => OnConflict::Keep,
            OnConflictArg::Replace => OnConflict::Replace,
        },
        load_method: match args.load_method {
            LoadMethodArg::Insert => LoadMethod::Insert,
            LoadMethodArg::LoadData => LoadMethod::LoadData,
            LoadMethodArg::Auto => LoadMethod::Auto,
        },
        live_target: args.live_target,
        create_tables: args.create_tables || args.mapping.mapping.is_none(),
        defer_indexes: args.defer_indexes,
        rejects: args.rejects.clone(),
        health: health(&args.spare, target)?,
        load_order: match args.order.load_order {
            LoadOrderArg::Arrival => LoadOrder::Arrival,
            LoadOrderArg::Clustered => LoadOrder::Clustered,
            LoadOrderArg::Auto => LoadOrder::Auto,
        },
        spill_dir: spill_dir(&args.order),
        spill_limit: args.order.spill_limit.as_deref().map(|limit| size("--spill-limit", limit)).transpose()?,
        follows: None,
        pipeline,
    })
}

/// How wide to run, on a live table or an export.
///
/// # Errors
/// `Config` for a size or a time that cannot be read.
pub(super) fn width(width: &Width, live: bool, max_rejects: MaxRejects) -> Result<pipeline::Options> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let lease = Duration::try_from_secs_f64(width.lease_seconds).ok().filter(|lease| *lease >= Duration::from_secs(1));
    let readers = width.readers.unwrap_or(if live { SEGMENTS_AT_ONCE } else { cores * 2 }).max(1);
    Ok(pipeline::Options {
        memory_bytes: bytes(&width.memory)?,
        readers,
        open_units: if live { readers * SEGMENTS_TO_CHOOSE_FROM } else { readers },
        workers: width.workers.unwrap_or(cores).max(1),
        writers: width.writers.max(1),
        page_bytes: PAGE_BYTES,
        seed: width.seed.unwrap_or_else(|| rand::random::<u64>() >> 1),
        lease: lease.ok_or_else(|| Error::config("--lease-seconds is not a time of at least one second"))?,
        max_rejects,
    })
}

/// What the target must keep to; replicas are reached as the target is.
pub(super) fn health(args: &SpareArgs, target: &Target) -> Result<HealthOptions> {
    let lag = args.max_replica_lag.map(|seconds| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| Error::config("--max-replica-lag is not a time in seconds, such as 5 or 0.5"))
    });
    let Target::MySql(mysql) = target else {
        return Ok(HealthOptions {
            max_threads_running: args.max_threads_running,
            max_replica_lag: lag.transpose()?,
            ..HealthOptions::default()
        });
    };
    let replica = |url: &String| {
        let mut replica = Target::parse(url, mysql.tls.clone())?;
        let Target::MySql(parsed) = &mut replica else {
            return Err(Error::config(format!("--replica {url}: give mysql://user@host:port/database")));
        };
        if parsed.password.is_some() {
            return Err(Error::config(
                "--replica: a replica is reached with the target's password, not with one in its URL",
            ));
        }
        parsed.password.clone_from(&mysql.password);
        Ok(replica)
    };
    Ok(HealthOptions {
        max_threads_running: args.max_threads_running,
        max_replica_lag: lag.transpose()?,
        replicas: args.replica.iter().map(replica).collect::<Result<_>>()?,
        lag_query: args.replica_lag_query.clone(),
    })
}

/// Where large files may be kept for a while.
#[must_use]
pub fn spill_dir(args: &OrderArgs) -> PathBuf {
    args.spill_dir.clone().unwrap_or_else(std::env::temp_dir)
}

/// Bytes in flight.
fn bytes(text: &str) -> Result<usize> {
    let least = PAGE_BYTES * 4;
    usize::try_from(size("--memory", text)?)
        .ok()
        .filter(|value| *value >= least)
        .ok_or_else(|| Error::config(format!("--memory {text}: give at least 4MiB, four pages")))
}

/// Reads `128MiB`, `1GiB`, `65536`.
pub(super) fn size(flag: &str, text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.strip_prefix(digits).unwrap_or_default() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(Error::config(format!("{flag} {text}: give bytes, or KiB, MiB, GiB"))),
    };
    let value = digits.trim().parse::<u64>().ok().and_then(|value| value.checked_mul(factor));
    value.ok_or_else(|| Error::config(format!("{flag} {text}: give bytes, or KiB, MiB, GiB")))
}

/// Reads `10` or `0.5%`.
pub(super) fn max_rejects(text: &str) -> Result<MaxRejects> {
    match share("--max-rejects", text)? {
        Share::Count(count) => Ok(MaxRejects::Count(count)),
        Share::PerMillion(share) => Ok(MaxRejects::PerMillion(share)),
    }
}

/// So many, or so many of a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A number.
    Count(u64),
    /// A share.
    PerMillion(u64),
}

/// Reads `10` or `0.5%`.
///
/// # Errors
/// `Config`.
pub fn share(flag: &str, text: &str) -> Result<Share> {
    let broken = || Error::config(format!("{flag} {text}: give a number or a share such as 0.1%"));
    match text.strip_suffix('%') {
        None => text.parse().map(Share::Count).map_err(|_| broken()),
        Some(share) => {
            let (whole, fraction) = share.split_once('.').unwrap_or((share, ""));
            let digits = format!("{whole}{fraction:0<4}");
            if fraction.len() > 4 || whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(broken());
            }
            digits.parse().map(Share::PerMillion).map_err(|_| broken())
        }
    }
}

/// Reads `24h`, `90m`, `30s`, `2d`.
///
/// # Errors
/// `Config` for anything else.
pub fn time(flag: &str, text: &str) -> Result<Duration> {
    let broken = || Error::config(format!("{flag} {text}: give a time such as 24h, 90m, 30s or 2d"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.strip_prefix(digits) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        Some("d") => 86_400,
        _ => return Err(broken()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    seconds.map(Duration::from_secs).ok_or_else(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares_are_read_exactly() {
        assert_eq!(bytes("128MiB").unwrap(), 128 << 20);
        assert_eq!(bytes("8388608").unwrap(), 8 << 20);
        assert!(bytes("1MiB").is_err());
        assert!(bytes("12MB").is_err());
        assert_eq!(max_rejects("7").unwrap(), MaxRejects::Count(7));
        assert_eq!(max_rejects("0.5%").unwrap(), MaxRejects::PerMillion(5000));
        assert_eq!(max_rejects("100%").unwrap(), MaxRejects::PerMillion(1_000_000));
        for broken in ["", "%", "-1", "1.23456%", "a%", "1 %"] {
            assert!(max_rejects(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("--max-age", "24h").unwrap(), Duration::from_secs(86_400));
        assert_eq!(time("--max-age", "90m").unwrap(), Duration::from_secs(5400));
        assert_eq!(time("--max-age", "0s").unwrap(), Duration::ZERO);
        for broken in ["", "24", "h", "1.5h", "-1h", "1w"] {
            assert!(time("--max-age", broken).is_err(), "{broken}");
        }
    }
}
