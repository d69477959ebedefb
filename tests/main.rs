//! Tests against real servers: one binary.

#[cfg(test)]
mod s3;
#[cfg(test)]
mod support;
