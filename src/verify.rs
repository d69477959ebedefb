//! The verb: is the target what the source maps to? Both sides are compared, what seems to differ is looked at again, and
//! what is left is told.

mod after;
pub mod report;
pub mod run;
