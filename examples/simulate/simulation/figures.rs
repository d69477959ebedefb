//! The figures of a scenario as a line of a Markdown table: the worst of all seeds, the mean of the counts.

use super::measure::Outcome;
use super::scenario::{Bound, Scenario};

pub(crate) const HEADER: &str = "\
| Scenario | Budget | Minutes | Requests | Used of the possible | Refused | Busiest 10 s | Foreground refused more | Time over ideal |
|---|---|---|---|---|---|---|---|---|";

/// One line; a figure beyond its bound carries a note's sign.
pub(crate) fn line(name: &str, scenario: &Scenario, runs: &[Outcome]) -> String {
    let worst = |figure: fn(&Outcome) -> f64| runs.iter().map(figure).fold(f64::NEG_INFINITY, f64::max);
    let mean = |figure: fn(&Outcome) -> f64| runs.iter().map(figure).sum::<f64>() / runs.len() as f64;
    let note = |bound| if scenario.beyond(bound).is_some() { " *" } else { "" };
    let time = worst(|run| run.time.unwrap_or(f64::NAN));
    let time = if time.is_finite() { format!("{time:.3}{}", note(Bound::Time)) } else { "cut off".to_string() };
    let peak = worst(|run| run.peak);
    let peak = if scenario.budget == "unlimited" { "no budget".to_string() } else { percent(peak, 1) };
    let harm = if scenario.foreground.is_some() { percent(worst(|run| run.harm), 3) } else { "none".to_string() };
    format!(
        "| {name}: {} | {} | {:.0} | {:.0} | {}{} | {}{} | {peak}{} | {harm}{} | {time} |",
        scenario.title,
        scenario.budget,
        mean(|run| run.seconds / 60.0),
        mean(|run| run.requests as f64),
        percent(-worst(|run| -run.used), 1),
        note(Bound::Use),
        percent(worst(|run| run.refused), 2),
        note(Bound::Throttled),
        note(Bound::Peak),
        note(Bound::Foreground),
    )
}

fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$} %", share * 100.0)
}
