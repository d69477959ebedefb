//! What the applications asked and were answered, in the order in which it happened.

use super::linear;
use std::fmt;
use std::sync::Mutex;

/// The value that an item has; each write has one of its own.
pub(crate) type Value = u64;

/// What a write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Always,
    Absent,
    Present,
    Has(Value),
}

/// A call of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Writes a value, or deletes the item, if what is asked for holds.
    Write(Option<Value>, Asked),
    Get,
}

/// How it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Unmet,
    Found(Option<Value>),
    /// By an error that says that nothing was written.
    Undone,
    /// By an error, or not at all: it was made, will be made, or never is.
    Unknown,
}

/// A call and its answer. The numbers count what happened: a call that ended at a smaller one than another began at came before.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) who: String,
    pub(crate) key: usize,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
    pub(crate) from: u64,
    /// None when it was never answered.
    pub(crate) to: Option<u64>,
    /// When, in milliseconds of its world.
    pub(crate) at: [u64; 2],
}

/// All of them.
#[derive(Default)]
pub(crate) struct History(Mutex<Events>);

#[derive(Default)]
struct Events {
    next: u64,
    operations: Vec<Operation>,
}

impl History {
    /// Something is asked; its number.
    pub(crate) fn ask(&self, who: &str, key: usize, call: Call, at: u64) -> usize {
        let mut events = self.0.lock().unwrap();
        events.next += 1;
        let from = events.next;
        let who = who.to_owned();
        events.operations.push(Operation { who, key, call, answer: Answer::Unknown, from, to: None, at: [at, at] });
        events.operations.len() - 1
    }

    /// It is answered.
    pub(crate) fn answer(&self, number: usize, answer: Answer, at: u64) {
        let mut events = self.0.lock().unwrap();
        events.next += 1;
        let to = events.next;
        let operation = &mut events.operations[number];
        operation.answer = answer;
        operation.at[1] = at;
        // an error says that nothing is known, and that may last
        operation.to = (answer != Answer::Unknown).then_some(to);
    }

    /// Somebody saw a key's value, in no time.
    pub(crate) fn see(&self, who: &str, key: usize, value: Option<Value>, at: u64) {
        let number = self.ask(who, key, Call::Get, at);
        self.answer(number, Answer::Found(value), at);
    }

    /// A line a call.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().operations.iter().map(|one| one.to_string()).collect()
    }

    /// How many were answered so.
    pub(crate) fn count(&self, of: impl Fn(&Operation) -> bool) -> u64 {
        self.0.lock().unwrap().operations.iter().filter(|operation| of(operation)).count() as u64
    }

    /// The first key whose history cannot be explained, with that history.
    pub(crate) fn contradiction(&self, keys: usize) -> Option<String> {
        let events = self.0.lock().unwrap();
        (0..keys).find_map(|key| {
            let of_key: Vec<&Operation> =
                events.operations.iter().filter(|one| one.key == key && one.answer != Answer::Undone).collect();
            let culprit = linear::contradiction(&of_key)?;
            let lines: Vec<String> = of_key.iter().map(|one| one.to_string()).collect();
            Some(format!("key {key}: nothing explains\n  {}\nin\n  {}", of_key[culprit], lines.join("\n  ")))
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = self.at;
        let answer = if self.to.is_some() || self.answer != Answer::Unknown {
            format!("{:?}", self.answer)
        } else {
            "?".to_owned()
        };
        write!(f, "{from:>6}..{to:<6} {:<8} key {} {:?} -> {answer}", self.who, self.key, self.call)
    }
}
