//! What an engineer should know of the items before a copy: a line each. Counts and names, never an item's value.

use super::sample::Sample;
use crate::census::attribute::Attribute;
use crate::census::{Census, DEEP, LARGE_ITEM};
use crate::infer::evidence::{count, name};
use crate::mapping::names::{check, fold};
use std::collections::BTreeMap;

/// Names that one line names.
const NAMES_SHOWN: usize = 5;

/// The longest partition key and sort key, in bytes [developer guide, ServiceQuotas].
const KEY_BYTES: [u64; 2] = [2048, 1024];

/// Of a hundred items, so many of one partition key make it hot.
const HOT_PERCENT: u64 = 5;

/// A unit with so many times the items of the middle one is a long tail.
const SKEWED: u64 = 4;

/// What there is to know.
#[must_use]
pub fn remarks(census: &Census, sample: &Sample) -> Vec<String> {
    let mut remarks = of_items(census);
    remarks.extend(of_names(census));
    let hot = census.partitions.top(1).into_iter().find(|hit| hit.count * 100 >= census.partitions.all() * HOT_PERCENT);
    if let Some(hit) = hot.filter(|hit| hit.count > 100) {
        let percent = hit.count * 100 / census.partitions.all().max(1);
        remarks.push(format!(
            "one partition key has {percent} % of the sampled items: its items lie in one place, which serves at most 3000 \
             read units a second, and in one unit of the copy"
        ));
    }
    let skew = &sample.skew;
    if skew.units > 1 && skew.largest >= skew.median.max(100) * SKEWED {
        remarks.push(format!(
            "{} holds {} items, the middle one {}: it will be the last to end",
            skew.largest_name,
            count(skew.largest),
            count(skew.median)
        ));
    }
    remarks
}

fn of_items(census: &Census) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut say = |items: u64, what: String| {
        if items > 0 {
            remarks.push(format!("{} of {} sampled items {what}", count(items), count(census.items)));
        }
    };
    say(census.large, format!("are above {} KB, near DynamoDB's limit of 400", LARGE_ITEM / 1024));
    say(census.deep, format!("nest deeper than {DEEP} levels, which a JSON check of MariaDB would refuse"));
    let attributes = census.attributes.sorted();
    let most =
        |of: &dyn Fn(&Attribute) -> u64| attributes.iter().map(|(_, attribute)| of(attribute)).max().unwrap_or(0);
    say(most(&|attribute| attribute.texts.nul), "or more have a NUL character in a text".into());
    for ((sizes, longest), key) in census.key_sizes.iter().zip(KEY_BYTES).zip(&census.key) {
        if sizes.largest() * 10 > longest * 9 {
            let bytes = count(sizes.largest());
            remarks.push(format!(
                "key attribute {} is up to {bytes} bytes long, of {longest} that it may be",
                name(&key.name)
            ));
        }
    }
    if census.broken > 0 {
        remarks.push(format!("{} sampled lines are no DynamoDB JSON: they would be rejected", count(census.broken)));
    }
    if census.attributes.overflowed() {
        remarks.push(format!(
            "there are more attribute names than the {} that were counted: data in names? The others go to rest",
            count(census.attributes.len() as u64)
        ));
    }
    remarks
}

fn of_names(census: &Census) -> Vec<String> {
    let attributes = census.attributes.sorted();
    let mut folded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (attribute, _) in &attributes {
        folded.entry(fold(attribute)).or_default().push(name(attribute));
    }
    let which = |test: &dyn Fn(&str, &Attribute) -> bool| -> Vec<String> {
        let found = attributes.iter().filter(|(name, attribute)| test(name, attribute));
        found.map(|(attribute, _)| name(attribute)).collect()
    };
    let mixed = |attribute: &Attribute| attribute.types.found().filter(|(tag, _)| *tag != "NULL").count() > 1;
    let set = |attribute: &Attribute| ["SS", "NS", "BS"].iter().any(|tag| attribute.types.of(tag) > 0);
    let groups = [
        ("attributes that no column can be called after", which(&|name, _| check(name).is_err())),
        (
            "attributes whose names differ by case alone, which SQL takes for one",
            folded.into_values().filter(|names| names.len() > 1).map(|names| names.join(" and ")).collect(),
        ),
        ("attributes of more than one type", which(&|_, attribute| mixed(attribute))),
        (
            "sets, which have no order: JSON with type tags keeps them as they are",
            which(&|_, attribute| set(attribute)),
        ),
    ];
    let said = groups.into_iter().filter(|(_, names)| !names.is_empty());
    said.map(|(what, names)| format!("{what}: {}", listed(&names))).collect()
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {} more", count(more as u64)) }
}
