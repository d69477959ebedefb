//! The benchmark table: one order an item, about 410 bytes a line, so that figures compare from one sitting to another.
//!
//! Attributes, in this order: `customer_id` S (`cust-` and 8 digits, each customer once), `order_id` S (32 hex),
//! `status` S, `total` N (below 5000, in cents), `quantity` N (1 to 19), `created_at` S (ISO-8601 with Z), `gift` BOOL,
//! `tags` SS of two, `address` M of `street` S (with escaped quotes), `zip` S and `geo` L of two N, `note` NULL.

use super::rng::Rng;
use std::io::{self, Write};

const STATUS: [&str; 4] = ["PENDING", "SHIPPED", "DELIVERED", "CANCELLED"];
const TAGS: [&str; 8] = ["priority", "fragile", "gift", "export", "bulk", "return", "insured", "promo"];
const STREET: [&str; 6] = ["Orchard", "Mill", "Harbour", "Station", "King", "Saddle"];
const KIND: [&str; 4] = ["St", "Lane", "Ave", "Row"];

/// Writes order `index` of `seed` as one line.
pub(crate) fn write_line(seed: u64, index: u64, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(b"{\"Item\":");
    write_version(seed, index, 0, out)?;
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// Writes the key of order `index` as a JSON object; a number generator that goes on after it.
pub(crate) fn write_key(seed: u64, index: u64, out: &mut Vec<u8>) -> io::Result<Rng> {
    let mut rng = Rng::new(seed, index);
    write!(out, r#"{{"customer_id":{{"S":"cust-{:08}"}}"#, customer(seed, index))?;
    write!(out, r#","order_id":{{"S":"{:016x}{:016x}"}}}}"#, rng.next(), rng.next())?;
    Ok(rng)
}

/// Writes order `index` as it is after `version` changes, a JSON object: the same key, other attributes.
pub(crate) fn write_version(seed: u64, index: u64, version: u32, out: &mut Vec<u8>) -> io::Result<()> {
    let mut first = write_key(seed, index, out)?;
    // the attributes go on where the key ends
    out.pop();
    let rng = &mut if version == 0 { first } else { Rng::new(first.next(), u64::from(version)) };
    write!(out, r#","status":{{"S":"{}"}},"total":{{"N":""#, rng.pick(&STATUS))?;
    write_decimal(1 + rng.below(499_999), 100, out)?;
    write!(out, r#""}},"quantity":{{"N":"{}"}},"created_at":{{"S":""#, 1 + rng.below(19))?;
    write_moment(rng.below(2 * 365 * 86_400), out)?;
    write!(out, r#""}},"gift":{{"BOOL":{}}}"#, rng.below(8) == 0)?;
    let tag = rng.index(TAGS.len());
    let other = (tag + 1 + rng.index(TAGS.len() - 1)) % TAGS.len();
    write!(out, r#","tags":{{"SS":["{}","{}"]}}"#, TAGS[tag], TAGS[other])?;
    let (number, street, kind) = (1 + rng.below(999), rng.pick(&STREET), rng.pick(&KIND));
    write!(out, r#","address":{{"M":{{"street":{{"S":"{number} \"{street}\" {kind}"}}"#)?;
    write!(out, r#","zip":{{"S":"{:05}"}},"geo":{{"L":[{{"N":""#, rng.below(100_000))?;
    write_decimal(rng.below(90_000_000), 1_000_000, out)?;
    out.extend_from_slice(br#""},{"N":"-"#);
    write_decimal(1 + rng.below(179_999_999), 1_000_000, out)?;
    out.extend_from_slice(b"\"}]}}},\"note\":{\"NULL\":true}}");
    Ok(())
}

/// `units / scale` as DynamoDB prints it: no zero that says nothing.
fn write_decimal(units: u64, scale: u64, out: &mut Vec<u8>) -> io::Result<()> {
    write!(out, "{}", units / scale)?;
    let (mut rest, mut unit) = (units % scale, scale / 10);
    if rest > 0 {
        out.push(b'.');
    }
    while rest > 0 {
        out.push(b'0' + u8::try_from(rest / unit).unwrap_or(0));
        (rest, unit) = (rest % unit, unit / 10);
    }
    Ok(())
}

/// The moment `seconds` after 2024-01-01T00:00:00Z.
pub(crate) fn write_moment(seconds: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day, `days` after 2024-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 2024;
    loop {
        let leap = u64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
        if days < 365 + leap {
            let mut month = 1;
            for length in [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                if days < length {
                    break;
                }
                days -= length;
                month += 1;
            }
            return (year, month, days + 1);
        }
        days -= 365 + leap;
        year += 1;
    }
}

const CUSTOMERS: u64 = 100_000_000;

/// The customer of order `index`: a seeded permutation of eight digits, so that no two orders share one. Four rounds of
/// a Feistel network over 28 bits, walked until the number has eight digits.
fn customer(seed: u64, index: u64) -> u64 {
    let mut number = index % CUSTOMERS;
    loop {
        let (mut left, mut right) = (number >> 14, number & 0x3fff);
        for round in 0..4 {
            (left, right) = (right, left ^ (Rng::new(seed ^ round, right).next() & 0x3fff));
        }
        number = left << 14 | right;
        if number < CUSTOMERS {
            return number;
        }
    }
}
