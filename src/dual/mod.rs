//! Dual writes: what an application calls while its table moves, so that both stores hold what it was told they hold.
//!
//! An application asks an instance to put, delete and get single items; which store is read and written, in which order and under
//! which locks, says the step that the migration is in ([`phase`](crate::phase)). The protocol, and why each race of it is closed:
//! `docs/phases.md`.
//!
//! Promises: a write that was acknowledged is in the store that is the truth, and will be in the other; one that was not is in
//! both, in none, or on record until it is. An instance that cannot know its step writes nothing. Must not know: the engine that
//! copies what was there before.

pub mod application;
mod attempt;
mod core;
mod counts;
pub mod dynamodb;
mod gate;
mod instance;
mod item;
mod mend;
pub mod mysql;
mod options;
mod read;
mod settle;
pub mod stores;
#[cfg(test)]
mod tests;
mod write;

pub use attempt::may_be_made;
pub use counts::Counts;
pub use instance::Instance;
pub use options::Options;
