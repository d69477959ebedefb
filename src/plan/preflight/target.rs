//! The target: whether it can be reached, takes the tables, and has room. A server is looked at more closely in
//! [`server`](super::server).

use super::{fail, pass, server, warn};
use crate::driver::dynamodb::DynamoDb;
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::mapping::fit::Severity;
use crate::mapping::{KeyAttribute, Table};
use crate::plan::Check;
use crate::sink::dynamodb::preflight;
use crate::sink::inspect::{Inspected, Looked, look};
use crate::spill::dir::free_bytes;
use std::path::Path;

/// What a run would ask of the target.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The tables.
    pub tables: &'a [Table],
    /// Whether those that are missing are created.
    pub create_tables: bool,
    /// Bytes that they will take.
    pub bytes: u64,
    /// The largest row that was seen, in bytes.
    pub largest_row: u64,
    /// Connections that write.
    pub writers: usize,
}

/// Looks at the target.
pub async fn target(target: &Target, demand: &Demand<'_>) -> Vec<Check> {
    if let Target::Null = target {
        return vec![pass("target", "null: takes everything and keeps nothing")];
    }
    if let Target::Sqlite(path) = target
        && !path.exists()
    {
        return vec![folder(path), room(parent(path), demand.bytes)];
    }
    let mut session = match Session::look(target).await {
        Ok(session) => session,
        Err(error) => return vec![fail("target", "cannot be reached", error.chain())],
    };
    let mut checks = match target {
        Target::MySql(mysql) => match server::server(&mut session, mysql, demand).await {
            Ok(checks) => checks,
            Err(fault) => vec![fail("target", "does not tell its settings", fault.into_error("asking it").chain())],
        },
        Target::Sqlite(path) => vec![folder(path), room(parent(path), demand.bytes)],
        Target::Null => Vec::new(),
    };
    match look(&mut session, demand.tables).await {
        Ok(tables) => checks.extend(tables.into_iter().flat_map(|table| of_table(table, demand.create_tables))),
        Err(fault) => checks.push(fail("tables", "cannot be looked at", fault.into_error("looking").chain())),
    }
    checks
}

/// Looks at a DynamoDB table that takes items under `key`.
pub async fn table(db: &DynamoDb, name: &str, key: &[KeyAttribute]) -> Vec<Check> {
    const NAME: &str = "target";
    match preflight::inspect(db, name, key).await {
        Ok(Inspected { tables, warnings }) => {
            let step = "see that it is meant so";
            let mut checks: Vec<Check> = warnings.into_iter().map(|warning| warn(NAME, warning, step)).collect();
            if tables.iter().any(|table| !table.empty_at_start) {
                let finding = format!("table {name} holds items already: with keep they are left as they are");
                checks.push(warn(NAME, finding, "say --live-target if the application writes to it, or empty it"));
            }
            if checks.is_empty() { vec![pass(NAME, format!("table {name} has the key, and is empty"))] } else { checks }
        }
        Err(error) => vec![fail(NAME, error.chain(), "mend that first")],
    }
}

/// A line for each thing to be said of a table.
fn of_table(looked: Looked, create: bool) -> Vec<Check> {
    let name = format!("table {}", looked.table);
    match looked.empty {
        None if create => return vec![pass(&name, "is not there and will be created")],
        None => {
            let step = "say --create-tables, or create it as `transvase schema` shows";
            return vec![fail(&name, "is not there", step)];
        }
        Some(_) => {}
    }
    let mut checks: Vec<Check> = looked
        .findings
        .into_iter()
        .map(|finding| match finding.severity {
            Severity::Refuse => fail(&name, finding.message, "alter the table as `transvase schema` shows"),
            Severity::Warn => warn(&name, finding.message, "see that it is meant so"),
        })
        .collect();
    if looked.empty == Some(false) {
        let step = "say --live-target if the application writes to it, or empty it";
        checks.push(warn(&name, "holds rows already: those with an item's key are left as they are", step));
    }
    if checks.is_empty() { vec![pass(&name, "is there, empty, and takes every row")] } else { checks }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn folder(path: &Path) -> Check {
    let folder = parent(path);
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() && !found.permissions().readonly() => {
            let there = if path.exists() { "is there" } else { "will be created" };
            pass("target", format!("{} {there}", path.display()))
        }
        Ok(_) => fail("target", format!("{} is no folder that can be written", folder.display()), "name another file"),
        Err(error) => fail("target", format!("{}: {error}", folder.display()), "create the folder"),
    }
}

/// Whether the disk under `folder` has room for so many bytes, and half as many again for logs.
pub(super) fn room(folder: &Path, bytes: u64) -> Check {
    const NAME: &str = "disk";
    let wanted = bytes.saturating_add(bytes / 2);
    let gb = |bytes: u64| match bytes {
        0..100_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    };
    match free_bytes(folder) {
        Ok(free) => {
            let finding = format!("{} free under {}, the tables take about {}", gb(free), folder.display(), gb(bytes));
            match free {
                free if free < bytes => fail(NAME, finding, format!("have {} free", gb(wanted))),
                free if free < wanted => {
                    warn(NAME, finding, format!("have {} free, for logs and temporary files", gb(wanted)))
                }
                _ => pass(NAME, finding),
            }
        }
        Err(error) => warn(NAME, format!("not known: {}", error.chain()), format!("have {} free", gb(wanted))),
    }
}
