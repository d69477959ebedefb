//! Random items of all types and depths: what a property test feeds the whole route.

use super::rng::Rng;
use super::value::{Attributes, Value};

/// Levels of nesting that DynamoDB allows.
pub(crate) const MAX_DEPTH: usize = 32;

/// Item `index` of the table: a key `pk` S, `sk` N that no other has, and random attributes.
pub(crate) fn keyed_item(seed: u64, index: u64) -> Attributes {
    let rng = &mut Rng::new(seed, index);
    let depth = if index.is_multiple_of(16) { MAX_DEPTH } else { 4 };
    let mut item = random_item(rng, depth);
    item.retain(|(name, _)| name != "pk" && name != "sk");
    // the digits after the last slash make the key distinct, whatever stands before it
    let pk = Value::S(format!("{}/{index}", text(rng, 24)));
    let place = rng.index(item.len() + 1);
    item.insert(place, (String::from("sk"), Value::N(number(rng))));
    item.insert(rng.index(place + 1), (String::from("pk"), pk));
    item
}

/// Up to twelve attributes with distinct names, nested at most `depth` deep.
pub(crate) fn random_item(rng: &mut Rng, depth: usize) -> Attributes {
    map(rng, 12, depth)
}

fn map(rng: &mut Rng, limit: u64, depth: usize) -> Attributes {
    let mut map = Attributes::new();
    for _ in 0..=rng.below(limit) {
        let mut name = text(rng, 12);
        if name.is_empty() || map.iter().any(|(taken, _)| *taken == name) {
            name = format!("a{}", map.len());
            map.retain(|(taken, _)| *taken != name);
        }
        let value = value(rng, depth);
        map.push((name, value));
    }
    map
}

fn value(rng: &mut Rng, depth: usize) -> Value {
    // deep items grow a single branch more often than not, else they would grow without bound
    let kinds = if depth == 0 { 8 } else { 10 };
    match rng.below(kinds) {
        0 => Value::S(text(rng, 40)),
        1 => Value::N(number(rng)),
        2 => Value::B(bytes(rng, 40)),
        3 => Value::Bool(rng.below(2) == 0),
        4 => Value::Null,
        5 => Value::Ss(distinct(rng, |rng| text(rng, 8))),
        6 => Value::Ns(distinct(rng, number)),
        7 => Value::Bs(distinct(rng, |rng| bytes(rng, 6))),
        8 if rng.below(8) == 0 => Value::M(Attributes::new()),
        8 => Value::M(map(rng, 2, depth - 1)),
        _ => Value::L((0..rng.below(3)).map(|_| value(rng, depth - 1)).collect()),
    }
}

fn distinct<T: PartialEq>(rng: &mut Rng, mut make: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    let mut members = Vec::new();
    for _ in 0..=rng.below(4) {
        let member = make(rng);
        if !members.contains(&member) {
            members.push(member);
        }
    }
    members
}

/// A number as DynamoDB prints it: up to 38 digits that count, anywhere in its range.
pub(crate) fn number(rng: &mut Rng) -> String {
    let digits: String = match rng.below(8) {
        0 => return String::from("0"),
        1..=4 => (1 + rng.below(99_999)).to_string(),
        _ => (0..=rng.below(38)).map(|_| char::from(b'0' + rng.byte() % 10)).collect(),
    };
    let digits = digits.trim_matches('0');
    if digits.is_empty() {
        return String::from("1");
    }
    let length = i64::try_from(digits.len()).unwrap_or(1);
    let point = match rng.below(8) {
        0 => i64::try_from(rng.below(256)).unwrap_or(0) - 129,
        1..=3 => i64::try_from(rng.below(6)).unwrap_or(0),
        _ => length,
    };
    let sign = if rng.below(3) == 0 { "-" } else { "" };
    format!("{sign}{}", plain(digits, point))
}

/// `0.digits · 10^point` in plain notation; the digits neither begin nor end with a zero.
pub(crate) fn plain(digits: &str, point: i64) -> String {
    let before = usize::try_from(point).unwrap_or(0);
    if before == 0 {
        let zeros = usize::try_from(-point).unwrap_or(0);
        return format!("0.{}{digits}", "0".repeat(zeros));
    }
    if before >= digits.len() {
        return format!("{digits}{}", "0".repeat(before - digits.len()));
    }
    let (integer, fraction) = digits.split_at(before);
    format!("{integer}.{fraction}")
}

fn bytes(rng: &mut Rng, limit: u64) -> Vec<u8> {
    (0..rng.below(limit)).map(|_| rng.byte()).collect()
}

/// Text of fewer than `limit` characters: plain words mostly, else anything that Unicode has.
fn text(rng: &mut Rng, limit: u64) -> String {
    let wild = rng.below(3) == 0;
    (0..rng.below(limit))
        .map(|_| match rng.below(if wild { 6 } else { 1 }) {
            0 => char::from(b"abcdefghij klmnopqrst_uvwxyz0123"[rng.index(32)]),
            1 => char::from(rng.byte() % 128),
            2 => rng
                .pick(&["\"", "\\", "/", "\u{0}", "\u{7f}", "\u{2028}", "\u{feff}", "\u{301}"])
                .chars()
                .next()
                .unwrap_or('x'),
            3 => char::from_u32(0x1f300 + u32::from(rng.byte())).unwrap_or('x'),
            4 => char::from_u32(0xa0 + u32::from(rng.byte())).unwrap_or('x'),
            _ => char::from_u32(u32::try_from(rng.below(0x11_0000)).unwrap_or(0)).unwrap_or('\u{fffd}'),
        })
        .collect()
}
