//! The work queue: pages of many units, bounded by bytes, left in seeded random order.
//!
//! Random order keeps neighbours of one hash range from arriving together at one place of the target. The bound is
//! the whole of backpressure: a page's [`Permit`] is taken before it is read and lives until its batch is durable.

use crate::model::page::Page;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Bytes in flight.
pub struct Budget {
    limit: usize,
    used: Mutex<usize>,
    freed: Condvar,
}

/// A share of the budget; dropping it gives it back.
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Budget { limit, used: Mutex::new(0), freed: Condvar::new() })
    }

    /// Takes `bytes`, waiting until they are free. A request is also met when nothing else is in flight, so that one
    /// item larger than the budget still passes, alone. Blocks the thread; gives up when `stop` says so.
    pub fn take(self: &Arc<Self>, bytes: usize, stop: &dyn Fn() -> bool) -> Option<Permit> {
        let mut used = self.lock();
        while *used > 0 && *used + bytes > self.limit {
            if stop() {
                return None;
            }
            let wait = std::time::Duration::from_millis(100);
            used = self.freed.wait_timeout(used, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        *used += bytes;
        Some(Permit { budget: Arc::clone(self), bytes })
    }

    /// Bytes taken now.
    #[must_use]
    pub fn used(&self) -> usize {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Corrects the share to what is really held. Growth is not waited for: the memory is there already, and the next
    /// reader waits the longer.
    pub fn settle(&mut self, bytes: usize) {
        let mut used = self.budget.lock();
        *used = *used + bytes - self.bytes;
        self.bytes = bytes;
        drop(used);
        self.budget.freed.notify_all();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.lock() -= self.bytes;
        self.budget.freed.notify_all();
    }
}

/// A page on its way, with its share of the budget.
pub struct Queued {
    /// The page.
    pub page: Page,
    /// Which reading of its unit it belongs to.
    pub reading: u32,
    /// Its share.
    pub permit: Permit,
}

/// The pages that wait for a worker.
pub struct WorkQueue {
    state: Mutex<State>,
    arrived: Notify,
}

struct State {
    pages: Vec<Queued>,
    rng: StdRng,
    closed: bool,
}

impl WorkQueue {
    /// An empty queue, shuffled by `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State { pages: Vec::new(), rng: StdRng::seed_from_u64(seed), closed: false };
        WorkQueue { state: Mutex::new(state), arrived: Notify::new() }
    }

    /// Adds a page.
    pub fn push(&self, queued: Queued) {
        self.lock().pages.push(queued);
        self.arrived.notify_one();
    }

    /// No more pages will come; those that wait are still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_waiters();
    }

    /// How many pages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().pages.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A page drawn at random from those that wait; of a live unit, its first that waits, so that no lane carries a page
    /// whose predecessor nobody carries. Waits for one. None when the queue is closed and empty.
    pub async fn pop(&self) -> Option<Queued> {
        loop {
            // Armed before looking, so that a push between the look and the wait is not missed.
            let arrived = self.arrived.notified();
            {
                let mut state = self.lock();
                if !state.pages.is_empty() {
                    let count = state.pages.len();
                    let drawn = state.rng.random_range(0..count);
                    let drawn = first_of_unit(&state.pages, drawn);
                    if count > 1 {
                        self.arrived.notify_one();
                    }
                    return Some(state.pages.swap_remove(drawn));
                }
                if state.closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_of_unit(pages: &[Queued], drawn: usize) -> usize {
    let page = &pages[drawn].page;
    if !page.is_live() {
        return drawn;
    }
    let same = pages.iter().enumerate().filter(|(_, queued)| queued.page.span.unit == page.span.unit);
    same.min_by_key(|(_, queued)| (queued.reading, queued.page.span.from)).map_or(drawn, |(first, _)| first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::page::Span;

    fn page(unit: u32, budget: &Arc<Budget>) -> Queued {
        let page = Page { span: Span { unit, from: 0, to: 1 }, bytes: vec![b'\n'], reached: None };
        Queued { page, reading: 0, permit: budget.take(10, &|| false).unwrap() }
    }

    #[tokio::test]
    async fn pages_leave_in_an_order_that_the_seed_decides() {
        let budget = Budget::new(10_000);
        let mut orders = Vec::new();
        for seed in [1, 1, 2] {
            let queue = WorkQueue::new(seed);
            (0..50).for_each(|unit| queue.push(page(unit, &budget)));
            queue.close();
            let mut order = Vec::new();
            while let Some(queued) = queue.pop().await {
                order.push(queued.page.span.unit);
            }
            orders.push(order);
        }
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
        assert_ne!(orders[0], (0..50).collect::<Vec<_>>());
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn pages_of_a_live_unit_leave_in_order_and_those_of_others_between_them() {
        let budget = Budget::new(10_000);
        let queue = WorkQueue::new(5);
        for place in (0..60).rev() {
            let mut queued = page(place % 3, &budget);
            queued.page.span = Span { unit: place % 3, from: u64::from(place), to: u64::from(place) + 1 };
            queued.page.reached = Some("somewhere".into());
            queue.push(queued);
        }
        queue.close();
        let mut order = Vec::new();
        while let Some(queued) = queue.pop().await {
            order.push((queued.page.span.unit, queued.page.span.from));
        }
        for unit in 0..3 {
            let own: Vec<u64> = order.iter().filter(|page| page.0 == unit).map(|page| page.1).collect();
            assert!(own.is_sorted() && own.len() == 20, "{own:?}");
        }
        assert!(order.windows(2).filter(|pair| pair[0].0 != pair[1].0).count() > 20);
    }

    #[test]
    fn the_budget_holds_back_and_lets_one_giant_pass_alone() {
        let budget = Budget::new(100);
        let first = budget.take(80, &|| true).unwrap();
        assert!(budget.take(30, &|| true).is_none());
        let mut second = budget.take(20, &|| true).unwrap();
        second.settle(60);
        assert_eq!(budget.used(), 140);
        drop(first);
        drop(second);
        assert!(budget.take(5000, &|| true).is_some());
    }
}
