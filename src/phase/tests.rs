//! The plan's table held against the rules it was made from, and every pair of steps against every condition.

use super::dynamodb_to_mysql::DYNAMODB_TO_MYSQL as PLAN;
use super::judge::{Facts, Refusal, Writer, judge};
use super::plan::{Condition, Fill, Interlock, Move, Plan, Reads, Step, Store, Writes};

/// All that is known is as good as can be.
fn fine(step: u8) -> Facts {
    Facts {
        table: "orders".into(),
        step,
        lock: Some("batch".into()),
        writers: vec![
            Writer { name: "a".into(), step, lives: true },
            Writer { name: "b".into(), step: 9, lives: false },
        ],
        faults: 0,
        units: Some((0, 8)),
        open_rejects: Some(0),
        certificate: None,
        replays: vec![("orders.stream".into(), Some(0))],
        unsettled: Some([0, 0]),
        expires: Some(false),
        no_extras: false,
        is_fresh: Some(true),
        typed: Some("orders".into()),
    }
}

/// Every way in which conditions may not hold, and which do not hold then.
fn spoilt(facts: &Facts) -> Vec<(Vec<Condition>, Facts)> {
    use Condition::*;
    let mut all = Vec::new();
    let mut spoil = |conditions: &[Condition], with: &dyn Fn(&mut Facts)| {
        let mut facts = facts.clone();
        with(&mut facts);
        all.push((conditions.to_vec(), facts));
    };
    spoil(&[WritersFollow], &|facts| facts.writers[0].step = 9);
    spoil(&[LockHeld], &|facts| facts.lock = None);
    spoil(&[NewIsFresh], &|facts| facts.is_fresh = Some(false));
    spoil(&[NewIsFresh], &|facts| facts.is_fresh = None);
    spoil(&[CopyComplete], &|facts| facts.units = Some((1, 8)));
    spoil(&[CopyComplete], &|facts| facts.units = None);
    spoil(&[NoOpenRejects], &|facts| facts.open_rejects = Some(1));
    spoil(&[NoOpenRejects], &|facts| facts.open_rejects = None);
    spoil(&[Certified], &|facts| facts.certificate = Some("the certificate is of another target".into()));
    spoil(&[ReplaysDone], &|facts| facts.replays[0].1 = Some(1));
    spoil(&[ReplaysDone], &|facts| facts.replays[0].1 = None);
    spoil(&[NewIsSettled], &|facts| facts.unsettled = Some([0, 1]));
    spoil(&[OldIsSettled], &|facts| facts.unsettled = Some([1, 0]));
    spoil(&[NewIsSettled, OldIsSettled], &|facts| facts.unsettled = None);
    spoil(&[NoSilentDeletes], &|facts| facts.expires = Some(true));
    spoil(&[NoSilentDeletes], &|facts| facts.expires = None);
    spoil(&[NoFault], &|facts| facts.faults = 1);
    spoil(&[NameTyped], &|facts| facts.typed = Some("order".into()));
    spoil(&[NameTyped], &|facts| facts.typed = None);
    all
}

#[test]
fn every_pair_of_steps_is_a_move_with_its_conditions_or_refused() {
    for (from, to) in (0..=9).flat_map(|from| (0..=9).map(move |to| (from, to))) {
        let verdict = judge(&PLAN, to, &fine(from));
        let Some(known) = PLAN.between(from, to) else {
            assert!(matches!(verdict, Err(Refusal::NoWay(_))), "{from} to {to}: {verdict:?}");
            continue;
        };
        assert_eq!(verdict, Ok(known), "{from} to {to}");
        for (mut conditions, facts) in spoilt(&fine(from)) {
            let verdict = judge(&PLAN, to, &facts);
            conditions.retain(|condition| known.conditions.contains(condition));
            if conditions.is_empty() {
                assert_eq!(verdict, Ok(known), "{from} to {to}");
                continue;
            }
            let Err(Refusal::Unmet(unmet)) = verdict else { panic!("{from} to {to} without {conditions:?}") };
            assert_eq!(unmet.iter().map(|one| one.condition).collect::<Vec<_>>(), conditions, "{from} to {to}");
            assert!(unmet.iter().all(|one| one.because.len() > 20), "{unmet:?}");
        }
    }
}

fn step(number: u8) -> &'static Step {
    PLAN.step(number).unwrap()
}

#[test]
fn the_authority_changes_across_a_barrier_alone() {
    for one in PLAN.moves {
        let changes = step(one.from).authority() != step(one.to).authority();
        assert!(!changes || one.barrier.is_some(), "{one:?}");
        let asks = |condition| one.conditions.contains(&condition);
        if changes {
            let settled = match step(one.to).authority() {
                Store::New => Condition::NewIsSettled,
                Store::Old => Condition::OldIsSettled,
            };
            assert!(asks(settled) && asks(Condition::NoFault), "{one:?}");
        }
        if changes && step(one.to).authority() == Store::New {
            use Condition::{Certified, CopyComplete, NoOpenRejects, NoSilentDeletes, ReplaysDone};
            for condition in [CopyComplete, NoOpenRejects, Certified, ReplaysDone, NoSilentDeletes] {
                assert!(asks(condition), "{condition:?} for {one:?}");
            }
        }
    }
}

#[test]
fn what_a_step_must_have_its_moves_ask_for() {
    for one in PLAN.moves {
        let asks = |condition| one.conditions.contains(&condition);
        let locked = step(one.to).interlock == Interlock::BackfillLock;
        assert!(!locked || asks(Condition::LockHeld), "{one:?}");
        // a store that is no longer written is lost as a way back
        let drops_old = step(one.from).writes.second == Some(Store::Old) && step(one.to).writes.second.is_none();
        assert_eq!(drops_old, asks(Condition::NameTyped), "{one:?}");
        let drops_new = step(one.from).writes.second == Some(Store::New) && step(one.to).writes.second.is_none();
        assert_eq!(drops_new, one.ends_generation, "{one:?}");
        // no writer writes to one store while another writes to both, unless nobody relies on the second
        let begins = step(one.from).writes.second.is_none() && step(one.to).writes.second.is_some();
        assert!(!begins || one.barrier.is_some(), "{one:?}");
        assert!(one.ends_generation || asks(Condition::WritersFollow), "{one:?}");
    }
    assert_eq!(PLAN.out_of(7).count(), 0, "there is no way back from the last step");
    for from in 2..=4 {
        assert!(PLAN.between(from, 1).is_some_and(|one| one.conditions.is_empty()), "giving up is always possible");
    }
    for (from, to) in [(5, 4), (6, 5), (6, 4)] {
        assert!(PLAN.between(from, to).unwrap().conditions.contains(&Condition::NoFault));
    }
}

#[test]
fn every_step_is_reached_and_reads_what_is_true() {
    let mut reached = vec![1];
    for number in 1..=7 {
        assert!(reached.contains(&number), "step {number}");
        reached.extend(PLAN.out_of(number).map(|one| one.to));
        let Step { reads, writes, .. } = step(number);
        // the truth is written first, so that what is acknowledged is true
        assert_eq!(reads.first, writes.first, "step {number}");
    }
    assert_eq!(PLAN.find("missfill"), Some(4));
    assert_eq!(PLAN.find("7"), Some(7));
    assert_eq!((PLAN.find("8"), PLAN.find("0"), PLAN.find("mysql")), (None, None, None));
}

/// MySQL to DynamoDB: dual writes, dual reads with comparison, reads moved, DynamoDB alone.
#[rustfmt::skip]
const BACKWARDS: Plan = Plan {
    name: "mysql-to-dynamodb",
    stores: ["mysql", "ddb"],
    steps: &[
        Step { name: "mysql", reads: Reads { first: Store::Old, fill: Fill::Nothing }, interlock: Interlock::Nothing,
            writes: Writes { first: Store::Old, second: None, joined: false } },
        Step { name: "dual", reads: Reads { first: Store::Old, fill: Fill::Nothing }, interlock: Interlock::BackfillLock,
            writes: Writes { first: Store::Old, second: Some(Store::New), joined: false } },
        Step { name: "ddb", reads: Reads { first: Store::New, fill: Fill::Nothing }, interlock: Interlock::Barrier(1),
            writes: Writes { first: Store::New, second: None, joined: false } },
    ],
    moves: &[
        Move { from: 1, to: 2, barrier: None, ends_generation: false, conditions: &[Condition::LockHeld] },
        Move { from: 2, to: 3, barrier: Some(1), ends_generation: false, conditions: &[Condition::Certified] },
    ],
};

#[test]
fn another_migration_is_another_table() {
    assert_eq!(judge(&BACKWARDS, 2, &fine(1)).unwrap().to, 2);
    assert!(judge(&BACKWARDS, 3, &fine(1)).is_err());
    assert_eq!(BACKWARDS.called(BACKWARDS.step(3).unwrap().authority()), "ddb");
}
