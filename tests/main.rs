//! Tests against real servers: one binary.

#[cfg(test)]
mod servers;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tidy;
