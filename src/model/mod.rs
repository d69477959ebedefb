//! The nouns of the engine, without I/O: values and items, pages and spans, rows, counts, rejects.
//!
//! Everything here is plain data or a pure function over it. It must not know stores, drivers or the clock.

pub mod batch;
pub mod canonical;
pub mod counts;
pub mod decode;
pub mod dialect;
pub mod difference;
pub mod hex;
pub mod json;
pub mod number;
pub mod page;
pub mod reject;
pub mod rows;
pub mod size;
pub mod value;
