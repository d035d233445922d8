//! Places where a process may die, for the tests that let it die at each of them.
//!
//! There is one before and after each change that other processes see: journal entries and words of transactions, cursors of
//! queues, locking and unlocking, waking, sending. Without the feature `kill-points`, which only the tests of this library
//! want, they are nothing.

/// A place where a process may die.
#[inline(always)]
pub(crate) fn kill_point() {
    #[cfg(feature = "kill-points")]
    armed::pass();
}

#[cfg(feature = "kill-points")]
pub(crate) mod armed {
    use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

    use crate::sys;

    /// How many points are still to be passed; 0 when nothing is to happen.
    static LEFT: AtomicU64 = AtomicU64::new(0);
    /// The signal that this process sends to itself then.
    static SENT: AtomicI32 = AtomicI32::new(sys::SIGKILL);

    /// Lets this process be killed at the `n`-th point from now, by whichever thread passes it. 0 lets it live.
    pub fn die_at(n: u64) {
        signal_at(n, sys::SIGKILL);
    }

    /// Does the same with another signal: what is stopped has what it has, unlike the dead.
    pub fn signal_at(n: u64, signal: i32) {
        SENT.store(signal, Ordering::SeqCst);
        LEFT.store(n, Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn pass() {
        if LEFT.load(Ordering::Relaxed) != 0 {
            count();
        }
    }

    #[cold]
    fn count() {
        let left = LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        if left == Ok(1) {
            sys::kill_self(SENT.load(Ordering::SeqCst));
        }
    }
}
