//! What the tests run against: servers, faults, small inputs.

pub mod proxy;
pub mod s3;
pub mod small_export;
