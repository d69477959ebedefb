//! An application that writes all along while its table moves from DynamoDB to MySQL, and knows what it was told it wrote.
//!
//! ```text
//! cargo run --release --example dual -- serve --items 2000            prints: URL of a DynamoDB with a table of orders
//! cargo run --release --example dual -- run --endpoint-url URL --to mysql://… --until FILE
//! ```
//! `examples/dual/migrate` runs a whole migration around it.

mod history;
mod serve;
mod shop;

use clap::{Parser, Subcommand};
use std::io;
use std::path::PathBuf;
use tokio::runtime::Builder;

/// Serves a table, or writes to it.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A DynamoDB on loopback, with a table of orders, until it is killed
    Serve {
        /// Orders to begin with
        #[arg(long, default_value_t = 2000)]
        items: u64,
    },
    /// The application, until a file appears; then what it was told is compared with what is there
    Run(Run),
}

/// How to run the application.
#[derive(Clone, Debug, clap::Args)]
struct Run {
    /// Where DynamoDB is
    #[arg(long)]
    endpoint_url: String,
    /// The database that the table moves to
    #[arg(long)]
    to: String,
    /// Orders to begin with
    #[arg(long, default_value_t = 2000)]
    items: u64,
    /// Instances, each of which writes one item after the other
    #[arg(long, default_value_t = 4)]
    instances: u64,
    /// The pause between two writes of an instance, in milliseconds
    #[arg(long, default_value_t = 10)]
    pause: u64,
    /// The share of reads that are compared with the other store
    #[arg(long, default_value_t = 0.2)]
    shadow: f64,
    /// Ends when this file is there
    #[arg(long)]
    until: PathBuf,
}

fn main() -> io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Arguments::parse().role {
        Role::Serve { items } => runtime.block_on(serve::serve(items)),
        Role::Run(run) => runtime.block_on(shop::run(run)),
    }
}
