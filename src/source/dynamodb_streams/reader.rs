//! One lineage, polled: of its shards that may be read, the one whose turn it is.
//!
//! Promises: a call asks once and never sleeps; when to ask again is told by [`UnitReader::urgency`]. A page holds records of
//! one shard, after the last one read and in rising order. What cannot be gone on with is an error, never a place further
//! on. One request at a time reads a lineage, so a shard has one reader.

use super::Shared;
use super::capture::{KEPT, PLACE_KEPT, Position};
use super::lineage::Lineage;
use super::listing::Known;
use super::sequence::compare;
use super::watch::Seen;
use crate::driver::streams::{Change, EventName, Place, Records, StreamRefusal, StreamRefusalKind};
use crate::error::{Error, ErrorKind, Result};
use crate::limit::retry::Backoff;
use crate::model::page::{ONLY_COUNTED, Page, Span, UnitId, Wanted};
use crate::source::{Read, UnitReader, Urgency};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Empty answers in a row, after a listing, after which a shard counts as read to where it is: a stream may answer empty before it gives
/// the next record.
const EMPTY_ENOUGH: u32 = 5;

/// A shard's pauses grow after so many empty answers each, up to so many times the first: an idle shard is asked about once
/// a second.
const PAUSE_GROWS: (u32, u32) = (8, 4);

/// A shard whose last record is younger, in seconds, is not asked again at once: each answer is paid for, however little it
/// brings.
const CURRENT: u64 = 2;

/// So many seconds after the moment up to which one follows all that was made before it is told: creation times are rounded
/// to the second, and hosts' clocks differ by some.
const CLOCKS_DIFFER: u64 = 10;

/// Reads one lineage.
pub(super) struct LineageReader {
    shared: Arc<Shared>,
    unit: UnitId,
    lineage: Lineage,
    cursors: BTreeMap<String, Cursor>,
    /// The number of the next item.
    position: u64,
    /// The listing that the lineage last looked at.
    generation: u64,
    /// A listing newer than this one must be seen before the lineage is caught up: it was begun after the last record.
    stale: u64,
    /// The same for the moment up to which one follows, once it is over.
    over: Option<u64>,
}

/// Where a shard is read.
struct Cursor {
    iterator: Option<String>,
    /// When to ask next.
    due: Duration,
    /// Empty answers in a row.
    empty: u32,
    /// When it last had nothing more, in seconds since 1970: it answered so, often enough, and was not closed.
    quiet: Option<u64>,
    /// Waits of the requests that failed one after the other.
    backoff: Option<Backoff>,
    /// What the position names is no place: the server does not take the shard's first sequence number, or what comes
    /// next was trimmed and is in the target.
    from_horizon: bool,
}

impl LineageReader {
    pub(super) fn new(shared: Arc<Shared>, unit: UnitId, wanted: &Wanted) -> Result<LineageReader> {
        let lineage = match &wanted.after {
            Some(reached) => Lineage::parse(reached)?,
            None => Lineage::begin(&shared.capture, unit)?,
        };
        shared.watch().opens(unit);
        let known = shared.listing.known();
        let mut reader = LineageReader {
            shared,
            unit,
            lineage,
            cursors: BTreeMap::new(),
            position: wanted.items.first().map_or(0, |range| range.start),
            generation: known.generation,
            stale: known.generation,
            over: None,
        };
        reader.grow(&known);
        Ok(reader)
    }

    /// Takes in what a listing shows, and a cursor for every shard that may be read.
    fn grow(&mut self, known: &Known) {
        if self.generation <= self.stale && known.generation > self.stale {
            // what counts is what is empty after a listing that shows nothing new
            self.cursors.values_mut().for_each(|cursor| cursor.empty = 0);
        }
        self.generation = known.generation;
        if self.lineage.grow(&known.tree, &self.shared.capture, self.unit, self.shared.wall()) {
            self.stale = known.generation + 1;
        }
        for (shard, position) in self.lineage.reading() {
            if !self.cursors.contains_key(shard) {
                let until = self.shared.capture.kept_until(shard, position);
                self.shared.watch().reads(self.unit, shard, Seen { since: position.since, until, behind: true });
                self.cursors.insert(shard.to_owned(), Cursor::new());
            }
        }
    }

    /// Whether all is read that was made before the moment up to which one follows: of each shard a record made later, or all
    /// that it had when that moment was over, after a listing that shows every shard of that time.
    fn has_passed(&mut self, known: &Known) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(moment) = shared.options.until.map(|until| until.saturating_add(CLOCKS_DIFFER)) else { return false };
        if shared.wall() < moment {
            return false;
        }
        let over = *self.over.get_or_insert_with(|| {
            // what counts is what is empty from now on
            self.cursors.values_mut().for_each(|cursor| (cursor.empty, cursor.quiet) = (0, None));
            known.generation + 1
        });
        if shared.asked < moment && self.generation <= over {
            shared.listing.want();
            return false;
        }
        let passed = |(shard, position): (&str, &Position)| {
            position.read.is_some() && position.since >= moment
                || self.cursors.get(shard).is_some_and(|cursor| cursor.quiet.is_some())
        };
        !self.lineage.awaits(&known.tree) && self.lineage.reading().all(passed)
    }

    /// Asks once.
    pub(super) async fn step(&mut self) -> Result<Read> {
        let shared = Arc::clone(&self.shared);
        let known = shared.listing.look(&shared.driver, &shared.capture.stream, shared.now()).await?;
        if known.generation != self.generation {
            self.grow(&known);
        }
        if self.has_passed(&known) {
            shared.watch().passes(self.unit);
            if shared.watch().are_caught_up(shared.capture.lineages.len()) {
                return Ok(Read::Stop(REACHED.to_owned()));
            }
        }
        let now = shared.now();
        let due = self.cursors.iter().filter(|(_, cursor)| cursor.due <= now).min_by_key(|(_, cursor)| cursor.due);
        let Some(shard) = due.map(|(shard, _)| shard.clone()) else { return Ok(self.idle(&known)) };
        // what an answer does not have may have been made while it was under way
        let asked = shared.wall();
        match self.ask(&shard).await {
            Ok(records) => self.take(&shard, records, (asked, &known)),
            Err(refusal) if self.is_in_target(&shard, &refusal, &known) => self.trimmed_before(&shard, &known),
            Err(refusal) => self.refused(&shard, refusal, &known).map(|()| Read::Empty),
        }
    }

    /// Records of a shard, by its iterator or a new one.
    async fn ask(&mut self, shard: &str) -> Result<Records, StreamRefusal> {
        let (driver, arn, wall) = (&self.shared.driver, &self.shared.capture.stream, self.shared.wall());
        let Some(cursor) = self.cursors.get_mut(shard) else { return Ok(Records::default()) };
        let iterator = match &cursor.iterator {
            Some(iterator) => iterator.clone(),
            None => {
                let position = self.lineage.position(shard).ok_or_else(|| no_longer_kept("it is not read"))?;
                let place = place(position, cursor.from_horizon);
                if place == Place::Horizon && wall.saturating_sub(position.since) > PLACE_KEPT {
                    return Err(no_longer_kept("its oldest record may be another by now"));
                }
                driver.iterator(arn, shard, place).await?
            }
        };
        let records = driver.records(arn, cursor.iterator.insert(iterator)).await?;
        cursor.backoff = None;
        Ok(records)
    }

    /// Books an answer and makes a page of it.
    fn take(&mut self, shard: &str, records: Records, (wall, known): (u64, &Known)) -> Result<Read> {
        let (unit, now) = (self.unit, self.shared.now());
        self.check(shard, &records.changes)?;
        if let Some(last) = records.changes.last() {
            self.cursors.get_mut(shard).into_iter().for_each(|cursor| cursor.from_horizon = false);
            // what was made before the hand-over is passed over, and nobody is behind with it
            let from = self.shared.capture.hand_over.map_or(0, |hand_over| hand_over.from);
            self.lineage.read(shard, &last.sequence, last.created.unwrap_or(wall).max(from));
            self.stale = known.generation + 1;
        }
        let (count, next) = (records.changes.len() as u64, records.next.clone());
        let position = self.lineage.position(shard);
        let since = position.map_or(wall, |position| position.since);
        let until = position.map_or(wall, |position| self.shared.capture.kept_until(shard, position));
        if next.is_none() {
            let quiet = self.cursors.get(shard).and_then(|cursor| cursor.quiet).filter(|_| count == 0);
            self.end(shard, quiet, known);
        } else if let Some(cursor) = self.cursors.get_mut(shard) {
            let is_current = wall.saturating_sub(since) < CURRENT;
            cursor.answered(next.clone(), count, now, self.shared.options.poll, is_current);
            let is_quiet = cursor.empty >= EMPTY_ENOUGH && !known.tree.is_continued(shard);
            cursor.quiet = is_quiet.then_some(wall).or(cursor.quiet.filter(|_| count == 0));
            let seen = match cursor.quiet {
                Some(at) => Seen { since: at, until: at + KEPT, behind: false },
                None => Seen { since, until, behind: true },
            };
            self.shared.watch().reads(unit, shard, seen);
        }
        self.shared.watch().records(unit, count);
        if count > 0 {
            let (skips_expired, hand_over) = (self.shared.options.skip_expired, self.shared.capture.hand_over);
            let passed = |change: &Change| {
                skips_expired && change.expired || hand_over.is_some_and(|hand_over| hand_over.has(change.created))
            };
            return self.page(count, passing_over(records, passed));
        }
        self.shared.usage().empty_pages += 1;
        if next.is_none() {
            return self.page(1, only_counted().collect());
        }
        Ok(self.idle(known))
    }

    /// A shard has nothing more to give.
    fn end(&mut self, shard: &str, quiet: Option<u64>, known: &Known) {
        self.lineage.end(shard, quiet);
        self.cursors.remove(shard);
        self.stale = known.generation + 1;
        self.shared.watch().ends(self.unit, shard);
        self.shared.listing.want();
        self.grow(known);
    }

    /// Whether a shard is refused because of what it no longer holds, and all of that is in the target: it was made
    /// before the hand-over to this stream.
    fn is_in_target(&self, shard: &str, refusal: &StreamRefusal, known: &Known) -> bool {
        let is_gone = match refusal.kind {
            StreamRefusalKind::Trimmed => self.cursors.get(shard).is_some_and(|cursor| !cursor.from_horizon),
            StreamRefusalKind::NotFound => known.tree.get(shard).is_none(),
            _ => false,
        };
        let Some(hand_over) = self.shared.capture.hand_over.filter(|_| is_gone) else { return false };
        // what was met later, or read further, holds changes that are not there
        let is_before = |position: &Position| position.since <= hand_over.from;
        self.lineage.position(shard).is_some_and(is_before) && hand_over.is_safe(self.shared.wall())
    }

    /// Goes on behind what is in the target: with the oldest record that there is, or the shard's end.
    fn trimmed_before(&mut self, shard: &str, known: &Known) -> Result<Read> {
        match self.cursors.get_mut(shard) {
            Some(cursor) if known.tree.get(shard).is_some() => {
                *cursor = Cursor { from_horizon: true, ..Cursor::new() };
                Ok(Read::Empty)
            }
            _ => {
                self.end(shard, None, known);
                self.page(1, only_counted().collect())
            }
        }
    }

    /// A page that ends where the lineage is now. One of a line that is only counted makes a shard's end durable, which may
    /// come without a record: a quiet stream would else be gone on with where it no longer keeps anything.
    fn page(&mut self, items: u64, bytes: Vec<u8>) -> Result<Read> {
        let span = Span { unit: self.unit, from: self.position, to: self.position + items };
        self.position = span.to;
        self.shared.watch().hands_out(self.unit, span.to);
        Ok(Read::Page(Page { span, bytes, reached: Some(self.lineage.text()?), half_units: 0 }))
    }

    /// Whether the records go on where the last ended, and each says one thing.
    fn check(&self, shard: &str, changes: &[Change]) -> Result<()> {
        let position = self.lineage.position(shard);
        let wrong = |number: &str, what: &str| {
            let stream = &self.shared.capture.stream;
            Err(Error::corrupt(format!("stream {stream}: record {number} of shard {shard} {what}")))
        };
        let mut last = position.and_then(|position| position.read.as_deref());
        for Change { sequence, event, has_image, .. } in changes {
            if last.is_some_and(|last| compare(last, sequence) != Ordering::Less) {
                return wrong(sequence, "comes after one with a higher number: what lies between cannot be told");
            }
            match (event, has_image) {
                (EventName::Insert | EventName::Modify, true) | (EventName::Remove, false) => {}
                (EventName::Remove, true) => return wrong(sequence, "is a REMOVE, and has a new image"),
                (EventName::Insert | EventName::Modify, false) => {
                    return wrong(sequence, "is no REMOVE, and has no new image: does the stream carry new images?");
                }
                (EventName::Other, _) => return wrong(sequence, "is neither INSERT, MODIFY nor REMOVE"),
            }
            last = Some(sequence);
        }
        Ok(())
    }

    /// Nothing was read: is there nothing?
    fn idle(&mut self, known: &Known) -> Read {
        let shared = Arc::clone(&self.shared);
        let awaits = self.lineage.awaits(&known.tree);
        shared.watch().awaits(self.unit, awaits);
        if self.cursors.is_empty() && known.disabled && known.generation > self.stale {
            shared.watch().catches_up(self.unit);
            return Read::End;
        }
        let are_empty = |times: u32| self.cursors.values().all(|cursor| cursor.empty >= times);
        let is_stale = self.generation <= self.stale;
        if awaits || is_stale && are_empty(1) && (shared.options.until_caught_up || self.cursors.is_empty()) {
            shared.listing.want();
        }
        if !shared.options.until_caught_up || awaits || is_stale || !are_empty(EMPTY_ENOUGH) || self.cursors.is_empty()
        {
            return Read::Empty;
        }
        shared.watch().catches_up(self.unit);
        if shared.watch().are_caught_up(shared.capture.lineages.len()) {
            return Read::Stop(CAUGHT_UP.to_owned());
        }
        Read::Empty
    }

    /// Books a refusal; an error when it is for good.
    fn refused(&mut self, shard: &str, refusal: StreamRefusal, known: &Known) -> Result<()> {
        let now = self.shared.now();
        let Some(position) = self.lineage.position(shard).cloned() else { return Ok(()) };
        let Some(cursor) = self.cursors.get_mut(shard) else { return Ok(()) };
        self.shared.usage().retries += 1;
        let seed = rand::random();
        match &refusal.kind {
            // a shard that is listed and cannot be read yet is new
            StreamRefusalKind::NotFound if known.tree.get(shard).is_some() => {
                cursor.wait(Backoff::reconnect(seed), now)
            }
            StreamRefusalKind::Trimmed | StreamRefusalKind::NotFound => return Err(self.trimmed(shard, &position)),
            StreamRefusalKind::Denied | StreamRefusalKind::Other => return Err(refusal.into_error()),
            StreamRefusalKind::Throttled(reasons) => {
                let mut usage = self.shared.usage();
                for reason in reasons {
                    *usage.throttled.entry(reason.to_string()).or_default() += 1;
                }
                cursor.wait(Backoff::throttled(seed), now)
            }
            StreamRefusalKind::Invalid if cursor.iterator.is_none() && !cursor.from_horizon && position.read.is_none() => {
                cursor.from_horizon = true;
                return Ok(());
            }
            StreamRefusalKind::Expired | StreamRefusalKind::Invalid => {
                cursor.iterator = None;
                cursor.wait(Backoff::reconnect(seed), now)
            }
            StreamRefusalKind::Unknown => cursor.wait(Backoff::reconnect(seed), now),
        }
        .ok_or_else(|| {
            let (stream, said) = (&self.shared.capture.stream, &refusal.message);
            Error::new(
                ErrorKind::Transient,
                format!(
                    "stream {stream}: shard {shard} could not be read for minutes; the last time: {said}; the same command \
                     goes on from what is durable"
                ),
            )
        })
    }

    /// The sentence about changes that are lost.
    fn trimmed(&self, shard: &str, position: &Position) -> Error {
        let since = self.shared.wall().saturating_sub(position.since);
        let hours = since / 3600;
        let last = position.read.as_deref().map_or_else(
            || format!("nothing of it was read since it was captured {hours} hours ago"),
            |number| format!("the last record read, {number}, is {hours} hours old"),
        );
        Error::corrupt(format!(
            "stream {}: shard {shard} no longer holds what comes next ({last}), and a stream keeps changes for 24 hours: \
             changes are lost to this target; copy the table anew, into empty tables, with backfill --capture --restart, \
             then follow again; nothing was skipped",
            self.shared.capture.stream
        ))
    }
}

/// Why the source asks for an end.
pub(super) const CAUGHT_UP: &str = "caught up with the stream";

/// The same, where one follows up to a moment.
const REACHED: &str = "all that was made before the moment to follow up to is read";

impl Cursor {
    fn new() -> Cursor {
        Cursor { iterator: None, due: Duration::ZERO, empty: 0, quiet: None, backoff: None, from_horizon: false }
    }

    /// An answer of so many records came, with the iterator for the next one.
    fn answered(&mut self, next: Option<String>, records: u64, now: Duration, poll: Duration, is_current: bool) {
        self.iterator = next;
        self.empty = if records == 0 { self.empty.saturating_add(1) } else { 0 };
        let (after, most) = PAUSE_GROWS;
        let pause = if records > 0 && !is_current { Duration::ZERO } else { poll };
        self.due = now + pause * (1 + self.empty / after).min(most);
    }

    /// Waits a little longer than the last time; none when it has been long enough.
    fn wait(&mut self, first: Backoff, now: Duration) -> Option<()> {
        let wait = self.backoff.get_or_insert(first).wait()?;
        self.due = now + wait;
        Some(())
    }
}

/// A refusal of our own.
fn no_longer_kept(why: &str) -> StreamRefusal {
    StreamRefusal { kind: StreamRefusalKind::Trimmed, message: why.to_owned(), code: String::new() }
}

/// Where to begin. What the server does not number is begun at its oldest record, which is safe while nothing of it can
/// have been trimmed.
fn place(position: &Position, from_horizon: bool) -> Place<'_> {
    match (&position.read, &position.start) {
        _ if from_horizon => Place::Horizon,
        (Some(read), _) => Place::After(read),
        (None, Some(start)) => Place::At(start),
        (None, None) => Place::Horizon,
    }
}

fn only_counted() -> impl Iterator<Item = u8> {
    ONLY_COUNTED.iter().copied().chain(*b"\n")
}

/// The lines, with those of changes that are `passed` over only to be counted.
fn passing_over(records: Records, passed: impl Fn(&Change) -> bool) -> Vec<u8> {
    if !records.changes.iter().any(&passed) {
        return records.lines;
    }
    let mut lines = Vec::with_capacity(records.lines.len());
    let mut from = 0;
    for change in &records.changes {
        let line = records.lines.get(from..change.end).unwrap_or_default();
        match passed(change) {
            true => lines.extend(only_counted()),
            false => lines.extend_from_slice(line),
        }
        from = change.end;
    }
    lines
}

impl UnitReader for LineageReader {
    fn urgency(&self) -> Urgency {
        let now = self.shared.now();
        // whoever made the last listing, all look at it
        let is_new = self.shared.listing.known().generation != self.generation;
        let listing = if is_new { Duration::ZERO } else { self.shared.listing.rest(now) };
        let due = self.cursors.values().map(|cursor| cursor.due.saturating_sub(now)).min();
        let oldest = self.lineage.reading().map(|(_, position)| position.since).min().unwrap_or(u64::MAX);
        Urgency { need: u64::MAX - oldest, ready_in: due.map_or(listing, |due| due.min(listing)) }
    }

    fn next(&mut self, halt: &CancellationToken) -> Result<Read> {
        if halt.is_cancelled() {
            return Ok(Read::Halted);
        }
        let runtime = self.shared.runtime.clone();
        runtime.block_on(self.step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_is_behind_is_asked_at_once_and_an_idle_one_ever_less_often() {
        let (mut cursor, poll, now) = (Cursor::new(), Duration::from_millis(250), Duration::from_secs(9));
        let mut pause = |records, is_current| {
            cursor.answered(Some(String::new()), records, now, poll, is_current);
            cursor.due - now
        };
        assert_eq!(pause(7, false), Duration::ZERO);
        assert_eq!(pause(7, true), poll);
        let idle: Vec<Duration> = (0..100).map(|_| pause(0, false)).collect();
        assert!(idle.is_sorted() && idle[0] == poll && idle[99] == poll * 4, "{idle:?}");
        assert_eq!(pause(1, true), poll);
    }
}
