//! One library call a verb, between reading the configuration and printing the result.
#![expect(clippy::disallowed_methods, reason = "wall time and the second signal belong to the process")]

use super::config::To;
use super::log::Log;
use super::progress::Progress;
use super::test_point::TestPoint;
use super::{Backfill, DynamoArgs, ExitCode, Schema, Typed, config, output};
use crate::backfill::{self, dialect_of};
use crate::checkpoint::run::RunState;
use crate::driver::dynamodb::{DynamoDb, Endpoint};
use crate::driver::objects::{Objects, S3Bucket, S3Options};
use crate::error::{Error, Result};
use crate::limit::price::{self, Prices};
use crate::mapping::ddl::{add_indexes, create_table};
use crate::mapping::{KeyAttribute, KeyType, Mapping};
use crate::monitor::{Monitor, Monitors};
use crate::report::{Meter, ProcessReport};
use crate::sink::destination::{Destination, DynamoDbTarget};
use crate::sink::dynamodb::pace::Pace;
use crate::sink::dynamodb::preflight;
use crate::source::Source;
use crate::source::dynamodb_export::{DynamoDbExport, ExportLocation, ExportOptions};
use crate::source::dynamodb_scan::{DynamoDbScan, ScanOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// `transvase schema`.
///
/// # Errors
/// `Config`, and of connecting to a server.
pub async fn schema(args: &Schema, typed: Typed) -> Result<ExitCode> {
    let target = config::target(&args.target, typed.to)?;
    let mapping = config::mapping(&args.mapping, "items", &[])?;
    let dialect = dialect_of(&target).await?;
    let of_table = |table| std::iter::once(create_table(table, dialect)).chain(add_indexes(table, &[], dialect));
    let statements: Vec<String> = mapping.tables().iter().flat_map(of_table).map(|text| text + ";\n").collect();
    output::print(&statements.join("\n"));
    Ok(ExitCode::Complete)
}

/// `transvase backfill`.
///
/// # Errors
/// Whatever keeps the run from beginning, or ends it for good.
pub async fn backfill(args: &Backfill, typed: Typed) -> Result<ExitCode> {
    let started = Instant::now();
    let to = config::to(args, typed)?;
    let table = args.from.strip_prefix("dynamodb://");
    let options = config::options(args, to.state(), table.is_some())?;
    let writers = options.pipeline.writers;
    let (source, key) = match table {
        Some(table) => scan(&args.dynamo, table).await?,
        None => (Box::new(open(args).await?) as Box<dyn Source>, Vec::new()),
    };
    let (destination, mapping) = destination(args, to, &source.description().table, &key).await?;
    let run = backfill::Backfill::prepare(source, mapping, destination, options).await?;
    let source = run.source();
    let (before, items) = run.progress();
    let progress = Arc::new(Progress::new(Arc::clone(&source), before, writers));
    let about = if source.description().exact { "" } else { "about " };
    match run.state() {
        RunState::New => progress.say(&format!("{about}{items} items to read, seed {}", run.seed())),
        RunState::Resumed => progress.say(&format!("resuming: {before} of {about}{items} items are durable already")),
        RunState::Complete => {}
    }
    for line in run.advice().await? {
        progress.say(&format!("advice: {line}"));
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
    output::print(&output::table(&report));
    if let Some(path) = &args.report {
        output::write_json(&report, path)?;
    }
    match error {
        Some(error) => Err(error),
        None => Ok(output::code_of_status(report.status)),
    }
}

/// Where rows go, and how items of `source` become them; `key` is the source's, where it tells.
async fn destination(
    args: &Backfill,
    to: To,
    source: &str,
    key: &[KeyAttribute],
) -> Result<(Destination, Arc<Mapping>)> {
    match to {
        To::Sql(target) => {
            let mapping = config::mapping(&args.mapping, source, key)?;
            Ok((Destination::Sql(target), mapping))
        }
        To::DynamoDb { table, state } => {
            let db = DynamoDb::connect(&endpoint(&args.dynamo)).await?;
            let description = db.describe(&table).await?;
            let mapping = config::item_mapping(&args.mapping, &table, key, &preflight::key_of(&description)?)?;
            let (pace, budget) = Pace::new(db.clone(), &description, args.dynamo.write_capacity.parse()?)?;
            tracing::info!("table {table}: writing with {budget}");
            let target = DynamoDbTarget { db, description, pace: Arc::new(pace), state };
            Ok((Destination::DynamoDb(Box::new(target)), mapping))
        }
    }
}

fn endpoint(args: &DynamoArgs) -> Endpoint {
    Endpoint { url: args.endpoint_url.clone(), region: args.region.clone() }
}

/// Opens a live table, which tells its key.
async fn scan(args: &DynamoArgs, table: &str) -> Result<(Box<dyn Source>, Vec<KeyAttribute>)> {
    let driver = DynamoDb::connect(&endpoint(args)).await?;
    let table = driver.describe(table).await?;
    let key = table.key.iter().map(|(name, ty)| KeyAttribute { name: name.clone(), ty: key_type(*ty) }).collect();
    let options = ScanOptions {
        segments: args.segments,
        consistent: args.consistent_read,
        budget: args.read_capacity.parse()?,
        prices: Prices { read: args.read_price, ..price::DEFAULT },
        max_cost: args.max_cost,
    };
    let (scan, budget) = DynamoDbScan::new(driver, tokio::runtime::Handle::current(), &table, options)?;
    tracing::info!("table {}: reading with {budget}", table.name);
    Ok((Box::new(scan), key))
}

fn key_type(letter: char) -> KeyType {
    match letter {
        'S' => KeyType::S,
        'N' => KeyType::N,
        _ => KeyType::B,
    }
}

/// Opens the export, which reads and checks its manifests. It blocks, so it gets a thread that may.
async fn open(args: &Backfill) -> Result<DynamoDbExport> {
    let location = ExportLocation::find(&args.from)?;
    let spill = config::spill_dir(args);
    let (endpoint, handle) = (args.s3_endpoint.clone(), tokio::runtime::Handle::current());
    let opening = tokio::task::spawn_blocking(move || {
        let objects = objects(&location, spill, endpoint, handle)?;
        DynamoDbExport::open(&location, objects, &ExportOptions { page_bytes: config::PAGE_BYTES })
    });
    opening.await.map_err(|error| Error::internal("opening the export").because(error))?
}

fn objects(
    location: &ExportLocation,
    spill: PathBuf,
    endpoint: Option<String>,
    handle: tokio::runtime::Handle,
) -> Result<Objects> {
    match location {
        ExportLocation::Folder { root, .. } => Ok(Objects::folder(root.clone())),
        ExportLocation::S3 { bucket, .. } => {
            let options = S3Options { endpoint, ..S3Options::new(spill) };
            S3Bucket::connect(handle, bucket, options).map(Objects::S3)
        }
    }
}

/// The first signal asks for an orderly stop; the second ends the process: it is safe to, at any time.
async fn signals(stop: CancellationToken, progress: Arc<Progress>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    for round in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if round > 0 {
            std::process::exit(ExitCode::Interrupted as i32);
        }
        progress.say("stopping: pages in flight are being finished; once more to stop at once");
        stop.cancel();
    }
}
