//! A type for an attribute that a later item is unlikely to break, or the reason why it has none.

use super::evidence;
use crate::census::attribute::Attribute;
use crate::census::number::Numbers;
use crate::census::text::Texts;
use crate::mapping::{ColumnType, KeyType};

/// Values that a choice takes which a single other value would break: whole numbers, times.
const ENOUGH: u64 = 1000;

/// Values below which an attribute has no column, unless every item is known.
const FEW: u64 = 20;

/// An attribute in fewer items of a hundred has no column.
const RARE_PERCENT: u64 = 1;

/// Digits of a BIGINT's numbers as sampled, so that numbers a thousand times as large fit.
const BIGINT_DIGITS: u64 = 15;

/// Digits before the point that a decimal has at least, and beyond those seen.
const DECIMAL_DIGITS: u64 = 18;
const DIGITS_MORE: u64 = 6;

/// MySQL's limits of DECIMAL.
const PRECISION_MAX: u64 = 65;
const SCALE_MAX: u64 = 30;

/// Lengths that a VARCHAR is given, in characters of up to four bytes, and a VARBINARY. None is of 42 to 255 bytes: such
/// columns must lie in their row's page on MariaDB, of which 62 fill it; of longer ones 240 fit [measured].
const CHARACTERS: [u32; 5] = [64, 128, 255, 512, 1024];
const BYTES: [u32; 4] = [32, 256, 512, 1024];

/// Longest partition key and sort key in bytes [developer guide, ServiceQuotas]; together they fill InnoDB's 3072.
const KEY_BYTES: [u32; 2] = [2048, 1024];

/// Longest key that is read as characters: four bytes each fit a sort key's share.
const KEY_CHARACTERS: [u32; 3] = [64, 128, 255];

/// The order-preserving bytes of any number.
const NUMBER_KEY_BYTES: u32 = 22;

/// How much of the source is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Sampled items of the kind.
    pub(super) items: u64,
    /// Whether they are all that there are.
    pub(super) complete: bool,
}

impl Known {
    fn enough(self, values: u64) -> bool {
        self.complete || values >= ENOUGH
    }
}

/// A type that holds the attribute's values; the error says why it has none.
pub(super) fn choose(attribute: &Attribute, known: Known) -> Result<ColumnType, String> {
    let values = attribute.items - attribute.types.of("NULL");
    if values == 0 {
        return Err("nothing but NULL".into());
    }
    let Some(tag) = attribute.types.only() else { return Err("mixed types".into()) };
    if (values < FEW && !known.complete) || values * 100 < known.items * RARE_PERCENT {
        return Err("rare".into());
    }
    match tag {
        "S" => Ok(text(&attribute.texts, known)),
        "N" => number(&attribute.numbers, known),
        "B" => Ok(length(&BYTES, attribute.longest_binary).map_or(ColumnType::Blob, ColumnType::Varbinary)),
        "BOOL" => Ok(ColumnType::Boolean),
        _ => Ok(ColumnType::Json),
    }
}

fn text(texts: &Texts, known: Known) -> ColumnType {
    if known.enough(texts.count) && texts.days == texts.count {
        return ColumnType::Date;
    }
    if known.enough(texts.count) && texts.moments == texts.count {
        return ColumnType::DateTime;
    }
    length(&CHARACTERS, texts.longest).map_or(ColumnType::Text, ColumnType::Varchar)
}

/// Twice as long, rounded up; none when that is too long for a length.
fn length(lengths: &[u32], longest: u64) -> Option<u32> {
    lengths.iter().copied().find(|length| u64::from(*length) >= longest * 2)
}

fn number(numbers: &Numbers, known: Known) -> Result<ColumnType, String> {
    let enough = known.enough(numbers.count);
    let scale = match numbers.scale {
        0 if enough && numbers.integer_digits <= BIGINT_DIGITS => return Ok(ColumnType::BigInt),
        0 if enough => 0,
        ..=2 if enough => 2,
        scale => scale + 4,
    };
    let integer = DECIMAL_DIGITS.max(numbers.integer_digits + DIGITS_MORE);
    if scale > SCALE_MAX || integer + scale > PRECISION_MAX {
        return Err("numbers of too many digits for a decimal with room".into());
    }
    match (u8::try_from(integer + scale), u8::try_from(scale)) {
        (Ok(precision), Ok(scale)) => Ok(ColumnType::Decimal { precision, scale }),
        _ => Err("numbers of too many digits".into()),
    }
}

/// The type of the key's column number `place`; `attribute` is what was seen of it.
pub(super) fn choose_key(place: usize, ty: KeyType, attribute: Option<&Attribute>, known: Known) -> ColumnType {
    let any = any_key(place, ty);
    let Some(attribute) = attribute else { return any };
    match ty {
        KeyType::S if attribute.texts.nul > 0 => any,
        KeyType::S => {
            let fits = |characters: &u32| u64::from(*characters) >= attribute.texts.longest * 2;
            KEY_CHARACTERS.into_iter().find(fits).map_or(any, ColumnType::Varchar)
        }
        KeyType::N => {
            let whole = attribute.numbers.scale == 0 && attribute.numbers.integer_digits <= BIGINT_DIGITS;
            if whole && known.enough(attribute.numbers.count) { ColumnType::BigInt } else { any }
        }
        KeyType::B => {
            let fits = |bytes: &u32| u64::from(*bytes) >= attribute.longest_binary * 2;
            KEY_CHARACTERS.into_iter().find(fits).map_or(any, ColumnType::Varbinary)
        }
    }
}

/// A type that holds whatever key DynamoDB takes.
pub(super) fn any_key(place: usize, ty: KeyType) -> ColumnType {
    match ty {
        KeyType::N => ColumnType::Varbinary(NUMBER_KEY_BYTES),
        KeyType::S | KeyType::B => ColumnType::Varbinary(KEY_BYTES[place.min(1)]),
    }
}

/// What the choice rests on.
pub(super) fn evidence(attribute: &Attribute, known: Known) -> String {
    evidence::of(attribute, known.items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::census::Census;
    use crate::mapping::parse_key;
    use crate::model::decode::Decoder;
    use std::collections::BTreeSet;

    /// What is chosen for an attribute of `copies` copies of these values.
    fn chosen(values: &[&str], copies: u64, complete: bool) -> Result<String, String> {
        let mut census = Census::new(&parse_key("pk:S").unwrap(), &BTreeSet::new());
        let mut decoder = Decoder::default();
        for value in values {
            let line = format!(r#"{{"Item":{{"a":{value}}}}}"#);
            for _ in 0..copies {
                decoder.decode(line.as_bytes(), |item| census.add(item, 1)).unwrap();
            }
        }
        let known = Known { items: census.items, complete };
        choose(census.attributes.get("a").unwrap(), known).map(|ty| ty.to_string())
    }

    #[test]
    fn types_leave_room_for_what_was_not_seen() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(chosen(&[r#"{"N":"1.5"}"#, r#"{"N":"2188.29"}"#], 600, false), ok("decimal(20,2)"));
        assert_eq!(chosen(&[r#"{"N":"1.5"}"#], 30, false), ok("decimal(23,5)"));
        assert_eq!(chosen(&[r#"{"N":"19"}"#], 1000, false), ok("bigint"));
        assert_eq!(chosen(&[r#"{"N":"19"}"#], 999, false), ok("decimal(22,4)"));
        assert_eq!(chosen(&[r#"{"N":"1234567890123456"}"#], 1000, false), ok("decimal(22,0)"));
        assert_eq!(chosen(&[r#"{"N":"1e40"}"#], 1000, false), ok("decimal(47,0)"));
        assert!(chosen(&[r#"{"N":"1e90"}"#], 1000, false).is_err());
        assert!(chosen(&[r#"{"N":"0.123456789012345678901234567"}"#], 1000, true).is_err());
        assert_eq!(chosen(&[r#"{"S":"SHIPPED"}"#], 50, false), ok("varchar(64)"));
        assert_eq!(chosen(&[r#"{"S":"00017"}"#], 5000, false), ok("varchar(64)"), "what looks like a number is text");
        assert_eq!(chosen(&[r#"{"S":"2024-05-06"}"#], 1000, false), ok("date"));
        assert_eq!(chosen(&[r#"{"S":"2024-05-06"}"#], 100, false), ok("varchar(64)"));
        assert_eq!(chosen(&[r#"{"S":"2024-05-06T07:08:09Z"}"#], 1000, false), ok("datetime"));
        assert_eq!(chosen(&[r#"{"S":"2024-05-06T07:08:09+01:00"}"#], 1000, false), ok("varchar(64)"));
        assert_eq!(chosen(&[r#"{"B":"AQID"}"#], 50, false), ok("varbinary(32)"));
        assert_eq!(chosen(&[r#"{"SS":["a"]}"#], 50, false), ok("json"));
        assert_eq!(chosen(&[r#"{"BOOL":true}"#, r#"{"NULL":true}"#], 50, false), ok("boolean"));
    }

    #[test]
    fn what_is_rare_or_mixed_has_no_column() {
        assert_eq!(chosen(&[r#"{"NULL":true}"#], 50, true), Err("nothing but NULL".into()));
        assert_eq!(chosen(&[r#"{"N":"1"}"#, r#"{"S":"1"}"#], 50, true), Err("mixed types".into()));
        assert_eq!(chosen(&[r#"{"N":"1"}"#], 19, false), Err("rare".into()));
        assert_eq!(chosen(&[r#"{"N":"1"}"#], 1, true), Ok("bigint".into()), "all is known");
    }
}
