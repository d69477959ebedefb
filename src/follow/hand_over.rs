//! Whether a stream joins on to a copy that was made without a capture, and where: what was written before a copy's time, or
//! before the end of the window that was applied last, is in the target; the stream must hold all that came after. Pure.

use super::position::Position;
use super::standing::MARGIN_US;
use crate::error::{Error, Result};
use crate::mapping::moment_text;
use crate::source::dynamodb_streams::hand_over::HandOver;

/// How far behind its table a target may be for the stream to take over: half of what a stream keeps, so that as much is left for
/// reading it.
pub const FITS_SECONDS: u64 = 12 * 3600;

/// From when on changes are applied, in seconds since 1970: five minutes before what the target has, since clocks differ, an
/// export may lack what was written in the minute before, and a stream tells whole seconds.
fn from(position: &Position) -> u64 {
    u64::try_from((position.reached_us() - MARGIN_US) / 1_000_000).unwrap_or(0)
}

/// Whether the target is so near to its table, at the time `now`, that the stream, switched on at `created`, can take over.
/// Times are in seconds since 1970.
#[must_use]
pub fn fits(position: &Position, created: Option<u64>, now: u64) -> bool {
    let is_near = now.saturating_sub(from(position)) <= FITS_SECONDS;
    position.begun.is_none() && is_near && created.is_none_or(|created| created <= from(position))
}

/// Where the stream that was switched on at `created` joins on to the copy, at the time `now`. Times are in seconds since
/// 1970.
///
/// # Errors
/// `Refused` when changes would be missing.
pub fn join(position: &Position, created: Option<u64>, now: u64) -> Result<HandOver> {
    let (run, from) = (&position.run, from(position));
    let said = |seconds: u64| moment_text(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000));
    let (reached, hand_over) = (moment_text(position.reached_us()), HandOver { copy: position.copy, from });
    let refused = |why: String| {
        Err(Error::refused(format!(
            "nothing was captured before run {run} read the table, and its stream does not join on: {why}; apply windows of \
             changes first (transvase follow --from dynamodb://TABLE --request-exports s3://BUCKET), or copy the table anew \
             with `transvase backfill --capture --restart`, then follow"
        )))
    };
    if let Some(export) = &position.begun {
        return Err(Error::refused(format!(
            "a window of changes was begun on the copy of run {run} and is not complete (export {export}): go on with it \
             first, by the command that began it"
        )));
    }
    match created {
        None => refused("the service does not tell when the stream was switched on".to_owned()),
        Some(created) if created > from => refused(format!(
            "the target has what was written before {reached}, and the stream was switched on at {}; it must have been on \
             five minutes before",
            said(created)
        )),
        Some(_) if !hand_over.is_safe(now) => refused(format!(
            "the target has what was written before {reached}, {} hours ago, and a stream keeps changes for 24 hours only",
            now.saturating_sub(from) / 3600
        )),
        Some(_) => Ok(hand_over),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::dynamodb_streams::hand_over::SAFE_SECONDS;

    const T: u64 = 1_768_385_930;
    const HOUR: u64 = 3600;

    fn position(applied: Option<u64>) -> Position {
        let micros = |seconds: u64| i64::try_from(seconds).unwrap() * 1_000_000;
        let (as_of_us, applied_us) = (micros(T) + 622_000, applied.map(micros));
        Position { run: "orders".into(), copy: 7, as_of_us, applied_us, begun: None }
    }

    fn why(position: &Position, created: Option<u64>, now: u64) -> String {
        assert!(!fits(position, created, now) || created.is_none());
        join(position, created, now).unwrap_err().to_string()
    }

    #[test]
    fn a_stream_joins_on_five_minutes_before_what_the_target_has() {
        let join = |applied, created, now| join(&position(applied), Some(created), now).unwrap();
        assert_eq!(join(None, T - 300, T + HOUR), HandOver { copy: 7, from: T - 300 });
        assert_eq!(join(Some(T + 900), T + 600, T + HOUR), HandOver { copy: 7, from: T + 600 });
        assert_eq!(join(None, 0, T - 300 + SAFE_SECONDS).from, T - 300);
    }

    #[test]
    fn a_stream_that_lacks_something_is_refused() {
        let copy = position(None);
        let late = why(&copy, Some(T - 299), T + HOUR);
        assert!(late.contains("switched on at 2026-01-14T10:13:51Z") && late.contains("run orders"), "{late}");
        assert!(why(&copy, Some(0), T - 299 + SAFE_SECONDS).contains("20 hours ago"));
        assert!(why(&copy, None, T).contains("does not tell when"));
        let begun = Position { begun: Some("arn:w".into()), ..position(Some(T)) };
        assert!(why(&begun, Some(0), T).contains("arn:w"));
        assert!(why(&position(Some(T + 900)), Some(T + 601), T + HOUR).contains("2026-01-14T10:33:50Z"));
    }

    #[test]
    fn windows_go_on_until_what_is_left_fits_into_the_stream() {
        let at = |hours| fits(&position(None), Some(0), T - 300 + hours * HOUR);
        assert!(at(0) && at(12) && !at(13));
        assert!(!fits(&position(None), Some(T), T + HOUR), "the stream is younger");
    }
}
