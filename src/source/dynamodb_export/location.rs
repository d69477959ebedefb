//! Where an export is, from what was typed: finds its manifest, never its data.

use super::keys::{EXPORTS, join};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

pub(super) const SUMMARY: &str = "manifest-summary.json";

/// What holds an export's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// A folder that stands for the bucket's root.
    Folder(PathBuf),
    /// A bucket.
    S3(String),
}

/// Where one export's manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportLocation {
    /// In a folder.
    Folder {
        /// What stands for the bucket's root: keys are paths below it.
        root: PathBuf,
        /// The path of manifest-summary.json below the root.
        manifest_key: String,
    },
    /// In S3.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key of manifest-summary.json.
        manifest_key: String,
    },
}

impl ExportLocation {
    /// The export meant by `text`: a folder or `file:` path (of the export, of what holds `AWSDynamoDB/`, or of
    /// manifest-summary.json itself), or `s3://BUCKET/…/AWSDynamoDB/ID`, with or without `/manifest-summary.json`.
    /// Looks at folders, asks no server.
    ///
    /// # Errors
    /// `Config` when there is no export, an incomplete one, or several to choose from.
    pub fn find(text: &str) -> Result<ExportLocation> {
        if let Some(rest) = text.strip_prefix("s3://") {
            return parse_s3(text, rest);
        }
        find_folder(Path::new(local(text)?))
    }

    /// The store that it is in.
    #[must_use]
    pub fn store(&self) -> Store {
        match self {
            ExportLocation::Folder { root, .. } => Store::Folder(root.clone()),
            ExportLocation::S3 { bucket, .. } => Store::S3(bucket.clone()),
        }
    }

    /// The key of manifest-summary.json.
    #[must_use]
    pub fn manifest_key(&self) -> &str {
        match self {
            ExportLocation::Folder { manifest_key, .. } | ExportLocation::S3 { manifest_key, .. } => manifest_key,
        }
    }

    /// The key of the folder that holds the manifests; empty for the root.
    pub(super) fn manifest_folder(&self) -> &str {
        self.manifest_key().rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

fn parse_s3(text: &str, rest: &str) -> Result<ExportLocation> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let key = key.trim_end_matches('/');
    if bucket.is_empty() || key.is_empty() || key == EXPORTS || key.ends_with(&format!("/{EXPORTS}")) {
        let message = format!("{text:?} does not name one export: give s3://bucket/…/{EXPORTS}/id");
        return Err(Error::config(message));
    }
    let (folder, file) = key.rsplit_once('/').unwrap_or(("", key));
    if file != SUMMARY && file.starts_with("manifest-") {
        return Err(Error::config(format!("{text:?} is not the summary: give {}", join(folder, SUMMARY))));
    }
    let manifest_key = if file == SUMMARY { key.to_owned() } else { join(key, SUMMARY) };
    Ok(ExportLocation::S3 { bucket: bucket.to_owned(), manifest_key })
}

/// Where exports are: one of them, or a folder that holds several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLocation {
    /// The store.
    pub store: Store,
    /// The key of an export's folder, or of a folder above some; empty for the root.
    pub(super) key: String,
}

impl ChainLocation {
    /// The exports meant by `text`: whatever [`ExportLocation::find`] takes, a folder that holds exports or their
    /// `AWSDynamoDB/`, or `s3://BUCKET[/PREFIX]`. Looks at folders, asks no server.
    ///
    /// # Errors
    /// `Config` when there is nothing there.
    pub fn find(text: &str) -> Result<ChainLocation> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            let key = key.trim_end_matches('/');
            let key = key.strip_suffix(SUMMARY).map_or(key, |folder| folder.trim_end_matches('/'));
            if bucket.is_empty() {
                return Err(Error::config(format!("{text:?} names no bucket: give s3://bucket/prefix")));
            }
            return Ok(ChainLocation { store: Store::S3(bucket.to_owned()), key: key.to_owned() });
        }
        let path = Path::new(local(text)?);
        let full = absolute(path)?;
        let is_export = |name: &&str| full.join(name).is_file();
        if full.is_file() || [SUMMARY, "_started", "manifest-files.json"].iter().any(is_export) {
            let location = find_folder(path)?;
            let key = location.manifest_folder().to_owned();
            return Ok(ChainLocation { store: location.store(), key });
        }
        if !full.is_dir() {
            return Err(Error::config(format!("no export at {}: there is no such file or folder", path.display())));
        }
        match (full.file_name().is_some_and(|name| name == EXPORTS), full.parent()) {
            (true, Some(root)) => Ok(ChainLocation { store: Store::Folder(root.to_owned()), key: EXPORTS.to_owned() }),
            _ => Ok(ChainLocation { store: Store::Folder(full), key: String::new() }),
        }
    }

    /// The export whose folder has this key.
    pub(super) fn export(&self, folder: &str) -> ExportLocation {
        let manifest_key = join(folder, SUMMARY);
        match &self.store {
            Store::Folder(root) => ExportLocation::Folder { root: root.clone(), manifest_key },
            Store::S3(bucket) => ExportLocation::S3 { bucket: bucket.clone(), manifest_key },
        }
    }
}

/// A path of this machine, as typed.
fn local(text: &str) -> Result<&str> {
    let path = match text.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(rest),
        None => text,
    };
    if path.is_empty() {
        return Err(Error::config("no export named: give its folder, or s3://bucket/…/AWSDynamoDB/id"));
    }
    Ok(path)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::config(format!("path {} cannot be resolved", path.display())).because(error))
}

fn find_folder(path: &Path) -> Result<ExportLocation> {
    let shown = path.display();
    let full = absolute(path)?;
    if full.is_file() {
        return match (full.file_name(), full.parent()) {
            (Some(name), Some(folder)) if name == SUMMARY => at_export(folder),
            _ => Err(Error::config(format!("file {shown} is not an export: give its folder, or its {SUMMARY}"))),
        };
    }
    if !full.is_dir() {
        return Err(Error::config(format!("no export at {shown}: there is no such file or folder")));
    }
    if full.join(SUMMARY).is_file() {
        return at_export(&full);
    }
    let exports = if full.file_name().is_some_and(|name| name == EXPORTS) { full.clone() } else { full.join(EXPORTS) };
    if !exports.is_dir() && is_unfinished(&full) {
        return Err(unfinished(&full));
    }
    let below = if exports.is_dir() { subfolders(&exports)? } else { Vec::new() };
    let complete: Vec<&PathBuf> = below.iter().filter(|folder| folder.join(SUMMARY).is_file()).collect();
    match (complete.as_slice(), below.iter().find(|folder| is_unfinished(folder))) {
        ([one], _) => at_export(one),
        ([], Some(folder)) => Err(unfinished(folder)),
        ([], None) => {
            Err(Error::config(format!("no export at {shown}: neither {SUMMARY} nor {EXPORTS}/id/{SUMMARY} is there")))
        }
        (several, _) => {
            let names: Vec<String> = several.iter().map(|folder| folder.display().to_string()).collect();
            Err(Error::config(format!("several exports under {shown}, give one of: {}", names.join(", "))))
        }
    }
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<PathBuf>>>()
    });
    let mut listed = listed
        .map_err(|error| Error::config(format!("folder {} cannot be listed", folder.display())).because(error))?;
    listed.retain(|path| path.is_dir());
    listed.sort();
    Ok(listed)
}

/// What an export that is still running, or failed, looks like: its first files, without the manifest written last.
fn is_unfinished(folder: &Path) -> bool {
    !folder.join(SUMMARY).exists()
        && (folder.join("_started").exists()
            || folder.join("data").is_dir()
            || folder.join("manifest-files.json").exists())
}

fn unfinished(folder: &Path) -> Error {
    incomplete(&folder.display().to_string())
}

/// The sentence for an export without its summary.
pub(super) fn incomplete(place: &str) -> Error {
    Error::config(format!(
        "the export at {place} is not complete: it has no {SUMMARY}, which is written last; \
         wait for the export to finish, or copy all of it"
    ))
}

/// An export's own folder: keys are below what holds `AWSDynamoDB/`, or, without that, below the folder itself.
fn at_export(folder: &Path) -> Result<ExportLocation> {
    let named = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let kept = folder.parent().filter(|parent| named(parent).as_deref() == Some(EXPORTS));
    let (root, manifest_key) = match (kept.and_then(Path::parent), named(folder)) {
        (Some(root), Some(id)) => (root, format!("{EXPORTS}/{id}/{SUMMARY}")),
        _ => (folder, SUMMARY.to_owned()),
    };
    Ok(ExportLocation::Folder { root: root.to_owned(), manifest_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(folder: &Path) {
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(folder.join(SUMMARY), "{}").unwrap();
    }

    fn message(text: &str) -> String {
        ExportLocation::find(text).unwrap_err().to_string()
    }

    #[test]
    fn one_export_is_found_from_every_folder_above_it() {
        let root = tempfile::tempdir().unwrap();
        let export = root.path().join("AWSDynamoDB/01-a");
        complete(&export);
        std::fs::create_dir_all(root.path().join("AWSDynamoDB/data")).unwrap();
        let expected = ExportLocation::Folder {
            root: root.path().to_owned(),
            manifest_key: "AWSDynamoDB/01-a/manifest-summary.json".into(),
        };
        for below in ["", "AWSDynamoDB", "AWSDynamoDB/01-a", "AWSDynamoDB/01-a/manifest-summary.json"] {
            let path = root.path().join(below);
            let path = path.to_str().unwrap();
            for text in [path.to_owned(), format!("file:{path}"), format!("file://{path}"), format!("{path}/")] {
                if path.ends_with(".json") && text.ends_with('/') {
                    continue;
                }
                assert_eq!(ExportLocation::find(&text).unwrap(), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_copy_outside_awsdynamodb_is_its_own_root() {
        let root = tempfile::tempdir().unwrap();
        complete(&root.path().join("copy"));
        let found = ExportLocation::find(root.path().join("copy").to_str().unwrap()).unwrap();
        assert_eq!(found.manifest_folder(), "");
        assert_eq!(found, ExportLocation::Folder { root: root.path().join("copy"), manifest_key: SUMMARY.to_owned() });
    }

    #[test]
    fn several_exports_are_listed() {
        let root = tempfile::tempdir().unwrap();
        for id in ["01-a", "02-b"] {
            complete(&root.path().join("AWSDynamoDB").join(id));
        }
        let message = message(root.path().to_str().unwrap());
        assert!(message.contains("AWSDynamoDB/01-a") && message.contains("AWSDynamoDB/02-b"), "{message}");
    }

    #[test]
    fn an_unfinished_export_is_named_as_such() {
        let root = tempfile::tempdir().unwrap();
        let export = root.path().join("AWSDynamoDB/01-a");
        std::fs::create_dir_all(&export).unwrap();
        std::fs::write(export.join("_started"), "").unwrap();
        for path in [root.path(), export.as_path()] {
            let message = message(path.to_str().unwrap());
            assert!(message.contains("not complete"), "{message}");
        }
    }

    #[test]
    fn what_is_no_export_is_refused_with_the_next_step() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("x.txt"), "").unwrap();
        assert!(message(root.path().to_str().unwrap()).contains("no export at"));
        assert!(message(root.path().join("x.txt").to_str().unwrap()).contains("is not an export"));
        assert!(message("/no/such/place").contains("no such file"));
        assert!(message("file:").contains("no export named"));
    }

    #[test]
    fn a_chain_is_an_export_or_a_folder_above_some() {
        let root = tempfile::tempdir().unwrap();
        for id in ["01-a", "02-b"] {
            complete(&root.path().join("AWSDynamoDB").join(id));
        }
        std::fs::create_dir_all(root.path().join("AWSDynamoDB/data")).unwrap();
        for (below, key) in [
            ("", ""),
            ("AWSDynamoDB", "AWSDynamoDB"),
            ("AWSDynamoDB/01-a", "AWSDynamoDB/01-a"),
            ("AWSDynamoDB/02-b/manifest-summary.json", "AWSDynamoDB/02-b"),
        ] {
            let found = ChainLocation::find(root.path().join(below).to_str().unwrap()).unwrap();
            assert_eq!(found, ChainLocation { store: Store::Folder(root.path().to_owned()), key: key.to_owned() });
        }
        for (text, key) in [
            ("s3://b", ""),
            ("s3://b/p/", "p"),
            ("s3://b/p/AWSDynamoDB/01", "p/AWSDynamoDB/01"),
            ("s3://b/p/AWSDynamoDB/01/manifest-summary.json", "p/AWSDynamoDB/01"),
        ] {
            let found = ChainLocation::find(text).unwrap();
            assert_eq!(found, ChainLocation { store: Store::S3("b".into()), key: key.to_owned() }, "{text}");
        }
        for (text, said) in
            [("s3:///x", "names no bucket"), ("/no/such/place", "no such file"), ("", "no export named")]
        {
            let message = ChainLocation::find(text).unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn an_s3_url_names_one_export() {
        let expected =
            ExportLocation::S3 { bucket: "b".into(), manifest_key: "p/AWSDynamoDB/01/manifest-summary.json".into() };
        for text in
            ["s3://b/p/AWSDynamoDB/01", "s3://b/p/AWSDynamoDB/01/", "s3://b/p/AWSDynamoDB/01/manifest-summary.json"]
        {
            assert_eq!(ExportLocation::find(text).unwrap(), expected);
        }
        assert_eq!(expected.manifest_folder(), "p/AWSDynamoDB/01");
        for text in ["s3://", "s3://b", "s3://b/", "s3://b/AWSDynamoDB", "s3://b/p/AWSDynamoDB/", "s3:///x"] {
            assert!(message(text).contains("does not name one export"), "{text}");
        }
        assert!(message("s3://b/p/manifest-files.json").contains("is not the summary"));
    }
}
