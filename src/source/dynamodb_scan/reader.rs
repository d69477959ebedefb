//! One segment, page by page, each request admitted by the limiter and settled with what it cost.

use super::Shared;
use crate::driver::dynamodb::{Refusal, RefusalKind, ScanCall, Scanned};
use crate::error::{Error, ErrorKind, Result};
use crate::limit::limiter::{Ask, Outcome};
use crate::limit::need::need;
use crate::model::page::{Page, Span, UnitId, Wanted};
use crate::source::{Read, UnitReader, Urgency};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What `reached` says after a segment's last page. No key looks like it: keys are JSON objects.
const END: &str = "end";

/// Requests of one segment that fail one after the other, without an answer from the table, before the run gives up: the
/// limiter's waits between them add up to about five minutes, as long as a database is waited for.
const FAILURES_MAX: u32 = 28;

/// What came of a request.
enum Asked {
    Answered(Scanned),
    /// It has to be made again.
    Again,
    /// It was not made: there is no money left for it.
    Spent,
    /// It was not made: nobody waits for its answer.
    Halted,
}

/// Reads one segment.
pub(super) struct SegmentReader {
    shared: Arc<Shared>,
    segment: UnitId,
    position: u64,
    /// The key to go on from.
    after: Option<String>,
    ended: bool,
    /// What it gave so far, since this process has it, by the table's own measure.
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

    /// One request.
    async fn request(&mut self, halt: &CancellationToken) -> Result<Asked> {
        let shared = Arc::clone(&self.shared);
        shared.look_again().await;
        let most = shared.gate.look(|limiter, now| limiter.page_most(self.segment, now));
        let size = shared.pages().next(self.segment, most);
        let ask = Ask { key: self.segment, need: self.need(), estimate: size.estimate };
        // Only the wait is cut short: a request on its way is paid for, so its answer is worth waiting for.
        let admission = tokio::select! {
            admission = shared.gate.admit(ask) => admission,
            () = halt.cancelled() => return Ok(Asked::Halted),
        };
        if !shared.purse().reserve(size.estimate, 0.0) {
            return Ok(Asked::Spent);
        }
        let call = ScanCall {
            table: &shared.table,
            segment: self.segment,
            segments: shared.segments,
            after: self.after.as_deref(),
            limit: size.limit,
            consistent: shared.consistent,
        };
        let answer = shared.driver.scan(&call).await;
        // What was throttled costs nothing; what came to nothing may have been served.
        let units = match &answer {
            Ok(scanned) => scanned.charged.units,
            Err(Refusal { kind: RefusalKind::Unknown, .. }) => size.estimate,
            Err(_) => 0.0,
        };
        shared.purse().pay((size.estimate, 0.0), (units, 0.0));
        match answer {
            Ok(scanned) => {
                admission.settle(Outcome::Charged(units));
                shared.pages().learn(self.segment, scanned.items, units);
                shared.usage().read_units += units;
                let bytes_of_half = if shared.consistent { 2048 } else { 4096 };
                self.read_bytes += half_units(units) * bytes_of_half;
                self.failures = 0;
                Ok(Asked::Answered(scanned))
            }
            Err(refusal) => {
                match &refusal.kind {
                    RefusalKind::Throttled(reasons) => admission.settle(Outcome::Throttled(reasons)),
                    _ => admission.settle(Outcome::Unknown),
                }
                self.refused(refusal).map(|()| Asked::Again)
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
                        "reading table {}: segment {} failed {FAILURES_MAX} times in a row, for minutes; the last time: {}; \
                         the same command goes on from what is durable",
                        self.shared.table, self.segment, refusal.message
                    ),
                ))
            }
            RefusalKind::ConditionFailed | RefusalKind::Value | RefusalKind::Denied | RefusalKind::Other => {
                Err(Error::config(format!("table {}: {}", self.shared.table, refusal.message)))
            }
        }
    }

    fn need(&self) -> u64 {
        need(self.shared.bytes / u64::from(self.shared.segments), self.read_bytes)
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
        let half_units = half_units(scanned.charged.units);
        Read::Page(Page { span, bytes: scanned.lines, reached, half_units })
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a page's charge: a few hundred units")]
fn half_units(units: f64) -> u64 {
    (units * 2.0).ceil() as u64
}

impl UnitReader for SegmentReader {
    fn urgency(&self) -> Urgency {
        Urgency { need: self.need(), ready_in: self.shared.gate.rest(self.segment) }
    }

    fn next(&mut self, halt: &CancellationToken) -> Result<Read> {
        if self.ended {
            self.forget();
            return Ok(Read::End);
        }
        let runtime = self.shared.runtime.clone();
        runtime.block_on(async {
            loop {
                match self.request(halt).await? {
                    Asked::Answered(scanned) => return Ok(self.take(scanned)),
                    Asked::Again => {}
                    Asked::Halted => return Ok(Read::Halted),
                    Asked::Spent => return Ok(Read::Stop(self.shared.spent())),
                }
            }
        })
    }
}
