//! Tests against real servers: one binary.

mod damage;
mod fixtures;
#[path = "../examples/generate/generator/mod.rs"]
mod generator;
mod keys;
mod rejects;
mod roundtrip;
mod s3;
mod servers;
mod support;
