//! Tests against real servers: one binary.

mod fixtures;
#[path = "../examples/generate/generator/mod.rs"]
mod generator;
mod s3;
mod servers;
mod support;
