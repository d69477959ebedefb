//! Runs the limiter in simulated time over every scenario of `fixtures/scenarios` and prints the figures as Markdown.
//!
//! ```text
//! cargo run --release --example simulate                       all scenarios, as in fixtures/scenarios/README.md
//! cargo run --release --example simulate -- --only hot --seeds 20
//! ```

mod simulation;

use clap::Parser;
use simulation::scenario::Scenario;
use simulation::{Outcome, figures, run};
use std::io::{self, Write};
use std::path::PathBuf;

/// Runs the limiter in simulated time and prints the figures as Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of scenarios
    #[arg(long, default_value = "fixtures/scenarios")]
    scenarios: PathBuf,
    /// Only scenarios whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Seeds to run each scenario with; the worst figure of all is printed
    #[arg(long, default_value_t = 5)]
    seeds: u64,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut out = io::stdout();
    writeln!(out, "{}", figures::HEADER)?;
    for (name, scenario) in Scenario::all(&arguments.scenarios)? {
        if name.contains(&arguments.only) {
            let runs: Vec<Outcome> = (1..=arguments.seeds).map(|seed| run(&scenario, seed)).collect();
            writeln!(out, "{}", figures::line(&name, &scenario, &runs))?;
        }
    }
    Ok(())
}
