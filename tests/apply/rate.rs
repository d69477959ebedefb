//! What applying changes takes beside inserting the same rows. Prints figures; what it holds is that all leave the rows that
//! they should.
//!
//! In each round every kind runs once, in turn, so that whatever else the machine does befalls all of them; CPU seconds, of
//! this process and of the server, stand beside the wall time, for a machine that is not quiet. The medians of their ratios
//! to the insert of the same round are what counts.
//!
//! The server has the buffer pool of `benches/figures`, which holds all three tables: with 128 MB half of a replacement is reading
//! pages from disk and writing them back, whoever asks for it.

use super::history::{End, Line};
use super::world::{Bench, apply_by, library_target, options};
use crate::generator::items::{Items, Shape};
use crate::support::project_dir;
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::transvase::{Target, soak};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;
use transvase::backfill::Options;
use transvase::mapping::{Mapping, parse_key};
use transvase::sink::OnConflict;
use transvase::sink::destination::Destination;
use transvase::sink::load_method::LoadMethod;

const UNITS: u64 = 4;

/// Lines of generated orders, by unit: as an export has them.
fn orders(count: u64) -> Vec<Vec<Vec<u8>>> {
    let items = Items::new(Shape::Orders, 91);
    let line = |index: u64| {
        let mut line = Vec::new();
        items.write_line(index, &mut line).unwrap();
        line
    };
    (0..UNITS).map(|unit| (unit..count).step_by(4).map(line).collect()).collect()
}

/// The lines, each by its number in its unit; none where there is no change.
fn bench(orders: &[Vec<Vec<u8>>], text: impl Fn(usize, &[u8]) -> Option<String>) -> Bench {
    let line = |(at, line): (usize, &Vec<u8>)| Some(Line { text: text(at, line)?, key: None, end: End::Written });
    Bench::window(orders.iter().map(|unit| unit.iter().enumerate().filter_map(line).collect()).collect())
        .in_pages_of(2000)
}

fn as_it_is(line: &[u8]) -> String {
    String::from_utf8(line.to_vec()).unwrap()
}

/// The change that puts the item, with so much more of it, or the one that deletes it.
fn change(line: &[u8], puts: Option<u32>) -> String {
    let line = as_it_is(line);
    let image = line.trim_end().strip_prefix("{\"Item\":").unwrap().strip_suffix('}').unwrap();
    let item: Value = serde_json::from_str(image).unwrap();
    let keys = format!(r#"{{"customer_id":{},"order_id":{}}}"#, item["customer_id"], item["order_id"]);
    let image = match puts {
        // another quantity: a server does nothing about a row that is replaced by its equal
        Some(more) => {
            let quantity: u32 = item["quantity"]["N"].as_str().unwrap().parse().unwrap();
            let (before, after) = (format!(r#""N":"{quantity}""#), format!(r#""N":"{}""#, quantity + more));
            let (head, tail) = image.split_once("\"quantity\":").unwrap();
            format!(r#","NewImage":{head}"quantity":{}"#, tail.replacen(&before, &after, 1))
        }
        None => String::new(),
    };
    format!(r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"1"}}}},"Keys":{keys}{image}}}{end}"#, end = "\n")
}

/// CPU seconds of a process so far; /proc counts in hundredths [proc(5)].
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// A change's time by wall, and by CPU of this process and of the server, in microseconds.
type Cost = [f64; 3];

struct Course<'a> {
    server: &'a Server,
    folder: &'a std::path::Path,
    form: &'a str,
}

impl Course<'_> {
    fn mapping(&self) -> Mapping {
        let typed = std::fs::read_to_string(project_dir().join("fixtures/mapping/orders.toml")).unwrap();
        match self.form {
            "typed" => Mapping::parse(&typed, "orders.toml").unwrap(),
            _ => Mapping::document(&parse_key("customer_id:S,order_id:S").unwrap(), "orders", &[]).unwrap(),
        }
    }

    async fn cost(&self, target: &Target, run: &str, bench: Bench) -> Cost {
        let (create_tables, load_method) = (true, LoadMethod::Insert);
        let options = Options { create_tables, load_method, ..options(self.folder, run) };
        let options = match run {
            "insert" => Options { on_conflict: OnConflict::Keep, live_target: false, ..options },
            _ => options,
        };
        let processes = [std::process::id(), self.server.id()];
        let (cpu, began) = (processes.map(cpu_seconds), Instant::now());
        let report = apply_by(self.mapping(), Destination::Sql(library_target(target)), options, bench, &[]).await;
        let (wall, after) = (began.elapsed().as_secs_f64(), processes.map(cpu_seconds));
        assert!(report.adds_up() && report.read > 0, "{report:?}");
        [wall, after[0] - cpu[0], after[1] - cpu[1]].map(|seconds| seconds * 1e6 / report.read as f64)
    }

    /// Every kind once. A mix is six puts that replace, two deletes and two that are new of ten.
    async fn round(&self, orders: &[Vec<Vec<u8>>], count: u64) -> BTreeMap<&'static str, Cost> {
        let target = Target::server(self.server.database().await);
        let other = Target::server(self.server.database().await);
        let mixed = Target::server(self.server.database().await);
        let rows = async |target: &Target| target.number("SELECT CAST(COUNT(*) AS CHAR) FROM orders").await;
        let mut costs = BTreeMap::new();
        let insert = bench(orders, |_, line| Some(as_it_is(line))).of_items();
        costs.insert("insert", self.cost(&target, "insert", insert).await);
        costs.insert("put", self.cost(&other, "put", bench(orders, |_, line| Some(change(line, Some(0))))).await);
        let replace = bench(orders, |_, line| Some(change(line, Some(1))));
        costs.insert("replace", self.cost(&target, "replace", replace).await);
        assert_eq!((rows(&target).await, rows(&other).await), (count, count));
        let delete = bench(orders, |_, line| Some(change(line, None)));
        costs.insert("delete", self.cost(&target, "delete", delete).await);
        let first = bench(orders, |at, line| (at % 10 < 8).then(|| as_it_is(line))).of_items();
        self.cost(&mixed, "insert", first).await;
        let mix = bench(orders, |at, line| Some(change(line, if matches!(at % 10, 6 | 7) { None } else { Some(1) })));
        costs.insert("mix", self.cost(&mixed, "mix", mix).await);
        let left =
            orders.iter().map(|unit| (0..unit.len()).filter(|at| !matches!(at % 10, 6 | 7)).count()).sum::<usize>();
        assert_eq!((rows(&target).await, rows(&mixed).await), (0, left as u64));
        costs
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_leave_the_rows_that_inserts_leave() {
    let folder = tempfile::tempdir().unwrap();
    let (count, rounds, buffer_pool_mib) = if soak() { (200_000, 5, 2048) } else { (3000, 1, 128) };
    let orders = orders(count);
    let kinds = if soak() { &[Kind::MySql, Kind::MariaDb][..] } else { &[Kind::MySql] };
    for kind in kinds {
        let server =
            Server::start(*kind, &ServerOptions { buffer_pool_mib, redo_mib: 2048, ..ServerOptions::default() });
        for form in ["document", "typed"] {
            let course = Course { server: &server, folder: folder.path(), form };
            let mut all = Vec::new();
            for _ in 0..rounds {
                all.push(course.round(&orders, count).await);
            }
            for what in ["insert", "put", "replace", "delete", "mix"] {
                let us = [0, 1, 2].map(|at| median(all.iter().map(|costs| costs[what][at]).collect()));
                let beside = [0, 1, 2].map(|at| {
                    let of = |costs: &BTreeMap<&str, Cost>| costs["insert"][at] / costs[what][at];
                    median(all.iter().map(of).collect())
                });
                println!(
                    "{kind:?} {form} {what}: {:.0} a second; beside insert: by wall {:.2}, by CPU of the engine {:.2} and of \
                     the server {:.2}; us each: {:.1}, {:.1}, {:.1}",
                    1e6 / us[0],
                    beside[0],
                    beside[1],
                    beside[2],
                    us[0],
                    us[1],
                    us[2]
                );
            }
        }
    }
}
