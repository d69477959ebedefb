//! What is said before a run, held against what happens then: what is wrong with either end is found, what is right passes,
//! and estimates of room and capacity come true.

use crate::generator::items::{Items, Shape};
use crate::roundtrip::export;
use crate::support::control_plane::{Answers, ControlPlane, TABLE};
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer, config_of};
use crate::support::engine::Engine;
use crate::support::orders::block_on;
use crate::support::project_dir;
use crate::support::servers::{BOTH, Database, Kind, Server, ServerOptions, execute, shared};
use crate::support::transvase::{Backfill, Target, targets};
use serde_json::json;
use transvase::driver::dynamodb::{DynamoDb, Patience};
use transvase::driver::target::{Target as Url, Tls};
use transvase::limit::budget::{Allowance, Budget};
use transvase::limit::rate::Rate;
use transvase::mapping::Mapping;
use transvase::mapping::footprint::{Footprint, TableSize};
use transvase::model::decode::Decoder;
use transvase::model::dialect::Dialect;
use transvase::model::page::{Page, Span};
use transvase::model::size::item_bytes;
use transvase::pipeline::transform::encode;
use transvase::plan::estimate::{Reading, Subject, Terms, estimate};
use transvase::plan::preflight::{Demand, source, target};
use transvase::plan::{Check, Verdict};

fn mapping() -> Mapping {
    let text = std::fs::read_to_string(project_dir().join("fixtures/mapping/orders.toml")).unwrap();
    Mapping::parse(&text, "orders.toml").unwrap()
}

fn document() -> Mapping {
    let key = transvase::mapping::parse_key("customer_id:S,order_id:S").unwrap();
    Mapping::document(&key, "orders", &[]).unwrap()
}

/// The target as the engine takes it.
fn url(database: &Database) -> Url {
    let tls = Tls::Auto { ca: Some(database.ca_file.clone()) };
    let mut target = Url::parse(&database.url(), tls).unwrap();
    if let Url::MySql(mysql) = &mut target {
        mysql.password = Some(database.password().to_owned());
    }
    target
}

fn checks(target_url: &Url, mapping: &Mapping, demand: impl Fn(&mut Demand<'_>)) -> Vec<Check> {
    let mut asked =
        Demand { tables: mapping.tables(), create_tables: true, bytes: 1 << 20, largest_row: 1000, writers: 4 };
    demand(&mut asked);
    block_on(target(target_url, &asked))
}

#[track_caller]
fn find<'c>(checks: &'c [Check], name: &str) -> &'c Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name} in {checks:#?}"))
}

#[track_caller]
fn assert_verdict(checks: &[Check], name: &str, verdict: Verdict, said: &str) {
    let check = find(checks, name);
    assert_eq!(check.verdict, verdict, "{check:?}");
    assert!(check.finding.contains(said), "{said} is not in {check:?}");
    assert_eq!(check.next_step.is_empty(), verdict == Verdict::Pass, "{check:?}");
}

#[test]
fn servers_that_are_ready_pass_and_are_left_as_they_are() {
    let mapping = mapping();
    for kind in BOTH {
        let database = block_on(shared(kind).database());
        let found = checks(&url(&database), &mapping, |_| {});
        let failed: Vec<_> = found.iter().filter(|check| check.verdict == Verdict::Fail).collect();
        assert!(failed.is_empty(), "{kind:?}: {failed:#?}");
        assert_verdict(&found, "target", Verdict::Pass, "TLS");
        assert_verdict(&found, "privileges", Verdict::Pass, "");
        assert_verdict(&found, "local_infile", Verdict::Pass, "");
        assert_verdict(&found, "table orders", Verdict::Pass, "will be created");
        assert_verdict(&found, "version", Verdict::Pass, "");
        let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
        assert_eq!(block_on(Target::server(database).number(tables)), 0, "{kind:?}: nothing was created");
    }
}

#[test]
fn what_is_wrong_with_a_server_is_found() {
    let mapping = mapping();
    for kind in BOTH {
        let extra = ["--max-allowed-packet=1M", "--max-connections=10", "--sql-mode="].map(str::to_owned).to_vec();
        let server = Server::start(kind, &ServerOptions { extra, buffer_pool_mib: 16, ..ServerOptions::default() });
        let database = block_on(server.database());
        block_on(async {
            let mut admin = server.admin().await;
            execute(&mut admin, "SET GLOBAL local_infile = 0").await;
            let orders = format!(
                "CREATE TABLE {}.orders (customer_id VARCHAR(10) PRIMARY KEY, extra INT NOT NULL)",
                database.name
            );
            execute(&mut admin, &orders).await;
            execute(&mut admin, "SET GLOBAL read_only = 1").await;
        });
        let found = checks(&url(&database), &mapping, |demand| {
            (demand.bytes, demand.largest_row) = (4 << 30, 2 << 20);
        });
        assert_verdict(&found, "max_allowed_packet", Verdict::Fail, "1024 KiB");
        assert_verdict(&found, "connections", Verdict::Fail, "of 10");
        assert_verdict(&found, "sql_mode", Verdict::Warn, "not strict");
        assert_verdict(&found, "local_infile", Verdict::Warn, "off");
        assert_verdict(&found, "writes", Verdict::Fail, "read-only");
        assert_verdict(&found, "buffer pool", Verdict::Warn, "16 MiB");
        assert_verdict(&found, "redo log", Verdict::Warn, "256 MiB");
        assert_verdict(&found, "disk", Verdict::Pass, "free");
        assert!(found.iter().any(|check| check.name == "table orders" && check.verdict == Verdict::Fail), "{found:#?}");
        let found = checks(&url(&database), &mapping, |demand| demand.bytes = u64::MAX / 4);
        assert_verdict(&found, "disk", Verdict::Fail, "free");
    }
}

#[test]
fn privileges_that_lack_are_named() {
    let mapping = mapping();
    for kind in BOTH {
        let database = block_on(shared(kind).database());
        let (name, password) = (database.name.clone(), database.password());
        let user = format!("poor_{name}");
        block_on(async {
            let text = format!(
                "CREATE USER {user}@'%' IDENTIFIED BY '{password}'; GRANT SELECT, INSERT, UPDATE ON {name}.* TO {user}@'%'"
            );
            execute(&mut shared(kind).admin().await, &text).await;
        });
        let mut poor = url(&database);
        if let Url::MySql(mysql) = &mut poor {
            mysql.user = user.clone();
        }
        let found = checks(&poor, &mapping, |_| {});
        assert_verdict(&found, "privileges", Verdict::Fail, "DELETE, CREATE");
        block_on(async {
            let text = format!("GRANT DELETE, CREATE ON {name}.* TO {user}@'%'");
            execute(&mut shared(kind).admin().await, &text).await;
        });
        assert_verdict(&checks(&poor, &mapping, |_| {}), "privileges", Verdict::Warn, "TRIGGER");
        if let Url::MySql(mysql) = &mut poor {
            mysql.password = Some("wrong".to_owned());
        }
        let found = checks(&poor, &mapping, |_| {});
        assert_verdict(&found, "target", Verdict::Fail, "cannot be reached");
        assert_eq!(found.len(), 1);
    }
}

#[test]
fn a_file_is_looked_at_and_left_as_it_is() {
    let (folder, mapping) = (tempfile::tempdir().unwrap(), mapping());
    let path = folder.path().join("rows.db");
    let target = Url::Sqlite(path.clone());
    let found = checks(&target, &mapping, |_| {});
    assert_verdict(&found, "target", Verdict::Pass, "will be created");
    assert!(!path.exists());
    let nowhere = Url::Sqlite(folder.path().join("none/rows.db"));
    assert_verdict(&checks(&nowhere, &mapping, |_| {}), "target", Verdict::Fail, "none");
    block_on(Target::Sqlite(path.clone()).execute("CREATE TABLE orders (customer_id TEXT PRIMARY KEY) STRICT"));
    let before = std::fs::read(&path).unwrap();
    let found = checks(&target, &mapping, |_| {});
    assert!(found.iter().any(|check| check.name == "table orders" && check.verdict == Verdict::Fail), "{found:#?}");
    assert!(std::fs::read(&path).unwrap() == before, "it was changed");
}

fn of_source(plane: &ControlPlane) -> Vec<Check> {
    block_on(async {
        let db = DynamoDb::with_config(&config_of(&plane.url()), Patience::default());
        let table = db.describe(TABLE).await.unwrap();
        let subject = Subject { items: table.items, bytes: table.bytes, ..Subject::default() };
        let allowance = Allowance { rate: Rate::per_second(200.0), why: "as given".to_owned() };
        let reading = Reading { allowance, consistent: false, segments: 64 };
        let estimate = estimate(&subject, Some(&reading), &Terms::default());
        source(&db, &table, Budget::Share(0.5), Some(&estimate)).await
    })
}

#[test]
fn a_table_with_its_safety_nets_passes_and_is_only_read() {
    let plane = ControlPlane::start(Answers::default());
    let found = of_source(&plane);
    assert!(found.iter().all(|check| check.verdict == Verdict::Pass), "{found:#?}");
    assert!(find(&found, "read capacity").finding.contains("50 % of 400 provisioned"));
    assert_eq!(found.len(), 9, "{found:#?}");
    let reads =
        ["DescribeTable", "Scan", "GetItem", "DescribeContinuousBackups", "DescribeExport", "DescribeTimeToLive"];
    for operation in plane.operations() {
        assert!(reads.contains(&operation.as_str()), "{operation} is no look");
    }
}

#[test]
fn what_is_wrong_with_a_table_is_found() {
    let table = json!({"StreamSpecification": null, "TableStatus": "CREATING",
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}});
    let denied = ("AccessDeniedException", "User is not authorized");
    let errors = [("Scan", denied), ("DescribeExport", denied), ("GetItem", denied)].into_iter().collect();
    let plane =
        ControlPlane::start(Answers { table, recovery: false, expiry: Some("expires"), errors, ..Answers::default() });
    let found = of_source(&plane);
    assert_verdict(&found, "table", Verdict::Fail, "being created");
    assert_verdict(&found, "read capacity", Verdict::Fail, "by the request");
    assert_verdict(&found, "permission dynamodb:Scan", Verdict::Fail, "denied");
    assert_verdict(&found, "permission dynamodb:GetItem", Verdict::Warn, "denied");
    assert_verdict(&found, "permission dynamodb:DescribeExport", Verdict::Warn, "denied");
    assert_verdict(&found, "point-in-time recovery", Verdict::Warn, "off");
    assert_verdict(&found, "stream", Verdict::Warn, "off");
    assert_verdict(&found, "time to live", Verdict::Warn, "expires");
    assert!(find(&found, "point-in-time recovery").next_step.contains("--table-name orders"));
}

#[test]
fn a_server_that_knows_no_control_plane_is_warned_of_and_no_more() {
    let server = DynamoServer::start();
    server.create("orders", "pk:S");
    let found = block_on(async {
        let db = DynamoDb::with_config(&config_of(&server.url()), Patience::default());
        let table = db.describe("orders").await.unwrap();
        source(&db, &table, Budget::Unlimited, None).await
    });
    assert!(found.iter().all(|check| check.verdict != Verdict::Fail), "{found:#?}");
    assert_verdict(&found, "permission dynamodb:Scan", Verdict::Pass, "");
}

/// Lines of generated orders.
fn lines(count: u64) -> Vec<u8> {
    let made = Items::new(Shape::Orders, 23);
    let mut lines = Vec::new();
    (0..count).for_each(|index| made.write_line(index, &mut lines).unwrap());
    lines
}

/// What a sample of the orders says of `count` of them.
fn sizes(mapping: &Mapping, dialect: Dialect, count: u64, clustered: bool) -> TableSize {
    const SAMPLE: u64 = 2000;
    let span = Span { unit: 0, from: 0, to: SAMPLE };
    let page = Page { span, bytes: lines(SAMPLE), reached: None, half_units: 0 };
    let batch = encode(page, mapping, &mut Decoder::default(), "the sample").unwrap();
    let rows: Vec<_> = batch.tables.into_iter().map(|table| table.rows).collect();
    let mut footprint = Footprint::new(mapping.tables(), dialect);
    footprint.add(&rows);
    footprint.sizes(count as f64 / SAMPLE as f64, clustered).remove(0)
}

/// Bytes that the table takes, as the server counts its pages; of a file, as it is.
async fn measured(target: &Target) -> u64 {
    let Target::Sqlite(path) = target else {
        target.execute("ANALYZE TABLE orders").await;
        let fresh =
            if target.kind() == Some(Kind::MySql) { "/*+ SET_VAR(information_schema_stats_expiry = 0) */" } else { "" };
        let sql = format!(
            "SELECT {fresh} CAST(data_length + index_length AS CHAR) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = 'orders'"
        );
        return target.number(&sql).await;
    };
    target.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    std::fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn tables_take_the_room_that_was_estimated() {
    const ITEMS: u64 = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 23, ITEMS, 4);
    let typed = project_dir().join("fixtures/mapping/orders.toml").display().to_string();
    let spill = folder.path().to_str().unwrap().to_owned();
    for (what, args, mapping) in [
        ("documents", vec!["--key", "customer_id:S,order_id:S"], document()),
        ("typed columns", vec!["--mapping", typed.as_str(), "--create-tables"], mapping()),
    ] {
        for order in ["arrival", "clustered"] {
            for target in targets(folder.path()).await {
                let args = [&args[..], &["--load-order", order, "--spill-dir", &spill]].concat();
                Backfill::new(folder.path(), &from, &target, &args).run().expect(0);
                let dialect = match target.kind() {
                    None => Dialect::Sqlite,
                    Some(Kind::MySql) => Dialect::MySql,
                    Some(Kind::MariaDb) => Dialect::MariaDb,
                };
                let (found, size) = (measured(&target).await, sizes(&mapping, dialect, ITEMS, order == "clustered"));
                let ratio = size.bytes as f64 / found as f64;
                println!("{target}, {what}, {order}: estimated {} of {found} bytes, {ratio:.2}", size.bytes);
                assert!((0.8..1.2).contains(&ratio), "{target}, {what}, {order}: {size:?} but {found}");
                assert_eq!(size.rows, ITEMS);
            }
        }
    }
}

#[test]
fn a_scan_costs_the_units_that_were_estimated() {
    const ITEMS: u64 = 20_000;
    let server = DynamoServer::start();
    server.create("orders", "customer_id:S,order_id:S");
    let lines = lines(ITEMS);
    server.load_lines("orders", &lines);
    let items = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let size = |line: &[u8]| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        item_bytes(line["Item"].to_string().as_bytes())
    };
    let bytes: u64 = items.map(size).sum();
    for (rate, consistent, segments) in [("unlimited", false, 4), ("unlimited", true, 16), ("2000", false, 8)] {
        let segments_text = segments.to_string();
        let url = server.url();
        let mut args = vec!["backfill", "--from", "dynamodb://orders", "--to", "null:", "--endpoint-url", &url];
        args.extend(["--read-capacity", rate, "--segments", &segments_text]);
        args.extend(consistent.then_some("--consistent-read"));
        let engine =
            AWS_ENVIRONMENT.into_iter().fold(Engine::new(&args), |engine, (name, value)| engine.env(name, value));
        let outcome = engine.report().run().expect(0);
        let found = outcome.report["process"]["source"]["read_units"].as_f64().unwrap();
        let rate = if rate == "unlimited" { Rate::UNLIMITED } else { Rate::per_second(2000.0) };
        let reading = Reading { allowance: Allowance { rate, why: String::new() }, consistent, segments };
        let subject = Subject { items: ITEMS, bytes, ..Subject::default() };
        let units = estimate(&subject, Some(&reading), &Terms::default()).scan.unwrap().units;
        println!("{segments} segments, consistent {consistent}: estimated {units:.1} of {found:.1} units");
        assert!((0.9..1.1).contains(&(units / found)), "{units} but {found}");
    }
}

#[tokio::test]
async fn binary_json_takes_what_the_estimates_reckon_with() {
    let database = shared(Kind::MySql).database().await;
    let target = Target::server(database);
    // the texts of the unit test in mapping/jsonb.rs
    for (text, stored) in [
        ("{}", 5),
        (r#"{"a":"b"}"#, 15),
        (r#"{"a":{"S":"b"}}"#, 27),
        (r#"["x","yy"]"#, 16),
        (r#"{"a":1,"b":true}"#, 21),
    ] {
        let sql = format!("SELECT CAST(JSON_STORAGE_SIZE('{text}') AS CHAR)");
        assert_eq!(target.number(&sql).await, stored, "{text}");
    }
}
