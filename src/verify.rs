//! Looking at what a comparison found: candidates are looked at again, mended if asked, listed, and certified.

pub mod case;
pub mod certificate;
pub mod check;
pub mod detail;
pub mod ends;
mod items;
pub mod listing;
pub mod mend;
pub mod rejected;
pub mod settle;
pub mod sides;
