//! The protocol of dual writes on real servers: the library's instances and the real backfill, against MySQL, MariaDB and an
//! emulated table, amid all that goes wrong with them, by a seed. What [`dual_simulation`](crate::dual_simulation) asks of a world in
//! memory is asked of these.
//!
//! Real time is not played again: a seed says what goes wrong and how often. `TRANSVASE_SEEDS=5..9` plays these seeds.

mod application;
mod figures;
mod items;
mod judge;
mod life;
mod loader;
mod operator;
mod process;
mod rows;
mod turns;
mod world;

use crate::dual_simulation::guards::Guard;
use crate::dual_simulation::seeds;
use crate::dual_simulation::totals::Totals;
use crate::support::servers::{BOTH, Kind};
use crate::support::transvase::soak;
use life::Outcome;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use turns::{Turn, at_once};

/// The longest that a request may take; twice that on a machine that was too slow for it, and so on.
const REQUEST: Duration = Duration::from_millis(600);

/// Worlds that are to be lived through.
struct Agenda {
    left: Mutex<Vec<(Kind, u64, Duration)>>,
    /// When one was, lately.
    judged: Mutex<Instant>,
    stalled: Mutex<Vec<String>>,
    wrong: Mutex<Option<String>>,
}

impl Agenda {
    /// Whether one went wrong, or no more will be judged.
    fn is_over(&self) -> bool {
        let patience = if soak() { Duration::from_secs(3 * 3600) } else { Duration::from_secs(480) };
        self.wrong.lock().unwrap().is_some() || self.judged.lock().unwrap().elapsed() > patience
    }

    fn next(&self) -> Option<(Kind, u64, Duration)> {
        if self.is_over() { None } else { self.left.lock().unwrap().pop() }
    }

    /// One after the other, until there is none, or one went wrong.
    fn work(&self, without: Option<Guard>, see: &(impl Fn(&Outcome) + Sync)) {
        while let Some((kind, seed, request)) = self.next() {
            // one that the machine was too slow for has half of it to itself
            let turn = Turn::wait(if request > REQUEST { at_once() / 2 } else { 1 });
            if self.is_over() {
                self.left.lock().unwrap().push((kind, seed, request));
                return;
            }
            let outcome = life::live(kind, seed, request, without);
            drop(turn);
            if let Some(why) = outcome.stalled {
                self.stalled.lock().unwrap().push(format!("{kind:?} {seed}: {why}"));
                // later: the machine may have less to do then
                self.left.lock().unwrap().insert(0, (kind, seed, request * 2));
                continue;
            }
            *self.judged.lock().unwrap() = Instant::now();
            see(&outcome);
            if let Some(violation) = outcome.violation {
                let told = format!("{kind:?}, seed {seed}: {violation}\n{}", outcome.world.story());
                self.wrong.lock().unwrap().get_or_insert(told);
            }
        }
    }
}

/// Plays worlds until one goes wrong: what did.
fn play(mut worlds: Vec<(Kind, u64, Duration)>, without: Option<Guard>, see: impl Fn(&Outcome) + Sync) -> Agenda {
    worlds.reverse();
    let (left, judged) = (Mutex::new(worlds), Mutex::new(Instant::now()));
    let agenda = Agenda { left, judged, stalled: Mutex::default(), wrong: Mutex::default() };
    std::thread::scope(|scope| {
        for _ in 0..at_once() {
            scope.spawn(|| agenda.work(without, &see));
        }
    });
    agenda
}

#[test]
fn no_write_is_lost_on_real_servers() {
    let (began, totals) = (Instant::now(), Mutex::new(Totals::default()));
    let worlds: Vec<_> = seeds(12, 150).flat_map(|seed| BOTH.map(|kind| (kind, seed, REQUEST))).collect();
    let agenda = play(worlds, None, |outcome| {
        let (world, figures) = (&outcome.world, &outcome.world.figures);
        totals.lock().unwrap().add(&world.history, &figures.named(), &figures.moves.lock().unwrap());
    });
    let (totals, took) = (totals.into_inner().unwrap(), began.elapsed().as_secs_f64());
    let stalled = agenda.stalled.into_inner().unwrap();
    println!("in {took:.1} s: {totals}; {} not judged: {stalled:?}", stalled.len());
    if let Some(wrong) = agenda.wrong.into_inner().unwrap() {
        panic!("{wrong}");
    }
    let left = agenda.left.into_inner().unwrap();
    assert!(left.is_empty(), "this machine is too slow to judge {} worlds: {stalled:?}", left.len());
    if soak() {
        let never = totals.never(|to| to != 1); // nobody goes back to the beginning here
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

/// Guards that a wrapper of the real stores can leave out, and whose absence the checker finds within tens of worlds.
const MISSED: [Guard; 5] = [Guard::Intent, Guard::KeyLock, Guard::Tombstone, Guard::Ripe, Guard::RequestBound];

#[test]
fn each_guard_is_missed_on_real_servers() {
    // one that is missed at once; each of the others takes minutes
    let guards = if soak() { &MISSED[..] } else { &MISSED[..1] };
    for guard in guards {
        let judged = AtomicU64::new(0);
        let worlds = (0..150).flat_map(|seed| BOTH.map(|kind| (kind, seed, REQUEST))).collect();
        let agenda = play(worlds, Some(*guard), |_| {
            judged.fetch_add(1, Ordering::Relaxed);
        });
        let (wrong, stalled) = (agenda.wrong.into_inner().unwrap(), agenda.stalled.into_inner().unwrap().len());
        let first = wrong.as_deref().and_then(|wrong| wrong.lines().next()).unwrap_or("nothing is wrong");
        println!("without {guard:?}: {first}; {} worlds judged, {stalled} not", judged.into_inner());
        assert!(wrong.is_some(), "{guard:?} is not missed");
    }
}
