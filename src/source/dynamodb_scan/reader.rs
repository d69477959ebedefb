//! One segment, page by page, each request admitted by the limiter and settled with what it cost.

use super::Shared;
use crate::driver::dynamodb::{Refusal, RefusalKind, ScanCall, Scanned};
use crate::error::{Error, ErrorKind, Result};
use crate::limit::limiter::{Ask, Outcome};
use crate::limit::need::need;
use crate::model::page::{Page, Span, UnitId, Wanted};
use crate::source::{Read, UnitReader};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What `reached` says after a segment's last page. No key looks like it: keys are JSON objects.
const END: &str = "end";

/// Requests of one segment that fail one after the other, without an answer from the table, before the run gives up: the
/// limiter's waits between them add up to some minutes.
const FAILURES_MAX: u32 = 12;

/// Reads one segment.
pub(super) struct SegmentReader {
    shared: Arc<Shared>,
    segment: UnitId,
    position: u64,
    /// The key to go on from.
    after: Option<String>,
    ended: bool,
    /// What it gave so far, since this process has it.
    read_bytes: u64,
    failures: u32,
    empty_pages: u64,
}

impl SegmentReader {
    pub(super) fn new(shared: Arc<Shared>, segment: UnitId, wanted: &Wanted) -> SegmentReader {
        let ended = wanted.after.as_deref() == Some(END);
        SegmentReader {
            shared,
            segment,
            position: wanted.items.first().map_or(0, |range| range.start),
            after: wanted.after.clone().filter(|_| !ended),
            ended,
            read_bytes: 0,
            failures: 0,
            empty_pages: 0,
        }
    }

    /// One request. None when it has to be made again.
    async fn request(&mut self) -> Result<Option<Scanned>> {
        let shared = Arc::clone(&self.shared);
        shared.look_again().await;
        let most = shared.gate.look(|limiter, now| limiter.page_most(self.segment, now));
        let size = shared.pages().next(self.segment, most);
        let need = need(shared.bytes / u64::from(shared.segments), self.read_bytes);
        let admission = shared.gate.admit(Ask { key: self.segment, need, estimate: size.estimate }).await;
        let call = ScanCall {
            table: &shared.table,
            segment: self.segment,
            segments: shared.segments,
            after: self.after.as_deref(),
            limit: size.limit,
            consistent: shared.consistent,
        };
        match shared.driver.scan(&call).await {
            Ok(scanned) => {
                let units = scanned.charged.units;
                admission.settle(Outcome::Charged(units));
                shared.pages().learn(self.segment, scanned.items, units);
                shared.usage().read_units += units;
                self.read_bytes += scanned.lines.len() as u64;
                self.failures = 0;
                Ok(Some(scanned))
            }
            Err(refusal) => {
                match &refusal.kind {
                    RefusalKind::Throttled(reasons) => admission.settle(Outcome::Throttled(reasons)),
                    _ => admission.settle(Outcome::Unknown),
                }
                self.refused(refusal).map(|()| None)
            }
        }
    }

    /// Books a refusal; an error when it is for good.
    fn refused(&mut self, refusal: Refusal) -> Result<()> {
        let mut usage = self.shared.usage();
        usage.retries += 1;
        match &refusal.kind {
            RefusalKind::Throttled(reasons) => {
                for reason in reasons {
                    *usage.throttled.entry(reason.to_string()).or_default() += 1;
                }
                Ok(())
            }
            RefusalKind::Unknown => {
                self.failures += 1;
                if self.failures < FAILURES_MAX {
                    return Ok(());
                }
                Err(Error::new(
                    ErrorKind::Transient,
                    format!(
                        "table {}: segment {} got no answer {FAILURES_MAX} times in a row, the last time: {}; what is durable \
                         stays: run the same command again once the table answers",
                        self.shared.table, self.segment, refusal.message
                    ),
                ))
            }
            RefusalKind::ConditionFailed | RefusalKind::Value | RefusalKind::Denied | RefusalKind::Other => {
                Err(Error::config(format!("table {}: {}", self.shared.table, refusal.message)))
            }
        }
    }

    fn take(&mut self, scanned: Scanned) -> Read {
        self.ended = scanned.next.is_none();
        self.after = scanned.next;
        if scanned.items == 0 {
            if self.ended {
                self.forget();
                return Read::End;
            }
            self.count_empty();
            return Read::Empty;
        }
        let span = Span { unit: self.segment, from: self.position, to: self.position + scanned.items };
        self.position = span.to;
        let reached = Some(self.after.clone().unwrap_or_else(|| END.to_owned()));
        Read::Page(Page { span, bytes: scanned.lines, reached })
    }

    /// The segment has ended: whoever learned of its pace need not remember it.
    fn forget(&self) {
        self.shared.gate.forget(self.segment);
        self.shared.pages().forget(self.segment);
    }

    fn count_empty(&mut self) {
        self.empty_pages += 1;
        let mut usage = self.shared.usage();
        usage.empty_pages += 1;
        if usage.emptiest.as_ref().is_none_or(|(_, most)| self.empty_pages > *most) {
            usage.emptiest = Some((format!("segment {}", self.segment), self.empty_pages));
        }
    }
}

impl UnitReader for SegmentReader {
    fn next(&mut self, halt: &CancellationToken) -> Result<Read> {
        if self.ended {
            self.forget();
            return Ok(Read::End);
        }
        let runtime = self.shared.runtime.clone();
        runtime.block_on(async {
            loop {
                let answer = tokio::select! {
                    answer = self.request() => answer?,
                    () = halt.cancelled() => return Ok(Read::Halted),
                };
                if let Some(scanned) = answer {
                    return Ok(self.take(scanned));
                }
            }
        })
    }
}
