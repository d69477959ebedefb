//! A write, by the step that it enters in: which store first, what is on record before, what is within one transaction.
//!
//! | first | second | |
//! |---|---|---|
//! | old | | it is sent |
//! | old | new | an intent is put on record; it is sent; the key is settled |
//! | new | old, joined | an intent is put on record; one transaction writes the row, sends it, and takes the intent off |
//! | new | old | one transaction writes the row and puts an intent on record; the key is settled after the answer |
//! | new | | one transaction writes the row |
//!
//! Nothing is sent after the pass's end, and nothing but the first kind without an intent on record: an instance that dies, or
//! sleeps, leaves what others find.

use super::attempt::{Failed, Patience, bounded, nothing_written, of_write, unknown};
use super::core::Core;
use super::counts::count;
use super::gate::Pass;
use super::settle::{Held, Proved, prove};
use super::stores::{Intent, Item, Items, Key, Rows, Transaction, When, Written};
use crate::error::Result;
use crate::phase::plan::{Store, Writes};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// What an application asks for.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Key,
    /// None deletes.
    pub(super) image: Option<Item>,
    pub(super) when: When,
}

impl<I: Items, R: Rows> Core<I, R> {
    /// Makes a write, in whichever step it enters.
    pub(super) async fn write(self: &Arc<Self>, write: Write) -> Result<Written> {
        let (end, mut least) = (Instant::now() + self.options.request, 0);
        let answer = loop {
            let pass = self.gate.enter(end, least).await?;
            let Writes { first, second, joined } = pass.step.writes;
            let held = match (first, second) {
                (Store::Old, None) => self.old_alone(&write, pass).await.map(Held::In),
                (Store::Old, Some(_)) => self.old_first(&write, pass).await,
                (Store::New, Some(_)) if joined => self.joined(&write, pass).await,
                (Store::New, _) => self.new_first(&write, pass).await,
            };
            match held {
                Ok(Held::Out(version)) => {
                    least = version;
                    self.gate.nudge.notify_one();
                }
                Ok(Held::In(written)) => break Ok(written),
                Err(failed) => break Err(failed),
            }
        };
        match answer {
            Ok(written @ Written::Done) => {
                count(&self.tally.acknowledged);
                Ok(written)
            }
            Ok(written @ Written::Unmet) => {
                count(&self.tally.unmet);
                Ok(written)
            }
            Err(Failed::Undone(error)) => Err(nothing_written(error)),
            Err(Failed::Unknown(error)) => {
                count(&self.tally.unknown);
                Err(unknown(error))
            }
        }
    }

    /// Sends it; what may still be under way is in flight for as long.
    async fn send(self: &Arc<Self>, write: &Write, pass: Pass) -> (Result<Written, Failed>, Option<Pass>) {
        let sent = async { self.items.write(&write.key, write.image.as_ref(), &write.when).await.map_err(of_write) };
        let answer = bounded(pass.until, sent).await;
        if !matches!(answer, Err(Failed::Unknown(_))) {
            return (answer, Some(pass));
        }
        let landed = pass.until + self.options.request;
        self.spawn(async move {
            sleep_until(landed).await;
            drop(pass);
        });
        (answer, None)
    }

    async fn old_alone(self: &Arc<Self>, write: &Write, pass: Pass) -> Result<Written, Failed> {
        self.send(write, pass).await.0
    }

    async fn old_first(self: &Arc<Self>, write: &Write, pass: Pass) -> Result<Held<Written>, Failed> {
        let writes = pass.step.writes;
        let intent = match self.record(&write.key, Some(writes), pass.until).await {
            Ok(Held::In(intent)) => intent,
            Ok(Held::Out(version)) => return Ok(Held::Out(version)),
            Err(failed) => return Err(Failed::Undone(failed.into_error())),
        };
        let (answer, pass) = self.send(write, pass).await;
        let Some(pass) = pass else { return answer.map(Held::In) };
        match self.settle(&write.key, Some(intent.id), Some(Store::Old), pass.until).await {
            Ok(Held::In(())) => {}
            Ok(Held::Out(_)) => return Err(Failed::Unknown(self.overtaken(&write.key, intent.id).await)),
            // the truth has it, or it was not made: either is an answer, and the other store follows
            Err(_) => {
                if matches!(answer, Ok(Written::Done)) {
                    count(&self.tally.pending);
                }
                self.owe(intent);
            }
        }
        answer.map(Held::In)
    }

    async fn joined(self: &Arc<Self>, write: &Write, pass: Pass) -> Result<Held<Written>, Failed> {
        let writes = pass.step.writes;
        let intent = match self.record(&write.key, Some(writes), pass.until).await {
            Ok(Held::In(intent)) => intent,
            Ok(Held::Out(version)) => return Ok(Held::Out(version)),
            Err(failed) => return Err(Failed::Undone(failed.into_error())),
        };
        let mut patience = Patience::until(pass.until);
        let written = loop {
            match bounded(pass.until, self.joined_once(write, writes, intent.id)).await {
                Err(failed) => match patience.again(failed).await {
                    Ok(()) => {}
                    Err(failed) => break Err(failed),
                },
                written => break written,
            }
        };
        if matches!(written, Err(Failed::Undone(_))) {
            self.owe(intent);
        }
        written
    }

    async fn joined_once(&self, write: &Write, writes: Writes, intent: u64) -> Result<Held<Written>, Failed> {
        let mut transaction = self.rows.begin().await?;
        transaction.guard(&write.key).await?;
        let Proved { step, version } = prove(&mut transaction).await?;
        if step.writes != writes {
            take_back(transaction, intent).await?;
            return Ok(Held::Out(version));
        }
        let there = transaction.row(&write.key).await?;
        if !write.when.holds(there.as_ref()) {
            take_back(transaction, intent).await?;
            return Ok(Held::In(Written::Unmet));
        }
        transaction.write(&write.key, write.image.as_ref()).await?;
        // the row stays locked until this has answered, and is undone with it
        self.items.write(&write.key, write.image.as_ref(), &When::Always).await.map_err(of_write)?;
        transaction.clear(intent).await.map_err(Failed::Unknown)?;
        transaction.commit().await.map_err(Failed::Unknown)?;
        Ok(Held::In(Written::Done))
    }

    async fn new_first(self: &Arc<Self>, write: &Write, pass: Pass) -> Result<Held<Written>, Failed> {
        let writes = pass.step.writes;
        let mut patience = Patience::until(pass.until);
        loop {
            // it is sent within a request of when its intent was recorded, however late in the pass's time that is
            let until = Instant::now() + self.options.request;
            match bounded(pass.until, self.new_first_once(write, writes)).await {
                Err(failed) => patience.again(failed).await?,
                Ok(Held::Out(version)) => return Ok(Held::Out(version)),
                Ok(Held::In((written, intent))) => {
                    if let Some(intent) = intent {
                        let core = Arc::clone(self);
                        self.spawn(async move { core.follow(intent, pass, until).await });
                    }
                    return Ok(Held::In(written));
                }
            }
        }
    }

    /// Writes the row; the intent for the old store where there is one.
    async fn new_first_once(&self, write: &Write, writes: Writes) -> Result<Held<(Written, Option<Intent>)>, Failed> {
        let mut transaction = self.rows.begin().await?;
        transaction.guard(&write.key).await?;
        let Proved { step, version } = prove(&mut transaction).await?;
        if step.writes != writes {
            return Ok(Held::Out(version));
        }
        let there = transaction.row(&write.key).await?;
        if !write.when.holds(there.as_ref()) {
            // nothing to commit, but a transaction that is dropped costs its session
            transaction.commit().await?;
            return Ok(Held::In((Written::Unmet, None)));
        }
        transaction.write(&write.key, write.image.as_ref()).await?;
        let mut intent = None;
        if writes.second.is_some() {
            let recorded = Intent { id: self.intent_id(), key: write.key.clone(), attempt: 0 };
            transaction.intend(&recorded).await?;
            intent = Some(recorded);
        }
        transaction.commit().await.map_err(Failed::Unknown)?;
        Ok(Held::In((Written::Done, intent)))
    }

    /// The old store follows a row that was acknowledged.
    async fn follow(&self, intent: Intent, pass: Pass, until: Instant) {
        match self.settle(&intent.key, Some(intent.id), Some(Store::New), until).await {
            Ok(Held::In(())) => {}
            Ok(Held::Out(_)) => {
                self.overtaken(&intent.key, intent.id).await;
            }
            Err(failed) => {
                count(&self.tally.pending);
                if let Failed::Undone(_) = failed {
                    self.owe(intent);
                }
            }
        }
        drop(pass);
    }
}

/// Takes an intent off the record that nothing was sent under. Whether that was committed makes no difference to the answer, and must
/// not have it looked for again: the intent may be gone that the write would then be sent under. One that is not gone ripens.
async fn take_back(mut transaction: impl Transaction, intent: u64) -> Result<(), Failed> {
    transaction.clear(intent).await?;
    if let Err(error) = transaction.commit().await {
        tracing::debug!("dual writes: intent {intent} may be left to be mended: {}", error.chain());
    }
    Ok(())
}
