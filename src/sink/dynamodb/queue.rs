//! The writes of one batch that are not settled yet, handed out as they go into requests. Pure.

use std::collections::VecDeque;

/// Items in a BatchWriteItem [developer guide, BatchWriteItem].
const ITEMS_MAX: usize = 25;

/// Bytes of items in a request: a quarter of what DynamoDB takes, so that a request stays quick and its envelope does
/// not count. A single item may be larger as JSON.
const BYTES_MAX: usize = 4 << 20;

/// Writes that wait.
#[derive(Debug)]
pub(super) struct Queue<T> {
    writes: VecDeque<T>,
    /// Parts of a request that was refused for a value in it: each is sent apart, until the item is found.
    suspects: Vec<Vec<T>>,
    items_max: usize,
}

impl<T: Copy> Queue<T> {
    /// `writes` in this order; one at a time, or as many as a batch takes.
    pub(super) fn new(writes: impl Iterator<Item = T>, in_batches: bool) -> Self {
        Queue { writes: writes.collect(), suspects: Vec::new(), items_max: if in_batches { ITEMS_MAX } else { 1 } }
    }

    /// The writes of the next request; none when nothing waits. `bytes` is the length of one's item.
    pub(super) fn take(&mut self, bytes: impl Fn(T) -> usize) -> Option<Vec<T>> {
        if let Some(suspects) = self.suspects.pop() {
            return Some(suspects);
        }
        let mut taken = vec![self.writes.pop_front()?];
        let mut size = bytes(taken[0]);
        while let Some(write) = self.writes.front().copied()
            && taken.len() < self.items_max
            && size + bytes(write) <= BYTES_MAX
        {
            size += bytes(write);
            taken.push(write);
            self.writes.pop_front();
        }
        Some(taken)
    }

    /// Puts writes back that are to be sent again, behind those that were not sent yet.
    pub(super) fn put_back(&mut self, writes: impl Iterator<Item = T>) {
        self.writes.extend(writes);
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Puts a request back that was refused for one of its writes; that write, when there is no other.
    pub(super) fn suspect(&mut self, writes: &[T]) -> Option<T> {
        if let [write] = writes {
            return Some(*write);
        }
        let (left, right) = writes.split_at(writes.len() / 2);
        self.suspects.extend([left.to_vec(), right.to_vec()]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_at_most_25_items_and_4_megabytes() {
        let mut queue = Queue::new(0..60_u32, true);
        let sizes: Vec<usize> = std::iter::from_fn(|| queue.take(|_| 10)).map(|rows| rows.len()).collect();
        assert_eq!(sizes, [25, 25, 10]);
        let mut queue = Queue::new(0..5_u32, true);
        let size = |row: u32| if row == 3 { 9 << 20 } else { (2 << 20) - (row as usize) };
        let taken: Vec<Vec<u32>> = std::iter::from_fn(|| queue.take(size)).collect();
        assert_eq!(taken, [vec![0, 1], vec![2], vec![3], vec![4]]);
        let mut queue = Queue::new(0..3_u32, false);
        assert_eq!(std::iter::from_fn(|| queue.take(|_| 1)).count(), 3);
    }

    #[test]
    fn what_is_put_back_comes_again_and_suspects_come_apart() {
        let mut queue = Queue::new(0..4_u32, true);
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
