//! Nothing is lost and nothing doubled, whatever dies: the engine, the server, the network between them, or the operator's
//! patience. Each test ends with the table equal to the generator's truth and a report whose counts add up.
//!
//! With `TRANSVASE_SOAK=1` the same tests take more rounds and a larger export, and print their figures.

mod changed;
mod contention;
mod network;
mod points;
mod random;
mod server;
mod signals;
mod two;

use crate::generator::rng::Rng;
use std::time::Duration;

/// The seed of a test's random moments, printed so that a failure can be had again.
fn seeded(name: &str) -> Rng {
    let seed = std::env::var("TRANSVASE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("{name}: TRANSVASE_TEST_SEED={seed}");
    Rng::new(seed, name.len() as u64)
}

/// A random while below `limit`.
fn while_below(rng: &mut Rng, limit: Duration) -> Duration {
    let micros = u64::try_from(limit.as_micros()).unwrap();
    Duration::from_micros(rng.below(micros.max(1)))
}
