//! DynamoDB numbers, exactly: up to 38 significant digits, magnitudes from 1E-130 to 9.99…E+125, and zero.
//!
//! Never a float. `1`, `1.0`, `01` and `1e0` are one number and so one key [developer guide, NamingRulesDataTypes],
//! hence everything that compares or stores numbers goes through [`Number`], whose fields are canonical. Two spellings
//! come out of it: plain decimal text (as DynamoDB prints) and the order-preserving key bytes.
//!
//! Key bytes, at most 22, reversible, sorting as the numbers do: zero is `80`. A positive number is `81`, one byte
//! `exponent + 129` (its value is 0.d₁d₂d₃… · 10^exponent), then the digits two at a time, each pair as one byte
//! `pair + 1`, the last pair padded with a zero. A negative number is `7F`, `255 - (exponent + 129)`, each pair as
//! `254 - pair`, and a final `FF`.

/// Significant digits that DynamoDB keeps.
pub const MAX_DIGITS: usize = 38;

/// Largest length of [`Number::write_key`].
pub const MAX_KEY_BYTES: usize = 22;

/// A number in canonical form: no leading or trailing zeros among the digits, zero has none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    len: u8,
    /// The value is 0.d₁d₂d₃… · 10^exponent.
    exponent: i16,
    /// Digit values 0 to 9; those past `len` are zero, so that equality is field by field.
    digits: [u8; MAX_DIGITS],
}

/// The text is not a number that DynamoDB can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a number that DynamoDB can hold")]
pub struct NumberError;

impl Number {
    /// Reads decimal text: optional sign, digits with at most one point, optional exponent.
    ///
    /// # Errors
    /// Anything else, more than 38 significant digits, or a magnitude out of DynamoDB's range.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let mut number = Number { negative, len: 0, exponent: 0, digits: [0; MAX_DIGITS] };
        let mut scan = Scan::default();
        let mut bytes = rest.iter();
        let mut exponent = 0;
        while let Some(byte) = bytes.next() {
            match byte {
                b'0'..=b'9' => scan.digit(byte - b'0', &mut number)?,
                b'.' if !scan.point => scan.point = true,
                b'e' | b'E' => {
                    exponent = parse_exponent(bytes.as_slice())?;
                    break;
                }
                _ => return Err(NumberError),
            }
        }
        if !scan.any_digit {
            return Err(NumberError);
        }
        scan.finish(exponent, number)
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.len == 0
    }

    /// Digits after the decimal point in plain notation.
    #[must_use]
    pub fn scale(&self) -> usize {
        usize::try_from(i16::from(self.len) - self.exponent).unwrap_or(0) * usize::from(self.len > 0)
    }

    /// Digits before the decimal point in plain notation, without leading zeros.
    #[must_use]
    pub fn integer_digits(&self) -> usize {
        if self.is_zero() { 0 } else { usize::try_from(self.exponent).unwrap_or(0) }
    }

    /// The number as an integer, when it is one that fits.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        if self.scale() > 0 || self.integer_digits() > 19 {
            return None;
        }
        let mut value: i128 = 0;
        for position in 0..self.integer_digits() {
            value = value * 10 + i128::from(self.digits.get(position).copied().unwrap_or(0));
        }
        i64::try_from(if self.negative { -value } else { value }).ok()
    }

    /// Plain decimal text as DynamoDB prints it: no exponent, no superfluous zero, `-0` is `0`.
    pub fn write_plain(&self, out: &mut Vec<u8>) {
        if self.is_zero() {
            out.push(b'0');
            return;
        }
        if self.negative {
            out.push(b'-');
        }
        let digits = &self.digits[..usize::from(self.len)];
        let integer = self.integer_digits();
        if integer == 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', usize::from(self.exponent.unsigned_abs())));
            out.extend(digits.iter().map(|digit| b'0' + digit));
            return;
        }
        out.extend(digits.iter().take(integer).map(|digit| b'0' + digit));
        out.extend(std::iter::repeat_n(b'0', integer.saturating_sub(digits.len())));
        if digits.len() > integer {
            out.push(b'.');
            out.extend(digits[integer..].iter().map(|digit| b'0' + digit));
        }
    }

    /// The order-preserving key bytes; see the module's doc for the format.
    pub fn write_key(&self, out: &mut Vec<u8>) {
        if self.is_zero() {
            out.push(0x80);
            return;
        }
        let biased = u8::try_from(self.exponent + EXPONENT_BIAS).unwrap_or(u8::MAX);
        out.push(if self.negative { 0x7f } else { 0x81 });
        out.push(if self.negative { 255 - biased } else { biased });
        for pair in self.digits[..usize::from(self.len)].chunks(2) {
            let pair = pair[0] * 10 + pair.get(1).copied().unwrap_or(0);
            out.push(if self.negative { 254 - pair } else { pair + 1 });
        }
        if self.negative {
            out.push(0xff);
        }
    }

    /// Reads back what [`Number::write_key`] wrote.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let mut number = Number { negative: false, len: 0, exponent: 0, digits: [0; MAX_DIGITS] };
        let (pairs, biased) = match key {
            [0x80] => return Some(number),
            [0x81, biased, pairs @ ..] => (pairs, *biased),
            [0x7f, biased, pairs @ .., 0xff] => {
                number.negative = true;
                (pairs, 255 - biased)
            }
            _ => return None,
        };
        number.exponent = i16::from(biased) - EXPONENT_BIAS;
        for (index, byte) in pairs.iter().enumerate() {
            let pair = if number.negative { 254u8.checked_sub(*byte)? } else { byte.checked_sub(1)? };
            *number.digits.get_mut(index * 2)? = pair / 10;
            *number.digits.get_mut(index * 2 + 1)? = pair % 10;
            number.len = u8::try_from(index * 2 + if pair % 10 == 0 { 1 } else { 2 }).ok()?;
        }
        (number.len > 0).then_some(number)
    }
}

/// Makes the exponents of DynamoDB's range, -129 to 126 for 0.d₁…, fill one byte.
const EXPONENT_BIAS: i16 = 129;

/// What a left-to-right scan of the digits must remember.
#[derive(Default)]
struct Scan {
    any_digit: bool,
    point: bool,
    /// Digits before the point, counted from the first that is not zero.
    integer: i32,
    /// Zeros after the point and before the first other digit.
    leading: i32,
    /// Zeros seen but not stored: they count only if another digit follows.
    zeros: usize,
}

impl Scan {
    #[inline]
    fn digit(&mut self, digit: u8, number: &mut Number) -> Result<(), NumberError> {
        self.any_digit = true;
        let started = number.len > 0;
        if !self.point && (started || digit != 0) {
            self.integer += 1;
        }
        if digit == 0 {
            match (started, self.point) {
                (true, _) => self.zeros += 1,
                (false, true) => self.leading += 1,
                (false, false) => {}
            }
            return Ok(());
        }
        let at = usize::from(number.len) + self.zeros;
        *number.digits.get_mut(at).ok_or(NumberError)? = digit;
        number.len = u8::try_from(at + 1).map_err(|_| NumberError)?;
        self.zeros = 0;
        Ok(())
    }

    fn finish(&self, exponent: i32, mut number: Number) -> Result<Number, NumberError> {
        if number.len == 0 {
            return Ok(Number { negative: false, ..number });
        }
        let point = if self.integer > 0 { self.integer } else { -self.leading };
        let exponent = i16::try_from(point + exponent).map_err(|_| NumberError)?;
        if !(-129..=126).contains(&exponent) {
            return Err(NumberError);
        }
        number.exponent = exponent;
        Ok(number)
    }
}

fn parse_exponent(text: &[u8]) -> Result<i32, NumberError> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 6 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NumberError);
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'));
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        let mut out = Vec::new();
        Number::parse(text).unwrap().write_plain(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn key(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Number::parse(text).unwrap().write_key(&mut out);
        out
    }

    #[test]
    fn spellings_of_one_number_are_one_number() {
        for text in ["1", "1.0", "01", "1e0", "+1", "10e-1", "0.1E1", "1.000"] {
            assert_eq!(plain(text), "1", "{text}");
            assert_eq!(key(text), key("1"), "{text}");
        }
        for text in ["0", "-0", "0.000", "0e50", "-0.0e-99"] {
            assert_eq!(plain(text), "0", "{text}");
        }
    }

    #[test]
    fn plain_text_is_what_dynamodb_prints() {
        for (text, expected) in [
            ("1E3", "1000"),
            ("-12.340", "-12.34"),
            ("0.00120", "0.0012"),
            ("100.5", "100.5"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ] {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(plain("1E125").len(), 126);
        assert_eq!(plain("1E-130").len(), 132);
        assert_eq!(plain("9.9999999999999999999999999999999999999E+125").len(), 126);
    }

    #[test]
    fn what_dynamodb_cannot_hold_is_refused() {
        for text in ["", "-", ".", "e5", "1e", "1.2.3", "0x1", " 1", "1 ", "NaN", "1E126", "1E-131", "1e99999999"] {
            assert!(Number::parse(text).is_err(), "{text}");
        }
        assert!(Number::parse(&"1".repeat(39)).is_err());
        assert!(Number::parse("100000000000000000000000000000000000000000").is_ok());
    }

    #[test]
    fn keys_sort_as_the_numbers_and_read_back() {
        let ascending = [
            "-9.9999999999999999999999999999999999999E125",
            "-1E125",
            "-100",
            "-99.5",
            "-10",
            "-9",
            "-1.05",
            "-1.01",
            "-1",
            "-0.5",
            "-0.05",
            "-1E-130",
            "0",
            "1E-130",
            "0.05",
            "0.5",
            "1",
            "1.01",
            "1.05",
            "1.5",
            "2",
            "9",
            "10",
            "11",
            "99",
            "99.5",
            "100",
            "12345678901234567890123456789012345678",
            "1E125",
        ];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} < {}", pair[0], pair[1]);
        }
        for text in ascending {
            let key = key(text);
            assert!(key.len() <= MAX_KEY_BYTES);
            assert_eq!(Number::from_key(&key), Number::parse(text).ok(), "{text}");
        }
    }

    #[test]
    fn shape_of_a_number_is_told_exactly() {
        let number = Number::parse("-0.0012").unwrap();
        assert_eq!((number.integer_digits(), number.scale()), (0, 4));
        let number = Number::parse("1200").unwrap();
        assert_eq!((number.integer_digits(), number.scale()), (4, 0));
        assert_eq!(Number::parse("9223372036854775807").unwrap().to_i64(), Some(i64::MAX));
        assert_eq!(Number::parse("-9223372036854775808").unwrap().to_i64(), Some(i64::MIN));
        assert_eq!(Number::parse("9223372036854775808").unwrap().to_i64(), None);
        assert_eq!(Number::parse("1.5").unwrap().to_i64(), None);
    }
}
