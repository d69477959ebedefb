//! Rejects of changes, and of the copy that they follow: what they hold may have been overtaken, so nothing of it is written;
//! the ways out that the refusal names lead out.

use super::retry::rejects;
use crate::follow_stream::engine;
use crate::support::dynamo::DynamoServer;
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::block_on;
use crate::support::streams_server::TABLE;
use crate::support::transvase::{Target, sqlite, text};
use serde_json::{Value, json};
use std::path::Path;
use transvase::mapping::Mapping;
use transvase::mapping::ddl::create_table;
use transvase::model::dialect::Dialect;

/// What fits into `WIDTH` letters.
const MAPPING: &str = r#"
key = "id:S"
[[table]]
name = "things"
column = [{ name = "id", key = true, type = "varchar(20)" }, { name = "note", type = "varchar(WIDTH)" }]
"#;

/// A table that is copied and followed.
struct World<'f> {
    server: DynamoServer,
    target: Target,
    folder: &'f Path,
}

impl World<'_> {
    fn put(&self, id: &str, note: &str) {
        self.server.put(TABLE, &json!({"id": {"S": id}, "note": {"S": note}}));
    }

    /// The mapping whose notes have so many letters.
    fn mapping(&self, width: u32) -> String {
        let file = self.folder.join(format!("{width}.toml"));
        std::fs::write(&file, MAPPING.replace("WIDTH", &width.to_string())).unwrap();
        file.display().to_string()
    }

    fn verb(&self, verb: &str, from: &str, args: &[&str]) -> Engine {
        engine(verb, &format!("{from}://{TABLE}"), &self.server.url(), &self.target, args)
    }

    fn copy(&self) -> Outcome {
        let args = ["--mapping", &self.mapping(4), "--create-tables", "--capture", "--max-rejects", "9"];
        self.verb("backfill", "dynamodb", &args).args(&["--read-capacity", "unlimited"]).run()
    }

    fn follow(&self, args: &[&str]) -> Outcome {
        let flags = ["--mapping", &self.mapping(4), "--until", "caught-up", "--max-rejects", "9"];
        self.verb("follow", "streams", &flags).args(args).run()
    }

    fn verify(&self, args: &[&str]) -> Outcome {
        let flags = ["--mapping", &self.mapping(8), "--state", "sqlite:verify.db", "--read-capacity", "unlimited"];
        self.verb("verify", "dynamodb", &flags).args(args).run()
    }

    fn rows(&self) -> Vec<(String, String)> {
        let rows = block_on(self.target.rows("SELECT id, note FROM things ORDER BY id"));
        rows.iter().map(|row| (text(&row[0]).to_owned(), text(&row[1]).to_owned())).collect()
    }

    #[track_caller]
    fn assert_rows(&self, expected: &[(&str, &str)]) {
        let expected: Vec<(String, String)> =
            expected.iter().map(|(id, note)| (id.to_string(), note.to_string())).collect();
        assert_eq!(self.rows(), expected);
    }
}

#[test]
fn what_a_follower_rejects_is_not_tried_again_but_mended_at_its_source_or_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let world = World { server: DynamoServer::start(), target: sqlite(folder.path()), folder: folder.path() };
    world.server.create_streamed(TABLE, "id:S");
    let items = [("a", "one"), ("b", "too long"), ("c", "one")];
    world.server.load(TABLE, items.map(|(id, note)| json!({"id": {"S": id}, "note": {"S": note}})));
    world.copy().expect(3);
    world.assert_rows(&[("a", "one"), ("c", "one")]);
    world.put("a", "too long");
    world.put("d", "too long");
    let file = folder.path().join("changes.jsonl");
    world.follow(&["--rejects", file.to_str().unwrap()]).expect(3);
    let quoted: Vec<Value> =
        std::fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<&str> = quoted.iter().map(|line| line["item"]["Keys"]["id"]["S"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a", "d"], "{quoted:?}");
    world.assert_rows(&[("c", "one")]);
    // overtaken
    world.put("a", "two");
    world.server.delete(TABLE, &json!({"id": {"S": "d"}}));
    world.follow(&[]).expect(3);
    let now = [("a", "two"), ("c", "one")];
    world.assert_rows(&now);

    let mended = world.mapping(8);
    for run in ["changing", "changing.stream"] {
        for conflict in ["keep", "replace"] {
            let args = ["--run", run, "--mapping", &mended, "--on-conflict", conflict, "--live-target"];
            let said = rejects(&world.target, "retry", &args).run().expect(6).stderr;
            assert!(said.contains("may have been overtaken") && said.contains("verify --repair"), "{said}");
            world.assert_rows(&now);
        }
    }
    let stream = ["--run", "changing.stream"];
    let listed = rejects(&world.target, "list", &stream).run().expect(3);
    assert!(listed.stdout.contains("2  table things, column note"), "{}", listed.stdout);
    let exported = folder.path().join("exported.jsonl");
    let args = [stream.as_slice(), &["--rejects", exported.to_str().unwrap()]].concat();
    rejects(&world.target, "export", &args).run().expect(0);
    assert_eq!(std::fs::read(&exported).unwrap(), std::fs::read(&file).unwrap());
    rejects(&world.target, "sign-off", &[stream.as_slice(), &["--by", "Ada", "--why", "mended"]].concat())
        .run()
        .expect(0);
    rejects(&world.target, "list", &stream).run().expect(0);

    // the ways out: a mended item comes with its change, and verify writes what it finds
    world.put("c", "two");
    world.follow(&[]).expect(3);
    world.assert_rows(&[("a", "two"), ("c", "two")]);
    world.verify(&["--repair"]).expect(0);
    world.assert_rows(&[("a", "two"), ("b", "too long"), ("c", "two")]);
}

#[test]
fn what_the_server_refused_of_a_change_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let world = World { server: DynamoServer::start(), target: sqlite(folder.path()), folder: folder.path() };
    world.server.create_streamed(TABLE, "id:S");
    let mapping = Mapping::parse(&std::fs::read_to_string(world.mapping(4)).unwrap(), "4.toml").unwrap();
    let table = create_table(&mapping.tables()[0], Dialect::Sqlite);
    block_on(world.target.execute(&table.replacen("PRIMARY KEY", "CHECK (note <> 'bad'), PRIMARY KEY", 1)));
    world.server.load(TABLE, [json!({"id": {"S": "a"}, "note": {"S": "one"}})]);
    world.copy().expect(0);
    world.put("a", "bad");
    world.follow(&[]).expect(3);
    world.assert_rows(&[]);
    let verified = world.verify(&[]).expect(0);
    assert_eq!(verified.number("/verdicts/rejected"), 1, "{}", verified.report);
    // it is another item now, and nobody has rejected that
    world.put("a", "two");
    assert_eq!(world.verify(&[]).expect(5).number("/verdicts/confirmed"), 1);
}
