//! Waiting on a word of shared memory.

use std::sync::atomic::AtomicU32;
use std::time::Instant;

use rustix::io::Errno;
use rustix::thread::futex;

use super::{SLICE, remaining, timespec};
use crate::kill_point::kill_point;

/// `futex(FUTEX_WAIT)`—Sleeps while `word` holds `expected`.
///
/// Returns `false` when `deadline` passed. It may return early, after a signal or for no reason: callers look at the word
/// again. Not private: the waker may be another process.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/futex.2.html)
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
    let left = match deadline.map(remaining) {
        None => SLICE,
        Some(Some(left)) => left,
        Some(None) => return false,
    };
    let slice = timespec(left.min(SLICE));
    kill_point();
    let result = futex::wait(word, futex::Flags::empty(), expected, Some(&slice));
    // A slice that is not the last is a wake-up for no reason.
    !matches!(result, Err(Errno::TIMEDOUT)) || left > SLICE || deadline.is_none()
}

/// `futex(FUTEX_WAKE)`—Wakes up to `count` sleepers on `word`.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/futex.2.html)
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    kill_point();
    // The only failure is a word that is not mapped, which a reference rules out.
    let _ = futex::wake(word, futex::Flags::empty(), count.min(i32::MAX as u32));
}

/// `sched_yield()`—Lets another runnable thread have this core.
pub(crate) fn yield_now() {
    rustix::thread::sched_yield();
}
