//! The protocol of dual writes in a simulated world: two stores in memory, application instances, a loader and operators, and all
//! that goes wrong with them, by a seed. No acknowledged write is lost, none comes back that was overwritten, and in the end both
//! stores hold the same. And each guard, left out, is missed.
//!
//! `TRANSVASE_SEEDS=5..9` plays these seeds.

mod application;
mod base;
pub(crate) mod calls;
pub(crate) mod chance;
mod controller;
pub(crate) mod fates;
pub(crate) mod guards;
pub(crate) mod history;
mod host;
mod items;
mod linear;
mod loader;
mod locks;
mod panics;
mod rows;
pub(crate) mod totals;
mod transaction;
mod world;

use crate::support::transvase::soak;
use guards::Guard;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use totals::Totals;

/// The seeds that are played: those that the environment names, or so many.
pub(crate) fn seeds(quick: u64, long: u64) -> Range<u64> {
    let named = std::env::var("TRANSVASE_SEEDS").ok().map(|text| {
        let (from, to) = text.split_once("..").unwrap();
        from.parse().unwrap()..to.parse().unwrap()
    });
    named.unwrap_or(0..if soak() { long } else { quick })
}

/// All that happened in a seed's world, and what should not have.
fn told(seed: u64, without: &[Guard]) -> String {
    let again = world::live(seed, without, true);
    let told = again.world.told.lock().unwrap().take().unwrap_or_default().join("\n");
    let asked = again.world.history.lines().join("\n");
    format!("seed {seed}: {}\n{told}\n{asked}", again.violation.unwrap_or_else(|| "nothing is wrong".to_owned()))
}

/// Plays seeds on two threads until one goes wrong: how many were played, and the first that did.
fn play(seeds: Range<u64>, without: &[Guard], see: impl Fn(&world::Outcome) + Sync) -> (u64, Option<u64>) {
    let (next, wrong) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || loop {
        if !wrong.lock().unwrap().is_empty() {
            return;
        }
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let outcome = world::live(seed, without, false);
        see(&outcome);
        if outcome.violation.is_some() {
            wrong.lock().unwrap().push(seed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let first = wrong.into_inner().unwrap().into_iter().min();
    (next.into_inner().min(seeds.end) - seeds.start, first)
}

#[test]
fn no_write_is_lost_in_any_world() {
    let (began, totals) = (Instant::now(), Mutex::new(Totals::default()));
    let (played, wrong) = play(seeds(500, 50_000), &[], |outcome| {
        let (world, figures) = (&outcome.world, &outcome.world.figures);
        totals.lock().unwrap().add(&world.history, &figures.named(), &figures.moves.lock().unwrap());
    });
    let took = began.elapsed().as_secs_f64();
    let totals = totals.into_inner().unwrap();
    println!("{played} seeds in {took:.1} s: {totals}");
    if let Some(seed) = wrong {
        panic!("{}", told(seed, &[]));
    }
    if played >= 500 {
        let never = totals.never(|_| true);
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

/// How many seeds are looked for one that misses what is left out.
const LOOKED_FOR: u64 = 1_000;

/// The first seed at or after `from` that misses what is left out.
fn missed(without: &[Guard], from: u64) -> Option<u64> {
    let (_, wrong) = play(from..from + LOOKED_FOR, without, |_| {});
    println!("without {without:?}: {}", wrong.map_or("nothing is wrong".to_owned(), |seed| format!("seed {seed}")));
    wrong
}

#[test]
fn each_guard_is_missed() {
    let idle: Vec<_> = guards::MISSED.iter().filter(|(guards, from)| missed(guards, *from).is_none()).collect();
    assert!(idle.is_empty(), "not missed: {idle:?}");
    if soak() {
        for guard in guards::DOUBLED {
            missed(&[guard], 0);
        }
    }
}

#[test]
fn a_seed_gives_the_same_world() {
    for seed in 0..3 {
        assert_eq!(told(seed, &[]), told(seed, &[]));
    }
    assert_ne!(told(7, &[]), told(8, &[]));
}
