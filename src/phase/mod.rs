//! The steps of a dual-write migration: which there are, what each reads and writes, and when one may follow another.
//!
//! Promises: the rules are one table ([`plan`]), and a move is made only when each of its conditions is known to hold
//! ([`judge`]). Must not know: how a page moves, what a row holds.

pub mod dynamodb_to_mysql;
pub mod judge;
pub mod plan;
#[cfg(test)]
mod tests;

use plan::Plan;

/// The plans there are.
pub const PLANS: [&Plan; 1] = [&dynamodb_to_mysql::DYNAMODB_TO_MYSQL];

/// The plan of this name.
#[must_use]
pub fn plan_called(name: &str) -> Option<&'static Plan> {
    PLANS.into_iter().find(|plan| plan.name == name)
}
