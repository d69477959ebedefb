//! A live table, read by a segmented parallel scan: what arrives is what the table holds, and what its export brings.
//!
//! Kills and crashes of a scan are tested beside those of an export, in `crash`.

use crate::generator::items::Shape;
use crate::roundtrip::{Truth, assert_holds, export};
use crate::support::canon;
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::project_dir;
use crate::support::transvase::{Backfill, Cell, Ended, Target, soak, targets};
use serde_json::Value;
use std::path::Path;

/// A shape, its key, and how many items of it: in every run, and in a soak (100,000 in all).
pub(crate) const SHAPES: [(Shape, &str, u64, u64); 6] = [
    (Shape::Random, "pk:S,sk:N", 800, 20_000),
    (Shape::Awkward, "pk:S,sk:S", 300, 2000),
    (Shape::AwkwardBinary, "pk:B,sk:B", 300, 2000),
    (Shape::AwkwardNumber, "pk:N,sk:N", 500, 16_000),
    (Shape::SingleTable, "pk:S,sk:S", 800, 20_000),
    (Shape::Orders, "customer_id:S,order_id:S", 2000, 40_000),
];

/// A server; on a thread of its own, since it waits for its runtime.
pub(crate) fn start() -> DynamoServer {
    std::thread::spawn(DynamoServer::start).join().unwrap()
}

/// `transvase backfill` from a table of `server`.
fn scan<'t>(folder: &'t Path, server: &DynamoServer, table: &str, target: &Target, args: &[&str]) -> Backfill<'t> {
    let from = format!("dynamodb://{table}");
    let url = server.url();
    let all = [&["--endpoint-url", url.as_str()], args].concat();
    AWS_ENVIRONMENT
        .into_iter()
        .fold(Backfill::new(folder, Path::new(&from), target, &all), |backfill, (name, value)| {
            backfill.env(name, value)
        })
}

/// The items that the generator writes, as lines; without those that this server takes for nested too deep: it counts
/// the attribute's own value as the first of 32 levels.
pub(crate) fn lines(shape: Shape, seed: u64, items: u64) -> Vec<u8> {
    let generator = crate::generator::items::Items::new(shape, seed);
    let mut lines = Vec::new();
    for index in 0..items {
        let mut line = Vec::new();
        generator.write_line(index, &mut line).unwrap();
        let item: Value = serde_json::from_slice(&line).unwrap();
        if item["Item"].as_object().unwrap().values().all(|attribute| depth(attribute) < 32) {
            lines.append(&mut line);
        }
    }
    lines
}

/// How far an attribute's value nests below itself.
fn depth(attribute: &Value) -> usize {
    let below = |values: &mut dyn Iterator<Item = &Value>| values.map(|value| depth(value) + 1).max().unwrap_or(0);
    match (attribute.get("M"), attribute.get("L")) {
        (Some(map), _) => below(&mut map.as_object().unwrap().values()),
        (_, Some(list)) => below(&mut list.as_array().unwrap().iter()),
        _ => 0,
    }
}

/// The canonical items of lines by their keys.
pub(crate) fn truth_of(lines: &[u8], key: &[&str]) -> Truth {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let keyed = lines.map(|line| {
        let raw: Value = serde_json::from_slice(line).unwrap();
        (key.iter().map(|name| canon::key(&raw["Item"][*name])).collect(), canon::line(line))
    });
    keyed.collect()
}

/// Cells, documents with their attributes in one order: neither a scan nor an export has one of its own.
fn normal(rows: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    let document = |cell: &Cell| cell.as_ref().is_some_and(|cell| cell.starts_with(b"{"));
    let normal = |cell: Cell| match document(&cell) {
        true => cell.map(|cell| serde_json::from_slice::<Value>(&cell).unwrap().to_string().into_bytes()),
        false => cell,
    };
    rows.into_iter().map(|row| row.into_iter().map(normal).collect()).collect()
}

#[tokio::test]
async fn every_item_of_every_shape_arrives_from_a_live_table_as_from_its_export() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets(folder.path()).await {
        for (shape, key, quick, long) in SHAPES {
            let wanted = if soak() { long } else { quick };
            let lines = lines(shape, 5, wanted);
            let table = format!("{shape:?}").to_lowercase();
            let key: Vec<(&str, &str)> = key.split(',').map(|part| part.split_once(':').unwrap()).collect();
            let flag = key.iter().map(|(name, tag)| format!("{name}:{tag}")).collect::<Vec<_>>().join(",");
            let names: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
            let server = start();
            server.create(&table, &flag);
            server.load_lines(&table, &lines);
            let truth = truth_of(&lines, &names);
            let items = truth.len() as u64;
            let args = ["--read-capacity", "unlimited", "--segments", "7", "--run", &table];
            let ended = scan(folder.path(), &server, &table, &target, &args).run().expect(0);
            ended.counts([items, items, 0, 0, 0]);
            let what = format!("{target}, {shape:?}, live");
            assert_holds(&target, &table, &key, &truth, &what).await;
            let exported = format!("{table}_exported");
            let exports = tempfile::tempdir().unwrap();
            let from = export(exports.path(), shape, 5, wanted, 3);
            let args = ["--key", flag.as_str(), "--table", exported.as_str(), "--run", exported.as_str()];
            Backfill::new(folder.path(), &from, &target, &args).run().expect(0).counts([wanted, wanted, 0, 0, 0]);
            let keys = names.join(", ");
            let rows = |table: &str| format!("SELECT {keys} FROM {table} ORDER BY {keys}");
            let (live, exported) = (target.rows(&rows(&table)).await, target.rows(&rows(&exported)).await);
            assert_eq!(live.len() as u64, items);
            assert!(wanted > items || live == exported, "{what}: the keys differ");
        }
    }
}

/// Typed columns hold no spelling of their own: the rows are the same bytes, but for the order in a document.
#[tokio::test]
async fn typed_rows_from_a_live_table_are_those_from_its_export() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = project_dir().join("fixtures/mapping/orders.toml");
    let mapping = mapping.to_str().unwrap();
    let items = if soak() { 50_000 } else { 3000 };
    let server = start();
    server.create("orders", "customer_id:S,order_id:S");
    server.load_lines("orders", &lines(Shape::Orders, 6, items));
    let from = export(folder.path(), Shape::Orders, 6, items, 3);
    let second = tempfile::tempdir().unwrap();
    let pairs = targets(folder.path()).await.into_iter().zip(targets(second.path()).await);
    for (live, exported) in pairs {
        let args = ["--mapping", mapping, "--create-tables"];
        let scanned = [&args[..], &["--read-capacity", "unlimited"]].concat();
        scan(folder.path(), &server, "orders", &live, &scanned).run().expect(0).counts([items, items, 0, 0, 0]);
        Backfill::new(folder.path(), &from, &exported, &args).run().expect(0).counts([items, items, 0, 0, 0]);
        let rows = "SELECT * FROM orders ORDER BY customer_id, order_id";
        assert!(normal(live.rows(rows).await) == normal(exported.rows(rows).await), "{live}: the rows differ");
    }
}

#[tokio::test]
async fn an_empty_table_is_complete_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("nothing", "pk:S");
    for target in targets(folder.path()).await {
        let ended = scan(folder.path(), &server, "nothing", &target, &["--read-capacity", "unlimited"]).run().expect(0);
        ended.counts([0; 5]);
        let again = scan(folder.path(), &server, "nothing", &target, &["--read-capacity", "unlimited"]).run().expect(0);
        again.says(&["was complete already"]);
    }
}

#[tokio::test]
async fn segments_are_kept_for_the_run_and_others_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("orders", "customer_id:S,order_id:S");
    server.load_lines("orders", &lines(Shape::Orders, 6, 2000));
    let target = crate::support::transvase::sqlite(folder.path());
    let run = |args: &[&str]| -> Ended {
        scan(folder.path(), &server, "orders", &target, &[&["--read-capacity", "unlimited"], args].concat()).run()
    };
    let args = ["--read-capacity", "1", "--segments", "9"];
    let mut begun = scan(folder.path(), &server, "orders", &target, &args).start();
    assert!(begun.waits_to_say("items to read"));
    drop(begun);
    run(&["--segments", "10"]).expect(6).says(&["begun with 9 segments", "--restart"]);
    run(&["--consistent-read"]).expect(6).says(&["another source", "--restart"]);
    // the default of today may be another one than that of the day when the run began
    run(&[]).expect(0).counts([2000, 2000, 0, 0, 0]);
    assert_eq!(target.number("SELECT COUNT(*) FROM _transvase_units").await, 9);
}

#[tokio::test]
async fn what_an_operator_got_wrong_is_said_in_one_sentence_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("orders", "customer_id:S,order_id:S");
    let target = crate::support::transvase::sqlite(folder.path());
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("order", &[], &["there is no table order", "--region"]),
        ("orders", &[], &["--read-capacity 500"]),
        ("orders", &["--read-capacity", "fast"], &["no capacity"]),
        (
            "orders",
            &["--read-capacity", "500", "--key", "customer_id:S"],
            &["customer_id:S,order_id:S", "leave --key away"],
        ),
        ("orders", &["--read-capacity", "500", "--segments", "0"], &["--segments"]),
        ("orders", &["--read-capacity", "500", "--segments", "1000001"], &["--segments", "1000000"]),
    ];
    for (table, args, parts) in cases {
        let ended = scan(folder.path(), &server, table, &target, args).run().expect(2);
        assert_eq!(ended.said.lines().count(), 1, "{}", ended.said);
        ended.says(parts);
    }
}

/// The budget is kept in real time too: some 20 units at 8 a second take at least a second and a half.
#[tokio::test]
async fn a_budget_slows_the_scan_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("orders", "customer_id:S,order_id:S");
    server.load_lines("orders", &lines(Shape::Orders, 6, 600));
    let target = crate::support::transvase::sqlite(folder.path());
    let ended = scan(folder.path(), &server, "orders", &target, &["--read-capacity", "8", "--segments", "4"]).run();
    let ended = ended.expect(0);
    ended.counts([600, 600, 0, 0, 0]);
    let units = ended.report["process"]["source"]["read_units"].as_f64().unwrap();
    let seconds = ended.report["process"]["wall_seconds"].as_f64().unwrap();
    assert!(units >= 10.0, "{units}");
    // a bucket holds a second's worth at most, and the last page may leave a debt
    assert!(units <= 8.0 * (seconds + 1.0) + 8.0, "{units} units in {seconds} s");
    ended.says(&["read units consumed"]);
}

#[tokio::test]
async fn the_run_stops_before_it_costs_more_than_it_may_and_goes_on_with_more_money() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("orders", "customer_id:S,order_id:S");
    server.load_lines("orders", &lines(Shape::Orders, 6, 9000));
    let target = crate::support::transvase::sqlite(folder.path());
    // a tenth of a dollar a unit: the table costs about 30 dollars
    let run = |most: &str| {
        let args = ["--read-capacity", "unlimited", "--segments", "4", "--read-price", "100000", "--max-cost", most];
        scan(folder.path(), &server, "orders", &target, &args).run()
    };
    let dollars = |ended: &Ended| ended.report["process"]["source"]["dollars"].as_f64().unwrap();
    let mut last = 0.0;
    for most in ["8", "8", "16"] {
        let ended = run(most).expect(4);
        ended.says(&["stopping: ", "--max-cost", "run the same command again"]);
        let (spent, most): (f64, f64) = (dollars(&ended), most.parse().unwrap());
        assert!(last <= spent && spent <= most, "{last} {spent} {most}");
        last = spent;
    }
    assert!(last > 8.0, "{last}");
    let ended = run("1000").expect(0);
    ended.counts([9000, 9000, 0, 0, 0]);
    assert!(dollars(&ended) > 16.0, "{}", dollars(&ended));
}
