//! An application instance: what the application calls, and the tasks behind it.

use super::attempt::unknown;
use super::core::Core;
use super::counts::Counts;
use super::options::Options;
use super::stores::{Item, Items, Key, Rows, When, Written};
use super::write::Write;
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::time::{Instant, sleep};

/// An instance of an application, registered with the migration of its table. Shared by reference, or in an [`Arc`].
///
/// Dropped without [`close`](Instance::close) it is as if it had been killed: what it was about is mended by others, and a barrier
/// waits until its lease is over.
pub struct Instance<I: Items, R: Rows> {
    core: Arc<Core<I, R>>,
}

impl<I: Items, R: Rows> Instance<I, R> {
    /// Registers an instance, and keeps it registered. It must be called within a tokio runtime. The first write waits until the step
    /// is known.
    ///
    /// # Errors
    /// `Config` when the options' times do not go together.
    pub fn open(items: I, rows: R, options: Options) -> Result<Instance<I, R>> {
        options.check()?;
        let core = Core::new(items, rows, options);
        let (beating, mending) = (Arc::clone(&core), Arc::clone(&core));
        core.spawn(async move { beating.beat_on().await });
        core.spawn(async move { mending.mend_on().await });
        Ok(Instance { core })
    }

    /// Writes the whole item, whatever is there.
    ///
    /// # Errors
    /// Of a write that was not acknowledged: [`may_be_made`](super::may_be_made) tells whether it may have been made all the same.
    pub async fn put(&self, item: Item) -> Result<()> {
        self.put_if(item, When::Always).await.map(drop)
    }

    /// Writes the whole item, if a condition holds of what is there.
    ///
    /// # Errors
    /// As [`put`](Instance::put).
    pub async fn put_if(&self, item: Item, when: When) -> Result<Written> {
        let key = Key::of(&item, &self.core.options.key)?;
        self.write(Write { key, image: Some(item), when }).await
    }

    /// Writes the whole item, if there is one.
    ///
    /// # Errors
    /// As [`put`](Instance::put).
    pub async fn update(&self, item: Item) -> Result<Written> {
        self.put_if(item, When::Present).await
    }

    /// Deletes the item of this key, which may be a whole item.
    ///
    /// # Errors
    /// As [`put`](Instance::put).
    pub async fn delete(&self, key: &Item) -> Result<()> {
        self.delete_if(key, When::Always).await.map(drop)
    }

    /// Deletes the item of this key, if a condition holds of it.
    ///
    /// # Errors
    /// As [`put`](Instance::put).
    pub async fn delete_if(&self, key: &Item, when: When) -> Result<Written> {
        let key = Key::of(key, &self.core.options.key)?;
        self.write(Write { key, image: None, when }).await
    }

    /// The item of this key, which may be a whole item: as all writes that were acknowledged before have left it.
    ///
    /// # Errors
    /// `Transient` when the truth does not answer, or which store it is is not known.
    pub async fn get(&self, key: &Item) -> Result<Option<Item>> {
        let key = Key::of(key, &self.core.options.key)?;
        self.core.read(&key).await
    }

    /// What it has done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.core.tally.snapshot()
    }

    /// Whether it met a fault after which it does not write any more, until it is opened anew.
    #[must_use]
    pub fn locked_out(&self) -> bool {
        self.core.gate.locked_out()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.options.name
    }

    /// Takes its leave: nothing enters any more, what is in flight is waited for.
    ///
    /// # Errors
    /// `Transient` when something is still in flight after three requests' time, or the database does not answer: the lease is then
    /// left to run out.
    pub async fn close(&self) -> Result<()> {
        self.core.gate.close();
        self.core.gate.idle(Instant::now() + self.core.options.request * 3).await?;
        self.core.tell().await;
        self.core.mend_owed().await;
        self.core.gone.cancel();
        self.core.within_request(self.core.rows.leave(&self.core.options.name)).await
    }

    /// Done to its end even if nobody waits for it any more: what was sent cannot be called back.
    async fn write(&self, write: Write) -> Result<Written> {
        let core = Arc::clone(&self.core);
        let done = self.core.spawn(async move { core.write(write).await }).await;
        let gone = || unknown(Error::new(ErrorKind::Transient, "the instance is gone"));
        done.map_err(|error| unknown(Error::internal("a write's task ended").because(error)))?.ok_or_else(gone)?
    }
}

impl<I: Items, R: Rows> Drop for Instance<I, R> {
    fn drop(&mut self) {
        self.core.gone.cancel();
    }
}

impl<I: Items, R: Rows> Core<I, R> {
    /// Heartbeats for as long as the instance is there: a barrier is answered as soon as nothing is in flight.
    async fn beat_on(&self) {
        loop {
            let stopped = self.gate.stopped();
            self.beat(stopped).await;
            let now = self.gate.stopped();
            if now.is_some() && now != stopped {
                continue;
            }
            tokio::select! {
                biased;
                () = self.gate.nudge.notified() => {}
                () = sleep(self.options.heartbeat) => {}
            }
        }
    }

    async fn beat(&self, stopped: Option<u64>) {
        let sent = Instant::now();
        let beat = self.rows.heartbeat(&self.options.name, stopped, self.options.told());
        match self.within_request(beat).await {
            Ok(Some(phase)) => self.gate.learn(phase, sent + self.options.lease),
            Ok(None) => self.gate.forget("there is no such migration"),
            Err(error) => tracing::warn!("dual writes: a heartbeat failed: {}", error.chain()),
        }
    }
}
