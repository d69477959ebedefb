//! Who may send the next request, and when: one limiter per table and direction.
//!
//! A caller asks, polls, sends what was granted, and settles each with what came of it. Promises:
//! - Passing needs a level above zero in the bucket of the table and of every index that is fed, and a key that does not
//!   rest. What passes takes its estimate at once and is charged what it cost afterwards.
//! - Of those that wait, the neediest passes first.
//! - A throttle slows what it names: a key range the key that met it, an index or the table all requests. A reason that
//!   was not stated is taken for the key's, until a second key meets it within a second.
//! - Nothing waits for ever: every rest ends, no rate falls below a request in ten seconds or so.

use super::keys::Keys;
use super::rate::Rate;
use super::resource::{Refusal, Resource};
use super::throttle::{ThrottleReason, What};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// Keys that are refused without a reason this close together point at the table.
const TOGETHER: Duration = Duration::from_secs(1);
/// A page costs at most this many seconds of the rate, so that several follow each other closely (see [`clumping`](super::bucket::Bucket::clumping)),
const PAGE_SECONDS: f64 = 0.05;
/// or so many units where that is more: below, the rounding up to 4 KB eats too much of it,
const PAGE_UNITS: f64 = 8.0;
/// but never more than so many seconds, or one item.
const PAGE_SECONDS_MAX: f64 = 0.5;
/// How much a new ratio of index to table charge counts beside the old ones.
const RATIO_NEW: f64 = 0.2;

/// A wish to send one request.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The segment, or the lane of keys.
    pub key: u32,
    /// Higher is served first; see [`need`](super::need::need).
    pub need: u64,
    /// What it will cost, in units; better too much than too little. See [`pages`](super::pages).
    pub estimate: f64,
}

/// Stands for one ask until it is settled or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What a poll decided.
#[derive(Debug, Default)]
pub struct Poll {
    /// These may send now.
    pub granted: Vec<Ticket>,
    /// When to poll again, unless something is asked or settled before; none when nobody waits.
    pub next: Option<Duration>,
}

/// What came of a granted request.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// It was served and cost so many units. A failed condition is charged by estimate, as no charge is reported.
    Charged(f64),
    /// It was served, with the charge of indexes told apart. `units` is the total, the indexes' included.
    Written {
        /// Units of the table and its indexes together.
        units: f64,
        /// Units of each index by name.
        indexes: &'a [(String, f64)],
        /// Whether items were handed back unprocessed: a throttle without a reason.
        unprocessed: bool,
    },
    /// It was refused, and cost nothing.
    Throttled(&'a [ThrottleReason]),
    /// A timeout, a lost connection, a failure of the server: it may have been served, and is charged by estimate.
    Unknown,
}

/// What a page of a scan at this rate costs at most, when nothing slows it, in units.
#[must_use]
pub fn page_units(rate: Rate) -> f64 {
    page_most(rate.units(), rate.units())
}

/// Of `table` units a second, where the page's own key range allows `zone`.
fn page_most(table: f64, zone: f64) -> f64 {
    (table * PAGE_SECONDS).max(PAGE_UNITS).min(table.min(zone) * PAGE_SECONDS_MAX)
}

/// What keeps those that wait from passing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// The budget that was given.
    Budget,
    /// The budget of the index named.
    IndexBudget(String),
    /// The server: less than the budget passes, for this reason.
    Throttled(ThrottleReason),
    /// All that wait belong to partitions that are out of capacity; so many segments are slowed.
    KeyRange(usize),
    /// All that wait rest after requests that failed.
    Failures,
}

/// An index that writes feed.
#[derive(Debug)]
struct Index {
    name: String,
    resource: Resource,
    /// Units charged for each unit of the table.
    ratio: f64,
}

/// The order of those that wait: by need, then by age.
type Place = (Reverse<u64>, Ticket);

#[derive(Debug)]
struct Sent {
    ask: Ask,
    at: Duration,
}

/// One table, one direction.
#[derive(Debug)]
pub struct Limiter {
    table: Resource,
    indexes: Vec<Index>,
    keys: Keys,
    /// Processes that use the same budgets.
    processes: u32,
    waiting: BTreeMap<Place, Ask>,
    sent: BTreeMap<Ticket, Sent>,
    tickets: u64,
    unstated: Option<(u32, Duration)>,
    /// Whether those left waiting by the last poll wait for their keys only.
    all_rest: bool,
}

impl Limiter {
    /// A limiter that passes `rate` at most.
    #[must_use]
    pub fn new(rate: Rate, now: Duration) -> Self {
        Limiter::seeded(rate, now, 1)
    }

    /// The same, with jitter that follows from `seed`.
    #[must_use]
    pub fn seeded(rate: Rate, now: Duration, seed: u64) -> Self {
        Limiter {
            table: Resource::new(rate, now),
            indexes: Vec::new(),
            keys: Keys::new(seed),
            processes: 1,
            waiting: BTreeMap::new(),
            sent: BTreeMap::new(),
            tickets: 0,
            unstated: None,
            all_rest: false,
        }
    }

    /// So many processes use the same budgets, this one included: each takes an equal part of each.
    pub fn share_among(&mut self, processes: u32, now: Duration) {
        self.processes = processes;
        self.table.share_among(processes, now);
        for index in &mut self.indexes {
            index.resource.share_among(processes, now);
        }
    }

    /// Sets another rate for the table.
    pub fn set_rate(&mut self, rate: Rate, now: Duration) {
        self.table.set_budget(rate, now);
    }

    /// Sets the rate of an index that writes feed; it is added when it is not known yet.
    pub fn set_index_rate(&mut self, name: &str, rate: Rate, now: Duration) {
        match self.indexes.iter_mut().find(|index| index.name == name) {
            Some(index) => index.resource.set_budget(rate, now),
            None => {
                let mut resource = Resource::new(rate, now);
                resource.share_among(self.processes, now);
                self.indexes.push(Index { name: name.to_string(), resource, ratio: 1.0 });
            }
        }
    }

    /// Says that the keys are scan segments, so many, of a table of about so many partitions: neighbours then share
    /// what a throttle teaches. To be said before anything is asked.
    pub fn lay_out(&mut self, segments: u32, partitions: u32) {
        self.keys.lay_out(segments, partitions);
    }

    /// Asks to send a request. Poll afterwards.
    pub fn ask(&mut self, ask: Ask, now: Duration) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.waiting.insert((Reverse(ask.need), ticket), ask);
        self.keys.waits(ask.key, now);
        ticket
    }

    /// Lets through what may pass now.
    pub fn poll(&mut self, now: Duration) -> Poll {
        let mut poll = Poll::default();
        let mut passed_over = None;
        while let Some(place) = self.next_ready(&mut passed_over, &mut poll.next, now) {
            if let Some(wait) = self.capacity_wait(now) {
                poll.next = Some(now + wait);
                break;
            }
            let Some(ask) = self.waiting.remove(&place) else { break };
            self.table.reserve(ask.estimate, now);
            for index in &mut self.indexes {
                index.resource.reserve(ask.estimate * index.ratio, now);
            }
            self.keys.waits_no_more(ask.key, now);
            self.keys.reserve(ask.key, ask.estimate, now);
            self.sent.insert(place.1, Sent { ask, at: now });
            poll.granted.push(place.1);
        }
        self.all_rest = self.capacity_wait(now).is_none();
        poll
    }

    /// The neediest ask whose key does not rest, from `passed_over` on; `next` becomes the end of the shortest rest.
    fn next_ready(
        &mut self,
        passed_over: &mut Option<Place>,
        next: &mut Option<Duration>,
        now: Duration,
    ) -> Option<Place> {
        let from = passed_over.map_or(Bound::Unbounded, Bound::Excluded);
        for (place, ask) in self.waiting.range((from, Bound::Unbounded)) {
            let ready = self.keys.ready_at(ask.key, now);
            if ready <= now {
                return Some(*place);
            }
            *next = Some(next.map_or(ready, |next| next.min(ready)));
            *passed_over = Some(*place);
        }
        None
    }

    /// Says what came of a granted request. A ticket that is not under way is passed over.
    pub fn settle(&mut self, ticket: Ticket, outcome: Outcome<'_>, now: Duration) {
        let Some(sent) = self.sent.remove(&ticket) else { return };
        match outcome {
            Outcome::Charged(units) => self.charge(&sent, units, None, now),
            Outcome::Written { units, indexes, unprocessed } => {
                let of_indexes: f64 = indexes.iter().map(|(_, units)| units).sum();
                self.charge(&sent, (units - of_indexes).max(0.0), Some(indexes), now);
                if unprocessed {
                    let part = (1.0 - (units - of_indexes) / sent.ask.estimate).clamp(0.0, 1.0);
                    self.throttled(&sent, part, &ThrottleReason::unstated(true), now);
                }
            }
            Outcome::Throttled(reasons) => {
                self.charge_nothing(&sent, now);
                for reason in reasons {
                    self.throttled(&sent, 1.0, reason, now);
                }
                if reasons.is_empty() {
                    self.throttled(&sent, 1.0, &ThrottleReason::unstated(false), now);
                }
            }
            // what was reserved stays taken
            Outcome::Unknown => self.keys.failed(sent.ask.key, now),
        }
    }

    /// Takes back an ask. One that was granted must not have been sent.
    pub fn cancel(&mut self, ticket: Ticket, now: Duration) {
        let place = self.waiting.keys().find(|(_, waiting)| *waiting == ticket).copied();
        if let Some(ask) = place.and_then(|place| self.waiting.remove(&place)) {
            self.keys.waits_no_more(ask.key, now);
        }
        if let Some(sent) = self.sent.remove(&ticket) {
            self.charge_nothing(&sent, now);
        }
    }

    /// The key has ended; nothing more will be asked for it.
    pub fn forget(&mut self, key: u32) {
        self.keys.forget(key);
    }

    /// When it makes sense to ask for `key`. A reader that is to choose among segments passes over those that rest,
    /// rather than to wait with one of them.
    pub fn ready_at(&mut self, key: u32, now: Duration) -> Duration {
        self.keys.free_at(key, now)
    }

    /// The most a request of `key` should cost, in units: a small part of what may pass in a second. Infinite without a
    /// limit.
    #[must_use]
    pub fn page_most(&self, key: u32, now: Duration) -> f64 {
        let (table, zone) = (self.table.rate(now), self.keys.rate(key, now));
        page_most(table, zone)
    }

    /// Units per second that may pass now, budget and throttles taken together.
    #[must_use]
    pub fn rate(&self, now: Duration) -> Rate {
        Rate::per_second(self.table.rate(now))
    }

    /// What keeps those that wait from passing; none when nobody waits.
    #[must_use]
    pub fn limited_by(&self, now: Duration) -> Option<LimitedBy> {
        if self.waiting.is_empty() {
            return None;
        }
        if self.all_rest {
            return Some(match self.keys.slowed(now) {
                0 => LimitedBy::Failures,
                slowed => LimitedBy::KeyRange(slowed),
            });
        }
        let slowed = |resource: &Resource| resource.reason(now).cloned().map(LimitedBy::Throttled);
        let narrowest = self
            .indexes
            .iter()
            .filter(|index| index.resource.rate(now) / index.ratio < self.table.rate(now))
            .min_by(|a, b| (a.resource.rate(now) / a.ratio).total_cmp(&(b.resource.rate(now) / b.ratio)));
        match narrowest {
            Some(index) => slowed(&index.resource).or_else(|| Some(LimitedBy::IndexBudget(index.name.clone()))),
            None => slowed(&self.table).or_else(|| self.table.is_limited().then_some(LimitedBy::Budget)),
        }
    }

    /// How long until the buckets of the table and all indexes let something pass; none when they do now.
    fn capacity_wait(&mut self, now: Duration) -> Option<Duration> {
        let indexes = self.indexes.iter_mut().filter_map(|index| index.resource.wait(now)).max();
        self.table.wait(now).max(indexes)
    }

    /// Charges what was served. `units` are the table's own; without `indexes` theirs are taken to be as estimated.
    fn charge(&mut self, sent: &Sent, units: f64, indexes: Option<&[(String, f64)]>, now: Duration) {
        let estimate = sent.ask.estimate;
        self.table.charge(estimate, units, now);
        self.keys.charge(sent.ask.key, estimate, units, now);
        for (name, _) in indexes.into_iter().flatten() {
            self.index(name, now);
        }
        for index in &mut self.indexes {
            let reserved = estimate * index.ratio;
            let charged = indexes.map(|charged| charged.iter().find(|(name, _)| *name == index.name));
            let actual = charged.map_or(units * index.ratio, |charge| charge.map_or(0.0, |(_, units)| *units));
            index.resource.charge(reserved, actual, now);
            if units > 0.0 && indexes.is_some() {
                index.ratio = (index.ratio * (1.0 - RATIO_NEW) + actual / units * RATIO_NEW).max(0.001);
            }
        }
    }

    fn charge_nothing(&mut self, sent: &Sent, now: Duration) {
        let estimate = sent.ask.estimate;
        self.table.charge(estimate, 0.0, now);
        self.keys.refund(sent.ask.key, estimate, now);
        for index in &mut self.indexes {
            index.resource.charge(estimate * index.ratio, 0.0, now);
        }
    }

    /// `part` of what was sent was refused, 0 to 1.
    fn throttled(&mut self, sent: &Sent, part: f64, reason: &ThrottleReason, now: Duration) {
        let key = sent.ask.key;
        let refusal = Refusal { sent: sent.at, request: sent.ask.estimate, part };
        let of_table = match &reason.what {
            What::TableKeyRange | What::IndexKeyRange(_) => false,
            What::IndexProvisioned(name) | What::IndexOnDemandMax(name) | What::IndexAccount(name) => {
                let at = self.index(name, now);
                let index = &mut self.indexes[at];
                let refusal = Refusal { request: refusal.request * index.ratio, ..refusal };
                index.resource.throttled(reason, refusal, now);
                return;
            }
            What::TableProvisioned | What::TableOnDemandMax | What::TableAccount => true,
            What::Unstated => {
                let before = self.unstated.replace((key, now));
                before.is_some_and(|(other, at)| other != key && now.saturating_sub(at) <= TOGETHER)
            }
        };
        if of_table {
            self.table.throttled(reason, refusal, now);
        } else {
            self.keys.throttled(key, refusal, now);
        }
    }

    /// Where the index named lies; one that nobody gave a budget is limited by what throttles teach, and is taken to have
    /// been used as the table was.
    fn index(&mut self, name: &str, now: Duration) -> usize {
        if let Some(at) = self.indexes.iter().position(|index| index.name == name) {
            return at;
        }
        let resource = self.table.like_unlimited(now);
        self.indexes.push(Index { name: name.to_string(), resource, ratio: 1.0 });
        self.indexes.len() - 1
    }
}

#[cfg(test)]
mod tests;
