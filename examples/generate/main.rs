//! Writes a seeded DynamoDB export in the layout AWS uses.
//!
//! ```text
//! cargo run --release --example generate -- --out target/orders --shape orders --items 1000000 --files 8
//! ```
//! The engine reads it with `--from target/orders`.

mod generator;
mod incremental;
mod rows;

use clap::Parser;
use generator::export::{self, Options};
use generator::items::Shape;
use incremental::View;
use std::io::{self, Write};
use std::path::PathBuf;

/// Writes a seeded DynamoDB export, as AWS lays it out in a bucket.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder that stands for the bucket; the export goes to its AWSDynamoDB folder
    #[arg(long)]
    out: PathBuf,
    /// What the items look like
    #[arg(long, value_enum, default_value = "orders")]
    shape: Shape,
    /// How many items
    #[arg(long, default_value_t = 1000)]
    items: u64,
    /// How many data files, the empty ones included
    #[arg(long, default_value_t = 4)]
    files: usize,
    /// How many of the data files hold no item
    #[arg(long, default_value_t = 0)]
    empty: usize,
    /// Gzip members in each data file
    #[arg(long, default_value_t = 1)]
    members: u64,
    /// Everything random follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The DynamoDB table's name
    #[arg(long, default_value = "orders")]
    table: String,
    /// The export's s3Prefix
    #[arg(long)]
    prefix: Option<String>,
    /// Also writes the orders as ready-made rows (TSV) into this folder, for a server's own loader
    #[arg(long)]
    rows: Option<PathBuf>,
    /// Writes so many incremental exports after the full one, of orders
    #[arg(long, default_value_t = 0)]
    windows: usize,
    /// With --windows: writes in each of them
    #[arg(long, default_value_t = 300)]
    changes: u64,
    /// With --windows: what their lines hold
    #[arg(long, value_enum, default_value = "new-and-old-images")]
    view: View,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if arguments.windows > 0 {
        return chain(arguments);
    }
    let options = Options {
        out: arguments.out,
        shape: arguments.shape,
        items: arguments.items,
        files: arguments.files,
        empty: arguments.empty,
        members: arguments.members,
        seed: arguments.seed,
        table: arguments.table,
        prefix: arguments.prefix,
        ..Options::default()
    };
    let export = export::write(&options)?;
    if let Some(folder) = &arguments.rows {
        rows::write(&export, folder)?;
    }
    let (items, files) = (options.items, export.files.len());
    writeln!(io::stdout(), "{items} items, {} bytes of lines, {files} files: {}", export.bytes, export.folder.display())
}

fn chain(arguments: Arguments) -> io::Result<()> {
    let chain = incremental::write(&incremental::Options {
        out: arguments.out,
        items: arguments.items,
        windows: arguments.windows,
        changes: arguments.changes,
        files: arguments.files,
        view: arguments.view,
        seed: arguments.seed,
        table: arguments.table,
        prefix: arguments.prefix,
    })?;
    let out = &mut io::stdout();
    writeln!(out, "full export of {} items: {}", chain.exported.len(), chain.full.display())?;
    for window in &chain.windows {
        let (seconds, (puts, deletes)) = (window.span.1 - window.span.0, window.changes);
        let (items, folder) = (window.truth.len(), window.folder.display());
        writeln!(out, "window of {seconds} s, {puts} puts, {deletes} deletes, then {items} items: {folder}")?;
    }
    Ok(())
}
