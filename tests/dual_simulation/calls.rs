//! What a client of the application asks for: which key, which call, with which condition. The same of every simulated world,
//! whatever stores it has.

use super::chance::Chance;
use super::history::{Answer, Asked, Call, Value};
use transvase::dual::stores::{Item, Items, Rows, When, Written};
use transvase::dual::{Instance, may_be_made};
use transvase::error::Result;

/// The item of this key with this value.
pub(crate) fn item(number: usize, value: Value) -> Item {
    let mut item = Item::new();
    item.insert("pk".to_owned(), serde_json::json!({"S": number.to_string()}));
    item.insert("v".to_owned(), attribute(value));
    item
}

/// A value as an attribute.
fn attribute(value: Value) -> serde_json::Value {
    serde_json::json!({"N": value.to_string()})
}

/// The value that an item has.
pub(crate) fn value_of(item: &Item) -> Value {
    item["v"]["N"].as_str().unwrap().parse().unwrap()
}

/// The key of an item, as attributes.
fn item_key(number: usize) -> Item {
    let mut key = item(number, 0);
    key.remove("v");
    key
}

/// One of so many keys: mostly the one that all are about in this stretch of time, so that others lie as they were left.
pub(crate) fn some_key(chance: &Chance, keys: usize, stretch: u64) -> usize {
    let now = stretch.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let keys = keys as u64;
    usize::try_from(if chance.hits(800) { now % keys } else { chance.of(0..keys) }).unwrap()
}

/// A client of an instance.
#[derive(Default)]
pub(crate) struct Caller {
    /// A value that was read or written last, and of which key.
    last: Option<(usize, Value)>,
}

impl Caller {
    /// The next call, about this key.
    pub(crate) fn choose(&self, key: usize, chance: &Chance, new_value: impl FnOnce() -> Value) -> Call {
        if chance.hits(300) {
            return Call::Get;
        }
        let known = self.last.filter(|(of, _)| *of == key).map(|(_, value)| value);
        let asked = match (chance.of(0..10), known) {
            (0, _) => Asked::Absent,
            (1, _) => Asked::Present,
            (2..4, Some(value)) => Asked::Has(value),
            _ => Asked::Always,
        };
        let value = (asked == Asked::Absent || chance.hits(650)).then(new_value);
        Call::Write(value, asked)
    }

    /// What it was told.
    pub(crate) fn hear(&mut self, key: usize, call: Call, answer: Answer) {
        self.last = match (call, answer) {
            (Call::Write(Some(value), _), Answer::Done) | (_, Answer::Found(Some(value))) => Some((key, value)),
            _ => self.last,
        };
    }
}

/// Makes a call, and says what came of it.
pub(crate) async fn make<I: Items, R: Rows>(instance: &Instance<I, R>, number: usize, call: Call) -> Answer {
    match call {
        Call::Get => get(instance, number).await.map_or(Answer::Unknown, Answer::Found),
        Call::Write(value, asked) => match write(instance, number, value, asked).await {
            Ok(Written::Done) => Answer::Done,
            Ok(Written::Unmet) => Answer::Unmet,
            Err(error) if !may_be_made(&error) => Answer::Undone,
            Err(_) => Answer::Unknown,
        },
    }
}

async fn get<I: Items, R: Rows>(instance: &Instance<I, R>, number: usize) -> Result<Option<Value>> {
    Ok(instance.get(&item_key(number)).await?.as_ref().map(value_of))
}

async fn write<I: Items, R: Rows>(
    instance: &Instance<I, R>,
    number: usize,
    value: Option<Value>,
    asked: Asked,
) -> Result<Written> {
    let when = match asked {
        Asked::Always => When::Always,
        Asked::Absent => When::Absent,
        Asked::Present => When::Present,
        Asked::Has(value) => When::Has("v".to_owned(), attribute(value)),
    };
    match value {
        Some(value) => instance.put_if(item(number, value), when).await,
        None => instance.delete_if(&item_key(number), when).await,
    }
}
