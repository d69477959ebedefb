//! `transvase plan`: the mapping that it infers loads the whole table, what it estimates is near the truth, and neither end
//! is written to.
//!
//! The generator is the truth and the databases are the oracle; sizes are counted here anew.

mod live;
mod refused;
mod untouched;

use crate::generator::export::{self, Options};
use crate::generator::items::{Items, Shape};
use crate::support::transvase::{Backfill, Target, soak, sqlite, targets, text};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a plan ended.
pub(crate) struct Planned {
    pub(crate) code: i32,
    pub(crate) said: String,
    /// `--report`, when it was written.
    pub(crate) report: Value,
    /// Where the mapping is saved.
    pub(crate) mapping: PathBuf,
}

impl Planned {
    /// Fails unless it ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.said);
        self
    }

    /// Fails unless each of `parts` was said.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.said.contains(part), "nothing is said of {part:?} in:\n{}", self.said);
        }
    }

    /// A number of the report.
    #[track_caller]
    pub(crate) fn number(&self, pointer: &str) -> f64 {
        let found = self.report.pointer(pointer).and_then(Value::as_f64);
        found.unwrap_or_else(|| panic!("no {pointer} in {}\n{}", self.report, self.said))
    }

    /// The text of the mapping.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.mapping).unwrap()
    }
}

/// `transvase plan` with its files in `folder`; `target` is left away when there is none.
pub(crate) fn command(folder: &Path, from: &str, target: Option<&Target>, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transvase"));
    command.current_dir(folder).env_remove("MYSQL_PWD").stdin(Stdio::null());
    command.args(["plan", "--from", from, "--report", "plan.json", "--save-mapping", "inferred.toml", "--seed", "11"]);
    if let Some(target) = target {
        command.arg("--to").arg(target.url());
        if let Target::Server(database) = target {
            command.env("MYSQL_PWD", database.password()).arg("--tls-ca").arg(&database.ca_file);
        }
    }
    command.args(args);
    command
}

/// Runs it; files of an earlier plan in the folder are removed first.
pub(crate) fn run(mut command: Command, folder: &Path) -> Planned {
    for name in ["plan.json", "inferred.toml", "inferred.sql"] {
        let _gone = std::fs::remove_file(folder.join(name));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let report = std::fs::read_to_string(folder.join("plan.json")).unwrap_or_default();
    Planned {
        code: output.status.code().expect("it was not killed"),
        said,
        report: serde_json::from_str(&report).unwrap_or_default(),
        mapping: folder.join("inferred.toml"),
    }
}

/// Writes an export of a shape; the folder of its manifests, and the bytes of its lines.
fn export(root: &Path, shape: Shape, items: u64) -> (PathBuf, u64) {
    let out = root.join(format!("{shape:?}"));
    let options = Options {
        out,
        shape,
        items,
        files: 6,
        empty: 1,
        seed: 5,
        level: 1,
        table: "things".into(),
        ..Options::default()
    };
    let written = export::write(&options).unwrap();
    (written.folder, written.bytes)
}

/// The size of an item as DynamoDB counts it, from its JSON [developer guide, item sizes].
fn item_size(item: &Value) -> u64 {
    let members =
        |map: &Value| map.as_object().unwrap().iter().map(|(name, value)| name.len() as u64 + size(value)).sum::<u64>();
    members(item)
}

fn size(value: &Value) -> u64 {
    let (tag, payload) = value.as_object().unwrap().iter().next().unwrap();
    let number = |text: &str| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        (digits.trim_matches('0').len() as u64).div_ceil(2) + 1 + u64::from(text.starts_with('-'))
    };
    let decoded =
        |text: &str| (text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count()) as u64;
    let texts = || payload.as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    match tag.as_str() {
        "S" => payload.as_str().unwrap().len() as u64,
        "N" => number(payload.as_str().unwrap()),
        "B" => decoded(payload.as_str().unwrap()),
        "M" => 3 + payload.as_object().unwrap().len() as u64 + item_size(payload),
        "L" => 3 + payload.as_array().unwrap().iter().map(|element| 1 + size(element)).sum::<u64>(),
        "SS" => texts().map(|text| text.len() as u64).sum(),
        "NS" => texts().map(number).sum(),
        "BS" => texts().map(decoded).sum(),
        _ => 1,
    }
}

/// The size of all items of a shape.
fn sizes(shape: Shape, items: u64) -> u64 {
    let generator = Items::new(shape, 5);
    let mut line = Vec::new();
    let one = |index| {
        line.clear();
        generator.write_line(index, &mut line).unwrap();
        item_size(&serde_json::from_slice::<Value>(&line).unwrap()["Item"])
    };
    (0..items).map(one).sum()
}

#[track_caller]
pub(crate) fn near(found: f64, truth: f64, percent: f64, what: &str) {
    assert!((found - truth).abs() <= truth * percent / 100.0, "{what}: {found} is not within {percent} % of {truth}");
}

/// A shape, its key, how many items of it, and how many are looked at: of the regular ones a fifth.
const SHAPES: [(Shape, &str, u64, &str); 8] = [
    (Shape::Orders, "customer_id:S,order_id:S", 6000, "20%"),
    (Shape::Wide, "pk:S", 800, "20%"),
    (Shape::Sparse, "pk:S,sk:S", 5000, "20%"),
    (Shape::SingleTable, "pk:S,sk:S", 9000, "20%"),
    (Shape::SixKinds, "PK:S,SK:S", 9000, "20%"),
    (Shape::Huge, "id:S,part:N", 150, "40%"),
    (Shape::NumberKeys, "device:N,at:N", 5000, "20%"),
    (Shape::BinaryKeys, "hash:B,at:B", 5000, "20%"),
];

#[tokio::test]
async fn the_inferred_mapping_loads_the_whole_table_and_the_estimates_are_near() {
    let folder = tempfile::tempdir().unwrap();
    for (shape, key, items, sample) in SHAPES {
        let items = if soak() { items * 5 } else { items };
        let (from, bytes) = export(folder.path(), shape, items);
        let size = sizes(shape, items);
        for target in targets(folder.path()).await {
            let what = format!("{shape:?} into {target}");
            let args = ["--key", key, "--sample", sample];
            let planned = run(command(folder.path(), from.to_str().unwrap(), Some(&target), &args), folder.path());
            assert!(planned.code <= 1, "{what}: {}", planned.said);
            let sampled = planned.number("/sample/items");
            assert!(sampled < items as f64 / 2.0 && planned.number("/mapping/proved") == sampled, "{what}: {sampled}");
            assert_eq!(planned.number("/mapping/rejected"), 0.0, "{what}");
            assert_eq!(planned.number("/sample/whole/items"), items as f64, "{what}");
            near(planned.number("/sample/whole/item_bytes"), size as f64, 10.0, &what);
            near(planned.number("/sample/whole/line_bytes"), bytes as f64, 10.0, &what);
            let mapping = planned.mapping.to_str().unwrap();
            let args = ["--mapping", mapping, "--create-tables"];
            let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(0);
            ended.counts([items, items, 0, 0, 0]);
            rows_are_as_estimated(&planned, &target, items, &what).await;
            if shape == Shape::SixKinds {
                each_kind_has_its_table(&target, items).await;
            }
        }
    }
}

/// The rows of all tables, and their estimates.
async fn rows_are_as_estimated(planned: &Planned, target: &Target, items: u64, what: &str) {
    let mut rows = 0;
    for table in planned.report["estimate"]["tables"].as_array().unwrap() {
        let name = table["table"].as_str().unwrap();
        let mark = if target.kind().is_none() { '"' } else { '`' };
        let found = target.number(&format!("SELECT COUNT(*) FROM {mark}{name}{mark}")).await;
        let estimated = table["rows"].as_f64().unwrap();
        near(estimated, found as f64, 10.0, &format!("{what}: rows of {name}"));
        rows += found;
    }
    assert_eq!(rows, items, "{what}");
}

/// What the tables of six kinds are called after their keys, and how many of 12 items are of each.
const SIX_KINDS: [(&str, u64); 6] =
    [("user_profile", 1), ("user_addr", 2), ("user_order", 2), ("order_line", 4), ("product", 2), ("setting_value", 1)];

async fn each_kind_has_its_table(target: &Target, items: u64) {
    for (kind, of_twelve) in SIX_KINDS {
        assert_eq!(target.number(&format!("SELECT COUNT(*) FROM {kind}")).await, items / 12 * of_twelve, "{kind}");
    }
    // what all keys of a kind begin with is in `where`, and not in the column
    let rows = target.rows("SELECT PK, SK FROM user_order ORDER BY PK, SK LIMIT 1").await;
    assert_eq!([text(&rows[0][0]), text(&rows[0][1])], ["0000000", "000000003"]);
}

#[tokio::test]
async fn a_mapping_of_all_items_however_awkward_rejects_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let shapes = [
        (Shape::Random, "pk:S,sk:N", 1200),
        (Shape::Awkward, "pk:S,sk:S", 400),
        (Shape::AwkwardBinary, "pk:B,sk:B", 400),
        (Shape::AwkwardNumber, "pk:N,sk:N", 900),
    ];
    for (shape, key, items) in shapes {
        let (from, _) = export(folder.path(), shape, items);
        for target in targets(folder.path()).await {
            let args = ["--key", key];
            let planned = run(command(folder.path(), from.to_str().unwrap(), Some(&target), &args), folder.path());
            assert!(planned.code <= 1, "{shape:?}: {}", planned.said);
            assert_eq!(planned.number("/mapping/rejected"), 0.0, "{shape:?}: {}", planned.said);
            assert_eq!(planned.report["sample"]["whole"]["complete"], Value::Bool(true), "{shape:?}");
            let args = ["--mapping", planned.mapping.to_str().unwrap(), "--create-tables"];
            let ended = Backfill::new(folder.path(), &from, &target, &args).run().expect(0);
            ended.counts([items, items, 0, 0, 0]);
        }
    }
}

#[tokio::test]
async fn the_statements_beside_the_mapping_make_the_tables_that_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let (from, _) = export(folder.path(), Shape::SingleTable, 900);
    for target in targets(folder.path()).await {
        let args = ["--key", "pk:S,sk:S"];
        let planned = run(command(folder.path(), from.to_str().unwrap(), Some(&target), &args), folder.path());
        assert!(planned.code <= 1, "{target}: {}", planned.said);
        for statement in std::fs::read_to_string(folder.path().join("inferred.sql")).unwrap().split(";\n") {
            if !statement.trim().is_empty() {
                target.execute(statement).await;
            }
        }
        let args = ["--mapping", planned.mapping.to_str().unwrap()];
        Backfill::new(folder.path(), &from, &target, &args).run().expect(0).counts([900, 900, 0, 0, 0]);
    }
}

#[test]
fn the_same_seed_gives_the_same_mapping_and_values_stay_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let (from, _) = export(folder.path(), Shape::SingleTable, 3000);
    let from = from.to_str().unwrap();
    let key = ["--key", "pk:S,sk:S", "--sample", "600"];
    let first = run(command(folder.path(), from, None, &key), folder.path()).expect(0);
    let text = first.text();
    let again = run(command(folder.path(), from, None, &key), folder.path()).expect(0);
    assert_eq!(text, again.text());
    let hidden = |text: &str| !text.contains("CUST#0") && !text.contains("@example.org") && !text.contains("Lovelace");
    assert!(hidden(&text) && hidden(&first.said) && hidden(&first.report.to_string()), "{}", first.said);
    first.says(&["CUST#…", "pk begins with ORDER# (", "PROFILE (", "kind", "5 distinct", "table order:"]);
    let shown = run(command(folder.path(), from, None, &[&key[..], &["--show-values"]].concat()), folder.path());
    shown.expect(0).says(&["CUST#0"]);
}

#[test]
fn a_file_that_is_there_is_overwritten_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let (from, _) = export(folder.path(), Shape::Orders, 200);
    let key = ["--key", "customer_id:S,order_id:S"];
    run(command(folder.path(), from.to_str().unwrap(), None, &key), folder.path()).expect(0);
    std::fs::write(folder.path().join("inferred.sql"), "mine").unwrap();
    let again = |more: &[&str]| {
        let mut command = command(folder.path(), from.to_str().unwrap(), None, &[&key[..], more].concat());
        command.output().unwrap()
    };
    let refused = again(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(std::fs::read_to_string(folder.path().join("inferred.sql")).unwrap(), "mine");
    assert_eq!(again(&["--force"]).status.code(), Some(0));
    assert!(std::fs::read_to_string(folder.path().join("inferred.sql")).unwrap().starts_with("CREATE TABLE"));
    drop(sqlite(folder.path()));
}
