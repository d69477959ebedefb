//! The wires: connect, bind, fetch, classify errors. The only room that names an SQL or SDK client type.

pub mod dynamodb;
pub mod fault;
mod mysql;
mod mysql_local;
pub mod objects;
pub mod pool;
pub mod rehearsal;
pub mod session;
mod sqlite;
pub mod streams;
pub mod target;
