//! What follows a copy: the windows of changes that were applied to it, each a run of its own.

use super::run::{Checkpoint, Settings, broken, name_of};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// What a window of changes follows. Stored with its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// The incarnation of the copy's run: a copy that was begun anew has had no window applied.
    pub copy: u64,
    /// The window's first moment, in microseconds since 1970.
    pub from_us: i64,
    /// The first moment after it.
    pub to_us: i64,
    /// The source table's ARN, and what tells it from an earlier one of the same name.
    pub table: String,
}

/// A window that was applied, or is being applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its run.
    pub run: String,
    /// Whether all of it is durable.
    pub complete: bool,
    /// The source's identity.
    pub source: String,
    /// What it is.
    pub follows: Follows,
}

/// The part of a run's settings that is asked for: those of other versions and other verbs have it too, or not at all.
#[derive(Deserialize)]
struct Found {
    source: String,
    follows: Option<Follows>,
}

/// What the identity of a stream begins with, as a source.
pub const STREAM: &str = "stream ";

/// The name of the run that follows the stream of a copy.
#[must_use]
pub fn stream_run(copy: &str) -> String {
    name_of(&format!("{copy}.stream"))
}

impl Settings {
    /// Whether what the run reads are changes: a stream's, or a window of them.
    #[must_use]
    pub fn reads_changes(&self) -> bool {
        self.follows.is_some() || self.source.starts_with(STREAM)
    }
}

impl Checkpoint {
    /// The windows that follow this run, by time. The run must have been [loaded](Checkpoint::load).
    ///
    /// # Errors
    /// Of the database.
    pub async fn followed_by(&self) -> Result<Vec<Applied>> {
        const SQL: &str = "SELECT run, state, settings FROM _transvase_runs";
        let rows = self.retrying("looking for applied windows", &(), |session, ()| {
            Box::pin(async move { session.fetch(SQL, &[]).await })
        });
        let mut applied = Vec::new();
        for row in rows.await? {
            let readable = |cell: Option<String>| cell.ok_or_else(|| broken("a run").into_error("reading the runs"));
            let (run, settings) = (readable(row[0].text())?, readable(row[2].text())?);
            let Ok(Found { source, follows: Some(follows) }) = serde_json::from_str(&settings) else { continue };
            let complete = row[1].text().as_deref() == Some("complete");
            applied.push(Applied { run, complete, source, follows });
        }
        applied.retain(|window| window.follows.copy == self.incarnation());
        applied.sort_by_key(|window| (window.follows.to_us, window.follows.from_us));
        Ok(applied)
    }
}
