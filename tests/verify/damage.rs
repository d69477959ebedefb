//! Seeded damage of a loaded database: at level full, and at level digest, all of it is found and nothing else.

use super::bench::{BLOBS, Bench, TABLES, THINGS};
use super::{Difference, found};
use crate::crash::seeded;
use crate::support::orders::{Place, is_soak};
use std::collections::BTreeSet;

/// What is done to one thing, as SQL for SQLite and for servers, and what is then found. `{k}` is the condition on its key.
const DAMAGES: [(&str, &str, &str, &str); 17] = [
    ("row missing", "DELETE FROM things WHERE {k}", "", "missing"),
    ("one byte of text", "UPDATE things SET name = REPLACE(name, 'n', 'N') WHERE {k}", "", "different"),
    (
        "trailing space",
        "UPDATE things SET name = name || ' ' WHERE {k}",
        "UPDATE things SET name = CONCAT(name, ' ') WHERE {k}",
        "different",
    ),
    ("another composition", "UPDATE things SET name = REPLACE(name, 'ï', 'i\u{308}') WHERE {k}", "", "different"),
    ("one byte of binary", "UPDATE things SET data = X'000103' WHERE {k}", "", "different"),
    ("a byte more", "UPDATE things SET data = X'00010200' WHERE {k}", "", "different"),
    (
        "the 38th digit",
        "UPDATE things SET amount = REPLACE(amount, '.9012345678', '.9012345679') WHERE {k}",
        "",
        "different",
    ),
    (
        "NULL for empty and empty for NULL",
        "UPDATE things SET note = CASE WHEN note IS NULL THEN '' END WHERE {k}",
        "",
        "different",
    ),
    ("an integer", "UPDATE things SET count = COALESCE(count, 0) + 1 WHERE {k}", "", "different"),
    ("another member of a set", "UPDATE things SET doc = REPLACE(doc, '\"b\"', '\"bb\"') WHERE {k}", "", "different"),
    ("a number of a set", "UPDATE things SET doc = REPLACE(doc, '2e1', '20.1') WHERE {k}", "", "different"),
    (
        "a rounded JSON number",
        "UPDATE things SET plain = '{\"a\": \"0.1\", \"big\": 18446744073709551616.0}' WHERE {k}",
        "",
        "different",
    ),
    (
        "a JSON number for text",
        "UPDATE things SET plain = '{\"a\": 0.1, \"big\": 18446744073709551615}' WHERE {k}",
        "",
        "different",
    ),
    ("a boolean", "UPDATE things SET flag = 1 - flag WHERE {k}", "", "different"),
    (
        "a microsecond",
        "UPDATE things SET at = REPLACE(at, '000', '001') WHERE {k}",
        "UPDATE things SET at = at + INTERVAL 1 MICROSECOND WHERE {k}",
        "different",
    ),
    ("a day", "UPDATE things SET day = '2024-03-01' WHERE {k}", "", "different"),
    ("an attribute of the rest", "UPDATE things SET rest = '{}' WHERE {k}", "", "different"),
];

/// The key of thing `n`: as a condition, and as it is reported.
fn thing(n: usize) -> (String, String) {
    let (id, seq) = (format!("t{}", n / 7), format!("{}.5", n as i64 * 3 - 300));
    // a negative number and a half is nearer to zero than it looks
    (format!("id = '{id}' AND seq = '{seq}'"), format!(r#"[{{"text":"{id}"}},{{"text":"{seq}"}}]"#))
}

/// Rows that no item has: between, before and behind all others, and in a table that no item goes to.
const EXTRAS: [(&str, &str, &str, &str); 5] = [
    ("things", "'t3', 77.25", "id = 't0' AND seq = '-300.5'", r#"[{"text":"t3"},{"text":"77.25"}]"#),
    ("things", "'', -99999.125", "id = 't0' AND seq = '-300.5'", r#"[{"text":""},{"text":"-99999.125"}]"#),
    ("things", "'zombie', 0", "id = 't0' AND seq = '-300.5'", r#"[{"text":"zombie"},{"text":"0"}]"#),
    ("blobs", "X'6200', 7", "", r#"[{"bytes":[98,0]},{"int":7}]"#),
    ("ghosts", "'ghost', 5", "", r#"[{"text":"ghost"},{"int":5}]"#),
];

fn plant_extra(place: &Place, (table, key, _, _): (&str, &str, &str, &str)) {
    let from = match table {
        "things" => "name, amount, count, data, note, doc, plain, flag, at, day, rest FROM clean_things LIMIT 1",
        "blobs" => "0.5",
        _ => "",
    };
    let rest = if from.is_empty() { String::new() } else { format!(", {from}") };
    place.execute(&format!("INSERT INTO {table} SELECT {key}{rest}"));
}

/// Damages as many rows as there are damages, in an order that the seed decides; what is to be found.
fn plant(place: &Place, rng: &mut crate::generator::rng::Rng) -> BTreeSet<Difference> {
    let is_file = matches!(place, Place::File(_));
    let mut expected = BTreeSet::new();
    let start = usize::try_from(rng.below(THINGS as u64)).unwrap();
    for (at, (_, file, server, kind)) in DAMAGES.iter().enumerate() {
        // every 13th from a random one on: all different, since 13 and the number of things have no common divisor
        let n = (start + at * 13) % THINGS;
        let (condition, key) = thing(n);
        let sql = if is_file || server.is_empty() { file } else { server };
        place.execute(&sql.replace("{k}", &condition));
        expected.insert(("things".to_owned(), (*kind).to_owned(), key));
    }
    for extra in EXTRAS {
        plant_extra(place, extra);
        expected.insert((extra.0.to_owned(), "extra".to_owned(), extra.3.to_owned()));
    }
    let n = rng.below(BLOBS as u64);
    place.execute(&format!("UPDATE blobs SET ratio = ratio * 1.0000000000000002 WHERE sk = {n}"));
    expected.insert((
        "blobs".into(),
        "different".into(),
        format!(r#"[{{"bytes":[98,0,{}]}},{{"int":{n}}}]"#, digits(n / 5)),
    ));
    expected
}

/// The bytes of a number's digits, as JSON has them.
fn digits(number: u64) -> String {
    number.to_string().bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(",")
}

#[test]
fn all_damage_is_found_and_nothing_else() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let rng = &mut seeded("verify damage");
    for place in Place::all(folder.path()) {
        bench.load(&place);
        for round in 0..if is_soak() { 20 } else { 2 } {
            bench.restore(&place);
            let clean = bench.verify(&place, &[]).expect(0);
            assert_eq!(clean.report["status"], "clean");
            let expected = plant(&place, rng);
            for level in ["full", "digest"] {
                let outcome = bench.verify(&place, &["--level", level]).expect(5);
                assert_eq!(found(&bench.state(), &TABLES), expected, "{level}, round {round}");
                assert_eq!(outcome.number("/differences"), expected.len() as u64, "{}", outcome.report);
                assert_eq!(outcome.report["status"], "differences");
                let sum: u64 = ["equal", "extra", "different"]
                    .map(|name| outcome.number(&format!("/tables/0/{name}")))
                    .iter()
                    .sum();
                assert_eq!(sum, outcome.number("/tables/0/target"), "{}", outcome.report);
                assert_ne!(outcome.report["tables"][0]["source_digest"], outcome.report["tables"][0]["target_digest"]);
            }
        }
    }
}

#[test]
fn spelling_is_no_damage_at_level_full() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        bench.load(&place);
        let (condition, _) = thing(9);
        for sql in [
            r#"UPDATE things SET doc = '{"M": {"n": {"NS": ["20", "1"]}, "tags": {"SS": ["c9", "a", "b"]}}}' WHERE {k}"#,
            r#"UPDATE things SET plain = ' {"big":18446744073709551615 , "a":"0.1"}' WHERE {k}"#,
            r#"UPDATE things SET rest = '{"other":{"L":[{"N":"9.0"},{"NULL":true}]},"kind":{"S":"thing"}}' WHERE {k}"#,
        ] {
            place.execute(&sql.replace("{k}", &condition));
        }
        let outcome = bench.verify(&place, &[]).expect(0);
        assert_eq!(outcome.report["tables"][0]["source_digest"], outcome.report["tables"][0]["target_digest"]);
        assert_eq!(outcome.number("/skipped"), 1);
    }
}
