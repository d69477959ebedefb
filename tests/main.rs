//! All tests on the outside of the library, and those that need real servers: one binary, so that it shares its servers.
//!
//! `cargo test --release --test all` runs them once `tests/run` has brought the servers in.
#![expect(clippy::print_stdout, reason = "a test prints its seed and its figures")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "the tests watch real clocks and real processes")]

mod apply;
mod auto;
mod bad_days;
mod cli;
mod clustered;
mod crash;
mod damage;
mod dual;
mod dual_simulation;
mod dual_worlds;
mod dynamo_driver;
mod fixtures;
mod follow;
mod follow_spooled;
mod follow_stream;
#[path = "../examples/generate/generator/mod.rs"]
mod generator;
mod health;
#[path = "../examples/generate/incremental.rs"]
mod incremental;
mod indexes;
mod into_dynamo;
mod keys;
mod live;
mod load;
mod phases;
mod plan;
mod preflight;
mod rejects;
mod request_export;
mod roundtrip;
mod s3;
mod s3_backfill;
mod scan;
mod servers;
mod settle;
mod simulate;
#[path = "../examples/simulate/simulation/mod.rs"]
mod simulation;
mod streams;
mod support;
mod tidy;
mod tombstones;
mod verify;
