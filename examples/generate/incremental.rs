//! Writes a full export of orders and the chain of incremental exports that follows it, with the truth after each window.
//!
//! The layout is AWS's: all windows share one data folder, and only their manifests tell whose file is whose. A line is
//! the net effect of its window on one item: an item that was put and deleted within a window, and was not there before,
//! has none. The first window ends at the full export's time, so it tells of changes that the export shows already.

use crate::generator::export::{file_name, manifest_line, write_manifest};
use crate::generator::orders::{write_key, write_moment, write_version};
use crate::generator::rng::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// 2026-01-14T10:18:50Z, the time of the full export, and 2024-01-01, in seconds since 1970.
const EXPORTED: u64 = 1_768_385_930;
const YEAR_2024: u64 = 1_704_067_200;

/// What a window spans: 15 minutes to 24 hours.
const WINDOW_SECONDS: (u64, u64) = (900, 86_400);

/// What the lines of a window hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum View {
    /// Keys and the item after the change.
    NewImage,
    /// The item before it, too.
    NewAndOldImages,
}

/// What to write.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The folder that stands for the bucket.
    pub(crate) out: PathBuf,
    /// Orders in the table before the first window.
    pub(crate) items: u64,
    /// How many windows.
    pub(crate) windows: usize,
    /// Writes in each window.
    pub(crate) changes: u64,
    /// Data files of each export; the last one is empty.
    pub(crate) files: usize,
    /// What the lines hold.
    pub(crate) view: View,
    /// Everything random follows from it.
    pub(crate) seed: u64,
    /// The DynamoDB table's name.
    pub(crate) table: String,
    /// The exports' `s3Prefix`.
    pub(crate) prefix: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            out: PathBuf::from("."),
            items: 1000,
            windows: 3,
            changes: 300,
            files: 4,
            view: View::NewAndOldImages,
            seed: 1,
            table: String::from("orders"),
            prefix: None,
        }
    }
}

/// The orders of a table: which there are, and after how many changes each.
pub(crate) type State = BTreeMap<u64, u32>;

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The folder of the full export's manifests.
    pub(crate) full: PathBuf,
    /// What the full export holds.
    pub(crate) exported: State,
    /// The windows, in their order.
    pub(crate) windows: Vec<Window>,
}

/// One incremental export.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The folder of its manifests.
    pub(crate) folder: PathBuf,
    /// When it begins, and the first moment after it: seconds since 1970.
    pub(crate) span: (u64, u64),
    /// Its puts and its deletes.
    pub(crate) changes: (u64, u64),
    /// What the table holds after it.
    pub(crate) truth: State,
}

/// The lines of one export, by data file, with how many there are.
type Lines = Vec<(Vec<u8>, u64)>;

/// Writes the full export and the windows.
///
/// # Errors
/// When the disk says so.
pub(crate) fn write(options: &Options) -> io::Result<Chain> {
    let mut rng = Rng::new(options.seed, u64::MAX);
    let mut state: State = (0..options.items).map(|index| (index, 0)).collect();
    let mut versions = State::new();
    let mut ends = EXPORTED;
    let mut spans = vec![(ends - WINDOW_SECONDS.0, ends)];
    while spans.len() < options.windows {
        let begins = ends;
        ends += WINDOW_SECONDS.0 + rng.below(WINDOW_SECONDS.1 - WINDOW_SECONDS.0 + 1);
        spans.push((begins, ends));
    }
    let (mut windows, mut exported) = (Vec::new(), State::new());
    for (number, span) in spans.iter().take(options.windows).enumerate() {
        let before = state.clone();
        let touched = play(options, &mut rng, &mut state, &mut versions);
        // asked for when all was over, the last one first: names tell nothing of the order
        let asked = ends + 60 * (options.windows - number) as u64;
        let (lines, changes) = net_effect(options, &mut rng, *span, &touched, (&before, &state))?;
        let folder = write_export(options, number + 1, asked, Some(*span), &lines)?;
        windows.push(Window { folder, span: *span, changes, truth: state.clone() });
        if number == 0 {
            exported = state.clone();
        }
    }
    if windows.is_empty() {
        exported = state;
    }
    let full = write_export(options, 0, EXPORTED, None, &all(options, &exported)?)?;
    Ok(Chain { full, exported, windows })
}

/// Writes to the table, a few of its keys again and again: the keys written to.
fn play(options: &Options, rng: &mut Rng, state: &mut State, versions: &mut State) -> Vec<u64> {
    let keys = options.items + options.items / 4 + 1;
    let hot = keys / 16 + 1;
    let mut touched = Vec::new();
    for _ in 0..options.changes {
        let among = if rng.below(3) == 0 { hot } else { keys };
        let index = rng.below(among);
        touched.push(index);
        if state.contains_key(&index) && rng.below(3) == 0 {
            state.remove(&index);
            continue;
        }
        let version = versions.entry(index).or_default();
        *version += 1;
        state.insert(index, *version);
    }
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// One line for each key whose item is another one now, or gone, in files; and how many put and how many delete.
fn net_effect(
    options: &Options,
    rng: &mut Rng,
    (from, to): (u64, u64),
    touched: &[u64],
    (before, after): (&State, &State),
) -> io::Result<(Lines, (u64, u64))> {
    let seed = options.seed;
    let mut files = vec![(Vec::new(), 0); options.files.max(2)];
    let mut changes = (0, 0);
    // the last file stays empty, as those of partitions without a change do
    let filled = files.len() - 1;
    for index in touched {
        let (old, new) = (before.get(index), after.get(index));
        if old == new {
            continue;
        }
        let (out, lines) = &mut files[rng.index(filled)];
        let micros = (from + rng.below(to - from)) * 1_000_000 + rng.below(1_000_000);
        write!(out, r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"{micros}"}}}},"Keys":"#)?;
        write_key(seed, *index, out)?;
        if let Some(old) = old.filter(|_| options.view == View::NewAndOldImages) {
            out.extend_from_slice(br#","OldImage":"#);
            write_version(seed, *index, *old, out)?;
        }
        if let Some(new) = new {
            out.extend_from_slice(br#","NewImage":"#);
            write_version(seed, *index, *new, out)?;
        }
        out.extend_from_slice(b"}\n");
        *lines += 1;
        if new.is_some() { changes.0 += 1 } else { changes.1 += 1 }
    }
    Ok((files, changes))
}

/// Every order as a full export has it, in files.
fn all(options: &Options, state: &State) -> io::Result<Lines> {
    let mut files = vec![(Vec::new(), 0); options.files.max(2)];
    let filled = files.len() - 1;
    for (number, (index, version)) in state.iter().enumerate() {
        let (out, lines) = &mut files[number * filled / state.len()];
        out.extend_from_slice(b"{\"Item\":");
        write_version(options.seed, *index, *version, out)?;
        out.extend_from_slice(b"}\n");
        *lines += 1;
    }
    Ok(files)
}

/// Writes one export, asked for at a moment; `span` is that of a window. The folder of its manifests.
fn write_export(
    options: &Options,
    number: usize,
    asked: u64,
    span: Option<(u64, u64)>,
    files: &Lines,
) -> io::Result<PathBuf> {
    let prefix = options.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
    let random = Rng::new(options.seed, number as u64 + 1_000_000).next() >> 32;
    let id = format!("{:014}-{random:08x}", asked * 1000);
    let key = format!("{prefix}AWSDynamoDB/{id}");
    let data = if span.is_some() { format!("{prefix}AWSDynamoDB/data") } else { format!("{key}/data") };
    let folder = options.out.join(&key);
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(options.out.join(&data))?;
    fs::write(folder.join("_started"), b"")?;
    let (mut list, mut items, mut bytes) = (String::new(), 0, 0);
    for (at, (lines, count)) in files.iter().enumerate() {
        let key = format!("{data}/{}.json.gz", file_name(options.seed, number * 1000 + at));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(lines)?;
        let compressed = encoder.finish()?;
        fs::write(options.out.join(&key), &compressed)?;
        list += &manifest_line(*count, &compressed, &key);
        (items, bytes) = (items + count, bytes + lines.len());
    }
    write_manifest(&folder, "manifest-files", &list, "md5")?;
    let facts = Facts { id: &id, key: &key, asked, items, bytes };
    write_manifest(&folder, "manifest-summary", &summary(options, span, &facts)?, "md5")?;
    Ok(folder)
}

/// What the summary says of one export.
struct Facts<'a> {
    id: &'a str,
    key: &'a str,
    asked: u64,
    items: u64,
    bytes: usize,
}

/// manifest-summary.json, by the fields that each kind of export has.
fn summary(options: &Options, span: Option<(u64, u64)>, facts: &Facts<'_>) -> io::Result<String> {
    let Facts { id, key, asked, items, bytes } = *facts;
    let prefix = options.prefix.as_ref().map_or_else(|| String::from("null"), |prefix| format!("\"{prefix}\""));
    let table = format!("arn:aws:dynamodb:eu-north-1:123456789012:table/{}", options.table);
    let (version, times, tail) = match span {
        None => ("2020-06-30", format!(r#""exportTime":"{}""#, moment(EXPORTED)?), String::new()),
        Some((from, to)) => (
            "2023-08-01",
            format!(r#""exportFromTime":"{}","exportToTime":"{}""#, moment(from)?, moment(to)?),
            format!(
                r#","outputView":"{}","exportType":"INCREMENTAL_EXPORT""#,
                if options.view == View::NewImage { "NEW_IMAGE" } else { "NEW_AND_OLD_IMAGES" }
            ),
        ),
    };
    let billed = if span.is_some() { bytes.max(10_000_000) } else { bytes };
    Ok([
        format!(r#"{{"version":"{version}","exportArn":"{table}/export/{id}""#),
        format!(r#""startTime":"{}","endTime":"{}""#, moment(asked)?, moment(asked + 368)?),
        format!(r#""tableArn":"{table}","tableId":"cf263806-5a10-4c5b-9d2e-{:012x}""#, options.seed),
        format!(r#"{times},"s3Bucket":"exports","s3Prefix":{prefix}"#),
        String::from(r#""s3SseAlgorithm":"AES256","s3SseKmsKeyId":null"#),
        format!(r#""manifestFilesS3Key":"{key}/manifest-files.json""#),
        format!(r#""billedSizeBytes":{billed},"itemCount":{items},"outputFormat":"DYNAMODB_JSON"{tail}}}"#),
    ]
    .join(","))
}

/// A moment as manifests write it.
fn moment(seconds: u64) -> io::Result<String> {
    let mut text = Vec::new();
    write_moment(seconds - YEAR_2024, &mut text)?;
    Ok(String::from_utf8_lossy(&text).replace('Z', ".000Z"))
}
