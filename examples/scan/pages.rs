//! Canned pages of a Scan: bodies of 1 MiB, ready but for the key that a page ends with.

#[path = "../generate/generator/mod.rs"]
mod generator;

use flate2::read::MultiGzDecoder;
use generator::export::{self, Options};
use hyper::body::Bytes;
use std::fs;
use std::io::{self, Read};

/// A page's body, as near below this as whole items allow.
const PAGE_BYTES: usize = 1 << 20;

/// Room in a body for what is no item.
const FRAME_BYTES: usize = 300;

/// A body up to the end of its items.
pub(crate) struct Canned {
    /// From the opening brace to the bracket that closes the items.
    pub(crate) head: Bytes,
    /// Of the head; to be continued with the tail.
    pub(crate) crc32: crc32fast::Hasher,
    /// How many items.
    pub(crate) items: u64,
}

impl Canned {
    /// What follows the items: the key to go on after, unless it is a segment's last page.
    pub(crate) fn tail(&self, key: Option<&str>) -> String {
        let key = key.map(|key| format!(r#""LastEvaluatedKey":{key},"#)).unwrap_or_default();
        format!(r#",{key}"ScannedCount":{}}}"#, self.items)
    }
}

/// As many pages, of orders that are all different.
///
/// # Errors
/// When the temporary folder cannot be written.
pub(crate) fn can(pages: usize) -> io::Result<Vec<Canned>> {
    let lines = orders(pages as u64 * PAGE_BYTES as u64 / 350)?;
    let mut lines = lines.split(|byte| *byte == b'\n').filter_map(item).peekable();
    let mut canned = Vec::new();
    while canned.len() < pages {
        let (mut items, mut count) = (Vec::with_capacity(PAGE_BYTES), 0);
        while let Some(item) = lines.next_if(|item| items.len() + item.len() < PAGE_BYTES - FRAME_BYTES) {
            if count > 0 {
                items.push(b',');
            }
            items.extend_from_slice(item);
            count += 1;
        }
        canned.push(page(&items, count));
    }
    if lines.peek().is_none() {
        return Err(io::Error::other("too few orders for so many pages"));
    }
    Ok(canned)
}

fn page(items: &[u8], count: u64) -> Canned {
    let consumed = r#"{"CapacityUnits":128.0,"TableName":"orders"}"#;
    let mut head = format!(r#"{{"ConsumedCapacity":{consumed},"Count":{count},"Items":["#).into_bytes();
    head.extend_from_slice(items);
    head.push(b']');
    let mut crc32 = crc32fast::Hasher::new();
    crc32.update(&head);
    Canned { head: Bytes::from(head), crc32, items: count }
}

/// The object in a line `{"Item":{…}}`.
fn item(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"{\"Item\":")?.strip_suffix(b"}")
}

/// The lines of generated orders, by way of an export in a folder that is gone again afterwards.
fn orders(items: u64) -> io::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let export = export::write(&Options { out: folder.path().to_owned(), items, files: 1, ..Options::default() })?;
    let file = export.files.first().ok_or_else(|| io::Error::other("the generator wrote no data file"))?;
    let mut lines = Vec::new();
    MultiGzDecoder::new(fs::read(&file.path)?.as_slice()).read_to_end(&mut lines)?;
    Ok(lines)
}
