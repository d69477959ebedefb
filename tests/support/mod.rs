//! What the tests run against: servers, faults, small inputs.

pub(crate) mod proxy;
pub(crate) mod s3;
pub(crate) mod small_export;
