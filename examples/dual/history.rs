//! What an application was told of its writes, and whether what is there in the end can be explained by it.

use std::collections::HashMap;
use tokio::time::Instant;

/// A write that may have been the last of its key.
#[derive(Clone, Copy, Debug)]
struct Write {
    /// The version written; none of a delete.
    version: Option<u64>,
    /// When it was acknowledged; none when it was not, and may take effect later.
    acknowledged: Option<Instant>,
}

/// By key: the writes that may have been the last.
#[derive(Debug)]
pub(crate) struct History {
    last: HashMap<u64, Vec<Write>>,
}

/// How a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a write that no acknowledged one followed.
    Well,
    /// With an older version, or none, though a newer one was acknowledged.
    Lost,
    /// There again after it was deleted.
    Zombie,
}

impl History {
    /// Of a table that begins with these keys, each at version 0.
    pub(crate) fn new(keys: u64) -> History {
        let loaded = Write { version: Some(0), acknowledged: Some(Instant::now()) };
        History { last: (0..keys).map(|key| (key, vec![loaded])).collect() }
    }

    /// A write ended that began at `began`.
    pub(crate) fn record(&mut self, key: u64, version: Option<u64>, began: Instant, acknowledged: bool) {
        let writes = self.last.entry(key).or_default();
        if acknowledged {
            // whatever was acknowledged before it began has been overwritten
            writes.retain(|write| write.acknowledged.is_none_or(|at| at >= began));
        }
        writes.push(Write { version, acknowledged: acknowledged.then(Instant::now) });
    }

    /// The keys there are.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> + use<> {
        self.last.keys().copied().collect::<Vec<_>>().into_iter()
    }

    /// How a key ended of which this version is there.
    pub(crate) fn ended(&self, key: u64, there: Option<u64>) -> Ended {
        let writes = self.last.get(&key).map(Vec::as_slice).unwrap_or_default();
        match there {
            _ if writes.iter().any(|write| write.version == there) => Ended::Well,
            Some(_) if writes.iter().all(|write| write.version.is_none()) => Ended::Zombie,
            _ => Ended::Lost,
        }
    }
}
