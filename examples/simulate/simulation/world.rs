//! One run: events in order of simulated time, between the readers, the limiter and the model of the table.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "partitions of a scenario, above zero and few"
)]

use super::capacity::{Direction, Mode, Reason, Table};
use super::foreground::{Others, TICK};
use super::measure::{Measure, Outcome};
use super::scan::seconds;
use super::scenario::Scenario;
use super::work::{Request, Work};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;
use transvase::limit::budget::{self, Budget};
use transvase::limit::limiter::{self, Ask, Limiter, Ticket};
use transvase::limit::rate::Rate;
use transvase::limit::throttle::ThrottleReason;

/// The table is described again this often.
const DESCRIBE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Somebody may pass, or a rest has ended.
    Wake,
    /// A request reaches the server.
    Arrive(Ticket),
    /// Its answer reaches us.
    Answer(Ticket),
    Foreground,
    Second,
    Describe,
    Change(usize),
}

struct Flight {
    request: Request,
    ask: Ask,
    answer: Option<Answer>,
}

struct Answer {
    /// None when nobody knows.
    passed: Option<Vec<bool>>,
    units: f64,
    indexes: Vec<(String, f64)>,
    reasons: Vec<ThrottleReason>,
}

struct World<'a> {
    scenario: &'a Scenario,
    direction: Direction,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    events_made: u64,
    wake_at: Option<Duration>,
    table: Table,
    limiter: Limiter,
    work: Work,
    waiting: BTreeMap<Ticket, (Request, Ask)>,
    flights: BTreeMap<Ticket, Flight>,
    others: Others,
    /// The table and the others without us.
    alone: (Table, Others),
    measure: Measure,
    rng: StdRng,
    allowed: f64,
    allowed_units: f64,
}

/// Runs a scenario to its end, or until it is cut off.
pub(crate) fn run(scenario: &Scenario, seed: u64) -> Outcome {
    let mut world = World::new(scenario, seed);
    let end = Duration::from_secs(scenario.minutes * 60);
    while !world.work.is_done() {
        let Some(Reverse((at, _, event))) = world.events.pop() else { break };
        if at >= end {
            break;
        }
        world.now = at;
        world.handle(event);
    }
    world.outcome()
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let table = table(scenario);
        let others = || Others::new(scenario.foreground, seed);
        let mut world = World {
            scenario,
            direction: if scenario.write { Direction::Write } else { Direction::Read },
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            events_made: 0,
            wake_at: None,
            alone: (table.clone(), others()),
            table,
            limiter: Limiter::seeded(Rate::per_second(1.0), Duration::ZERO, seed),
            work: Work::new(scenario, &mut rng),
            waiting: BTreeMap::new(),
            flights: BTreeMap::new(),
            others: others(),
            measure: Measure::default(),
            rng,
            allowed: 0.0,
            allowed_units: 0.0,
        };
        world.describe();
        if let Work::Scan(scan) = &world.work {
            // as many as can be told from outside: by the size of the table
            let gigabytes = scenario.data.items * scenario.data.item_bytes / 1e9;
            world.limiter.lay_out(scan.segments(), (gigabytes / 10.0).ceil() as u32);
        }
        for (number, change) in scenario.change.iter().enumerate() {
            world.at(Duration::from_secs_f64(change.minute * 60.0), Event::Change(number));
        }
        world.at(Duration::ZERO, Event::Second);
        world.at(Duration::ZERO, Event::Foreground);
        world.fill();
        world.at(DESCRIBE, Event::Describe);
        world
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.events_made += 1;
        self.events.push(Reverse((at, self.events_made, event)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            // one that was overtaken by an earlier one wakes nobody
            Event::Wake if self.wake_at != Some(self.now) => {}
            Event::Wake => {
                self.wake_at = None;
                self.fill();
            }
            Event::Arrive(ticket) => self.arrive(ticket),
            Event::Answer(ticket) => {
                self.answer(ticket);
                self.fill();
            }
            Event::Foreground => {
                self.others.tick(&mut self.table, self.direction, self.now);
                self.alone.1.tick(&mut self.alone.0, self.direction, self.now);
                self.at(self.now + TICK, Event::Foreground);
            }
            Event::Second => {
                let possible = self.possible();
                self.measure.second(self.allowed, possible);
                self.allowed_units += self.allowed;
                self.at(self.now + Duration::from_secs(1), Event::Second);
            }
            Event::Describe => {
                self.describe();
                self.at(self.now + DESCRIBE, Event::Describe);
                self.fill();
            }
            Event::Change(number) => self.change(number),
        }
    }

    /// Gives work to free readers, and lets through what may pass.
    fn fill(&mut self) {
        let mut next = None;
        while self.waiting.len() + self.flights.len() < self.scenario.readers {
            match self.work.pick(&mut self.limiter, self.now) {
                Ok((request, ask)) => {
                    let ticket = self.limiter.ask(ask, self.now);
                    self.waiting.insert(ticket, (request, ask));
                }
                Err(ready) => {
                    next = ready;
                    break;
                }
            }
        }
        let poll = self.limiter.poll(self.now);
        for ticket in poll.granted {
            let Some((request, ask)) = self.waiting.remove(&ticket) else { continue };
            self.flights.insert(ticket, Flight { request, ask, answer: None });
            let way = self.scenario.latency.base_ms / 2e3 * self.rng.random_range(0.8..1.4);
            self.at(self.now + Duration::from_secs_f64(way), Event::Arrive(ticket));
        }
        let next = [next, poll.next].into_iter().flatten().min();
        if let Some(next) = next.filter(|next| self.wake_at.is_none_or(|wake| *next < wake)) {
            let next = next.max(self.now);
            self.wake_at = Some(next);
            self.at(next, Event::Wake);
        }
    }

    fn arrive(&mut self, ticket: Ticket) {
        let Some(flight) = self.flights.get_mut(&ticket) else { return };
        let lost = self.rng.random_bool(self.scenario.unknown);
        // of two requests that fail, one was served all the same
        let served = !lost || self.rng.random_bool(0.5);
        let (mut passed, mut units, mut reasons) = (Vec::new(), 0.0, Vec::new());
        let mut indexes = vec![0.0; self.table.indexes.len()];
        let touches = if served { self.work.touches(&flight.request, &mut self.rng) } else { Vec::new() };
        let by_chance = self.scenario.chance > 0.0 && self.rng.random_bool(self.scenario.chance);
        for touch in touches {
            let admitted = if by_chance { Err(vec![chance(self.direction)]) } else { self.table.ask(&touch, self.now) };
            match admitted {
                Ok(()) => {
                    units += touch.units;
                    touch.indexes.iter().for_each(|(index, _, units)| indexes[*index] += units);
                    passed.push(true);
                }
                Err(refused) => {
                    reasons = refused;
                    passed.push(false);
                }
            }
        }
        self.measure.passed(units, self.now);
        self.measure.answered(reasons.is_empty());
        let all: f64 = units + indexes.iter().sum::<f64>();
        let names = self.table.indexes.iter().map(|index| index.name.clone());
        flight.answer = Some(Answer {
            passed: (!lost).then_some(passed),
            units: all,
            indexes: names.zip(indexes).collect(),
            reasons: parsed(&reasons, self.scenario.silent),
        });
        let way = seconds(&self.scenario.latency, units) - self.scenario.latency.base_ms / 2e3;
        let way = way * self.rng.random_range(0.8..1.4);
        self.at(self.now + Duration::from_secs_f64(way), Event::Answer(ticket));
    }

    fn answer(&mut self, ticket: Ticket) {
        let Some(flight) = self.flights.remove(&ticket) else { return };
        let Some(answer) = flight.answer else { return };
        let any = answer.passed.as_ref().is_some_and(|passed| passed.contains(&true));
        let refused = answer.passed.as_ref().is_some_and(|passed| passed.contains(&false));
        let outcome = match (&answer.passed, self.scenario.write) {
            (None, _) => limiter::Outcome::Unknown,
            (Some(_), false) if any => limiter::Outcome::Charged(answer.units),
            // some of a batch were refused: they come back unprocessed, without a reason
            (Some(_), true) if any => {
                limiter::Outcome::Written { units: answer.units, indexes: &answer.indexes, unprocessed: refused }
            }
            (Some(_), _) => limiter::Outcome::Throttled(&answer.reasons),
        };
        self.limiter.settle(ticket, outcome, self.now);
        debug_assert!(flight.ask.key == flight.request.key);
        self.work.answered(&flight.request, answer.passed.as_deref(), &mut self.limiter);
    }

    fn change(&mut self, number: usize) {
        let change = self.scenario.change[number];
        for (table, others) in [(&mut self.table, &mut self.others), (&mut self.alone.0, &mut self.alone.1)] {
            if let Some(rate) = change.provisioned {
                table.side(self.direction).set_mode(Mode::Provisioned(rate), self.now);
            }
            if let Some(units) = change.foreground {
                others.set_units(units);
            }
        }
    }

    /// What the engine does once a minute: reads the capacity, and sets the rates that the budget allows.
    fn describe(&mut self) {
        let typed: Budget = self.scenario.budget.parse().expect("the scenario's budget is one");
        let allow = |described: (Option<f64>, Option<f64>, Option<f64>), foreground| {
            let (provisioned, on_demand_max, warm) = described;
            let capacity = budget::Capacity { provisioned, on_demand_max, warm };
            let direction = if self.scenario.write { budget::Direction::Write } else { budget::Direction::Read };
            typed.allow(&capacity, foreground, direction).expect("the scenario's capacity is known").rate
        };
        let rate = allow(self.table.side(self.direction).describe(), self.others.measured());
        self.limiter.set_rate(rate, self.now);
        self.allowed = rate.units();
        for index in &self.table.indexes {
            // a share is of each; a number is of the table alone
            if matches!(typed, Budget::Share(_)) {
                let rate = allow(index.write.describe(), None);
                self.limiter.set_index_rate(&index.name, rate, self.now);
            }
        }
    }

    /// Units that could pass in this second: the budget, the partitions with work, the capacity that others leave.
    fn possible(&mut self) -> f64 {
        let left = |side: &super::capacity::Side, used: f64| {
            let (provisioned, max, _) = side.describe();
            (provisioned.or(max).unwrap_or(f64::INFINITY) - used).max(0.0)
        };
        let used = self.others.mean(self.now);
        let share = self.share();
        let side = self.table.side(self.direction);
        let mut possible = self.allowed.min(left(side, used));
        possible = possible.min(self.scenario.capacity.account.unwrap_or(40_000.0) - used);
        possible = possible.min(match &self.work {
            Work::Scan(scan) => scan.reachable(side),
            Work::Load(load) => load.reachable(side),
        });
        if let Work::Load(load) = &self.work {
            for (index, ratio) in self.table.indexes.iter().zip(load.ratios()) {
                possible = possible.min(left(&index.write, 0.0) * share / ratio);
            }
        }
        possible
    }

    /// The share of an index's capacity that the budget allows: a share is of each, a number is of the table alone.
    fn share(&self) -> f64 {
        match self.scenario.budget.parse() {
            Ok(Budget::Share(share)) => share,
            _ => 1.0,
        }
    }

    fn outcome(mut self) -> Outcome {
        let seconds = self.now.as_secs_f64().max(1.0);
        let mean_allowed = (self.allowed_units / seconds).min(f64::MAX);
        let share = self.share();
        let indexes: Vec<f64> =
            self.scenario.index.iter().map(|index| index.provisioned * share / index.ratio).collect();
        let side = self.table.side(self.direction);
        let own = side.describe();
        let capacity = own.0.or(own.1).unwrap_or(f64::INFINITY).min(self.scenario.capacity.account.unwrap_or(40_000.0));
        let left = (capacity - self.others.mean(self.now)).max(1.0);
        let rate = indexes.into_iter().fold(mean_allowed.min(left), f64::min);
        let (ideal, item) = match &self.work {
            Work::Scan(scan) => (scan.ideal_seconds(rate, side), scan.largest_item()),
            Work::Load(load) => (load.ideal_seconds(rate, side), load.largest_item()),
        };
        let harm = (self.others.refused - self.alone.1.refused) / self.others.asked.max(1.0);
        let ideal = self.work.is_done().then_some(ideal);
        self.measure.outcome(item, ideal, harm, self.now)
    }
}

fn table(scenario: &Scenario) -> Table {
    let gigabytes = scenario.data.items * scenario.data.item_bytes / 1e9;
    let idle = Mode::OnDemand { warm: 12_000.0, max: None };
    let own = scenario.capacity.mode();
    let (read, write) = if scenario.write { (idle, own) } else { (own, idle) };
    let mut table = Table::new("orders", gigabytes, read, write);
    for index in &scenario.index {
        table.add_index(&index.name, gigabytes * index.ratio, Mode::Provisioned(index.provisioned));
    }
    if let Some(account) = scenario.capacity.account {
        table.read.set_account(account, Duration::ZERO);
        table.write.set_account(account, Duration::ZERO);
    }
    table
}

/// What a refusal that no shortage explains says all the same.
fn chance(direction: Direction) -> Reason {
    Reason { reason: format!("Table{direction:?}ProvisionedThroughputExceeded"), resource: String::new() }
}

fn parsed(reasons: &[Reason], silent: bool) -> Vec<ThrottleReason> {
    let reasons = if silent { &[] } else { reasons };
    reasons.iter().map(|reason| ThrottleReason::parse(&reason.reason, &reason.resource)).collect()
}
