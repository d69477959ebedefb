//! A live table: read through its segments, its size told from those that were read to their end.

use super::{Planned, command, near, run};
use crate::generator::items::Shape;
use crate::scan::{lines, start};
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::transvase::{Backfill, sqlite};
use std::path::Path;

fn plan(folder: &Path, server: &DynamoServer, args: &[&str]) -> Planned {
    let url = server.url();
    let args = [&["--endpoint-url", url.as_str(), "--read-capacity", "unlimited"], args].concat();
    let mut command = command(folder, "dynamodb://things", None, &args);
    command.envs(AWS_ENVIRONMENT);
    run(command, folder)
}

#[tokio::test]
async fn a_live_table_is_planned_from_some_of_its_segments() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("things", "customer_id:S,order_id:S");
    let made = lines(Shape::Orders, 3, 12_000);
    server.load_lines("things", &made);
    let planned = plan(folder.path(), &server, &["--sample", "3000"]);
    assert!(planned.code <= 1, "{}", planned.said);
    let (sampled, units) = (planned.number("/sample/items"), planned.number("/sample/units"));
    assert!((3000.0..6000.0).contains(&sampled) && units < planned.number("/sample/units_in_all"), "{sampled} {units}");
    assert_eq!(planned.number("/sample/units_ended"), units);
    near(planned.number("/sample/whole/items"), 12_000.0, 10.0, "items");
    near(planned.number("/sample/whole/line_bytes"), made.len() as f64, 10.0, "bytes of lines");
    assert_eq!(planned.number("/mapping/rejected"), 0.0);

    let target = sqlite(folder.path());
    let (url, mapping) = (server.url(), planned.mapping.to_str().unwrap().to_owned());
    let args =
        ["--endpoint-url", url.as_str(), "--read-capacity", "unlimited", "--mapping", &mapping, "--create-tables"];
    let backfill = AWS_ENVIRONMENT
        .into_iter()
        .fold(Backfill::new(folder.path(), Path::new("dynamodb://things"), &target, &args), |all, (name, value)| {
            all.env(name, value)
        });
    let ended = backfill.run().expect(0);
    ended.counts([12_000, 12_000, 0, 0, 0]);
    let consumed = ended.report["process"]["source"]["read_units"].as_f64().unwrap();
    near(planned.number("/estimate/scan/units"), consumed, 10.0, "read units of the whole scan");
}

#[test]
fn a_small_live_table_is_read_whole_and_its_items_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("things", "pk:S,sk:S");
    server.load_lines("things", &lines(Shape::SingleTable, 3, 900));
    let planned = plan(folder.path(), &server, &[]);
    assert!(planned.code <= 1, "{}", planned.said);
    assert_eq!(planned.number("/sample/whole/items"), 900.0);
    planned.says(&["segments were read", "table order: 200 of them", "recommended: scan the live table"]);
    // a table that is written to is never known whole
    assert!(planned.text().contains("missing = \"null\""));
    let wrong = plan(folder.path(), &server, &["--key", "pk:S", "--force"]).expect(2);
    wrong.says(&["the primary key of table things is pk:S,sk:S"]);
}

#[test]
fn an_empty_table_has_a_plan_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = start();
    server.create("things", "pk:S,sk:N");
    let planned = plan(folder.path(), &server, &[]);
    assert!(planned.code <= 1, "{}", planned.said);
    assert_eq!(planned.number("/sample/whole/items"), 0.0);
    assert!(planned.text().contains("name = \"pk\""));
}
