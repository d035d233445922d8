//! Waiting on a word of shared memory.

use std::sync::atomic::AtomicU32;
use std::time::Instant;

use rustix::io::Errno;
use rustix::thread::futex;

use super::{remaining, timespec};

/// `futex(FUTEX_WAIT)`—Sleeps while `word` holds `expected`.
///
/// Returns `false` when `deadline` passed. It may return early, after a signal or for no reason: callers look at the word
/// again. Not private: the waker may be another process.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/futex.2.html)
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
    let timeout = match deadline.map(remaining) {
        None => None,
        Some(Some(left)) => Some(timespec(left)),
        Some(None) => return false,
    };
    !matches!(
        futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref()),
        Err(Errno::TIMEDOUT)
    )
}

/// `futex(FUTEX_WAKE)`—Wakes up to `count` sleepers on `word`.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/futex.2.html)
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    // The only failure is a word that is not mapped, which a reference rules out.
    let _ = futex::wake(word, futex::Flags::empty(), count.min(i32::MAX as u32));
}

/// `sched_yield()`—Lets another runnable thread have this core.
pub(crate) fn yield_now() {
    rustix::thread::sched_yield();
}
