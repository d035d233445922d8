//! What workers are made of: processes, or threads of this process.

mod processes;
mod threads;

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

pub(super) use processes::Processes;
pub(super) use threads::Threads;

use super::body::PoolHandle;
use crate::error::Result;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// A way to have workers.
pub(super) trait Engine: Send + Sync {
    /// Starts a worker at a seat.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    fn start(
        &self,
        pool: &PoolHandle,
        seat: u16,
        name: &str,
        bell: &Arc<Bell>,
    ) -> Result<Box<dyn Member>>;
}

/// A worker that was started.
pub(super) trait Member: Send + Sync {
    /// The id of its process.
    fn id(&self) -> u32;

    /// What is readable when it has ended; if there is nothing, it rings.
    fn sentinel(&self) -> Option<BorrowedFd<'_>>;

    /// How it ended, if it has.
    fn end(&self) -> Option<End>;

    /// Kills it with all that it has started. `false` where that cannot be done.
    fn kill(&self) -> bool;
}

/// How a worker ended.
pub(super) struct End {
    pub(super) status: ExitStatus,
    /// The last lines that it wrote to its standard error.
    pub(super) stderr: String,
}

/// What wakes the thread that looks after workers.
pub(super) struct Bell {
    ear: OwnedFd,
    pub(super) rope: OwnedFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (ear, rope) = sys::pipe()?;
        sys::let_writes_fail(rope.as_fd())?;
        Ok(Self { ear, rope })
    }

    pub(super) fn ring(&self) {
        sys::ring(self.rope.as_fd());
    }

    /// What is readable when it was rung.
    pub(super) fn ear(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }

    /// Takes what was rung.
    pub(super) fn hush(&self) {
        while sys::read_some(self.ear(), &mut [0; 64]).is_some_and(|length| length > 0) {}
    }
}
