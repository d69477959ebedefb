//! Moves by command: which are made, which are refused, and that a refusal changes nothing.

use super::{NAME, audit, begun, lease, phase, put};
use crate::support::orders::{Place, block_on};
use transvase::checkpoint::phases::lock::Taken;
use transvase::phase::dynamodb_to_mysql::DYNAMODB_TO_MYSQL as PLAN;
use transvase::phase::plan::Condition;

/// What the database says of the migration, but for heartbeats.
fn state(place: &Place) -> Vec<Vec<Vec<Option<Vec<u8>>>>> {
    let text = if matches!(place, Place::File(_)) { "TEXT" } else { "CHAR" };
    let cast = |columns: &[&str]| {
        columns.iter().map(|column| format!("CAST({column} AS {text})")).collect::<Vec<_>>().join(", ")
    };
    let queries = [
        ("_transvase_phases", cast(&["step", "moving_to", "until_us", "generation", "version"])),
        ("_transvase_phase_history", cast(&["version", "step_from", "step_to"])),
        ("_transvase_locks", cast(&["run", "epoch", "until_us"])),
    ];
    queries.iter().map(|(table, columns)| place.query(&format!("SELECT {columns} FROM {table}"))).collect()
}

#[test]
fn what_may_not_follow_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // the decision is pure, and tested for all conditions beside the plan: one target shows that commands obey it
    let place = Place::File(folder.path().join("target.db"));
    let phases = begun(&place);
    for from in 1..=7_u8 {
        put(&phases, from);
        let before = state(&place);
        for to in 1..=7_u8 {
            let verb = if to >= from { "advance" } else { "rollback" };
            let moves = PLAN.between(from, to);
            // without a lock, a copy or a certificate, only giving up is possible, and what asks for nothing of them
            let free = |one: &transvase::phase::plan::Move| {
                use Condition::{NoFault, OldIsSettled, WritersFollow};
                one.conditions.iter().all(|asked| [WritersFollow, NoFault, OldIsSettled].contains(asked))
            };
            if moves.is_some_and(free) {
                continue;
            }
            let outcome = phase(&place, verb, &["--to", &to.to_string()]).expect(6);
            assert!(
                outcome.stderr.contains("step") || outcome.stderr.contains("nothing was changed"),
                "{}",
                outcome.stderr
            );
            assert_eq!(state(&place), before, "{from} to {to} changed something: {}", outcome.stderr);
        }
    }
    for (verb, to) in [("advance", "nowhere"), ("rollback", "8")] {
        let outcome = phase(&place, verb, &["--to", to]).expect(2);
        assert!(outcome.stderr.contains("has the steps ddb, backfill, readfill"), "{}", outcome.stderr);
    }
}

#[test]
fn a_migration_goes_forward_and_back_and_its_history_tells() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        phase(&place, "status", &[]).expect(2);
        phase(&place, "lock", &["--run", "copy"]).expect(0);
        phase(&place, "advance", &["--to", "backfill", "--why", "tonight"]).expect(0);
        phase(&place, "advance", &["--to", "3"]).expect(0);
        phase(&place, "rollback", &["--to", "ddb"]).expect(0);
        let said = phase(&place, "history", &[]).expect(0).stdout;
        for part in ["tester  advance  step 1 to 2: tonight", "advance  step 2 to 3", "rollback  step 3 to 1"] {
            assert!(said.contains(part), "{said}");
        }
        let status = phase(&place, "status", &[]).expect(0).stdout;
        for part in ["migration orders, generation 2", "> 1   ddb", "nobody holds the backfill lock"] {
            assert!(status.contains(part), "{status}");
        }
        // giving up has released the lock, and made what is in the target stale
        let refused = phase(&place, "advance", &["--to", "2"]).expect(6).stderr;
        assert!(
            refused.contains("nobody holds the backfill lock") && refused.contains("whether the target is empty"),
            "{refused}"
        );
    }
}

#[test]
fn of_two_who_move_at_once_one_does() {
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        let phases = begun(&place);
        assert!(matches!(block_on(phases.take_lock("copy", lease())).unwrap(), Taken::Ours(1)));
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let moves: Vec<_> =
                (0..4).map(|_| scope.spawn(|| phase(&place, "advance", &["--to", "2"]).code())).collect();
            moves.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|code| **code == Some(0)).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|code| matches!(code, Some(0 | 6))), "{outcomes:?}");
        let now = block_on(phases.load()).unwrap().unwrap();
        assert_eq!((now.step, now.version), (2, 3), "a barrier, and the step");
    }
}

#[test]
fn a_transition_whose_answer_was_lost_is_found_made() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("target.db"));
    let phases = begun(&place);
    block_on(async {
        let before = phases.load().await.unwrap().unwrap();
        let next = transvase::checkpoint::phases::Next {
            step: 2,
            barrier: None,
            generation: 1,
            within_barrier: false,
            releases_lock: false,
        };
        let mine = audit("mine");
        assert!(phases.transit(&before, next, &mine).await.unwrap());
        assert!(phases.transit(&before, next, &mine).await.unwrap(), "it was this very transition");
        assert!(!phases.transit(&before, next, &audit("mine")).await.unwrap());
        assert_eq!(phases.load().await.unwrap().unwrap().version, 2, "{NAME}");
    });
}
