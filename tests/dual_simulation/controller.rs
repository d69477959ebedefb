//! Operators who move the migration forward and back, as `transvase phase` does: by the judge, from what they looked at, across
//! barriers. They die, stand still, and get in each other's way.

use super::base::Base;
use super::guards::Guard;
use super::host::{Host, State};
use super::loader::RUN;
use super::locks::{How, Name};
use super::rows::MemoryRows;
use super::world::World;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use transvase::checkpoint::phases::{Next, Phase};
use transvase::error::{Error, Result};
use transvase::phase::dynamodb_to_mysql::DYNAMODB_TO_MYSQL as PLAN;
use transvase::phase::judge::{Facts, Writer, judge};
use transvase::phase::plan::Move;

/// Operators, one after the other.
pub(super) async fn operate(world: Arc<World>, number: u64) {
    let mut shift = 0;
    while !world.is_ending() {
        shift += 1;
        let host = Host::new(format!("operator-{number}.{shift}"), Arc::clone(&world));
        let mut at_work = tokio::spawn(work(Operator { rows: MemoryRows::new(Arc::clone(&host)) }));
        let shift = world.chance.millis(500..8_000);
        let is_done = tokio::time::timeout(shift, &mut at_work).await.is_ok();
        if !is_done && world.chance.hits(world.weather().sleeps * 4) {
            host.set(State::Sleeps);
            tokio::time::sleep(world.chance.millis(100..3_000)).await;
            host.set(State::Runs);
            tokio::time::sleep(world.chance.millis(0..500)).await;
        }
        host.set(State::Dead);
        at_work.abort();
    }
}

async fn work(operator: Operator) {
    let world = Arc::clone(operator.world());
    let moves = world.chance.of(1..12);
    for _ in 0..moves {
        operator.rows.host.rest(world.chance.millis(10..world.weather().haste[0])).await;
        if world.is_ending() {
            return;
        }
        let done = operator.tidy().await;
        let done = if done.is_ok() { operator.go().await } else { done };
        if let Err(error) = done {
            world.tell(|| format!("{}: {error}", operator.rows.host.name));
        }
    }
}

struct Operator {
    rows: MemoryRows,
}

impl Operator {
    fn world(&self) -> &Arc<World> {
        &self.rows.host.world
    }

    /// Looks at something.
    async fn look<T>(&self, at: impl FnOnce(&Base) -> T) -> Result<T> {
        let chance = &self.world().chance;
        if chance.hits(self.world().weather().stalls) {
            self.rows.host.rest(chance.millis(50..1_500)).await;
        }
        self.rows.send().await?;
        let seen = at(&self.world().base);
        self.rows.hear().await?;
        Ok(seen)
    }

    /// Takes the backfill lock, clears faults, empties a target that is stale.
    async fn tidy(&self) -> Result<()> {
        let world = self.world();
        let (step, is_fresh) = self.look(|base| (base.phase().step, base.tables().is_fresh)).await?;
        let mut transaction = transvase::dual::stores::Rows::begin(&self.rows).await?;
        transaction.lock(Name::Phase, How::Exclusive).await?;
        transaction.lock(Name::Claim, How::Exclusive).await?;
        let clears = world.chance.hits(500);
        let empties = step == 1 && !is_fresh && !world.lacks(Guard::NewIsFresh);
        transaction.change(move |tables, _| {
            if tables.lock.is_none() {
                tables.lock = Some(RUN.to_owned());
                tables.epoch += 1;
            }
            if clears {
                tables.faults.clear();
            }
            if empties && tables.phase.step == 1 {
                tables.rows.clear();
                tables.is_fresh = true;
            }
        })?;
        transvase::dual::stores::Transaction::commit(transaction).await
    }

    /// Makes one move, if it can be made.
    async fn go(&self) -> Result<()> {
        let (world, phase) = (self.world(), self.look(Base::phase).await?);
        let ways: Vec<&'static Move> = PLAN.out_of(phase.step).collect();
        let Some(way) = self.choose(&ways) else { return Ok(()) };
        let mut facts = self.facts(&phase, way).await?;
        if way.barrier.is_some() {
            // those come and go while writers write: they are asked for once all have stopped
            facts.unsettled = Some([0, 0]);
        }
        let found = judge(&PLAN, way.to, &facts).map_err(|refusal| Error::refused(refusal.to_string()))?;
        let is_barred = found.barrier.is_some() && !(found.from == 1 && world.lacks(Guard::FirstBarrier));
        if is_barred {
            self.cross(phase, found).await
        } else {
            self.transit(&phase, Next::made_by(&phase, &PLAN, found, false)).await
        }
    }

    /// Mostly forward as long as the source is the truth; seldom to either end.
    fn choose(&self, ways: &[&'static Move]) -> Option<&'static Move> {
        let (chance, is_fickle) = (&self.world().chance, self.world().weather().fickle);
        let forward = ways.iter().filter(|way| way.to > way.from && way.from < 5).min_by_key(|way| way.to);
        let way = match forward {
            Some(way) if chance.hits(if is_fickle { 400 } else { 750 }) => way,
            _ if ways.is_empty() => return None,
            _ => chance.one(ways),
        };
        let is_end = way.to == 1 || way.to == 7;
        (!is_end || chance.hits(if is_fickle { 1_000 } else { 300 })).then_some(*way)
    }

    /// Stops all writers, looks again, moves, and lets them go on.
    async fn cross(&self, phase: Phase, found: &'static Move) -> Result<()> {
        let during = 1_000 * self.world().chance.of(100..self.world().weather().haste[1]);
        let standing = match phase.moving_to {
            Some(to) if to == found.to => phase,
            Some(_) => return Err(Error::refused("another barrier stands")),
            None => {
                let next = Next {
                    step: phase.step,
                    barrier: Some((found.to, during)),
                    ..Next::made_by(&phase, &PLAN, found, false)
                };
                let next = Next { generation: phase.generation, releases_lock: false, ..next };
                self.transit(&phase, next).await?;
                Phase { version: phase.version + 1, moving_to: Some(found.to), ..phase }
            }
        };
        loop {
            let now = self.look(Base::phase).await?;
            if now.version != standing.version {
                return Err(Error::refused("somebody else has moved it"));
            }
            if now.moving_to.is_none() && !self.world().lacks(Guard::BarrierEnds) {
                self.world().figures.withdrawn.fetch_add(1, Ordering::Relaxed);
                let next = Next {
                    step: now.step,
                    barrier: None,
                    generation: now.generation,
                    within_barrier: false,
                    releases_lock: false,
                };
                return self.transit(&now, next).await;
            }
            let has_stopped = self.have_stopped(&now).await?;
            if has_stopped && (self.world().lacks(Guard::LookedAfterwards) || self.is_right(&now, found).await?) {
                return self.transit(&now, Next::made_by(&now, &PLAN, found, true)).await;
            }
            self.rows.host.rest(Duration::from_millis(50)).await;
        }
    }

    async fn is_right(&self, now: &Phase, found: &'static Move) -> Result<bool> {
        Ok(judge(&PLAN, found.to, &self.facts(now, found).await?).is_ok())
    }

    /// Whether no writer writes any more.
    async fn have_stopped(&self, now: &Phase) -> Result<bool> {
        if self.world().lacks(Guard::WritersStop) {
            return Ok(true);
        }
        self.look(|base| {
            let (at, tables, any) = (base.now(), base.tables(), base.lacks(Guard::StoppedHere));
            tables.writers.values().all(|one| one.until <= at || one.stopped && (one.version == now.version || any))
        })
        .await
    }

    /// A transition: the server makes it whoever waits for it.
    async fn transit(&self, from: &Phase, next: Next) -> Result<()> {
        self.rows.send().await?;
        let (world, from) = (Arc::clone(self.world()), from.clone());
        let made = tokio::spawn(async move {
            let base = &world.base;
            let phase = base.locks.take(&Name::Phase, How::Exclusive).await?;
            let claim =
                if next.releases_lock { Some(base.locks.take(&Name::Claim, How::Exclusive).await?) } else { None };
            let before = base.tables().phase.clone();
            let made = base.transit(&from, next);
            if made {
                let (step, to) = (before.step, next.step);
                world.tell(|| format!("step {step} -> {to}, barrier to {:?}", next.barrier.map(|(to, _)| to)));
                world.figures.moves.lock().unwrap()[usize::from(step)][usize::from(to)] += 1;
            }
            drop((phase, claim));
            Some(made)
        });
        let made = made.await.ok().flatten();
        self.rows.hear().await?;
        match made {
            Some(true) => Ok(()),
            _ => Err(Error::refused("somebody else has moved it, or the barrier is over")),
        }
    }

    /// What a move is decided by, one look after the other.
    async fn facts(&self, phase: &Phase, way: &Move) -> Result<Facts> {
        let world = self.world();
        let lock = self.look(|base| base.tables().lock.clone()).await?;
        let units = self.look(|base| base.tables().units).await?;
        let writers = self.look(writers).await?;
        let faults = self.look(|base| base.tables().faults.len() as u64).await?;
        let open = self.look(|base| base.tables().intents.len() as u64).await?;
        let is_fresh = self.look(|base| base.tables().is_fresh).await?;
        let is_back = way.to < way.from;
        let looks_away = world.lacks(Guard::NewIsSettled) && !is_back || world.lacks(Guard::OldIsSettled) && is_back;
        Ok(Facts {
            table: "table".to_owned(),
            step: phase.step,
            lock,
            writers: if world.lacks(Guard::WritersFollow) { Vec::new() } else { writers },
            faults,
            units: if world.lacks(Guard::CopyComplete) { Some((0, 1)) } else { units },
            open_rejects: Some(0),
            certificate: None,
            replays: Vec::new(),
            unsettled: Some(if looks_away { [0, 0] } else { [open, open] }),
            expires: Some(false),
            no_extras: true,
            is_fresh: Some(is_fresh || world.lacks(Guard::NewIsFresh)),
            typed: Some("table".to_owned()),
        })
    }
}

fn writers(base: &Base) -> Vec<Writer> {
    let (now, tables) = (base.now(), base.tables());
    let writer = |(name, one): (&String, &super::base::WriterRow)| Writer {
        name: name.clone(),
        step: one.step,
        lives: one.until > now,
    };
    tables.writers.iter().map(writer).collect()
}
