//! Another tool's interlock table, in both of its spellings: it says what stands, and whatever else it says refuses.

use super::dump::dump;
use super::{begun, phase, put};
use crate::support::orders::{Place, block_on};

/// The table, by its columns, and its rows.
struct Spelling {
    create: &'static str,
    insert: &'static str,
    select: &'static str,
    lock: &'static str,
    barrier: &'static str,
}

const FLAGS: Spelling = Spelling {
    create: "CREATE TABLE _migration (tableName VARCHAR(128) NOT NULL, flag VARCHAR(128) NOT NULL, PRIMARY KEY (tableName, flag))",
    insert: "INSERT INTO _migration (tableName, flag) VALUES",
    select: "SELECT flag FROM _migration WHERE tableName = 'orders' ORDER BY 1",
    lock: "backfill",
    barrier: "write-barrier-",
};

const VALUES: Spelling = Spelling {
    create: "CREATE TABLE _migration (table_name VARCHAR(128) NOT NULL, interlock VARCHAR(128) NOT NULL, \
             value VARCHAR(128) DEFAULT NULL, PRIMARY KEY (table_name, interlock))",
    insert: "INSERT INTO _migration (table_name, interlock, value) VALUES",
    select: "SELECT CONCAT(interlock, '=', COALESCE(value, 'NULL')) FROM _migration WHERE table_name = 'orders' ORDER BY 1",
    lock: "backfill-lock=transvase copy",
    barrier: "write-barrier=",
};

/// What it says of the migration.
fn says(place: &Place, spelling: &Spelling) -> Vec<String> {
    let select = match place {
        Place::File(_) => spelling
            .select
            .replace("CONCAT(interlock, '=', COALESCE(value, 'NULL'))", "interlock || '=' || COALESCE(value, 'NULL')"),
        Place::Server(_) => spelling.select.to_owned(),
    };
    let rows = place.query(&select);
    rows.into_iter().map(|row| String::from_utf8(row[0].clone().unwrap()).unwrap()).collect()
}

fn barrier(spelling: &Spelling, number: u8) -> Vec<String> {
    vec![format!("{}{number}", spelling.barrier)]
}

#[test]
fn another_tools_table_says_what_stands_in_either_spelling() {
    let folder = tempfile::tempdir().unwrap();
    for (number, spelling) in [FLAGS, VALUES].into_iter().enumerate() {
        let below = folder.path().join(number.to_string());
        std::fs::create_dir(&below).unwrap();
        for place in Place::all(&below) {
            let phases = begun(&place);
            place.execute(spelling.create);
            // another table's rows are not looked at
            let foreign =
                if spelling.lock == "backfill" { "('other', 'backfill')" } else { "('other', 'backfill-lock', 'x')" };
            place.execute(&format!("{} {foreign}", spelling.insert));
            phase(&place, "lock", &["--run", "copy", "--interlock-table"]).expect(0);
            assert_eq!(says(&place, &spelling), [spelling.lock]);
            // from then on whoever moves it mirrors it, in the same transaction
            phase(&place, "advance", &["--to", "2"]).expect(0);
            phase(&place, "rollback", &["--to", "1"]).expect(0);
            assert_eq!(says(&place, &spelling), Vec::<String>::new());
            put(&phases, 6);
            assert_eq!(says(&place, &spelling), barrier(&spelling, 1));
            phase(&place, "advance", &["--to", "7", "--yes-lose-rollback", "orders"]).expect(0);
            assert_eq!(says(&place, &spelling), barrier(&spelling, 2));
            // and no more when that is said
            phase(&place, "unlock", &["--run", "copy", "--interlock-table", "off"]).expect(6);
            put(&phases, 1);
            assert_eq!(says(&place, &spelling), barrier(&spelling, 2));
        }
    }
}

#[test]
fn what_another_tool_has_set_refuses_and_an_empty_row_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        place.execute(VALUES.create);
        place.execute(&format!("{} ('orders', 'backfill-lock', 'i-4711')", VALUES.insert));
        let refuses = |verb: &str, args: &[&str], part: &str| {
            let (before, there) = (dump(&place), says(&place, &VALUES));
            let refused = phase(&place, verb, args).expect(6).stderr;
            assert!(refused.contains(part), "{refused}");
            assert!(dump(&place) == before && says(&place, &VALUES) == there, "{verb} changed something");
        };
        refuses("lock", &["--interlock-table", "_migration"], "_migration says backfill-lock = i-4711 for orders");
        // an operator makes an empty row, and whoever comes takes it
        place.execute("UPDATE _migration SET value = NULL");
        phase(&place, "lock", &["--run", "copy", "--interlock-table"]).expect(0);
        assert_eq!(says(&place, &VALUES), [VALUES.lock]);
        put(&phases, 6);
        place.execute("UPDATE _migration SET value = '2' WHERE interlock = 'write-barrier'");
        refuses("rollback", &["--to", "5"], "says write-barrier = 2 for orders");
        refuses("advance", &["--to", "7", "--yes-lose-rollback", "orders"], "says write-barrier = 2 for orders");
        refuses("unlock", &["--run", "copy"], "says write-barrier = 2 for orders");
        place.execute("UPDATE _migration SET value = '1' WHERE interlock = 'write-barrier'");
        phase(&place, "rollback", &["--to", "5"]).expect(0);
        let before = dump(&place);
        let said = phase(&place, "rollback", &["--to", "4", "--dry-run"]).expect(0).stdout;
        let part =
            if matches!(place, Place::File(_)) { "DELETE FROM \"_migration\"" } else { "DELETE FROM `_migration`" };
        assert!(said.contains(part) && said.contains("'write-barrier'"), "{said}");
        assert!(dump(&place) == before);
    }
}

#[test]
fn a_table_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        place.execute("CREATE TABLE _migration (id VARCHAR(9), state VARCHAR(9))");
        let before = dump(&place);
        for name in ["_migration", "_nothing"] {
            let refused = phase(&place, "lock", &["--interlock-table", name]).expect(6).stderr;
            assert!(refused.contains("is no interlock table"), "{refused}");
            assert!(dump(&place) == before);
        }
        assert_eq!(block_on(phases.lock()).unwrap(), None);
    }
}
