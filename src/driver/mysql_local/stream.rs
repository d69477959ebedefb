//! The way of a load's text from its encoder to the wire: a few buffers that come back when they were sent.
//!
//! The driver takes a stream that owns what it yields; the encoder borrows the batch. Between them is a channel so short
//! that encoding never runs far ahead of the network, and no load is ever in memory as a whole.

use bytes::Bytes;
use futures_core::Stream;
use mysql_async::InfileData;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Chunks between encoder and wire, beside the one that is being filled.
const UNDERWAY: usize = 1;

/// A buffer that one huge row has swollen is not kept.
const KEPT_BYTES: usize = 1 << 20;

/// The buffers of a connection that wait for their next use.
#[derive(Clone, Default)]
pub(super) struct Spares(Arc<Mutex<Vec<Vec<u8>>>>);

/// Takes the text.
pub(super) struct Sender {
    chunks: mpsc::Sender<Bytes>,
    spares: Spares,
    buffer: Vec<u8>,
    chunk: usize,
}

/// Yields it.
pub(super) struct Receiver(mpsc::Receiver<Bytes>);

/// The two ends of a load's text, in chunks of at most `chunk` bytes.
pub(super) fn pipe(spares: Spares, chunk: usize) -> (Sender, Receiver) {
    let (chunks, receiver) = mpsc::channel(UNDERWAY);
    (Sender { chunks, buffer: spares.take(), spares, chunk }, Receiver(receiver))
}

impl Spares {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BYTES {
            buffer.clear();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }
}

impl Sender {
    /// Where to append text.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Sends what was appended if it is a chunk or more. False when nobody receives any more.
    pub(super) async fn send_full(&mut self) -> bool {
        self.buffer.len() < self.chunk || self.send().await
    }

    /// Sends the rest; the stream ends.
    pub(super) async fn finish(mut self) {
        if !self.buffer.is_empty() {
            self.send().await;
        }
    }

    async fn send(&mut self) -> bool {
        let full = std::mem::replace(&mut self.buffer, self.spares.take());
        let mut rest = Bytes::from_owner(Lent { buffer: full, spares: self.spares.clone() });
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(self.chunk));
            if self.chunks.send(chunk).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// A buffer underway; dropped, it is spare again.
struct Lent {
    buffer: Vec<u8>,
    spares: Spares,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.spares.give_back(std::mem::take(&mut self.buffer));
    }
}

impl Receiver {
    /// As the driver takes it.
    pub(super) fn boxed(self) -> InfileData {
        Box::pin(self)
    }
}

impl Stream for Receiver {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn text_arrives_whole_in_bounded_chunks_and_its_buffers_come_back() {
        let spares = Spares::default();
        let (mut sender, mut receiver) = pipe(spares.clone(), 10);
        let sending = async {
            for length in [3, 9, 25, 1] {
                sender.buffer().extend(std::iter::repeat_n(b'x', length));
                assert!(sender.send_full().await);
            }
            sender.finish().await;
        };
        let receiving = async {
            let mut sizes = Vec::new();
            while let Some(chunk) = receiver.0.recv().await {
                sizes.push(chunk.len());
            }
            sizes
        };
        let ((), sizes) = tokio::join!(sending, receiving);
        assert_eq!(sizes, [10, 2, 10, 10, 5, 1]);
        assert!(!spares.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_sender_without_a_receiver_is_told() {
        let (mut sender, receiver) = pipe(Spares::default(), 1);
        drop(receiver);
        sender.buffer().push(b'x');
        assert!(!sender.send_full().await);
    }
}
