//! Transvase backfills one DynamoDB table into MySQL, MariaDB or SQLite, resumably, with nothing lost.

pub mod driver;
pub mod error;
pub mod mapping;
pub mod model;
pub mod source;
