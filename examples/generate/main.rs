//! Writes a seeded DynamoDB export in the layout AWS uses.
//!
//! ```text
//! cargo run --release --example generate -- --out target/orders --shape orders --items 1000000 --files 8
//! ```
//! The engine reads it with `--from target/orders`.

mod generator;
mod rows;

use clap::Parser;
use generator::export::{self, Options};
use generator::items::Shape;
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
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
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
