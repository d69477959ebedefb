//! How large a page to ask for, and what it will cost at most.
//!
//! A full page is 1 MB: 128 units, or 256 with consistent reads, charged in one go. A table of 5 units a second must not
//! be hit by that, and 300 segments must not all be surprised by it at once. So `Limit` bounds each page twice: by what
//! the rate allows, and by four times what the segment's last page cost, so that a segment that was empty so far grows
//! into full pages within three requests. The estimate is the cost if all items allowed are there.

use std::collections::BTreeMap;

/// What a segment's first page may cost, and any page after it; four of it are a sixteenth of a full page.
const FIRST: f64 = 8.0;
/// How much dearer a page may be than the last one of its segment.
const GROWTH: f64 = 4.0;
/// How much a new page counts beside the old ones.
const NEW: f64 = 0.3;
/// The least that any page costs, and what its cost is rounded up to.
const LEAST: f64 = 0.5;
/// Of that, so much is rounding, on the average.
const ROUNDING: f64 = LEAST / 2.0;
/// A page that cost no more is mostly rounding.
const SMALL: f64 = 4.0 * LEAST;

/// What the pages of one table have cost.
#[derive(Debug)]
pub struct Pages {
    full: f64,
    overall: f64,
    segments: BTreeMap<u32, Segment>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    item: f64,
    last: f64,
}

/// A page to ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PageSize {
    /// Scan's `Limit`; none for a full page.
    pub limit: Option<u32>,
    /// Units that it is expected to cost at most.
    pub estimate: f64,
}

impl Pages {
    /// `item_bytes` is the table's mean item, as DescribeTable gives size and count; none when it does not.
    #[must_use]
    pub fn new(item_bytes: Option<f64>, consistent: bool) -> Self {
        let factor = if consistent { 2.0 } else { 1.0 };
        // without a mean, items of 4 KB: most are smaller, so that a guess too high only makes the first pages small
        let item = item_bytes.filter(|bytes| *bytes >= 1.0).unwrap_or(4096.0) / 8192.0;
        Pages { full: 128.0 * factor, overall: item * factor, segments: BTreeMap::new() }
    }

    /// The next page of `segment`, when it should cost `most` units; at least one item.
    #[must_use]
    pub fn next(&self, segment: u32, most: f64) -> PageSize {
        let known = self.segments.get(&segment);
        let item = known.map_or(self.overall, |known| known.item);
        let grown = known.map_or(FIRST, |known| (known.last * GROWTH).max(FIRST));
        let most = most.min(grown);
        if most >= self.full {
            return PageSize { limit: None, estimate: self.full };
        }
        let items = (most / item).floor().clamp(1.0, 1e6);
        // rounded up once for a page, by half a unit at most
        let estimate = (items * item + LEAST).min(self.full);
        PageSize { limit: Some(whole(items)), estimate }
    }

    /// A page of `segment` held `items` and cost `units`.
    pub fn learn(&mut self, segment: u32, items: u64, units: f64) {
        let overall = self.overall;
        let known = self.segments.entry(segment).or_insert(Segment { item: overall, last: 0.0 });
        known.last = units;
        if items == 0 {
            return;
        }
        // To count the rounding for the items would make a page of one look as dear as it costs, the next as small, and so
        // on: a slow reader would never ask for more than one.
        let cost = if units <= SMALL { (units - ROUNDING).max(ROUNDING) } else { units };
        let item = cost / to_float(items);
        // up at once, down slowly: a page too dear is worse than one too small
        let mixed = known.item * (1.0 - NEW) + item * NEW;
        known.item = mixed.max(item);
        self.overall = overall * (1.0 - NEW / 4.0) + item * NEW / 4.0;
    }

    /// The segment has ended.
    pub fn forget(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1 to a million before")]
fn whole(items: f64) -> u32 {
    items as u32
}

#[expect(clippy::cast_precision_loss, reason = "items of one page: far below 2^52")]
fn to_float(items: u64) -> f64 {
    items as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_budget_asks_for_few_items_and_at_least_one() {
        let pages = Pages::new(Some(1024.0), false);
        let page = pages.next(0, 1.25);
        assert_eq!(page.limit, Some(10));
        assert!(page.estimate <= 1.8);
        let large = Pages::new(Some(400.0 * 1024.0), false);
        assert_eq!(large.next(0, 1.25), PageSize { limit: Some(1), estimate: 50.5 });
    }

    #[test]
    fn a_segment_grows_into_full_pages_within_three_requests() {
        let mut pages = Pages::new(Some(1024.0), false);
        let mut costs = Vec::new();
        loop {
            let page = pages.next(0, f64::INFINITY);
            let Some(limit) = page.limit else { break };
            costs.push(page.estimate);
            pages.learn(0, u64::from(limit), f64::from(limit) / 8.0);
        }
        assert!(costs.len() <= 3 && costs[0] <= 9.0, "{costs:?}");
        assert_eq!(pages.next(0, f64::INFINITY), PageSize { limit: None, estimate: 128.0 });
        assert!(pages.next(1, f64::INFINITY).limit.is_some(), "and another segment begins small");
    }

    #[test]
    fn after_empty_pages_a_full_one_is_no_surprise() {
        let mut pages = Pages::new(Some(1024.0), false);
        pages.learn(0, 8000, 128.0);
        pages.learn(0, 0, 0.5);
        assert!(pages.next(0, f64::INFINITY).estimate < 10.0);
    }

    #[test]
    fn a_consistent_page_costs_twice_as_much() {
        let mut pages = Pages::new(Some(1024.0), true);
        pages.learn(0, 1000, 250.0);
        assert_eq!(pages.next(0, f64::INFINITY), PageSize { limit: None, estimate: 256.0 });
        assert_eq!(Pages::new(Some(1024.0), true).next(0, 1.25).limit, Some(5));
    }

    #[test]
    fn small_pages_of_small_items_grow_until_they_cost_what_they_may() {
        let real = |items: u32| (f64::from(items) * 200.0 / 4096.0).ceil() * 0.5;
        let mut pages = Pages::new(Some(200.0), false);
        pages.learn(0, 1, 0.5);
        for _ in 0..20 {
            let limit = pages.next(0, 0.5).limit.unwrap();
            pages.learn(0, u64::from(limit), real(limit));
        }
        let limit = pages.next(0, 0.5).limit.unwrap();
        assert!(limit >= 10 && real(limit) <= 1.0, "{limit}");
    }

    #[test]
    fn larger_items_shrink_the_next_page_at_once() {
        let mut pages = Pages::new(Some(1024.0), false);
        pages.learn(0, 10, 500.0);
        assert_eq!(pages.next(0, 10.0).limit, Some(1));
    }
}
