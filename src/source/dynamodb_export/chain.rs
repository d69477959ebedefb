//! A chain of incremental exports: which windows there are, in their order and without a gap.
//!
//! Promises: export folders are listed for their summaries alone, and no data folder is; what does not make one chain of
//! one table is refused with both neighbours named. It does not know what has been applied.

use super::keys::{EXPORTS, join};
use super::location::{ChainLocation, ExportLocation, SUMMARY, incomplete};
use super::manifest::{self, Kind, Summary};
use crate::driver::objects::Objects;
use crate::error::{Error, Result};
use crate::mapping::moment_text;
use std::fmt;

/// What the folder is called that all incremental exports share.
const DATA: &str = "data";

/// What AWS writes first and last but one; who has them and no summary is not complete.
const FIRST: [&str; 2] = ["_started", "manifest-files.json"];

/// A span of time, in microseconds since 1970: from the one moment on, before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// Its first moment.
    pub from_us: i64,
    /// The first moment after it.
    pub to_us: i64,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", moment_text(self.from_us), moment_text(self.to_us))
    }
}

/// A table, as an export names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Tells it from an earlier one of the same name.
    pub id: String,
}

/// One incremental export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is.
    pub location: ExportLocation,
    /// The same, for people.
    pub place: String,
    /// Its ARN.
    pub export_arn: String,
    /// Of which table.
    pub table: TableName,
    /// What it covers.
    pub window: Window,
    /// How many changes it holds.
    pub changes: u64,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place, self.window)
    }
}

/// A full export beside the windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullExport {
    /// Where it is, for people.
    pub place: String,
    /// Its ARN.
    pub export_arn: String,
}

/// Incremental exports of one table, each beginning where the one before ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// At least one, by time.
    pub links: Vec<Link>,
    /// Full exports that lie beside them: AWS puts all exports with one prefix into one folder.
    pub full: Vec<FullExport>,
}

impl Chain {
    /// Reads and verifies the summaries of the exports there. Blocks.
    ///
    /// # Errors
    /// `Config` when there is no incremental export, when one is not complete, or when they make no chain: of another
    /// table, with a gap, with an overlap. `Corrupt` when a summary contradicts its checksum.
    pub fn open(location: &ChainLocation, objects: &Objects) -> Result<Chain> {
        let mut chain = Chain::default();
        let shown = objects.name(&location.key);
        if !chain.look(location, objects, &location.key, false)? {
            let mut folder = location.key.clone();
            let mut names = objects.folders(&folder)?;
            if names.iter().any(|name| name == EXPORTS) {
                folder = join(&folder, EXPORTS);
                names = objects.folders(&folder)?;
            }
            let is_aws = folder == EXPORTS || folder.ends_with(&format!("/{EXPORTS}"));
            for name in names.iter().filter(|name| *name != DATA) {
                chain.look(location, objects, &join(&folder, name), is_aws && is_export_id(name))?;
            }
        }
        match (chain.links.is_empty(), chain.full.first()) {
            (false, _) => chain.ordered(),
            (true, Some(full)) => Err(is_full(&full.place)),
            (true, None) => Err(Error::config(format!("no incremental export at {shown}: there is no {SUMMARY}"))),
        }
    }

    /// Adds the export in `folder`; whether there is one. `surely` says that there must be.
    fn look(&mut self, location: &ChainLocation, objects: &Objects, folder: &str, surely: bool) -> Result<bool> {
        let export = location.export(folder);
        let key = export.manifest_key();
        if objects.read(key, manifest::SUMMARY_CAP_BYTES)?.is_none() {
            for first in FIRST {
                if objects.read(&join(folder, first), manifest::FILES_CAP_BYTES)?.is_some() {
                    return Err(incomplete(&objects.name(folder)));
                }
            }
            return if surely { Err(incomplete(&objects.name(folder))) } else { Ok(false) };
        }
        let bytes = manifest::read_summary(objects, key, folder)?;
        let summary = manifest::parse_summary(&objects.name(key), &bytes)?;
        self.add(export, objects.name(folder), summary);
        Ok(true)
    }

    fn add(&mut self, location: ExportLocation, place: String, summary: Summary) {
        let Summary { export_arn, table: name, table_arn: arn, table_id: id, items: changes, .. } = summary;
        match summary.kind {
            Kind::Full { .. } => self.full.push(FullExport { place, export_arn }),
            Kind::Incremental { from_us, to_us } => {
                let (table, window) = (TableName { name, arn, id }, Window { from_us, to_us });
                self.links.push(Link { location, place, export_arn, table, window, changes });
            }
        }
    }

    /// By time, if each begins where the one before ends.
    fn ordered(mut self) -> Result<Chain> {
        self.links.sort_by_key(|link| link.window);
        for pair in self.links.windows(2) {
            let [one, next] = pair else { continue };
            if one.table != next.table {
                let said =
                    |link: &Link| format!("{} is of table {} (id {})", link.place, link.table.arn, link.table.id);
                let (one, next) = (said(one), said(next));
                return Err(Error::config(format!("{one}, {next}: a chain is of one table, give each its own folder")));
            }
            if one.window.to_us < next.window.from_us {
                let missing = Window { from_us: one.window.to_us, to_us: next.window.from_us };
                return Err(Error::config(format!(
                    "a window is missing between {one} and {next}: export {missing} too"
                )));
            }
            if one.window.to_us > next.window.from_us {
                return Err(Error::config(format!(
                    "{one} and {next} overlap: give exports of which each begins where the one before ends"
                )));
            }
        }
        Ok(self)
    }
}

/// Why a full export is not what was asked for.
pub(super) fn is_full(name: &str) -> Error {
    Error::config(format!(
        "{name} is a full export, which holds no changes: `transvase backfill` copies it; give the incremental exports \
         that were made after it"
    ))
}

/// Fourteen digits, a hyphen, eight hexadecimal digits.
fn is_export_id(name: &str) -> bool {
    name.split_once('-').is_some_and(|(time, random)| {
        time.len() == 14
            && random.len() == 8
            && time.bytes().all(|byte| byte.is_ascii_digit())
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
