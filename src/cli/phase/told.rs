//! What `transvase phase` prints.

use crate::checkpoint::phases::Past;
use crate::control::{Moved, Rehearsed, Status};
use crate::mapping::moment_text;
use crate::phase::plan::{Condition, Fill, Plan, Reads, Step, Store};
use crate::phase::plan_called;
use std::fmt::Write as _;

/// How a barrier would be crossed.
pub(super) fn rehearsed(rehearsed: &Rehearsed) -> String {
    let step = rehearsed.step;
    match rehearsed.stopped.last() {
        None => format!(
            "no living instance is registered: a barrier is crossed at once; it was withdrawn, in step {step}\n"
        ),
        Some((last, after)) => format!(
            "{} writers had stopped after {:.1} s, {last} the last ({:.1} s); the barrier was withdrawn, and they go on in step {step}\n",
            rehearsed.stopped.len(),
            rehearsed.took.as_secs_f64(),
            after.as_secs_f64()
        ),
    }
}

/// What a move asks for.
pub(super) fn asked(asked: &[(Condition, Option<String>)]) -> String {
    let line = |(condition, because): &(Condition, Option<String>)| match because {
        None => format!("asked: {condition}: it holds\n"),
        Some(because) => format!("asked: {condition}: NO: {because}\n"),
    };
    asked.iter().map(line).collect()
}

/// What would be sent.
pub(super) fn statements(lines: &[String]) -> String {
    let mut out = lines.join("\n");
    out.push_str("\nnothing was changed (--dry-run)\n");
    out
}

pub(super) fn moved(plan: &Plan, moved: &Moved) -> String {
    let name = plan.step(moved.to).map_or("", |step| step.name);
    let paused = moved
        .paused
        .map(|pause| format!("; writers were stopped for {:.1} s", pause.as_secs_f64()))
        .unwrap_or_default();
    format!("step {} ({name}), from step {}{paused}\n", moved.to, moved.from)
}

/// The steps as a table, the present one marked, and the moves.
pub(super) fn plan(plan: &Plan, present: Option<u8>) -> String {
    let mut out = format!("plan {}\n  {:<4}{:<12}{:<22}{:<26}{}\n", plan.name, "", "step", "reads", "writes", "stands");
    for (number, step) in (1..).zip(plan.steps) {
        let mark = if present == Some(number) { ">" } else { " " };
        let (reads, writes) = (reads(plan, step.reads), writes(plan, step));
        // writing to a string does not fail
        let _ok = writeln!(out, "{mark} {number:<4}{:<12}{reads:<22}{writes:<26}{}", step.name, step.interlock);
    }
    if present.is_none() {
        for one in plan.moves {
            let barrier = one.barrier.map(|number| format!(", across write barrier {number}")).unwrap_or_default();
            let asks: Vec<String> = one.conditions.iter().map(ToString::to_string).collect();
            let asks = if asks.is_empty() { "at any time".to_owned() } else { format!("when {}", asks.join(", ")) };
            let _ok = writeln!(out, "  {} to {}{barrier}: {asks}", one.from, one.to);
        }
    }
    out
}

fn reads(plan: &Plan, Reads { first, fill }: Reads) -> String {
    let other = match first {
        Store::Old => Store::New,
        Store::New => Store::Old,
    };
    let (first, other) = (plan.called(first), plan.called(other));
    match fill {
        Fill::Nothing => first.to_owned(),
        Fill::Every => format!("{first}, fills {other}"),
        Fill::Missing => format!("{first}, fills gaps"),
    }
}

fn writes(plan: &Plan, step: &Step) -> String {
    let (first, second) = (plan.called(step.writes.first), step.writes.second.map(|store| plan.called(store)));
    match (second, step.writes.joined) {
        (None, _) => first.to_owned(),
        (Some(second), false) => format!("{first}, then {second}"),
        (Some(second), true) => format!("{first} around {second}"),
    }
}

pub(super) fn status(status: &Status) -> String {
    let Some(plan) = plan_called(&status.phase.plan) else { return String::new() };
    let step = status.phase.step;
    let mut out = format!("migration {}, generation {}\n", status.migration, status.phase.generation);
    out.push_str(&self::plan(plan, Some(step)));
    let mut line = |text: String| {
        out.push_str("  ");
        out.push_str(&text);
        out.push('\n');
    };
    if let Some(to) = status.phase.moving_to {
        line(format!("a barrier stands on the way to step {to}: writers are stopped"));
    }
    match &status.lock {
        None => line("nobody holds the backfill lock".to_owned()),
        Some(lock) => {
            let left =
                lock.left_us.map_or("its lease is over".to_owned(), |us| format!("for {} s more", us / 1_000_000));
            line(format!("run {} holds the backfill lock, {left}", lock.run));
        }
    }
    if status.writers.is_empty() {
        line("no application instance is registered".to_owned());
    }
    for one in &status.writers {
        let life = match (one.lives, one.stopped) {
            (false, _) => ", not heard of since its lease ended",
            (true, true) => ", stopped",
            (true, false) => "",
        };
        line(format!("writer {}: step {} since {}{life}", one.name, one.step, moment_text(one.since_us)));
    }
    for fault in &status.faults {
        line(format!("fault {} of {}, {}: {}", fault.fault, fault.who, moment_text(fault.at_us), fault.what));
    }
    if let Some(open) = status.unsettled {
        line(format!("{open} writes are on record that a store may lack"));
    }
    for replay in &status.replays {
        let lag = match (replay.lag, replay.told_us) {
            (Some(lag), _) => format!("{lag} s behind"),
            (None, Some(told_us)) => format!("not heard of since {}", moment_text(told_us)),
            (None, None) => "has told nothing yet".to_owned(),
        };
        line(format!("replay {}: {lag}", replay.run));
    }
    for way in &status.moves {
        let name = plan.step(way.to).map_or("", |step| step.name);
        let verb = if way.to > step { "advance" } else { "rollback" };
        if way.blocked_by.is_empty() {
            line(format!("{verb} to {} ({name}): may be made", way.to));
        }
        for why in &way.blocked_by {
            line(format!("{verb} to {} ({name}) is blocked: {why}", way.to));
        }
    }
    out
}

pub(super) fn history(history: &[Past]) -> String {
    let mut out = String::new();
    for past in history {
        let why = past.audit.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let (at, who, what) = (moment_text(past.at_us), &past.audit.who, &past.audit.what);
        let _ok = writeln!(out, "{at}  {who}  {what}  step {} to {}{why}", past.from, past.to);
    }
    out
}
