//! What a choice rests on, in words: what stands behind the `#` of the mapping file. Never an item's value.

use crate::census::attribute::Attribute;
use crate::census::number::Numbers;
use crate::census::text::Texts;
use std::fmt::Write as _;

/// Longest name in a comment, in characters.
const NAME_MAX: usize = 80;

/// Members of a map that a comment names.
const MEMBERS_SHOWN: usize = 8;

/// A count with its thousands apart: `48 211`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A name as a line of text can show it.
#[must_use]
pub fn name(name: &str) -> String {
    let mut shown = String::new();
    for (place, c) in name.chars().enumerate() {
        if place == NAME_MAX {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// What the attribute is, and in how many of so many items.
#[must_use]
pub fn of(attribute: &Attribute, items: u64) -> String {
    let types: Vec<String> = match attribute.types.found().collect::<Vec<_>>().as_slice() {
        [(tag, _)] => vec![(*tag).to_owned()],
        found => found.iter().map(|(tag, count)| format!("{tag} {}", self::count(*count))).collect(),
    };
    let mut said = types.join(", ");
    if attribute.items == items {
        // writing to a string does not fail
        let _ok = write!(said, " in all {} samples", count(items));
    } else {
        let _ok = write!(said, " in {} of {} samples", count(attribute.items), count(items));
    }
    if attribute.texts.count > 0 {
        said.push_str(&texts(&attribute.texts));
    }
    if attribute.numbers.count > 0 {
        said.push_str(&numbers(&attribute.numbers));
    }
    if attribute.types.of("B") > 0 {
        let _ok = write!(said, ", up to {} bytes", count(attribute.longest_binary));
    }
    if attribute.most_members > 0 {
        let _ok = write!(said, ", up to {} members", count(attribute.most_members));
    }
    if attribute.types.of("M") > 0 {
        said.push_str(&members(attribute));
    }
    said
}

fn texts(texts: &Texts) -> String {
    let mut said = match (texts.shortest, texts.longest) {
        (shortest, longest) if shortest == longest => format!(", {} characters", count(longest)),
        (shortest, longest) => format!(", {} to {} characters", count(shortest), count(longest)),
    };
    let all = |some: u64| some == texts.count;
    match texts.constants.counts() {
        Some(few) if (few.len() as u64) * 4 <= texts.count => {
            let _ok = write!(said, ", {} distinct", few.len());
        }
        _ => {}
    }
    if all(texts.days) {
        said.push_str(", all ISO-8601 days");
    } else if all(texts.moments) {
        said.push_str(", all ISO-8601 in UTC");
    } else if texts.days + texts.moments > 0 {
        let _ok = write!(said, ", {} ISO-8601 times", count(texts.days + texts.moments));
    } else if all(texts.numeric) {
        said.push_str(", all look like numbers, and stay text");
    }
    if texts.nul > 0 {
        let _ok = write!(said, ", {} with a NUL character", count(texts.nul));
    }
    said
}

fn numbers(numbers: &Numbers) -> String {
    let decimals = match (numbers.least_scale, numbers.scale) {
        (0, 0) => "whole".to_owned(),
        (1, 1) => "1 decimal".to_owned(),
        (least, most) if least == most => format!("{most} decimals"),
        (least, most) => format!("{least} to {most} decimals"),
    };
    let mut said = format!(", {decimals}, up to {} digits before the point", numbers.integer_digits);
    if numbers.negative > 0 {
        said.push_str(", some negative");
    }
    if numbers.epoch_seconds == numbers.count {
        said.push_str("; seconds since 1970? then type = \"datetime\", epoch = \"s\"");
    } else if numbers.epoch_millis == numbers.count {
        said.push_str("; milliseconds since 1970? then type = \"datetime\", epoch = \"ms\"");
    }
    said
}

fn members(attribute: &Attribute) -> String {
    let members = attribute.members.sorted();
    let shown: Vec<String> = members
        .iter()
        .take(MEMBERS_SHOWN)
        .map(|(member, types)| {
            let tags: Vec<&str> = types.found().map(|(tag, _)| tag).collect();
            format!("{} {}", name(member), tags.join("/"))
        })
        .collect();
    let more = if members.len() > MEMBERS_SHOWN || attribute.members.overflowed() { ", …" } else { "" };
    format!(": {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_thousands_and_names_have_no_line_ends() {
        assert_eq!([0, 999, 48_211, 1_000_000].map(count), ["0", "999", "48 211", "1 000 000"]);
        assert_eq!(name("a\nb\u{0}é"), "a\\nb\\u{0}é");
        assert_eq!(name(&"x".repeat(100)).chars().count(), 81);
    }
}
