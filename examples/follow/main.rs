//! A stream that is written at a steady rate, and an eye on how far behind it a target is.
//!
//! ```text
//! cargo run --release --example follow -- serve --rate 5000 --seconds 60       prints: URL
//! cargo run --release --example follow -- probe --to mysql://… --seconds 50    prints: the lag of what is durable
//! ```
//! `benches/follow` runs them around the engine, and prints the figures.
#![expect(clippy::disallowed_methods, reason = "changes are made, and lags told, by the real clock")]

mod probe;
mod serve;

use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::time::{Duration, SystemTime};
use tokio::runtime::Builder;

/// Serves the stream of a table that changes, or looks at who follows it.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A server on loopback, on one thread, until it is killed
    Serve {
        /// Changes a second, from the first request for records on
        #[arg(long, default_value_t = 5000)]
        rate: u64,
        /// For how long changes are made
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Open shards, which the changes are spread over evenly
        #[arg(long, default_value_t = 4)]
        shards: u64,
        /// Keys, each changed again and again in turn: two puts, then a delete
        #[arg(long, default_value_t = 60_000)]
        keys: u64,
    },
    /// Asks the target's ledger ten times a second how old the last durable change is
    Probe {
        /// An SQL database
        #[arg(long)]
        to: String,
        /// For how long
        #[arg(long, default_value_t = 50)]
        seconds: u64,
    },
}

fn main() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match Arguments::parse().role {
        Role::Serve { rate, seconds, shards, keys } => {
            runtime.block_on(serve::serve(serve::Plot { rate, changes: rate * seconds, shards, keys }))
        }
        Role::Probe { to, seconds } => {
            let figures = runtime.block_on(probe::probe(&to, Duration::from_secs(seconds)))?;
            writeln!(io::stdout(), "{figures}")
        }
    }
}

/// Microseconds since 1970.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
