//! A plan for people: the census, what to know, the mapping, what it takes and costs, and what was looked at.

use crate::census::attribute::Attribute;
use crate::infer::evidence::{self, count, name};
use crate::plan::estimate::{Estimate, Way, duration};
use crate::plan::sample::Sample;
use crate::plan::{Plan, Verdict};
use indicatif::HumanBytes;
use std::path::Path;

/// Attributes that are listed.
const ATTRIBUTES: usize = 60;

/// Beginnings of a key that are listed.
const KINDS: usize = 16;

/// Partition keys that are listed.
const PARTITIONS: usize = 5;

/// The plan as text.
pub(super) fn text(plan: &Plan) -> String {
    let mut lines = Vec::new();
    sample(&plan.sample, &mut lines);
    census(plan, &mut lines);
    mapping(plan, &mut lines);
    if let Some(estimate) = &plan.estimate {
        costs(estimate, plan, &mut lines);
    }
    checks(plan, &mut lines);
    lines.push(String::new());
    lines.join("\n")
}

/// What was saved, and what to do with it.
pub(super) fn saved(mapping: &Path, sql: &Path) -> String {
    let (mapping, sql) = (mapping.display(), sql.display());
    format!(
        "\nsaved {mapping} and {sql}: look at them, then transvase backfill --mapping {mapping} --create-tables …\n"
    )
}

fn sample(sample: &Sample, lines: &mut Vec<String>) {
    let (what, units) = if sample.live { ("live table", "segments") } else { ("export", "data files") };
    lines.push(format!("plan for table {} ({what})", sample.table));
    lines.push(format!(
        "  sampled {} items ({:.1} %, {} of lines) from {} of {} {units}, seed {}",
        count(sample.items),
        sample.percent(),
        HumanBytes(sample.line_bytes),
        count(sample.units),
        count(sample.units_in_all),
        sample.seed
    ));
    let whole = &sample.whole;
    let about = if whole.items_exact { "" } else { "about " };
    lines.push(format!(
        "  in all {about}{} items, {} as DynamoDB counts, {} as DynamoDB JSON ({})",
        count(whole.items),
        HumanBytes(whole.item_bytes),
        HumanBytes(whole.line_bytes),
        whole.basis
    ));
    if sample.read_units > 0.0 {
        lines.push(format!("  the sample took {:.1} read units", sample.read_units));
    }
}

fn census(plan: &Plan, lines: &mut Vec<String>) {
    let (census, items) = (&plan.census, plan.census.items);
    let sizes = &census.sizes;
    lines.push(format!(
        "\n  an item has {} bytes in the middle, {} at the 99th of a hundred, {} at most",
        count(sizes.percentile(50)),
        count(sizes.percentile(99)),
        count(sizes.largest())
    ));
    let mut attributes = census.attributes.sorted();
    attributes.sort_by_key(|(_, attribute)| std::cmp::Reverse(attribute.items));
    let width = attributes.iter().take(ATTRIBUTES).map(|(own, _)| name(own).chars().count()).max().unwrap_or(0);
    lines.push(format!("\n  {:width$}   what the items have", "attribute"));
    for (own, attribute) in attributes.iter().take(ATTRIBUTES) {
        let shown = name(own);
        let pad = " ".repeat(width.max(9) - shown.chars().count().min(width.max(9)));
        lines.push(format!("  {shown}{pad}   {}{}", evidence::of(attribute, items), range(attribute)));
    }
    if attributes.len() > ATTRIBUTES {
        lines.push(format!("  and {} more", count((attributes.len() - ATTRIBUTES) as u64)));
    }
    keys(plan, lines);
    let hits = census.partitions.top(PARTITIONS);
    if hits.first().is_some_and(|hit| hit.count > 1) {
        let shown =
            hits.iter().filter(|hit| hit.count > 1).map(|hit| format!("{} ({})", name(&hit.thing), count(hit.count)));
        lines.push(format!("\n  most items of one partition key: {}", shown.collect::<Vec<_>>().join(", ")));
    }
    let skew = &plan.sample.skew;
    if skew.units > 1 {
        let what = if plan.sample.live { "segment" } else { "data file" };
        let (largest, median) = (count(skew.largest), count(skew.median));
        lines.push(format!("  items of the largest {what}: {largest}; of the middle one: {median}"));
    }
    if !plan.remarks.is_empty() {
        lines.push("\n  to know".to_owned());
        lines.extend(plan.remarks.iter().map(|remark| format!("    - {remark}")));
    }
}

/// How keys begin, which tells the kinds of a single-table design.
fn keys(plan: &Plan, lines: &mut Vec<String>) {
    for beginnings in &plan.beginnings {
        let shown =
            beginnings.found.iter().take(KINDS).map(|(text, items)| format!("{} ({})", name(text), count(*items)));
        let mut said = shown.collect::<Vec<_>>().join(", ");
        if beginnings.found.len() > KINDS {
            said.push_str(", …");
        }
        if beginnings.others > 0 {
            said.push_str(&format!("; otherwise ({})", count(beginnings.others)));
        }
        lines.push(format!("\n  {} begins with {said}", name(&beginnings.attribute)));
    }
}

fn range(attribute: &Attribute) -> String {
    attribute
        .numbers
        .range
        .as_ref()
        .map_or_else(String::new, |(low, high)| format!("; {} to {}", low.plain(), high.plain()))
}

fn mapping(plan: &Plan, lines: &mut Vec<String>) {
    let mapping = &plan.mapping;
    lines.push(format!(
        "\n  mapping: {} of {} sampled items map to a row",
        count(mapping.proved - mapping.rejected),
        count(mapping.proved)
    ));
    for table in &mapping.tables {
        lines.push(format!("    table {}: {} of them", table.name, count(table.items)));
    }
    lines.extend(mapping.notes.iter().map(|note| format!("    - {note}")));
}

fn costs(estimate: &Estimate, plan: &Plan, lines: &mut Vec<String>) {
    lines.push("\n  what it takes".to_owned());
    for table in &estimate.tables {
        lines.push(format!(
            "    table {}: about {} rows, {} with indexes, {} a row",
            table.table,
            count(table.rows),
            HumanBytes(table.bytes),
            HumanBytes(table.stored_bytes)
        ));
    }
    lines
        .push(format!("    sorted runs of a clustered load: about {} of local disk", HumanBytes(estimate.spill_bytes)));
    if let Some(scan) = &estimate.scan {
        lines.push(format!(
            "    scan: {:.0} read units, {:.2} US dollars, {}; limited by {}",
            scan.units,
            scan.dollars,
            duration(scan.hours),
            scan.limited_by
        ));
    }
    if let Some(export) = &estimate.export {
        lines.push(format!(
            "    export: {:.2} US dollars, at least {:.0} minutes, with the load about {}; needs {}",
            export.dollars,
            export.minutes_least,
            duration(export.hours),
            export.needs.join("; ")
        ));
    }
    let load = &estimate.load;
    lines.push(format!(
        "    writing: {} at {:.0} rows a second ({})",
        duration(load.hours),
        load.rows_per_second,
        load.basis
    ));
    if let Some(recommended) = &estimate.recommended {
        let way = match recommended.way {
            Way::Scan => "scan the live table",
            Way::Export => "export it, and load the export",
        };
        lines.push(format!("    recommended: {way}: {}", recommended.why));
    }
    if plan.sample.live {
        lines.push(format!("    prices as of {}", estimate.prices_as_of));
    }
}

fn checks(plan: &Plan, lines: &mut Vec<String>) {
    if plan.checks.is_empty() {
        return;
    }
    lines.push("\n  looked at".to_owned());
    for check in &plan.checks {
        let verdict = match check.verdict {
            Verdict::Pass => "pass",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        let step = if check.next_step.is_empty() { String::new() } else { format!("; {}", check.next_step) };
        lines.push(format!("    {verdict}  {}: {}{step}", check.name, check.finding));
    }
}
