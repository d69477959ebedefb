//! What is equal and what is not, by every kind of column: cells of one value in all its spellings, and its near twins.

use super::*;
use crate::mapping::parse_key;
use proptest::prelude::*;

const MAPPING: &str = r#"
key = "id:S"
[[table]]
name = "t"
rest = "rest"
[[table.column]]
name = "id"
from = "id"
type = "varchar(64)"
key = true
[[table.column]]
name = "n"
from = "n"
type = "decimal(40,10)"
missing = "null"
[[table.column]]
name = "typed"
from = "typed"
type = "json"
missing = "null"
[[table.column]]
name = "plain"
from = "plain"
type = "json"
json = "plain"
missing = "null"
[[table.column]]
name = "bytes"
from = "bytes"
type = "varbinary(64)"
missing = "null"
"#;

/// Whether two cells are one in a column of a form, by both ways of asking.
fn same(form: Form, left: CellRef<'_>, right: CellRef<'_>) -> bool {
    let mut comparison = Comparison {
        forms: vec![vec![Form::Exact, form]],
        scratch: Scratch::default(),
        left: Vec::new(),
        right: Vec::new(),
    };
    let mut rows = Rows::new(2);
    for cell in [left, right] {
        rows.int(7);
        rows.cell_of(cell);
        rows.end_row(0);
    }
    let differing = comparison.differing(0, (&rows, 0), (&rows, 1));
    let digests = comparison.digest(0, &rows, 0) == comparison.digest(0, &rows, 1);
    assert_eq!(differing.is_empty(), digests);
    assert!(differing.is_empty() || differing == [1]);
    digests
}

fn text(text: &str) -> CellRef<'_> {
    CellRef::Text(text.as_bytes())
}

#[test]
fn text_counts_to_the_last_byte_and_null_is_not_empty() {
    let different =
        [["a", "a "], ["a", "A"], ["é", "e\u{301}"], ["a", "a\0"], ["1.50", "1.5"], ["ß", "ss"], ["", "\u{200b}"]];
    for [left, right] in different {
        assert!(!same(Form::Exact, text(left), text(right)), "{left:?} {right:?}");
    }
    for form in [Form::Exact, Form::Decimal, Form::Json(JsonText::Plain), Form::Json(JsonText::Item)] {
        assert!(!same(form, CellRef::Null, text("")));
        assert!(!same(form, CellRef::Null, CellRef::Bytes(b"")));
        assert!(!same(form, CellRef::Null, CellRef::Int(0)));
        assert!(same(form, CellRef::Null, CellRef::Null));
    }
    assert!(!same(Form::Exact, CellRef::Bytes(b"a"), text("a")));
    assert!(same(Form::Exact, CellRef::Double(0.0), CellRef::Double(-0.0)));
    assert!(!same(Form::Exact, CellRef::Double(1.0), CellRef::Double(1.000_000_000_000_000_2)));
}

#[test]
fn decimals_count_to_the_38th_digit() {
    let one = "1234567890123456789012345678.9012345678";
    assert!(same(Form::Decimal, text(one), text(&format!("{one}000"))));
    assert!(!same(Form::Decimal, text(one), text("1234567890123456789012345678.9012345679")));
    assert!(same(Form::Decimal, text("-0.50"), text("-0.5")));
    assert!(!same(Form::Decimal, text("1"), text("one")));
}

#[test]
fn items_count_by_what_they_spell() {
    for json in [JsonText::Item, JsonText::Value] {
        let of = |value: &str| if json == JsonText::Item { format!("{{\"a\": {value}}}") } else { value.to_owned() };
        let same = |left: &str, right: &str| same(Form::Json(json), text(&of(left)), text(&of(right)));
        assert!(same(r#"{"SS":["b","a"]}"#, r#"{"SS": ["a", "b"]}"#));
        assert!(same(r#"{"NS":["2.0","1"]}"#, r#"{"NS":["1","2"]}"#));
        assert!(!same(r#"{"SS":["b","a"]}"#, r#"{"SS":["b","c"]}"#));
        assert!(!same(r#"{"L":[{"S":"b"},{"S":"a"}]}"#, r#"{"L":[{"S":"a"},{"S":"b"}]}"#));
        assert!(!same(r#"{"N":"1"}"#, r#"{"N":1}"#));
        assert!(!same(r#"{"N":"1"}"#, r#"{"S":"1"}"#));
        assert!(!same(r#"{"S":"a"}"#, r#"{"S":"a"},"b":{"S":"c"}"#), "more than the cell is no part of it");
        assert!(!same(r#"{"S":"a"}"#, "nonsense"));
        assert!(same("nonsense", "nonsense"));
    }
}

#[test]
fn plain_json_counts_by_its_values() {
    let form = Form::Json(JsonText::Plain);
    assert!(same(form, text(r#"{"b":1,"a":"0.1"}"#), text(r#"{"a": "0.1", "b": 1}"#)));
    assert!(!same(form, text("9007199254740993"), text("9007199254740992.0")));
    assert!(!same(form, text(r#"["a","b"]"#), text(r#"["b","a"]"#)));
}

#[test]
fn a_mapping_says_how_its_columns_are_compared() {
    let forms = |mapping: &Mapping| Comparison::new(mapping).forms;
    let key = parse_key("pk:S,sk:N").unwrap();
    let document = Mapping::document(&key, "t", &[]).unwrap();
    assert_eq!(forms(&document), [[Form::Exact, Form::Exact, Form::Json(JsonText::Item)]]);
    let typed = Mapping::parse(MAPPING, "test").unwrap();
    let json = [JsonText::Value, JsonText::Plain].map(Form::Json);
    let all = [Form::Exact, Form::Decimal, json[0], json[1], Form::Exact, Form::Json(JsonText::Item)];
    assert_eq!(forms(&typed), [all]);
}

/// A cell with a twin that is spelled in another way, or nearly the same.
fn cells() -> impl Strategy<Value = (Vec<u8>, bool)> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b' '), Just(255)], 0..4)
        .prop_flat_map(|bytes| (Just(bytes), any::<bool>()))
}

proptest! {
    #[test]
    fn cells_do_not_run_into_each_other(left in (cells(), cells()), right in (cells(), cells())) {
        let mut comparison = Comparison {
            forms: vec![vec![Form::Exact, Form::Exact]],
            scratch: Scratch::default(),
            left: Vec::new(),
            right: Vec::new(),
        };
        let mut rows = Rows::new(2);
        for (first, second) in [&left, &right] {
            for (bytes, is_null) in [first, second] {
                rows.cell_of(if *is_null { CellRef::Null } else { CellRef::Bytes(bytes) });
            }
            rows.end_row(0);
        }
        let seen = |(bytes, is_null): &(Vec<u8>, bool)| (!is_null).then(|| bytes.clone());
        let equal = [(&left.0, &right.0), (&left.1, &right.1)].map(|(a, b)| seen(a) == seen(b));
        prop_assert_eq!(comparison.digest(0, &rows, 0) == comparison.digest(0, &rows, 1), equal == [true, true]);
        let differing: Vec<usize> = (0..2).filter(|at| !equal[*at]).collect();
        prop_assert_eq!(comparison.differing(0, (&rows, 0), (&rows, 1)), differing);
    }

    #[test]
    fn a_number_is_itself_in_every_spelling_and_no_other(digits in "[1-9][0-9]{0,37}", scale in 0usize..10, zeros in 0usize..5) {
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let plain = format!("{whole}.{fraction}{}", "0".repeat(zeros));
        let spelled = format!("{digits}e-{scale}");
        prop_assert!(same(Form::Decimal, text(plain.trim_end_matches('.')), text(&spelled)), "{} {}", plain, spelled);
        let mut other = digits.clone().into_bytes();
        let last = other.last_mut().unwrap();
        *last = if *last == b'9' { b'8' } else { *last + 1 };
        let other = format!("{}e-{scale}", String::from_utf8(other).unwrap());
        prop_assert!(!same(Form::Decimal, text(&spelled), text(&other)));
    }
}
