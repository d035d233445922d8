//! What the ends of a pipe have besides their sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::packet::{self, PipeBody};
use crate::arena::{self, Handle};
use crate::error::Result;

/// What one end has.
pub(super) struct Link {
    /// The pipe's object in the arena; none in an isolated process.
    pub(super) pipe: Option<Handle<PipeBody, ()>>,
    /// 0 or 1.
    pub(super) side: u8,
    /// Whether an end of the pipe has gone to an isolated process, as far as this process knows. Its two ends share it.
    plain: Arc<AtomicBool>,
}

impl Link {
    /// What the two ends of a new pipe have.
    pub(super) fn new_pair() -> Result<[Self; 2]> {
        let pipe = match arena::is_isolated() {
            true => None,
            false => Some(packet::new_pipe()?),
        };
        let plain = Arc::new(AtomicBool::new(pipe.is_none()));
        Ok([0, 1].map(|side| Self {
            pipe: pipe.clone(),
            side,
            plain: Arc::clone(&plain),
        }))
    }

    /// What an end has that came in a message.
    pub(super) fn arrived(pipe: Option<Handle<PipeBody, ()>>, side: u8) -> Self {
        let plain = Arc::new(AtomicBool::new(pipe.is_none()));
        Self { pipe, side, plain }
    }

    /// Whether messages are not to lie in the arena.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// An end goes to an isolated process.
    pub(super) fn becomes_plain(&self) {
        self.plain.store(true, Ordering::Relaxed);
    }
}
