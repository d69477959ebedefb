//! What a page of changes becomes: the last change of each key, and everything that it takes away.

use super::*;
use crate::model::page::Span;
use crate::model::rows::CellRef;

const TWO: &str = r#"
key = "pk:N"
unmatched = "skip"
[[table]]
name = "small"
where = [{ attribute = "kind", equals = "small" }]
ignore = "*"
[[table.column]]
name = "pk"
key = true
type = "bigint"
[[table.column]]
name = "note"
type = "varchar(5)"
[[table]]
name = "big"
where = [{ attribute = "kind", equals = "big" }]
ignore = "*"
[[table.column]]
name = "pk"
key = true
type = "bigint"
"#;

fn put(pk: &str, kind: &str, note: &str) -> String {
    format!(
        r#"{{"Keys":{{"pk":{{"N":"{pk}"}}}},"NewImage":{{"kind":{{"S":"{kind}"}},"note":{{"S":"{note}"}},"pk":{{"N":"{pk}"}}}}}}"#
    )
}

fn delete(pk: &str) -> String {
    format!(r#"{{"Keys":{{"pk":{{"N":"{pk}"}}}}}}"#)
}

fn page(lines: &[String]) -> Batch {
    let mapping = Mapping::parse(TWO, "m").unwrap();
    let span = Span { unit: 1, from: 10, to: 10 + lines.len() as u64 };
    let bytes = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
    let page = Page { span, bytes, reached: None, half_units: 0 };
    let batch = encode(page, &mapping, &mut Decoder::default(), "unit 1").unwrap();
    assert!(batch.counts().add_up(), "{:?}", batch.counts());
    batch
}

/// Keys in their order.
fn keys(rows: &TableRows) -> Vec<i64> {
    let key = |row: &u32| match rows.key_of(*row).next() {
        Some(CellRef::Int(value)) => value,
        other => panic!("{other:?}"),
    };
    rows.order.iter().map(key).collect()
}

/// Of the two tables: the keys that are put, and the keys that go.
fn all(batch: &Batch) -> ([Vec<i64>; 2], [Vec<i64>; 2]) {
    let removals = &batch.changes.as_ref().unwrap().removals;
    ([0, 1].map(|table| keys(&batch.tables[table])), [0, 1].map(|table| keys(&removals[table])))
}

#[test]
fn a_put_goes_from_the_other_table_and_a_delete_from_both() {
    let batch = page(&[put("3", "small", "a"), put("1", "big", "a"), delete("2")]);
    assert_eq!(all(&batch), ([vec![3], vec![1]], [vec![1, 2], vec![2, 3]]));
    let counts = batch.counts();
    assert_eq!((counts.read, counts.outcomes().written, counts.removed, counts.superseded), (3, 2, 1, 0));
}

#[test]
fn of_several_changes_of_a_key_only_the_last_is_done_however_the_key_is_spelled() {
    let batch = page(&[
        put("1", "small", "first"),
        put("1.0", "small", "too long for it"),
        delete("2"),
        put("10e-1", "big", "last"),
        put("2", "other", "x"),
        put("2.00", "small", "x"),
    ]);
    assert_eq!(all(&batch), ([vec![2], vec![1]], [vec![1], vec![2]]));
    assert!(batch.rejects.is_empty());
    let counts = batch.counts();
    assert_eq!((counts.outcomes().written, counts.removed, counts.superseded, counts.skipped), (2, 0, 4, 0));
}

#[test]
fn what_cannot_be_stored_and_what_no_table_takes_leaves_nothing_behind() {
    let wrong = r#"{"Keys":{"pk":{"N":"3"}},"NewImage":{"pk":{"N":"3"},"x":{"N":"many"}}}"#.to_owned();
    let batch =
        page(&[put("1", "small", "too long for it"), put("2", "other", "x"), wrong, "{".to_owned(), delete("x")]);
    assert_eq!(all(&batch), ([vec![], vec![]], [vec![1, 2, 3], vec![1, 2, 3]]));
    let positions: Vec<u64> = batch.rejects.iter().map(|reject| reject.position).collect();
    assert_eq!((positions, batch.skipped, batch.counts().outcomes().rejected), (vec![10, 12, 13, 14], 1, 4));
}

#[test]
fn an_item_beside_a_change_is_not_taken_for_its_image() {
    let mapping = Mapping::document(&crate::mapping::parse_key("pk:N").unwrap(), "t", &[]).unwrap();
    let line = r#"{"Item":{"pk":{"N":"9"}},"Keys":{"pk":{"N":"1"}},"NewImage":{"pk":{"N":"1"}}}"#;
    let page = Page { span: Span { unit: 0, from: 0, to: 1 }, bytes: line.into(), reached: None, half_units: 0 };
    let batch = encode(page, &mapping, &mut Decoder::default(), "unit").unwrap();
    assert_eq!(batch.tables[0].rows.cell(0, 1), CellRef::Text(br#"{"pk":{"N":"1"}}"#));
}
