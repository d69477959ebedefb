//! What applying changes takes beside inserting the same rows. Prints figures; what it holds is that both leave one table.

use super::history::{End, Line};
use super::world::{Bench, apply_by, library_target, options};
use crate::generator::items::{Items, Shape};
use crate::support::project_dir;
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::transvase::{Target, soak};
use serde_json::Value;
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

fn bench(orders: &[Vec<Vec<u8>>], text: impl Fn(&[u8]) -> String) -> Bench {
    let line = |line: &Vec<u8>| Line { text: text(line), key: None, end: End::Written };
    Bench::window(orders.iter().map(|unit| unit.iter().map(line).collect()).collect()).in_pages_of(2000)
}

fn as_it_is(line: &[u8]) -> String {
    String::from_utf8(line.to_vec()).unwrap()
}

/// The change that puts the item, or the one that deletes it.
fn change(line: &[u8], puts: bool) -> String {
    let line = as_it_is(line);
    let image = line.trim_end().strip_prefix("{\"Item\":").unwrap().strip_suffix('}').unwrap();
    let item: Value = serde_json::from_str(image).unwrap();
    let keys = format!(r#"{{"customer_id":{},"order_id":{}}}"#, item["customer_id"], item["order_id"]);
    let image = if puts { format!(r#","NewImage":{image}"#) } else { String::new() };
    format!(r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"1"}}}},"Keys":{keys}{image}}}{end}"#, end = "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_leave_the_rows_that_inserts_leave() {
    let folder = tempfile::tempdir().unwrap();
    let count = if soak() { 300_000 } else { 3000 };
    let orders = orders(count);
    let typed = std::fs::read_to_string(project_dir().join("fixtures/mapping/orders.toml")).unwrap();
    let kinds = if soak() { &[Kind::MySql, Kind::MariaDb][..] } else { &[Kind::MySql] };
    for kind in kinds {
        let server = Server::start(*kind, &ServerOptions { redo_mib: 2048, ..ServerOptions::default() });
        for form in ["document", "typed"] {
            let mapping = || match form {
                "typed" => Mapping::parse(&typed, "orders.toml").unwrap(),
                _ => Mapping::document(&parse_key("customer_id:S,order_id:S").unwrap(), "orders", &[]).unwrap(),
            };
            let target = Target::server(server.database().await);
            let other = Target::server(server.database().await);
            let rate = async |target: &Target, run: &str, bench: Bench| {
                let (create_tables, load_method) = (true, LoadMethod::Insert);
                let options = Options { create_tables, load_method, ..options(folder.path(), run) };
                let options = match run {
                    "insert" => Options { on_conflict: OnConflict::Keep, live_target: false, ..options },
                    _ => options,
                };
                let began = Instant::now();
                let destination = Destination::Sql(library_target(target));
                let report = apply_by(mapping(), destination, options, bench, &[]).await;
                assert!(report.adds_up() && report.read == count, "{report:?}");
                println!("{target}, {form}, {run}: {:.0} a second", count as f64 / began.elapsed().as_secs_f64());
            };
            rate(&target, "insert", bench(&orders, as_it_is).of_items()).await;
            rate(&other, "put", bench(&orders, |line| change(line, true))).await;
            rate(&target, "replace", bench(&orders, |line| change(line, true))).await;
            let sum = "SELECT CAST(COUNT(*) AS CHAR) FROM orders";
            assert_eq!((target.number(sum).await, other.number(sum).await), (count, count));
            rate(&target, "delete", bench(&orders, |line| change(line, false))).await;
            assert_eq!((target.number(sum).await, other.number(sum).await), (0, count));
        }
    }
}
