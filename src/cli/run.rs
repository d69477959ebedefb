//! One library call a verb, between reading the configuration and printing the result.
#![expect(
    clippy::disallowed_methods,
    reason = "wall time, the second signal, the test point: all belong to the process"
)]

use super::crash::Crash;
use super::log::Log;
use super::progress::Progress;
use super::{Backfill, ExitCode, Schema, config, output};
use crate::backfill::{self, dialect_of};
use crate::checkpoint::run::RunState;
use crate::driver::objects::{Objects, S3Bucket, S3Options};
use crate::error::{Error, Result};
use crate::mapping::ddl::create_table;
use crate::monitor::{Monitor, Monitors};
use crate::report::{Meter, ProcessReport};
use crate::source::Source;
use crate::source::dynamodb_export::{DynamoDbExport, ExportLocation, ExportOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// `transvase schema`.
///
/// # Errors
/// `Config`, and of connecting to a server.
pub async fn schema(args: &Schema, typed: bool) -> Result<ExitCode> {
    let target = config::target(&args.target, typed)?;
    let mapping = config::mapping(&args.mapping, "items")?;
    let dialect = dialect_of(&target).await?;
    let statements: Vec<String> = mapping.tables().iter().map(|table| create_table(table, dialect) + ";\n").collect();
    output::print(&statements.join("\n"));
    Ok(ExitCode::Complete)
}

/// `transvase backfill`.
///
/// # Errors
/// Whatever keeps the run from beginning, or ends it for good.
pub async fn backfill(args: &Backfill, typed: bool) -> Result<ExitCode> {
    let started = Instant::now();
    let target = config::target(&args.target, typed)?;
    let options = config::options(args)?;
    let writers = options.pipeline.writers;
    let source: Box<dyn Source> = Box::new(open(args).await?);
    let mapping = config::mapping(&args.mapping, &source.description().table)?;
    let run = backfill::Backfill::prepare(source, mapping, target, options).await?;
    let source = run.source();
    let (before, items) = run.progress();
    let progress = Arc::new(Progress::new(items, before, writers));
    match run.state() {
        RunState::New => progress.say(&format!("{items} items to read, seed {}", run.seed())),
        RunState::Resumed => progress.say(&format!("resuming: {before} of {items} items are durable already")),
        RunState::Complete => {}
    }
    let meter = Arc::new(Meter::default());
    let mut monitors: Vec<Arc<dyn Monitor>> = vec![Arc::clone(&meter) as _, Arc::clone(&progress) as _, Arc::new(Log)];
    if let Ok(point) = std::env::var("TRANSVASE_ABORT_AT") {
        monitors.push(Arc::new(Crash::parse(&point)?));
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

/// Opens the export, which reads and checks its manifests. It blocks, so it gets a thread that may.
async fn open(args: &Backfill) -> Result<DynamoDbExport> {
    let location = ExportLocation::find(&args.from)?;
    let spill = args.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
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
