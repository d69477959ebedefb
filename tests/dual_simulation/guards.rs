//! What keeps dual writes from going wrong, each of which a run can be made without: then the checker has to find it out.

/// One thing that the protocol, its stores or its controller rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A key is locked while its rows are written.
    KeyLock,
    /// A transaction asks for the step, and remembers none.
    Proved,
    /// A proof of the step holds until its transaction ends.
    ShareLock,
    /// An intent is on record before the first store is written.
    Intent,
    /// A removal leaves a tombstone while a load is going on.
    Tombstone,
    /// The loader looks at the tombstones of what it has inserted.
    TombstoneLook,
    /// That look waits for who is about to leave one.
    TombstoneLock,
    /// The loader keeps what is there.
    Keep,
    /// The loader proves its claim in each transaction.
    Fence,
    /// A load's source is of a moment after the dual writes began everywhere.
    SourceAge,
    /// Removals leave tombstones from the first dual write on, or from before what a load reads.
    LoadMark,
    /// An intent is mended only when its write can no longer be under way.
    Ripe,
    /// No two take up the same intent.
    TakeUp,
    /// A read of the source tells what was written last.
    StrongRead,
    /// A request reaches the source within the time that its answer is waited for, or never.
    RequestBound,
    /// An instance's lease lasts as long for the database as for the instance.
    Lease,
    /// A barrier is not crossed before all writers have stopped.
    WritersStop,
    /// What a move is decided by is looked at again after they have.
    LookedAfterwards,
    /// The transition counts the intents itself, when it has waited for all who have proved the step before.
    Counted,
    /// Who has stopped at an earlier barrier has not stopped at this one.
    StoppedHere,
    /// A process that has stood still looks at the clock before it sends.
    ClockLook,
    /// A barrier that is over is not crossed.
    BarrierEnds,
    /// From the source alone to both stores there is a barrier.
    FirstBarrier,
    /// A transition is made from what was looked at.
    CompareAndSet,
    /// A writer is at most one step behind.
    WritersFollow,
    /// The truth does not become the target while it lacks a write.
    NewIsSettled,
    /// The truth does not become the source while it lacks a write.
    OldIsSettled,
    /// The truth does not become the target before the copy is complete.
    CopyComplete,
    /// A generation begins with an empty target.
    NewIsFresh,
}

/// What is left out, alone or with what stands in for it, and the seed from which one is looked for that misses it.
pub(super) const MISSED: [(&[Guard], u64); 26] = [
    (&[Guard::KeyLock], 6),
    (&[Guard::Proved], 5),
    (&[Guard::ShareLock], 7),
    (&[Guard::Intent], 0),
    (&[Guard::Tombstone], 0),
    (&[Guard::TombstoneLook], 1),
    (&[Guard::Keep], 0),
    (&[Guard::Fence], 0),
    (&[Guard::SourceAge], 7),
    (&[Guard::LoadMark], 5),
    (&[Guard::Ripe], 8),
    (&[Guard::TakeUp], 347),
    (&[Guard::StrongRead], 0),
    (&[Guard::RequestBound], 1),
    (&[Guard::ClockLook], 13),
    (&[Guard::Lease], 32),
    (&[Guard::WritersStop], 36),
    (&[Guard::StoppedHere], 454),
    (&[Guard::LookedAfterwards, Guard::Counted], 25),
    (&[Guard::BarrierEnds], 73),
    (&[Guard::FirstBarrier], 9),
    (&[Guard::CompareAndSet], 119),
    (&[Guard::NewIsSettled], 35),
    (&[Guard::OldIsSettled], 170),
    (&[Guard::CopyComplete], 4),
    (&[Guard::NewIsFresh], 0),
];

/// Those that no seed of a thousand misses alone: looked for in a soak, and told.
///
/// What is looked at again when all have stopped and what the transition counts are the same intents: either stands in for the
/// other. That all writers are in the present step follows from others: whoever has stopped at this version was told of its step, and
/// where there is no barrier each transaction proves the step. The lock of the loader's look is not doubled, but seldom needed: a
/// removal has to be amid the few statements between its delete and its commit when the loader inserts that key.
pub(super) const DOUBLED: [Guard; 4] =
    [Guard::TombstoneLock, Guard::LookedAfterwards, Guard::Counted, Guard::WritersFollow];
