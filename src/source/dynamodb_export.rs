//! A DynamoDB export (DYNAMODB_JSON), in a folder or in S3: every data file is a unit, every line an item of a full
//! export, or a change of an incremental one.
//!
//! Promises: what is read is what the manifests name, never what a listing shows; no line of a file is handed out
//! before the file's MD5 has been proved; a unit whose line count is not the manifest's fails. It does not look into
//! a line.

pub mod chain;
mod inflate;
mod keys;
mod location;
mod manifest;
mod reader;
pub mod request;
mod spare;
#[cfg(test)]
mod tests;

pub use location::{ChainLocation, ExportLocation, Store};

use super::{Description, Source, UnitReader};
use crate::driver::objects::{Fetched, Md5, Objects};
use crate::error::{Error, ErrorKind, Result};
use crate::model::counts::Counts;
use crate::model::page::{Unit, UnitId, Wanted};
use crate::report::SourceUsage;
use manifest::{DataFile, Kind, Summary};
use reader::FileReader;
use spare::Spare;
use std::sync::Arc;

/// How to read an export.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Bytes of a page: large enough that a page's fixed costs (a transaction, a ledger row) do not show, small enough
    /// that many pages of many files mix in memory. A page with one longer line is longer.
    pub page_bytes: usize,
}

impl Default for ExportOptions {
    fn default() -> Self {
        ExportOptions { page_bytes: 1024 * 1024 }
    }
}

/// A complete export whose manifests have been verified.
#[derive(Debug)]
pub struct DynamoDbExport {
    objects: Objects,
    options: ExportOptions,
    summary: Summary,
    manifest_folder: String,
    description: Description,
    /// The data file of each unit.
    files: Vec<DataFile>,
    spare: Arc<Spare>,
}

impl DynamoDbExport {
    /// Reads and verifies the manifests of a full export. Blocks; reads no data file.
    ///
    /// # Errors
    /// `Config` when there is no complete full export at the location, or one in a format that is not supported; `Corrupt`
    /// when its manifests contradict their checksums, themselves or each other.
    pub fn open(location: &ExportLocation, objects: Objects, options: &ExportOptions) -> Result<DynamoDbExport> {
        let (name, summary) = read_summary(location, &objects)?;
        if let Kind::Incremental { .. } = summary.kind {
            return Err(Error::config(format!(
                "{name} is of an incremental export, which holds changes and no whole table: give a full export; \
                 `transvase follow` applies the changes to the copy of one"
            )));
        }
        DynamoDbExport::of(location, objects, options, summary)
    }

    /// The same of an incremental export: its lines are changes.
    ///
    /// # Errors
    /// As [`DynamoDbExport::open`], of a full export.
    pub fn open_changes(
        location: &ExportLocation,
        objects: Objects,
        options: &ExportOptions,
    ) -> Result<DynamoDbExport> {
        let (name, summary) = read_summary(location, &objects)?;
        if let Kind::Full { .. } = summary.kind {
            return Err(chain::is_full(&name));
        }
        DynamoDbExport::of(location, objects, options, summary)
    }

    fn of(
        location: &ExportLocation,
        objects: Objects,
        options: &ExportOptions,
        summary: Summary,
    ) -> Result<DynamoDbExport> {
        let folder = location.manifest_folder();
        let candidates = keys::candidates(&summary.manifest_files_key, summary.prefix.as_deref(), folder);
        let (name, bytes) = manifest::read_files(&objects, &candidates)?;
        let files = manifest::parse_files(&name, &bytes)?;
        manifest::check_totals(&name, &summary, &files)?;
        let files: Vec<DataFile> = files.into_iter().filter(|file| file.items > 0).collect();
        let units =
            files.iter().zip(0..).map(|(file, id)| Unit { id, name: file.key.clone(), items: Some(file.items) });
        let description = Description {
            table: summary.table.clone(),
            identity: format!("{} sha256:{}", summary.export_arn, manifest::sha256(&bytes)),
            units: units.collect(),
            items: summary.items,
            bytes: summary.bytes,
            exact: true,
            derived: None,
            changes: matches!(summary.kind, Kind::Incremental { .. }),
        };
        let (options, manifest_folder) = (options.clone(), folder.to_owned());
        let spare = Arc::new(Spare::new(options.page_bytes));
        Ok(DynamoDbExport { objects, options, summary, manifest_folder, description, files, spare })
    }

    /// The data file, wherever it was copied to: proved.
    fn fetch(&self, file: &DataFile, md5: Md5) -> Result<Fetched> {
        let candidates = keys::candidates(&file.key, self.summary.prefix.as_deref(), &self.manifest_folder);
        // Without the right to list, S3 says "access denied" of a key that is not there: it may be at the next place.
        let mut denied = None;
        for key in &candidates {
            match self.objects.fetch(key, md5) {
                Ok(Some(fetched)) => return Ok(fetched),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Config => denied = denied.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        let places: Vec<String> = candidates.iter().map(|key| self.objects.name(key)).collect();
        Err(denied.unwrap_or_else(|| {
            Error::corrupt(format!(
                "data file {} is missing: looked for {}; copy it from the export, then run again",
                file.key,
                places.join(", ")
            ))
        }))
    }
}

/// The name of the summary, and what it says.
fn read_summary(location: &ExportLocation, objects: &Objects) -> Result<(String, Summary)> {
    let (key, folder) = (location.manifest_key(), location.manifest_folder());
    let bytes = manifest::read_summary(objects, key, folder)?;
    let name = objects.name(key);
    let summary = manifest::parse_summary(&name, &bytes)?;
    Ok((name, summary))
}

impl Source for DynamoDbExport {
    fn description(&self) -> &Description {
        &self.description
    }

    fn as_of_us(&self) -> Option<i64> {
        match self.summary.kind {
            Kind::Full { at_us } => at_us,
            Kind::Incremental { to_us, .. } => Some(to_us),
        }
    }

    fn adopt(&mut self, _: &str, _: &Counts) -> Result<()> {
        Ok(())
    }

    fn open(&self, unit: UnitId, wanted: &Wanted) -> Result<Box<dyn UnitReader>> {
        let file = usize::try_from(unit).ok().and_then(|at| self.files.get(at));
        let file = file.ok_or_else(|| Error::internal(format!("the export has no unit {unit}")))?;
        let fetched = self.fetch(file, file.md5)?;
        Ok(Box::new(FileReader::new(
            unit,
            file,
            fetched,
            &wanted.items,
            self.options.page_bytes,
            Arc::clone(&self.spare),
        )?))
    }

    fn take_back(&self, bytes: Vec<u8>) {
        self.spare.give(bytes);
    }

    fn usage(&self) -> SourceUsage {
        SourceUsage { retries: self.objects.retries(), ..SourceUsage::default() }
    }

    fn limited_by(&self) -> Option<String> {
        None
    }
}
