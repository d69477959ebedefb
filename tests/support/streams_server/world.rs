//! A table and its stream: shards that split and roll over, the changes in them, and what the table is in the end.
//!
//! A key belongs to the open shard whose range its hash lies in; sequence numbers rise over all shards, first of 21 digits,
//! then of 40. What the application does comes from a script, a little before each answer, so that a reader follows a table
//! that changes under it, and one seed is one story whatever the machine is doing.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The table's name.
pub(crate) const TABLE: &str = "changing";
/// When the first change was made, in seconds since 1970.
pub(crate) const BEGAN: u64 = 1_780_000_000;

/// One shard.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) id: String,
    pub(crate) parent: Option<usize>,
    pub(crate) start: u64,
    pub(crate) closed: bool,
    /// Hashes of keys, from and to before.
    range: (u32, u32),
    pub(crate) records: Vec<Record>,
    /// So many of its records are trimmed.
    pub(crate) trimmed: usize,
    /// Neither listed nor known any more.
    pub(crate) forgotten: bool,
    /// So many listings do not show it yet.
    pub(crate) late: u32,
    /// A listing has shown it.
    pub(crate) listed: bool,
    /// A reader was told that it has ended.
    pub(crate) end_told: bool,
    /// A reader was given something of it.
    pub(crate) read: bool,
    /// Answers in a row that were empty although there was a record.
    pub(crate) held_back: u32,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) key: String,
    /// The item's version after it; none for a delete.
    pub(crate) version: Option<u64>,
    /// The service deleted it, because its time was over.
    pub(crate) expiry: bool,
    /// When it was made, in seconds since 1970.
    pub(crate) made: u64,
    existed: bool,
}

/// What the application or the service does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Put,
    Delete,
    Expire,
    Split,
    Roll,
}

/// The table and its stream.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    /// What the table holds: the version of each key.
    pub(crate) items: BTreeMap<String, u64>,
    /// The same, had the service's own deletes not been done.
    pub(crate) unexpired: BTreeMap<String, u64>,
    pub(crate) switched_off: bool,
    pub(crate) view: String,
    pub(crate) stream: u32,
    /// When the stream was switched on, in seconds since 1970; none when the service does not tell.
    pub(crate) switched_on: Option<u64>,
    /// The time, in seconds since 1970; without one it follows from the sequence numbers.
    pub(crate) clock: Option<u64>,
    /// Every record says that it is a REMOVE.
    pub(crate) lies: bool,
    /// The item that a key's version is.
    pub(crate) dress: fn(&str, u64) -> Value,
    /// When the first change was made, in seconds since 1970.
    pub(crate) began: u64,
    script: Vec<Act>,
    keys: u32,
    late: u32,
    sequence: u64,
    version: u64,
    rng: StdRng,
}

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plot {
    pub(crate) seed: u64,
    /// Keys: few, so that each is changed in many shards.
    pub(crate) keys: u32,
    /// Changes before anybody looks.
    pub(crate) before: usize,
    /// Changes while somebody reads.
    pub(crate) during: usize,
    /// Splits and rolls among either.
    pub(crate) closes: usize,
    /// Listings that do not show a child yet, at most.
    pub(crate) late: u32,
}

impl World {
    pub(crate) fn new(plot: Plot) -> World {
        let mut rng = StdRng::seed_from_u64(plot.seed);
        let halves = [(0, u32::MAX / 2), (u32::MAX / 2, u32::MAX)];
        let mut world = World {
            shards: Vec::new(),
            items: BTreeMap::new(),
            unexpired: BTreeMap::new(),
            switched_off: false,
            view: "NEW_AND_OLD_IMAGES".into(),
            stream: 1,
            switched_on: Some(BEGAN),
            clock: None,
            lies: false,
            dress: |key, version| json!({"id": {"S": key}, "version": {"N": version.to_string()}}),
            began: BEGAN,
            script: Vec::new(),
            keys: plot.keys,
            late: 0,
            sequence: 0,
            version: 0,
            rng: StdRng::seed_from_u64(plot.seed ^ 1),
        };
        halves.into_iter().for_each(|range| world.open(None, range));
        let mut script = |acts: usize| {
            let mut script: Vec<Act> = (0..acts)
                .map(|_| match rng.random_range(0..10) {
                    0..7 => Act::Put,
                    7..9 => Act::Delete,
                    _ => Act::Expire,
                })
                .collect();
            for _ in 0..plot.closes {
                let at = rng.random_range(0..=script.len());
                script.insert(at, if rng.random_bool(0.5) { Act::Split } else { Act::Roll });
            }
            script
        };
        world.script = script(plot.before);
        world.play(usize::MAX);
        world.late = plot.late;
        world.script = script(plot.during);
        world
    }

    /// The next so many acts of the script.
    pub(crate) fn play(&mut self, acts: usize) {
        for _ in 0..acts {
            if self.script.is_empty() {
                return;
            }
            match self.script.remove(0) {
                Act::Put => self.change(false, true),
                Act::Delete => self.change(false, false),
                Act::Expire => self.change(true, false),
                Act::Split => self.close(2),
                Act::Roll => self.close(1),
            }
        }
    }

    /// Trims what was made before a moment. Of closed shards of which nothing is left then some are forgotten, a parent before
    /// its children, some are listed still; what is late so far is listed at last.
    pub(crate) fn trim_before(&mut self, moment: u64) {
        for at in 0..self.shards.len() {
            let is_oldest = self.shards[at].parent.is_none_or(|parent| self.shards[parent].forgotten);
            let shard = &mut self.shards[at];
            shard.trimmed = shard.records.iter().take_while(|record| record.made < moment).count();
            let is_empty = shard.closed && shard.trimmed == shard.records.len();
            shard.forgotten |= is_empty && is_oldest && !shard.start.is_multiple_of(3);
            shard.late = 0;
        }
    }

    /// All changes, in the order in which they were made.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.shards.iter().flat_map(|shard| shard.records.clone()).collect();
        records.sort_by_key(|record| record.sequence);
        records
    }

    /// Whether all of the script was played, and the next listing shows every shard: who has caught up from here on has
    /// everything.
    pub(crate) fn is_settled(&self) -> bool {
        self.script.is_empty() && self.shards.iter().all(|shard| shard.late == 0)
    }

    /// A change of some key, but for a delete of what is not there, which makes no record.
    fn change(&mut self, expiry: bool, put: bool) {
        let key = format!("key-{:03}", self.rng.random_range(0..self.keys));
        let existed = self.items.contains_key(&key);
        if !put && !existed {
            return;
        }
        self.version += 1;
        let version = put.then_some(self.version);
        match version {
            Some(version) => {
                self.items.insert(key.clone(), version);
                self.unexpired.insert(key.clone(), version);
            }
            None => {
                self.items.remove(&key);
                if !expiry {
                    self.unexpired.remove(&key);
                }
            }
        }
        self.sequence += self.rng.random_range(1..50_u64);
        let hash = hash(&key);
        let made = self.clock.unwrap_or(BEGAN + self.sequence / 1000);
        let record = Record { sequence: self.sequence, key, version, expiry, made, existed };
        let open = self.shards.iter_mut().find(|shard| !shard.closed && shard.range.0 <= hash && hash < shard.range.1);
        open.expect("every hash has an open shard").records.push(record);
    }

    /// Closes some open shard and opens so many in its place.
    pub(crate) fn close(&mut self, children: u32) {
        let open: Vec<usize> = (0..self.shards.len()).filter(|at| !self.shards[*at].closed).collect();
        let parent = open[self.rng.random_range(0..open.len())];
        self.close_shard(parent, children);
    }

    /// Closes this shard and opens so many in its place.
    pub(crate) fn close_shard(&mut self, parent: usize, children: u32) {
        self.shards[parent].closed = true;
        let (from, to) = self.shards[parent].range;
        let width = (to - from) / children;
        for child in 0..children {
            let end = if child + 1 == children { to } else { from + width * (child + 1) };
            self.open(Some(parent), (from + width * child, end));
        }
    }

    fn open(&mut self, parent: Option<usize>, range: (u32, u32)) {
        self.sequence += 1;
        // ids do not tell the order: a child's may come before its parent's
        let id = format!("shardId-{:08x}-{:04}", self.rng.random::<u32>(), self.shards.len());
        let late = if self.late == 0 { 0 } else { self.rng.random_range(0..=self.late) };
        self.shards.push(Shard {
            id,
            parent,
            start: self.sequence,
            closed: false,
            range,
            records: Vec::new(),
            trimmed: 0,
            forgotten: false,
            late,
            listed: false,
            end_told: false,
            read: false,
            held_back: 0,
        });
    }

    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:dynamodb:us-east-1:123456789012:table/{TABLE}/stream/{}", self.stream)
    }

    /// The versions of the keys as somebody has them who does every change in this order of shards.
    pub(crate) fn applied(&self, order: &[usize]) -> BTreeMap<String, u64> {
        let mut items = BTreeMap::new();
        for record in order.iter().flat_map(|at| &self.shards[*at].records) {
            match record.version {
                Some(version) => drop(items.insert(record.key.clone(), version)),
                None => drop(items.remove(&record.key)),
            }
        }
        items
    }

    /// Keys that are changed both in this shard and in its parent.
    pub(crate) fn keys_across(&self, child: usize) -> BTreeSet<&str> {
        let keys =
            |at: usize| self.shards[at].records.iter().map(|record| record.key.as_str()).collect::<BTreeSet<_>>();
        self.shards[child].parent.map_or_else(BTreeSet::new, |parent| &keys(parent) & &keys(child))
    }

    /// When the service says that a change was made, in seconds since 1970: where there is a clock, half a minute from it at
    /// most.
    pub(crate) fn created(&self, record: &Record) -> u64 {
        match self.clock {
            Some(_) => record.made + record.sequence % 61 - 30,
            None => self.began + record.sequence / 1000,
        }
    }

    /// A record as the service gives it.
    pub(crate) fn json(&self, record: &Record) -> Value {
        let mut change = json!({
            "ApproximateCreationDateTime": self.created(record),
            "Keys": {"id": {"S": record.key}},
            "SequenceNumber": sequence_text(record.sequence),
            "SizeBytes": 40,
            "StreamViewType": self.view,
        });
        if let Some(version) = record.version {
            change["NewImage"] = (self.dress)(&record.key, version);
        }
        if record.existed {
            change["OldImage"] = (self.dress)(&record.key, 0);
        }
        let name = match (record.version, record.existed) {
            _ if self.lies => "REMOVE",
            (None, _) => "REMOVE",
            (_, true) => "MODIFY",
            _ => "INSERT",
        };
        let mut json = json!({"eventID": record.sequence.to_string(), "eventName": name, "eventVersion": "1.1",
            "eventSource": "aws:dynamodb", "awsRegion": "us-east-1", "dynamodb": change});
        if record.expiry {
            json["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
        }
        json
    }
}

/// The text of a sequence number.
pub(crate) fn sequence_text(sequence: u64) -> String {
    if sequence < 1000 { format!("1{sequence:020}") } else { format!("4{sequence:039}") }
}

/// The sequence number of a text.
pub(crate) fn sequence_of(text: &str) -> Option<u64> {
    text.get(1..)?.parse().ok()
}

fn hash(key: &str) -> u32 {
    crc32fast::hash(key.as_bytes())
}
