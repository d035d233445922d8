//! Waiting on a word of shared memory.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::ClockId;

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

/// `futex(FUTEX_WAKE)`—Wakes up to `count` sleepers on `word`, and returns how many it woke.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/futex.2.html)
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) -> u32 {
    kill_point();
    // The only failure is a word that is not mapped, which a reference rules out.
    futex::wake(word, futex::Flags::empty(), count.min(i32::MAX as u32))
        .map_or(0, |woken| woken as u32)
}

/// `sched_yield()`—Lets another runnable thread have this core.
pub(crate) fn yield_now() {
    rustix::thread::sched_yield();
}

/// The most words that [`futex_wait_any`] takes (`FUTEX_WAITV_MAX`).
pub(crate) const MOST_WORDS: usize = 128;

/// Whether this system lacks `futex_waitv`, as far as it is known.
static NO_WAITV: AtomicBool = AtomicBool::new(false);

/// `futex_waitv(words)`—Sleeps while each of at most [`MOST_WORDS`] words holds what is expected of it.
///
/// Returns `false` when `deadline` passed. It may return early, after a signal or for no reason: callers look at all
/// words again.
///
/// Linux 5.16 brought the call, and filters of system calls may forbid it. Without it this sleeps for a short time on one
/// of the words, on another one each time: 50 µs first, doubling up to 5 ms. `naps` counts these; the caller sets it to 0
/// when something has happened.
///
/// # References
///  - [Linux](https://www.kernel.org/doc/html/latest/userspace-api/futex2.html)
pub(crate) fn futex_wait_any(
    words: &[(&AtomicU32, u32)],
    deadline: Option<Instant>,
    naps: &mut u32,
) -> bool {
    debug_assert!((1..=MOST_WORDS).contains(&words.len()));
    if !NO_WAITV.load(Ordering::Relaxed) {
        let left = match deadline.map(remaining) {
            None => SLICE,
            Some(Some(left)) => left,
            Some(None) => return false,
        };
        match wait_for_any(words, left.min(SLICE)) {
            Err(Errno::TIMEDOUT) => return left > SLICE || deadline.is_none(),
            Err(Errno::NOSYS | Errno::PERM) => NO_WAITV.store(true, Ordering::Relaxed),
            // The kernel may have no memory for it.
            Err(error) if error != Errno::AGAIN && error != Errno::INTR => {}
            _ => return true,
        }
    }
    let nap = Instant::now() + NAP.saturating_mul(1 << (*naps).min(16)).min(LONGEST_NAP);
    let (word, expected) = words[*naps as usize % words.len()];
    *naps = naps.wrapping_add(1);
    futex_wait(
        word,
        expected,
        Some(deadline.map_or(nap, |deadline| deadline.min(nap))),
    );
    deadline.is_none_or(|deadline| remaining(deadline).is_some())
}

const NAP: Duration = Duration::from_micros(50);
const LONGEST_NAP: Duration = Duration::from_millis(5);

fn wait_for_any(words: &[(&AtomicU32, u32)], timeout: Duration) -> Result<usize, Errno> {
    let waits: Vec<_> = words
        .iter()
        .map(|(word, expected)| {
            let mut wait = futex::Wait::new();
            wait.val = (*expected).into();
            wait.uaddr = futex::WaitPtr::new(word.as_ptr().cast());
            wait.flags = futex::WaitFlags::SIZE_U32;
            wait
        })
        .collect();
    // The call takes a moment, not a time.
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let end = now.checked_add(timespec(timeout)).ok_or(Errno::INVAL)?;
    futex::waitv(
        &waits,
        futex::WaitvFlags::empty(),
        Some(&end),
        ClockId::Monotonic,
    )
}

/// Makes this process do without `futex_waitv`, or not.
#[cfg(test)]
pub(crate) fn pretend_no_waitv(missing: bool) {
    NO_WAITV.store(missing, Ordering::Relaxed);
}
