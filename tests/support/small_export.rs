//! Small exports in AWS's layout, for tests that read them back or damage them. Shared by the unit tests of the source
//! and by the integration tests, so it knows nothing of either.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// An export's id.
pub(crate) const ID: &str = "01768385930622-efd1a093";

/// What to write.
pub(crate) struct SmallExport {
    /// The lines of each data file; an empty one is an empty file with itemCount 0.
    pub(crate) files: Vec<Vec<String>>,
    /// The export's `s3Prefix`.
    pub(crate) prefix: Option<String>,
    /// gzip members of each data file.
    pub(crate) members: usize,
    /// How the checksum files end: `md5` or `checksum`; none are written without it.
    pub(crate) checksum: Option<&'static str>,
    /// Whether the last line ends with a newline.
    pub(crate) last_newline: bool,
}

impl SmallExport {
    /// `files` data files of `items` items each, whose lines have some `bytes` bytes that compress little.
    pub(crate) fn new(files: usize, items: usize, bytes: usize) -> Self {
        let files = (0..files).map(|file| (0..items).map(|item| line(file, item, bytes)).collect()).collect();
        SmallExport { files, prefix: None, members: 1, checksum: Some("md5"), last_newline: true }
    }

    /// The folder of the manifests below `root`.
    pub(crate) fn folder(&self, root: &Path) -> PathBuf {
        root.join(self.key(""))
    }

    /// The key of data file `file`.
    pub(crate) fn data_key(&self, file: usize) -> String {
        self.key(&format!("data/{file:026}.json.gz"))
    }

    fn key(&self, name: &str) -> String {
        let prefix = self.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        format!("{prefix}AWSDynamoDB/{ID}/{name}")
    }

    /// Writes it below `root`, which stands for the bucket.
    pub(crate) fn write(&self, root: &Path) {
        std::fs::create_dir_all(self.folder(root).join("data")).unwrap();
        std::fs::write(self.folder(root).join("_started"), "").unwrap();
        let mut list = String::new();
        for (lines, file) in self.files.iter().zip(0..) {
            let bytes = gzip(&self.text(lines), self.members);
            let md5 = md5_base64(&bytes);
            std::fs::write(root.join(self.data_key(file)), bytes).unwrap();
            let (items, key) = (lines.len(), self.data_key(file));
            writeln!(list, r#"{{"itemCount":{items},"md5Checksum":"{md5}","etag":"x-1","dataFileS3Key":"{key}"}}"#)
                .unwrap();
        }
        self.write_manifest(root, "manifest-files", &list);
        let items: usize = self.files.iter().map(Vec::len).sum();
        let prefix = self.prefix.as_ref().map_or("null".to_owned(), |prefix| format!("\"{prefix}\""));
        let files_key = self.key("manifest-files.json");
        let table = "arn:aws:dynamodb:eu-north-1:123456789123:table/orders";
        let summary = format!(
            r#"{{"version":"2020-06-30","exportArn":"{table}/export/{ID}","startTime":"2026-01-14T10:18:50.622Z","endTime":"2026-01-14T10:24:58.984Z","tableArn":"{table}","tableId":"cf263806","exportTime":"2026-01-14T10:18:50.622Z","s3Bucket":"b","s3Prefix":{prefix},"s3SseAlgorithm":"AES256","s3SseKmsKeyId":null,"manifestFilesS3Key":"{files_key}","billedSizeBytes":0,"itemCount":{items},"outputFormat":"DYNAMODB_JSON"}}"#
        );
        self.write_manifest(root, "manifest-summary", &summary);
    }

    /// Writes a manifest with its checksum.
    pub(crate) fn write_manifest(&self, root: &Path, stem: &str, text: &str) {
        std::fs::write(self.folder(root).join(format!("{stem}.json")), text).unwrap();
        if let Some(ending) = self.checksum {
            std::fs::write(self.folder(root).join(format!("{stem}.{ending}")), md5_base64(text.as_bytes())).unwrap();
        }
    }

    fn text(&self, lines: &[String]) -> Vec<u8> {
        let mut text: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        if !self.last_newline {
            text.pop();
        }
        text
    }
}

/// gzip in so many members.
pub(crate) fn gzip(bytes: &[u8], members: usize) -> Vec<u8> {
    let size = bytes.len().div_ceil(members.max(1)).max(1);
    let parts: Vec<&[u8]> = if bytes.is_empty() { vec![bytes] } else { bytes.chunks(size).collect() };
    let member = |part: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    parts.into_iter().flat_map(member).collect()
}

/// MD5 as manifests write it.
pub(crate) fn md5_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Md5::digest(bytes))
}

/// A line with text that does not compress well, the same for the same numbers.
fn line(file: usize, item: usize, bytes: usize) -> String {
    let mut state = ((file as u64) << 32) | item as u64;
    let text: String = (0..bytes / 16)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            format!("{:016x}", (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb))
        })
        .collect();
    format!(r#"{{"Item":{{"pk":{{"S":"{file}-{item}"}},"text":{{"S":"{text}"}}}}}}"#)
}
