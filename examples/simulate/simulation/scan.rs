//! A scan: segments with their data, which page is next, what it costs.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and bytes of a scenario, above zero and far below 2^52"
)]

use super::capacity::{Direction, Side, Touch};
use super::scenario::{Data, Latency, Scenario};
use super::work::Request;
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;
use transvase::limit::limiter::{Ask, Limiter};
use transvase::limit::need::need;
use transvase::limit::pages::Pages;

/// Bytes of a full page.
const PAGE: f64 = 1_048_576.0;
/// Bytes that one eventually consistent unit reads.
const UNIT: f64 = 8192.0;
const GIANT: f64 = 400.0 * 1024.0;

pub(crate) struct Scan {
    segments: Vec<Segment>,
    pages: Pages,
    mean: f64,
    total: f64,
    data: Data,
    /// Units per second of one segment that is read one full page after another.
    sequential: f64,
}

struct Segment {
    start: f64,
    bytes: f64,
    read: f64,
    empty_pages: u32,
    /// Among equals, the order is a shuffled one: neighbours lie in one partition.
    place: u32,
    busy: bool,
    ended: bool,
    page: Page,
}

/// A page under way.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    bytes: f64,
    items: f64,
    units: f64,
    last: bool,
}

impl Scan {
    pub(crate) fn new(scenario: &Scenario, rng: &mut StdRng) -> Scan {
        let data = &scenario.data;
        let total = data.items * mean_item(data);
        let mut start = 0.0;
        let shares = shares(data, rng);
        let segments: Vec<_> = shares
            .iter()
            .map(|share| {
                let bytes = share * total;
                let empty_pages = if *share == 0.0 { data.empty_pages } else { 0 };
                let (place, page) = (rng.random(), Page::default());
                let segment = Segment { start, bytes, read: 0.0, empty_pages, place, busy: false, ended: false, page };
                start += bytes;
                segment
            })
            .collect();
        Scan {
            mean: total / segments.len() as f64,
            segments,
            // as the table's description gives it: some hours old
            pages: Pages::new(Some(mean_item(data) * 0.9), false),
            total,
            data: data.clone(),
            sequential: PAGE / UNIT / seconds(&scenario.latency, PAGE / UNIT),
        }
    }

    pub(crate) fn pick(&mut self, limiter: &mut Limiter, now: Duration) -> Result<(Request, Ask), Option<Duration>> {
        let mut best: Option<((u64, u32), usize)> = None;
        let mut soonest: Option<Duration> = None;
        for (number, segment) in self.segments.iter().enumerate().filter(|(_, segment)| segment.is_idle()) {
            let ready = limiter.ready_at(number as u32, now);
            let needs = (need(self.mean as u64, segment.read as u64), segment.place);
            if ready > now {
                soonest = Some(soonest.map_or(ready, |soonest| soonest.min(ready)));
            } else if best.is_none_or(|(most, _)| needs > most) {
                best = Some((needs, number));
            }
        }
        let Some(((need, _), number)) = best else { return Err(soonest) };
        self.segments[number].busy = true;
        let key = number as u32;
        let page = self.pages.next(key, limiter.page_most(key, now));
        Ok((Request { key, limit: page.limit }, Ask { key, need, estimate: page.estimate }))
    }

    pub(crate) fn touch(&mut self, request: &Request, rng: &mut StdRng) -> Touch {
        let segment = &mut self.segments[request.key as usize];
        segment.page = if segment.empty_pages > 0 {
            Page { bytes: 0.0, items: 0.0, units: 0.5, last: false }
        } else {
            page(&self.data, segment.bytes - segment.read, request.limit, rng)
        };
        let position = (segment.start + segment.read) / self.total;
        Touch { direction: Direction::Read, position, units: segment.page.units, indexes: Vec::new() }
    }

    pub(crate) fn answered(&mut self, request: &Request, passed: bool, limiter: &mut Limiter) {
        let segment = &mut self.segments[request.key as usize];
        segment.busy = false;
        if !passed {
            return;
        }
        segment.read += segment.page.bytes;
        segment.empty_pages = segment.empty_pages.saturating_sub(1);
        segment.ended = segment.page.last;
        if segment.ended {
            self.pages.forget(request.key);
            limiter.forget(request.key);
        } else {
            self.pages.learn(request.key, segment.page.items as u64, segment.page.units);
        }
    }

    pub(crate) fn segments(&self) -> u32 {
        self.data.segments
    }

    pub(crate) fn is_done(&self) -> bool {
        self.segments.iter().all(|segment| segment.ended)
    }

    /// Units that the partitions which still have work could give in the next second.
    pub(crate) fn reachable(&self, side: &Side) -> f64 {
        let mut partitions = vec![0.0; side.partitions()];
        for segment in self.segments.iter().filter(|segment| !segment.ended) {
            let left = (segment.bytes - segment.read) / UNIT;
            let partition = side.partition((segment.start + segment.read) / self.total);
            partitions[partition] += left.min(self.sequential);
        }
        partitions.iter().map(|units| units.min(side.partition_rate())).sum()
    }

    /// Seconds that the scan takes at least when `rate` units a second may be used: all of it, its longest segment, its
    /// fullest partition.
    pub(crate) fn ideal_seconds(&self, rate: f64, side: &Side) -> f64 {
        let longest = self.segments.iter().map(|segment| segment.bytes / UNIT).fold(0.0, f64::max);
        let each = side.partition_rate();
        let partition = self.total / UNIT / side.partitions() as f64 / each;
        (self.total / UNIT / rate).max(longest / each.min(self.sequential).min(rate)).max(partition)
    }

    /// The largest item there may be, in units.
    pub(crate) fn largest_item(&self) -> f64 {
        if self.data.giants { GIANT / UNIT } else { (self.data.item_bytes * 3.0 / UNIT).max(0.5) }
    }
}

impl Segment {
    fn is_idle(&self) -> bool {
        !self.busy && !self.ended
    }
}

fn mean_item(data: &Data) -> f64 {
    if data.giants { data.item_bytes * 0.99 + GIANT * 0.01 } else { data.item_bytes }
}

/// What each segment holds of the data, in shuffled order.
fn shares(data: &Data, rng: &mut StdRng) -> Vec<f64> {
    let segments = data.segments as usize;
    let full = segments - (segments as f64 * data.empty).round() as usize;
    let mut shares: Vec<f64> =
        (0..segments).map(|number| if number < full { (number as f64 + 1.0).powf(-data.skew) } else { 0.0 }).collect();
    if data.hot > 0.0 {
        let others: f64 = shares[1..].iter().sum();
        shares[0] = others * data.hot / (1.0 - data.hot);
    }
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    for last in (1..segments).rev() {
        shares.swap(last, rng.random_range(0..=last));
    }
    shares
}

/// One page of what is `left`: at most 1 MB and `limit` items. Items are of up to three times the mean.
fn page(data: &Data, left: f64, limit: Option<u32>, rng: &mut StdRng) -> Page {
    let most = limit.map_or(f64::INFINITY, f64::from);
    let (mut bytes, mut items) = (0.0, 0.0);
    if most > 256.0 && !data.giants {
        let mean = data.item_bytes * rng.random_range(0.97..1.03);
        bytes = (most * mean).min(PAGE).min(left);
        items = (bytes / mean).ceil();
    } else {
        while items < most && bytes < PAGE && bytes < left {
            let spread: f64 = rng.random_range(0.0..1.0);
            let item =
                if data.giants && rng.random_bool(0.01) { GIANT } else { data.item_bytes * 3.0 * spread * spread };
            bytes += item.max(100.0).min(left);
            items += 1.0;
        }
        bytes = bytes.min(left).min(PAGE);
    }
    let units = ((bytes / 4096.0).ceil() * 0.5).max(0.5);
    Page { bytes, items, units, last: left - bytes < 1.0 }
}

/// Seconds that a request of so many units takes.
pub(crate) fn seconds(latency: &Latency, units: f64) -> f64 {
    latency.base_ms / 1e3 + units * latency.unit_us / 1e6
}
