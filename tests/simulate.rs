//! The limiter in simulated time, over every scenario of `fixtures/scenarios`, with several seeds: the bounds that it has to
//! keep. The figures are printed by `cargo run --release --example simulate`.

mod model;

use crate::simulation::figures;
use crate::simulation::scenario::{Bound, Scenario};
use crate::simulation::{Outcome, run};
use crate::support::project_dir;

/// The example runs more.
const SEEDS: u64 = 1;
/// Of what the budget, the partitions with work and the capacity left by others allow, after the first minute.
const USED_LEAST: f64 = 0.95;
const REFUSED_MOST: f64 = 0.01;
/// Of the budget, or of one item where that is more, in any ten seconds.
const PEAK_MOST: f64 = 1.1;
/// Of the ideal time.
const TIME_MOST: f64 = 1.15;

fn scenarios() -> Vec<(String, Scenario)> {
    Scenario::all(&project_dir().join("fixtures/scenarios")).unwrap()
}

/// The bounds that a run breaks, each with its figure.
fn broken(outcome: &Outcome) -> Vec<(Bound, f64)> {
    let figures = [
        (Bound::Use, outcome.used, outcome.used < USED_LEAST),
        (Bound::Throttled, outcome.refused, outcome.refused >= REFUSED_MOST),
        (Bound::Peak, outcome.peak, outcome.peak > PEAK_MOST),
        (Bound::Foreground, outcome.harm, outcome.harm > 0.0),
        (Bound::Time, outcome.time.unwrap_or(1.0), outcome.time.is_some_and(|time| time > TIME_MOST)),
    ];
    let broken = figures.into_iter().filter(|(_, _, broken)| *broken);
    broken.map(|(bound, figure, _)| (bound, figure)).collect()
}

/// Runs some of the scenarios, prints their figures, and says which bounds they break.
fn wrong_of(scenarios: &[(String, Scenario)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, scenario) in scenarios {
        let runs: Vec<Outcome> = (1..=SEEDS).map(|seed| run(scenario, seed)).collect();
        println!("{}", figures::line(name, scenario, &runs));
        for broken in runs.iter().map(broken) {
            let new = broken.iter().filter(|(bound, _)| scenario.beyond(*bound).is_none());
            wrong.extend(new.map(|(bound, figure)| format!("{name}: {bound:?} {figure:.4}")));
            // a bound that is said to be out of reach is broken indeed, or the file is out of date
            let kept = scenario.beyond.iter().filter(|beyond| broken.iter().all(|(bound, _)| *bound != beyond.bound));
            wrong.extend(kept.map(|beyond| format!("{name}: {:?} is kept, though said to be beyond it", beyond.bound)));
        }
    }
    wrong
}

#[test]
fn the_limiter_keeps_its_bounds_in_every_scenario() {
    let scenarios = scenarios();
    let half = scenarios.len() / 2;
    let wrong = std::thread::scope(|scope| {
        let first = scope.spawn(|| wrong_of(&scenarios[..half]));
        let mut wrong = wrong_of(&scenarios[half..]);
        wrong.extend(first.join().unwrap());
        wrong
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn there_are_scenarios_enough_and_few_are_beyond_a_bound() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 20, "{}", scenarios.len());
    let beyond: Vec<_> = scenarios.iter().filter(|(_, scenario)| !scenario.beyond.is_empty()).collect();
    assert!(beyond.len() <= 5, "{beyond:?}");
    for (name, scenario) in beyond {
        for beyond in &scenario.beyond {
            assert!(beyond.cause.len() > 20, "{name} does not say why");
        }
    }
}

#[test]
fn a_seed_gives_the_same_run() {
    let (_, scenario) = scenarios().into_iter().find(|(name, _)| name == "hot-partition").unwrap();
    let [first, second] = [(), ()].map(|()| format!("{:?}", run(&scenario, 7)));
    assert_eq!(first, second);
    assert_ne!(first, format!("{:?}", run(&scenario, 8)));
}

#[test]
fn the_table_of_figures_has_a_line_for_every_scenario() {
    let readme = std::fs::read_to_string(project_dir().join("fixtures/scenarios/README.md")).unwrap();
    assert!(readme.contains(figures::HEADER));
    for (name, scenario) in scenarios() {
        assert!(readme.contains(&format!("| {name}: {} | {} |", scenario.title, scenario.budget)), "{name}");
    }
}
