//! A table that is all wire, and two loops that read it: what a scan costs when nothing is done with the items.
//!
//! ```text
//! cargo run --release --example scan -- serve --segments 32 --pages 16     prints: URL PAGES ITEMS BYTES
//! cargo run --release --example scan -- sdk --url URL --segments 32        the SDK's typed items, discarded
//! cargo run --release --example scan -- driver --url URL --segments 32     the driver's lines, discarded
//! ```
//! `benches/scan` runs them in turn, the whole engine beside them, and prints the figures.

mod loops;
mod pages;
mod serve;

use clap::{Args, Parser, Subcommand};
use std::io::{self, Write};
use tokio::runtime::Builder;

/// Serves canned pages of a scan, or reads them and discards what they hold.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A server on loopback, on one thread, until it is killed
    Serve {
        /// Segments that a scan has to ask for
        #[arg(long, default_value_t = 32)]
        segments: u64,
        /// Pages of each segment, 1 MiB each
        #[arg(long, default_value_t = 16)]
        pages: u64,
    },
    /// Scans with the SDK as it is, a task for each segment
    Sdk(Scan),
    /// Scans with the engine's driver, a task for each segment
    Driver(Scan),
}

#[derive(Debug, Args)]
struct Scan {
    /// The server
    #[arg(long)]
    url: String,
    /// Segments, all read at once
    #[arg(long, default_value_t = 32)]
    segments: u32,
}

fn main() -> io::Result<()> {
    let client = || Builder::new_multi_thread().enable_all().build();
    let read = match Arguments::parse().role {
        Role::Serve { segments, pages } => {
            return Builder::new_current_thread().enable_all().build()?.block_on(serve::serve(segments, pages));
        }
        Role::Sdk(scan) => client()?.block_on(loops::sdk(&scan.url, scan.segments))?,
        Role::Driver(scan) => client()?.block_on(loops::driver(&scan.url, scan.segments))?,
    };
    writeln!(io::stdout(), "{} {}", read.pages, read.items)
}
