//! Which windows of a chain are still to be applied, given the copy and what was applied to it. Pure.

use crate::checkpoint::follows::Applied;
use crate::error::{Error, Result};
use crate::mapping::moment_text;
use crate::source::dynamodb_export::chain::{Link, Window};

/// How long before a copy's time the first window must begin: an export of "now" may lack what was written in the minute
/// before, a scan what was written in the second before, and clocks differ.
pub const MARGIN_US: i64 = 5 * 60 * 1_000_000;

/// Where a window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of it is in the copy.
    InCopy,
    /// It was applied before.
    Applied,
    /// It is to be applied.
    Due,
    /// It ends later than one follows, and waits.
    Later,
}

/// What the windows are held against.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// Its run.
    pub run: &'a str,
    /// What was written before is in it, in microseconds since 1970.
    pub as_of_us: i64,
    /// The windows that follow it, by time.
    pub applied: &'a [Applied],
}

/// Where each of `links`, a chain by time, stands.
///
/// # Errors
/// `Refused` when what is due does not join on to what is there: with both times.
pub fn standings(links: &[Link], copied: &Copied<'_>) -> Result<Vec<Standing>> {
    let done = copied.applied.iter().rfind(|window| window.complete);
    let begun = copied.applied.iter().find(|window| !window.complete);
    let reached = done.map_or(copied.as_of_us - MARGIN_US, |window| window.follows.to_us);
    let passed = if done.is_some() { Standing::Applied } else { Standing::InCopy };
    let standing = |link: &Link| if link.window.to_us <= reached { passed } else { Standing::Due };
    let first = links.iter().find(|link| standing(link) == Standing::Due);
    if let Some(link) = first {
        match done {
            Some(window) => joins_applied(link, window)?,
            None => joins_copy(link, copied)?,
        }
    }
    if let Some(window) = begun {
        let same = first.filter(|link| span(window) == link.window && window.source.starts_with(&link.export_arn));
        if same.is_none() {
            let source = window.source.split(' ').next().unwrap_or_default();
            return Err(Error::refused(format!(
                "window {} was begun with export {source} and is not complete: give a chain that has this export as its \
                 next window",
                span(window)
            )));
        }
    }
    Ok(links.iter().map(standing).collect())
}

fn joins_copy(link: &Link, copied: &Copied<'_>) -> Result<()> {
    let Copied { run, as_of_us, .. } = *copied;
    if link.window.from_us <= as_of_us - MARGIN_US {
        return Ok(());
    }
    let (as_of, at_latest) = (moment_text(as_of_us), moment_text(as_of_us - MARGIN_US));
    Err(Error::refused(format!(
        "the copy of run {run} is of {as_of}, so the first window must begin at {at_latest} or before, five minutes \
         earlier; {link} begins later: export the time between, too"
    )))
}

fn joins_applied(link: &Link, done: &Applied) -> Result<()> {
    let (before, to_us) = (span(done), done.follows.to_us);
    if link.window.from_us > to_us {
        let missing = Window { from_us: to_us, to_us: link.window.from_us };
        return Err(Error::refused(format!(
            "a window is missing between {before}, which was applied last, and {link}: export {missing} too"
        )));
    }
    if link.window.from_us < to_us {
        return Err(Error::refused(format!(
            "{link} overlaps {before}, which was applied last: export {} onwards",
            moment_text(to_us)
        )));
    }
    Ok(())
}

fn span(applied: &Applied) -> Window {
    Window { from_us: applied.follows.from_us, to_us: applied.follows.to_us }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::follows::Follows;
    use crate::source::dynamodb_export::ExportLocation;
    use crate::source::dynamodb_export::chain::TableName;

    const MINUTE: i64 = 60 * 1_000_000;
    /// 2026-01-14T10:00:00Z.
    const T: i64 = 1_768_384_800 * 1_000_000;

    fn link(from: i64, to: i64) -> Link {
        let location = ExportLocation::S3 { bucket: "b".into(), manifest_key: "k".into() };
        let table = TableName { name: "t".into(), arn: "arn".into(), id: "id".into() };
        let window = Window { from_us: T + from * MINUTE, to_us: T + to * MINUTE };
        Link { location, place: format!("w{from}"), export_arn: format!("e{from}"), table, window, changes: 1 }
    }

    fn applied(from: i64, to: i64, complete: bool) -> Applied {
        let Window { from_us, to_us } = link(from, to).window;
        let follows = Follows { copy: 1, from_us, to_us, table: String::new() };
        Applied { run: String::new(), complete, source: format!("e{from} sha256:x"), follows }
    }

    fn stand(links: &[(i64, i64)], windows: &[Applied]) -> Result<Vec<Standing>> {
        let links: Vec<Link> = links.iter().map(|(from, to)| link(*from, *to)).collect();
        standings(&links, &Copied { run: "t", as_of_us: T, applied: windows })
    }

    #[test]
    fn the_first_window_begins_five_minutes_before_the_copy() {
        use Standing::{Due, InCopy};
        assert_eq!(stand(&[(-5, 10), (10, 25)], &[]).unwrap(), [Due, Due]);
        assert_eq!(stand(&[(-60, -40), (-40, -5), (-5, 10)], &[]).unwrap(), [InCopy, InCopy, Due]);
        assert_eq!(stand(&[(-60, -20)], &[]).unwrap(), [InCopy]);
        for late in [-4, 0, 30] {
            let message = stand(&[(late, late + 15)], &[]).unwrap_err().to_string();
            for said in ["2026-01-14T10:00:00Z", "2026-01-14T09:55:00Z", &format!("w{late} (2026-01-14T")] {
                assert!(message.contains(said), "{message}");
            }
        }
    }

    #[test]
    fn a_chain_goes_on_where_the_last_one_ended() {
        use Standing::{Applied as Done, Due};
        let before = [applied(-5, 10, true), applied(10, 30, true)];
        assert_eq!(stand(&[(-5, 10), (10, 30), (30, 50)], &before).unwrap(), [Done, Done, Due]);
        assert_eq!(stand(&[(30, 50)], &before).unwrap(), [Due]);
        assert_eq!(
            stand(&[(10, 20), (20, 30)], &before).unwrap(),
            [Done, Done],
            "cut otherwise, and all of it applied"
        );
        let missing = stand(&[(31, 50)], &before).unwrap_err().to_string();
        assert!(missing.contains("export 2026-01-14T10:30:00Z to 2026-01-14T10:31:00Z too"), "{missing}");
        let overlap = stand(&[(20, 50)], &before).unwrap_err().to_string();
        assert!(
            overlap.contains("w20") && overlap.contains("overlaps 2026-01-14T10:10:00Z to 2026-01-14T10:30"),
            "{overlap}"
        );
    }

    #[test]
    fn a_window_that_was_begun_is_gone_on_with_and_no_other() {
        let before = [applied(-5, 10, true), applied(10, 30, false)];
        assert_eq!(stand(&[(10, 30), (30, 40)], &before).unwrap(), [Standing::Due, Standing::Due]);
        for other in [&[(10, 40)][..], &[(10, 20), (20, 30)], &[(-5, 10)]] {
            let message = stand(other, &before).unwrap_err().to_string();
            assert!(message.contains("was begun with export e10"), "{message}");
        }
    }
}
