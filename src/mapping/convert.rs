//! One value to one cell: a function for each pair of a DynamoDB type and a column type, from borrowed text straight
//! into the arena of the rows, without allocation.
//!
//! A value either arrives exactly or comes back as a [`Fault`]; when it does, nothing was appended. DOUBLE alone rounds,
//! and only because the mapping asks for it by name. [`fixed_by`] and [`accepts`] tell the compiler what each conversion
//! keeps apart; they stand beside the conversions so that they change together.

use super::spec::{Clock, JsonForm};
use super::{KeyType, json, spelled, time};
use crate::model::number::Number;
use crate::model::rows::Rows;
use crate::model::value::Value;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How a value becomes a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    /// S as it is, N as plain decimal text; at most so many characters.
    Varchar(u32),
    /// S as it is, N as plain decimal text.
    Text,
    /// B decoded, S as UTF-8; at most so many bytes.
    Varbinary(u32),
    /// B decoded, S as UTF-8.
    Blob,
    /// N as order-preserving key bytes; at most so many.
    NumberKey(u32),
    /// N, an integer of 64 bits.
    BigInt,
    /// N, an integer of 32 bits.
    Int,
    /// N as plain decimal text.
    Decimal {
        /// Digits before the point.
        integer: usize,
        /// Digits after the point.
        scale: usize,
    },
    /// N, rounded to the nearest double.
    Double,
    /// BOOL as 0 or 1.
    Boolean,
    /// S or N, a day.
    Date(Clock),
    /// S or N, a moment.
    DateTime(Clock),
    /// Anything.
    Json(JsonForm),
    /// Anything, as plain JSON that MySQL would print so.
    SpelledJson,
}

/// Why a value did not become a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is of another type: the column's `mismatch` rule decides.
    Type,
    /// It is of the right type and cannot be read as what the column holds: the `mismatch` rule decides.
    Form(&'static str),
    /// It is what the column holds, and does not fit: always rejected.
    Unfit(Unfit),
}

/// How a value does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// More characters, bytes or digits than the column has.
    #[error("the value is too long")]
    TooLong,
    /// Beyond the smallest or largest value.
    #[error("the value is out of range")]
    OutOfRange,
    /// More digits after the point than the column keeps.
    #[error("the value has more digits after the point")]
    Scale,
    /// A day was wanted and the time of day would be lost.
    #[error("the value has a time of day")]
    TimeOfDay,
    /// Finer than a microsecond.
    #[error("the value is finer than a microsecond")]
    BelowMicroseconds,
    /// 23:59:60.
    #[error("the value is a leap second")]
    LeapSecond,
    /// No DynamoDB table holds such a key.
    #[error("the key attribute is empty")]
    EmptyKey,
    /// MySQL's JSON keeps the length of a name in 16 bits.
    #[error("an attribute name is longer than 65535 bytes")]
    LongName,
}

/// Appends the cell for `value`, or nothing when it fails.
#[inline]
pub(super) fn append(conversion: Conversion, value: Value<'_>, rows: &mut Rows) -> Result<(), Fault> {
    match (conversion, value) {
        (Conversion::Varchar(length), Value::S(text)) => text_of_length(text, length, rows),
        (Conversion::Varchar(length), Value::N(number)) => decimal_text_of_length(number, length, rows),
        (Conversion::Text, Value::S(text)) => copy_text(text.as_bytes(), rows),
        (Conversion::Text, Value::N(number)) => rows.text(|out| write_plain(number, out)),
        (Conversion::Varbinary(length), Value::S(text)) => utf8_of_length(text, length, rows),
        (Conversion::Varbinary(length), Value::B(base64)) => bytes_of_length(base64, length, rows),
        (Conversion::Blob, Value::S(text)) => copy_bytes(text.as_bytes(), rows),
        (Conversion::Blob, Value::B(base64)) => rows.binary(|out| decode(base64, out)),
        (Conversion::NumberKey(length), Value::N(number)) => number_key(number, length, rows),
        (Conversion::BigInt, Value::N(number)) => bigint(number, rows),
        (Conversion::Int, Value::N(number)) => int(number, rows),
        (Conversion::Decimal { integer, scale }, Value::N(number)) => decimal(number, integer, scale, rows),
        (Conversion::Double, Value::N(number)) => double(number, rows),
        (Conversion::Boolean, Value::Bool(value)) => {
            rows.int(i64::from(value));
            Ok(())
        }
        (Conversion::Date(clock), value) => {
            let micros = micros(value, clock)?;
            rows.text(|out| time::write_date(micros, out))
        }
        (Conversion::DateTime(Clock::Iso), Value::S(text)) => {
            let micros = time::iso_micros(text)?;
            rows.text(|out| {
                time::write_iso(text, micros, out);
                Ok(())
            })
        }
        (Conversion::DateTime(clock), value) => {
            let micros = micros(value, clock)?;
            rows.text(|out| {
                time::write_datetime(micros, out);
                Ok(())
            })
        }
        (Conversion::Json(form), value) => rows.text(|out| json::write(value, form, out)),
        (Conversion::SpelledJson, value) => rows.text(|out| spelled::write(value, out)),
        _ => Err(Fault::Type),
    }
}

/// Whether a value of this type tag can become a cell at all.
pub(super) fn accepts(conversion: Conversion, ty: KeyType) -> bool {
    match conversion {
        Conversion::Varchar(_) | Conversion::Text => ty != KeyType::B,
        Conversion::Varbinary(_) | Conversion::Blob => ty != KeyType::N,
        Conversion::NumberKey(_)
        | Conversion::BigInt
        | Conversion::Int
        | Conversion::Decimal { .. }
        | Conversion::Double => ty == KeyType::N,
        Conversion::Date(clock) | Conversion::DateTime(clock) => {
            ty == if clock == Clock::Iso { KeyType::S } else { KeyType::N }
        }
        Conversion::Boolean => false,
        Conversion::Json(_) | Conversion::SpelledJson => true,
    }
}

/// Whether distinct values of one accepted type are distinct cells; the error says why not.
pub(super) fn fixed_by(conversion: Conversion) -> Result<(), &'static str> {
    match conversion {
        Conversion::Varchar(_)
        | Conversion::Varbinary(_)
        | Conversion::NumberKey(_)
        | Conversion::BigInt
        | Conversion::Int
        | Conversion::Decimal { .. }
        | Conversion::DateTime(Clock::Seconds | Clock::Milliseconds) => Ok(()),
        Conversion::DateTime(Clock::Iso) => Err("one moment has many ISO-8601 spellings"),
        Conversion::Date(_) => Err("one day has many spellings"),
        Conversion::Double => Err("a double rounds"),
        Conversion::Boolean => Err("a boolean has two values"),
        Conversion::Text | Conversion::Blob | Conversion::Json(_) | Conversion::SpelledJson => {
            Err("a primary key does not hold it whole")
        }
    }
}

/// Whether `text` is already what [`Number::write_plain`] prints, given that it is a number DynamoDB can hold.
#[inline]
pub(super) fn is_canonical(text: &str) -> bool {
    let digits = match text.as_bytes() {
        [b'-', b'0'] => return false,
        [b'-', digits @ ..] => digits,
        digits => digits,
    };
    let mut point = None;
    for (index, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {}
            b'.' if point.is_none() => point = Some(index),
            _ => return false,
        }
    }
    let integer = point.unwrap_or(digits.len());
    let no_leading_zero = integer == 1 || (integer > 1 && digits.first() != Some(&b'0'));
    let no_trailing_zero = point.is_none_or(|at| at + 1 < digits.len() && digits.last() != Some(&b'0'));
    no_leading_zero && no_trailing_zero
}

/// Plain decimal text; copied when it is canonical already.
#[inline]
pub(super) fn write_plain(number: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    if is_canonical(number) {
        out.extend_from_slice(number.as_bytes());
    } else {
        parse(number)?.write_plain(out);
    }
    Ok(())
}

/// The decoder has checked every number, so this does not fail.
fn parse(number: &str) -> Result<Number, Fault> {
    Number::parse(number).map_err(|_| Fault::Form("the number is not one that DynamoDB can hold"))
}

/// The decoder has checked every binary, so this does not fail.
fn decode(base64: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    STANDARD.decode_vec(base64, out).map_err(|_| Fault::Form("the binary is not base64"))
}

fn copy_text(text: &[u8], rows: &mut Rows) -> Result<(), Fault> {
    rows.text(|out| {
        out.extend_from_slice(text);
        Ok(())
    })
}

fn copy_bytes(bytes: &[u8], rows: &mut Rows) -> Result<(), Fault> {
    rows.binary(|out| {
        out.extend_from_slice(bytes);
        Ok(())
    })
}

fn fits(length: usize, limit: u32) -> Result<(), Fault> {
    if u32::try_from(length).is_ok_and(|length| length <= limit) { Ok(()) } else { Err(Fault::Unfit(Unfit::TooLong)) }
}

fn text_of_length(text: &str, limit: u32, rows: &mut Rows) -> Result<(), Fault> {
    if fits(text.len(), limit).is_err() {
        fits(text.chars().count(), limit)?;
    }
    copy_text(text.as_bytes(), rows)
}

fn decimal_text_of_length(number: &str, limit: u32, rows: &mut Rows) -> Result<(), Fault> {
    rows.text(|out| {
        let start = out.len();
        write_plain(number, out)?;
        fits(out.len() - start, limit)
    })
}

fn utf8_of_length(text: &str, limit: u32, rows: &mut Rows) -> Result<(), Fault> {
    fits(text.len(), limit)?;
    copy_bytes(text.as_bytes(), rows)
}

fn bytes_of_length(base64: &str, limit: u32, rows: &mut Rows) -> Result<(), Fault> {
    rows.binary(|out| {
        let start = out.len();
        decode(base64, out)?;
        fits(out.len() - start, limit)
    })
}

fn number_key(number: &str, limit: u32, rows: &mut Rows) -> Result<(), Fault> {
    let number = parse(number)?;
    rows.binary(|out| {
        let start = out.len();
        number.write_key(out);
        fits(out.len() - start, limit)
    })
}

/// An integer of 64 bits.
#[inline]
fn integer(number: &str) -> Result<i64, Fault> {
    if let Ok(value) = number.parse() {
        return Ok(value);
    }
    let number = parse(number)?;
    let why = if number.scale() > 0 { Unfit::Scale } else { Unfit::OutOfRange };
    number.to_i64().ok_or(Fault::Unfit(why))
}

fn bigint(number: &str, rows: &mut Rows) -> Result<(), Fault> {
    rows.int(integer(number)?);
    Ok(())
}

fn int(number: &str, rows: &mut Rows) -> Result<(), Fault> {
    let value = i32::try_from(integer(number)?).map_err(|_| Fault::Unfit(Unfit::OutOfRange))?;
    rows.int(i64::from(value));
    Ok(())
}

fn decimal(number: &str, integer: usize, scale: usize, rows: &mut Rows) -> Result<(), Fault> {
    let (digits, decimals) = if is_canonical(number) {
        let digits = number.strip_prefix('-').unwrap_or(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        (if whole == "0" { 0 } else { whole.len() }, fraction.len())
    } else {
        let number = parse(number)?;
        (number.integer_digits(), number.scale())
    };
    if digits > integer {
        return Err(Fault::Unfit(Unfit::OutOfRange));
    }
    if decimals > scale {
        return Err(Fault::Unfit(Unfit::Scale));
    }
    rows.text(|out| write_plain(number, out))
}

fn double(number: &str, rows: &mut Rows) -> Result<(), Fault> {
    let value: f64 = number.parse().map_err(|_| Fault::Form("the number is not decimal"))?;
    // -0 is 0 in DynamoDB
    rows.double(if value == 0.0 { 0.0 } else { value });
    Ok(())
}

fn micros(value: Value<'_>, clock: Clock) -> Result<i64, Fault> {
    match (clock, value) {
        (Clock::Iso, Value::S(text)) => time::iso_micros(text),
        (Clock::Seconds | Clock::Milliseconds, Value::N(number)) => time::epoch_micros(number, clock),
        _ => Err(Fault::Type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rows::CellRef;
    use proptest::prelude::*;

    /// Runs one conversion and shows the cell.
    fn cell(conversion: Conversion, value: Value<'_>) -> Result<String, Fault> {
        let mut rows = Rows::new(1);
        append(conversion, value, &mut rows)?;
        rows.end_row(0);
        Ok(match rows.cell(0, 0) {
            CellRef::Text(text) => format!("text {}", std::str::from_utf8(text).unwrap()),
            CellRef::Bytes(bytes) => format!("bytes {bytes:02x?}"),
            other => format!("{other:?}"),
        })
    }

    fn unfit<T>(why: Unfit) -> Result<T, Fault> {
        Err(Fault::Unfit(why))
    }

    #[test]
    fn varchar_counts_characters_and_keeps_spaces() {
        let varchar = Conversion::Varchar(3);
        assert_eq!(cell(varchar, Value::S("é😀 ")), Ok("text é😀 ".into()));
        assert_eq!(cell(varchar, Value::S("abc ")), unfit(Unfit::TooLong));
        assert_eq!(cell(varchar, Value::S("")), Ok("text ".into()));
        assert_eq!(cell(varchar, Value::N("1.0e2")), Ok("text 100".into()));
        assert_eq!(cell(varchar, Value::N("1000")), unfit(Unfit::TooLong));
        assert_eq!(cell(varchar, Value::B("AQ==")), Err(Fault::Type));
        assert_eq!(cell(Conversion::Text, Value::N("-0.50")), Ok("text -0.5".into()));
    }

    #[test]
    fn varbinary_counts_bytes() {
        let varbinary = Conversion::Varbinary(3);
        assert_eq!(cell(varbinary, Value::B("AAEC")), Ok("bytes [00, 01, 02]".into()));
        assert_eq!(cell(varbinary, Value::B("AAECAw==")), unfit(Unfit::TooLong));
        assert_eq!(cell(varbinary, Value::B("")), Ok("bytes []".into()));
        assert_eq!(cell(varbinary, Value::S("éa")), Ok("bytes [c3, a9, 61]".into()));
        assert_eq!(cell(varbinary, Value::S("éé")), unfit(Unfit::TooLong));
        assert_eq!(cell(varbinary, Value::N("1")), Err(Fault::Type));
        assert_eq!(cell(Conversion::Blob, Value::B("/w==")), Ok("bytes [ff]".into()));
        assert_eq!(cell(Conversion::NumberKey(22), Value::N("0")), Ok("bytes [80]".into()));
        assert_eq!(cell(Conversion::NumberKey(2), Value::N("1")), unfit(Unfit::TooLong));
    }

    #[test]
    fn integers_are_integers_in_range() {
        let bigint = Conversion::BigInt;
        assert_eq!(cell(bigint, Value::N("-9223372036854775808")), Ok("Int(-9223372036854775808)".into()));
        assert_eq!(cell(bigint, Value::N("1.20e1")), Ok("Int(12)".into()));
        assert_eq!(cell(bigint, Value::N("-0")), Ok("Int(0)".into()));
        assert_eq!(cell(bigint, Value::N("9223372036854775808")), unfit(Unfit::OutOfRange));
        assert_eq!(cell(bigint, Value::N("1E125")), unfit(Unfit::OutOfRange));
        assert_eq!(cell(bigint, Value::N("1.5")), unfit(Unfit::Scale));
        assert_eq!(cell(bigint, Value::S("1")), Err(Fault::Type));
        assert_eq!(cell(Conversion::Int, Value::N("2147483647")), Ok("Int(2147483647)".into()));
        assert_eq!(cell(Conversion::Int, Value::N("2147483648")), unfit(Unfit::OutOfRange));
    }

    #[test]
    fn decimals_keep_every_digit_or_are_refused() {
        let decimal = Conversion::Decimal { integer: 3, scale: 2 };
        for (number, expected) in [
            ("999.99", Ok("text 999.99".into())),
            ("-0.5", Ok("text -0.5".into())),
            ("0012.50", Ok("text 12.5".into())),
            ("0", Ok("text 0".into())),
            ("1.005", unfit(Unfit::Scale)),
            ("1e-3", unfit(Unfit::Scale)),
            ("1000", unfit(Unfit::OutOfRange)),
            ("1e3", unfit(Unfit::OutOfRange)),
        ] {
            assert_eq!(cell(decimal, Value::N(number)), expected, "{number}");
        }
        assert_eq!(cell(Conversion::Decimal { integer: 0, scale: 2 }, Value::N("0.25")), Ok("text 0.25".into()));
    }

    #[test]
    fn doubles_and_booleans_take_only_their_own() {
        assert_eq!(cell(Conversion::Double, Value::N("1E-130")), Ok("Double(1e-130)".into()));
        assert_eq!(cell(Conversion::Double, Value::N("-0")), Ok("Double(0.0)".into()));
        assert_eq!(cell(Conversion::Double, Value::S("1")), Err(Fault::Type));
        assert_eq!(cell(Conversion::Boolean, Value::Bool(true)), Ok("Int(1)".into()));
        assert_eq!(cell(Conversion::Boolean, Value::N("1")), Err(Fault::Type));
    }

    #[test]
    fn dates_come_from_the_clock_that_was_named() {
        assert_eq!(cell(Conversion::Date(Clock::Iso), Value::S("2024-02-29")), Ok("text 2024-02-29".into()));
        assert_eq!(cell(Conversion::Date(Clock::Seconds), Value::N("86400")), Ok("text 1970-01-02".into()));
        assert_eq!(cell(Conversion::Date(Clock::Seconds), Value::N("86401")), unfit(Unfit::TimeOfDay));
        assert_eq!(cell(Conversion::DateTime(Clock::Iso), Value::N("0")), Err(Fault::Type));
        assert_eq!(cell(Conversion::DateTime(Clock::Milliseconds), Value::S("1970-01-01")), Err(Fault::Type));
    }

    #[test]
    fn canonical_is_exactly_what_plain_prints() {
        for text in ["0", "1", "10", "-1", "0.5", "-0.05", "100.001"] {
            assert!(is_canonical(text), "{text}");
        }
        for text in ["-0", "01", "-01", "1.0", "1.", ".5", "+1", "1e3", "-0.0", "0.0", "00", "-", ""] {
            assert!(!is_canonical(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decimal_text_round_trips(digits in "-?[0-9]{1,20}(\\.[0-9]{1,18})?", exponent in -40i32..40) {
            let text = format!("{digits}E{exponent}");
            let Ok(number) = Number::parse(&text) else { return Ok(()) };
            let mut plain = Vec::new();
            write_plain(&text, &mut plain).unwrap();
            let plain = String::from_utf8(plain).unwrap();
            prop_assert_eq!(Number::parse(&plain).unwrap(), number);
            prop_assert!(is_canonical(&plain), "{}", plain);
            prop_assert_eq!(is_canonical(&digits), {
                let mut again = Vec::new();
                Number::parse(&digits).unwrap().write_plain(&mut again);
                again == digits.as_bytes()
            });
        }
    }
}
