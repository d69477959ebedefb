//! What the mapping file promises, rule by rule.

use super::*;
use crate::mapping::Mapped;
use crate::model::decode::Decoder;
use crate::model::rows::{CellRef, Rows};
use proptest::prelude::*;

/// A file with one table of one key column `id`, and `column` as a second column, TOML fields on one line.
fn with_column(column: &str) -> String {
    format!(
        "key = \"id:S\"\n[[table]]\nname = \"t\"\ncolumn = [\n{{ name = \"id\", type = \"varchar(9)\", key = true }},\n{{ {column} }},\n]\n"
    )
}

fn parse(text: &str) -> Mapping {
    Mapping::parse(text, "m.toml").unwrap()
}

fn refusal(text: &str) -> String {
    Mapping::parse(text, "m.toml").err().map(|error| error.to_string()).unwrap_or_else(|| panic!("accepted: {text}"))
}

fn map(mapping: &Mapping, line: &str) -> (Mapped, Vec<Rows>) {
    let mut rows: Vec<Rows> = mapping.tables().iter().map(|table| Rows::new(table.columns.len())).collect();
    let mut mapper = mapping.mapper();
    let mapped = Decoder::default().decode(line.as_bytes(), |item| mapper.map(item, line.as_bytes(), 3, &mut rows));
    (mapped.unwrap(), rows)
}

fn show(cell: CellRef<'_>) -> String {
    match cell {
        CellRef::Text(text) => std::str::from_utf8(text).unwrap().to_owned(),
        other => format!("{other:?}"),
    }
}

/// The second column's cell for an item whose attribute `a` is `value` (absent when empty), or the reason to reject.
fn second(column: &str, value: &str) -> String {
    let mapping = parse(&with_column(column));
    let comma = if value.is_empty() { String::new() } else { format!(",\"a\":{value}") };
    match map(&mapping, &format!(r#"{{"Item":{{"id":{{"S":"1"}}{comma}}}}}"#)) {
        (Mapped::Row(0), rows) => show(rows[0].cell(0, 1)),
        (Mapped::Rejected(reject), _) => reject.reason,
        (other, _) => panic!("{other:?}"),
    }
}

const REFERENCE: &str = include_str!("../file.rs");

/// The example at the top of the module's documentation.
fn example() -> String {
    let lines = REFERENCE.lines().skip_while(|line| *line != "//! ```toml").skip(1);
    let lines = lines.take_while(|line| *line != "//! ```");
    lines.map(|line| line.trim_start_matches("//!").trim_start().to_owned() + "\n").collect()
}

#[test]
fn an_attribute_that_nothing_names_rejects_its_item_unless_the_file_ignores_it() {
    let line = r#"{"Item":{"id":{"S":"1"},"a":{"S":"x"},"ttl":{"N":"1"}}}"#;
    let strict = with_column("name = \"a\", type = \"text\"");
    match map(&parse(&strict), line) {
        (Mapped::Rejected(reject), rows) => {
            assert_eq!(reject.reason, "no column takes attribute ttl: add one, or rest, or name it in ignore");
            assert!(rows[0].is_empty());
        }
        (other, _) => panic!("{other:?}"),
    }
    for rule in ["ignore = \"*\"", "ignore = [\"ttl\", \"x\"]", "ignore = \"ttl\"", "rest = \"more\""] {
        let ruled = strict.replace("name = \"t\"\n", &format!("name = \"t\"\n{rule}\n"));
        assert!(matches!(map(&parse(&ruled), line), (Mapped::Row(0), _)), "{rule}");
    }
    let both = strict.replace("name = \"t\"\n", "name = \"t\"\nrest = \"r\"\nignore = \"ttl\"\n");
    assert!(refusal(&both).contains("nothing to ignore"));
}

#[test]
fn the_documented_example_maps_an_order() {
    let mapping = parse(&example());
    let line = r#"{"Item":{"pk":{"S":"CUST#7"},"sk":{"S":"ORDER#a"},"total":{"N":"12.50"},"note":{"S":"hi"},"address":{"M":{"zip":{"S":"1010"}}},"placed_at":{"N":"1700000000123"}}}"#;
    let (mapped, rows) = map(&mapping, line);
    assert_eq!(mapped, Mapped::Row(0));
    let cells: Vec<_> = rows[0].row(0).map(show).collect();
    assert_eq!(
        cells,
        [
            "7",
            "a",
            "12.5",
            "1010",
            "2023-11-14 22:13:20.123000",
            r#"{"note":{"S":"hi"},"address":{"M":{"zip":{"S":"1010"}}}}"#
        ]
    );
    assert_eq!(rows[0].position(0), 3);
    let table = &mapping.tables()[0];
    assert_eq!(table.key, [0, 1]);
    let nullable: Vec<_> = table.columns.iter().filter(|column| column.nullable).map(|column| &column.name).collect();
    assert_eq!(nullable, ["zip"]);
}

#[test]
fn an_item_goes_to_the_first_table_that_takes_it() {
    let tables = |unmatched: &str| {
        parse(&format!(
            r##"
key = "pk:S"
unmatched = "{unmatched}"
[[table]]
name = "a"
where = [{{ attribute = "kind", equals = "x" }}, {{ attribute = "m.n", type = "N", exists = true }}]
column = [{{ name = "pk", type = "varbinary(2048)", key = true }}]
[[table]]
name = "b"
where = {{ attribute = "kind", equals = 5 }}
column = [{{ name = "pk", type = "varbinary(2048)", key = true }}]
"##
        ))
    };
    let mapping = tables("reject");
    let mapped = |line: &str| map(&mapping, &format!(r#"{{"Item":{{"pk":{{"S":"1"}},{line}}}}}"#)).0;
    assert_eq!(mapped(r#""kind":{"S":"x"},"m":{"M":{"n":{"N":"1"}}}"#), Mapped::Row(0));
    assert_eq!(mapped(r#""kind":{"N":"5.0"}"#), Mapped::Row(1));
    let Mapped::Rejected(reject) = mapped(r#""kind":{"S":"x"}"#) else { panic!("it was taken") };
    assert_eq!((reject.position, reject.table, reject.column), (3, None, None));
    assert_eq!(map(&tables("skip"), r#"{"Item":{"pk":{"S":"1"}}}"#).0, Mapped::Skipped);
}

#[test]
fn rules_say_what_stands_in_for_a_value() {
    let column = r#"name = "a", type = "int", missing = "null", mismatch = "default", default = 9"#;
    assert_eq!(second(column, r#"{"N":"5"}"#), "Int(5)");
    assert_eq!(second(column, ""), "Null");
    assert_eq!(second(column, r#"{"NULL":true}"#), "Null");
    assert_eq!(second(column, r#"{"S":"x"}"#), "Int(9)");
    let column = r#"name = "a", type = "int", missing = "null", null = "reject""#;
    assert!(second(column, r#"{"NULL":true}"#).contains("NULL"));
    let column = r#"name = "a", type = "date", mismatch = "null""#;
    assert_eq!(second(column, r#"{"S":"soon"}"#), "Null");
    assert!(second(column, "").contains("missing"));
    assert!(second(column, r#"{"NULL":true}"#).contains("NULL"));
    let column = r#"name = "z", from = "a.b", type = "int", missing = "null""#;
    assert!(second(column, r#"{"S":"x"}"#).contains("leads into type S"));
    assert_eq!(second(column, r#"{"M":{}}"#), "Null");
}

#[test]
fn what_does_not_fit_is_rejected_whatever_the_rules_say() {
    let rules = r#"missing = "null", null = "null", mismatch = "default""#;
    for (ty, default, value) in [
        ("varchar(2)", "\"x\"", r#"{"S":"abc"}"#),
        ("varbinary(2)", "\"x\"", r#"{"S":"abc"}"#),
        ("int", "0", r#"{"N":"2147483648"}"#),
        ("int", "0", r#"{"N":"1.5"}"#),
        ("decimal(4,2)", "0", r#"{"N":"1.005"}"#),
        ("decimal(4,2)", "\"99.99\"", r#"{"N":"100"}"#),
        ("date", "\"2000-01-01\"", r#"{"S":"2024-01-01T10:00:00Z"}"#),
        ("datetime", "\"2000-01-01\"", r#"{"S":"0999-01-01"}"#),
    ] {
        let column = format!("name = \"a\", type = \"{ty}\", {rules}, default = {default}");
        let reason = second(&column, value);
        assert!(reason.contains("the value"), "{ty}: {reason}");
    }
}

#[test]
fn a_prefix_that_is_not_there_is_a_mismatch() {
    let column = r##"name = "a", type = "varchar(9)", strip_prefix = "X#""##;
    assert_eq!(second(column, r##"{"S":"X#1"}"##), "1");
    assert!(second(column, r#"{"S":"1"}"#).contains("prefix"));
    assert_eq!(second(&format!("{column}, mismatch = \"null\""), r#"{"S":"1"}"#), "Null");
    assert_eq!(second(&format!("{column}, mismatch = \"null\""), r#"{"N":"1"}"#), "Null");
}

#[test]
fn a_rejected_item_leaves_nothing_behind() {
    let mapping = parse(&with_column(r#"name = "a", type = "int""#));
    let mut rows = [Rows::new(2)];
    let (mut mapper, mut decoder) = (mapping.mapper(), Decoder::default());
    for (position, line) in [
        r#"{"Item":{"id":{"S":"1"},"a":{"N":"1"}}}"#,
        r#"{"Item":{"id":{"S":"2"},"a":{"S":"no number"}}}"#,
        r#"{"Item":{"id":{"S":"3"},"a":{"N":"3"}}}"#,
    ]
    .iter()
    .enumerate()
    {
        let position = u64::try_from(position).unwrap();
        let mapped = decoder.decode(line.as_bytes(), |item| mapper.map(item, line.as_bytes(), position, &mut rows));
        match mapped.unwrap() {
            Mapped::Rejected(reject) => {
                assert_eq!((reject.position, reject.table, reject.column.as_deref()), (1, Some(0), Some("a")));
                assert!(!reject.reason.contains("no number"), "a reason never quotes the value: {}", reject.reason);
            }
            mapped => assert_eq!(mapped, Mapped::Row(0)),
        }
    }
    let cells: Vec<_> =
        (0..2).map(|row| (rows[0].position(row), show(rows[0].cell(row, 0)), show(rows[0].cell(row, 1)))).collect();
    assert_eq!(cells, [(0, "1".into(), "Int(1)".into()), (2, "3".into(), "Int(3)".into())]);
    assert_eq!(rows[0].len(), 2);
}

#[test]
fn json_columns_hold_null_unless_told_otherwise() {
    assert_eq!(second(r#"name = "a", type = "json""#, r#"{"NULL":true}"#), r#"{"NULL":true}"#);
    assert_eq!(second(r#"name = "a", type = "json", json = "plain""#, r#"{"NULL":true}"#), "null");
    assert_eq!(second(r#"name = "a", type = "json", null = "null""#, r#"{"NULL":true}"#), "Null");
    let column = r#"name = "a", type = "json", json = "plain", missing = "default", default = "[1]""#;
    assert_eq!(second(column, ""), "[1]");
}

#[test]
fn rest_holds_whatever_no_column_holds_whole() {
    let text = with_column(r#"name = "a", type = "int", missing = "null", mismatch = "null""#) + "rest = \"more\"\n";
    let mapping = parse(&text);
    let rest = |attributes: &str| {
        let (mapped, rows) = map(&mapping, &format!(r#"{{"Item":{{"x":{{"N":"1"}},"id":{{"S":"1"}}{attributes}}}}}"#));
        assert_eq!(mapped, Mapped::Row(0));
        show(rows[0].cell(0, 2))
    };
    assert_eq!(rest(""), r#"{"x":{"N":"1"}}"#);
    assert_eq!(rest(r#","a":{"N":"2"}"#), r#"{"x":{"N":"1"}}"#);
    assert_eq!(rest(r#","a":{"S":"no int"}"#), r#"{"x":{"N":"1"},"a":{"S":"no int"}}"#);
    assert_eq!(rest(r#","a":{"NULL":true}"#), r#"{"x":{"N":"1"},"a":{"NULL":true}}"#);
}

#[test]
fn mistakes_are_named_with_file_line_table_and_column() {
    for (column, said) in [
        (r#"type = "int""#, "line 6, table t: name is missing"),
        (r#"name = "a""#, "line 6, table t, column a: type is missing"),
        (r#"name = "a", type = "float""#, "line 6, table t, column a: type float is not one of"),
        (r#"name = "a", type = "varchar""#, "varchar(n)"),
        (r#"name = "a", type = "varchar(16384)""#, "varchar(n)"),
        (r#"name = "a", type = "decimal(66,2)""#, "decimal(66,2)"),
        (r#"name = "a", type = "decimal(31,31)""#, "decimal(31,31)"),
        (r#"name = "a", type = "int(11)""#, "not one of"),
        (r#"name = "a", type = "int", colour = 1"#, "column a: colour is not a field"),
        (r#"name = "a", type = "int", key = "yes""#, "key must be true or false"),
        (r#"name = "a", type = "int", missing = "skip""#, "missing must be one of reject, null, default"),
        (r#"name = "a", type = "int", from = "a..b""#, "step without a name"),
        (r#"name = "a", type = "int", epoch = "s""#, "epoch is for"),
        (r#"name = "a", type = "int", json = "plain""#, "json is for"),
        (r#"name = "a", type = "int", strip_prefix = "x""#, "strip_prefix needs text"),
        (r#"name = "a", type = "int", default = 1"#, "nothing uses"),
        (r#"name = "a", type = "int", missing = "default""#, "there is no default"),
        (r#"name = "a", type = "int", missing = "default", default = 1.5"#, "its default is not a int"),
        (r#"name = "a", type = "json", missing = "default", default = "{""#, "its default is not a json"),
        (r#"name = "a ", type = "int""#, "ends in a space"),
        (r#"name = "ID", type = "int""#, "named twice"),
        (r#"name = "a", type = "int", key = true, missing = "null""#, "must reject"),
        (r#"name = "a", type = "text", key = true"#, "cannot be part of a key"),
        (r#"name = "a", type = "varchar(800)", key = true"#, "3072"),
        (r#"name = "a", type = "varchar(16383)""#, "65535"),
        (r#"name = "a", from = "id", type = "bigint""#, "column a: key attribute id is of type S"),
    ] {
        let message = refusal(&with_column(column));
        assert!(message.starts_with("mapping file m.toml, line "), "{message}");
        assert!(message.contains(said), "{column}: {message}");
    }
}

#[test]
fn mistakes_outside_columns_are_named_too() {
    let column = r#"column = [{ name = "id", type = "varchar(9)", key = true }]"#;
    let table = format!("[[table]]\nname = \"t\"\n{column}\n");
    for (text, said) in [
        ("key = ", "line 1: not TOML"),
        ("key = \"id:S\"", "no [[table]]"),
        (table.as_str(), "key is missing"),
        (&format!("key = \"id\"\n{table}"), "line 1: key attribute id has no type"),
        (&format!("key = \"id:S\"\nkeys = 1\n{table}"), "line 2: keys is not a field"),
        (&format!("key = \"id:S\"\nunmatched = \"drop\"\n{table}"), "reject, skip"),
        (&format!("key = \"id:S\"\n{table}where = {{ attribute = \"a\" }}"), "line 5, table t: a condition needs"),
        (&format!("key = \"id:S\"\n{table}where = {{ equals = 1 }}"), "attribute is missing"),
        (&format!("key = \"id:S\"\n{table}where = {{ attribute = \"a\", type = \"X\" }}"), "type must be one of"),
        (&format!("key = \"id:S\"\n{table}where = {{ attribute = \"a\", type = \"SS\", equals = \"x\" }}"), "type SS"),
        (&format!("key = \"id:S\"\n{table}where = {{ attribute = \"a\", type = \"B\", equals = \"x\" }}"), "base64"),
        (&format!("key = \"id:S\"\n{table}{table}"), "never gets one"),
        (&format!("key = \"id:S\"\n{table}rest = \"ID\""), "named twice"),
        ("key = \"id:S\"\n[[table]]\nname = \"_transvase_x\"", "reserved"),
    ] {
        let message = refusal(text);
        assert!(message.contains(said), "{text}: {message}");
    }
    let conditional = format!("{table}where = {{ attribute = \"a\", exists = true }}\n");
    let other = conditional.replace("\"t\"", "\"T\"");
    assert!(refusal(&format!("key = \"id:S\"\n{conditional}{other}")).contains("line 6, table T: another table"));
}

/// A table keyed by the given columns, of a source keyed by `pk` and `sk`.
fn keyed(key: &str, condition: &str, columns: &str) -> String {
    format!("key = \"{key}\"\n[[table]]\nname = \"t\"\n{condition}\ncolumn = [{columns}]\n")
}

#[test]
fn a_key_that_could_merge_two_items_is_refused() {
    let pk = r#"{ name = "pk", type = "varchar(64)", key = true }"#;
    let refused = |key: &str, columns: &str| refusal(&keyed(key, "", columns));
    assert!(refused("pk:S,sk:S", pk).contains("leave key attribute sk open"));
    assert!(refused("pk:S", r#"{ name = "pk", type = "varchar(64)" }"#).contains("no key"));
    assert!(refused("pk:S", r#"{ name = "x", from = "pk.a", type = "varchar(64)", key = true }"#).contains("pk open"));
    let sk = |rest: &str| format!("{pk}, {{ name = \"sk\", key = true, {rest} }}");
    for (key, column, said) in [
        ("pk:S,sk:N", r#"type = "double""#, "double cannot be part of a key"),
        ("pk:S,sk:S", r#"type = "datetime""#, "one moment has many"),
        ("pk:S,sk:S", r#"type = "date""#, "one day has many"),
        ("pk:S,sk:N", r#"type = "date", epoch = "s""#, "one day has many"),
        ("pk:S,sk:S", r#"type = "boolean""#, "is of type S"),
        ("pk:S,sk:B", r#"type = "varchar(64)""#, "is of type B"),
        ("pk:S,sk:N", r#"type = "varbinary(22)", strip_prefix = "x""#, "strip_prefix needs text"),
    ] {
        let message = refused(key, &sk(column));
        assert!(message.contains(said) && message.contains("table t"), "{column}: {message}");
    }
    for (key, column) in [
        ("pk:S,sk:S", r##"type = "varchar(64)", strip_prefix = "A#""##),
        ("pk:S,sk:S", r#"type = "varbinary(64)""#),
        ("pk:S,sk:B", r#"type = "varbinary(64)""#),
        ("pk:S,sk:N", r#"type = "varbinary(22)""#),
        ("pk:S,sk:N", r#"type = "varchar(64)""#),
        ("pk:S,sk:N", r#"type = "decimal(38,10)""#),
        ("pk:S,sk:N", r#"type = "bigint""#),
        ("pk:S,sk:N", r#"type = "datetime", epoch = "ms""#),
    ] {
        parse(&keyed(key, "", &sk(column)));
    }
}

#[test]
fn a_key_attribute_that_where_fixes_needs_no_column() {
    let pk = r#"{ name = "pk", type = "varchar(64)", key = true }"#;
    let fixed = keyed("pk:S,sk:S", r##"where = { attribute = "sk", equals = "META#" }"##, pk);
    assert_eq!(parse(&fixed).tables()[0].key, [0]);
    let prefixed = keyed("pk:S,sk:S", r##"where = { attribute = "sk", begins_with = "META#" }"##, pk);
    assert!(refusal(&prefixed).contains("sk open"));
    let nested = keyed("pk:S,sk:S", r##"where = { attribute = "sk.a", equals = "META#" }"##, pk);
    assert!(refusal(&nested).contains("sk open"));
}

#[test]
fn a_key_attribute_of_the_wrong_type_is_rejected_by_any_column() {
    let mapping = parse(&keyed("pk:S", "", r#"{ name = "pk", type = "varchar(64)", key = true }"#));
    for item in [r#"{"N":"1"}"#, r#"{"S":""}"#, r#"{"NULL":true}"#] {
        let (mapped, _) = map(&mapping, &format!(r#"{{"Item":{{"pk":{item}}}}}"#));
        assert!(matches!(mapped, Mapped::Rejected(_)), "{item}");
    }
}

#[test]
fn identity_ignores_layout_and_follows_meaning() {
    let text = with_column(r#"name = "a", type = "int""#);
    let spaced = format!("# a comment\n\n{text}\n")
        .replace("type = \"int\"", "from = \"a\", type = \"INT\", missing = \"reject\"");
    assert_eq!(parse(&text).identity(), parse(&spaced).identity());
    let other = text.replace("\"int\"", "\"bigint\"");
    assert_ne!(parse(&text).identity(), parse(&other).identity());
}

proptest! {
    /// Every accepted way to take a sort key keeps near twins apart; equal cells mean equal keys.
    #[test]
    fn accepted_keys_never_merge_two_items(
        texts in prop::array::uniform2("A#[aA eé]{0,2}"),
        numbers in prop::array::uniform2("-?[0-9]{1,2}(\\.[05]{1,2})?(E[01])?"),
        binaries in prop::array::uniform2(prop::collection::vec(0u8..3, 1..3)),
    ) {
        let cases = [
            ("S", r##"type = "varchar(9)", strip_prefix = "A#""##, texts.clone().map(|text| format!("{text:?}"))),
            ("S", r##"type = "varbinary(19)""##, texts.map(|text| format!("{text:?}"))),
            ("B", r##"type = "varbinary(9)""##, binaries.map(|bytes| format!("{:?}", STANDARD.encode(bytes)))),
            ("N", r##"type = "varbinary(22)""##, numbers.clone().map(|number| format!("{number:?}"))),
            ("N", r##"type = "varchar(9)""##, numbers.clone().map(|number| format!("{number:?}"))),
            ("N", r##"type = "decimal(9,3)""##, numbers.clone().map(|number| format!("{number:?}"))),
            ("N", r##"type = "bigint""##, numbers.clone().map(|number| format!("{number:?}"))),
            ("N", r##"type = "datetime", epoch = "ms""##, numbers.map(|number| format!("{number:?}"))),
        ];
        for (tag, column, values) in cases {
            let mapping = parse(&keyed(&format!("k:{tag}"), "", &format!("{{ name = \"k\", key = true, {column} }}")));
            let cell = |value: &str| {
                let (mapped, rows) = map(&mapping, &format!(r#"{{"Item":{{"k":{{"{tag}":{value}}}}}}}"#));
                matches!(mapped, Mapped::Row(0)).then(|| show(rows[0].cell(0, 0)))
            };
            let same = if tag == "N" {
                let [left, right] = values.clone().map(|value| Number::parse(value.trim_matches('"')).unwrap());
                left == right
            } else {
                values[0] == values[1]
            };
            if let (Some(left), Some(right)) = (cell(&values[0]), cell(&values[1])) {
                prop_assert_eq!(left == right, same, "{} {:?}", column, values);
            }
        }
    }
}
