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
use crate::support::engine::{Engine, Running};
use crate::support::orders::{Place, block_on};
use std::path::Path;
use std::time::Duration;

/// The seed of a test's random moments, printed so that a failure can be had again.
pub(crate) fn seeded(name: &str) -> Rng {
    let seed = std::env::var("TRANSVASE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("{name}: TRANSVASE_TEST_SEED={seed}");
    Rng::new(seed, name.len() as u64)
}

/// A random while below `limit`.
pub(crate) fn while_below(rng: &mut Rng, limit: Duration) -> Duration {
    let micros = u64::try_from(limit.as_micros()).unwrap();
    Duration::from_micros(rng.below(micros.max(1)))
}

/// A run that fell asleep at a named point (`EVENT:N`), and leaves the target to others meanwhile.
pub(crate) fn asleep(engine: Engine, place: &Place, point: &str) -> Running {
    let mut running = engine.env("TRANSVASE_STOP_AT", point).spawn();
    running.wait_to_sleep();
    assert!(!running.has_ended(), "{point} never came: {}", running.said());
    if let Place::File(path) = place {
        block_on(asleep_outside(path, &mut running));
    }
    running
}

/// It may have fallen asleep inside a transaction, and one file would be locked for everybody: it sleeps where we have the lock.
async fn asleep_outside(path: &Path, running: &mut Running) {
    use sqlx::{Connection, Executor};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::ZERO);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    if connection.execute("BEGIN IMMEDIATE").await.is_err() {
        running.signal("CONT");
        while connection.execute("BEGIN IMMEDIATE").await.is_err() {
            assert!(!running.has_ended(), "it never let go of the file: {}", running.said());
        }
        running.signal("STOP");
        running.wait_to_sleep();
        assert!(!running.has_ended(), "it was awake too long: {}", running.said());
    }
    connection.execute("ROLLBACK").await.unwrap();
}
