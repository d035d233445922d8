//! What objects offer to those who wait for several of them.

use std::sync::atomic::AtomicU32;

use crate::sys::BorrowedFd;

/// Where an object can be seen to be ready.
pub struct Source<'a>(pub(crate) Place<'a>);

pub(crate) enum Place<'a> {
    /// In shared memory.
    Word(&'a dyn Word),
    /// At the kernel: the descriptor is readable.
    Descriptor(BorrowedFd<'a>),
}

impl<'a> Source<'a> {
    pub(crate) fn of_fd(fd: BorrowedFd<'a>) -> Self {
        Self(Place::Descriptor(fd))
    }
}

/// An object that can be waited for with others.
pub trait Sourced {
    /// Where it can be seen to be ready.
    fn source(&self) -> Source<'_>;
}

/// An object that is ready by what its shared memory says, and has a word which changes whenever it may have become so.
///
/// Whoever implements it becomes [`Waitable`](crate::Waitable) by one line in that trait's file, and waits without blocking
/// its thread by [`until`](super::until).
pub(crate) trait Word: Sync {
    /// What [`is_ready`](Self::is_ready) wants to know of the moment in which the waiting began. Only for objects that can
    /// have been ready in between.
    fn moment(&self) -> u32 {
        0
    }

    /// Whether it is ready, or was since `moment`. It does not call the system.
    fn is_ready(&self, moment: u32) -> bool;

    /// Announces a sleeper: whoever makes the object ready from here on changes the word, which holds the value now,
    /// and wakes all who sleep on it. What was done before must be looked for after this call.
    fn announce(&self) -> (&AtomicU32, u32);
}

impl<W: Word> Sourced for W {
    fn source(&self) -> Source<'_> {
        Source(Place::Word(self))
    }
}
