//! Lines out of body frames.

use bytes::{Bytes, BytesMut};

/// Longest line, in bytes. An object is at most 1.5 MiB in etcd; escaped as JSON, no six times that are reached.
pub const LINE_LIMIT: usize = 16 << 20;

/// A line that is longer than this gets room for the longest at once: a buffer that is doubled again and again stands there
/// twice as it grows, and ends up twice as large. What is not used costs nothing.
const LARGE: usize = 4 << 20;

/// A buffer that kept the size of the largest object ever seen would hold it for ever.
const KEPT_CAPACITY: usize = 64 << 10;

/// A line is longer than [`LINE_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Splits a stream of frames into lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: BytesMut,
    /// So far there is no line end.
    scanned: usize,
}

impl Lines {
    /// Adds a frame.
    pub fn push(&mut self, frame: &[u8]) {
        let (before, after) = (self.buffer.len(), self.buffer.len() + frame.len());
        if before <= LARGE && after > LARGE {
            self.buffer.reserve((LINE_LIMIT + frame.len()).saturating_sub(before));
        }
        self.buffer.extend_from_slice(frame);
    }

    /// The next complete line, without its end; empty ones are passed over.
    ///
    /// # Errors
    /// If it is too long, and then for ever.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, TooLong> {
        loop {
            let new = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(end) = new.iter().position(|byte| *byte == b'\n').map(|n| self.scanned + n) else {
                self.scanned = self.buffer.len();
                if self.scanned > LINE_LIMIT {
                    return Err(TooLong);
                }
                if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY {
                    self.buffer = BytesMut::new();
                }
                return Ok(None);
            };
            if end > LINE_LIMIT {
                return Err(TooLong);
            }
            self.scanned = 0;
            let mut line = self.buffer.split_to(end + 1);
            line.truncate(end);
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line.freeze()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.next_line().unwrap())
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_line_of_any_length_stands_there_once() {
        let mut lines = Lines::default();
        let frame = vec![b'x'; 1 << 20];
        for _ in 0..16 {
            lines.push(&frame);
            assert_eq!(lines.next_line(), Ok(None));
        }
        lines.push(&frame);
        assert!(lines.buffer.capacity() <= LINE_LIMIT + 2 * frame.len(), "{}", lines.buffer.capacity());
        assert_eq!(lines.next_line(), Err(TooLong));
    }

    #[test]
    fn lines_whatever_the_frames() {
        let text = b"one\n\n two \r\nthree\nrest";
        for size in 1..=text.len() {
            let (mut lines, mut got) = (Lines::default(), Vec::new());
            for frame in text.chunks(size) {
                lines.push(frame);
                got.extend(all(&mut lines));
            }
            assert_eq!(got, ["one", " two \r", "three"], "frames of {size}");
            lines.push(b"\n");
            assert_eq!(all(&mut lines), ["rest"]);
        }
    }

    #[test]
    fn a_line_without_end_ends() {
        let mut lines = Lines::default();
        for _ in 0..16 {
            lines.push(&vec![b'x'; 1 << 20]);
            assert_eq!(lines.next_line(), Ok(None));
        }
        lines.push(b"x");
        assert_eq!(lines.next_line(), Err(TooLong));
        lines.push(b"\n");
        assert_eq!(lines.next_line(), Err(TooLong));
    }
}
