//! What becomes of candidates: differences that are none are told from those that are, an application's writes are never
//! undone, and what was planted is mended.
//!
//! Below the verb the engine's own parts look and mend, on real servers; the finder's part is played by the tests, who plant
//! candidates. The verb is called as its users call it.

mod certificates;
mod interleavings;
mod live;
mod lookups;
mod mending;
mod verb;
mod world;
