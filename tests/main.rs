//! Tests against real servers: one binary.

mod s3;
mod support;
