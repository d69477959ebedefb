//! The items of one batch that are not settled yet, handed out as they go into requests. Pure.

use std::collections::VecDeque;

/// Items in a BatchWriteItem [developer guide, BatchWriteItem].
const ITEMS_MAX: usize = 25;

/// Bytes of items in a request: a quarter of what DynamoDB takes, so that a request stays quick and its envelope does
/// not count. A single item may be larger as JSON.
const BYTES_MAX: usize = 4 << 20;

/// Rows that wait.
#[derive(Debug)]
pub(super) struct Queue {
    rows: VecDeque<u32>,
    /// Parts of a request that was refused for a value in it: each is sent apart, until the item is found.
    suspects: Vec<Vec<u32>>,
    items_max: usize,
}

impl Queue {
    /// `rows` in this order; one at a time, or as many as a batch takes.
    pub(super) fn new(rows: impl Iterator<Item = u32>, in_batches: bool) -> Self {
        Queue { rows: rows.collect(), suspects: Vec::new(), items_max: if in_batches { ITEMS_MAX } else { 1 } }
    }

    /// The rows of the next request; none when nothing waits. `bytes` is the length of a row's item.
    pub(super) fn take(&mut self, bytes: impl Fn(u32) -> usize) -> Option<Vec<u32>> {
        if let Some(suspects) = self.suspects.pop() {
            return Some(suspects);
        }
        let mut taken = vec![self.rows.pop_front()?];
        let mut size = bytes(taken[0]);
        while let Some(row) = self.rows.front().copied()
            && taken.len() < self.items_max
            && size + bytes(row) <= BYTES_MAX
        {
            size += bytes(row);
            taken.push(row);
            self.rows.pop_front();
        }
        Some(taken)
    }

    /// Puts rows back that are to be sent again, behind those that were not sent yet.
    pub(super) fn put_back(&mut self, rows: impl Iterator<Item = u32>) {
        self.rows.extend(rows);
    }

    /// Puts a request back that was refused for one of its items; that item, when there is no other.
    pub(super) fn suspect(&mut self, rows: &[u32]) -> Option<u32> {
        if let [row] = rows {
            return Some(*row);
        }
        let (left, right) = rows.split_at(rows.len() / 2);
        self.suspects.extend([left.to_vec(), right.to_vec()]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_at_most_25_items_and_4_megabytes() {
        let mut queue = Queue::new(0..60, true);
        let sizes: Vec<usize> = std::iter::from_fn(|| queue.take(|_| 10)).map(|rows| rows.len()).collect();
        assert_eq!(sizes, [25, 25, 10]);
        let mut queue = Queue::new(0..5, true);
        let size = |row| if row == 3 { 9 << 20 } else { (2 << 20) - (row as usize) };
        let taken: Vec<Vec<u32>> = std::iter::from_fn(|| queue.take(size)).collect();
        assert_eq!(taken, [vec![0, 1], vec![2], vec![3], vec![4]]);
        let mut queue = Queue::new(0..3, false);
        assert_eq!(std::iter::from_fn(|| queue.take(|_| 1)).count(), 3);
    }

    #[test]
    fn what_is_put_back_comes_again_and_suspects_come_apart() {
        let mut queue = Queue::new(0..4, true);
        let taken = queue.take(|_| 1).unwrap();
        queue.put_back(taken.into_iter());
        let mut taken = queue.take(|_| 1).unwrap();
        // row 2 is the one that is refused
        let mut found = Vec::new();
        let mut sent = Vec::new();
        loop {
            match taken.contains(&2) {
                true => found.extend(queue.suspect(&taken)),
                false => sent.extend(taken),
            }
            let Some(next) = queue.take(|_| 1) else { break };
            taken = next;
        }
        sent.sort_unstable();
        assert_eq!((found, sent), (vec![2], vec![0, 1, 3]));
    }
}
