//! A DynamoDB target against its source: all damage that items can have is found, and mended; clean tables are clean.

use super::copy;
use crate::scan::start;
use crate::support::canon;
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::{Engine, Outcome};
use crate::support::small_export::SmallExport;
use crate::support::transvase::soak;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Items of the tables; the damaged ones are among the first.
const ITEMS: u64 = 240;
const KEY: &str = "pk:S,at:N";

/// `transvase verify` of table `copy`, with its state where the backfill had it.
fn verify(server: &DynamoServer, folder: &Path, from: &str, args: &[&str]) -> Engine {
    let (url, state) = (server.url(), format!("sqlite:{}", folder.join("state.db").display()));
    let spill = folder.display().to_string();
    let engine = Engine::new(&["verify", "--from", from, "--to", "dynamodb://copy", "--endpoint-url", &url])
        .args(&["--state", &state, "--spill-dir", &spill, "--segments", "5"])
        .args(&["--write-capacity", "unlimited"])
        .env("TRANSVASE_READ_CAPACITY", "unlimited")
        .args(args)
        .report();
    AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value))
}

/// An item with attributes of every type.
fn item(id: u64) -> Value {
    json!({
        "pk": {"S": format!("id-{id}")}, "at": {"N": id.to_string()}, "name": {"S": format!("name {id}")},
        "amount": {"N": "12345678901234567890123456789012345678"}, "small": {"N": "1.5"}, "data": {"B": "AAECAwQ="},
        "none": {"NULL": true}, "flag": {"BOOL": true}, "tags": {"SS": ["a", "b", "c"]}, "numbers": {"NS": ["1", "2.5"]},
        "blobs": {"BS": ["AA==", "AQ=="]}, "list": {"L": [{"N": "1"}, {"S": "x"}]},
        "map": {"M": {"deep": {"M": {"er": {"L": [{"NULL": true}]}}}, "n": {"N": "7"}}},
    })
}

/// What is done to one item of the copy: another value of an attribute, or none.
fn alterations() -> Vec<(&'static str, Option<Value>)> {
    vec![
        ("name", Some(json!({"S": "name 0 "}))),
        ("amount", Some(json!({"N": "12345678901234567890123456789012345679"}))),
        ("small", Some(json!({"S": "1.5"}))),
        ("data", Some(json!({"B": "AAECAwU="}))),
        ("none", None),
        ("flag", Some(json!({"BOOL": false}))),
        ("tags", Some(json!({"SS": ["a", "b"]}))),
        ("numbers", Some(json!({"NS": ["1", "2.50001"]}))),
        ("blobs", Some(json!({"BS": ["AA==", "Ag=="]}))),
        ("list", Some(json!({"L": [{"S": "x"}, {"N": "1"}]}))),
        ("map", Some(json!({"M": {"deep": {"M": {"er": {"L": [{"S": ""}]}}}, "n": {"N": "7"}}}))),
        ("new.attribute", Some(json!({"S": "added"}))),
    ]
}

/// Differences by key and kind.
type Found = BTreeSet<(String, String)>;

fn put(server: &DynamoServer, table: &str, item: &Value) {
    let request = json!({"TableName": table, "Item": item});
    server.database.put_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
}

fn delete(server: &DynamoServer, table: &str, item: &Value) {
    let request = json!({"TableName": table, "Key": {"pk": item["pk"], "at": item["at"]}});
    server.database.delete_item(serde_json::from_value(request).unwrap()).map(drop).unwrap();
}

fn name_of(item: &Value) -> String {
    format!("{}/{}", item["pk"]["S"].as_str().unwrap(), item["at"]["N"].as_str().unwrap())
}

/// Damages the copy: what is to be found.
fn damage(server: &DynamoServer) -> Found {
    let mut found = Found::new();
    let mut note = |item: &Value, kind: &str| assert!(found.insert((name_of(item), kind.to_owned())));
    for (id, (attribute, value)) in (0..).zip(alterations()) {
        let mut altered = item(id);
        match value {
            Some(value) => altered[attribute] = value,
            None => drop(altered.as_object_mut().unwrap().remove(attribute)),
        }
        put(server, "copy", &altered);
        note(&altered, "different");
    }
    // more attributes than one request may name
    let wide = |id: u64, pk: String| {
        let mut wide = item(id);
        wide["pk"] = json!({"S": pk});
        (0..150).for_each(|number| wide[format!("x{number}")] = json!({"N": number.to_string()}));
        wide
    };
    for (item, kind) in [(wide(20, "id-20".into()), "different"), (wide(21, "wide".into()), "extra")] {
        put(server, "copy", &item);
        note(&item, kind);
    }
    for id in 100..105 {
        delete(server, "copy", &item(id));
        note(&item(id), "missing");
    }
    // a key that lies before all others, and one after them: what comes between and beyond is looked for as well
    for (id, pk) in [(7, "a"), (8, "zzz"), (9, "id-9 ")] {
        let mut extra = item(id);
        extra["pk"] = json!({"S": pk});
        put(server, "copy", &extra);
        note(&extra, "extra");
    }
    // a row that came under another key
    let mut moved = item(110);
    delete(server, "copy", &moved);
    note(&moved, "missing");
    moved["at"] = json!({"N": "110.5"});
    put(server, "copy", &moved);
    note(&moved, "extra");
    // an item that the source has deleted, and the copy has again
    let zombie = item(ITEMS + 1);
    put(server, "copy", &zombie);
    note(&zombie, "extra");
    found
}

/// A source of items, a copy of them, and an export of the source: where it is.
fn begin(folder: &Path) -> (DynamoServer, String) {
    let server = start();
    for table in ["source", "copy"] {
        server.create(table, KEY);
        server.load(table, (0..ITEMS).map(item));
    }
    let lines: Vec<String> = (0..ITEMS).map(|id| json!({"Item": item(id)}).to_string()).collect();
    let files = lines.chunks(90).map(<[String]>::to_vec).collect();
    let export = SmallExport { files, ..SmallExport::new(0, 0, 0) };
    export.write(folder);
    let from = export.folder(folder).display().to_string();
    (server, from)
}

fn listed(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a verification with `--differences` has listed.
fn differences(path: &Path) -> Found {
    let difference = |line: &Value| (name_of(&line["item"]), line["kind"].as_str().unwrap().to_owned());
    listed(path).iter().map(difference).collect()
}

#[test]
fn all_damage_of_items_is_found_at_full_and_that_of_keys_at_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (server, export) = begin(folder.path());
    let list = folder.path().join("differences.jsonl");
    let args = |level| ["--level", level, "--differences", list.to_str().unwrap()];
    let sources = [export.as_str(), "dynamodb://source"];
    let levels = ["full", "digest", "counts"];
    for (from, level) in sources.iter().zip(levels) {
        let clean = verify(&server, folder.path(), from, &args(level)).run().expect(0);
        assert_eq!(["source", "target", "equal"].map(|of| clean.number(&format!("/tables/0/{of}"))), [ITEMS; 3]);
        assert!(listed(&list).is_empty());
    }
    let planted = damage(&server);
    let keys: Found = planted.iter().filter(|(_, kind)| kind != "different").cloned().collect();
    let before = server.items("copy");
    for from in sources {
        for level in if soak() || from == export { &levels[..] } else { &levels[..1] } {
            let outcome = verify(&server, folder.path(), from, &args(level)).run().expect(5);
            let expected = if *level == "counts" { &keys } else { &planted };
            assert_eq!(differences(&list), *expected, "{from}, {level}\n{}", outcome.stdout);
            assert_eq!(outcome.number("/differences"), expected.len() as u64, "{from}, {level}");
            assert_eq!(outcome.number("/tables/0/target"), before.len() as u64, "{from}, {level}");
        }
    }
    // each attribute that differs is named, and no value told
    verify(&server, folder.path(), &export, &args("full")).run().expect(5);
    let lines = listed(&list);
    let named = |attribute: &str| lines.iter().any(|line| line["column"] == attribute);
    assert!(alterations().iter().all(|(attribute, _)| named(attribute)) && named("x149"), "{lines:?}");
    assert!(!std::fs::read_to_string(&list).unwrap().contains("12345678901234567890123456789012345679"));
    assert!(server.items("copy") == before, "a verification has written to its target");
}

#[test]
fn both_tables_are_read_within_a_budget_and_paid_from_one_purse() {
    let folder = tempfile::tempdir().unwrap();
    let (server, export) = begin(folder.path());
    let priced = ["--read-price", "1000000"];
    let spent = |outcome: &Outcome| {
        let source = &outcome.report["process"]["source"];
        (source["read_units"].as_f64().unwrap(), source["dollars"].as_f64().unwrap())
    };
    let one = spent(&verify(&server, folder.path(), &export, &priced).run().expect(0));
    let both = spent(&verify(&server, folder.path(), "dynamodb://source", &priced).run().expect(0));
    assert_eq!((one.0 * 2.0, one.1 * 2.0), both, "the tables are the same");
    // a quarter of what it costs in a second: it takes longer than one, however fast the machine is
    let budget = format!("{:.0}", (one.0 / 4.0).ceil());
    let slow = verify(&server, folder.path(), &export, &["--read-capacity", &budget]).run().expect(0);
    let seconds = slow.report["process"]["wall_seconds"].as_f64().unwrap();
    assert!(seconds > 1.0, "{} units at {budget} a second in {seconds} s", one.0);
    let stopped = verify(&server, folder.path(), "dynamodb://source", &["--max-cost", "0.000001"]).run();
    assert!(stopped.code() != Some(0) && stopped.stderr.contains("--max-cost"), "{}", stopped.stderr);
}

#[test]
fn a_sample_looks_its_items_up() {
    let folder = tempfile::tempdir().unwrap();
    let (server, export) = begin(folder.path());
    let sampled =
        |code| verify(&server, folder.path(), &export, &["--sample", "40%", "--seed", "7"]).run().expect(code);
    let clean = sampled(0);
    let read = clean.number("/tables/0/source");
    assert!((60..ITEMS).contains(&read) && clean.number("/tables/0/target") == read, "{}", clean.report);
    (0..ITEMS).for_each(|id| delete(&server, "copy", &item(id)));
    assert_eq!(sampled(5).number("/kinds/0"), read);
}

#[test]
fn what_is_mended_is_as_the_source_has_it_and_a_certificate_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (server, export) = begin(folder.path());
    let truth = server.items("source");
    let certificate = folder.path().join("c.json");
    let certified = ["--certificate", certificate.to_str().unwrap()];
    for from in [export.as_str(), "dynamodb://source"] {
        let planted = damage(&server);
        let extras = planted.iter().filter(|(_, kind)| kind == "extra").count() as u64;
        let mended = verify(&server, folder.path(), from, &["--repair"]).args(&certified).run().expect(5);
        assert_eq!(mended.number("/verdicts/repaired"), planted.len() as u64 - extras, "{}", mended.stdout);
        assert_eq!((mended.number("/differences"), certificate.exists()), (extras, false));
        assert_eq!(server.items("copy").len(), truth.len() + usize::try_from(extras).unwrap());
        let deleted = verify(&server, folder.path(), from, &["--repair", "--delete-extras"]).run().expect(0);
        assert_eq!(deleted.number("/verdicts/repaired"), extras, "{}", deleted.stdout);
        assert!(server.items("copy") == truth, "{from}: the tables differ");
        verify(&server, folder.path(), from, &certified).run().expect(0);
        let checked = verify(&server, folder.path(), from, &["--check", certified[1]]).run().expect(0);
        assert!(checked.stdout.contains("it stands (level full"), "{}", checked.stdout);
        std::fs::remove_file(&certificate).unwrap();
    }
}

#[test]
fn a_certificate_of_a_table_that_was_made_anew_does_not_stand() {
    let folder = tempfile::tempdir().unwrap();
    let (server, export) = begin(folder.path());
    let certificate = folder.path().join("c.json");
    let path = certificate.to_str().unwrap();
    verify(&server, folder.path(), &export, &["--certificate", path]).run().expect(0);
    let check = |code| verify(&server, folder.path(), &export, &["--check", path]).run().expect(code).stdout;
    assert!(check(0).contains("it stands"));
    let text = std::fs::read_to_string(&certificate).unwrap();
    std::fs::write(&certificate, text.replace("\"equal\": 240", "\"equal\": 241")).unwrap();
    assert!(check(5).contains("altered"));
    std::fs::write(&certificate, text).unwrap();
    server.database.delete_table(serde_json::from_value(json!({"TableName": "copy"})).unwrap()).unwrap();
    server.create("copy", KEY);
    assert!(check(5).contains("of another table: copy"));
}

/// What the report of a verification that was not killed says, but for what only it did.
fn told(outcome: &Outcome) -> Value {
    let mut told = outcome.report.clone();
    for own in ["process", "seed", "settled"] {
        told.as_object_mut().unwrap().remove(own);
    }
    told
}

#[test]
fn a_verification_that_is_killed_goes_on_to_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let (server, export) = begin(folder.path());
    let planted = damage(&server);
    let list = folder.path().join("differences.jsonl");
    let args = ["--differences", list.to_str().unwrap()];
    for from in [export.as_str(), "dynamodb://source"] {
        let whole = told(&verify(&server, folder.path(), from, &args).run().expect(5));
        let deaths = [
            &["unit-claimed:3", "committed:2", "load-begun:1", "look-begun:1"][..],
            &["page-encoded:4", "run-written:1", "committed:6", "judged:1", "run-complete:1"],
        ];
        // of a live source each candidate is looked at for seconds
        for points in &deaths[..if soak() || from == export { 2 } else { 1 }] {
            for point in *points {
                let died = verify(&server, folder.path(), from, &args).env("TRANSVASE_ABORT_AT", point).run();
                assert!(died.signal().is_some(), "{from}: it did not die at {point}\n{}{}", died.stdout, died.stderr);
            }
            // after its last moment a finished one begins anew
            let outcome = verify(&server, folder.path(), from, &args).run().expect(5);
            assert_eq!(told(&outcome), whole, "{from}, {points:?}");
            assert_eq!(differences(&list), planted, "{from}, {points:?}");
        }
    }
    // what was mended before a kill is mended once
    for point in ["judged:1", "judged:2"] {
        let args = ["--repair", "--delete-extras"];
        verify(&server, folder.path(), &export, &args).env("TRANSVASE_ABORT_AT", point).run();
    }
    verify(&server, folder.path(), &export, &["--repair", "--delete-extras"]).run().expect(0);
    assert!(server.items("copy") == server.items("source"));
}

#[test]
fn items_in_another_format_are_compared_as_the_mapping_makes_them() {
    let (server, folder) = (start(), tempfile::tempdir().unwrap());
    server.create("source", "pk:S,at:N");
    let request = json!({
        "TableName": "copy", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "zip", "AttributeType": "S"}],
        "GlobalSecondaryIndexes": [{"IndexName": "by-zip", "Projection": {"ProjectionType": "ALL"},
            "KeySchema": [{"AttributeName": "zip", "KeyType": "HASH"}]}],
    });
    server.create_from(request, "customer:S,at:N");
    let source = |id: u64| {
        json!({"pk": {"S": format!("c{id}")}, "at": {"N": id.to_string()}, "total": {"S": format!("{id}.50")},
            "address": {"M": {"zip": {"S": format!("{:05}", id % 7)}, "city": {"S": "B"}}}})
    };
    server.load("source", (0..80).map(source));
    // the index does not take the first one's zip, the mapping not the other's total
    let mut wrong = [source(1000), source(1001)];
    wrong[0]["address"]["M"]["zip"] = json!({"N": "7"});
    wrong[1]["total"] = json!({"S": "much"});
    server.load("source", wrong.clone());
    let mapping = folder.path().join("format.toml");
    let text = r#"key = "pk:S,at:N"
[item]
attribute = [
    { name = "customer", from = "pk" },
    { name = "zip", from = "address.zip" },
    { name = "total", type = "N" },
]"#;
    std::fs::write(&mapping, text).unwrap();
    let args = ["--mapping", mapping.to_str().unwrap()];
    copy(&server, folder.path(), "source", "copy", &args).args(&["--max-rejects", "5"]).run().expect(3);
    // of the two, one is a row that is missing, and known to be; the other is no row
    let run = |more: &[&str]| verify(&server, folder.path(), "dynamodb://source", &args).args(more);
    let clean = run(&[]).run().expect(0);
    assert_eq!((clean.number("/verdicts/rejected"), clean.number("/rejected")), (1, 1), "{}", clean.stdout);
    // the item that was rejected is mended, and so is one that was written since
    let mut mended = wrong[0].clone();
    mended["address"]["M"]["zip"] = json!({"S": "00007"});
    put(&server, "source", &mended);
    let update = json!({"TableName": "copy", "Key": {"customer": {"S": "c5"}, "at": {"N": "5"}},
        "UpdateExpression": "SET zip = :z", "ExpressionAttributeValues": {":z": {"S": "x"}}});
    server.database.update_item(serde_json::from_value(update).unwrap()).unwrap();
    assert_eq!(run(&[]).run().expect(5).number("/differences"), 2);
    assert_eq!(run(&["--repair"]).run().expect(0).number("/verdicts/repaired"), 2);
    let copied = server.items("copy");
    let there = |zip: &str, id: u64| {
        let item = json!({"customer": {"S": format!("c{id}")}, "at": {"N": id.to_string()}, "zip": {"S": zip},
            "total": {"N": format!("{id}.5")}, "address": {"M": {"city": {"S": "B"}}}});
        copied.contains(&canon::item(&item))
    };
    assert!(there("00005", 5) && there("00007", 1000), "{copied:?}");
    // an item that a mapping moves is told by the key that it has in the source
    run(&[]).run().expect(0);
}
