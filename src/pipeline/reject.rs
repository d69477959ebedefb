//! Rejects: rows of the run, written with their page, exported at the end as JSON lines.

use crate::checkpoint::rejects::StoredReject;
use crate::checkpoint::run::Checkpoint;
use crate::error::{Error, Result};
use crate::model::json::write_string;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs::{OpenOptions, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes every reject of the run to `path`, readable by its owner only: one JSON object a line with `unit` (the data
/// file), `line` (from 1), `table`, `column`, `reason`, and `item`, the line exactly as it was read, or
/// `item_base64` when it is not JSON.
///
/// # Errors
/// Of the database, and of writing the file.
pub async fn export<'n>(checkpoint: &Checkpoint, path: &Path, unit_name: &dyn Fn(u32) -> &'n str) -> Result<()> {
    let failed = |error: std::io::Error| Error::config(format!("writing rejects to {}", path.display())).because(error);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    // The mode above is only that of a new file; one that was there keeps its own until told.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    let mut file = BufWriter::new(file);
    let mut after = None;
    // The last reject read: more parts of its line may follow.
    let mut open: Option<StoredReject> = None;
    loop {
        let rejects = checkpoint.rejects(after).await?;
        let Some(last) = rejects.last() else { break };
        after = Some((last.unit, last.position, last.part));
        for reject in rejects {
            match &mut open {
                Some(whole) if reject.part > 0 => whole.item.extend_from_slice(&reject.item),
                _ => {
                    if let Some(whole) = open.replace(reject) {
                        file.write_all(&line(&whole, unit_name(whole.unit))).map_err(failed)?;
                    }
                }
            }
        }
    }
    if let Some(whole) = open {
        file.write_all(&line(&whole, unit_name(whole.unit))).map_err(failed)?;
    }
    file.flush().map_err(failed)
}

fn line(reject: &StoredReject, unit: &str) -> Vec<u8> {
    let mut out = b"{\"unit\":".to_vec();
    write_string(unit, &mut out);
    out.extend_from_slice(format!(",\"line\":{}", reject.position + 1).as_bytes());
    for (name, value) in [("table", &reject.table), ("column", &reject.column), ("reason", &reject.reason)] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        match value {
            Some(value) => write_string(value, &mut out),
            None => out.extend_from_slice(b"null"),
        }
    }
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&reject.item).is_ok();
    if is_json && !reject.item.contains(&b'\n') {
        out.extend_from_slice(b",\"item\":");
        out.extend_from_slice(&reject.item);
    } else {
        out.extend_from_slice(b",\"item_base64\":");
        write_string(&STANDARD.encode(&reject.item), &mut out);
    }
    out.extend_from_slice(b"}\n");
    out
}
