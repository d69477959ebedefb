//! Operators who move the migration forward and back, as `transvase phase` does: by the judge, from what they looked at, across
//! barriers. They die wherever they are, and another goes on from what they left.
//!
//! No certificate is asked for: to write one takes longer than a world lasts.

use super::judge::units;
use super::world::{TABLE, World};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use transvase::checkpoint::phases::{Audit, Next, Phase};
use transvase::error::{Error, Result};
use transvase::phase::dynamodb_to_mysql::DYNAMODB_TO_MYSQL as PLAN;
use transvase::phase::judge::{Facts, Writer, judge};
use transvase::phase::plan::Move;

/// Operators, one after the other.
pub(super) async fn operate(world: Arc<World>) {
    loop {
        let shift = world.chance.millis(300..6_000);
        // dropped wherever it is; what it has sent the server may do
        drop(timeout(shift, Box::pin(work(&world))).await);
        world.tell(|| "the operator dies".to_owned());
        if now(&world).await.is_ok_and(|phase| phase.moving_to.is_some()) {
            world.figures.operators_died.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn work(world: &World) {
    loop {
        sleep(world.chance.millis(20..200)).await;
        if let Err(error) = go(world).await {
            world.tell(|| format!("operator: {}", error.chain()));
        }
    }
}

/// Makes one move, if it can be made.
async fn go(world: &World) -> Result<()> {
    world.phases().take_lock(TABLE, Duration::from_secs(600)).await?;
    let phase = now(world).await?;
    let Some(way) = choose(world, phase.step) else { return Ok(()) };
    let facts = facts(world, &phase).await?;
    // what is on record is looked at once all have stopped
    let facts = if way.barrier.is_some() { Facts { unsettled: Some([0, 0]), ..facts } } else { facts };
    let found = judge(&PLAN, way.to, &facts).map_err(|refusal| Error::refused(refusal.to_string()))?;
    match found.barrier {
        Some(_) => cross(world, phase, found).await,
        None => transit(world, &phase, Next::made_by(&phase, &PLAN, found, false)).await,
    }
}

async fn now(world: &World) -> Result<Phase> {
    world.phases().load().await?.ok_or_else(|| Error::refused("the migration is gone"))
}

/// Mostly forward as long as the source is the truth; seldom to the end, and not to the beginning, after which the target would
/// have to be emptied.
fn choose(world: &World, step: u8) -> Option<&'static Move> {
    let ways: Vec<&'static Move> = PLAN.out_of(step).filter(|way| way.to != 1).collect();
    let forward = ways.iter().filter(|way| way.to > way.from && way.from < 5).min_by_key(|way| way.to);
    let way = match forward {
        Some(way) if world.chance.hits(750) => way,
        _ if ways.is_empty() => return None,
        _ => world.chance.one(&ways),
    };
    (way.to != 7 || world.chance.hits(300)).then_some(*way)
}

/// The transition that changes nothing but the version, and whatever barrier stands.
fn stays(phase: &Phase) -> Next {
    Next { step: phase.step, barrier: None, generation: phase.generation, within_barrier: false, releases_lock: false }
}

/// Stops all writers, looks again, moves, and lets them go on. Some barriers are too short to be met.
async fn cross(world: &World, phase: Phase, found: &'static Move) -> Result<()> {
    let request = u64::try_from(world.request.as_micros()).unwrap();
    let standing = match phase.moving_to {
        Some(to) if to == found.to => phase,
        Some(_) => return Err(Error::refused("another barrier stands")),
        None => {
            let during = world.chance.of(request / 4..5 * request);
            transit(world, &phase, Next { barrier: Some((found.to, during)), ..stays(&phase) }).await?;
            Phase { version: phase.version + 1, moving_to: Some(found.to), ..phase }
        }
    };
    loop {
        let now = now(world).await?;
        if now.version != standing.version {
            return Err(Error::refused("somebody else has moved it"));
        }
        if now.moving_to.is_none() {
            world.figures.withdrawn.fetch_add(1, Ordering::Relaxed);
            return transit(world, &now, stays(&now)).await;
        }
        let writers = world.phases().writers().await?;
        let have_stopped = writers.iter().all(|one| !one.lives || one.stopped && one.version == now.version);
        if have_stopped && judge(&PLAN, found.to, &facts(world, &now).await?).is_ok() {
            let made = transit(world, &now, Next::made_by(&now, &PLAN, found, true)).await;
            if made.is_ok() {
                return made;
            }
        }
        sleep(Duration::from_millis(40)).await;
    }
}

async fn transit(world: &World, from: &Phase, next: Next) -> Result<()> {
    let audit = Audit::new("operator", "move", None, "{}");
    if !world.phases().transit(from, next, &audit).await? {
        return Err(Error::refused("somebody else has moved it, or the barrier is over"));
    }
    let barrier = next.barrier.map(|(to, _)| to);
    world.tell(|| format!("step {} -> {}, barrier to {barrier:?}", from.step, next.step));
    world.figures.moves.lock().unwrap()[usize::from(from.step)][usize::from(next.step)] += 1;
    Ok(())
}

/// What a move is decided by.
async fn facts(world: &World, phase: &Phase) -> Result<Facts> {
    let phases = world.phases();
    let writer = |one: transvase::checkpoint::phases::writers::Instance| Writer {
        name: one.name,
        step: one.step,
        lives: one.lives,
    };
    Ok(Facts {
        table: TABLE.to_owned(),
        step: phase.step,
        lock: phases.lock().await?.map(|lock| lock.run),
        writers: phases.writers().await?.into_iter().map(writer).collect(),
        faults: phases.faults().await?.len() as u64,
        units: units(world).await?,
        open_rejects: Some(0),
        unsettled: phases.unsettled().await?.map(|open| [open, open]),
        expires: Some(false),
        is_fresh: Some(true),
        typed: Some(TABLE.to_owned()),
        ..Facts::default()
    })
}
