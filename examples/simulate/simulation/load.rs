//! A load: lanes that write batches of 25 items, each to its own place of the key space.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a scenario, above zero and far below 2^52"
)]

use super::capacity::{Direction, Side, Touch};
use super::scenario::Scenario;
use super::work::Request;
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;
use transvase::limit::limiter::{Ask, Limiter};

/// Items of one call at most.
const BATCH: usize = 25;

pub(crate) struct Load {
    lanes: Vec<Lane>,
    left: f64,
    item: f64,
    /// Units of each index for one unit of the table.
    ratios: Vec<f64>,
    key_space: f64,
    total: f64,
}

#[derive(Clone, Default)]
struct Lane {
    busy: bool,
    items: usize,
}

impl Load {
    pub(crate) fn new(scenario: &Scenario) -> Load {
        Load {
            lanes: vec![Lane::default(); scenario.data.segments as usize],
            left: scenario.data.items,
            item: (scenario.data.item_bytes / 1024.0).ceil(),
            ratios: scenario.index.iter().map(|index| index.ratio).collect(),
            key_space: scenario.data.key_space,
            total: scenario.data.items,
        }
    }

    pub(crate) fn pick(&mut self, limiter: &mut Limiter, now: Duration) -> Result<(Request, Ask), Option<Duration>> {
        let mut soonest: Option<Duration> = None;
        let most = limiter.page_most(0, now) / self.item;
        for (number, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.busy) {
            let key = number as u32;
            let ready = limiter.ready_at(key, now);
            if lane.items == 0 && self.left < 1.0 {
                continue;
            }
            if ready > now {
                soonest = Some(soonest.map_or(ready, |soonest| soonest.min(ready)));
                continue;
            }
            let wanted = (most as usize).clamp(1, BATCH);
            let fresh = wanted.saturating_sub(lane.items).min(self.left as usize);
            self.left -= fresh as f64;
            lane.items += fresh;
            lane.busy = true;
            let estimate = lane.items as f64 * self.item;
            return Ok((Request { key, limit: None }, Ask { key, need: 0, estimate }));
        }
        Err(soonest)
    }

    pub(crate) fn touches(&mut self, request: &Request, rng: &mut StdRng) -> Vec<Touch> {
        // hash order: what is written marches through the key space, at a width that the shuffle gives it
        let progress = (1.0 - self.left / self.total) * (1.0 - self.key_space);
        let (width, item) = (self.key_space, self.item);
        let touch = |_| Touch {
            direction: Direction::Write,
            position: progress + rng.random_range(0.0..1.0) * width,
            units: item,
            indexes: self.ratios.iter().enumerate().map(|(i, ratio)| (i, rng.random(), item * ratio)).collect(),
        };
        (0..self.lanes[request.key as usize].items).map(touch).collect()
    }

    pub(crate) fn answered(&mut self, request: &Request, passed: Option<&[bool]>) {
        let lane = &mut self.lanes[request.key as usize];
        lane.busy = false;
        if let Some(passed) = passed {
            lane.items -= passed.iter().filter(|passed| **passed).count();
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left < 1.0 && self.lanes.iter().all(|lane| lane.items == 0)
    }

    /// Units of the table that its partitions could take in the next second.
    pub(crate) fn reachable(&self, side: &Side) -> f64 {
        let left = self.left + self.lanes.iter().map(|lane| lane.items as f64).sum::<f64>();
        let partitions = (side.partitions() as f64 * self.key_space).max(1.0);
        (left * self.item).min(partitions * side.partition_rate())
    }

    pub(crate) fn ideal_seconds(&self, rate: f64, side: &Side) -> f64 {
        let partitions = (side.partitions() as f64 * self.key_space).max(1.0);
        self.total * self.item / rate.min(partitions * side.partition_rate())
    }

    pub(crate) fn largest_item(&self) -> f64 {
        self.item
    }

    pub(crate) fn ratios(&self) -> &[f64] {
        &self.ratios
    }
}
