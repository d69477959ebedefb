//! Rows that a live writer removes while they are loaded stay removed, whichever of the two comes first: by INSERT, by LOAD
//! DATA and in key order, on every SQL target, and when the loader dies in between.

use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{Orders, Place, block_on, is_soak};
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use transvase::model::rows::CellRef;
use transvase::sink::tombstones::digest;
use transvase::spill::key::KeyKind;

const LIMIT: Duration = Duration::from_secs(120);

/// When the writer comes. On SQLite not inside a transaction, since the one file would be locked for it.
const OUTSIDE: [&str; 4] = ["unit-claimed:1", "page-read:2", "page-encoded:3", "committed:1"];
const INSIDE: [&str; 3] = ["transaction-begun:1", "rows-written:1", "ledger-written:1"];

type Key = (String, String);

fn orders() -> &'static Orders {
    static ORDERS: OnceLock<Orders> = OnceLock::new();
    ORDERS.get_or_init(|| Orders::new(6000, 12, 19))
}

/// Every 50th order: some of them in each page.
fn victims() -> Vec<Key> {
    orders().keys().step_by(50).cloned().collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_of((customer, order): &Key) -> String {
    let cells = [customer, order].map(|text| CellRef::Bytes(text.as_bytes()));
    digest(cells.into_iter(), &[KeyKind::AsIs; 2])
}

/// One transaction of a live writer: a tombstone for each key, unless the load is over, then the rows.
fn removal(place: &Place, keys: &[Key]) -> String {
    let stone = |key| {
        let digest = digest_of(key);
        format!("SELECT 'orders', '{digest}', 1 FROM _transvase_loads WHERE target = 'orders' AND state <> 'loaded'")
    };
    let stones: Vec<String> = keys.iter().map(stone).collect();
    let rows: Vec<String> = keys.iter().map(|(c, o)| format!("(X'{}', X'{}')", hex(c), hex(o))).collect();
    let begin = if matches!(place, Place::File(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
    let list = if matches!(place, Place::File(_)) { format!("VALUES {}", rows.join(",")) } else { rows.join(",") };
    format!(
        "{begin}; INSERT INTO _transvase_tombstones (target, digest, at_us) {}; \
         DELETE FROM orders WHERE (customer_id, order_id) IN ({list}); COMMIT",
        stones.join(" UNION ALL "),
    )
}

/// Removes rows as a live writer does: again after a deadlock with the loader.
fn remove(place: &Place, keys: &[Key]) {
    let statements = removal(place, keys);
    match place {
        Place::File(_) => place.execute(&statements),
        Place::Server(database) => {
            let tried = || async {
                let mut connection = database.connect().await;
                let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(statements.clone()))).await;
                drop(connection.close().await);
                match done {
                    Ok(_) => true,
                    Err(error) if error.to_string().contains("1213") || error.to_string().contains("1205") => false,
                    Err(error) => panic!("{error}"),
                }
            };
            while !block_on(tried()) {}
        }
    }
}

/// The ways to load.
fn ways(place: &Place, spill: &Path) -> Vec<Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let clustered = words(&format!("--load-order clustered --spill-dir {}", spill.display()));
    let mut ways = vec![words("--load-order arrival --load-method insert"), clustered];
    if matches!(place, Place::Server(_)) {
        ways.push(words("--load-order arrival --load-method load-data"));
    }
    ways
}

fn engine(place: &Place, way: &[String]) -> Engine {
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    orders().engine(place).args(&way).args(&["--live-target", "--lease-seconds", "2"])
}

/// Everything is there but for the victims, and each of them is accounted for.
#[track_caller]
fn assert_stayed_removed(place: &Place, outcome: Outcome, victims: &[Key], about: &str) {
    let outcome = outcome.expect(0);
    let there: BTreeSet<Vec<Option<Vec<u8>>>> =
        place.query("SELECT customer_id, order_id FROM orders").into_iter().collect();
    let revived: Vec<&Key> = victims
        .iter()
        .filter(|(c, o)| there.contains(&vec![Some(c.clone().into_bytes()), Some(o.clone().into_bytes())]))
        .collect();
    assert!(revived.is_empty(), "{about}: {} rows were revived: {:?}", revived.len(), revived.first());
    assert_eq!(there.len() as u64, orders().items - victims.len() as u64, "{about}");
    let [written, tombstoned] = ["written", "tombstoned"].map(|name| outcome.number(&format!("/outcomes/{name}")));
    assert_eq!(written + tombstoned, orders().items, "{about}: {}", outcome.report);
    assert!(tombstoned <= victims.len() as u64, "{about}: {}", outcome.report);
    assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_tombstones"), 0, "{about}: they are of no use any more");
}

#[test]
fn a_row_removed_while_it_is_loaded_stays_removed() {
    let victims = victims();
    let folder = tempfile::tempdir().unwrap();
    let mut named = 0;
    for (round, template) in Place::all(folder.path()).into_iter().enumerate() {
        let inside: &[&str] = if matches!(template, Place::File(_)) { &[] } else { &INSIDE };
        let ways = ways(&template, folder.path());
        let all = OUTSIDE.iter().chain(inside).flat_map(|point| ways.iter().map(move |way| (point, way)));
        // every point and every way, but all ways at all points in a soak only
        let some = |number: &usize| is_soak() || number.is_multiple_of(ways.len() + 1);
        for (number, (point, way)) in all.enumerate().filter(|(number, _)| some(number)) {
            let folder = folder.path().join(format!("{round}-{number}"));
            std::fs::create_dir(&folder).unwrap();
            let place = Place::all(&folder).swap_remove(round);
            let (place, sleeper) = crate::crash::asleep_anew(&place, |place| engine(place, way), point);
            let writer = thread::spawn({
                let (place, victims) = (place.clone(), victims.clone());
                move || remove(&place, &victims)
            });
            // Where the loader holds rows, the writer waits for them: it has left its tombstones by then, or will.
            thread::sleep(Duration::from_millis(50));
            sleeper.signal("CONT");
            let outcome = sleeper.wait(LIMIT);
            writer.join().unwrap();
            named += outcome.number("/outcomes/tombstoned");
            assert_stayed_removed(&place, outcome, &victims, &format!("{point} {way:?}"));
        }
    }
    assert!(named > 0, "no row was removed before it was loaded");
}

#[test]
fn a_loader_that_dies_revives_nothing_when_it_is_resumed() {
    let victims = victims();
    let folder = tempfile::tempdir().unwrap();
    for (round, template) in Place::all(folder.path()).into_iter().enumerate() {
        for (number, way) in ways(&template, folder.path()).iter().enumerate() {
            let folder = folder.path().join(format!("{round}-{number}"));
            std::fs::create_dir(&folder).unwrap();
            let place = Place::all(&folder).swap_remove(round);
            let died = engine(&place, way).env("TRANSVASE_ABORT_AT", "committed:1").run();
            assert!(died.signal().is_some(), "{}", died.stderr);
            remove(&place, &victims[..victims.len() / 2]);
            // Dies again, unless what was in flight was all there was.
            engine(&place, way).env("TRANSVASE_ABORT_AT", "rows-written:1").run();
            remove(&place, &victims[victims.len() / 2..]);
            assert_stayed_removed(&place, engine(&place, way).run(), &victims, &format!("{way:?}"));
        }
    }
}

#[test]
fn a_run_begun_anew_loads_what_an_earlier_one_was_told_to_leave_out() {
    let victims = victims();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let way = ["--load-order".to_owned(), "arrival".to_owned()];
        let died = engine(&place, &way).env("TRANSVASE_ABORT_AT", "committed:1").run();
        assert!(died.signal().is_some(), "{}", died.stderr);
        remove(&place, &victims);
        place.execute("DELETE FROM orders");
        let outcome = engine(&place, &way).args(&["--restart"]).run();
        orders().assert_complete(&place, outcome);
    }
}
