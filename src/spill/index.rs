//! The index of a run file: where its blocks are, what their bytes add up to, and which keys they begin with.
//!
//! A run file is the magic, the blocks of the first table, of the second and so on, the index, the index's length (eight
//! bytes, small end first), the CRC-32 of index and length (four bytes), and the magic again. The blocks lie one behind
//! the other from the magic to the index, so that the index cannot leave a gap between them that nobody checks.

use super::record::{put_varint, take, take_varint};

/// The first and the last bytes of a run file; the last two digits are the format's version.
pub(super) const MAGIC: &[u8; 8] = b"TVRUN-01";

/// Bytes behind the index.
pub(super) const TRAILER_BYTES: u64 = 8 + 4 + 8;

/// One block: up to about 32 KB of records of one table in key order, compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Rows in it; at least one.
    pub(super) rows: u32,
    /// Where its bytes begin in the file.
    pub(super) offset: u64,
    /// How many there are.
    pub(super) stored: u32,
    /// How many they are when inflated; as many as stored if they are not compressed.
    pub(super) raw: u32,
    /// The CRC-32 of the stored bytes.
    pub(super) crc: u32,
    /// Where its first key ends among the keys of the table's index. It begins where that of the block before ends.
    key_end: u32,
}

/// The blocks of one table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TableIndex {
    blocks: Vec<Block>,
    /// The first key of each block, one behind the other.
    keys: Vec<u8>,
    /// The last key of the last block.
    last_key: Vec<u8>,
}

impl TableIndex {
    /// The blocks, in key order.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The first key of a block.
    pub(super) fn first_key(&self, block: usize) -> &[u8] {
        let end_of = |block: usize| self.blocks.get(block).map_or(0, |block| block.key_end as usize);
        let start = block.checked_sub(1).map_or(0, end_of);
        self.keys.get(start..end_of(block)).unwrap_or_default()
    }

    /// The last key of the table.
    pub(super) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Rows of the table.
    pub(super) fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.rows)).sum()
    }

    /// Adds the block behind the last one. None when the keys of a table's blocks exceed 4 GiB.
    pub(super) fn push(&mut self, first_key: &[u8], block: Block) -> Option<()> {
        let key_end = u32::try_from(self.keys.len() + first_key.len()).ok()?;
        self.keys.extend_from_slice(first_key);
        self.blocks.push(Block { key_end, ..block });
        Some(())
    }

    /// Says which key was the last.
    pub(super) fn set_last_key(&mut self, key: &[u8]) {
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }
}

impl Block {
    /// A block, not yet among others.
    pub(super) fn new(rows: u32, offset: u64, stored: u32, raw: u32, crc: u32) -> Self {
        Block { rows, offset, stored, raw, crc, key_end: 0 }
    }
}

/// Appends the index of all tables.
pub(super) fn encode(tables: &[TableIndex], out: &mut Vec<u8>) {
    put_varint(tables.len() as u64, out);
    for table in tables {
        put_varint(table.blocks.len() as u64, out);
        put_varint(table.last_key.len() as u64, out);
        out.extend_from_slice(&table.last_key);
        for (at, block) in table.blocks.iter().enumerate() {
            let key = table.first_key(at);
            for number in [u64::from(block.rows), u64::from(block.stored), u64::from(block.raw), key.len() as u64] {
                put_varint(number, out);
            }
            out.extend_from_slice(&block.crc.to_le_bytes());
            out.extend_from_slice(key);
        }
    }
}

/// Reads what [`encode`] wrote. None when it did not, or when the blocks do not end at `end`.
pub(super) fn decode(mut bytes: &[u8], end: u64) -> Option<Vec<TableIndex>> {
    let mut offset = MAGIC.len() as u64;
    let mut tables = Vec::new();
    for _ in 0..take_varint(&mut bytes)? {
        let mut table = TableIndex::default();
        let blocks = take_varint(&mut bytes)?;
        let length = take_varint(&mut bytes)?;
        table.set_last_key(take(&mut bytes, length)?);
        for _ in 0..blocks {
            let mut number = || take_varint(&mut bytes).and_then(|number| u32::try_from(number).ok());
            let (rows, stored, raw, length) = (number()?, number()?, number()?, number()?);
            let crc = u32::from_le_bytes(*take(&mut bytes, 4)?.first_chunk()?);
            table.push(take(&mut bytes, u64::from(length))?, Block::new(rows, offset, stored, raw, crc))?;
            offset = offset.checked_add(u64::from(stored))?;
        }
        tables.push(table);
    }
    (bytes.is_empty() && offset == end).then_some(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_comes_back_and_blocks_leave_no_gap() {
        let mut table = TableIndex::default();
        table.push(b"a", Block::new(3, 8, 100, 200, 1)).unwrap();
        table.push(b"", Block::new(4, 108, 50, 50, u32::MAX)).unwrap();
        table.push(b"ccc", Block::new(5, 158, 1, 1, 0)).unwrap();
        table.set_last_key(b"d");
        assert_eq!([0, 1, 2, 3].map(|block| table.first_key(block)), [b"a".as_slice(), b"", b"ccc", b""]);
        assert_eq!(table.rows(), 12);
        let tables = [TableIndex::default(), table];
        let mut bytes = Vec::new();
        encode(&tables, &mut bytes);
        assert_eq!(decode(&bytes, 159).as_deref(), Some(tables.as_slice()));
        assert_eq!(decode(&bytes, 160), None);
        bytes.push(0);
        assert_eq!(decode(&bytes, 159), None);
    }
}
