//! The real limiter against the model of capacity, in simulated time: hours in milliseconds.
//!
//! One run is a discrete-event simulation ([`world`]): readers choose segments and ask the limiter, what is granted
//! reaches the model after half the latency, its answer reaches the limiter after the rest. [`scan`] and [`load`] are
//! the two kinds of work; [`foreground`] is the traffic of others; [`measure`] looks on and says how good it was, and
//! how good it could have been. A run is a function of its scenario and a seed.
//!
//! `tests/simulate.rs` includes this folder and asserts the bounds; the example prints the figures.

#[path = "../../../tests/support/capacity/mod.rs"]
pub(crate) mod capacity;
pub(crate) mod figures;
mod foreground;
mod load;
mod measure;
mod scan;
pub(crate) mod scenario;
mod work;
mod world;

pub(crate) use measure::Outcome;
pub(crate) use world::run;
