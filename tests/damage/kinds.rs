//! The kinds of damage, and how each is done to a copy of the export.

use crate::generator::export::{DataFile, manifest_line};
use crate::support::small_export::{gzip, md5_base64};
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::path::Path;

/// Where in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Start,
    Middle,
    End,
}

/// Which file, and where in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) at: At,
}

impl Place {
    /// First, middle and last file; start, middle and end of each.
    pub(crate) fn all() -> impl Iterator<Item = Place> {
        (0..super::FILES).flat_map(|file| [At::Start, At::Middle, At::End].map(|at| Place { file, at }))
    }

    /// An index into something of `len` entries.
    fn index(self, len: usize) -> usize {
        match self.at {
            At::Start => 0,
            At::Middle => len / 2,
            At::End => len - 1,
        }
    }
}

/// Stored bytes, where to harm them, and the stored bytes of all files; none when the file goes.
type HarmBytes = fn(Vec<u8>, Place, &[Vec<u8>]) -> Option<Vec<u8>>;

/// What is done to a data file.
pub(crate) enum Harm {
    /// To the stored bytes; none removes the file.
    Bytes(HarmBytes),
    /// To the lines inside.
    Lines(fn(&mut Vec<String>, Place)),
    /// To its line in the manifest.
    Manifest(fn(&str) -> String),
}

/// A kind of damage.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Whether the export itself was made so, its manifests being true to the damaged file; otherwise the file was
    /// damaged later, and the manifests tell of the sound one.
    pub(crate) in_the_export: bool,
    pub(crate) harm: Harm,
}

const fn later(name: &'static str, harm: HarmBytes) -> Kind {
    Kind { name, in_the_export: false, harm: Harm::Bytes(harm) }
}

const fn exported(name: &'static str, harm: Harm) -> Kind {
    Kind { name, in_the_export: true, harm }
}

/// All kinds.
pub(crate) const KINDS: [Kind; 19] = [
    later("bit flip", flip),
    later("byte lost", |mut bytes, place, _| {
        bytes.remove(place.index(bytes.len()));
        Some(bytes)
    }),
    later("truncation", |mut bytes, place, _| {
        bytes.truncate(place.index(bytes.len()));
        Some(bytes)
    }),
    later("missing file", |_, _, _| None),
    later("gzip of another file", |_, place, files| files.get((place.file + 1) % files.len()).cloned()),
    later("gzip of nothing", |_, _, _| Some(gzip(b"", 1))),
    later("trailing garbage", |bytes, _, _| Some([bytes, b"garbage".to_vec()].concat())),
    later("a member appended", |bytes, _, _| Some([bytes, gzip(b"{\"Item\":{}}\n", 1)].concat())),
    exported("wrong md5 in the manifest", Harm::Manifest(|line| with_field(line, "md5Checksum", &md5_base64(b"x")))),
    exported("one too many in the manifest", Harm::Manifest(|line| counted(line, 1))),
    exported("one too few in the manifest", Harm::Manifest(|line| counted(line, -1))),
    exported(
        "truncation, exported so",
        Harm::Bytes(|mut bytes, place, _| {
            bytes.truncate(place.index(bytes.len()));
            Some(bytes)
        }),
    ),
    exported("trailing garbage, exported so", Harm::Bytes(|bytes, _, _| Some([bytes, b"garbage".to_vec()].concat()))),
    exported(
        "bad JSON line",
        Harm::Lines(|lines, place| {
            let line = place.index(lines.len());
            let half = lines[line].len() / 2;
            lines[line].truncate(half);
        }),
    ),
    exported(
        "line without Item",
        Harm::Lines(|lines, place| {
            let line = place.index(lines.len());
            lines[line] = lines[line].replacen("{\"Item\":", "{\"Thing\":", 1);
        }),
    ),
    exported(
        "blank line in place of an item",
        Harm::Lines(|lines, place| {
            let line = place.index(lines.len());
            lines[line].clear();
        }),
    ),
    exported(
        "blank line between items",
        Harm::Lines(|lines, place| {
            lines.insert(place.index(lines.len()), String::new());
        }),
    ),
    exported(
        "line lost",
        Harm::Lines(|lines, place| {
            lines.remove(place.index(lines.len()));
        }),
    ),
    exported(
        "two lines joined",
        Harm::Lines(|lines, place| {
            let line = place.index(lines.len() - 1);
            let next = lines.remove(line + 1);
            lines[line] += &next;
        }),
    ),
];

fn flip(mut bytes: Vec<u8>, place: Place, _: &[Vec<u8>]) -> Option<Vec<u8>> {
    let at = place.index(bytes.len());
    bytes[at] ^= 0x10;
    Some(bytes)
}

/// A manifest line with another text in a field.
fn with_field(line: &str, field: &str, text: &str) -> String {
    let (before, rest) = line.split_once(&format!("\"{field}\":\"")).unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    format!("{before}\"{field}\":\"{text}\"{after}")
}

/// A manifest line whose itemCount is wrong by so many.
fn counted(line: &str, by: i64) -> String {
    let (count, rest) = line.strip_prefix("{\"itemCount\":").unwrap().split_once(',').unwrap();
    format!("{{\"itemCount\":{},{rest}", count.parse::<i64>().unwrap() + by)
}

/// Does `kind` to the export in `folder`.
pub(crate) fn apply(kind: &Kind, place: Place, folder: &Path, files: &[DataFile]) {
    let path = |file: &DataFile| folder.join("data").join(file.path.file_name().unwrap());
    let stored: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(path(file)).unwrap()).collect();
    let file = &files[place.file];
    let sound = stored[place.file].clone();
    let harmed = match &kind.harm {
        Harm::Bytes(harm) => harm(sound, place, &stored),
        Harm::Lines(harm) => {
            let mut lines = inflated(&sound);
            harm(&mut lines, place);
            Some(gzip((lines.join("\n") + "\n").as_bytes(), 1))
        }
        Harm::Manifest(_) => Some(sound),
    };
    match &harmed {
        Some(bytes) => std::fs::write(path(file), bytes).unwrap(),
        None => std::fs::remove_file(path(file)).unwrap(),
    }
    if kind.in_the_export {
        let list = folder.join("manifest-files.json");
        let text = std::fs::read_to_string(&list).unwrap();
        let key = file.manifest_line.split_once("\"dataFileS3Key\":\"").unwrap().1.trim_end_matches("\"}\n");
        let count = file.items.end - file.items.start;
        let line = match &kind.harm {
            Harm::Manifest(harm) => harm(&file.manifest_line),
            _ => manifest_line(count, harmed.as_ref().unwrap(), key),
        };
        let text = text.replace(&file.manifest_line, &line);
        std::fs::write(&list, &text).unwrap();
        seal(folder, "manifest-files");
        sum_up(folder, &text);
    }
}

/// Makes the summary's itemCount the sum of the list's.
fn sum_up(folder: &Path, list: &str) {
    let count = |line: &str| line.strip_prefix("{\"itemCount\":").unwrap().split(',').next().unwrap().parse::<u64>();
    let sum: u64 = list.lines().map(|line| count(line).unwrap()).sum();
    let path = folder.join("manifest-summary.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, count) = text.split_once("\"itemCount\":").unwrap();
    let (_, after) = count.split_once(',').unwrap();
    let text = format!("{before}\"itemCount\":{sum},{after}");
    std::fs::write(&path, text).unwrap();
    seal(folder, "manifest-summary");
}

/// Writes the checksum of a manifest anew.
pub(crate) fn seal(folder: &Path, stem: &str) {
    let bytes = std::fs::read(folder.join(format!("{stem}.json"))).unwrap();
    std::fs::write(folder.join(format!("{stem}.md5")), md5_base64(&bytes)).unwrap();
}

/// The lines of a data file.
pub(crate) fn inflated(bytes: &[u8]) -> Vec<String> {
    let mut text = String::new();
    MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}
