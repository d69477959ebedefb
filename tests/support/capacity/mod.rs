//! A model of how DynamoDB grants capacity: asked whether a request passes, it says yes, or why not.
//!
//! One piece of code for the simulation (simulated time) and for a proxy in front of an emulator (real time): the clock is
//! an argument. It knows nothing of the engine; reasons are the strings that DynamoDB would send.
//!
//! What is modelled, with AWS's developer guide as the source:
//! - A request passes while every bucket that it touches is above zero, and is charged what it cost: a Scan's cost is not
//!   known before it has been served, so a bucket goes into debt. (That a large page may pass on little capacity is our
//!   reading; it is also the reading under which a copy hurts the foreground most.)
//! - *Provisioned*: a table, and each index, has a bucket that fills at the provisioned rate and holds 300 seconds' worth:
//!   burst capacity. It begins full. Changes of the rate hold at once and cut what is saved to the new 300 seconds.
//! - *Adaptive capacity* is instant: any partition may use all of the table's capacity, up to the partition's own limit.
//! - *Partitions*: 3000 read and 1000 write units per second each, with one second's worth saved. Burst does not lift it.
//!   There are as many as the data and the capacity need; they cut the key space evenly. A split gives two full buckets.
//! - *On demand*: capacity is the partitions'. A table begins with enough for its warm throughput (a new one: 12,000 read,
//!   4,000 write units per second, which is four partitions). Each half hour it grows to twice the highest minute of that
//!   half hour. A maximum, where one is set, is a bucket of one second.
//! - *Account*: a quota for each table, 40,000 units per second each way, as a bucket of one second.
//! - *Indexes*: a write that feeds an index passes only if the index has capacity too; a refusal names the index.
//!
//! What is left out: that burst is best effort and may be used up by DynamoDB itself; splitting for heat of provisioned
//! tables; partitions that stay hot after a table shrinks; the delay of capacity changes; several tables of one account.

mod side;
mod tokens;

pub(crate) use side::{Mode, Side};
use std::time::Duration;

/// Reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// One entry of `ThrottlingReasons`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// Such as `TableReadKeyRangeThroughputExceeded`.
    pub(crate) reason: String,
    /// The ARN of the table or of the index.
    pub(crate) resource: String,
}

/// What one request, or one item of a batch, costs and where.
#[derive(Clone, Debug)]
pub(crate) struct Touch {
    pub(crate) direction: Direction,
    /// Where in the key space, 0 to 1.
    pub(crate) position: f64,
    /// Units of the table.
    pub(crate) units: f64,
    /// Index number, position in its key space, units of it.
    pub(crate) indexes: Vec<(usize, f64, f64)>,
}

/// A table with its indexes.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    arn: String,
    pub(crate) read: Side,
    pub(crate) write: Side,
    pub(crate) indexes: Vec<Index>,
}

/// A global secondary index: what writes cost there.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) write: Side,
}

impl Table {
    /// A table of so much data: a partition holds 10 GB.
    pub(crate) fn new(name: &str, gigabytes: f64, read: Mode, write: Mode) -> Table {
        let arn = format!("arn:aws:dynamodb:eu-west-1:123456789012:table/{name}");
        let read = Side::new(Direction::Read, read, gigabytes);
        Table { arn, read, write: Side::new(Direction::Write, write, gigabytes), indexes: Vec::new() }
    }

    pub(crate) fn add_index(&mut self, name: &str, gigabytes: f64, write: Mode) {
        let write = Side::new(Direction::Write, write, gigabytes);
        self.indexes.push(Index { name: name.to_string(), write });
    }

    /// Charges what the request touches and lets it pass, or says what ran out and charges nothing.
    pub(crate) fn ask(&mut self, touch: &Touch, now: Duration) -> Result<(), Vec<Reason>> {
        let mut reasons = Vec::new();
        for short in self.side(touch.direction).short(touch.position, now) {
            reasons.push(Reason { reason: format!("Table{:?}{short}", touch.direction), resource: self.arn.clone() });
        }
        for (index, position, _) in &touch.indexes {
            let index = &mut self.indexes[*index];
            for short in index.write.short(*position, now) {
                let resource = format!("{}/index/{}", self.arn, index.name);
                reasons.push(Reason { reason: format!("IndexWrite{short}"), resource });
            }
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        self.side(touch.direction).charge(touch.position, touch.units, now);
        for (index, position, units) in &touch.indexes {
            self.indexes[*index].write.charge(*position, *units, now);
        }
        Ok(())
    }

    pub(crate) fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}
