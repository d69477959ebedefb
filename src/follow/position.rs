//! Where a copy stands, and which window is to be asked for next. The copy's database is asked, nothing is written.

use super::standing::MARGIN_US;
use super::{Copy, find_copy};
use crate::checkpoint::run::{Checkpoint, RunState, name_of};
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::sink::OnConflict;
use crate::sink::destination::Destination;
use std::sync::Arc;

/// What an incremental export may span, in seconds: 15 minutes to 24 hours.
const SPAN: (u64, u64) = (15 * 60, 24 * 3600);

/// A table can be exported up to some minutes ago.
const LATEST_SECONDS: u64 = 5 * 60;

/// Where a copy stands; times in microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The copy's run.
    pub run: String,
    /// Its incarnation.
    pub copy: u64,
    /// Of when the copy is.
    pub as_of_us: i64,
    /// Up to when changes were applied; none when none were.
    pub applied_us: Option<i64>,
    /// The ARN of the export whose window was begun and is not complete.
    pub begun: Option<String>,
}

/// What a target holds of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No copy.
    Nothing,
    /// One that was begun from an export and is not complete.
    Begun(Begun),
    /// A complete one.
    Complete(Position),
}

/// A copy that was begun from an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The export's ARN.
    pub export: String,
    /// What it does about rows that are there.
    pub on_conflict: OnConflict,
    /// Whether the application writes to the target tables too.
    pub live_target: bool,
}

impl Found {
    /// Of the copy that run `run` makes of `table`; by default the run is called as the table is.
    ///
    /// # Errors
    /// `Refused` for a copy that only its own command can complete, and as [`Position::of`].
    pub async fn of(destination: &Destination, mapping: &Mapping, run: Option<&str>, table: &str) -> Result<Found> {
        let name = run.map_or_else(|| name_of(table), str::to_owned);
        let pool = Arc::new(Pool::new(destination.state(), 1));
        let Some(mut checkpoint) = Checkpoint::existing(pool, &name).await? else { return Ok(Found::Nothing) };
        match checkpoint.load().await? {
            None => Ok(Found::Nothing),
            Some((settings, RunState::New | RunState::Resumed)) if settings.items_are_copied() => {
                let export = settings.source.split(' ').next().filter(|arn| arn.contains("/export/"));
                let export = export.ok_or_else(|| {
                    Error::refused(format!(
                        "run {name} copies the table by a scan and is not complete: run the same `transvase backfill` to its \
                         end first, then this command again"
                    ))
                })?;
                let replaces = settings.on_conflict == OnConflict::Replace.name();
                let on_conflict = if replaces { OnConflict::Replace } else { OnConflict::Keep };
                Ok(Found::Begun(Begun { export: export.to_owned(), on_conflict, live_target: settings.live_target }))
            }
            Some(_) => Position::of(destination, mapping, run, table).await.map(Found::Complete),
        }
    }
}

impl Position {
    /// Of the copy that run `run` made of `table`; by default the run is called as the table is.
    ///
    /// # Errors
    /// `Refused` when there is no complete copy by this mapping.
    pub async fn of(destination: &Destination, mapping: &Mapping, run: Option<&str>, table: &str) -> Result<Position> {
        let run = run.map_or_else(|| name_of(table), str::to_owned);
        Ok(Position::of_copy(&find_copy(destination, mapping, run).await?))
    }

    pub(super) fn of_copy(copy: &Copy) -> Position {
        let done = copy.applied.iter().rfind(|window| window.complete);
        let begun = copy.applied.iter().find(|window| !window.complete);
        Position {
            run: copy.run.clone(),
            copy: copy.incarnation,
            as_of_us: copy.as_of_us,
            applied_us: done.map(|window| window.follows.to_us),
            begun: begun.and_then(|window| window.source.split(' ').next()).map(str::to_owned),
        }
    }

    /// Up to when the target has all changes, in microseconds since 1970.
    #[must_use]
    pub fn reached_us(&self) -> i64 {
        self.applied_us.unwrap_or(self.as_of_us)
    }

    /// When the next window begins, in seconds since 1970.
    #[must_use]
    pub fn next_from(&self) -> u64 {
        match self.applied_us {
            Some(to_us) => seconds(to_us),
            // the first window ends at the copy's time, and is as short as it may be
            None => seconds(self.as_of_us).saturating_sub(SPAN.0.max(MARGIN_US.unsigned_abs() / 1_000_000)),
        }
    }

    /// The window to be asked for, in seconds since 1970, at the time `now`, when none is to end later than `until`; none when
    /// it would be too short.
    #[must_use]
    pub fn next(&self, now: u64, until: Option<u64>) -> Option<(u64, u64)> {
        let from = self.next_from();
        let latest = until.unwrap_or(u64::MAX).min(now.saturating_sub(LATEST_SECONDS));
        let to = match self.applied_us {
            Some(_) => {
                let to = (from + SPAN.1).min(latest);
                // what is left up to the end must be exported too
                until.filter(|until| (1..SPAN.0).contains(&until.saturating_sub(to))).map_or(to, |until| until - SPAN.0)
            }
            None => seconds(self.as_of_us),
        };
        (to <= latest && to.saturating_sub(from) >= SPAN.0).then_some((from, to))
    }
}

/// Windows are cut at whole seconds.
fn seconds(micros: i64) -> u64 {
    u64::try_from(micros / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = 1_768_385_930;

    fn position(applied: Option<u64>) -> Position {
        let micros = |seconds: u64| i64::try_from(seconds).unwrap() * 1_000_000;
        let (as_of_us, applied_us) = (micros(T) + 622_000, applied.map(micros));
        Position { run: String::new(), copy: 1, as_of_us, applied_us, begun: None }
    }

    #[test]
    fn the_first_window_ends_at_the_copys_time() {
        assert_eq!(position(None).next(T + 10_000, None), Some((T - 900, T)));
        assert_eq!(position(None).next(T + 300, None), Some((T - 900, T)));
        assert_eq!(position(None).next(T + 299, None), None, "that time cannot be exported yet");
    }

    #[test]
    fn windows_are_of_a_quarter_hour_to_a_day_and_end_five_minutes_ago() {
        assert_eq!(position(Some(T)).next(T + 200_000, None), Some((T, T + 86_400)));
        assert_eq!(position(Some(T)).next(T + 86_400 + 300, None), Some((T, T + 86_400)));
        assert_eq!(position(Some(T)).next(T + 5000, None), Some((T, T + 4700)));
        assert_eq!(position(Some(T)).next(T + 1200, None), Some((T, T + 900)));
        assert_eq!(position(Some(T)).next(T + 1199, None), None);
    }

    #[test]
    fn windows_end_by_the_time_that_is_asked_for_and_leave_none_that_is_too_short() {
        let late = T + 1_000_000;
        let (day, at) = (86_400, position(Some(T)));
        assert_eq!(at.next(late, Some(T + day + 900)), Some((T, T + day)));
        // a day and ten minutes: the first window leaves the second its quarter of an hour
        assert_eq!(at.next(late, Some(T + day + 600)), Some((T, T + day - 300)));
        assert_eq!(at.next(late, Some(T + day)), Some((T, T + day)));
        assert_eq!(at.next(late, Some(T + 900)), Some((T, T + 900)));
        assert_eq!(at.next(late, Some(T + 899)), None);
        assert_eq!(at.next(late, Some(T - 1)), None);
        // a time that cannot be exported up to yet
        assert_eq!(at.next(T + 2300, Some(T + 2500)), Some((T, T + 1600)));
        assert_eq!(at.next(T + 1600, Some(T + 1500)), None);
        // and not more than can be exported
        assert_eq!(at.next(T + 5000, Some(T + day + 600)), Some((T, T + 4700)));
        assert_eq!(position(None).next(late, Some(T - 1)), None, "the copy is of a later time");
    }
}
