//! The real backfill, from a scan of the live table: it runs through, or dies at some point and another goes on, or falls asleep,
//! has its place taken or its lock taken away, and wakes up.

use super::judge::units;
use super::world::{TABLE, World};
use crate::crash::points::POINTS;
use crate::support::dynamo::AWS_ENVIRONMENT;
use crate::support::engine::{Engine, Outcome, Running};
use crate::support::orders::Place;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// It dies or falls asleep at a point of a page's life.
const PAGE: usize = POINTS.len() - 1;
const SEGMENTS: u64 = 3;
/// No process of a copy takes longer, on a machine that does anything at all.
const LIMIT: Duration = Duration::from_secs(300);

/// Loaders, one after the other, until the copy is complete and all of them have ended.
pub(super) fn load(world: &Arc<World>) {
    let mut sleepers = Vec::new();
    loop {
        sleep(world.chance.millis(20..200));
        let is_ending = world.is_ending();
        let step = world.network.block_on(world.step());
        // a step back may have begun, or another loader may be about to complete it
        let is_complete = matches!(world.network.block_on(units(world)), Ok(Some((0, _))));
        if is_complete || is_ending && !(2..=4).contains(&step) {
            break;
        }
        if (2..=4).contains(&step) {
            sleepers.extend(one(world, is_ending));
        }
    }
    sleepers.into_iter().try_for_each(JoinHandle::join).expect("a loader that woke up ends");
}

/// One process, and what becomes of it; a sleeper wakes up by and by.
fn one(world: &Arc<World>, is_ending: bool) -> Option<JoinHandle<()>> {
    age(world);
    // mostly with what it has read in hand, and none of it written
    let point = if world.chance.hits(500) { "page-encoded" } else { world.chance.one(&POINTS[..PAGE]) };
    let point = format!("{point}:{}", world.chance.of(1..SEGMENTS + 1));
    let (fate, during) = (world.chance.of(0..10), world.chance.millis(100..3_000));
    let takes_lock = world.chance.hits(500);
    match fate {
        _ if is_ending => ended(world, engine(world).run()),
        0..3 => ended(world, engine(world).env("TRANSVASE_ABORT_AT", &point).run()),
        3..7 => {
            let mut running = engine(world).env("TRANSVASE_STOP_AT", &point).spawn();
            running.wait_to_sleep();
            if running.has_ended() {
                ended(world, running.wait(LIMIT));
                return None;
            }
            world.figures.loaders_slept.fetch_add(1, Ordering::Relaxed);
            world.tell(|| format!("a loader falls asleep at {point} for {during:?}"));
            if takes_lock {
                take_lock_away(world);
            }
            let world = Arc::clone(world);
            return Some(std::thread::spawn(move || wake(&world, running, during)));
        }
        _ => ended(world, engine(world).run()),
    }
    None
}

fn wake(world: &World, running: Running, during: Duration) {
    sleep(during);
    running.signal("CONT");
    world.tell(|| "a loader wakes up".to_owned());
    ended(world, running.wait(LIMIT));
}

/// Whoever holds a claim holds it no longer. That waits for the sleeper if he sleeps in a transaction: then he keeps it.
fn take_lock_away(world: &World) {
    let released = world
        .network
        .block_on(async { tokio::time::timeout(Duration::from_millis(500), world.phases().release_lock(TABLE)).await });
    world.tell(|| format!("the lock is taken away: {released:?}"));
}

/// How a process ended: well, or refused, or killed by ourselves; it never fails in another way.
fn ended(world: &World, outcome: Outcome) {
    let (code, signal) = (outcome.code(), outcome.signal());
    world.tell(|| format!("a loader ends: {code:?} {signal:?} {}", outcome.stderr.trim()));
    let figures = &world.figures;
    let figure = match (code, signal) {
        (Some(0), _) => &figures.copies,
        (Some(6), _) => &figures.loaders_refused,
        (_, Some(6)) => &figures.loaders_died,
        _ => panic!("a loader ended with {:?}:\n{}", outcome.status, outcome.stderr),
    };
    figure.fetch_add(1, Ordering::Relaxed);
}

/// A backfill is refused for five minutes after the last instance entered the dual steps. Whoever wrote in the first step alone was
/// waited for by the barrier on the way out of it, so nothing is lost by making that an age ago.
fn age(world: &World) {
    for aged in ["_transvase_phase_history SET at_us = 1", "_transvase_writers SET since_us = 1"] {
        world.network.block_on(world.execute(&format!("UPDATE {aged}")));
    }
}

fn engine(world: &World) -> Engine {
    let (url, segments) = (world.place.url(), SEGMENTS.to_string());
    let from = format!("dynamodb://{TABLE}");
    let engine = Engine::new(&["backfill", "--from", &from, "--to", &url, "--endpoint-url", &world.server.url()]);
    let engine = engine.args(&["--read-capacity", "unlimited", "--segments", &segments, "--lease-seconds", "1"]);
    let engine = AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value));
    match &world.place {
        Place::Server(database) => engine.env("MYSQL_PWD", database.password()),
        Place::File(_) => engine,
    }
}
