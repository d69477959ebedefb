//! The phase controller by its commands, on every SQL target: what may not be moved is refused and changes nothing, a barrier
//! stops writers and lets them go on, and a backfill that has lost its lock writes nothing more.

mod barrier;
mod by_hand;
mod dump;
mod interlocks;
mod lock;
mod mending;
mod moves;
mod refusals;
mod replays;

use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{Place, block_on};
use std::sync::Arc;
use std::time::Duration;
use transvase::checkpoint::phases::{Audit, Next, Phase, Phases};
use transvase::driver::pool::Pool;
use transvase::driver::target::{Target, Tls};

/// The migration that all tests are about.
pub(crate) const NAME: &str = "orders";

/// `transvase phase VERB` of the migration in `place`.
fn phase(place: &Place, verb: &str, args: &[&str]) -> Outcome {
    let url = place.url();
    let engine = Engine::new(&["phase", verb, "--on", &url, "--table", NAME, "--by", "tester"]).args(args);
    match place {
        Place::Server(database) => engine.env("MYSQL_PWD", database.password()).run(),
        Place::File(_) => engine.run(),
    }
}

/// The target as the library knows it.
pub(crate) fn target(place: &Place) -> Target {
    let mut target = match place {
        Place::Server(database) => {
            Target::parse(&place.url(), Tls::Auto { ca: Some(database.ca_file.clone()) }).unwrap()
        }
        Place::File(path) => Target::Sqlite(path.clone()),
    };
    if let (Target::MySql(mysql), Place::Server(database)) = (&mut target, place) {
        mysql.password = Some(database.password().to_owned());
    }
    target
}

/// The migration's tables, begun.
pub(crate) fn begun(place: &Place) -> Phases {
    block_on(async {
        let phases = Phases::create(Arc::new(Pool::new(target(place), 2)), NAME).await.unwrap();
        phases.begin("dynamodb-to-mysql", &audit("begin")).await.unwrap();
        phases
    })
}

fn audit(what: &str) -> Audit {
    Audit::new("test", what, None, "{}")
}

/// Puts the migration into a step, whatever holds.
pub(crate) fn put(phases: &Phases, step: u8) -> Phase {
    block_on(put_into(phases, step))
}

async fn put_into(phases: &Phases, step: u8) -> Phase {
    let now = phases.load().await.unwrap().unwrap();
    let next = Next { step, barrier: None, generation: now.generation, within_barrier: false, releases_lock: false };
    assert!(phases.transit(&now, next, &audit("put")).await.unwrap());
    phases.load().await.unwrap().unwrap()
}

/// Makes all that the tables say as old as an hour ago: a backfill would be refused for five minutes else.
fn an_hour_later(place: &Place) {
    let hour = 3_600_000_000_u64;
    place.execute(&format!("UPDATE _transvase_phase_history SET at_us = at_us - {hour}"));
    place.execute(&format!("UPDATE _transvase_writers SET since_us = since_us - {hour}"));
}

fn lease() -> Duration {
    Duration::from_secs(600)
}
