//! Tests against real servers: one binary.
