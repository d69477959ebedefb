//! Nothing is lost and nothing doubled, whatever dies: the engine, the server, the network between them, or the operator's
//! patience. Each test ends with the table equal to the generator's truth and a report whose counts add up.
//!
//! With `TRANSVASE_SOAK=1` the same tests take more rounds and a larger export, and print their figures.

mod changed;
mod contention;
mod network;
pub(crate) mod points;
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
#[track_caller]
pub(crate) fn asleep(engine: Engine, place: &Place, point: &str) -> Running {
    asleep_or_through(engine, place, point).unwrap_or_else(|| panic!("it was through before it let go of its file"))
}

/// The same in this place, or in another one of its kind: a file's run that was through is begun again in a fresh one. `engine`
/// prepares a place, and is what runs there.
#[track_caller]
pub(crate) fn asleep_anew(place: &Place, engine: impl Fn(&Place) -> Engine, point: &str) -> (Place, Running) {
    let mut place = place.clone();
    for _ in 0..20 {
        if let Some(running) = asleep_or_through(engine(&place), &place, point) {
            return (place, running);
        }
        place = place.another();
    }
    panic!("it was through each time");
}

/// The same; none where a file's run was through before others could have the file.
pub(crate) fn asleep_or_through(engine: Engine, place: &Place, point: &str) -> Option<Running> {
    let mut running = engine.env("TRANSVASE_STOP_AT", point).spawn();
    running.wait_to_sleep();
    assert!(!running.has_ended(), "{point} never came: {}", running.said());
    let is_asleep = match place {
        Place::File(path) => block_on(sleeps_outside(path, &mut running)),
        Place::Server(_) => true,
    };
    is_asleep.then_some(running)
}

/// It may have fallen asleep inside a transaction, and one file would be locked for everybody: it sleeps where we have the lock, unless
/// it has ended before.
async fn sleeps_outside(path: &Path, running: &mut Running) -> bool {
    use sqlx::{Connection, Executor};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::ZERO);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    if connection.execute("BEGIN IMMEDIATE").await.is_err() {
        running.signal("CONT");
        // asked without a rest: one that SQLite makes itself is longer than the time between two transactions
        while connection.execute("BEGIN IMMEDIATE").await.is_err() {
            if running.has_ended() {
                return false;
            }
        }
        running.signal("STOP");
        running.wait_to_sleep();
    }
    connection.execute("ROLLBACK").await.unwrap();
    !running.has_ended()
}
