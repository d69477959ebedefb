//! Decimal numbers by value: one spelling for all that are equal, of whatever length and with whatever exponent.
//!
//! A column may hold more digits than DynamoDB has, so this is not [`Number`](crate::model::number): it takes any number.

/// Appends the number's one spelling (sign, digits without zeros at either end, `e`, the power of ten), or nothing when
/// `text` is no decimal number: then it says so.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(number) = read(text) else { return false };
    let (whole, fraction) = (number.whole, number.fraction);
    let digit = |at: usize| if at < whole.len() { whole[at] } else { fraction[at - whole.len()] };
    let length = whole.len() + fraction.len();
    let Some(first) = (0..length).find(|at| digit(*at) != b'0') else {
        out.push(b'0');
        return true;
    };
    let last = (first..length).rev().find(|at| digit(*at) != b'0').unwrap_or(first);
    if number.negative {
        out.push(b'-');
    }
    out.extend((first..=last).map(digit));
    let dropped = i128::try_from(length - 1 - last).unwrap_or(0);
    let power = i128::from(number.exponent) - i128::try_from(fraction.len()).unwrap_or(0) + dropped;
    out.push(b'e');
    out.extend_from_slice(power.to_string().as_bytes());
    true
}

struct Spelled<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

fn read(text: &[u8]) -> Option<Spelled<'_>> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let end = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match end {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()?),
        None => (text, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction): (&[u8], &[u8]) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[]),
    };
    let is_number = whole.iter().chain(fraction).all(u8::is_ascii_digit) && whole.len() + fraction.len() > 0;
    is_number.then_some(Spelled { negative, whole, fraction, exponent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write(text.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_number_has_one_spelling() {
        for same in [["1.50", "1.5"], ["0.00", "-0"], ["007", "7e0"], ["1e3", "1000"], ["-0.10E2", "-10"]] {
            assert_eq!(spelled(same[0]), spelled(same[1]), "{same:?}");
        }
        let digits = "12345678901234567890123456789012345678";
        assert_eq!(spelled(digits), Some(format!("{digits}e0")));
        for different in [["1", "-1"], ["1", "10"], ["1e400", "1e401"], ["1.5", "15"]] {
            assert_ne!(spelled(different[0]), spelled(different[1]), "{different:?}");
        }
    }

    #[test]
    fn what_is_no_number_has_none() {
        for text in ["", "-", ".", "1.2.3", "one", "1e", "e1", "0x1", "1 ", "NaN", "1e99999999999999999999"] {
            assert_eq!(spelled(text), None, "{text:?}");
        }
    }
}
