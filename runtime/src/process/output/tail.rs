//! The end of what a child has written to its standard error.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::lock;

/// How many of the last bytes are kept.
pub(super) const KEPT: usize = 4 << 10;

#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<VecDeque<u8>>);

impl Tail {
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut tail = lock(&self.0);
        tail.extend(&bytes[bytes.len().saturating_sub(KEPT)..]);
        let surplus = tail.len().saturating_sub(KEPT);
        tail.drain(..surplus);
    }

    /// The last that was written, from the beginning of a line if it is not all.
    pub(super) fn last_lines(&self) -> String {
        let tail: Vec<u8> = lock(&self.0).iter().copied().collect();
        let begin = match tail.iter().position(|byte| *byte == b'\n') {
            // Unless all of it is the end of one long line.
            Some(end) if tail.len() == KEPT && end + 1 < KEPT => end + 1,
            _ => 0,
        };
        let text = String::from_utf8_lossy(&tail[begin..]);
        // What is no text has become longer.
        let mut cut = text.len().saturating_sub(KEPT);
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        text[cut..].to_owned()
    }
}
