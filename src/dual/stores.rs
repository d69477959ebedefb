//! What the protocol asks of the two stores. It is written against these, so that a simulation can put others in their place,
//! slower, forgetful, or without one of their guards.

use super::item;
use crate::checkpoint::phases::Phase;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::future::Future;
use std::time::Duration;

/// An item in DynamoDB's JSON: attributes by name, each `{"S":"text"}` and the like; numbers are text, binaries base64.
pub type Item = Map<String, Value>;

/// An item's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its attributes as one JSON object in DynamoDB's notation, sorted by name, numbers plain. Equal keys have equal texts.
    pub text: String,
}

impl Key {
    /// The key of an item, or what is itself only a key, by the names of the key's attributes.
    ///
    /// # Errors
    /// `Config` when one of them is missing, or is no value.
    pub fn of(item: &Item, names: &[String]) -> Result<Key> {
        let of_key: Item = names.iter().filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect();
        let text = (of_key.len() == names.len()).then(|| item::canonical(&of_key)).flatten();
        let wrong = || Error::config(format!("an item has no key: it has the attributes {}", names.join(", ")));
        Ok(Key { text: text.ok_or_else(wrong)? })
    }
}

/// What has to hold of the item that is there, for a write to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum When {
    /// Nothing: it is written whatever is there.
    #[default]
    Always,
    /// There is no item of this key.
    Absent,
    /// There is one.
    Present,
    /// There is one, and its attribute of this name is this value, in DynamoDB's JSON.
    Has(String, Value),
}

/// A write that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was made.
    Done,
    /// What had to hold did not: nothing was written.
    Unmet,
}

/// A write that one of the stores may lack: on record before the first store is written, gone when both hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its number; no other has it, of any instance.
    pub id: u64,
    /// Of which item.
    pub key: Key,
    /// Counts how often it was taken up. Whoever takes it up raises it, so that no two do.
    pub attempt: u64,
}

/// The store that is moved out of: DynamoDB.
///
/// A write takes effect at most once, within the time that [`Options::request`](super::Options::request) says after it was sent, or
/// never: so an implementation does not send it again within one call, unless the server has said that it was not made. Once it
/// is answered nothing of it is under way.
///
/// An error of kind `Transient` or `Internal` says nothing of whether a write was made; one of any other kind, that it was not.
pub trait Items: Send + Sync + 'static {
    /// The item as all writes that were answered have left it.
    fn read(&self, key: &Key) -> impl Future<Output = Result<Option<Item>>> + Send;

    /// Writes the whole item, or deletes it where `image` is none.
    fn write(&self, key: &Key, image: Option<&Item>, when: &When) -> impl Future<Output = Result<Written>> + Send;
}

/// The store that is moved into, an SQL database, and what is kept of the migration beside the rows.
pub trait Rows: Send + Sync + 'static {
    /// One transaction. Dropped without a commit, nothing of it remains; what was committed stays, whatever becomes of the server.
    type Transaction<'a>: Transaction
    where
        Self: 'a;

    /// Begins one.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction<'_>>> + Send;

    /// The item as its row has it, as last committed.
    fn row(&self, key: &Key) -> impl Future<Output = Result<Option<Item>>> + Send;

    /// As [`Phases::heartbeat`](crate::checkpoint::phases::Phases::heartbeat).
    fn heartbeat(
        &self,
        writer: &str,
        stopped: Option<u64>,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Phase>>> + Send;

    /// As [`Phases::leave`](crate::checkpoint::phases::Phases::leave).
    fn leave(&self, writer: &str) -> impl Future<Output = Result<()>> + Send;

    /// As [`Phases::fault`](crate::checkpoint::phases::Phases::fault).
    fn fault(&self, writer: &str, what: &str) -> impl Future<Output = Result<()>> + Send;

    /// At most `most` intents that nobody has recorded or taken up for `age`, by the database's clock, the oldest first.
    fn ripe(&self, age: Duration, most: usize) -> impl Future<Output = Result<Vec<Intent>>> + Send;

    /// Takes up an intent as it was read: whether nobody else has since. Committed when it is answered; `ripe` does not tell of it
    /// for a while.
    fn take_up(&self, intent: &Intent) -> impl Future<Output = Result<bool>> + Send;
}

/// One transaction of the SQL database. An error of kind `Transient` (a deadlock, a lock not had in time, a lost connection) may be
/// gone when the same is done in another one.
pub trait Transaction: Send {
    /// Where the migration is, and stays until the transaction ends.
    fn prove(&mut self) -> impl Future<Output = Result<Option<Phase>>> + Send;

    /// Locks the key for this transaction alone, whether or not it has a row.
    fn guard(&mut self, key: &Key) -> impl Future<Output = Result<()>> + Send;

    /// The item as its row has it now: not when the transaction began, and not before the guard was had.
    fn row(&mut self, key: &Key) -> impl Future<Output = Result<Option<Item>>> + Send;

    /// Makes the item's rows those of the image; where there is none, leaves a tombstone if a load is going on, and deletes them.
    fn write(&mut self, key: &Key, image: Option<&Item>) -> impl Future<Output = Result<()>> + Send;

    /// Whether an intent of this key is on record.
    fn pending(&mut self, key: &Key) -> impl Future<Output = Result<bool>> + Send;

    /// Puts an intent on record: of this key, made now.
    fn intend(&mut self, intent: &Intent) -> impl Future<Output = Result<()>> + Send;

    /// Takes an intent off the record, whoever has taken it up.
    fn clear(&mut self, id: u64) -> impl Future<Output = Result<()>> + Send;

    /// Commits. An error says nothing of whether it has.
    fn commit(self) -> impl Future<Output = Result<()>> + Send;
}
