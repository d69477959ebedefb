//! An instance's options, and the times that follow from them.

use crate::error::{Error, Result};
use std::time::Duration;

/// What an application instance is, and how long it waits for what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name: no other instance of the migration has it, or ever had.
    pub name: String,
    /// The names of the key's attributes.
    pub key: Vec<String>,
    /// For how long what it was told of the step is believed, from before it asked.
    pub lease: Duration,
    /// Between heartbeats: a change of the step is followed within this and one request.
    pub heartbeat: Duration,
    /// The longest that a read or a write takes, once it has begun; and the longest that a request to DynamoDB may be under way and
    /// still take effect. Waiting for a barrier may take as long again.
    pub request: Duration,
    /// The share of reads, of 0 to 1, that are compared with the other store while MySQL is the truth.
    pub shadow: f64,
    /// Between looks for writes that were left behind.
    pub mend_every: Duration,
}

/// Clocks may run at rates that differ by one part in this.
const DRIFT: u32 = 20;

impl Options {
    /// Those of an instance called `name`, with a suffix that nobody has, of a table whose key has attributes of these names.
    #[must_use]
    pub fn new(name: &str, key: &[&str]) -> Options {
        Options {
            name: format!("{name}-{:08x}", rand::random::<u32>()),
            key: key.iter().map(|&name| name.to_owned()).collect(),
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_millis(250),
            request: Duration::from_secs(5),
            shadow: 0.0,
            mend_every: Duration::from_secs(1),
        }
    }

    /// The lease that the database is told: when it is over nothing takes effect any more that was sent while its own lived.
    pub(super) fn told(&self) -> Duration {
        let whole = self.lease + self.request;
        whole + whole / DRIFT
    }

    /// How long an intent is left to whoever recorded it, or took it up: he sends within `request`, and that lands within
    /// `request`; the rest is for clocks that differ.
    pub(super) fn ripe(&self) -> Duration {
        self.request * 5 / 2
    }

    /// Whether the times go together.
    pub(super) fn check(&self) -> Result<()> {
        if self.request.is_zero() || self.heartbeat.is_zero() || self.mend_every.is_zero() {
            return Err(Error::config("dual writes: request, heartbeat and mend_every are longer than nothing"));
        }
        if self.lease < self.request * 2 || self.lease < self.heartbeat * 4 {
            return Err(Error::config("dual writes: a lease is at least two requests, and four heartbeats"));
        }
        if self.key.is_empty() || !(0.0..=1.0).contains(&self.shadow) {
            return Err(Error::config(
                "dual writes: a key has attributes, and the share of shadow reads is from 0 to 1",
            ));
        }
        Ok(())
    }
}
