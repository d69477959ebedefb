//! What readers and writers have in common: a request to come, the request at the server, and what is left of it.

use super::capacity::Touch;
use super::load::Load;
use super::scan::Scan;
use super::scenario::Scenario;
use rand::rngs::StdRng;
use std::time::Duration;
use transvase::limit::limiter::{Ask, Limiter};

pub(crate) enum Work {
    Scan(Scan),
    Load(Load),
}

/// A request that was granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) key: u32,
    pub(crate) limit: Option<u32>,
}

impl Work {
    pub(crate) fn new(scenario: &Scenario, rng: &mut StdRng) -> Work {
        if scenario.write { Work::Load(Load::new(scenario)) } else { Work::Scan(Scan::new(scenario, rng)) }
    }

    /// The neediest segment or lane that nobody works on and that does not rest; or when one will be ready.
    pub(crate) fn pick(&mut self, limiter: &mut Limiter, now: Duration) -> Result<(Request, Ask), Option<Duration>> {
        match self {
            Work::Scan(scan) => scan.pick(limiter, now),
            Work::Load(load) => load.pick(limiter, now),
        }
    }

    /// What the request touches at the server: one page, or each item of a batch.
    pub(crate) fn touches(&mut self, request: &Request, rng: &mut StdRng) -> Vec<Touch> {
        match self {
            Work::Scan(scan) => vec![scan.touch(request, rng)],
            Work::Load(load) => load.touches(request, rng),
        }
    }

    /// The answer came: which of the touches passed. None when nobody knows.
    pub(crate) fn answered(&mut self, request: &Request, passed: Option<&[bool]>, limiter: &mut Limiter) {
        match self {
            Work::Scan(scan) => scan.answered(request, passed.is_some_and(|passed| passed[0]), limiter),
            Work::Load(load) => load.answered(request, passed),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        match self {
            Work::Scan(scan) => scan.is_done(),
            Work::Load(load) => load.is_done(),
        }
    }
}
