//! Spools in folders: whatever a crash leaves or a disk alters, what is read is what was written, in its order, or an error.

use super::folder::FolderStore;
use super::frame::{Frame, HEAD_BYTES, Head, decode, encode, scan};
use super::log::Log;
use super::store::{Segment, Store, Stored};
use super::{Label, Spool};
use crate::error::{Error, ErrorKind, Result};
use crate::model::page::{Span, UnitId};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

const UNIT: UnitId = 3;

/// Changes `from..to`; some frames are small, and some can be compressed.
fn frame(from: u64, to: u64) -> Frame {
    let lines: Vec<u8> = (from..to).flat_map(|at| format!("{{\"Keys\":{{\"n\":{at}}}}}\n").into_bytes()).collect();
    Frame { span: Span { unit: UNIT, from, to }, lines, reached: format!("after {to}") }
}

/// Frames that join.
fn frames() -> Vec<Frame> {
    [(0, 1), (1, 40), (40, 41), (41, 44)].map(|(from, to)| frame(from, to)).into()
}

fn label() -> Label {
    Label { source: "stream s".into(), run: "t.stream".into(), incarnation: 7, derived: "capture".into() }
}

fn open_with(folder: &Path, segment_bytes: u64) -> Result<Spool> {
    Spool::open(Arc::new(FolderStore::of_segments(folder, segment_bytes)?), label(), UNIT + 1)
}

fn open(folder: &Path) -> Result<Spool> {
    open_with(folder, 1 << 20)
}

/// A spool with all frames in it, closed.
fn filled(segment_bytes: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), segment_bytes).unwrap();
    spool.log(UNIT).unwrap().begin(0, None).unwrap();
    frames().iter().for_each(|frame| spool.log(UNIT).unwrap().append(frame).unwrap());
    folder
}

fn segment(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{UNIT:05}/{first:020}.frames"))
}

/// All that there is from `from` on.
fn read(log: &Arc<Log>, from: u64) -> Result<Vec<Frame>> {
    let mut reader = log.read(from);
    std::iter::from_fn(|| reader.frame().transpose()).collect()
}

fn message<T>(result: Result<T>, kind: ErrorKind) -> String {
    let error = result.err().unwrap();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

#[test]
fn a_frame_comes_back_and_no_altered_byte_of_it_passes() {
    for frame in [frame(5, 6), frame(0, 300), Frame { lines: Vec::new(), ..frame(1, 2) }] {
        let bytes = encode(&frame).unwrap();
        let head = Head::decode(&bytes).unwrap();
        assert_eq!(decode(&head, &bytes[HEAD_BYTES..]), Some(frame.clone()));
        assert_eq!(scan(&bytes, UNIT, frame.span.from).whole, bytes.len());
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0x10;
            assert_eq!(scan(&altered, UNIT, frame.span.from).whole, 0, "byte {at}");
        }
    }
    let long = frame(0, 300);
    assert!(encode(&long).unwrap().len() * 3 < long.lines.len());
}

#[test]
fn a_frame_cut_off_anywhere_is_forgotten_and_can_be_written_again() {
    let folder = filled(1 << 20);
    let path = segment(folder.path(), 0);
    let whole = fs::read(&path).unwrap();
    let last = encode(frames().last().unwrap()).unwrap().len();
    for cut in 1..=last {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let spool = open(folder.path()).unwrap();
        let log = spool.log(UNIT).unwrap();
        assert_eq!(log.begin(0, None).unwrap(), (41, Some("after 41".into())), "{cut}");
        assert_eq!(fs::read(&path).unwrap().len(), whole.len() - last, "{cut}");
        log.append(&frames()[3]).unwrap();
        assert_eq!(read(log, 0).unwrap(), frames(), "{cut}");
    }
    assert_eq!(fs::read(&path).unwrap(), whole);
    // blocks that a file system had not written yet
    fs::write(&path, [&whole[..whole.len() - last], &vec![0; last]].concat()).unwrap();
    assert_eq!(open(folder.path()).unwrap().log(UNIT).unwrap().end(), 41);
}

#[test]
fn a_segment_without_a_whole_frame_is_none() {
    let folder = filled(1);
    assert!(segment(folder.path(), 41).exists(), "each frame is a segment");
    fs::write(segment(folder.path(), 41), b"TVf").unwrap();
    fs::write(segment(folder.path(), 40), b"").unwrap();
    let spool = open_with(folder.path(), 1).unwrap();
    assert_eq!(spool.log(UNIT).unwrap().end(), 40);
    assert!(!segment(folder.path(), 41).exists() && !segment(folder.path(), 40).exists());
    frames()[2..].iter().for_each(|frame| spool.log(UNIT).unwrap().append(frame).unwrap());
    assert_eq!(read(spool.log(UNIT).unwrap(), 0).unwrap(), frames());
}

#[test]
fn damage_before_a_whole_frame_is_told_with_the_file_and_what_to_do() {
    let folder = filled(1 << 20);
    let path = segment(folder.path(), 0);
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - encode(frames().last().unwrap()).unwrap().len();
    for at in 0..last {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        fs::write(&path, &altered).unwrap();
        let said = message(open(folder.path()), ErrorKind::Corrupt);
        for part in [path.to_str().unwrap(), "frames follow", "remove it and all of its folder", "24 hours"] {
            assert!(said.contains(part), "byte {at}: {said}");
        }
    }
    // what it says helps
    fs::remove_file(&path).unwrap();
    assert_eq!(open(folder.path()).unwrap().log(UNIT).unwrap().begin(1, Some("after 1")).unwrap().0, 1);
}

#[test]
fn damage_in_an_earlier_segment_is_found_before_a_line_of_it_is_used() {
    let folder = filled(1);
    let path = segment(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    let checked = |what: &dyn Fn()| {
        what();
        let spool = open_with(folder.path(), 1).unwrap();
        let mut reader = spool.log(UNIT).unwrap().read(0);
        assert_eq!(reader.frame().unwrap().unwrap(), frames()[0]);
        let said = message(reader.frame(), ErrorKind::Corrupt);
        assert!(said.contains(".frames"), "{said}");
    };
    for at in 0..whole.len() {
        let mut altered = whole.clone();
        altered[at] ^= 4;
        checked(&|| fs::write(&path, &altered).unwrap());
    }
    checked(&|| fs::write(&path, &whole[..whole.len() - 1]).unwrap());
    checked(&|| fs::copy(segment(folder.path(), 40), &path).map(drop).unwrap());
    checked(&|| fs::remove_file(&path).unwrap());
}

#[test]
fn reading_begins_at_any_frame_and_goes_on_as_the_log_grows() {
    for segment_bytes in [1, 200, 1 << 20] {
        let folder = filled(segment_bytes);
        let spool = open_with(folder.path(), segment_bytes).unwrap();
        let log = spool.log(UNIT).unwrap();
        for (at, from) in [0, 1, 40, 41, 44].into_iter().enumerate() {
            assert_eq!(read(log, from).unwrap(), frames()[at..], "from {from}");
        }
        let said = message(read(log, 17), ErrorKind::Corrupt);
        assert!(said.contains("is another frame") || said.contains("missing"), "{said}");
        let mut reader = log.read(41);
        assert_eq!((reader.frame().unwrap(), reader.frame().unwrap()), (Some(frames()[3].clone()), None));
        log.append(&frame(44, 50)).unwrap();
        assert!(reader.has_more() && log.backlog() == 6);
        assert_eq!(reader.frame().unwrap(), Some(frame(44, 50)));
        assert!(!reader.has_more() && log.backlog() == 0);
        assert!(log.append(&frame(51, 52)).is_err() && log.append(&frame(44, 50)).is_err(), "frames join");
    }
}

#[test]
fn what_was_applied_is_removed_by_the_segment_and_no_reader_minds() {
    let folder = filled(1);
    let spool = open_with(folder.path(), 1).unwrap();
    let log = spool.log(UNIT).unwrap();
    let mut reader = log.read(40);
    log.release(40).unwrap();
    assert!(!segment(folder.path(), 1).exists() && segment(folder.path(), 40).exists());
    assert_eq!(reader.frame().unwrap(), Some(frames()[2].clone()));
    log.release(44).unwrap();
    assert_eq!(fs::read_dir(folder.path().join(format!("{UNIT:05}"))).unwrap().count(), 0);
    assert_eq!(log.end(), 44);
    let said = message(read(log, 1), ErrorKind::Corrupt);
    assert!(said.contains("is not there"), "{said}");
    log.append(&frame(44, 45)).unwrap();
    assert_eq!(read(log, 44).unwrap(), [frame(44, 45)]);
}

#[test]
fn a_log_begins_where_the_ledger_is() {
    let folder = filled(1);
    let begin =
        |from: u64, after: &str| open_with(folder.path(), 1).unwrap().log(UNIT).unwrap().begin(from, Some(after));
    assert_eq!(begin(41, "after 41").unwrap(), (44, Some("after 44".into())));
    assert_eq!(begin(44, "after 44").unwrap(), (44, Some("after 44".into())));
    fs::remove_file(segment(folder.path(), 0)).unwrap();
    let said = message(begin(0, "nothing"), ErrorKind::Corrupt);
    assert!(said.contains("is not change 0"), "{said}");
    // applied without the spool meanwhile
    assert_eq!(begin(100, "after 100").unwrap(), (100, Some("after 100".into())));
    assert!(!segment(folder.path(), 41).exists());
}

#[test]
fn a_spool_is_of_one_capture_and_open_once() {
    let folder = filled(1 << 20);
    let spool = open(folder.path()).unwrap();
    let said = message(open(folder.path()), ErrorKind::Refused);
    assert!(said.contains("another process captures"), "{said}");
    drop(spool);
    let others: [fn(&mut Label); 4] = [
        |label| label.source = "stream of another table".into(),
        |label| label.run = "other.stream".into(),
        |label| label.incarnation += 1,
        |label| label.derived = "another capture".into(),
    ];
    for change in others {
        let mut other = label();
        change(&mut other);
        let store = Arc::new(FolderStore::open(folder.path()).unwrap());
        let said = message(Spool::open(store, other, UNIT + 1), ErrorKind::Refused);
        assert!(said.contains("holds changes of stream s for run t.stream"), "{said}");
    }
    open(folder.path()).unwrap();
}

/// A store whose disk is full at times.
struct Full {
    store: FolderStore,
    left: AtomicU32,
}

impl Store for Full {
    fn name(&self) -> String {
        self.store.name()
    }

    fn segment_name(&self, unit: UnitId, first: u64) -> String {
        self.store.segment_name(unit, first)
    }

    fn label(&self) -> Result<Option<String>> {
        self.store.label()
    }

    fn set_label(&self, label: &str) -> Result<()> {
        self.store.set_label(label)
    }

    fn segments(&self, unit: UnitId) -> Result<Vec<Segment>> {
        self.store.segments(unit)
    }

    fn segment_bytes(&self) -> u64 {
        self.store.segment_bytes()
    }

    fn append(&self, unit: UnitId, segment: Segment, frame: &[u8]) -> Result<()> {
        if self.left.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            // it may have come so far
            self.store.append(unit, segment, &frame[..frame.len() / 2])?;
            return Err(Error::new(ErrorKind::Blocked, "there is no room"));
        }
        self.store.append(unit, segment, frame)
    }

    fn open(&self, unit: UnitId, first: u64) -> Result<Box<dyn Stored>> {
        self.store.open(unit, first)
    }

    fn cut(&self, unit: UnitId, segment: Segment) -> Result<()> {
        self.store.cut(unit, segment)
    }

    fn remove(&self, unit: UnitId, first: u64) -> Result<()> {
        self.store.remove(unit, first)
    }
}

#[test]
fn what_found_no_room_is_appended_when_there_is_some() {
    for segment_bytes in [1, 1 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::of_segments(folder.path(), segment_bytes).unwrap();
        let spool = Spool::open(Arc::new(Full { store, left: AtomicU32::new(0) }), label(), UNIT + 1).unwrap();
        let log = spool.log(UNIT).unwrap();
        log.begin(0, None).unwrap();
        let mut reader = log.read(0);
        for frame in frames() {
            message(log.append(&frame), ErrorKind::Blocked);
            assert_eq!(reader.frame().unwrap(), None);
            log.append(&frame).unwrap();
            assert_eq!(reader.frame().unwrap(), Some(frame));
        }
        drop((reader, spool));
        assert_eq!(read(open(folder.path()).unwrap().log(UNIT).unwrap(), 0).unwrap(), frames());
    }
}
