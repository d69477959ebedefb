//! All tests on the outside of the library, and those that need real servers: one binary, so that it shares its servers.
//!
//! `cargo test --release --test all` runs them once `tests/run` has brought the servers in.
#![expect(clippy::disallowed_methods, reason = "the tests watch real clocks and real processes")]

#[cfg(test)]
mod servers;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tidy;
