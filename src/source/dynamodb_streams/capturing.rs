//! Capturing: what the stream gives goes into a spool, a task a lineage, whatever becomes of it later.
//!
//! Promises: a frame is durable before its lineage is read on. A spool that has no room, or a store that is away, is waited
//! for: nothing is lost while the stream keeps it. What a lineage ends with, its error included, comes after all that
//! was captured of it.

use super::Shared;
use super::reader::LineageReader;
use crate::error::{Error, ErrorKind, Result};
use crate::model::page::{UnitId, Wanted};
use crate::source::{Read, UnitReader};
use crate::spool::Spool;
use crate::spool::frame::Frame;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Lines in a frame, from which on it is written: a page of the pipeline.
const FRAME_BYTES: usize = 1 << 20;

/// Lineages that are asked at once: each may hold two pages.
const ASKED: usize = 8;

/// Between tries while the spool takes nothing.
const PAUSE: Duration = Duration::from_secs(5);

/// Between small frames of a lineage where each is paid for.
const REMOTE_PAUSE: Duration = Duration::from_secs(1);

/// The tasks that capture.
pub(super) struct Capturing {
    shared: Arc<Shared>,
    spool: Arc<Spool>,
    asked: Semaphore,
    tasks: Mutex<BTreeMap<UnitId, JoinHandle<()>>>,
    /// How lineages have ended.
    ended: Mutex<BTreeMap<UnitId, Result<()>>>,
    /// Why the spool takes nothing right now.
    paused: Mutex<Option<String>>,
    stop: CancellationToken,
}

impl Capturing {
    pub(super) fn new(shared: Arc<Shared>, spool: Arc<Spool>) -> Capturing {
        Capturing {
            shared,
            spool,
            asked: Semaphore::new(ASKED),
            tasks: Mutex::default(),
            ended: Mutex::default(),
            paused: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Begins to capture a lineage, of which `wanted` is still to be applied, unless that was begun. Blocks.
    pub(super) fn begin(self: &Arc<Self>, unit: UnitId, wanted: &Wanted) -> Result<()> {
        let mut tasks = lock(&self.tasks);
        if tasks.contains_key(&unit) {
            return Ok(());
        }
        let from = wanted.items.first().map_or(0, |range| range.start);
        let (end, after) = self.spool.log(unit)?.begin(from, wanted.after.as_deref())?;
        let next = Wanted { items: std::iter::once(end..u64::MAX).collect(), after };
        let reader = LineageReader::new(Arc::clone(&self.shared), unit, &next)?;
        let capturing = Arc::clone(self);
        tasks.insert(unit, self.shared.runtime.spawn(async move { capturing.capture(unit, reader).await }));
        Ok(())
    }

    /// Captures until the lineage ends, one way or another, or capturing does. It is not stopped while it writes.
    async fn capture(self: Arc<Self>, unit: UnitId, mut reader: LineageReader) {
        loop {
            let gathered = self.stop.run_until_cancelled(async {
                tokio::time::sleep(reader.urgency().ready_in).await;
                let asked = self.asked.acquire().await;
                (gather(&mut reader).await, asked)
            });
            let Some(((frame, mut ended), asked)) = gathered.await else { return };
            let is_small = frame.as_ref().is_some_and(|frame| frame.lines.len() < FRAME_BYTES);
            if let Some(frame) = frame {
                match self.keep(unit, frame).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => ended = Some(Err(error)),
                }
            }
            drop(asked);
            if let Some(ended) = ended {
                lock(&self.ended).insert(unit, ended);
                return;
            }
            if is_small && self.spool.is_remote() {
                self.stop.run_until_cancelled(tokio::time::sleep(REMOTE_PAUSE)).await;
            }
        }
    }

    /// Makes a frame durable, however long that takes. False when capturing is to end first.
    async fn keep(&self, unit: UnitId, frame: Frame) -> Result<bool> {
        let (log, frame) = (Arc::clone(self.spool.log(unit)?), Arc::new(frame));
        loop {
            let (to, what) = (Arc::clone(&log), Arc::clone(&frame));
            let appended = tokio::task::spawn_blocking(move || to.append(&what)).await;
            match appended.map_err(|error| Error::internal("writing to the spool").because(error))? {
                Ok(()) => break,
                Err(error) if matches!(error.kind(), ErrorKind::Blocked | ErrorKind::Transient) => {
                    let why = error.chain();
                    tracing::warn!("capturing is paused, the stream keeps what comes for 24 hours: {why}");
                    *lock(&self.paused) = Some(why);
                    if self.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        lock(&self.paused).take();
        Ok(true)
    }

    /// Ends capturing; what is being written is finished.
    pub(super) async fn end(&self) {
        self.cancel();
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks.into_values() {
            drop(task.await);
        }
    }

    pub(super) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Whether a lineage has ended.
    pub(super) fn has_ended(&self, unit: UnitId) -> bool {
        lock(&self.ended).contains_key(&unit)
    }

    /// How a lineage has ended; an error is told once.
    pub(super) fn ended(&self, unit: UnitId) -> Option<Result<()>> {
        lock(&self.ended).get_mut(&unit).map(|ended| std::mem::replace(ended, Ok(())))
    }

    /// The error that some lineage has ended with.
    pub(super) fn failure(&self) -> Option<Error> {
        lock(&self.ended).values_mut().find_map(|ended| std::mem::replace(ended, Ok(())).err())
    }

    /// Whether every lineage had nothing more when it was asked last.
    pub(super) fn is_caught_up(&self) -> bool {
        self.shared.watch().are_caught_up(self.shared.capture.lineages.len())
    }

    pub(super) fn paused(&self) -> Option<String> {
        lock(&self.paused).clone()
    }
}

/// What a lineage gives at once, up to a frame, and how it ended if it did.
async fn gather(reader: &mut LineageReader) -> (Option<Frame>, Option<Result<()>>) {
    let mut frame: Option<Frame> = None;
    loop {
        match reader.step().await {
            Ok(Read::Page(page)) => {
                let Some(reached) = page.reached else {
                    return (frame, Some(Err(Error::internal("a page of a stream without a position"))));
                };
                match &mut frame {
                    Some(frame) => {
                        frame.lines.extend_from_slice(&page.bytes);
                        (frame.span.to, frame.reached) = (page.span.to, reached);
                    }
                    None => frame = Some(Frame { span: page.span, lines: page.bytes, reached }),
                }
            }
            Ok(Read::End) => return (frame, Some(Ok(()))),
            // that all are caught up is for the end of the spool to say
            Ok(Read::Empty | Read::Halted | Read::Stop(_)) => return (frame, None),
            Err(error) => return (frame, Some(Err(error))),
        }
        let is_full = frame.as_ref().is_some_and(|frame| frame.lines.len() >= FRAME_BYTES);
        if is_full || !reader.urgency().ready_in.is_zero() {
            return (frame, None);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
