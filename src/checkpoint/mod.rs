//! What is durable, and who may add to it: runs, units, claims, the ledger of spans.
//!
//! All of it lives in control tables beside the data (prefix `_transvase_`), so that a data transaction can prove its
//! claim and record its span in one commit with its rows. Everything said of a run (positions, counts, the report)
//! derives from these tables, never from what this process remembers having done.

pub mod audit;
pub mod certificates;
pub mod differences;
pub mod follows;
pub mod ledger;
pub mod owner;
pub mod phases;
pub mod rejects;
pub mod retries;
pub mod review;
pub mod run;
pub mod schema;
pub mod spills;
pub mod tombstones;
pub mod tracker;
pub mod units;
