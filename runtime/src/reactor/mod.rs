//! Being told that something is ready, without a thread of one's own that sleeps for it.
//!
//! ```text
//!  WordWatch::new(word, value, waker) ──▶ threads `mp-words`: futex_waitv ──┐
//!                                                                           ├──▶ waker.wake()
//!  FdWatch::new(descriptor, waker) ─────▶ thread `mp-files`: epoll_wait ────┘
//! ```
//!
//! The kernel has no call that waits for words and descriptors both, so there are two kinds of threads. Each is started at
//! its first use and then stays, asleep: one for descriptors, and one for each 127 words that are watched at the same time,
//! which is what one `futex_waitv` takes besides the word that tells the thread of changes. They block signals, so that a
//! program's handlers never run on them, and do not keep the process from ending.
//!
//! A watch is dropped to call it off, and is over after the first time that it wakes its task. Being woken means to look
//! again: all who watch a word are woken, because one of them may be gone before it acts. So nothing is lost when a
//! future is dropped between its wake-up and its next poll.

mod descriptors;
mod source;
#[cfg(test)]
mod tests;
mod words;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, MutexGuard};
use std::task::{Poll, Waker};

pub(crate) use descriptors::FdWatch;
pub(crate) use source::{Place, Word};
pub use source::{Source, Sourced};
pub(crate) use words::WordWatch;

use crate::arena::arena;
use crate::error::{Error, Result};
use crate::sys::BorrowedFd;

/// Waits until `attempt` gives a value, and makes an attempt whenever a word changes: the one that `announce` announces to
/// sleep on.
///
/// What the attempt takes is the future's value in the same step: a future that is dropped has taken nothing.
///
/// # Errors
///
/// When the system refuses the thread that watches.
pub(crate) async fn until<'a, T>(
    announce: impl Fn() -> (&'a AtomicU32, u32),
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T> {
    let mut watch = None;
    poll_fn(|context| {
        // Attempt, announce, attempt once more, then sleep.
        if let Some(value) = attempt() {
            return Poll::Ready(Ok(value));
        }
        let (word, value) = announce();
        if let Some(value) = attempt() {
            return Poll::Ready(Ok(value));
        }
        // The one of the last poll goes when the new one is there: if nothing has changed, the thread sleeps on.
        match watch_word(word, value, context.waker().clone()) {
            Ok(new) => watch = Some(new),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    })
    .await
}

/// Waits until `attempt` gives a value, and makes an attempt whenever `fd` is readable.
///
/// # Errors
///
/// When the system refuses to watch the descriptor.
pub(crate) async fn until_readable<T>(
    fd: BorrowedFd<'_>,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T> {
    let mut watch = None;
    poll_fn(|context| {
        if let Some(value) = attempt() {
            return Poll::Ready(Ok(value));
        }
        // What has become readable since the attempt is found at once.
        match watch_fd(fd, context.waker().clone()) {
            Ok(new) => watch = Some(new),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    })
    .await
}

/// Watches a word of the arena.
pub(crate) fn watch_word(word: &AtomicU32, value: u32, waker: Waker) -> Result<WordWatch> {
    let word = arena()?.lasting(word);
    WordWatch::new(word, value, waker).map_err(|error| {
        Error::os(
            "cannot start the thread that watches words of shared memory",
            error,
        )
    })
}

/// Watches a descriptor.
pub(crate) fn watch_fd(fd: BorrowedFd<'_>, waker: Waker) -> Result<FdWatch<BorrowedFd<'_>>> {
    FdWatch::new(fd, waker)
        .map_err(|error| Error::os("cannot watch a descriptor from another thread", error))
}

/// Wakes tasks. Never called under a lock: a waker may run anything, and a task that is dropped drops its watches.
fn wake(wakers: impl IntoIterator<Item = (u64, Waker)>) {
    for (_, waker) in wakers {
        // The others are to be woken as well.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
