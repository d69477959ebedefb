//! Taking a sample: pages of many units, chosen by seed, kept compressed. Reads and nothing else.
//!
//! Of an export: data files, the larger the likelier, the first items of each. Of a live table: segments, so many that one
//! is about half a page, each read to its end, so that the mean of those read is the mean of all.

use crate::error::{Error, Result};
use crate::model::counts::Counts;
use crate::model::page::{Unit, Wanted};
use crate::source::{Read, Source, UnitReader};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use tokio_util::sync::CancellationToken;

/// Items of a sample when nothing else is said.
pub const ITEMS: u64 = 100_000;

/// Bytes of a sample when nothing else is said: a hundred pages.
const BYTES: u64 = 100 << 20;

/// Bytes of any sample at most: they are kept, at a third or a tenth of it.
const BYTES_MAX: u64 = 512 << 20;

/// Bytes of a segment: half a page, so that most end with their first.
const SEGMENT_BYTES: u64 = 512 * 1024;

/// Segments of a table.
const SEGMENTS: std::ops::RangeInclusive<u64> = 64..=1_000_000;

/// Bytes of one segment at most. One that is longer holds a large item collection; its end is not waited for.
const SEGMENT_MAX: u64 = 32 << 20;

/// Data files that a sample is taken of: each is read whole, so that its MD5 is proved.
const FILES: usize = 24;

/// Bytes of the items in these files, by the table's own measure, at most; but for the first four.
const FILE_BYTES: f64 = (2_u64 << 30) as f64;
const FILES_LEAST: usize = 4;

/// How much is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// [`ITEMS`], or a hundred pages.
    Default,
    /// So many items.
    Items(u64),
    /// So many of a million items.
    PerMillion(u64),
}

/// What was read.
#[derive(Debug, Default)]
pub struct Taken {
    /// Its pages: the lines, compressed.
    pub pages: Vec<Packed>,
    /// The units it is from.
    pub units: Vec<TakenUnit>,
    /// What decided which.
    pub seed: u64,
}

/// A page, compressed.
#[derive(Debug)]
pub struct Packed(Vec<u8>);

/// A unit that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenUnit {
    /// Its name.
    pub name: String,
    /// Items read of it.
    pub items: u64,
    /// Whether these are all of it.
    pub ended: bool,
}

impl Packed {
    /// Packs lines.
    #[must_use]
    pub fn new(lines: &[u8]) -> Packed {
        Packed(lz4_flex::compress_prepend_size(lines))
    }

    /// The lines.
    ///
    /// # Errors
    /// `Internal`: memory is not what it was.
    pub fn lines(&self) -> Result<Vec<u8>> {
        lz4_flex::decompress_size_prepended(&self.0)
            .map_err(|error| Error::internal("a sampled page is not what it was").because(error))
    }
}

/// Cuts a live table into as many segments as suit a sample, where its user has not said how many.
///
/// # Errors
/// Of the source.
pub fn cut(source: &mut dyn Source) -> Result<()> {
    let Some(bytes) = source.description().bytes.filter(|_| !source.description().exact) else { return Ok(()) };
    let segments = (bytes / SEGMENT_BYTES).clamp(*SEGMENTS.start(), *SEGMENTS.end());
    source.adopt(&segments.to_string(), &Counts::default())
}

/// Reads a sample with `readers` threads. Blocks.
///
/// # Errors
/// Of the source.
pub fn take(source: &dyn Source, extent: Extent, seed: u64, readers: usize) -> Result<Taken> {
    let sampling = Sampling::new(source, extent, seed);
    let done: Result<()> = thread::scope(|scope| {
        let threads: Vec<_> = (0..readers.max(1)).map(|_| scope.spawn(|| sampling.read_units())).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::internal("a thread that takes the sample panicked")))
        })
    });
    done?;
    let mut taken = sampling.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
    taken.seed = seed;
    taken.units.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(taken)
}

/// A sample on its way.
struct Sampling<'s> {
    source: &'s dyn Source,
    /// The units, in the order in which they are read.
    units: Vec<&'s Unit>,
    /// Items of each at most.
    quota: u64,
    items_max: u64,
    bytes_max: u64,
    next: AtomicUsize,
    items: AtomicU64,
    bytes: AtomicU64,
    taken: Mutex<Taken>,
    /// One of the threads has failed.
    failed: CancellationToken,
}

impl<'s> Sampling<'s> {
    fn new(source: &'s dyn Source, extent: Extent, seed: u64) -> Self {
        let description = source.description();
        let (items_max, bytes_max) = match extent {
            Extent::Default => (ITEMS, BYTES),
            Extent::Items(items) => (items.max(1), BYTES_MAX),
            Extent::PerMillion(share) => {
                let items = u128::from(description.items) * u128::from(share) / 1_000_000;
                (u64::try_from(items).unwrap_or(u64::MAX).max(1), BYTES_MAX)
            }
        };
        // of large items there are fewer in as many bytes
        let bytes = description.bytes.unwrap_or(0).max(1);
        let within = u128::from(description.items) * u128::from(bytes_max) / u128::from(bytes);
        let items_max = items_max.min(u64::try_from(within).unwrap_or(u64::MAX).max(1));
        let mut random = StdRng::seed_from_u64(seed);
        let mut units: Vec<&Unit> = description.units.iter().collect();
        let mut quota = u64::MAX;
        if description.exact && description.items > items_max {
            by_weight(&mut units, &mut random);
            units.truncate(affordable(&units, description.items, description.bytes));
            quota = items_max.div_ceil(units.len().max(1) as u64);
        } else {
            units.shuffle(&mut random);
        }
        Sampling {
            source,
            units,
            quota,
            items_max,
            bytes_max,
            next: AtomicUsize::new(0),
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            taken: Mutex::default(),
            failed: CancellationToken::new(),
        }
    }

    fn full(&self) -> bool {
        self.items.load(Ordering::Relaxed) >= self.items_max || self.bytes.load(Ordering::Relaxed) >= self.bytes_max
    }

    fn read_units(&self) -> Result<()> {
        while !self.failed.is_cancelled() && !self.full() {
            let Some(unit) = self.units.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            // a segment is read as far as it goes
            let items = std::iter::once(0..unit.items.unwrap_or(u64::MAX).min(self.quota)).collect();
            let wanted = Wanted { items, after: None };
            let read = self.source.open(unit.id, &wanted).and_then(|reader| self.read_unit(unit, reader));
            let read = read.inspect_err(|_| self.failed.cancel())?;
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).units.push(read);
        }
        Ok(())
    }

    /// Reads what is wanted of a unit. A segment is read on when there is enough: half of it would tell nothing.
    fn read_unit(&self, unit: &Unit, mut reader: Box<dyn UnitReader>) -> Result<TakenUnit> {
        let mut read = TakenUnit { name: unit.name.clone(), items: 0, ended: false };
        let mut bytes = 0;
        loop {
            if let Some(items) = unit.items {
                let all = read.items >= items;
                if !all && (read.items >= self.quota || self.bytes.load(Ordering::Relaxed) >= self.bytes_max) {
                    return Ok(read);
                }
            } else if bytes >= SEGMENT_MAX {
                return Ok(read);
            }
            match reader.next(&self.failed)? {
                Read::Page(page) => {
                    read.items += page.span.items();
                    bytes += page.bytes.len() as u64;
                    self.bytes.fetch_add(page.bytes.len() as u64, Ordering::Relaxed);
                    self.items.fetch_add(page.span.items(), Ordering::Relaxed);
                    let packed = Packed::new(&page.bytes);
                    self.taken.lock().unwrap_or_else(PoisonError::into_inner).pages.push(packed);
                    self.source.take_back(page.bytes);
                }
                Read::Empty => {}
                Read::End => {
                    read.ended = unit.items.is_none_or(|items| read.items >= items);
                    return Ok(read);
                }
                Read::Halted => return Ok(read),
                Read::Stop(why) => return Err(Error::config(why)),
            }
        }
    }
}

/// Shuffles so that a unit with twice the items is twice as likely to come first (Efraimidis and Spirakis 2006).
fn by_weight(units: &mut Vec<&Unit>, random: &mut StdRng) {
    let mut keyed: Vec<(f64, &Unit)> = units
        .drain(..)
        .map(|unit| {
            let chance: f64 = random.random();
            (chance.max(f64::MIN_POSITIVE).ln() / unit.items.unwrap_or(1).max(1) as f64, unit)
        })
        .collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0));
    units.extend(keyed.into_iter().map(|(_, unit)| unit));
}

/// How many of the files are read.
fn affordable(units: &[&Unit], items: u64, bytes: Option<u64>) -> usize {
    let item = bytes.unwrap_or(0) as f64 / items.max(1) as f64;
    let mut sum = 0.0;
    let within = units.iter().take_while(|unit| {
        sum += item * unit.items.unwrap_or(0) as f64;
        sum <= FILE_BYTES
    });
    within.count().clamp(FILES_LEAST, FILES).min(units.len())
}
