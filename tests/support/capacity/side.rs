//! One direction of a table or an index: its own bucket, its partitions, the account's quota.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of partitions and minutes, above zero and few"
)]

use super::Direction;
use super::tokens::Tokens;
use std::time::Duration;

/// Burst capacity: what is not used is saved for so long.
const BURST_SECONDS: f64 = 300.0;
/// On demand grows at the end of each of these.
const GROWTH_SECONDS: f64 = 1800.0;
/// The default quota of a table.
const ACCOUNT: f64 = 40_000.0;
const PARTITION_GIGABYTES: f64 = 10.0;

/// How capacity is paid for, in units per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Provisioned(f64),
    OnDemand { warm: f64, max: Option<f64> },
}

#[derive(Clone, Debug)]
pub(crate) struct Side {
    direction: Direction,
    mode: Mode,
    own: Option<Tokens>,
    account: Tokens,
    partitions: Vec<Tokens>,
    minute: (u64, f64),
    peak_minute: f64,
    period: u64,
}

impl Side {
    pub(super) fn new(direction: Direction, mode: Mode, gigabytes: f64) -> Side {
        let mut side = Side {
            direction,
            mode,
            own: None,
            account: Tokens::full(ACCOUNT, 1.0, Duration::ZERO),
            partitions: Vec::new(),
            minute: (0, 0.0),
            peak_minute: 0.0,
            period: 0,
        };
        side.split((gigabytes / PARTITION_GIGABYTES).ceil(), Duration::ZERO);
        side.set_mode(mode, Duration::ZERO);
        side
    }

    /// Changes the capacity. A table never loses partitions.
    pub(crate) fn set_mode(&mut self, mode: Mode, now: Duration) {
        let (rate, seconds, needed) = match mode {
            Mode::Provisioned(rate) => (Some(rate), BURST_SECONDS, rate),
            Mode::OnDemand { warm, max } => (max, 1.0, warm),
        };
        let same_kind = matches!(self.mode, Mode::Provisioned(_)) == matches!(mode, Mode::Provisioned(_));
        self.mode = mode;
        self.own = match (self.own.take().filter(|_| same_kind), rate) {
            (_, None) => None,
            (None, Some(rate)) => Some(Tokens::full(rate, seconds, now)),
            (Some(mut own), Some(rate)) => {
                own.set_rate(rate, now);
                Some(own)
            }
        };
        self.split((needed / self.partition_rate()).ceil(), now);
    }

    /// Sets the account's quota for this table.
    pub(crate) fn set_account(&mut self, rate: f64, now: Duration) {
        self.account.set_rate(rate, now);
    }

    /// Units per second that one partition serves.
    pub(crate) fn partition_rate(&self) -> f64 {
        match self.direction {
            Direction::Read => 3000.0,
            Direction::Write => 1000.0,
        }
    }

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The partition at a place of the key space.
    pub(crate) fn partition(&self, position: f64) -> usize {
        let scaled = position.clamp(0.0, 1.0) * self.partitions.len() as f64;
        (scaled as usize).min(self.partitions.len() - 1)
    }

    /// The provisioned rate; the on-demand maximum; what an on-demand table serves at once.
    pub(crate) fn describe(&self) -> (Option<f64>, Option<f64>, Option<f64>) {
        match self.mode {
            Mode::Provisioned(rate) => (Some(rate), None, None),
            Mode::OnDemand { max, .. } => (None, max, Some(self.partitions.len() as f64 * self.partition_rate())),
        }
    }

    /// What ran out for a request at `position`: the ends of the reasons' names.
    pub(super) fn short(&mut self, position: f64, now: Duration) -> Vec<&'static str> {
        self.grow(now);
        let mut short = Vec::new();
        if self.own.as_mut().is_some_and(|own| !own.open(now)) {
            short.push(match self.mode {
                Mode::Provisioned(_) => "ProvisionedThroughputExceeded",
                Mode::OnDemand { .. } => "MaxOnDemandThroughputExceeded",
            });
        }
        if !self.account.open(now) {
            short.push("AccountLimitExceeded");
        }
        let partition = self.partition(position);
        if !self.partitions[partition].open(now) {
            short.push("KeyRangeThroughputExceeded");
        }
        short
    }

    pub(super) fn charge(&mut self, position: f64, units: f64, now: Duration) {
        if let Some(own) = &mut self.own {
            own.take(units, now);
        }
        self.account.take(units, now);
        let partition = self.partition(position);
        self.partitions[partition].take(units, now);
        let minute = now.as_secs() / 60;
        if self.minute.0 != minute {
            self.peak_minute = self.peak_minute.max(self.minute.1 / 60.0);
            self.minute = (minute, 0.0);
        }
        self.minute.1 += units;
    }

    /// On demand, a table is split until it serves twice what it was asked for.
    fn grow(&mut self, now: Duration) {
        let period = (now.as_secs_f64() / GROWTH_SECONDS) as u64;
        if period == self.period {
            return;
        }
        self.period = period;
        let peak = std::mem::take(&mut self.peak_minute);
        if matches!(self.mode, Mode::OnDemand { .. }) {
            self.split((peak * 2.0 / self.partition_rate()).round(), now);
        }
    }

    fn split(&mut self, partitions: f64, now: Duration) {
        let wanted = (partitions as usize).max(1);
        if wanted > self.partitions.len() {
            // which half of a split one lands in matters to nobody: each begins with a second's worth
            self.partitions.resize(wanted, Tokens::full(self.partition_rate(), 1.0, now));
        }
    }
}
