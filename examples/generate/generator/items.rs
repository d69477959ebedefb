//! The items of an export: any of them can be made alone, from the shape, the seed and its number.
//!
//! So a test that has read an export back compares each item with [`Items::write_line`], which is the truth.

use super::awkward::Awkward;
use super::rng::Rng;
use super::value::{Spelling, write_line};
use super::{orders, random, shapes, single_table};
use clap::ValueEnum;
use std::io;

/// What the items look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// The benchmark table, about 410 bytes a line. Key customer_id:S,order_id:S
    Orders,
    /// Every type and every awkward value and key. Key pk:S,sk:S
    Awkward,
    /// The same values under binary keys. Key pk:B,sk:B
    AwkwardBinary,
    /// The same values under number keys. Key pk:N,sk:N
    AwkwardNumber,
    /// Several kinds of entity in one table. Key pk:S,sk:S
    SingleTable,
    /// Random items of all types and depths. Key pk:S,sk:N
    Random,
    /// 300 attributes each. Key pk:S
    Wide,
    /// A few attributes in all items, and some of 3000 others. Key pk:S,sk:S
    Sparse,
    /// Six kinds of entity, told by their keys alone. Key PK:S,SK:S
    SixKinds,
    /// 40 to 380 KB each. Key id:S,part:N
    Huge,
    /// Readings under number keys. Key device:N,at:N
    NumberKeys,
    /// Blobs under binary keys. Key hash:B,at:B
    BinaryKeys,
}

/// The items of one shape and seed.
#[derive(Debug)]
pub(crate) struct Items {
    shape: Shape,
    seed: u64,
    awkward: Awkward,
}

impl Items {
    /// The items of `shape` that follow from `seed`.
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        Items { shape, seed, awkward: Awkward::new() }
    }

    /// Appends the line of item `index`: `{"Item":{…}}` and a newline. No two items of a shape and seed share a key.
    ///
    /// # Errors
    /// None: writing into memory does not fail.
    pub(crate) fn write_line(&self, index: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let item = match self.shape {
            Shape::Orders => return orders::write_line(self.seed, index, out),
            Shape::Awkward => self.awkward.with_text_key(index),
            Shape::AwkwardBinary => self.awkward.with_binary_key(index),
            Shape::AwkwardNumber => self.awkward.with_number_key(index),
            Shape::SingleTable => single_table::item(self.seed, index),
            Shape::Random => random::keyed_item(self.seed, index),
            Shape::Wide => shapes::wide(self.seed, index),
            Shape::Sparse => shapes::sparse(self.seed, index),
            Shape::SixKinds => shapes::six_kinds(self.seed, index),
            Shape::Huge => shapes::huge(self.seed, index),
            Shape::NumberKeys => shapes::number_keys(self.seed, index),
            Shape::BinaryKeys => shapes::binary_keys(self.seed, index),
        };
        let escaped = Rng::new(!self.seed, index).below(4) == 0;
        let spelling = if escaped { Spelling::Escaped } else { Spelling::Plain };
        write_line(&item, spelling, out);
        Ok(())
    }
}
