//! Making the second store hold what the first one has: by whoever, for whatever reason, always in this way.
//!
//! Lock the key's guard, prove the step, read the truth, write it to the other store, take the intent off the record, commit. Which
//! store is the truth is what was proved, never what somebody remembers. As long as the transaction stands the truth stays where it
//! is; and one key's settlings come one after the other, so that the last writes what is there last.
//!
//! What is sent to DynamoDB from here can outlive the transaction. So it is only sent under an intent that was recorded, or taken up,
//! at most one request before; and that intent goes only when its answer is there.

use super::attempt::{Failed, Patience, bounded, of_write};
use super::core::Core;
use super::stores::{Intent, Items, Key, Rows, Transaction, When};
use crate::error::Error;
use crate::phase::plan::{Step, Store, Writes};
use tokio::time::Instant;

/// What a step was proved to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proved {
    pub(super) step: &'static Step,
    pub(super) version: u64,
}

/// What came of a transaction that is only committed in the step that it is for.
#[derive(Debug)]
pub(super) enum Held<T> {
    /// It was, and is committed.
    In(T),
    /// It is another one, at this version: nothing was done.
    Out(u64),
}

/// Where the migration is, and stays until the transaction ends.
pub(super) async fn prove(transaction: &mut impl Transaction) -> Result<Proved, Failed> {
    let Some(phase) = transaction.prove().await? else {
        return Err(Error::refused("dual writes: the migration is gone").into());
    };
    let step = phase.planned();
    let unknown = || Error::refused(format!("step {} of plan {} is of a later version", phase.step, phase.plan));
    Ok(Proved { step: step.ok_or_else(unknown)?, version: phase.version })
}

impl<I: Items, R: Rows> Core<I, R> {
    /// Puts an intent on record, in a step whose writes are those, if any are given.
    pub(super) async fn record(
        &self,
        key: &Key,
        writes: Option<Writes>,
        until: Instant,
    ) -> Result<Held<Intent>, Failed> {
        let mut patience = Patience::until(until);
        loop {
            // each time another: nobody knows of the one before whether it is on record
            let intent = Intent { id: self.intent_id(), key: key.clone(), attempt: 0 };
            match bounded(until, self.record_once(intent, writes)).await {
                Err(failed) => patience.again(failed).await?,
                recorded => return recorded,
            }
        }
    }

    async fn record_once(&self, intent: Intent, writes: Option<Writes>) -> Result<Held<Intent>, Failed> {
        let mut transaction = self.rows.begin().await?;
        let proved = prove(&mut transaction).await?;
        if writes.is_some_and(|writes| writes != proved.step.writes) {
            return Ok(Held::Out(proved.version));
        }
        transaction.intend(&intent).await?;
        // nothing was sent under it: if it is on record, it is mended, and nothing comes of it
        transaction.commit().await?;
        Ok(Held::In(intent))
    }

    /// Settles a key while `truth` is, or whichever is when none is given. Without an intent nothing is written to the old store.
    pub(super) async fn settle(
        &self,
        key: &Key,
        intent: Option<u64>,
        truth: Option<Store>,
        until: Instant,
    ) -> Result<Held<()>, Failed> {
        let mut patience = Patience::until(until);
        loop {
            match bounded(until, self.settle_once(key, intent, truth)).await {
                Err(failed) => patience.again(failed).await?,
                settled => return settled,
            }
        }
    }

    async fn settle_once(&self, key: &Key, intent: Option<u64>, truth: Option<Store>) -> Result<Held<()>, Failed> {
        let mut transaction = self.rows.begin().await?;
        // the guard first: whoever waits for it must not keep the step from being changed
        transaction.guard(key).await?;
        let Proved { step, version } = prove(&mut transaction).await?;
        if truth.is_some_and(|truth| truth != step.authority()) {
            return Ok(Held::Out(version));
        }
        let sends = match (step.writes.second, intent) {
            (Some(Store::New), _) => {
                let image = self.items.read(key).await?;
                transaction.write(key, image.as_ref()).await?;
                false
            }
            (Some(Store::Old), Some(_)) => {
                let image = transaction.row(key).await?;
                self.items.write(key, image.as_ref(), &When::Always).await.map_err(of_write)?;
                true
            }
            (Some(Store::Old), None) | (None, _) => false,
        };
        if let Some(id) = intent {
            transaction.clear(id).await.map_err(|error| after(sends, error))?;
        }
        // where the truth is whichever it is, doing it again may send what the intent may be gone of: it changes once that is
        let once = sends || (intent.is_some() && truth.is_none());
        transaction.commit().await.map_err(|error| after(once, error))?;
        Ok(Held::In(()))
    }

    /// A write found that the truth had changed while it was under way: it is not known how, so a human looks. The key is settled,
    /// under an intent of now.
    pub(super) async fn overtaken(&self, key: &Key, intent: u64) -> Error {
        let what = format!("a write (intent {intent}) was under way while the truth changed");
        self.gate.lock_out(&what);
        self.fault(what).await;
        let until = Instant::now() + self.options.request;
        if let Ok(Held::In(intent)) = self.record(key, None, until).await
            && let Err(failed) = self.settle(key, Some(intent.id), None, until).await
        {
            tracing::warn!("dual writes: intent {} is left to be mended: {}", intent.id, failed.into_error().chain());
        }
        Error::refused("dual writes: not acknowledged, and locked out: the truth changed while the write was under way")
    }
}

/// A failure after both stores were written. It is not done again where that would send once more what the intent may be gone of.
fn after(sent: bool, error: Error) -> Failed {
    if sent { Failed::Unknown(error) } else { Failed::Undone(error) }
}
