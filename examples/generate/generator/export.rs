//! Writes a full export in the layout that AWS uses, byte for byte but for compression: manifests, checksums, data files.
//!
//! Names and times are made from the seed, so the same options give the same tree. Data files are compressed on all
//! cores, one file at a time per core.

use super::items::{Items, Shape};
use super::rng::Rng;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What to write.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The folder that stands for the bucket. Nothing may be where the export goes.
    pub(crate) out: PathBuf,
    /// What the items look like.
    pub(crate) shape: Shape,
    /// Items in all files together.
    pub(crate) items: u64,
    /// Data files, the empty ones included.
    pub(crate) files: usize,
    /// How many of the data files hold no item: AWS writes a file for each partition, whether or not it has items.
    pub(crate) empty: usize,
    /// Everything random follows from it.
    pub(crate) seed: u64,
    /// The DynamoDB table's name.
    pub(crate) table: String,
    /// The export's `s3Prefix`.
    pub(crate) prefix: Option<String>,
    /// Gzip members in each data file with items; AWS writes one, and promises nothing.
    pub(crate) members: u64,
    /// How the manifests' checksum files end: `md5` in every real export, `checksum` in AWS's documentation.
    pub(crate) checksum_suffix: &'static str,
    /// Gzip level.
    pub(crate) level: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            out: PathBuf::from("."),
            shape: Shape::Orders,
            items: 1000,
            files: 4,
            empty: 0,
            seed: 1,
            table: String::from("orders"),
            prefix: None,
            members: 1,
            checksum_suffix: "md5",
            level: 6,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    /// The folder with the manifests.
    pub(crate) folder: PathBuf,
    /// The data files, in the manifest's order.
    pub(crate) files: Vec<DataFile>,
    /// Bytes of all lines.
    pub(crate) bytes: u64,
}

/// One data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Which of the shape's items it holds, in this order.
    pub(crate) items: Range<u64>,
    /// Bytes of its lines.
    pub(crate) bytes: u64,
    /// Its line of `manifest-files.json`, with the newline.
    pub(crate) manifest_line: String,
}

/// Writes an export.
///
/// # Errors
/// When there is something where the export goes, when no file may hold the items, or when the disk says so.
pub(crate) fn write(options: &Options) -> io::Result<Export> {
    if options.items > 0 && options.files <= options.empty {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "every data file is to be empty: give more files"));
    }
    let prefix = options.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
    let export_id = format!("01768385930622-{:08x}", Rng::new(options.seed, 0).next() >> 32);
    let key = format!("{prefix}AWSDynamoDB/{export_id}");
    let folder = options.out.join(&key);
    if folder.exists() {
        let message = format!("{} exists: remove it first, or choose another --out", folder.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    fs::create_dir_all(folder.join("data"))?;
    fs::write(folder.join("_started"), b"")?;
    let files = write_data_files(options, &key)?;
    let lines: String = files.iter().map(|file| file.manifest_line.as_str()).collect();
    write_manifest(&folder, "manifest-files", &lines, options.checksum_suffix)?;
    let bytes = files.iter().map(|file| file.bytes).sum();
    let summary = summary(options, &export_id, &key, bytes);
    write_manifest(&folder, "manifest-summary", &summary, options.checksum_suffix)?;
    Ok(Export { folder, files, bytes })
}

/// Writes a manifest and its checksum.
pub(crate) fn write_manifest(folder: &Path, name: &str, text: &str, suffix: &str) -> io::Result<()> {
    fs::write(folder.join(format!("{name}.json")), text)?;
    fs::write(folder.join(format!("{name}.{suffix}")), STANDARD.encode(Md5::digest(text)))
}

fn summary(options: &Options, export_id: &str, key: &str, bytes: u64) -> String {
    let prefix = options.prefix.as_ref().map_or_else(|| String::from("null"), |prefix| format!("\"{prefix}\""));
    let random = &mut Rng::new(options.seed, 1);
    let (high, low) = (random.next(), random.next());
    let table = format!("arn:aws:dynamodb:eu-north-1:123456789012:table/{}", options.table);
    [
        String::from(r#"{"version":"2020-06-30""#),
        format!(r#""exportArn":"{table}/export/{export_id}""#),
        String::from(r#""startTime":"2026-01-14T10:18:50.622Z","endTime":"2026-01-14T10:24:58.984Z""#),
        format!(r#""tableArn":"{table}""#),
        format!(
            r#""tableId":"{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}""#,
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        ),
        format!(r#""exportTime":"2026-01-14T10:18:50.622Z","s3Bucket":"exports","s3Prefix":{prefix}"#),
        String::from(r#""s3SseAlgorithm":"AES256","s3SseKmsKeyId":null"#),
        format!(r#""manifestFilesS3Key":"{key}/manifest-files.json""#),
        format!(r#""billedSizeBytes":{bytes},"itemCount":{},"outputFormat":"DYNAMODB_JSON"}}"#, options.items),
    ]
    .join(",")
}

fn write_data_files(options: &Options, key: &str) -> io::Result<Vec<DataFile>> {
    let ranges = ranges(options.items, options.files, options.empty);
    let next = AtomicUsize::new(0);
    let worker = || -> io::Result<Vec<(usize, DataFile)>> {
        let mut written = Vec::new();
        let items = Items::new(options.shape, options.seed);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(range) = ranges.get(index) else { return Ok(written) };
            let key = format!("{key}/data/{}.json.gz", file_name(options.seed, index));
            written.push((index, write_data_file(options, &items, &key, range.clone())?));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(ranges.len());
    let done = thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a writer panicked"))))
            .collect::<io::Result<Vec<_>>>()
    })?;
    let mut files: Vec<_> = done.into_iter().flatten().collect();
    files.sort_by_key(|(index, _)| *index);
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// Which items go into which file: the empty files lie spread among the others.
fn ranges(items: u64, files: usize, empty: usize) -> Vec<Range<u64>> {
    let full = (files - empty.min(files)) as u64;
    let mut filled = 0;
    let mut at = 0;
    (1..=files)
        .map(|file| {
            let wanted = file as u64 * full / files as u64;
            if wanted > filled {
                filled = wanted;
                let start = std::mem::replace(&mut at, items * filled / full);
                start..at
            } else {
                at..at
            }
        })
        .collect()
}

fn write_data_file(options: &Options, items: &Items, key: &str, range: Range<u64>) -> io::Result<DataFile> {
    let members = if range.is_empty() { 1 } else { options.members.max(1) };
    let count = range.end - range.start;
    let (mut compressed, mut lines, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut at = range.start;
    for member in 1..=members {
        let mut encoder = GzEncoder::new(compressed, Compression::new(options.level));
        while at < range.start + count * member / members {
            lines.clear();
            items.write_line(at, &mut lines)?;
            bytes += lines.len() as u64;
            encoder.write_all(&lines)?;
            at += 1;
        }
        compressed = encoder.finish()?;
    }
    let path = options.out.join(key);
    fs::write(&path, &compressed)?;
    Ok(DataFile { path, items: range, bytes, manifest_line: manifest_line(count, &compressed, key) })
}

/// The line of `manifest-files.json` for a data file of `count` items whose stored bytes are `compressed`.
pub(crate) fn manifest_line(count: u64, compressed: &[u8], key: &str) -> String {
    let digest = Md5::digest(compressed);
    // the ETag of an upload in one part: the digest of the parts' digests, and how many there were
    let etag: String = Md5::digest(digest).iter().map(|byte| format!("{byte:02x}")).collect();
    let checksum = STANDARD.encode(digest);
    format!(r#"{{"itemCount":{count},"md5Checksum":"{checksum}","etag":"{etag}-1","dataFileS3Key":"{key}"}}"#) + "\n"
}

/// 26 characters of base32, as AWS names data files.
pub(crate) fn file_name(seed: u64, index: usize) -> String {
    let mut rng = Rng::new(seed, u64::MAX - index as u64);
    (0..26).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[rng.index(32)])).collect()
}
