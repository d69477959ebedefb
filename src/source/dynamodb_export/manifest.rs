//! The two manifests of an export: read, proved against their checksum files, parsed, and held against each other.

use super::keys::join;
use super::location::incomplete;
use crate::driver::objects::{Md5, Objects};
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::moment_micros;
use crate::model::hex;
use serde::Deserialize;
use sha2::Digest;
use std::collections::HashSet;

/// A summary is one line of about a kilobyte.
pub(super) const SUMMARY_CAP_BYTES: u64 = 1024 * 1024;

/// About 230 bytes a data file: room for half a million, a table of petabytes.
pub(super) const FILES_CAP_BYTES: u64 = 128 * 1024 * 1024;

/// A checksum file is 24 characters.
const CHECKSUM_CAP_BYTES: u64 = 4096;

/// The spellings of a manifest's checksum file: what AWS writes, and what its documentation says.
const CHECKSUM_ENDINGS: [&str; 2] = ["md5", "checksum"];

/// What manifest-summary.json says that matters here.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) kind: Kind,
    pub(super) export_arn: String,
    pub(super) table: String,
    pub(super) table_arn: String,
    /// Tells the table from an earlier one of the same name; empty when the summary does not say.
    pub(super) table_id: String,
    pub(super) prefix: Option<String>,
    pub(super) manifest_files_key: String,
    pub(super) items: u64,
    /// What DynamoDB billed the export for, in bytes.
    pub(super) bytes: Option<u64>,
}

/// What an export is of; times in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The whole table, as it was at that time.
    Full { at_us: Option<i64> },
    /// What changed from the one moment on, before the other.
    Incremental { from_us: i64, to_us: i64 },
}

/// One line of manifest-files.json.
#[derive(Clone, Debug)]
pub(super) struct DataFile {
    pub(super) key: String,
    pub(super) items: u64,
    pub(super) md5: Md5,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SummaryText {
    export_arn: Option<String>,
    table_arn: Option<String>,
    s3_prefix: Option<String>,
    manifest_files_s3_key: Option<String>,
    item_count: Option<u64>,
    billed_size_bytes: Option<u64>,
    output_format: Option<String>,
    export_type: Option<String>,
    export_time: Option<String>,
    export_from_time: Option<String>,
    export_to_time: Option<String>,
    table_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileText {
    item_count: u64,
    md5_checksum: String,
    data_file_s3_key: String,
}

/// The bytes of manifest-summary.json at `key`, in `folder`.
pub(super) fn read_summary(objects: &Objects, key: &str, folder: &str) -> Result<Vec<u8>> {
    let Some(bytes) = objects.read(key, SUMMARY_CAP_BYTES)? else {
        for first in ["_started", "manifest-files.json"] {
            if objects.read(&join(folder, first), FILES_CAP_BYTES)?.is_some() {
                return Err(incomplete(&objects.name(folder)));
            }
        }
        let name = objects.name(key);
        return Err(Error::config(format!("no export: there is no {name}; give the folder of one complete export")));
    };
    check(objects, key, &bytes)?;
    Ok(bytes)
}

/// The name and the bytes of manifest-files.json at the first of the `candidates` that is there.
pub(super) fn read_files(objects: &Objects, candidates: &[String]) -> Result<(String, Vec<u8>)> {
    let mut denied = None;
    for key in candidates {
        match objects.read(key, FILES_CAP_BYTES) {
            Ok(Some(bytes)) => {
                check(objects, key, &bytes)?;
                return Ok((objects.name(key), bytes));
            }
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Config => denied = denied.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let places: Vec<String> = candidates.iter().map(|key| objects.name(key)).collect();
    Err(denied.unwrap_or_else(|| {
        let places = places.join(", ");
        Error::corrupt(format!("the list of data files is missing: looked for {places}; copy it from the export"))
    }))
}

/// Holds a manifest against its checksum file, if there is one.
fn check(objects: &Objects, key: &str, bytes: &[u8]) -> Result<()> {
    let name = objects.name(key);
    let stem = key.strip_suffix(".json").unwrap_or(key);
    for ending in CHECKSUM_ENDINGS {
        let checksum = format!("{stem}.{ending}");
        let Some(text) = objects.read(&checksum, CHECKSUM_CAP_BYTES)? else { continue };
        let text = String::from_utf8_lossy(&text);
        let found = Md5::of(bytes);
        let expected = Md5::from_base64(text.trim()).ok_or_else(|| {
            Error::corrupt(format!("checksum file {} does not hold an MD5: copy it again", objects.name(&checksum)))
        })?;
        if found != expected {
            return Err(Error::corrupt(format!(
                "manifest {name} was edited or damaged: its MD5 is {found}, {} says {expected}; \
                 copy both again from the export",
                objects.name(&checksum)
            )));
        }
        return Ok(());
    }
    tracing::warn!(manifest = name, "no checksum file (.md5 or .checksum) beside it: taken unchecked");
    Ok(())
}

/// Reads manifest-summary.json, and refuses what is not DynamoDB JSON.
pub(super) fn parse_summary(name: &str, bytes: &[u8]) -> Result<Summary> {
    let text: SummaryText = serde_json::from_slice(bytes)
        .map_err(|error| Error::corrupt(format!("manifest {name} is not what AWS writes")).because(error))?;
    if let Some(format) = text.output_format.as_deref().filter(|format| *format != "DYNAMODB_JSON") {
        return Err(Error::config(format!(
            "{name} is of an export in the format {format}, which is not supported: \
             export the table again as DYNAMODB_JSON"
        )));
    }
    let kind = kind(name, &text)?;
    let need = |field: Option<String>, called: &str| field.ok_or_else(|| lacks(name, called));
    let table_arn = need(text.table_arn, "tableArn")?;
    let table = table_arn.split_once(":table/").map(|(_, table)| table).filter(|table| !table.is_empty());
    let table = table.map(str::to_owned);
    Ok(Summary {
        kind,
        export_arn: need(text.export_arn, "exportArn")?,
        table: need(table, "table name in tableArn")?,
        table_arn,
        table_id: text.table_id.unwrap_or_default(),
        prefix: text.s3_prefix,
        manifest_files_key: need(text.manifest_files_s3_key, "manifestFilesS3Key")?,
        items: text.item_count.ok_or_else(|| lacks(name, "itemCount"))?,
        bytes: text.billed_size_bytes.filter(|bytes| *bytes > 0),
    })
}

/// Full exports of today do not say that they are.
fn kind(name: &str, text: &SummaryText) -> Result<Kind> {
    if text.export_from_time.is_none() && text.export_type.as_deref().is_none_or(|kind| kind == "FULL_EXPORT") {
        return Ok(Kind::Full { at_us: text.export_time.as_deref().and_then(moment_micros) });
    }
    let time = |field: &Option<String>, called: &str| {
        field.as_deref().and_then(moment_micros).ok_or_else(|| lacks(name, called))
    };
    let from_us = time(&text.export_from_time, "exportFromTime")?;
    let to_us = time(&text.export_to_time, "exportToTime")?;
    if from_us >= to_us {
        return Err(Error::corrupt(format!("manifest {name}: its window ends before it begins; copy it again")));
    }
    Ok(Kind::Incremental { from_us, to_us })
}

fn lacks(name: &str, field: &str) -> Error {
    Error::corrupt(format!("manifest {name} has no {field}: copy it again from the export"))
}

/// Reads manifest-files.json: a JSON object a line.
pub(super) fn parse_files(name: &str, bytes: &[u8]) -> Result<Vec<DataFile>> {
    let mut files = Vec::new();
    let mut keys = HashSet::new();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1_u64..) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let damaged = |what: String| Error::corrupt(format!("manifest {name}, line {number}: {what}"));
        let text: FileText =
            serde_json::from_slice(line).map_err(|error| damaged("not what AWS writes".into()).because(error))?;
        let md5 = Md5::from_base64(&text.md5_checksum)
            .ok_or_else(|| damaged("md5Checksum is not an MD5 in base64".into()))?;
        if text.data_file_s3_key.is_empty() {
            return Err(damaged("dataFileS3Key is empty".into()));
        }
        if !keys.insert(text.data_file_s3_key.clone()) {
            return Err(damaged(format!("data file {} is listed twice", text.data_file_s3_key)));
        }
        files.push(DataFile { key: text.data_file_s3_key, items: text.item_count, md5 });
    }
    Ok(files)
}

/// Holds the two manifests against each other.
pub(super) fn check_totals(name: &str, summary: &Summary, files: &[DataFile]) -> Result<()> {
    let sum = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.items));
    if sum == Some(summary.items) {
        return Ok(());
    }
    let sum = sum.map_or_else(|| "more than can be counted".to_owned(), |sum| sum.to_string());
    Err(Error::corrupt(format!(
        "manifest {name} lists {} data files with {sum} items, the summary says {}: \
         copy both manifests again from the export",
        files.len(),
        summary.items
    )))
}

/// The SHA-256 of `bytes` in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::lower(&sha2::Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"version":"2020-06-30","exportArn":"arn:aws:dynamodb:eu-north-1:123456789123:table/test/export/01768385930622-efd1a093","startTime":"2026-01-14T10:18:50.622Z","endTime":"2026-01-14T10:24:58.984Z","tableArn":"arn:aws:dynamodb:eu-north-1:123456789123:table/test","tableId":"cf263806","exportTime":"2026-01-14T10:18:50.622Z","s3Bucket":"b","s3Prefix":null,"s3SseAlgorithm":"AES256","s3SseKmsKeyId":null,"manifestFilesS3Key":"AWSDynamoDB/01768385930622-efd1a093/manifest-files.json","billedSizeBytes":0,"itemCount":3,"outputFormat":"DYNAMODB_JSON"}"#;
    const INCREMENTAL: &str = r#"{"version":"2023-08-01","exportArn":"a","tableArn":"t:table/x","exportFromTime":"2026-01-14T10:20:00.000Z","exportToTime":"2026-01-14T10:35:00.000Z","s3Prefix":null,"manifestFilesS3Key":"k","itemCount":6,"outputFormat":"DYNAMODB_JSON","outputView":"NEW_AND_OLD_IMAGES","exportType":"INCREMENTAL_EXPORT"}"#;
    const FILES: &str = r#"{"itemCount":3,"md5Checksum":"y+zg5fVeudb3R3DOQ+RKgA==","etag":"b5443265c5e545b6c8d8275e0b6f8c15-1","dataFileS3Key":"a/data/5.json.gz"}
{"itemCount":0,"md5Checksum":"FjvgqIxwymKf1RbbqtrZag==","etag":"7deb4078f238dd87d6af0538152c04e9-1","dataFileS3Key":"a/data/z.json.gz"}
"#;

    fn refused(text: &str) -> (ErrorKind, String) {
        let error = parse_summary("m", text.as_bytes()).unwrap_err();
        (error.kind(), error.chain())
    }

    #[test]
    fn a_real_full_export_is_read() {
        let summary = parse_summary("m", FULL.as_bytes()).unwrap();
        assert_eq!((summary.table.as_str(), summary.items, summary.prefix.as_deref()), ("test", 3, None));
        let files = parse_files("f", FILES.as_bytes()).unwrap();
        assert_eq!(files.iter().map(|file| file.items).collect::<Vec<_>>(), [3, 0]);
        check_totals("f", &summary, &files).unwrap();
    }

    #[test]
    fn the_kind_of_an_export_is_told_and_another_format_refused_by_name() {
        assert_eq!(
            parse_summary("m", FULL.as_bytes()).unwrap().kind,
            Kind::Full { at_us: Some(1_768_385_930_622_000) }
        );
        let window = Kind::Incremental { from_us: 1_768_386_000_000_000, to_us: 1_768_386_900_000_000 };
        let without_type = INCREMENTAL.replace(r#","exportType":"INCREMENTAL_EXPORT""#, "");
        for text in [INCREMENTAL, &without_type] {
            assert_eq!(parse_summary("m", text.as_bytes()).unwrap().kind, window);
        }
        for (from, to, said) in [
            ("exportToTime\":\"2026-01-14T10:35", "exportToTime\":\"2026-01-14T10:20", "ends before it begins"),
            ("exportToTime", "unknown", "has no exportToTime"),
            ("exportFromTime\":\"2026", "exportFromTime\":\"soon", "has no exportFromTime"),
        ] {
            let (kind, message) = refused(&INCREMENTAL.replace(from, to));
            assert!(kind == ErrorKind::Corrupt && message.contains(said), "{message}");
        }
        let (kind, message) = refused(&FULL.replace("DYNAMODB_JSON", "ION"));
        assert!(kind == ErrorKind::Config && message.contains("the format ION"), "{message}");
    }

    #[test]
    fn a_field_that_is_missing_is_named() {
        for field in ["exportArn", "tableArn", "manifestFilesS3Key", "itemCount"] {
            let (kind, message) = refused(&FULL.replace(&format!("\"{field}\""), "\"unknown\""));
            assert!(kind == ErrorKind::Corrupt && message.contains(field), "{message}");
        }
        assert_eq!(refused("[]").0, ErrorKind::Corrupt);
        assert_eq!(refused("{").0, ErrorKind::Corrupt);
    }

    #[test]
    fn a_list_that_contradicts_itself_is_corrupt() {
        let line = FILES.lines().next().unwrap();
        for (list, expected) in [
            (format!("{line}\n{line}\n"), "line 2: data file a/data/5.json.gz is listed twice"),
            (line.replace("y+zg", "zg"), "line 1: md5Checksum"),
            (line.replace("md5Checksum", "md5"), "md5Checksum"),
            (line.replace("itemCount\":3", "itemCount\":-3"), "line 1"),
            (line.replace("itemCount\":3", "itemCount\":\"3\""), "line 1"),
            (format!("[{line}]"), "line 1"),
            (line.replace("a/data/5.json.gz", ""), "dataFileS3Key is empty"),
        ] {
            let error = parse_files("f", list.as_bytes()).unwrap_err();
            assert!(error.kind() == ErrorKind::Corrupt && error.chain().contains(expected), "{}", error.chain());
        }
    }

    #[test]
    fn totals_must_be_equal() {
        let mut summary = parse_summary("m", FULL.as_bytes()).unwrap();
        let mut files = parse_files("f", FILES.as_bytes()).unwrap();
        for items in [0, 2, 4] {
            summary.items = items;
            assert_eq!(check_totals("f", &summary, &files).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        files[1].items = u64::MAX;
        assert!(check_totals("f", &summary, &files).unwrap_err().to_string().contains("more than can be counted"));
    }
}
