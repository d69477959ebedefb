//! The verb: is the target what the source maps to? Both sides are compared ([`run`]); what seems to differ is looked at
//! again ([`settle`]), mended if that was asked for ([`mend`]), listed and certified; and what is left is told ([`report`]).

pub mod after;
mod bound;
pub mod case;
pub mod certificate;
pub mod check;
pub mod detail;
pub mod ends;
mod held;
mod items;
pub mod items_copy;
pub mod listing;
pub mod mend;
mod mend_items;
pub mod options;
pub mod rejected;
pub mod report;
pub mod run;
pub mod settle;
pub mod sides;
