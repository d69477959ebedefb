//! Out of a DynamoDB table into MySQL, in seven steps.

use super::plan::{Condition, Fill, Interlock, Move, Plan, Reads, Step, Store, Writes};
use Condition::{
    Certified, CopyComplete, LockHeld, NameTyped, NewIsFresh, NewIsSettled, NoFault, NoOpenRejects, NoSilentDeletes,
    OldIsSettled, ReplaysDone, WritersFollow,
};
use Store::{New, Old};

/// The plan.
pub const DYNAMODB_TO_MYSQL: Plan =
    Plan { name: "dynamodb-to-mysql", stores: ["ddb", "mysql"], steps: &STEPS, moves: &MOVES };

const DDB: Writes = Writes { first: Old, second: None, joined: false };
const DDB_MYSQL: Writes = Writes { first: Old, second: Some(New), joined: false };

const fn reads(first: Store, fill: Fill) -> Reads {
    Reads { first, fill }
}

#[rustfmt::skip]
const STEPS: [Step; 7] = [
    Step { name: "ddb",       reads: reads(Old, Fill::Nothing), writes: DDB,       interlock: Interlock::Nothing },
    Step { name: "backfill",  reads: reads(Old, Fill::Nothing), writes: DDB_MYSQL, interlock: Interlock::BackfillLock },
    Step { name: "readfill",  reads: reads(Old, Fill::Every),   writes: DDB_MYSQL, interlock: Interlock::BackfillLock },
    Step { name: "missfill",  reads: reads(Old, Fill::Missing), writes: DDB_MYSQL, interlock: Interlock::BackfillLock },
    Step { name: "trx-write", reads: reads(New, Fill::Nothing), interlock: Interlock::Barrier(1),
        writes: Writes { first: New, second: Some(Old), joined: true } },
    Step { name: "pre-sql",   reads: reads(New, Fill::Nothing), interlock: Interlock::Barrier(1),
        writes: Writes { first: New, second: Some(Old), joined: false } },
    Step { name: "sql",       reads: reads(New, Fill::Nothing), interlock: Interlock::Barrier(2),
        writes: Writes { first: New, second: None, joined: false } },
];

/// From here on both stores are written. A writer that still wrote to the source alone would leave a key that another has written to
/// both stale in the target, where the copy keeps it: so all stop in between.
const fn begins(from: u8, to: u8) -> Move {
    let conditions = &[WritersFollow, LockHeld, NewIsFresh];
    Move { from, to, barrier: Some(0), ends_generation: false, conditions }
}

/// Within the fill steps, and before: DynamoDB is the truth, whatever is in MySQL.
const fn fills(from: u8, to: u8) -> Move {
    Move { from, to, barrier: None, ends_generation: false, conditions: &[WritersFollow, LockHeld] }
}

/// Back to the beginning: harmless to the application; what is in MySQL goes stale.
const fn gives_up(from: u8) -> Move {
    Move { from, to: 1, barrier: None, ends_generation: true, conditions: &[] }
}

/// MySQL becomes the truth, or ceases to be.
const fn crosses(from: u8, to: u8, conditions: &'static [Condition]) -> Move {
    Move { from, to, barrier: Some(1), ends_generation: false, conditions }
}

/// Before DynamoDB is the truth again it has to hold all that was acknowledged.
const BACK: &[Condition] = &[WritersFollow, LockHeld, NoFault, OldIsSettled];

const MOVES: [Move; 15] = [
    begins(1, 2),
    fills(2, 3),
    fills(3, 4),
    fills(3, 2),
    fills(4, 3),
    fills(4, 2),
    gives_up(2),
    gives_up(3),
    gives_up(4),
    crosses(
        4,
        5,
        &[
            WritersFollow,
            LockHeld,
            CopyComplete,
            NoOpenRejects,
            Certified,
            ReplaysDone,
            NewIsSettled,
            NoSilentDeletes,
            NoFault,
        ],
    ),
    crosses(5, 4, BACK),
    crosses(6, 4, BACK),
    Move { from: 5, to: 6, barrier: None, ends_generation: false, conditions: &[WritersFollow, NoFault] },
    Move { from: 6, to: 5, barrier: None, ends_generation: false, conditions: &[WritersFollow, NoFault] },
    Move { from: 6, to: 7, barrier: Some(2), ends_generation: false, conditions: &[WritersFollow, NoFault, NameTyped] },
];
