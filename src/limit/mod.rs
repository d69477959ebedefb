//! How fast, and how often again. Decides, never does.

pub mod retry;
pub mod throttle;
