//! Awkward values by both methods: the tables are equal, byte for byte, and no page had to be inserted.

use super::{assert_loaded, run};
use crate::generator::items::Shape;
use crate::roundtrip::export;
use crate::support::servers::{BOTH, shared};
use crate::support::small_export::SmallExport;
use crate::support::transvase::{Cell, Target};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::Path;

/// Loads an export by both methods into databases of their own; returns the table, which is the same in both.
async fn both_methods(folder: &Path, from: &Path, args: &[&str], query: &str) -> Vec<Vec<Vec<Cell>>> {
    let mut tables = Vec::new();
    for kind in BOTH {
        let mut found = Vec::new();
        for method in ["insert", "load-data"] {
            let target = Target::server(shared(kind).database().await);
            let ended = run(folder, from, &target, method, args).expect(0);
            if method == "load-data" {
                assert_loaded(&ended);
            }
            found.push(target.rows(query).await);
        }
        let loaded = found.pop().unwrap();
        for (inserted, loaded) in found[0].iter().zip(&loaded) {
            assert!(inserted == loaded, "{kind:?}:\n{inserted:?} was inserted,\n{loaded:?} was loaded");
        }
        assert_eq!(found[0].len(), loaded.len(), "{kind:?}");
        tables.push(loaded);
    }
    tables
}

#[tokio::test]
async fn documents_of_every_shape_are_the_same_by_both_methods() {
    let folder = tempfile::tempdir().unwrap();
    for (shape, key) in [
        (Shape::Awkward, "pk:S,sk:S"),
        (Shape::AwkwardBinary, "pk:B,sk:B"),
        (Shape::AwkwardNumber, "pk:N,sk:N"),
        (Shape::Random, "pk:S,sk:N"),
    ] {
        let from = export(folder.path(), shape, 71, 400, 3);
        let query = "SELECT HEX(pk), HEX(sk), item FROM items ORDER BY pk, sk";
        let tables = both_methods(folder.path(), &from, &["--key", key, "--table", "items"], query).await;
        assert!(tables.iter().all(|rows| rows.len() == 400));
    }
}

const MAPPING: &str = r#"
key = "pk:N"
[[table]]
name = "awkward"
COLUMNS
"#;

/// Every type of column; text under keys of three types is tried elsewhere.
fn mapping(folder: &Path) -> String {
    let types =
        ["varchar(40)", "text", "varbinary(300)", "blob", "bigint", "int", "decimal(38,10)", "double", "boolean"];
    let types = types.into_iter().chain(["date", "datetime", "json"]);
    let column = |(number, ty): (usize, &str)| {
        format!("[[table.column]]\nname = \"c{number}\"\ntype = \"{ty}\"\nmissing = \"null\"\n")
    };
    let columns: Vec<String> = types.enumerate().map(column).collect();
    let key = "[[table.column]]\nname = \"pk\"\ntype = \"bigint\"\nkey = true\n".to_owned();
    let plain =
        "[[table.column]]\nname = \"plain\"\nfrom = \"c11\"\ntype = \"json\"\njson = \"plain\"\nmissing = \"null\"\n";
    let text = MAPPING.replace("COLUMNS", &[&[key][..], &columns, &[plain.to_owned()]].concat().concat());
    let path = folder.join("awkward.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Texts that a line of LOAD DATA could mistake for something else.
fn texts() -> Vec<String> {
    let plain = [
        "",
        "\\N",
        "N",
        "NULL",
        "\\",
        "\\\\",
        "\t",
        "\n",
        "\r\n",
        "\0",
        "\\t",
        "\\0",
        "a\tb\nc\\d\0e",
        " ends with spaces  ",
        "'\"`",
        "\u{8}\u{1a}",
        "é",
        "漢字",
        "\u{1f600}",
        "\u{10ffff}",
        "\u{feff}bom",
        "\u{2028}",
        "e\u{301}",
        "%_",
        "@c0",
        "\\.",
    ];
    let mut texts: Vec<String> = plain.iter().map(|text| (*text).to_owned()).collect();
    // across the blocks that an encoder may look at together
    texts.extend((0..36).map(|at| format!("{}\\{}", "x".repeat(at), "\u{1f600}")));
    texts
}

fn items() -> Vec<Value> {
    let texts = texts();
    let numbers = ["0", "-1", "2147483647", "-2147483648"];
    let decimals = ["0", "-0.0000000001", "9999999999999999999999999999.9999999999", "1E+20", "12.50"];
    let doubles = ["0", "0.1", "-1E-130", "9.9999999999999999999999999999999999999E+125", "3.141592653589793", "1E+16"];
    let days = ["1000-01-01", "9999-12-31", "2024-02-29"];
    let moments = ["1000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2024-02-29T12:34:56.000001+02:00"];
    let bytes: Vec<Vec<u8>> = vec![vec![], (0..=255).collect(), vec![0xff], vec![0xc3], b"\\N".to_vec(), vec![0; 9]];
    let item = |number: usize| {
        let pick = |list: &[&str]| list[number % list.len()].to_owned();
        let (text, binary) = (&texts[number % texts.len()], STANDARD.encode(&bytes[number % bytes.len()]));
        let mut item = json!({
            "pk": {"N": (number as i64 - 40).to_string()},
            "c0": {"S": text}, "c1": {"S": text.repeat(3)},
            "c2": {"B": binary}, "c3": {"B": binary},
            "c4": {"N": if number.is_multiple_of(2) { i64::MAX } else { i64::MIN }.to_string()},
            "c5": {"N": pick(&numbers)}, "c6": {"N": pick(&decimals)}, "c7": {"N": pick(&doubles)},
            "c8": {"BOOL": number.is_multiple_of(3)},
            "c9": {"S": pick(&days)}, "c10": {"S": pick(&moments)},
            "c11": {"M": {format!("a{text}"): {"S": text}, "deep": {"L": [{"B": binary}, {"N": "1"}, {"NULL": true}]}}},
        });
        // a NULL in every column in turn, and in all of them
        let columns = item.as_object_mut().unwrap();
        columns.retain(|name, _| name == "pk" || (number != 77 && *name != format!("c{}", number % 20)));
        item
    };
    (0..200).map(item).collect()
}

#[tokio::test]
async fn typed_values_of_every_column_type_are_the_same_by_both_methods() {
    let folder = tempfile::tempdir().unwrap();
    let items = items();
    let lines: Vec<String> = items.iter().map(|item| json!({"Item": item}).to_string()).collect();
    let files = lines.chunks(60).map(<[String]>::to_vec).collect();
    let export = SmallExport { files, ..SmallExport::new(0, 0, 0) };
    export.write(folder.path());
    let args = ["--mapping", &mapping(folder.path()), "--create-tables"];
    let query = "SELECT pk, c0, c1, HEX(c2), HEX(c3), c4, c5, c6, c7, c8, c9, c10, c11, plain FROM awkward ORDER BY pk";
    let tables = both_methods(folder.path(), &export.folder(folder.path()), &args, query).await;
    for rows in tables {
        assert_eq!(rows.len(), items.len());
        for (row, item) in rows.iter().zip(&items) {
            let text = |name: &str| item.get(name).map(|value| value["S"].as_str().unwrap().as_bytes().to_vec());
            assert_eq!([&row[1], &row[2]], [&text("c0"), &text("c1")]);
            let hex = |name: &str| {
                let bytes = item.get(name).map(|value| STANDARD.decode(value["B"].as_str().unwrap()).unwrap());
                bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes())
            };
            assert_eq!([&row[3], &row[4]], [&hex("c2"), &hex("c3")]);
            let double = item.get("c7").map(|value| value["N"].as_str().unwrap().parse::<f64>().unwrap());
            let found = row[8].as_ref().map(|bytes| std::str::from_utf8(bytes).unwrap().parse::<f64>().unwrap());
            assert_eq!(found, double);
            let document = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).unwrap();
            assert_eq!(row[12].as_ref().map(document), item.get("c11").cloned());
        }
    }
}
