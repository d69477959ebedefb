//! Dates and moments: ISO-8601 text or an epoch number to microseconds since 1970 UTC, and back to the text that the
//! databases take. Exact in whole microseconds, years 1000 to 9999, or refused. Knows no clock.

use super::convert::{Fault, Unfit, is_canonical};
use super::spec::Clock;
use crate::model::number::Number;

const MICROS_A_SECOND: i64 = 1_000_000;
const SECONDS_A_DAY: i64 = 86_400;
/// 1000-01-01 and 10000-01-01 in seconds since 1970: what DATETIME holds [MySQL reference manual, 13.2.2].
const FIRST_SECOND: i64 = -30_610_224_000;
const AFTER_LAST_SECOND: i64 = 253_402_300_800;

const NOT_ISO: Fault = Fault::Form("the text is not an ISO-8601 date or date and time");

/// Microseconds since 1970 UTC of ISO-8601 text: `2024-02-29`, or a date, `T` or a space, `HH:MM[:SS[.fraction]]` and
/// optionally `Z` or an offset. Without an offset it is UTC.
pub(super) fn iso_micros(text: &str) -> Result<i64, Fault> {
    let mut text = Cursor { bytes: text.as_bytes() };
    let year = text.number(4)?;
    text.byte(b'-')?;
    let month = text.number(2)?;
    text.byte(b'-')?;
    let day = text.number(2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return Err(NOT_ISO);
    }
    let mut seconds = days_from_civil(year, month, day) * SECONDS_A_DAY;
    let mut micros = 0;
    if !text.bytes.is_empty() {
        if !matches!(text.next(), Some(b'T' | b't' | b' ')) {
            return Err(NOT_ISO);
        }
        seconds += time_of_day(&mut text)?;
        micros = fraction(&mut text)?;
        seconds -= offset(&mut text)?;
    }
    in_range(seconds)?;
    Ok(seconds * MICROS_A_SECOND + micros)
}

/// A text that says a time in a way that a column can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeText {
    /// A day: `2024-02-29`.
    Day,
    /// A moment in UTC, which is spelled with a `Z`: nothing but its spelling is lost in a DATETIME.
    Moment,
}

/// What `text` says as a time; none when it is no ISO-8601, has an offset or none at all, or is finer than a microsecond.
#[must_use]
pub fn time_text(text: &str) -> Option<TimeText> {
    if text.as_bytes().get(4) != Some(&b'-') || iso_micros(text).is_err() {
        return None;
    }
    match text.as_bytes() {
        bytes if bytes.len() == 10 => Some(TimeText::Day),
        [.., b'Z' | b'z'] => Some(TimeText::Moment),
        _ => None,
    }
}

/// Microseconds since 1970 UTC of a moment in ISO-8601, as AWS writes it; none when the text is none.
#[must_use]
pub fn moment_micros(text: &str) -> Option<i64> {
    iso_micros(text).ok()
}

/// The moment as ISO-8601 in UTC, with a fraction of a second only where there is one: `2024-02-29T12:00:00Z`.
#[must_use]
pub fn moment_text(micros: i64) -> String {
    let mut text = Vec::new();
    write_datetime(micros, &mut text);
    let text = String::from_utf8_lossy(&text).replace(' ', "T");
    text.trim_end_matches('0').trim_end_matches('.').to_owned() + "Z"
}

/// Microseconds since 1970 of a number of seconds or milliseconds.
pub(super) fn epoch_micros(text: &str, clock: Clock) -> Result<i64, Fault> {
    if !is_canonical(text) {
        let number = Number::parse(text).map_err(|_| Fault::Type)?;
        let mut plain = Vec::new();
        number.write_plain(&mut plain);
        return plain_epoch_micros(&plain, clock);
    }
    plain_epoch_micros(text.as_bytes(), clock)
}

fn plain_epoch_micros(plain: &[u8], clock: Clock) -> Result<i64, Fault> {
    let decimals = if clock == Clock::Milliseconds { 3 } else { 6 };
    let (negative, digits) = match plain {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (integer, fraction) = digits.split_at(point);
    let fraction = fraction.get(1..).unwrap_or_default();
    if fraction.len() > decimals {
        return Err(Fault::Unfit(Unfit::BelowMicroseconds));
    }
    if integer.len() > 15 {
        return Err(Fault::Unfit(Unfit::OutOfRange));
    }
    let shifted = integer.iter().chain(fraction).chain(std::iter::repeat_n(&b'0', decimals - fraction.len()));
    let micros = shifted.fold(0i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let micros = i64::try_from(if negative { -micros } else { micros });
    let micros = micros.map_err(|_| Fault::Unfit(Unfit::OutOfRange))?;
    in_range(micros.div_euclid(MICROS_A_SECOND))?;
    Ok(micros)
}

/// `YYYY-MM-DD HH:MM:SS.ffffff`.
pub(super) fn write_datetime(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros.div_euclid(MICROS_A_SECOND);
    let second = seconds.rem_euclid(SECONDS_A_DAY);
    let mut text = *b"0000-00-00 00:00:00.000000";
    put_day(seconds.div_euclid(SECONDS_A_DAY), &mut text);
    for (at, value) in [(11, second / 3600), (14, second / 60 % 60), (17, second % 60)] {
        put(value, &mut text[at..at + 2]);
    }
    put(micros.rem_euclid(MICROS_A_SECOND), &mut text[20..]);
    out.extend_from_slice(&text);
}

/// What [`write_datetime`] writes for the `micros` that [`iso_micros`] has read from `text`. The commonest spelling,
/// `YYYY-MM-DDTHH:MM:SSZ`, has these very characters in it.
pub(super) fn write_iso(text: &str, micros: i64, out: &mut Vec<u8>) {
    match text.as_bytes().as_array::<20>() {
        Some(text) if text[16] == b':' && text[19].eq_ignore_ascii_case(&b'z') => {
            let mut written = *b"0000-00-00 00:00:00.000000";
            written[..10].copy_from_slice(&text[..10]);
            written[11..19].copy_from_slice(&text[11..19]);
            out.extend_from_slice(&written);
        }
        _ => write_datetime(micros, out),
    }
}

/// `YYYY-MM-DD`, for a moment that is midnight.
pub(super) fn write_date(micros: i64, out: &mut Vec<u8>) -> Result<(), Fault> {
    if micros.rem_euclid(SECONDS_A_DAY * MICROS_A_SECOND) != 0 {
        return Err(Fault::Unfit(Unfit::TimeOfDay));
    }
    let mut text = *b"0000-00-00";
    put_day(micros.div_euclid(SECONDS_A_DAY * MICROS_A_SECOND), &mut text);
    out.extend_from_slice(&text);
    Ok(())
}

fn put_day(days: i64, text: &mut [u8]) {
    let (year, month, day) = civil_from_days(days);
    put(year, &mut text[..4]);
    put(month, &mut text[5..7]);
    put(day, &mut text[8..10]);
}

/// `value`, not negative, right-aligned in `text`.
#[inline]
fn put(value: i64, text: &mut [u8]) {
    let mut rest = value;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}

fn in_range(seconds: i64) -> Result<(), Fault> {
    if (FIRST_SECOND..AFTER_LAST_SECOND).contains(&seconds) { Ok(()) } else { Err(Fault::Unfit(Unfit::OutOfRange)) }
}

/// Reads fixed-width numbers from the front.
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn byte(&mut self, wanted: u8) -> Result<(), Fault> {
        if self.next() == Some(wanted) { Ok(()) } else { Err(NOT_ISO) }
    }

    fn number(&mut self, count: usize) -> Result<i64, Fault> {
        let mut value = 0;
        for _ in 0..count {
            let digit = self.next().filter(u8::is_ascii_digit).ok_or(NOT_ISO)?;
            value = value * 10 + i64::from(digit - b'0');
        }
        Ok(value)
    }

    fn skip(&mut self, wanted: u8) -> bool {
        let here = self.bytes.first() == Some(&wanted);
        if here {
            self.bytes = &self.bytes[1..];
        }
        here
    }
}

/// `HH:MM[:SS]` in seconds.
fn time_of_day(text: &mut Cursor<'_>) -> Result<i64, Fault> {
    let hour = text.number(2)?;
    text.byte(b':')?;
    let minute = text.number(2)?;
    let second = if text.skip(b':') { text.number(2)? } else { 0 };
    if hour > 23 || minute > 59 || second > 60 {
        return Err(NOT_ISO);
    }
    if second == 60 {
        return Err(Fault::Unfit(Unfit::LeapSecond));
    }
    Ok(hour * 3600 + minute * 60 + second)
}

/// `[.digits]` in microseconds.
fn fraction(text: &mut Cursor<'_>) -> Result<i64, Fault> {
    if !text.skip(b'.') {
        return Ok(0);
    }
    let mut micros = 0;
    let mut count: u32 = 0;
    while let Some(digit) = text.bytes.first().copied().filter(u8::is_ascii_digit) {
        text.skip(digit);
        count += 1;
        if count <= 6 {
            micros = micros * 10 + i64::from(digit - b'0');
        } else if digit != b'0' {
            return Err(Fault::Unfit(Unfit::BelowMicroseconds));
        }
    }
    if count == 0 { Err(NOT_ISO) } else { Ok(micros * 10i64.pow(6u32.saturating_sub(count))) }
}

/// Nothing, `Z`, `+HH`, `+HHMM` or `+HH:MM`, in seconds east of UTC.
fn offset(text: &mut Cursor<'_>) -> Result<i64, Fault> {
    let sign = match text.next() {
        None => return Ok(0),
        Some(b'Z' | b'z') if text.bytes.is_empty() => return Ok(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return Err(NOT_ISO),
    };
    let hours = text.number(2)?;
    let minutes = if text.skip(b':') || !text.bytes.is_empty() { text.number(2)? } else { 0 };
    if hours > 23 || minutes > 59 || !text.bytes.is_empty() {
        return Err(NOT_ISO);
    }
    Ok(sign * (hours * 3600 + minutes * 60))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar [H. Hinnant, chrono-compatible date algorithms].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Undoes [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(micros: Result<i64, Fault>) -> String {
        let mut out = Vec::new();
        match micros {
            Ok(micros) => write_datetime(micros, &mut out),
            Err(fault) => return format!("{fault:?}"),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        for text in ["2026-01-14T10:18:50.622Z", "2026-01-14T10:00:00Z", "2026-01-14T10:18:50.000001Z"] {
            assert_eq!(moment_text(moment_micros(text).unwrap()), text);
        }
        assert_eq!(moment_micros("2026-01-14T10:35:00.000Z").map(moment_text).as_deref(), Some("2026-01-14T10:35:00Z"));
        assert_eq!(moment_micros("soon"), None);
    }

    #[test]
    fn iso_text_becomes_utc() {
        for (text, expected) in [
            ("2024-02-29", "2024-02-29 00:00:00.000000"),
            ("2024-01-15T10:18:50.622Z", "2024-01-15 10:18:50.622000"),
            ("2024-01-15 10:18", "2024-01-15 10:18:00.000000"),
            ("2024-01-15t10:18:50.123456000z", "2024-01-15 10:18:50.123456"),
            ("2024-01-01T00:30:00+01:00", "2023-12-31 23:30:00.000000"),
            ("2024-01-01T00:30:00-0530", "2024-01-01 06:00:00.000000"),
            ("2024-01-01T00:30:00+02", "2023-12-31 22:30:00.000000"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31 23:59:59.999999"),
            ("1000-01-01", "1000-01-01 00:00:00.000000"),
            ("9999-12-31T23:59:59.999999", "9999-12-31 23:59:59.999999"),
        ] {
            assert_eq!(shown(iso_micros(text)), expected, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_date_differs_from_a_date_that_does_not_fit() {
        for text in [
            "",
            "2024",
            "2024-1-1",
            "2024-02-30",
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "2024-01-01T",
            "2024-01-01T10",
            "2024-01-01T24:00",
            "2024-01-01T10:60",
            "2024-01-01T10:00:61",
            "2024-01-01T10:00:00.",
            "2024-01-01T10:00:00+1",
            "2024-01-01T10:00:00+01:00x",
            "2024-01-01T10:00:00Zx",
            "2024-01-01T10:00:00+24:00",
            "20240101",
            "+2024-01-01",
            "２024-01-01",
        ] {
            assert!(matches!(iso_micros(text), Err(Fault::Form(_))), "{text}");
        }
        for (text, why) in [
            ("0999-12-31", Unfit::OutOfRange),
            ("9999-12-31T23:30:00-01:00", Unfit::OutOfRange),
            ("2016-12-31T23:59:60Z", Unfit::LeapSecond),
            ("2024-01-01T00:00:00.1234567Z", Unfit::BelowMicroseconds),
        ] {
            assert_eq!(iso_micros(text), Err(Fault::Unfit(why)), "{text}");
        }
    }

    #[test]
    fn epochs_are_exact_or_refused() {
        let seconds = |text| shown(epoch_micros(text, Clock::Seconds));
        assert_eq!(seconds("0"), "1970-01-01 00:00:00.000000");
        assert_eq!(seconds("-1.5"), "1969-12-31 23:59:58.500000");
        assert_eq!(seconds("1.7E9"), "2023-11-14 22:13:20.000000");
        assert_eq!(seconds("253402300799.999999"), "9999-12-31 23:59:59.999999");
        assert_eq!(shown(epoch_micros("1700000000123", Clock::Milliseconds)), "2023-11-14 22:13:20.123000");
        assert_eq!(shown(epoch_micros("0.001", Clock::Milliseconds)), "1970-01-01 00:00:00.000001");
        for (text, clock, why) in [
            ("253402300800", Clock::Seconds, Unfit::OutOfRange),
            ("-30610224001", Clock::Seconds, Unfit::OutOfRange),
            ("1E100", Clock::Seconds, Unfit::OutOfRange),
            ("0.0000001", Clock::Seconds, Unfit::BelowMicroseconds),
            ("0.0001", Clock::Milliseconds, Unfit::BelowMicroseconds),
        ] {
            assert_eq!(epoch_micros(text, clock), Err(Fault::Unfit(why)), "{text}");
        }
    }

    #[test]
    fn a_date_has_no_time_of_day() {
        let mut out = Vec::new();
        assert_eq!(
            write_date(iso_micros("2024-01-01T00:00:01Z").unwrap(), &mut out),
            Err(Fault::Unfit(Unfit::TimeOfDay))
        );
        assert!(write_date(iso_micros("2024-01-01T01:00:00+01:00").unwrap(), &mut out).is_ok());
        assert_eq!(out, b"2024-01-01");
    }

    fn shown_as_spelled(text: &str) -> String {
        let mut out = Vec::new();
        write_iso(text, iso_micros(text).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn spellings_that_are_as_long_as_the_commonest_are_not_copied() {
        for text in ["2024-01-15T10:18.622Z", "2024-01-15T10:18.62Z", "2024-01-15T10:18+0100", "2024-01-15T10:1+01:00"]
        {
            if let Ok(micros) = iso_micros(text) {
                assert_eq!(shown_as_spelled(text), shown(Ok(micros)), "{text}");
            }
        }
        assert_eq!(shown_as_spelled("2024-01-15T10:18.62Z"), "2024-01-15 10:18:00.620000");
        assert_eq!(shown_as_spelled("2024-01-15 10:18:07z"), "2024-01-15 10:18:07.000000");
    }

    proptest! {
        #[test]
        fn the_commonest_spelling_is_written_like_any_other(seconds in FIRST_SECOND..AFTER_LAST_SECOND) {
            let expected = shown(Ok(seconds * MICROS_A_SECOND));
            let spelled = expected.replace(' ', "T").replace(".000000", "Z");
            prop_assert_eq!(shown_as_spelled(&spelled), expected);
        }

        #[test]
        fn every_moment_reads_back(micros in FIRST_SECOND * MICROS_A_SECOND..AFTER_LAST_SECOND * MICROS_A_SECOND) {
            prop_assert_eq!(iso_micros(&shown(Ok(micros))), Ok(micros));
        }
    }
}
