//! gzip to bytes, straight into the memory that becomes a page. Every member of the file is read (the obvious decoder
//! stops after the first), and what follows the last one must be nothing.
//!
//! The inflater works in gzip mode itself: header, CRC and length of each member are checked on the way, without a
//! second pass over the output.

use flate2::{Decompress, FlushDecompress, Status};
use std::io::{self, Read};

/// Compressed bytes read at once: some ten thousand system calls for a gigabyte, and still in cache when inflated.
const INPUT_BYTES: usize = 128 * 1024;

/// The largest window a gzip member can ask for, as a power of two.
const WINDOW_BITS: u8 = 15;

/// An inflater over `R`.
#[derive(Debug)]
pub(super) struct Inflate<R> {
    input: R,
    buffer: Box<[u8]>,
    /// Compressed bytes not yet consumed: `buffer[at..end]`.
    at: usize,
    end: usize,
    member: Decompress,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a member, or before the first.
    Inside,
    /// A member has ended; another may follow.
    Between,
    /// The input has ended after a member.
    Done,
}

impl<R: Read> Inflate<R> {
    pub(super) fn new(input: R) -> Self {
        let buffer = vec![0; INPUT_BYTES].into_boxed_slice();
        Inflate { input, buffer, at: 0, end: 0, member: Decompress::new_gzip(WINDOW_BITS), state: State::Inside }
    }

    /// Writes to `out` until it is full or the input ends: how many bytes, and whether more may follow.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` when the input is not whole gzip; any other kind is the input's own.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> io::Result<(usize, bool)> {
        let mut written = 0;
        while written < out.len() && self.state != State::Done {
            if self.at == self.end && !self.refill()? {
                break;
            }
            if self.state == State::Between {
                self.member = Decompress::new_gzip(WINDOW_BITS);
                self.state = State::Inside;
            }
            let (consumed, produced) = (self.member.total_in(), self.member.total_out());
            let (input, room) = (&self.buffer[self.at..self.end], &mut out[written..]);
            let status = self.member.decompress(input, room, FlushDecompress::None);
            let status = status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let consumed = usize::try_from(self.member.total_in() - consumed).unwrap_or(usize::MAX);
            let produced = usize::try_from(self.member.total_out() - produced).unwrap_or(usize::MAX);
            self.at = self.at.saturating_add(consumed).min(self.end);
            written = written.saturating_add(produced).min(out.len());
            match status {
                Status::StreamEnd => self.state = State::Between,
                _ if consumed == 0 && produced == 0 => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the inflater makes no progress"));
                }
                _ => {}
            }
        }
        Ok((written, self.state != State::Done))
    }

    /// The input.
    pub(super) fn input(&self) -> &R {
        &self.input
    }

    /// Reads on; false when the input has ended where it may.
    fn refill(&mut self) -> io::Result<bool> {
        self.at = 0;
        self.end = loop {
            match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        match (self.end, self.state) {
            (0, State::Inside) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the gzip stream is cut short")),
            (0, _) => {
                self.state = State::Done;
                Ok(false)
            }
            _ => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(input: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let mut inflate = Inflate::new(input);
        let mut all = Vec::new();
        loop {
            let mut out = vec![b'?'; step];
            let (written, more) = inflate.fill(&mut out)?;
            all.extend_from_slice(&out[..written]);
            if !more {
                return Ok(all);
            }
        }
    }

    fn sample() -> Vec<u8> {
        (0..50_000_u32).flat_map(|n| format!("line {} of many\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect()
    }

    #[test]
    fn every_member_is_read_whatever_the_step() {
        let text = sample();
        let parts: Vec<Vec<u8>> = text.chunks(100_000).map(gzip).collect();
        let empty = gzip(b"");
        for input in [gzip(&text), parts.concat(), [empty.clone(), gzip(&text), empty.clone()].concat()] {
            for step in [1000, 65_537, 1 << 20] {
                assert!(inflate(&input, step).unwrap() == text);
            }
        }
        assert_eq!(inflate(&empty, 10).unwrap(), b"");
    }

    #[test]
    fn a_cut_stream_fails_wherever_it_is_cut() {
        let whole = gzip(b"a few bytes\nin two lines\n");
        for len in 0..whole.len() {
            assert_eq!(inflate(&whole[..len], 100).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{len}");
        }
    }

    #[test]
    fn whatever_follows_the_last_member_fails() {
        let whole = gzip(b"a line\n");
        for garbage in [&b"\0"[..], b"\0\0\0\0\0\0\0\0\0\0\0\0", b"garbage", b"\x1f\x8b", b"\x1f"] {
            assert!(inflate(&[&whole, garbage].concat(), 100).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn a_wrong_crc_or_length_fails() {
        let whole = gzip(b"a line\n");
        for at in whole.len() - 8..whole.len() {
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[at] ^= 1 << bit;
                assert!(inflate(&bad, 100).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}
