//! The memory of pages that are done with, for the next pages: it need be neither mapped nor zeroed again.

use std::sync::{Mutex, PoisonError};

/// Buffers kept at most: in a steady run a page is wanted when one is given back, so few lie here.
const MOST: usize = 8;

/// Buffers of one size.
#[derive(Debug)]
pub(super) struct Spare {
    page_bytes: usize,
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Spare {
    /// For buffers of `page_bytes` bytes.
    pub(super) fn new(page_bytes: usize) -> Self {
        Spare { page_bytes, buffers: Mutex::default() }
    }

    /// A buffer of that length; what it holds does not matter.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut buffer = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.resize(self.page_bytes, 0);
        buffer
    }

    /// Gives a buffer back. One that was made smaller or larger is let go.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() == self.page_bytes && buffers.len() < MOST {
            buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_whole_and_others_do_not() {
        let spare = Spare::new(100);
        let mut buffer = spare.take();
        let memory = buffer.as_ptr();
        buffer.truncate(10);
        spare.give(vec![1; 99]);
        spare.give(vec![1; 101]);
        spare.give(buffer);
        let buffer = spare.take();
        assert_eq!((buffer.as_ptr(), buffer.len()), (memory, 100));
        assert_eq!(spare.take().len(), 100);
        (0..20).for_each(|_| spare.give(vec![1; 100]));
        assert_eq!(spare.buffers.lock().unwrap().len(), MOST);
    }
}
