//! Transvase backfills one DynamoDB table, live or exported, into MySQL, MariaDB, SQLite or another DynamoDB table,
//! resumably, with nothing lost.
//!
//! The ten-minute tour, in the order in which data meets the rooms:
//!
//! 1. [`source`]: units (the data files of an export, the segments of a live table) and their pages, proved before they are handed out;
//! 2. [`pipeline`]: readers, the shuffled queue, the workers, the lanes that carry a page to its commit;
//! 3. [`model`]: the nouns, and [`mapping`]: item to row, pure;
//! 4. [`sink`]: one page, one transaction: fence, rows, rejects, ledger
//!    (a clustered load first sorts on disk: [`spill`]);
//! 5. [`checkpoint`]: what is durable and who may add to it;
//! 6. [`driver`]: the wires below; [`limit`]: how fast, and how often again; [`spill`]: rows in any order in, in key order out;
//!    a stream that cannot be applied yet is kept: [`spool`];
//! 7. [`backfill`]: the verb that joins them; [`cli`]: what was typed, and what is shown.
//!
//! Around it: [`plan`] looks at both ends before (what items look like: [`census`]; the mapping that follows: [`infer`]),
//! [`verify`] compares them after ([`compare`]), [`rejects`] tries again what could not be stored. While an application writes all
//! along, [`control`] moves it from step to step ([`phase`]), and [`dual`] is what it writes by.

pub mod backfill;
pub mod census;
pub mod checkpoint;
pub mod cli;
pub mod compare;
pub mod control;
pub mod driver;
pub mod dual;
pub mod error;
pub mod follow;
pub mod infer;
pub mod limit;
pub mod mapping;
pub mod model;
pub mod monitor;
pub mod phase;
pub mod pipeline;
pub mod plan;
pub mod rejects;
pub mod report;
pub mod sink;
pub mod source;
pub mod spill;
pub mod spool;
pub mod verify;
