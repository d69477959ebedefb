//! The route of an item, stage by stage, on one core: what each adds is the difference to the one before.
//!
//! `cargo bench --bench route` measures 100,000 generated orders. Without `--bench`, as `cargo test --benches` runs it,
//! every stage runs once on a few, and its digest is printed: work that were optimised away would show.

#[path = "../examples/generate/generator/mod.rs"]
mod generator;

use criterion::{Criterion, Throughput};
use flate2::read::MultiGzDecoder;
use generator::export::{self, Options};
use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::Duration;
use transvase::model::decode::Decoder;
use transvase::model::page::{Page, Span};
use transvase::model::value::{Item, Value};

/// One data file, as it is stored and as one page.
struct Input {
    compressed: Vec<u8>,
    page: Page,
}

/// A stage: its name, and what it does to the input, giving a digest of the result.
type Stage = (&'static str, fn(&Input) -> io::Result<u64>);

/// The stages so far. Those that map and encode follow decode, each doing all that the one before does.
const STAGES: [Stage; 2] = [("inflate", inflate), ("decode", decode)];

fn main() -> io::Result<()> {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let input = input(if measured { 100_000 } else { 200 })?;
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let mut group = criterion.benchmark_group("route");
    group.throughput(Throughput::Bytes(input.page.bytes.len() as u64));
    for (name, stage) in STAGES {
        writeln!(io::stdout(), "{name}: digest {:016x} of {} bytes", stage(&input)?, input.page.bytes.len())?;
        group.bench_function(name, |bencher| bencher.iter(|| stage(black_box(&input))));
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Generates one data file of orders, in a folder that is gone again afterwards.
fn input(items: u64) -> io::Result<Input> {
    let folder = tempfile::tempdir()?;
    let export = export::write(&Options { out: folder.path().to_owned(), items, files: 1, ..Options::default() })?;
    let file = export.files.first().ok_or_else(|| io::Error::other("the generator wrote no data file"))?;
    let compressed = fs::read(&file.path)?;
    let mut bytes = Vec::new();
    MultiGzDecoder::new(compressed.as_slice()).read_to_end(&mut bytes)?;
    Ok(Input { compressed, page: Page { span: Span { unit: 0, from: 0, to: items }, bytes, reached: None } })
}

/// Inflates in slices of a page, as the source does.
fn inflate(input: &Input) -> io::Result<u64> {
    let mut decoder = MultiGzDecoder::new(input.compressed.as_slice());
    let mut page = vec![0; 1 << 20];
    let mut digest = Digest::default();
    loop {
        let read = decoder.read(&mut page)?;
        if read == 0 {
            return Ok(digest.0);
        }
        digest.add(read as u64);
        digest.add(page.iter().step_by(4096).map(|byte| u64::from(*byte)).sum());
    }
}

/// Decodes line by line, and looks at every attribute once.
fn decode(input: &Input) -> io::Result<u64> {
    let mut decoder = Decoder::default();
    let mut digest = Digest::default();
    for (_, line) in input.page.lines() {
        decoder.decode(line, |item| digest_item(item, &mut digest)).map_err(io::Error::other)?;
    }
    Ok(digest.0)
}

fn digest_item(item: Item<'_>, digest: &mut Digest) {
    for (name, value) in item.attributes().iter() {
        digest.add(name.len() as u64);
        digest.add(match value {
            Value::S(text) | Value::N(text) | Value::B(text) => text.len() as u64,
            Value::Bool(value) => u64::from(value),
            Value::Null => 2,
            Value::M(map) => map.len() as u64,
            Value::L(list) => list.len() as u64,
            Value::Ss(members) | Value::Ns(members) | Value::Bs(members) => members.len() as u64,
        });
    }
}

/// A cheap digest: every step depends on the one before.
#[derive(Default)]
struct Digest(u64);

impl Digest {
    fn add(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
