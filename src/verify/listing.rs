//! The list of differences as JSON lines: one for each column that differs, one for each row that is there on one side only,
//! one for each key that never settled. Written whole or not at all.

use super::detail::{Detail, key, word};
use crate::checkpoint::differences::Difference;
use crate::checkpoint::run::Checkpoint;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::model::difference::{Kind, Verdict};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Differences fetched at once.
const PAGE: usize = 500;

/// Verdicts that are listed: what differs, what was mended, and what cannot be told.
const LISTED: [Verdict; 4] = [Verdict::Confirmed, Verdict::Unsettled, Verdict::Open, Verdict::Repaired];

/// Writes the list to `path`, readable by its owner only. The members of a line: `table`, `key` (columns by name),
/// `item` (the source key), `kind`, `verdict`, `column`, `source` and `target`, and `why` where mending failed.
///
/// # Errors
/// Of the database, and of writing the file: then whatever was at `path` is there still.
pub async fn write(checkpoint: &Checkpoint, mapping: &Mapping, path: &Path) -> Result<()> {
    let failed =
        |error: std::io::Error| Error::config(format!("writing differences to {}", path.display())).because(error);
    let beside = beside(path);
    // A leftover of a process that died may belong to nobody who can be asked.
    drop(std::fs::remove_file(&beside));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    let written = fill(checkpoint, mapping, file, &failed).await;
    let ended = written.and_then(|()| std::fs::rename(&beside, path).map_err(failed));
    if ended.is_err() {
        drop(std::fs::remove_file(&beside));
    }
    ended?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Where the file grows: in the same folder, so that it can take its name at once.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

async fn fill(
    checkpoint: &Checkpoint,
    mapping: &Mapping,
    file: File,
    failed: &dyn Fn(std::io::Error) -> Error,
) -> Result<()> {
    let keys = mapping.source_keys().ok();
    let mut file = BufWriter::new(file);
    for verdict in LISTED {
        let mut after: Option<Difference> = None;
        loop {
            let page = checkpoint.differences_by_place(verdict, after.as_ref(), PAGE).await?;
            for difference in &page {
                let item = keys.as_ref().and_then(|keys| {
                    let key = keys.of(difference.candidate.table, &difference.candidate.key)?;
                    serde_json::from_slice(&key).ok()
                });
                for line in lines(difference, mapping, item) {
                    writeln!(file, "{line}").map_err(failed)?;
                }
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last),
                None => break,
            }
        }
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

/// The lines of one difference; `item` is its key in the source.
#[must_use]
pub fn lines(difference: &Difference, mapping: &Mapping, item: Option<Value>) -> Vec<Value> {
    let candidate = &difference.candidate;
    let Some(table) = mapping.tables().get(candidate.table) else { return Vec::new() };
    let detail = Detail::parse(difference.detail.as_deref());
    let mut line = Map::new();
    line.insert("table".into(), Value::from(table.name.as_str()));
    line.insert("key".into(), key(table, &candidate.key));
    line.extend(item.map(|item| ("item".to_owned(), item)));
    let (kind, verdict) = match difference.verdict {
        Verdict::Unsettled | Verdict::Open => ("unsettled", "unsettled"),
        Verdict::Repaired => (word(candidate.kind), "repaired"),
        _ => (word(candidate.kind), "confirmed"),
    };
    line.insert("kind".into(), Value::from(kind));
    line.insert("verdict".into(), Value::from(verdict));
    line.extend(detail.why.map(|why| ("why".to_owned(), Value::from(why))));
    if !detail.columns.is_empty() {
        let of_column = detail.columns.into_iter().map(|column| {
            let mut line = line.clone();
            line.insert("column".into(), Value::from(column.column));
            line.insert("source".into(), column.source);
            line.insert("target".into(), column.target);
            Value::Object(line)
        });
        return of_column.collect();
    }
    let side = if candidate.kind == Kind::Extra { "target" } else { "source" };
    line.extend(detail.row.map(|row| (side.to_owned(), row)));
    vec![Value::Object(line)]
}
