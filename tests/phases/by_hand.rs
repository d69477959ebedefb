//! What an operator does beside moving: rehearsing a barrier, looking at statements before they are sent, and forcing what nothing
//! else does.

use super::barrier::with_instances;
use super::dump::dump;
use super::{begun, lease, phase, put};
use crate::support::orders::{Place, block_on};

#[test]
fn a_barrier_is_rehearsed_and_everybody_goes_on_where_he_was() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        put(&phases, 3);
        let wrote = with_instances(&phases, &[true; 3], || {
            let said = phase(&place, "barrier", &["--why", "for tonight", "--barrier-timeout", "60"]).expect(0).stdout;
            assert!(said.contains("3 writers had stopped after") && said.contains("they go on in step 3"), "{said}");
            assert!(said.contains("app-") && said.contains("the last"), "{said}");
        });
        assert_eq!(wrote, [[3], [3], [3]]);
        let now = block_on(phases.load()).unwrap().unwrap();
        assert_eq!((now.step, now.moving_to), (3, None));
        let said = phase(&place, "history", &[]).expect(0).stdout;
        for part in ["barrier  step 3 to 3: for tonight", "rehearsed  step 3 to 3: for tonight"] {
            assert!(said.contains(part), "{said}");
        }
        place.execute("DELETE FROM _transvase_writers");
        // it shows who would keep everybody waiting
        with_instances(&phases, &[true, false], || {
            let said = phase(&place, "barrier", &["--barrier-timeout", "0.5"]).expect(6).stderr;
            for part in ["writers have not stopped", "app-1", "go on in step 3"] {
                assert!(said.contains(part), "{said}");
            }
        });
        assert_eq!(block_on(phases.load()).unwrap().unwrap().moving_to, None);
    }
}

/// A step, a verb with its arguments, and what its dry run says; of the first with NO, that it is refused.
type Dry = (u8, &'static str, &'static [&'static str], &'static [&'static str]);

const DRY: [Dry; 7] = [
    (
        2,
        "advance",
        &["--to", "3", "--why", "it's time"],
        &[
            "asked: all writers are in this step: it holds",
            "START",
            "UPDATE _transvase_phases SET step = 3, moving_to = NULL",
            "'it''s time'",
            "COMMIT;",
        ],
    ),
    (6, "advance", &["--to", "7", "--yes-lose-rollback", "orders"], &["NO: 1 faults are on record"]),
    (3, "rollback", &["--to", "1"], &["SET step = 1", "SET run = NULL", "epoch = epoch + 1"]),
    (2, "lock", &["--run", "copy", "--lease", "1h"], &["SET run = 'copy'", "+ 3600000000"]),
    (5, "unlock", &["--run", "copy"], &["SET run = NULL"]),
    (3, "barrier", &[], &["moving_to = 3", "-- wait until all writers have stopped (app-1)", "moving_to = NULL"]),
    (
        3,
        "force",
        &["--clear-fault", "1", "--why", "seen to", "--yes-force", "orders"],
        &["cleared_by = 'tester: seen to'", "fault = 1", "'force'", "WARNING"],
    ),
];

#[test]
fn a_dry_run_prints_what_would_be_sent_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let tables = || {
            let in_file = "SELECT name FROM sqlite_schema";
            let at_server = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()";
            place.query(if matches!(place, Place::File(_)) { in_file } else { at_server })
        };
        if let Place::File(_) = place {
            // a file that is not there is not made either
            phase(&place, "lock", &["--dry-run"]).expect(2);
        } else {
            let said = phase(&place, "lock", &["--dry-run", "--run", "copy"]).expect(0).stdout;
            for part in ["CREATE TABLE IF NOT EXISTS _transvase_phases", "SET run = 'copy'", "nothing was changed"] {
                assert!(said.contains(part), "{said}");
            }
        }
        assert!(tables().is_empty());
        let phases = begun(&place);
        block_on(phases.take_lock("copy", lease())).unwrap();
        block_on(phases.fault("app-1", "it's \\ wrong")).unwrap();
        block_on(phases.fault("app-1", "it's \\ wrong")).unwrap();
        assert_eq!(block_on(phases.faults()).unwrap().len(), 1, "the same is on record once");
        block_on(phases.heartbeat("app-1", None, lease())).unwrap();
        for (step, verb, args, parts) in DRY {
            put(&phases, step);
            block_on(phases.heartbeat("app-1", None, lease())).unwrap();
            let before = dump(&place);
            let outcome = phase(&place, verb, &[args, &["--dry-run"]].concat());
            let refused = parts[0].starts_with("NO");
            let said = outcome.expect(if refused { 6 } else { 0 }).stdout;
            for part in parts {
                let part = if matches!(place, Place::File(_)) {
                    part.replace("START", "BEGIN IMMEDIATE;")
                } else {
                    (*part).to_owned()
                };
                assert!(said.contains(&part), "{verb}: {part} is not in {said}");
            }
            assert!(refused || said.contains("nothing was changed"), "{said}");
            assert!(dump(&place) == before, "{verb} changed something");
        }
        // across a barrier both transitions are told, with what comes between
        put(&phases, 6);
        place.execute("DELETE FROM _transvase_faults");
        block_on(phases.heartbeat("app-1", None, lease())).unwrap();
        let before = dump(&place);
        let args = ["--to", "7", "--yes-lose-rollback", "orders", "--dry-run"];
        let said = phase(&place, "advance", &args).expect(0).stdout;
        let at = |part: &str| said.find(part).unwrap_or_else(|| panic!("{part} is not in {said}"));
        assert!(at("moving_to = 7") < at("-- wait until") && at("-- wait until") < at("SET step = 7"), "{said}");
        assert!(dump(&place) == before);
    }
}

#[test]
fn a_fault_is_cleared_by_number_with_who_and_why() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        put(&phases, 5);
        block_on(async {
            phases.fault("app-1", "key 4711 differs").await.unwrap();
            phases.fault("app-2", "key 4712 differs").await.unwrap();
        });
        let before = dump(&place);
        let force = |args: &[&str]| phase(&place, "force", args);
        let named = ["--why", "mended by hand", "--yes-force", "orders"];
        let refusals: [(&[&str], i32, &str); 6] = [
            (&["--clear-fault", "1", "--yes-force", "orders"], 2, "--why"),
            (&["--clear-fault", "1", "--why", "x"], 2, "--yes-force"),
            (&["--clear-fault", "1", "--why", " ", "--yes-force", "orders"], 6, "asks for a reason"),
            (&["--clear-fault", "1", "--why", "x", "--yes-force", "order"], 6, "asks for the table's name"),
            (&["--clear-fault", "3", "--why", "x", "--yes-force", "orders"], 6, "no fault 3"),
            (&["--why", "x", "--yes-force", "orders"], 2, "--clear-fault"),
        ];
        for (args, code, says) in refusals {
            let refused = force(args).expect(code).stderr;
            assert!(refused.contains(says), "{refused}");
            assert!(dump(&place) == before, "{args:?} changed something");
        }
        let said = force(&[&["--clear-fault", "1"], &named[..]].concat()).expect(0).stdout;
        assert!(said.contains("WARNING: fault 1 of app-1") && said.contains("key 4711 differs"), "{said}");
        let left = block_on(phases.faults()).unwrap();
        assert_eq!(left.iter().map(|one| one.fault).collect::<Vec<_>>(), [2]);
        let by = place.query("SELECT cleared_by FROM _transvase_faults WHERE fault = 1");
        assert_eq!(by[0][0].as_deref(), Some(&b"tester: mended by hand"[..]));
        let history = phase(&place, "history", &[]).expect(0).stdout;
        assert!(history.contains("tester  force  step 5 to 5: mended by hand"), "{history}");
        force(&[&["--clear-fault", "1"], &named[..]].concat()).expect(6);
        let refused = phase(&place, "advance", &["--to", "6"]).expect(6).stderr;
        assert!(refused.contains("1 faults are on record"), "{refused}");
        force(&[&["--clear-fault", "2"], &named[..]].concat()).expect(0);
        phase(&place, "advance", &["--to", "6"]).expect(0);
    }
}

#[test]
fn an_instance_is_signed_off_only_when_it_is_not_heard_of() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        put(&phases, 6);
        block_on(phases.heartbeat("gone", None, lease())).unwrap();
        let sign_off = |name: &str, watch: &str| {
            let args = ["--sign-off-writer", name, "--watch-seconds", watch, "--why", "host burnt down"];
            phase(&place, "force", &[&args[..], &["--yes-force", "orders"]].concat())
        };
        with_instances(&phases, &[true], || {
            let refused = sign_off("app-0", "1").expect(6).stderr;
            assert!(refused.contains("it lives"), "{refused}");
            let refused = sign_off("nobody", "0").expect(6).stderr;
            assert!(refused.contains("no instance nobody is registered"), "{refused}");
            let said = sign_off("gone", "1").expect(0).stdout;
            assert!(said.contains("nobody waits for gone"), "{said}");
        });
        let names: Vec<String> = block_on(phases.writers()).unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["app-0"]);
        place.execute("UPDATE _transvase_writers SET until_us = 1");
        let refused = sign_off("app-0", "0").expect(6).stderr;
        assert!(refused.contains("the lease of app-0 is over"), "{refused}");
    }
}

#[test]
fn a_step_is_forced_past_a_replay_that_is_gone_and_past_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("target.db"));
    let phases = begun(&place);
    let force = |to: &str| {
        let args = ["--to", to, "--why", "x", "--yes-force", "orders", "--barrier-timeout", "0.2"];
        phase(&place, "force", &args)
    };
    for step in 1..=7_u8 {
        put(&phases, step);
        let before = dump(&place);
        for to in 1..=7 {
            // giving up, and moving between 5 and 6, ask for nothing that is missing here
            let outcome = force(&to.to_string()).expect(6);
            assert!(dump(&place) == before, "{step} to {to}: {}", outcome.stderr);
            let sentences = ["nothing was changed", "nothing need be forced"];
            assert!(sentences.iter().any(|part| outcome.stderr.contains(part)), "{}", outcome.stderr);
        }
    }
    // while a barrier stands, nothing is forced
    put(&phases, 6);
    block_on(phases.fault("app", "x")).unwrap();
    let now = block_on(phases.load()).unwrap().unwrap();
    let next = transvase::checkpoint::phases::Next {
        step: 6,
        barrier: Some((7, 60_000_000)),
        generation: now.generation,
        within_barrier: false,
        releases_lock: false,
    };
    assert!(block_on(phases.transit(&now, next, &super::audit("barrier"))).unwrap());
    let args = ["--clear-fault", "1", "--why", "x", "--yes-force", "orders"];
    let refused = phase(&place, "force", &args).expect(6).stderr;
    assert!(refused.contains("a barrier on the way to step 7 stands"), "{refused}");
}
