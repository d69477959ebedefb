//! Tests against real servers: one binary.

mod cli;
mod crash;
mod fixtures;
#[path = "../examples/generate/generator/mod.rs"]
mod generator;
mod s3;
mod s3_backfill;
mod servers;
mod support;
