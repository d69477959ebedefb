//! One library call a verb, between reading the configuration and printing the result.
#![expect(clippy::disallowed_methods, reason = "wall time belongs to the process")]

use super::progress::Progress;
use super::watch::Watch;
use super::{Backfill, ExitCode, Schema, Typed, config, export, follow_stream, horizon, open, output};
use crate::backfill::{self, dialect_of};
use crate::checkpoint::run::{RunState, name_of};
use crate::error::{Error, Result};
use crate::follow::stream;
use crate::mapping::ddl::{add_indexes, create_table};
use crate::report::Report;
use std::sync::Arc;
use std::time::Instant;

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
    if args.capture {
        Box::pin(follow_stream::capture(args, typed)).await?;
    }
    let to = config::to(&args.target, &args.dynamo, typed)?;
    let exported = match export::export(&args.export, &args.source, &args.dynamo).await? {
        Some(export::Handed::Stopped) => return Ok(ExitCode::Interrupted),
        Some(export::Handed::Over { source, key }) => Some((source, key)),
        None => None,
    };
    let from = exported.as_ref().map_or(&args.source, |(source, _)| source);
    let options = config::options(args, to.state(), open::is_live(from))?;
    let writers = options.pipeline.writers;
    let purse = open::scan_options(&args.dynamo)?.purse();
    let (source, mut key) = open::source(from, &args.dynamo, config::spill_dir(&args.order), &purse).await?;
    if let Some((_, known)) = &exported {
        key.clone_from(known);
    }
    let table = &source.description().table;
    let (destination, mapping) = open::destination(&args.mapping, &args.dynamo, to, table, &key).await?;
    let (table, copy) = (table.clone(), args.run.clone().unwrap_or_else(|| name_of(table)));
    // a live table is read as it is now, which is never before what was followed
    if options.restart && !open::is_live(from) {
        stream::forget(&destination, &copy).await?;
    }
    let run = backfill::Backfill::prepare(source, mapping, destination.clone(), options).await?;
    let mut kept = None;
    let (mut report, error) = flow(run, writers, async |progress| {
        if args.capture {
            kept = Some(horizon::copy(destination.clone(), copy.clone(), table, &progress).await);
        }
        Watch::begin(started, progress)
    })
    .await?;
    let kept = match kept {
        Some(_) => horizon::told(&mut report, &destination, &copy).await,
        None => String::new(),
    };
    output::print(&output::table(&report));
    output::print(&kept);
    output::ended(&report, args.report.as_deref(), error, output::code_of_status(report.status))
}

/// Lets a copy flow, watched by what `watch` makes of its progress.
///
/// # Errors
/// When nothing can be said of the run any more.
pub(super) async fn flow(
    run: backfill::Backfill,
    writers: usize,
    watch: impl AsyncFnOnce(Arc<Progress>) -> Result<Watch>,
) -> Result<(Report, Option<Error>)> {
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
    let watch = watch(progress).await?;
    let ended = run.run(watch.stop(), watch.monitor()).await;
    let process = watch.end(&*source);
    let (mut report, error) = ended?;
    report.process = process;
    Ok((report, error))
}
