//! What a verification is bound to: its name, its tables as they were, and its settings, by which a later process knows it
//! again.

use super::options::{Level, Options, Sample};
use crate::checkpoint::run::{Settings, TargetTable};
use crate::checkpoint::schema::MAX_NAME;
use crate::compare::narrow::{Digests, Narrow};
use crate::compare::server::ServerText;
use crate::driver::pool::Pool;
use crate::error::Result;
use crate::mapping::Mapping;
use crate::model::dialect::Dialect;
use crate::model::page::Unit;
use crate::sink::destination::{Destination, Facts};
use crate::sink::inspect::{Create, Inspected};
use crate::source::Source;
use std::sync::Arc;

/// What the name of a verification begins with, so that it can lie beside a backfill of the same table.
pub(super) const NAME_PREFIX: &str = "verify:";

/// And that of the reading of its target, where that is a DynamoDB table.
pub(super) const COPY_PREFIX: &str = "verify-to:";

/// The name that a verification of a DynamoDB table has.
pub(super) fn name(prefix: &str, table: &str) -> String {
    let room = MAX_NAME - prefix.len();
    // the end tells more than the beginning
    let skip = table.chars().count().saturating_sub(room);
    format!("{prefix}{}", table.chars().skip(skip).collect::<String>())
}

/// The tables of the target, each of which must be such that it can hold the rows.
pub(super) async fn inspect(destination: &Destination, pool: &Pool, mapping: &Mapping) -> Result<Vec<TargetTable>> {
    let Inspected { tables, warnings } = destination.inspect(pool, mapping, Create::Nothing).await?;
    for warning in warnings {
        tracing::info!("{warning}");
    }
    Ok(tables)
}

/// The first table that is not what it was.
pub(super) fn altered<'t>(then: &'t [TargetTable], now: &[TargetTable]) -> Option<&'t str> {
    let mut tables = then.iter().zip(now);
    tables
        .find(|(then, now)| then.name != now.name || then.identity != now.identity)
        .map(|(then, _)| then.name.as_str())
}

/// What is kept of each row. An export has one spelling, and so has what was made of it; a live table may answer in another
/// order each time.
pub(super) fn digests(
    mapping: &Mapping,
    destination: &Destination,
    facts: &Facts,
    level: Level,
    stands_still: bool,
) -> Digests {
    let texts = || (0..mapping.tables().len()).map(|table| ServerText::new(mapping, table, facts.dialect)).collect();
    match level {
        Level::Counts => Digests::None,
        // no server digests items
        Level::Digest if matches!(destination, Destination::DynamoDb(_)) => Digests::Canonical,
        Level::Digest if stands_still => Digests::Server(texts()),
        Level::Digest => Digests::Both(texts()),
        Level::Full => Digests::Canonical,
    }
}

/// What rows become before they are sorted. JSON is mapped to the text that MySQL prints of it, where that is digested.
pub(super) fn narrow(
    mapping: &Arc<Mapping>,
    destination: &Destination,
    facts: &Facts,
    level: Level,
    stands_still: bool,
) -> Narrow {
    let mapping = match (level, facts.dialect) {
        (Level::Digest, Dialect::MySql) => Arc::new(mapping.spelled()),
        _ => Arc::clone(mapping),
    };
    let digests = digests(&mapping, destination, facts, level, stands_still);
    Narrow::new(mapping, digests)
}

/// The fingerprint and the defaults of a new verification.
pub(super) fn settings(
    source: &Arc<dyn Source>,
    mapping: &Mapping,
    destination: &Destination,
    tables: Vec<TargetTable>,
    options: &Options,
) -> Settings {
    let description = source.description();
    let sample = options.sample.map(|Sample(millionths)| format!(", {millionths} millionths")).unwrap_or_default();
    Settings {
        source: description.identity.clone(),
        mapping: mapping.identity(),
        on_conflict: String::new(),
        live_target: true,
        tables,
        seed: options.pipeline.seed,
        page_bytes: options.pipeline.page_bytes,
        items: description.items,
        derived: description.derived.clone(),
        clustered: true,
        begun_us: None,
        as_of_us: None,
        follows: None,
        compares: Some(format!("{destination}, {}{sample}", options.level.name())),
    }
}

/// Items of some units, where all of them tell; else all of the source's.
pub(super) fn items_of(units: &[Unit], all: u64) -> u64 {
    units.iter().map(|unit| unit.items).sum::<Option<u64>>().unwrap_or(all)
}
