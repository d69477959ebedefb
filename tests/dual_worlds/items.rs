//! The real table as one process reaches it: slow, forgetful of answers, and sometimes late. A request travels by itself: it lands
//! whatever becomes of who sent it, within a request's time of its clock or never.

use super::REQUEST;
use super::process::Process;
use super::world::World;
use crate::dual_simulation::fates::{Fate, lost};
use crate::dual_simulation::guards::Guard;
use std::sync::Arc;
use std::time::{Duration, Instant};
use transvase::dual::stores::{Item, Items, Key, When, Written};
use transvase::error::Result;

/// What is left of the longest time of a request, whoever is told nothing of it, in a world that the machine was too slow for before.
const RESERVE: Duration = Duration::from_millis(200);

/// The table.
pub(super) struct WorldItems {
    process: Arc<Process>,
}

impl WorldItems {
    pub(super) fn new(process: Arc<Process>) -> WorldItems {
        WorldItems { process }
    }

    fn world(&self) -> &Arc<World> {
        &self.process.world
    }

    /// The longest that a request is under way and takes effect.
    fn bound(&self) -> Duration {
        self.process.lasts(self.world().request)
    }

    fn fate(&self) -> Fate {
        let world = self.world();
        Fate::of_one(&world.chance, world.weather().items_lost)
    }

    /// How long a request is under way.
    fn way(&self) -> Duration {
        let world = self.world();
        match world.chance.hits(world.weather().slow) {
            false => world.chance.millis(0..4),
            true => self.share(1..500),
        }
    }

    /// How long one is that nobody hears of; it may be longer than anybody waits.
    fn long_way(&self) -> Duration {
        let world = self.world();
        match world.lacks(Guard::RequestBound) && world.chance.hits(300) {
            true => self.share(1000..6000),
            false if world.request > REQUEST => self.share(1..950).min(self.bound() - RESERVE),
            false => self.share(1..950),
        }
    }

    /// So many thousandths of a request's time.
    fn share(&self, thousandths: std::ops::Range<u64>) -> Duration {
        self.bound() * u32::try_from(self.world().chance.of(thousandths)).unwrap() / 1000
    }

    /// An error after a while; or nothing at all, for as long as anybody waits.
    async fn unheard<T>(&self) -> Result<T> {
        let until = if self.world().chance.hits(500) { self.share(1..250) } else { self.bound() * 10 };
        tokio::time::sleep(until).await;
        Err(lost())
    }
}

impl Items for WorldItems {
    async fn read(&self, key: &Key) -> Result<Option<Item>> {
        if self.fate() != Fate::Answered {
            return self.unheard().await;
        }
        tokio::time::sleep(self.way()).await;
        let (world, key) = (Arc::clone(self.world()), key.clone());
        let read = self.world().network.spawn(async move { world.table.read(&key).await });
        let found = read.await.map_err(|_| lost())?;
        tokio::time::sleep(self.way()).await;
        found
    }

    async fn write(&self, key: &Key, image: Option<&Item>, when: &When) -> Result<Written> {
        let (sent, bound, fate) = (Instant::now(), self.bound(), self.fate());
        if fate == Fate::Lost {
            return self.unheard().await;
        }
        let way = if fate == Fate::Answered { self.way() } else { self.long_way() };
        let (world, key, image, when) = (Arc::clone(self.world()), key.clone(), image.cloned(), when.clone());
        let under_way = world.under_way();
        let landing = self.world().network.spawn(async move {
            let _under_way = under_way;
            tokio::time::sleep(way).await;
            let has_bound = !world.lacks(Guard::RequestBound);
            if has_bound && sent.elapsed() >= bound {
                return Err(lost());
            }
            let written = world.table.write(&key, image.as_ref(), &when).await;
            if has_bound && sent.elapsed() >= bound {
                world.stall("a request to the table took longer than is assumed");
            }
            written
        });
        if fate == Fate::Unheard {
            return self.unheard().await;
        }
        let written = landing.await.map_err(|_| lost())?;
        tokio::time::sleep(self.way()).await;
        written
    }
}
