//! Every pair of steps: what the plan does not have, and every condition that does not hold, is refused by its sentence, and not one
//! row of the control tables has changed.

use super::dump::dump;
use super::{NAME, an_hour_later, begun, lease, phase, put, target};
use crate::support::orders::{Orders, Place, block_on};
use std::path::{Path, PathBuf};
use std::time::Duration;
use transvase::checkpoint::phases::Phases;
use transvase::control::{Control, Options};
use transvase::error::ErrorKind;
use transvase::phase::dynamodb_to_mysql::DYNAMODB_TO_MYSQL as PLAN;
use transvase::phase::plan::Condition;

/// A migration all of whose conditions hold: its table copied, and certified at all levels.
struct World {
    place: Place,
    phases: Phases,
    full: PathBuf,
    digest: PathBuf,
    counts: PathBuf,
}

/// What a refusal for a condition says, and in no other's.
fn marker(condition: Condition) -> &'static str {
    match condition {
        Condition::WritersFollow => "writers have not acknowledged step",
        Condition::LockHeld => "nobody holds the backfill lock",
        Condition::NewIsFresh => "rows from before the dual writes",
        Condition::CopyComplete => "units are open",
        Condition::NoOpenRejects => "rejects are open",
        Condition::Certified => "no certificate was given",
        Condition::ReplaysDone => "replays are not caught up",
        Condition::NewIsSettled => "that the target may lack",
        Condition::OldIsSettled => "that the source may lack",
        Condition::NoSilentDeletes => "deletes items whose time to live is over",
        Condition::NoFault => "faults are on record",
        Condition::NameTyped => "there is no way back from here",
    }
}

impl World {
    fn new(place: &Place, folder: &Path) -> World {
        let orders = Orders::live(200, 11);
        let phases = begun(place);
        put(&phases, 2);
        an_hour_later(place);
        orders.assert_complete(place, orders.engine(place).run());
        let certificate = |level: &str| {
            let (path, state) = (folder.join(format!("{level}.json")), folder.join(format!("{level}.db")));
            let args = ["--level", level, "--live-target", "--certificate", path.to_str().unwrap()];
            orders.verify(place, &state).args(&args).run().expect(0);
            path
        };
        let (full, digest, counts) = (certificate("full"), certificate("digest"), certificate("counts"));
        World { place: place.clone(), phases, full, digest, counts }
    }

    /// Puts it into a step in which all holds that any move asks for.
    fn stands(&self, step: u8) {
        put(&self.phases, step);
        // the certificates are of later than all that happened
        self.place.execute("UPDATE _transvase_phase_history SET at_us = 1");
        block_on(async {
            self.phases.take_lock(NAME, lease()).await.unwrap();
            self.phases.heartbeat("app", None, lease()).await.unwrap();
        });
    }

    /// What a move is asked with: to step 2 by a certificate of all, which says more than the rest is told.
    fn options(&self, to: u8) -> Options {
        Options {
            run: None,
            certificate: Some(if to == 2 { self.full.clone() } else { self.digest.clone() }),
            max_age: Duration::from_secs(3600),
            barrier_timeout: Duration::from_millis(100),
            typed: Some(NAME.to_owned()),
            expires: Some(false),
            waives: false,
            who: "tester".to_owned(),
            why: None,
        }
    }

    /// Makes a condition not hold, by rows or by what is asked with; gives the statements that take it back.
    fn spoil(&self, condition: Condition, options: &mut Options) -> &'static str {
        let (spoils, mends) = match condition {
            Condition::WritersFollow => ("UPDATE _transvase_writers SET step = 9", "DELETE FROM _transvase_writers"),
            Condition::LockHeld => {
                ("UPDATE _transvase_locks SET run = NULL", "UPDATE _transvase_locks SET run = 'orders'")
            }
            Condition::CopyComplete => (
                "UPDATE _transvase_runs SET state = 'open' WHERE run = 'orders'",
                "UPDATE _transvase_runs SET state = 'complete' WHERE run = 'orders'",
            ),
            Condition::NoOpenRejects => (
                "INSERT INTO _transvase_rejects (run, unit, position, part, reason, item) VALUES ('orders', 0, 0, 0, 'x', '{}')",
                "DELETE FROM _transvase_rejects",
            ),
            Condition::ReplaysDone => (
                "INSERT INTO _transvase_runs (run, incarnation, state, settings) SELECT 'orders.stream', 1, 'open', settings \
                 FROM _transvase_runs WHERE run = 'orders'",
                "DELETE FROM _transvase_runs WHERE run = 'orders.stream'",
            ),
            Condition::NewIsSettled | Condition::OldIsSettled => (
                "INSERT INTO _transvase_intents (migration, id, key_text, attempt, at_us) VALUES ('orders', 1, '{}', 0, 1)",
                "DELETE FROM _transvase_intents",
            ),
            Condition::NoFault => (
                "INSERT INTO _transvase_faults (migration, fault, at_us, who, what) VALUES ('orders', 1, 1, 'app', 'x')",
                "DELETE FROM _transvase_faults",
            ),
            Condition::Certified | Condition::NewIsFresh => {
                options.certificate = None;
                ("", "")
            }
            Condition::NoSilentDeletes => {
                options.expires = Some(true);
                ("", "")
            }
            Condition::NameTyped => {
                options.typed = Some("order".to_owned());
                ("", "")
            }
        };
        if !spoils.is_empty() {
            self.place.execute(spoils);
        }
        mends
    }
}

const ALL: [Condition; 12] = [
    Condition::WritersFollow,
    Condition::LockHeld,
    Condition::NewIsFresh,
    Condition::CopyComplete,
    Condition::NoOpenRejects,
    Condition::Certified,
    Condition::ReplaysDone,
    Condition::NewIsSettled,
    Condition::OldIsSettled,
    Condition::NoSilentDeletes,
    Condition::NoFault,
    Condition::NameTyped,
];

#[test]
fn every_illegal_move_and_every_unmet_condition_is_refused_by_name_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("target.db"));
    let world = World::new(&place, folder.path());
    let control = block_on(Control::existing(&target(&place), NAME)).unwrap();
    let refuses = |to: u8, options: &Options, parts: &[&str]| {
        let before = dump(&place);
        let error = block_on(control.go(to, options)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.chain());
        for part in parts {
            assert!(error.chain().contains(part), "{part} to {to}: {}", error.chain());
        }
        assert!(dump(&place) == before, "to {to}: something changed: {}", error.chain());
        error.chain()
    };
    let mut met = 0;
    for (from, to) in (1..=7_u8).flat_map(|from| (1..=7_u8).map(move |to| (from, to))) {
        world.stands(from);
        let Some(found) = PLAN.between(from, to) else {
            refuses(to, &world.options(to), &["nothing was changed"]);
            continue;
        };
        for condition in found.conditions {
            world.stands(from);
            let mut options = world.options(to);
            let mends = world.spoil(*condition, &mut options);
            let said = refuses(to, &options, &[marker(*condition), "nothing was changed"]);
            let others = ALL.iter().filter(|other| marker(**other) != marker(*condition));
            // that is all that is wrong
            for other in others {
                assert!(!said.contains(marker(*other)), "{from} to {to} without {condition:?} says {other:?}: {said}");
            }
            if !mends.is_empty() {
                place.execute(mends);
            }
            met += 1;
        }
    }
    assert_eq!(met, PLAN.moves.iter().map(|one| one.conditions.len()).sum::<usize>());
    // and where all holds, it is made
    world.stands(2);
    block_on(control.go(3, &world.options(3))).unwrap();
}

#[test]
fn commands_refuse_with_exit_6_and_the_condition_on_every_target() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        let cases: [(u8, &str, &[&str], &str); 6] = [
            (1, "advance", &["--to", "4"], "step 1"),
            (7, "rollback", &["--to", "6"], "step 7"),
            (1, "advance", &["--to", "2"], "nobody holds the backfill lock"),
            (4, "advance", &["--to", "5"], "there is no copy"),
            (6, "advance", &["--to", "7"], "there is no way back from here"),
            (6, "rollback", &["--to", "4"], "nobody holds the backfill lock"),
        ];
        for (step, verb, args, says) in cases {
            put(&phases, step);
            let before = dump(&place);
            let refused = phase(&place, verb, args).expect(6).stderr;
            assert!(refused.contains(says) && refused.contains("nothing was changed"), "{refused}");
            assert!(dump(&place) == before, "{verb} {args:?} changed something");
        }
    }
}

#[test]
fn a_clean_certificate_is_taken_and_a_stale_an_altered_and_a_foreign_one_are_refused() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let places = Place::servers();
    let worlds: Vec<World> =
        places.iter().zip(&folders).map(|(place, folder)| World::new(place, folder.path())).collect();
    for (at, world) in worlds.iter().enumerate() {
        let place = &world.place;
        put(&world.phases, 4);
        let text = std::fs::read_to_string(&world.full).unwrap();
        let altered = folders[at].path().join("altered.json");
        std::fs::write(&altered, text.replacen("\"differences\": 0", "\"differences\": 1", 1)).unwrap();
        assert_ne!(std::fs::read_to_string(&altered).unwrap(), text);
        let advance = |certificate: &Path, args: &[&str]| {
            let args = [&["--to", "trx-write", "--certificate", certificate.to_str().unwrap()], args].concat();
            phase(place, "advance", &args)
        };
        // the certificate is older than a second by now, and the server's clock says so
        std::thread::sleep(Duration::from_millis(2100));
        let before = dump(place);
        for (certificate, args, says) in [
            (&world.full, &["--max-age", "1s"][..], "stale"),
            (&altered, &[], "altered"),
            (&worlds[1 - at].full, &[], "certificate"),
        ] {
            let refused = advance(certificate, args).expect(6).stderr;
            assert!(refused.contains("does not stand") && refused.contains(says), "{refused}");
            assert!(dump(place) == before, "{refused}");
        }
        let refuses = |says: &str| {
            let refused = advance(&world.full, &[]).expect(6).stderr;
            assert!(refused.contains(says) && refused.contains("compare again"), "{refused}");
        };
        let two_hours = 7_200_000_000_u64;
        place.execute(&format!("UPDATE _transvase_phase_history SET at_us = at_us + {two_hours}"));
        refuses("dual writes began");
        place.execute(&format!("UPDATE _transvase_phase_history SET at_us = at_us - {two_hours}"));
        // a window of changes takes rows back that dual writes have overtaken
        place.execute(
            "INSERT INTO _transvase_runs (run, incarnation, state, settings) SELECT 'window', 1, 'complete', settings \
             FROM _transvase_runs WHERE run = 'orders'; \
             INSERT INTO _transvase_replays (migration, run, told_us) SELECT migration, 'window', MAX(at_us) + 7200000000 \
             FROM _transvase_phase_history GROUP BY migration",
        );
        refuses("window had applied its changes");
        place.execute("DELETE FROM _transvase_runs WHERE run = 'window'; DELETE FROM _transvase_replays");
        let refused = advance(&world.counts, &[]).expect(6).stderr;
        assert!(refused.contains("compare all at level digest or full"), "{refused}");
        // a digest finds no extras one by one, as a source that deletes by itself asks for
        let refused = advance(&world.digest, &[]).expect(6).stderr;
        assert!(refused.contains("time to live") && !refused.contains("does not stand"), "{refused}");
        // of an item that a dual write deleted once the copy was complete
        place.execute("INSERT INTO _transvase_tombstones (target, digest, at_us) VALUES ('orders', 'x', 1)");
        let moved = advance(&world.full, &[]).expect(0).stdout;
        assert!(moved.contains("step 5 (trx-write), from step 4"), "{moved}");
        assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_tombstones"), 0, "nothing is copied any more");
    }
}
